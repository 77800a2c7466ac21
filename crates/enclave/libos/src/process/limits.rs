//! Resource limits and usage.

use super::{Pid, Process};
use crate::errno::Errno;
use crate::syscall::{Args, Entry, SysResult};
use crate::thread::Thread;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

/// Served here.
pub const TABLE: &[Entry] = &[
    Entry::full(97, getrlimit),
    Entry::partial(
        98,
        "processor time counts as user time; page and switch counts are 0",
        getrusage,
    ),
    Entry::partial(100, "processor time counts as user time", times),
    Entry::full(160, setrlimit),
    Entry::full(302, prlimit64),
];

/// RLIMIT_STACK.
pub const STACK: u32 = 3;
/// RLIMIT_NPROC.
pub const NPROC: u32 = 6;
/// RLIMIT_NOFILE.
pub const NOFILE: u32 = 7;
/// RLIM_INFINITY.
pub const INFINITY: u64 = u64::MAX;

const COUNT: usize = 16;

/// Soft and hard limits by RLIMIT_*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits([(u64, u64); COUNT]);

impl Default for Limits {
    fn default() -> Self {
        let mut limits = [(INFINITY, INFINITY); COUNT];
        limits[STACK as usize].0 = 8 << 20;
        limits[4] = (0, INFINITY);
        limits[NOFILE as usize] = (1024, 1 << 20);
        limits[NPROC as usize] = (4096, 4096);
        limits[8] = (8 << 20, 8 << 20);
        limits[11] = (1024, 1024);
        limits[12] = (819_200, 819_200);
        limits[13] = (0, 0);
        limits[14] = (0, 0);
        Self(limits)
    }
}

impl Limits {
    /// Soft limit; unlimited for what there is not.
    #[must_use]
    pub fn soft(&self, resource: u32) -> u64 {
        self.0.get(resource as usize).map_or(INFINITY, |limit| limit.0)
    }

    /// Soft and hard limit; unlimited for what there is not.
    #[must_use]
    pub fn both(&self, resource: u32) -> (u64, u64) {
        self.0.get(resource as usize).copied().unwrap_or((INFINITY, INFINITY))
    }

    /// Sets a limit; false for what there is not, or a soft limit above the hard one.
    pub fn set(&mut self, resource: u32, soft: u64, hard: u64) -> bool {
        match self.0.get_mut(resource as usize) {
            Some(limit) if soft <= hard => {
                *limit = (soft, hard);
                true
            }
            _ => false,
        }
    }
}

fn exchange(thread: &Thread, process: &Process, resource: u64, new: u64, old: u64) -> SysResult {
    let resource = resource as u32;
    let mm = thread.mm();
    let present = *process.limits.lock().0.get(resource as usize).ok_or(Errno::EINVAL)?;
    if new != 0 {
        let (soft, hard) = (mm.read_u64(new)?, mm.read_u64(new.wrapping_add(8))?);
        if soft > hard {
            return Err(Errno::EINVAL);
        }
        if hard > present.1 && thread.process.credentials.lock().euid != 0 {
            return Err(Errno::EPERM);
        }
        process.limits.lock().set(resource, soft, hard);
    }
    if old != 0 {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&present.0.to_le_bytes());
        bytes[8..].copy_from_slice(&present.1.to_le_bytes());
        mm.write(old, &bytes)?;
    }
    Ok(0)
}

fn getrlimit(thread: &Arc<Thread>, args: &Args) -> SysResult {
    exchange(thread, &thread.process, args.0[0], 0, args.0[1])
}

fn setrlimit(thread: &Arc<Thread>, args: &Args) -> SysResult {
    exchange(thread, &thread.process, args.0[0], args.0[1], 0)
}

fn prlimit64(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let [pid, resource, new, old, ..] = args.0;
    let process = match pid as Pid {
        0 => thread.process.clone(),
        pid => thread.kernel.process(pid).ok_or(Errno::ESRCH)?,
    };
    exchange(thread, &process, resource, new, old)
}

/// `struct rusage` with this much processor time.
#[must_use]
pub fn encode_rusage(user_ns: u64) -> [u8; 144] {
    let mut bytes = [0; 144];
    bytes[..8].copy_from_slice(&(user_ns / 1_000_000_000).to_le_bytes());
    bytes[8..16].copy_from_slice(&(user_ns % 1_000_000_000 / 1000).to_le_bytes());
    bytes
}

fn getrusage(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let process = &thread.process;
    let now = thread.kernel.platform.monotonic_ns();
    let user_ns = match args.int(0) {
        0 => process.cpu_time_ns(),
        -1 => process.children_cpu_ns.load(Ordering::Relaxed),
        1 => thread.cpu_time_ns(now),
        _ => return Err(Errno::EINVAL),
    };
    let mut bytes = encode_rusage(user_ns);
    // ru_maxrss in KiB: what is filled now.
    let filled = thread.mm().usage().1 / 1024;
    bytes[32..40].copy_from_slice(&filled.to_le_bytes());
    thread.mm().write(args.0[1], &bytes)?;
    Ok(0)
}

/// USER_HZ.
const TICK_NS: u64 = 10_000_000;

fn times(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let process = &thread.process;
    if args.0[0] != 0 {
        let own = process.cpu_time_ns() / TICK_NS;
        let children = process.children_cpu_ns.load(Ordering::Relaxed) / TICK_NS;
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&own.to_le_bytes());
        bytes[16..24].copy_from_slice(&children.to_le_bytes());
        thread.mm().write(args.0[0], &bytes)?;
    }
    Ok(thread.kernel.platform.monotonic_ns() / TICK_NS)
}
