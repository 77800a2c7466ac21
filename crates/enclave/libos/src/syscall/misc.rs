//! Calls that need nothing but the machine: entropy, and scheduling, which is the host's.

use super::{Args, Entry, SysResult};
use crate::errno::Errno;
use crate::thread::Thread;
use alloc::sync::Arc;

/// The calls of this module.
pub const TABLE: &[Entry] = &[
    Entry::full(24, sys_sched_yield),
    Entry::partial(142, "taken and ignored: the host schedules", sys_sched_set),
    Entry::full(143, sys_sched_getparam),
    Entry::partial(144, "taken and ignored: the host schedules", sys_sched_set),
    Entry::full(145, sys_sched_getscheduler),
    Entry::full(146, sys_sched_get_priority_max),
    Entry::full(147, sys_sched_get_priority_min),
    Entry::partial(309, "always processor 0 of node 0", sys_getcpu),
    Entry::full(318, sys_getrandom),
];

fn sys_sched_yield(thread: &Arc<Thread>, _: &Args) -> SysResult {
    thread.kernel.platform.yield_now();
    Ok(0)
}

fn sys_sched_set(_: &Arc<Thread>, _: &Args) -> SysResult {
    Ok(0)
}

/// Everyone runs as SCHED_OTHER, whose one priority is 0.
fn sys_sched_getscheduler(_: &Arc<Thread>, _: &Args) -> SysResult {
    Ok(0)
}

fn sys_sched_getparam(thread: &Arc<Thread>, args: &Args) -> SysResult {
    thread.mm().write(args.0[1], &0_u32.to_le_bytes())?;
    Ok(0)
}

fn sys_sched_get_priority_max(_: &Arc<Thread>, args: &Args) -> SysResult {
    match args.int(0) {
        1 | 2 => Ok(99),
        0 | 3 | 5 | 6 => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

fn sys_sched_get_priority_min(_: &Arc<Thread>, args: &Args) -> SysResult {
    match args.int(0) {
        1 | 2 => Ok(1),
        0 | 3 | 5 | 6 => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

fn sys_getcpu(thread: &Arc<Thread>, args: &Args) -> SysResult {
    for address in &args.0[..2] {
        if *address != 0 {
            thread.mm().write(*address, &0_u32.to_le_bytes())?;
        }
    }
    Ok(0)
}

fn sys_getrandom(thread: &Arc<Thread>, args: &Args) -> SysResult {
    const KNOWN_FLAGS: u64 = 0b111;
    /// As Linux: a longer request is cut, and the caller asks again.
    const LONGEST: u64 = 33_554_431;
    let [address, length, flags, ..] = args.0;
    if flags & !KNOWN_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    let length = length.min(LONGEST);
    let (mut chunk, mut done) = ([0; 256], 0);
    while done < length {
        let count = (length - done).min(chunk.len() as u64) as usize;
        thread.kernel.platform.random(&mut chunk[..count]);
        match thread.mm().write(address.wrapping_add(done), &chunk[..count]) {
            Ok(()) => done += count as u64,
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
    }
    chunk.fill(0);
    Ok(done)
}
