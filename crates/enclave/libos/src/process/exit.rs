//! Ends: of a thread, of a process, of the container.

use super::{Process, exited};
use crate::fs;
use crate::signal::info::code;
use crate::syscall::{Args, Entry, SysResult};
use crate::thread::Thread;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

/// Served here.
pub const TABLE: &[Entry] = &[Entry::full(60, exit), Entry::full(231, exit_group)];

fn exit(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let process = &thread.process;
    let status = exited(args.0[0] as u32);
    if process.threads.lock().len() == 1 {
        process.end(status);
    } else {
        thread.end_alone(status);
    }
    Ok(0)
}

fn exit_group(thread: &Arc<Thread>, args: &Args) -> SysResult {
    thread.process.end(exited(args.0[0] as u32));
    Ok(0)
}

/// The thread has left user mode for good.
pub fn end_thread(thread: &Arc<Thread>) {
    let process = &thread.process;
    let mm = thread.mm();
    thread.release_words(&mm);
    drop(mm);
    let is_last = process.threads.lock().len() == 1;
    if is_last {
        thread.change_memory(thread.kernel.no_memory.clone());
    }
    thread.leave_residency();
    let now = thread.kernel.platform.monotonic_ns();
    process.cpu_ns.fetch_add(thread.cpu_time_ns(now), Ordering::Relaxed);
    thread.kernel.forget_thread(thread.tid);
    let is_last = {
        let mut threads = process.threads.lock();
        threads.remove(&thread.tid);
        threads.is_empty()
    };
    process.events.wake_all();
    if is_last {
        let fallback = thread.last_status();
        let mut life = process.life.lock();
        let status = *life.ending.get_or_insert(fallback);
        drop(life);
        end_process(process, status);
    }
}

fn end_process(process: &Arc<Process>, status: u32) {
    let kernel = process.kernel;
    process.timers.lock().disarm(kernel);
    *process.files.lock() = Arc::new(fs::fd::Table::new());
    drop(core::mem::replace(&mut *process.mm.lock(), kernel.no_memory.clone()));
    process.release_parent();
    if process.is_init() {
        kernel.end_container(status);
    }
    if process.pid == kernel.attester.load(Ordering::SeqCst) {
        kernel.attester_ended(status);
    }
    hand_over_children(process);
    process.life.lock().zombie = Some(status);
    if process.session != 0 && process.parent.lock().upgrade().is_none() {
        kernel.end_session(process.session, status);
        kernel.forget_process(process);
        return;
    }
    report_end(process, status);
}

/// Tells the parent, or forgets the process where the parent does not want to know.
fn report_end(process: &Arc<Process>, status: u32) {
    let Some(parent) = process.parent.lock().upgrade() else {
        process.kernel.forget_process(process);
        return;
    };
    let (code, value) = match status & 0x7f {
        0 => (code::CLD_EXITED, (status >> 8) as i32),
        signal if status & 0x80 != 0 => (code::CLD_DUMPED, signal as i32),
        signal => (code::CLD_KILLED, signal as i32),
    };
    let is_forgotten = parent.forgets_children();
    process.tell_parent(code, value);
    if is_forgotten {
        parent.children.lock().retain(|child| child.pid != process.pid);
        process.kernel.forget_process(process);
        parent.events.wake_all();
    }
}

/// Children of a dead process go to the nearest subreaper, else to the first process.
fn hand_over_children(process: &Arc<Process>) {
    let children = core::mem::take(&mut *process.children.lock());
    if children.is_empty() {
        return;
    }
    let mut ancestor = process.parent.lock().upgrade();
    while let Some(candidate) = &ancestor
        && (candidate.is_zombie() || !candidate.is_subreaper.load(Ordering::Relaxed))
    {
        let next = candidate.parent.lock().upgrade();
        ancestor = next;
    }
    let Some(parent) = ancestor.or_else(|| process.kernel.process(1)) else { return };
    for child in children {
        child.parent_pid.store(parent.pid, Ordering::Relaxed);
        *child.parent.lock() = Arc::downgrade(&parent);
        child.exit_signal.store(u32::from(crate::signal::signo::SIGCHLD), Ordering::Relaxed);
        parent.children.lock().push(child.clone());
        let zombie = child.life.lock().zombie;
        if let Some(status) = zombie {
            report_end(&child, status);
        }
    }
}

impl Process {
    /// The process has its own memory now, or is dead: vfork(2) of its parent returns.
    pub fn release_parent(&self) {
        if self.borrows_memory.swap(false, Ordering::SeqCst) {
            self.events.wake_all();
        }
    }
}
