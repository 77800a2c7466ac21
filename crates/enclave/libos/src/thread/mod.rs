//! Threads of programs.

mod exception;
pub mod run;
mod seat;
pub mod syscalls;

pub use seat::Seat;

use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::mm::Mm;
use crate::platform::ThreadId;
use crate::process::{Pid, Process};
use crate::signal::frame::StackT;
use crate::signal::{Disposition, Info, Pending, Set, signo};
use crate::sync::Mutex;
use crate::wait::{ThreadRef, WaitError, WaitQueue, wait_for, wait_uninterrupted};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// A thread; what system calls are made by.
pub struct Thread {
    /// The library OS.
    pub kernel: &'static Kernel,
    /// Its id; that of its process for the first thread.
    pub tid: Pid,
    /// Its process.
    pub process: Arc<Process>,
    /// Its signals.
    pub signals: Mutex<Signals>,
    /// Word to clear and wake when it ends (CLONE_CHILD_CLEARTID).
    pub clear_tid: AtomicU64,
    /// Head of its robust futex list.
    pub robust_list: AtomicU64,
    /// Its name, where it has one of its own.
    pub name: Mutex<Option<Vec<u8>>>,
    /// It has to end, others of its process have not.
    ends_alone: AtomicBool,
    /// Wait status it asked for when it ended.
    last_status: AtomicU32,
    /// Something is to be looked at before it returns to user mode.
    attention: AtomicBool,
    /// The machine's thread that runs it.
    machine: Mutex<Option<ThreadRef>>,
    /// The address space in which it holds residency.
    residence: Mutex<Option<Arc<Mm>>>,
    /// Whether there is one: looked at before each return to user mode.
    is_resident: AtomicBool,
    /// When it last became runnable; 0 while it waits.
    running_since_ns: AtomicU64,
    cpu_ns: AtomicU64,
}

/// A thread's part of signal(7).
#[derive(Default)]
pub struct Signals {
    /// Blocked.
    pub blocked: Set,
    /// Pending for this thread.
    pub pending: Pending,
    /// The mask to put back when a call that replaced it is over (sigsuspend, ppoll, ...).
    pub saved: Option<Set>,
    /// Signals that sigtimedwait(2) waits for, though blocked.
    pub awaited: Set,
    /// Alternate stack.
    pub stack: StackT,
}

/// SS_DISABLE.
pub const STACK_DISABLED: u32 = 2;

impl Thread {
    /// A thread that has not started.
    #[must_use]
    pub fn new(process: Arc<Process>, tid: Pid, blocked: Set) -> Arc<Self> {
        let stack = StackT { base: 0, flags: STACK_DISABLED, size: 0 };
        Arc::new(Self {
            kernel: process.kernel,
            tid,
            process,
            signals: Mutex::new(Signals { blocked, stack, ..Signals::default() }),
            clear_tid: AtomicU64::new(0),
            robust_list: AtomicU64::new(0),
            name: Mutex::new(None),
            ends_alone: AtomicBool::new(false),
            last_status: AtomicU32::new(0),
            attention: AtomicBool::new(true),
            machine: Mutex::new(None),
            residence: Mutex::new(None),
            is_resident: AtomicBool::new(false),
            running_since_ns: AtomicU64::new(0),
            cpu_ns: AtomicU64::new(0),
        })
    }

    /// Memory of its process, now.
    pub fn mm(&self) -> Arc<Mm> {
        self.process.mm()
    }

