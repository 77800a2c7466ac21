//! Clocks and sleeping.
//!
//! CLOCK_REALTIME is the host's word, bounded in rate; the others come from RDTSC. CPU-time clocks
//! cannot be measured in an enclave (the host preempts unseen): they give elapsed time, an upper bound.

use super::{Args, Entry, SysResult};
use crate::errno::Errno;
use crate::thread::Thread;
use crate::wait::WaitError;
use alloc::sync::Arc;

/// The calls of this module.
pub const TABLE: &[Entry] = &[
    Entry::full(35, sys_nanosleep),
    Entry::full(96, sys_gettimeofday),
    Entry::full(201, sys_time),
    Entry::partial(228, "CPU-time clocks give elapsed time", sys_clock_gettime),
    Entry::full(229, sys_clock_getres),
    Entry::full(230, sys_clock_nanosleep),
];

const SECOND: u64 = 1_000_000_000;
const TIMER_ABSTIME: u64 = 1;

/// Clocks that there are (clock_gettime(2)).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clock {
    Realtime,
    Monotonic,
    CpuTime,
}

impl Clock {
    fn new(id: i32) -> Result<Self, Errno> {
        match id {
            0 | 5 | 11 => Ok(Self::Realtime),
            1 | 4 | 6 | 7 => Ok(Self::Monotonic),
            2 | 3 => Ok(Self::CpuTime),
            // The clock of another process or thread (clock_getcpuclockid(3)).
            id if id < 0 => Ok(Self::CpuTime),
            _ => Err(Errno::EINVAL),
        }
    }

    fn now(self, thread: &Thread) -> u64 {
        match self {
            Self::Realtime => thread.kernel.platform.realtime_ns(),
            Self::Monotonic | Self::CpuTime => thread.kernel.platform.monotonic_ns(),
        }
    }
}

/// Reads a `struct timespec` as nanoseconds.
///
/// # Errors
/// EFAULT; EINVAL for a negative or unnormalised time.
pub fn read_timespec(thread: &Thread, address: u64) -> Result<u64, Errno> {
    let bytes: [u8; 16] = thread.mm().read_array(address)?;
    let (seconds, nanoseconds) = bytes.split_at(8);
    let word = |half: &[u8]| {
        let mut word = [0; 8];
        word.copy_from_slice(half);
        i64::from_le_bytes(word)
    };
    match (u64::try_from(word(seconds)), u64::try_from(word(nanoseconds))) {
        (Ok(seconds), Ok(nanoseconds)) if nanoseconds < SECOND => {
            Ok(seconds.saturating_mul(SECOND).saturating_add(nanoseconds))
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Writes nanoseconds as a `struct timespec`.
///
/// # Errors
/// EFAULT.
pub fn write_timespec(thread: &Thread, address: u64, nanoseconds: u64) -> Result<(), Errno> {
    write_pair(thread, address, nanoseconds / SECOND, nanoseconds % SECOND)
}

fn write_pair(thread: &Thread, address: u64, first: u64, second: u64) -> Result<(), Errno> {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&first.to_le_bytes());
    bytes[8..].copy_from_slice(&second.to_le_bytes());
    thread.mm().write(address, &bytes)
}

fn sys_clock_gettime(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let now = Clock::new(args.int(0))?.now(thread);
    write_timespec(thread, args.0[1], now)?;
    Ok(0)
}

fn sys_clock_getres(thread: &Arc<Thread>, args: &Args) -> SysResult {
    Clock::new(args.int(0))?;
    if args.0[1] != 0 {
        write_timespec(thread, args.0[1], 1)?;
    }
    Ok(0)
}

fn sys_gettimeofday(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let now = Clock::Realtime.now(thread);
    if args.0[0] != 0 {
        write_pair(thread, args.0[0], now / SECOND, now % SECOND / 1000)?;
    }
    if args.0[1] != 0 {
        thread.mm().write(args.0[1], &[0; 8])?;
    }
    Ok(0)
}

fn sys_time(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let seconds = Clock::Realtime.now(thread) / SECOND;
    if args.0[0] != 0 {
        thread.mm().write(args.0[0], &seconds.to_le_bytes())?;
    }
    Ok(seconds)
}

fn sys_nanosleep(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let length = read_timespec(thread, args.0[0])?;
    let deadline = Clock::Monotonic.now(thread).saturating_add(length);
    sleep(thread, deadline, args.0[1])
}

fn sys_clock_nanosleep(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let [_, flags, request, remaining, ..] = args.0;
    let clock = Clock::new(args.int(0))?;
    if clock == Clock::CpuTime {
        return Err(Errno::EOPNOTSUPP);
    }
    let time = read_timespec(thread, request)?;
    let now = Clock::Monotonic.now(thread);
    if flags & TIMER_ABSTIME == 0 {
        return sleep(thread, now.saturating_add(time), remaining);
    }
    let left = time.saturating_sub(clock.now(thread));
    sleep(thread, now.saturating_add(left), 0)
}

/// Sleeps until `deadline`; what is left after an interruption goes to `remaining`, if not 0.
fn sleep(thread: &Thread, deadline: u64, remaining: u64) -> SysResult {
    let slept = thread.wait(&[], Some(deadline), || None::<()>);
    if slept != Err(WaitError::Interrupted) {
        return Ok(0);
    }
    if remaining != 0 {
        let left = deadline.saturating_sub(Clock::Monotonic.now(thread));
        write_timespec(thread, remaining, left)?;
    }
    Err(Errno::ERESTARTNOHAND)
}
