//! Sending: where a signal goes, and what stops, continues and ends processes.

use super::{Actions, DefaultAction, Disposition, Info, Set, action::flags, info::code, signo};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::{CONTINUED, Pid, Process, stopped};
use crate::thread::Thread;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Signals that stop.
const STOPS: Set = Set::of(&[signo::SIGSTOP, signo::SIGTSTP, signo::SIGTTIN, signo::SIGTTOU]);

impl Process {
    /// Sends a signal to the process.
    ///
    /// # Errors
    /// EAGAIN where a real-time signal's queue is full.
    pub fn signal(&self, info: Info) -> Result<(), Errno> {
        self.prepare(info.signal);
        if self.is_dropped(info.signal, None) {
            return Ok(());
        }
        self.pending.lock().push(info).map_err(|_| Errno::EAGAIN)?;
        let threads = self.thread_list();
        // The first thread if it takes it, else any that does.
        if let Some(thread) = threads.iter().find(|thread| !thread.blocks(info.signal)) {
            thread.notify();
        }
        self.signal_queue.wake_all();
        Ok(())
    }

    /// What happens at once, whether or not the signal is blocked: SIGCONT continues and takes back stops, a
    /// stop takes back SIGCONT.
    fn prepare(&self, signal: u8) {
        let opposite = match signal {
            signo::SIGCONT => STOPS,
            _ if STOPS.contains(signal) => Set::of(&[signo::SIGCONT]),
            _ => Set::EMPTY,
        };
        if !opposite.is_empty() {
            self.pending.lock().discard(opposite);
            for thread in self.thread_list() {
                thread.signals.lock().pending.discard(opposite);
            }
        }
        if signal == signo::SIGCONT || signal == signo::SIGKILL {
            self.resume(signal == signo::SIGCONT);
        }
    }

    /// Whether a signal has no effect and is not kept: ignored, and not blocked.
    fn is_dropped(&self, signal: u8, thread: Option<&Thread>) -> bool {
        if self.is_zombie() {
            return true;
        }
        let is_blocked = match thread {
            Some(thread) => thread.blocks(signal),
            None => self.thread_list().first().is_some_and(|thread| thread.blocks(signal)),
        };
        if is_blocked {
            return false;
        }
        match self.actions().lock().disposition(signal) {
            Disposition::Ignore => true,
            // Nothing inside ends or stops the first process by default.
            Disposition::Default(kind) => self.is_init() && kind != DefaultAction::Continue,
            Disposition::Handle(_) => false,
        }
    }

    /// Has all threads end; the first status counts.
    pub fn end(&self, status: u32) {
        let mut life = self.life.lock();
        life.ending.get_or_insert(status);
        life.stopped = None;
        drop(life);
        self.notify_all();
    }

    /// Has all threads stand until SIGCONT.
    pub fn stop(&self, signal: u8) {
        let mut life = self.life.lock();
        if life.ending.is_some() || life.stopped.is_some() {
            return;
        }
        life.stopped = Some(signal);
        life.unreported = Some(stopped(signal));
        drop(life);
        self.notify_all();
        self.tell_parent(code::CLD_STOPPED, i32::from(signal));
    }

    /// Has stopped threads go on.
    fn resume(&self, is_reported: bool) {
        let mut life = self.life.lock();
        if life.stopped.take().is_none() {
            return;
        }
        if is_reported {
            life.unreported = Some(CONTINUED);
        }
        drop(life);
        self.notify_all();
        if is_reported {
            self.tell_parent(code::CLD_CONTINUED, i32::from(signo::SIGCONT));
        }
    }

    /// Makes all threads look at the process's life.
    pub fn notify_all(&self) {
        for thread in self.thread_list() {
            thread.notify();
        }
        self.events.wake_all();
    }

    /// Tells the parent that this process stopped, continued or ended.
    pub fn tell_parent(&self, code: i32, status: i32) {
        let Some(parent) = self.parent.lock().upgrade() else { return };
        let is_end = !matches!(code, code::CLD_STOPPED | code::CLD_CONTINUED);
        let signal = if is_end {
            self.exit_signal.load(core::sync::atomic::Ordering::Relaxed) as u8
        } else {
            signo::SIGCHLD
        };
        let is_quiet =
            !is_end && parent.actions().lock().get(signo::SIGCHLD).has(flags::SA_NOCLDSTOP);
        parent.events.wake_all();
        if signal != 0 && !is_quiet {
            let uid = self.credentials.lock().ruid;
            let mut info = Info::child(code, self.pid, uid, status);
            info.signal = signal;
            // A full queue loses a real-time exit signal, as on Linux.
            let _ = parent.signal(info);
        }
    }

    /// Whether its children are forgotten when they end (SIGCHLD ignored, or SA_NOCLDWAIT).
    pub fn forgets_children(&self) -> bool {
        let actions = self.actions();
        let actions: &Actions = &actions.lock();
        let action = actions.get(signo::SIGCHLD);
        action.handler == super::action::IGNORE_HANDLER || action.has(flags::SA_NOCLDWAIT)
    }

    /// Whether nobody could continue its group: no member has a parent in another group of the session.
    pub fn is_orphaned(&self) -> bool {
        let job = *self.job.lock();
        let processes: Vec<Arc<Process>> = self.kernel.processes.lock().values().cloned().collect();
        !processes.iter().filter(|p| p.job.lock().pgid == job.pgid && !p.is_zombie()).any(
            |member| {
                let parent = member.parent.lock().upgrade();
                parent.is_some_and(|parent| {
                    let theirs = *parent.job.lock();
                    theirs.sid == job.sid && theirs.pgid != job.pgid
                })
            },
        )
    }
}

impl Thread {
    /// Sends a signal to this thread alone.
    ///
    /// # Errors
    /// EAGAIN where a real-time signal's queue is full.
    pub fn signal(&self, info: Info) -> Result<(), Errno> {
        self.process.prepare(info.signal);
        if self.process.is_dropped(info.signal, Some(self)) {
            return Ok(());
        }
        self.signals.lock().pending.push(info).map_err(|_| Errno::EAGAIN)?;
        self.notify();
        self.process.signal_queue.wake_all();
        Ok(())
    }
}

impl Kernel {
    /// Sends a signal to every process of a group; whether there was one.
    pub fn signal_group(&self, pgid: Pid, info: Info) -> bool {
        let members: Vec<Arc<Process>> = self
            .processes
            .lock()
            .values()
            .filter(|process| process.job.lock().pgid == pgid)
            .cloned()
            .collect();
        for member in &members {
            // Each gets it or has it pending already.
            let _ = member.signal(info);
        }
        !members.is_empty()
    }
}
