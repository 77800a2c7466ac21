//! poll, ppoll, select, pselect6.

use super::SysResult;
use crate::errno::Errno;
use crate::fs::epoll::{ALWAYS, with_aliases};
use crate::fs::fd::OpenFile;
use crate::fs::task::Task;
use crate::host::Readiness;
use crate::syscall::Args;
use crate::wait::{WaitError, WaitQueue};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

const POLLNVAL: u16 = 0x20;
const POLLPRI: u32 = 0x02;

/// One descriptor and what is wanted of it.
struct Watched {
    open: Option<Arc<OpenFile>>,
    events: u32,
}

impl Watched {
    fn ready(&self, task: &dyn Task) -> u32 {
        match &self.open {
            Some(open) => with_aliases(open.file.poll_for(task)) & (self.events | ALWAYS),
            None => 0,
        }
    }
}

/// Nanoseconds on CLOCK_MONOTONIC at which a wait ends.
#[derive(Clone, Copy)]
pub(super) enum Until {
    /// It does not wait at all.
    Now,
    Deadline(u64),
    Forever,
}

impl Until {
    /// From a relative time.
    pub(super) fn after(task: &dyn Task, ns: u64) -> Self {
        match ns {
            0 => Self::Now,
            _ => Self::Deadline(task.platform().monotonic_ns().saturating_add(ns)),
        }
    }

    /// From milliseconds, negative for ever.
    pub(super) fn millis(task: &dyn Task, millis: i32) -> Self {
        match u64::try_from(millis) {
            Ok(millis) => Self::after(task, millis * 1_000_000),
            Err(_) => Self::Forever,
        }
    }

    /// From a relative `struct timespec`, null for ever.
    pub(super) fn timespec(task: &dyn Task, address: u64) -> Result<Self, Errno> {
        match address {
            0 => Ok(Self::Forever),
            _ => Ok(Self::after(task, read_pair(task, address, 1)?)),
        }
    }

    /// Whether nothing is left of it.
    pub(super) fn is_over(self, task: &dyn Task) -> bool {
        !matches!(self, Self::Forever) && self.left(task) == 0
    }

    /// Nanoseconds left.
    fn left(self, task: &dyn Task) -> u64 {
        match self {
            Self::Deadline(at) => at.saturating_sub(task.platform().monotonic_ns()),
            _ => 0,
        }
    }
}

/// Two words, seconds and a part of `scale` nanoseconds, as nanoseconds.
fn read_pair(task: &dyn Task, address: u64, scale: u64) -> Result<u64, Errno> {
    let raw: [u8; 16] = task.read_array(address)?;
    let word = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&raw[at..at + 8]);
        i64::from_le_bytes(word)
    };
    let (Ok(seconds), Ok(part)) = (u64::try_from(word(0)), u64::try_from(word(8))) else {
        return Err(Errno::EINVAL);
    };
    if part >= 1_000_000_000 / scale {
        return Err(Errno::EINVAL);
    }
    Ok(seconds.saturating_mul(1_000_000_000).saturating_add(part * scale))
}

/// Waits until `attempt` answers true, or the time is over (false).
pub(super) fn wait_until(
    task: &dyn Task,
    queues: &[&WaitQueue],
    until: Until,
    mut attempt: impl FnMut() -> bool,
) -> Result<bool, Errno> {
    let deadline = match until {
        Until::Now => return Ok(attempt()),
        Until::Deadline(at) => Some(at),
        Until::Forever => None,
    };
    match task.wait(queues, deadline, &mut attempt) {
        Ok(()) => Ok(true),
        Err(WaitError::TimedOut) => Ok(false),
        // A handler always ends these calls, whatever SA_RESTART says (signal(7)).
        Err(WaitError::Interrupted) => Err(Errno::ERESTARTNOHAND),
    }
}

/// Sets the signal mask of a wait, where the program gave one.
pub(super) fn wait_mask(task: &dyn Task, address: u64, size: u64) -> Result<(), Errno> {
    if address == 0 {
        return Ok(());
    }
    if size != 8 {
        return Err(Errno::EINVAL);
    }
    let mask = u64::from_le_bytes(task.read_array(address)?);
    task.set_wait_mask(mask);
    Ok(())
}

fn wait_for_any(task: &dyn Task, watched: &[Watched], until: Until) -> Result<bool, Errno> {
    let files = watched.iter().filter_map(|watched| watched.open.as_ref());
    let queues: Vec<&WaitQueue> = files.filter_map(|open| open.file.wait_queue()).collect();
    wait_until(task, &queues, until, || watched.iter().any(|one| one.ready(task) != 0))
}

/// poll(2)
pub(super) fn poll(task: &dyn Task, args: &Args) -> SysResult {
    poll_fds(task, args.0[0], args.0[1], Until::millis(task, args.int(2)))
}

/// ppoll(2)
pub(super) fn ppoll(task: &dyn Task, args: &Args) -> SysResult {
    let until = Until::timespec(task, args.0[2])?;
    wait_mask(task, args.0[3], args.0[4])?;
    poll_fds(task, args.0[0], args.0[1], until)
}

