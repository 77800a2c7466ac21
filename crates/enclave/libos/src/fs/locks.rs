//! Advisory locks: POSIX record locks (F_SETLK), open-file-description locks (F_OFD_SETLK), flock(2).
//!
//! One table for all files, keyed by inode, empty most of the time. POSIX locks belong to a descriptor
//! table, OFD and flock locks to a description. flock(2) and the others do not see each other, as on
//! Linux's local file systems.

use crate::errno::Errno;
use crate::sync::Mutex;
use crate::wait::WaitQueue;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Who holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A descriptor table: POSIX record locks.
    Table(u64),
    /// An open file description: OFD locks.
    Description(u64),
    /// An open file description: flock(2).
    Flock(u64),
}

impl Owner {
    fn is_flock(self) -> bool {
        matches!(self, Self::Flock(_))
    }
}

/// A locked range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Who.
    pub owner: Owner,
    /// Process to show to F_GETLK.
    pub pid: u32,
    /// First byte.
    pub start: u64,
    /// Byte after the last; `u64::MAX` for no end.
    pub end: u64,
    /// Exclusive (F_WRLCK, LOCK_EX).
    pub is_exclusive: bool,
}

type Key = (u64, u64);

static TABLE: Mutex<BTreeMap<Key, Vec<Lock>>> = Mutex::new(BTreeMap::new());
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// Woken whenever a lock goes.
pub static RELEASED: WaitQueue = WaitQueue::new();

/// The first lock that keeps `wanted` from being granted.
#[must_use]
pub fn conflict(key: Key, wanted: &Lock) -> Option<Lock> {
    TABLE.lock().get(&key)?.iter().find(|held| is_conflict(held, wanted)).copied()
}

/// Grants `wanted`, in place of what its owner held in that range.
///
/// # Errors
/// EAGAIN where another owner holds a conflicting lock.
pub fn acquire(key: Key, wanted: Lock) -> Result<(), Errno> {
    let mut table = TABLE.lock();
    let held = table.entry(key).or_default();
    if held.iter().any(|held| is_conflict(held, &wanted)) {
        return Err(Errno::EAGAIN);
    }
    let before = held.len();
    cut(held, wanted.owner, wanted.start, wanted.end);
    held.push(wanted);
    join(held, wanted.owner);
    let after = held.len();
    COUNT.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
    drop(table);
    // A downgrade lets others in.
    RELEASED.wake_all();
    Ok(())
}

/// Gives up a range.
pub fn unlock(key: Key, owner: Owner, start: u64, end: u64) {
    if COUNT.load(Ordering::Relaxed) == 0 {
        return;
    }
    let mut table = TABLE.lock();
    let Some(held) = table.get_mut(&key) else { return };
    let before = held.len();
    cut(held, owner, start, end);
    let after = held.len();
    COUNT.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
    if held.is_empty() {
        table.remove(&key);
    }
    drop(table);
    RELEASED.wake_all();
}

/// Gives up all that an owner holds on a file; a description's flock goes with its OFD locks.
pub fn release(key: Key, owner: Owner) {
    unlock(key, owner, 0, u64::MAX);
    if let Owner::Description(id) = owner {
        unlock(key, Owner::Flock(id), 0, u64::MAX);
    }
}

fn is_conflict(held: &Lock, wanted: &Lock) -> bool {
    held.owner != wanted.owner
        && held.owner.is_flock() == wanted.owner.is_flock()
        && (held.is_exclusive || wanted.is_exclusive)
        && held.start < wanted.end
        && wanted.start < held.end
}

/// Removes `start..end` from the owner's locks; one may become two.
fn cut(held: &mut Vec<Lock>, owner: Owner, start: u64, end: u64) {
    let mut rest = Vec::new();
    held.retain(|lock| {
        if lock.owner != owner || lock.end <= start || end <= lock.start {
            return true;
        }
        if lock.start < start {
            rest.push(Lock { end: start, ..*lock });
        }
        if end < lock.end {
            rest.push(Lock { start: end, ..*lock });
        }
        false
    });
    held.append(&mut rest);
}

/// Joins adjacent locks of one kind, so that a file locked byte by byte stays one entry.
fn join(held: &mut Vec<Lock>, owner: Owner) {
    held.sort_by_key(|lock| lock.start);
    let mut at = 0;
    while at < held.len() {
        let next = (at + 1..held.len()).find(|&other| {
            held[at].owner == owner
                && held[other].owner == owner
                && held[at].is_exclusive == held[other].is_exclusive
                && held[at].end == held[other].start
        });
        match next {
            Some(other) => held[at].end = held.remove(other).end,
            None => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(owner: u64, start: u64, end: u64, is_exclusive: bool) -> Lock {
        Lock { owner: Owner::Table(owner), pid: owner as u32, start, end, is_exclusive }
    }

    #[test]
    fn ranges_split_join_and_conflict_as_fcntl_says() {
        let key = (u64::MAX, 1);
        acquire(key, lock(1, 0, 100, true)).unwrap();
        assert_eq!(acquire(key, lock(2, 50, 60, false)), Err(Errno::EAGAIN));
        unlock(key, Owner::Table(1), 50, 60);
        acquire(key, lock(2, 50, 60, false)).unwrap();
        assert_eq!(acquire(key, lock(2, 49, 60, false)), Err(Errno::EAGAIN));
        assert_eq!(conflict(key, &lock(2, 60, 61, true)).unwrap().start, 60);
        // The holder changes its own lock without conflict, and neighbours become one.
        acquire(key, lock(1, 60, 100, true)).unwrap();
        release(key, Owner::Table(2));
        acquire(key, lock(1, 50, 60, true)).unwrap();
        assert_eq!(conflict(key, &lock(3, 0, 1, false)).unwrap().end, 100);
        release(key, Owner::Table(1));
        assert_eq!(conflict(key, &lock(3, 0, u64::MAX, true)), None);
    }

    #[test]
    fn flock_and_record_locks_do_not_see_each_other() {
        let key = (u64::MAX, 2);
        acquire(key, lock(1, 0, u64::MAX, true)).unwrap();
        let flock = Lock { owner: Owner::Flock(9), ..lock(0, 0, u64::MAX, true) };
        acquire(key, flock).unwrap();
        let other = Lock { owner: Owner::Flock(8), ..flock };
        assert_eq!(acquire(key, other), Err(Errno::EAGAIN));
        release(key, Owner::Description(9));
        acquire(key, other).unwrap();
        release(key, Owner::Description(8));
        release(key, Owner::Table(1));
    }
}
