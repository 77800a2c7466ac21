//! Job control: sessions and process groups.

use super::{Job, Pid};
use crate::errno::Errno;
use crate::syscall::{Args, Entry, SysResult};
use crate::thread::Thread;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

/// Served here.
pub const TABLE: &[Entry] = &[
    Entry::full(109, setpgid),
    Entry::full(111, getpgrp),
    Entry::full(112, setsid),
    Entry::full(121, getpgid),
    Entry::full(124, getsid),
];

fn job_of(thread: &Thread, pid: i32) -> Result<Job, Errno> {
    match pid {
        0 => Ok(*thread.process.job.lock()),
        pid if pid < 0 => Err(Errno::ESRCH),
        pid => {
            let process = thread.kernel.process(pid as Pid).ok_or(Errno::ESRCH)?;
            let job = *process.job.lock();
            Ok(job)
        }
    }
}

fn getpgrp(thread: &Arc<Thread>, _: &Args) -> SysResult {
    Ok(u64::from(thread.process.job.lock().pgid))
}

fn getpgid(thread: &Arc<Thread>, args: &Args) -> SysResult {
    job_of(thread, args.int(0)).map(|job| u64::from(job.pgid))
}

fn getsid(thread: &Arc<Thread>, args: &Args) -> SysResult {
    job_of(thread, args.int(0)).map(|job| u64::from(job.sid))
}

fn setsid(thread: &Arc<Thread>, _: &Args) -> SysResult {
    let pid = thread.process.pid;
    let all = thread.kernel.processes.lock();
    if all.values().any(|process| process.job.lock().pgid == pid) {
        return Err(Errno::EPERM);
    }
    *thread.process.job.lock() = Job { pgid: pid, sid: pid };
    Ok(u64::from(pid))
}

fn setpgid(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let (pid, pgid) = (args.int(0), args.int(1));
    if pid < 0 || pgid < 0 {
        return Err(Errno::EINVAL);
    }
    let caller = &thread.process;
    let pid = if pid == 0 { caller.pid } else { pid as Pid };
    let pgid = if pgid == 0 { pid } else { pgid as Pid };
    let target = if pid == caller.pid {
        caller.clone()
    } else {
        let children = caller.children.lock();
        let child = children.iter().find(|child| child.pid == pid && !child.is_zombie());
        let child = child.cloned().ok_or(Errno::ESRCH)?;
        if child.has_execed.load(Ordering::Relaxed) {
            return Err(Errno::EACCES);
        }
        child
    };
    let sid = caller.job.lock().sid;
    let job = *target.job.lock();
    // A session leader stays; another session's process is out of reach.
    if job.sid != sid || job.sid == target.pid {
        return Err(Errno::EPERM);
    }
    if pgid != pid {
        let all = thread.kernel.processes.lock();
        let exists = all.values().any(|process| {
            let other = *process.job.lock();
            other.pgid == pgid && other.sid == sid
        });
        if !exists {
            return Err(Errno::EPERM);
        }
    }
    target.job.lock().pgid = pgid;
    Ok(0)
}