    /// A NUL-terminated string, without the NUL: a path with `limit` 4096 (ENAMETOOLONG).
    ///
    /// # Errors
    /// EFAULT; ENAMETOOLONG without a NUL within `limit` bytes.
    pub fn string(&self, address: u64, limit: usize) -> Result<Vec<u8>, Errno> {
        let mm = self.mm();
        let mut bytes = Vec::new();
        let mut at = address;
        while bytes.len() < limit {
            let page_left = 4096 - (at % 4096) as usize;
            let count = page_left.min(limit - bytes.len()).min(256);
            let start = bytes.len();
            bytes.resize(start + count, 0);
            mm.read(at, &mut bytes[start..])?;
            if let Some(end) = bytes[start..].iter().position(|b| *b == 0) {
                bytes.truncate(start + end);
                return Ok(bytes);
            }
            at = at.wrapping_add(count as u64);
        }
        Err(Errno::ENAMETOOLONG)
    }

    /// Waits until `attempt` answers; see [`wait_for`].
    ///
    /// # Errors
    /// [`WaitError`].
    pub fn wait<T>(
        &self,
        queues: &[&WaitQueue],
        deadline_ns: Option<u64>,
        attempt: impl FnMut() -> Option<T>,
    ) -> Result<T, WaitError> {
        let result = wait_for(self, queues, deadline_ns, attempt);
        if self.running_since_ns.load(Ordering::Relaxed) == 0 {
            let now = self.kernel.platform.monotonic_ns();
            self.running_since_ns.store(now, Ordering::Relaxed);
        }
        result
    }