fn poll_fds(task: &dyn Task, address: u64, count: u64, until: Until) -> SysResult {
    if count > task.limit_nofile() {
        return Err(Errno::EINVAL);
    }
    let mut raw = vec![0; count as usize * 8];
    task.read_user(address, &mut raw)?;
    let files = task.files();
    let mut has_invalid = false;
    let mut watched = Vec::with_capacity(count as usize);
    for entry in raw.chunks_exact(8) {
        let fd = i32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]);
        let events = u32::from(u16::from_le_bytes([entry[4], entry[5]]));
        let open = if fd < 0 { None } else { files.get_file(fd).ok() };
        has_invalid |= fd >= 0 && open.is_none();
        watched.push(Watched { open, events });
    }
    wait_for_any(task, &watched, if has_invalid { Until::Now } else { until })?;
    let mut found = 0;
    for (entry, watched) in raw.chunks_exact_mut(8).zip(&watched) {
        let fd = i32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]);
        let revents = match watched.open {
            None if fd >= 0 => POLLNVAL,
            _ => watched.ready(task) as u16,
        };
        entry[6..].copy_from_slice(&revents.to_le_bytes());
        found += u64::from(revents != 0);
    }
    task.write_user(address, &raw)?;
    Ok(found)
}

/// select(2)
pub(super) fn select(task: &dyn Task, args: &Args) -> SysResult {
    let until = match args.0[4] {
        0 => Until::Forever,
        address => {
            // More than a second of microseconds is carried over, as Linux does.
            let raw: [u8; 16] = task.read_array(address)?;
            let word = |at: usize| {
                let mut word = [0; 8];
                word.copy_from_slice(&raw[at..at + 8]);
                u64::try_from(i64::from_le_bytes(word)).map_err(|_| Errno::EINVAL)
            };
            let seconds = word(0)?.saturating_mul(1_000_000_000);
            Until::after(task, seconds.saturating_add(word(8)?.saturating_mul(1000)))
        }
    };
    select_fds(task, args, until, 1000)
}

/// pselect6(2)
pub(super) fn pselect6(task: &dyn Task, args: &Args) -> SysResult {
    let until = Until::timespec(task, args.0[4])?;
    if args.0[5] != 0 {
        let raw: [u8; 16] = task.read_array(args.0[5])?;
        let (mask, size) = raw.split_at(8);
        let word = |bytes: &[u8]| {
            let mut word = [0; 8];
            word.copy_from_slice(bytes);
            u64::from_le_bytes(word)
        };
        wait_mask(task, word(mask), word(size))?;
    }
    select_fds(task, args, until, 1)
}

/// What each of the three sets asks for, and which readiness sets its bits.
const SETS: [(u32, u32); 3] = [
    (
        (Readiness::IN.0 | Readiness::RDHUP.0) as u32,
        (Readiness::IN.0 | Readiness::HUP.0 | Readiness::ERR.0) as u32,
    ),
    (Readiness::OUT.0 as u32, (Readiness::OUT.0 | Readiness::ERR.0) as u32),
    (POLLPRI, POLLPRI),
];

/// `scale`: nanoseconds of a unit of the second word of the time.
fn select_fds(task: &dyn Task, args: &Args, until: Until, scale: u64) -> SysResult {
    let count = usize::try_from(args.int(0)).map_err(|_| Errno::EINVAL)?;
    let count = count.min(task.limit_nofile() as usize);
    let bytes = count.div_ceil(64) * 8;
    let mut sets: [Vec<u8>; 3] = [vec![0; bytes], vec![0; bytes], vec![0; bytes]];
    for (set, address) in sets.iter_mut().zip(&args.0[1..4]) {
        if *address != 0 {
            task.read_user(*address, set)?;
        }
    }
    let files = task.files();
    let mut watched = Vec::new();
    let mut wanted = Vec::new();
    for fd in 0..count {
        let asked = [0, 1, 2].map(|set: usize| sets[set][fd / 8] & (1 << (fd % 8)) != 0);
        if asked == [false; 3] {
            continue;
        }
        let open = Some(files.get_file(fd as i32)?);
        let sets_asked = asked.iter().zip(SETS).filter(|(asked, _)| **asked);
        let events = sets_asked.fold(0, |events, (_, (ask, _))| events | ask);
        watched.push(Watched { open, events });
        wanted.push((fd, asked));
    }
    // POLLHUP alone makes a descriptor of the write set no more ready: it is asked again below.
    let ready_sets = |watched: &Watched, asked: &[bool; 3]| {
        let ready = watched.ready(task);
        [0, 1, 2].map(|set: usize| asked[set] && ready & SETS[set].1 != 0)
    };
    let queues: Vec<&WaitQueue> =
        watched.iter().filter_map(|one| one.open.as_ref()?.file.wait_queue()).collect();
    wait_until(task, &queues, until, || {
        watched.iter().zip(&wanted).any(|(one, (_, asked))| ready_sets(one, asked) != [false; 3])
    })?;
    sets.iter_mut().for_each(|set| set.fill(0));
    let mut found = 0;
    for (one, (fd, asked)) in watched.iter().zip(&wanted) {
        for (set, is_ready) in sets.iter_mut().zip(ready_sets(one, asked)) {
            if is_ready {
                set[fd / 8] |= 1 << (fd % 8);
                found += 1;
            }
        }
    }
    for (set, address) in sets.iter().zip(&args.0[1..4]) {
        if *address != 0 {
            task.write_user(*address, set)?;
        }
    }
    if args.0[4] != 0 {
        let left = until.left(task);
        let mut raw = [0; 16];
        raw[..8].copy_from_slice(&(left / 1_000_000_000).to_le_bytes());
        raw[8..].copy_from_slice(&(left % 1_000_000_000 / scale).to_le_bytes());
        task.write_user(args.0[4], &raw)?;
    }
    Ok(found)
}