    /// Whether a wait must end: an unblocked signal that does something is pending, or the process ends or
    /// stops.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.must_end() || self.process.life.lock().stopped.is_some() || self.has_deliverable()
    }

    /// exit(2) of one thread of several.
    pub fn end_alone(&self, status: u32) {
        self.last_status.store(status, Ordering::Relaxed);
        self.ends_alone.store(true, Ordering::SeqCst);
        self.note();
    }

    /// The wait status this thread asked for, should it be the last.
    #[must_use]
    pub fn last_status(&self) -> u32 {
        self.last_status.load(Ordering::Relaxed)
    }

    /// Has all other threads of the process end, and waits for it (execve(2)).
    ///
    /// # Errors
    /// EINTR where the whole process ends, or another thread was first.
    pub fn be_only_thread(&self) -> Result<(), Errno> {
        let process = &self.process;
        {
            let mut life = process.life.lock();
            if life.ending.is_some() || life.survivor.is_some_and(|tid| tid != self.tid) {
                return Err(Errno::EINTR);
            }
            if process.threads.lock().len() == 1 {
                return Ok(());
            }
            life.survivor = Some(self.tid);
        }
        process.notify_all();
        self.leave_residency();
        let platform = self.kernel.platform;
        wait_uninterrupted(platform, &[&process.events], None, || {
            (process.threads.lock().len() == 1 || process.life.lock().ending.is_some())
                .then_some(())
        });
        let mut life = process.life.lock();
        life.survivor = None;
        if life.ending.is_some() { Err(Errno::EINTR) } else { Ok(()) }
    }

    /// Makes sure that this thread holds residency in `mm`, its process's memory (fork(2) copies it).
    ///
    /// # Errors
    /// EINTR where the thread has to end; ENOMEM where memory cannot be brought in.
    pub fn hold_residency(&self, mm: &Arc<Mm>) -> Result<(), Errno> {
        if self.is_resident() {
            return Ok(());
        }
        match mm.enter(false, || self.must_end()) {
            Ok(true) => {
                self.settle(mm.clone());
                Ok(())
            }
            Ok(false) => Err(Errno::EINTR),
            Err(_) => Err(Errno::ENOMEM),
        }
    }

    /// Whether the thread has to end.
    #[must_use]
    pub fn must_end(&self) -> bool {
        if self.ends_alone.load(Ordering::SeqCst) {
            return true;
        }
        let life = self.process.life.lock();
        life.ending.is_some() || life.survivor.is_some_and(|tid| tid != self.tid)
    }

    fn has_deliverable(&self) -> bool {
        let signals = self.signals.lock();
        let pending = signals.pending.set().or(self.process.pending_set());
        let mut open = pending.without(signals.blocked.without(Set::UNBLOCKABLE));
        drop(signals);
        let actions = self.process.actions();
        while let Some(signal) = open.first() {
            if actions.lock().disposition(signal) != Disposition::Ignore {
                return true;
            }
            open.remove(signal);
        }
        false
    }

    /// Takes the next signal to deliver, from the thread's own queue first.
    pub fn take_deliverable(&self) -> Option<Info> {
        let mut signals = self.signals.lock();
        let open = Set(u64::MAX).without(signals.blocked.without(Set::UNBLOCKABLE));
        signals.pending.take(open).or_else(|| self.process.pending.lock().take(open))
    }

    /// Whether the thread blocks `signal`.
    pub fn blocks(&self, signal: u8) -> bool {
        let signals = self.signals.lock();
        signals.blocked.contains(signal) && !Set::UNBLOCKABLE.contains(signal)
    }

    /// Sets the blocked signals; SIGKILL and SIGSTOP cannot be.
    pub fn set_blocked(&self, mask: Set) {
        self.signals.lock().blocked = mask.without(Set::of(&[signo::SIGKILL, signo::SIGSTOP]));
        self.attention.store(true, Ordering::Release);
    }

    /// Makes the thread look at what was stored for it: it wakes, or leaves user mode.
    pub fn notify(&self) {
        self.attention.store(true, Ordering::SeqCst);
        let machine = *self.machine.lock();
        if let Some(machine) = machine
            && machine.thread != self.kernel.platform.current()
        {
            machine.wake();
            machine.kick();
        }
    }

    /// Has this thread, which is the calling one, look at its signals before it returns to user mode.
    pub fn note(&self) {
        self.attention.store(true, Ordering::SeqCst);
    }

    /// Lets other members of the collision group into memory, for this thread is about to wait.
    pub fn leave_residency(&self) {
        let since = self.running_since_ns.swap(0, Ordering::Relaxed);
        if since != 0 {
            let now = self.kernel.platform.monotonic_ns();
            self.cpu_ns.fetch_add(now.saturating_sub(since), Ordering::Relaxed);
        }
        self.give_way();
    }

    /// Gives residency up without waiting for anything.
    fn give_way(&self) {
        let residence = self.residence.lock().take();
        self.is_resident.store(false, Ordering::Relaxed);
        if let Some(mm) = residence {
            mm.exit_residency();
        }
    }

    /// Gives the process other memory; whoever waits for the old one's place finds it empty, with nothing
    /// to save.
    pub fn change_memory(&self, mm: Arc<Mm>) {
        let residence = self.residence.lock().take();
        self.is_resident.store(false, Ordering::Relaxed);
        let old = core::mem::replace(&mut *self.process.mm.lock(), mm);
        drop(old);
        if let Some(mm) = residence
            && Arc::strong_count(&mm) > 1
        {
            mm.exit_residency();
        }
    }

    /// Records that the thread holds residency in `mm`.
    fn settle(&self, mm: Arc<Mm>) {
        *self.residence.lock() = Some(mm);
        self.is_resident.store(true, Ordering::Relaxed);
    }

    /// Whether it holds residency in the memory its process has now.
    fn is_resident(&self) -> bool {
        self.is_resident.load(Ordering::Relaxed)
    }

    /// Its processor time in nanoseconds: from when it last became runnable to when it waited, summed.
    pub fn cpu_time_ns(&self, now: u64) -> u64 {
        let since = self.running_since_ns.load(Ordering::Relaxed);
        let current = if since == 0 { 0 } else { now.saturating_sub(since) };
        self.cpu_ns.load(Ordering::Relaxed) + current
    }

    /// Whether it runs or could.
    pub fn is_running(&self) -> bool {
        self.running_since_ns.load(Ordering::Relaxed) != 0
    }

    /// The machine's thread, once it has started.
    pub fn machine_id(&self) -> Option<ThreadId> {
        self.machine.lock().map(|machine| machine.thread)
    }
}
