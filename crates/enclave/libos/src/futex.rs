//! futex(2): waiting for a word of user memory to change.
//!
//! A word in a private mapping is named by (address space, address), one in a shared mapping by (object,
//! offset), so that a word means the same to everyone who shares it wherever it is mapped.
//!
//! Lock order: a bucket (two by ascending index), then the memory manager. A waiter's word is compared
//! under its bucket's lock, and a waker takes that lock too, so that no wake falls between the look and the
//! sleep.

use crate::errno::Errno;
use crate::mm::{Mm, MmId};
use crate::sync::Mutex;
use crate::syscall::{Args, Entry, SysResult};
use crate::thread::Thread;
use crate::wait::{ThreadRef, WaitError};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

/// The calls of this module.
pub const TABLE: &[Entry] = &[Entry::partial(
    202,
    "no priority-inheriting operations: ENOSYS, as a kernel without CONFIG_FUTEX_PI",
    sys_futex,
)];

const BUCKETS: usize = 64;
const ANY: u32 = u32::MAX;

/// What names a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Private(MmId, u64),
    Shared(u64, u64),
}

impl Key {
    fn of(mm: &Mm, address: u64, is_private: bool) -> Result<Self, Errno> {
        if !address.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        let shared = if is_private { None } else { mm.shared_place(address) };
        Ok(match shared {
            Some((object, offset)) => Self::Shared(object, offset),
            None => Self::Private(mm.id, address),
        })
    }

    fn bucket(self) -> usize {
        let (first, second) = match self {
            Self::Private(mm, address) => (mm.0, address),
            Self::Shared(object, offset) => (object, offset),
        };
        let mixed = (first ^ second >> 2).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 58) as usize % BUCKETS
    }
}

struct Waiter {
    thread: ThreadRef,
    bitset: u32,
    is_woken: AtomicBool,
    /// Changed by a requeue, under the locks of both buckets.
    key: Mutex<Key>,
}

type Bucket = Vec<Arc<Waiter>>;

/// All who wait.
pub struct Futexes {
    buckets: Box<[Mutex<Bucket>]>,
}

impl Default for Futexes {
    fn default() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| Mutex::new(Vec::new())).collect() }
    }
}

impl Futexes {
    /// Wakes at most `count` waiters on the word at `address`; gives their number.
    ///
    /// # Errors
    /// EINVAL for an address not aligned to 4.
    pub fn wake(
        &self,
        mm: &Mm,
        address: u64,
        is_private: bool,
        count: u32,
        bitset: u32,
    ) -> Result<u64, Errno> {
        let key = Key::of(mm, address, is_private)?;
        Ok(wake_in(&mut self.buckets[key.bucket()].lock(), key, count, bitset))
    }

    /// Adds the calling thread if the word is still `expected`.
    fn enqueue(
        &self,
        thread: ThreadRef,
        mm: &Mm,
        address: u64,
        key: Key,
        expected: u32,
        bitset: u32,
    ) -> Result<Arc<Waiter>, Errno> {
        let mut bucket = self.buckets[key.bucket()].lock();
        if mm.load_u32(address)? != expected {
            return Err(Errno::EAGAIN);
        }
        let waiter = Arc::new(Waiter {
            thread,
            bitset,
            is_woken: AtomicBool::new(false),
            key: Mutex::new(key),
        });
        bucket.push(Arc::clone(&waiter));
        Ok(waiter)
    }

    /// Takes a waiter out after an interruption or a time-out; whether it had been woken all the same.
    fn give_up(&self, waiter: &Arc<Waiter>) -> bool {
        loop {
            let key = *waiter.key.lock();
            let mut bucket = self.buckets[key.bucket()].lock();
            if *waiter.key.lock() == key {
                bucket.retain(|other| !Arc::ptr_eq(other, waiter));
                return waiter.is_woken.load(Ordering::Acquire);
            }
        }
    }

    /// Wakes `wake` waiters on `from` and lets at most `move_count` others wait on `to` instead, if the
    /// word at `address` is `expected`.
    fn requeue(
        &self,
        from: Key,
        to: Key,
        wake: u32,
        move_count: u32,
        unchanged: impl FnOnce() -> Result<bool, Errno>,
    ) -> Result<(u64, u64), Errno> {
        let (low, high) = (from.bucket().min(to.bucket()), from.bucket().max(to.bucket()));
        let mut first = self.buckets[low].lock();
        let mut second = (low != high).then(|| self.buckets[high].lock());
        if !unchanged()? {
            return Err(Errno::EAGAIN);
        }
        let (source, mut target) = match &mut second {
            None => (&mut *first, None),
            Some(second) if from.bucket() == low => (&mut *first, Some(&mut **second)),
            Some(second) => (&mut **second, Some(&mut *first)),
        };
        let woken = wake_in(source, from, wake, ANY);
        let mut moved = 0;
        let mut index = 0;
        while index < source.len() && moved < u64::from(move_count) {
            if *source[index].key.lock() != from {
                index += 1;
                continue;
            }
            *source[index].key.lock() = to;
            moved += 1;
            match &mut target {
                Some(target) => target.push(source.remove(index)),
                None => index += 1,
            }
        }
        Ok((woken, moved))
    }
}

/// Wakes in the order of arrival.
fn wake_in(bucket: &mut Bucket, key: Key, count: u32, bitset: u32) -> u64 {
    let mut woken = 0;
    bucket.retain(|waiter| {
        let is_meant =
            woken < u64::from(count) && waiter.bitset & bitset != 0 && *waiter.key.lock() == key;
        if is_meant {
            woken += 1;
            waiter.is_woken.store(true, Ordering::Release);
            waiter.thread.wake();
        }
        !is_meant
    });
    woken
}

const FUTEX_PRIVATE: u32 = 128;
const FUTEX_CLOCK_REALTIME: u32 = 256;

fn sys_futex(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let [address, operation, value, timeout, address2, value3] = args.0;
    let (value, value3) = (value as u32, value3 as u32);
    let is_private = operation as u32 & FUTEX_PRIVATE != 0;
    let is_realtime = operation as u32 & FUTEX_CLOCK_REALTIME != 0;
    let futexes = &thread.kernel.futexes;
    let mm = thread.mm();
    match operation as u32 & !(FUTEX_PRIVATE | FUTEX_CLOCK_REALTIME) {
        // FUTEX_WAIT: the timeout is relative
        0 => wait(thread, address, is_private, value, ANY, relative(thread, timeout)?),
        // FUTEX_WAIT_BITSET: it is absolute
        9 if value3 != 0 => {
            let deadline = absolute(thread, timeout, is_realtime)?;
            wait(thread, address, is_private, value, value3, deadline)
        }
        // FUTEX_WAKE, FUTEX_WAKE_BITSET
        1 => futexes.wake(&mm, address, is_private, value, ANY),
        10 if value3 != 0 => futexes.wake(&mm, address, is_private, value, value3),
        // FUTEX_REQUEUE, FUTEX_CMP_REQUEUE: the fourth argument is a count
        command @ (3 | 4) => {
            let from = Key::of(&mm, address, is_private)?;
            let to = Key::of(&mm, address2, is_private)?;
            if (value as i32) < 0 || (timeout as i32) < 0 {
                return Err(Errno::EINVAL);
            }
            let unchanged = || Ok(command == 3 || mm.load_u32(address)? == value3);
            let (woken, moved) = futexes.requeue(from, to, value, timeout as u32, unchanged)?;
            Ok(if command == 3 { woken } else { woken + moved })
        }
        // FUTEX_WAKE_OP
        5 => wake_op(thread, &mm, args, is_private),
        9 | 10 => Err(Errno::EINVAL),
        _ => Err(Errno::ENOSYS),
    }
}

fn wait(
    thread: &Thread,
    address: u64,
    is_private: bool,
    expected: u32,
    bitset: u32,
    deadline_ns: Option<u64>,
) -> SysResult {
    let mm = thread.mm();
    let futexes = &thread.kernel.futexes;
    let key = Key::of(&mm, address, is_private)?;
    let me = ThreadRef::current(thread.kernel.platform);
    let waiter = futexes.enqueue(me, &mm, address, key, expected, bitset)?;
    let waited =
        thread.wait(&[], deadline_ns, || waiter.is_woken.load(Ordering::Acquire).then_some(()));
    match waited {
        Ok(()) => Ok(0),
        // A wake that came at the last moment is not lost: it was meant for this thread.
        Err(_) if futexes.give_up(&waiter) => Ok(0),
        Err(WaitError::TimedOut) => Err(Errno::ETIMEDOUT),
        Err(WaitError::Interrupted) if deadline_ns.is_none() => Err(Errno::ERESTARTSYS),
        Err(WaitError::Interrupted) => Err(Errno::ERESTARTNOHAND),
    }
}

/// FUTEX_WAKE_OP: changes the second word, wakes on the first, and on the second if its old value compares.
fn wake_op(thread: &Thread, mm: &Mm, args: &Args, is_private: bool) -> SysResult {
    let [address, _, count, count2, address2, encoded] = args.0;
    let encoded = encoded as u32;
    let sign_extend = |value: u32| ((value << 20) as i32 >> 20) as u32;
    let (operation, comparison) = (encoded >> 28, encoded >> 24 & 0xf);
    let (operand, comparand) = (sign_extend(encoded >> 12 & 0xfff), sign_extend(encoded & 0xfff));
    let operand = if operation & 8 == 0 { operand } else { 1_u32.wrapping_shl(operand) };
    let change: fn(u32, u32) -> u32 = match operation & 7 {
        0 => |_, operand| operand,
        1 => u32::wrapping_add,
        2 => |old, operand| old | operand,
        3 => |old, operand| old & !operand,
        4 => |old, operand| old ^ operand,
        _ => return Err(Errno::ENOSYS),
    };
    let compare: fn(&i32, &i32) -> bool = match comparison {
        0 => |a, b| a == b,
        1 => |a, b| a != b,
        2 => |a, b| a < b,
        3 => |a, b| a <= b,
        4 => |a, b| a > b,
        5 => |a, b| a >= b,
        _ => return Err(Errno::ENOSYS),
    };
    let old = mm.update_u32(address2, |old| Some(change(old, operand)))?;
    let futexes = &thread.kernel.futexes;
    let mut woken = futexes.wake(mm, address, is_private, count as u32, ANY)?;
    if compare(&(old as i32), &(comparand as i32)) {
        woken += futexes.wake(mm, address2, is_private, count2 as u32, ANY)?;
    }
    Ok(woken)
}

/// A relative timeout as a deadline; address 0 is none.
fn relative(thread: &Thread, address: u64) -> Result<Option<u64>, Errno> {
    let Some(nanoseconds) = timespec(thread, address)? else { return Ok(None) };
    Ok(Some(thread.kernel.platform.monotonic_ns().saturating_add(nanoseconds)))
}

/// An absolute timeout as a deadline of CLOCK_MONOTONIC.
fn absolute(thread: &Thread, address: u64, is_realtime: bool) -> Result<Option<u64>, Errno> {
    let Some(nanoseconds) = timespec(thread, address)? else { return Ok(None) };
    let platform = thread.kernel.platform;
    if !is_realtime {
        return Ok(Some(nanoseconds));
    }
    let left = nanoseconds.saturating_sub(platform.realtime_ns());
    Ok(Some(platform.monotonic_ns().saturating_add(left)))
}

fn timespec(thread: &Thread, address: u64) -> Result<Option<u64>, Errno> {
    if address == 0 {
        return Ok(None);
    }
    crate::syscall::clock::read_timespec(thread, address).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::Memory;
    use crate::mm::map::{Place, Request};
    use crate::mm::vma::{Backing, Role};
    use crate::platform::Access;
    use crate::testing::Machine;
    use crate::wait::wait_uninterrupted;

    const WORD: u64 = 0x40_0000;
    const OTHER: u64 = 0x40_0100;

    fn memory() -> (&'static Machine, Arc<Mm>) {
        let machine = Machine::leak(64);
        let memory = Box::leak(Box::new(Memory::new(machine)));
        let mm = Mm::new(memory);
        let access = Access { read: true, write: true, execute: false };
        mm.map(Request {
            place: Place::Fixed(WORD),
            length: 4096,
            access,
            backing: Backing::Anonymous,
            role: Role::Plain,
            path: Arc::from([]),
        })
        .unwrap();
        (machine, mm)
    }

    fn enqueue(futexes: &Futexes, machine: &'static Machine, mm: &Mm, bitset: u32) -> Arc<Waiter> {
        let key = Key::of(mm, WORD, true).unwrap();
        futexes.enqueue(ThreadRef::current(machine), mm, WORD, key, 0, bitset).unwrap()
    }

    fn is_woken(waiter: &Waiter) -> bool {
        waiter.is_woken.load(Ordering::Acquire)
    }

    #[test]
    fn a_word_that_changed_does_not_wait() {
        let (machine, mm) = memory();
        let futexes = Futexes::default();
        mm.write(WORD, &1_u32.to_le_bytes()).unwrap();
        let key = Key::of(&mm, WORD, true).unwrap();
        let refused = futexes.enqueue(ThreadRef::current(machine), &mm, WORD, key, 0, ANY);
        assert_eq!(refused.err(), Some(Errno::EAGAIN));
        assert_eq!(Key::of(&mm, WORD + 2, true), Err(Errno::EINVAL));
    }

    #[test]
    fn a_wake_ends_a_sleep_of_another_thread() {
        let (machine, mm) = memory();
        let futexes: &'static Futexes = Box::leak(Box::default());
        let sleeper = std::thread::spawn({
            let mm = Arc::clone(&mm);
            move || {
                let waiter = enqueue(futexes, machine, &mm, ANY);
                wait_uninterrupted(machine, &[], None, || is_woken(&waiter).then_some(()))
            }
        });
        while futexes.wake(&mm, WORD, true, 1, ANY).unwrap() == 0 {
            std::thread::yield_now();
        }
        assert_eq!(sleeper.join().unwrap(), Some(()));
    }

    #[test]
    fn waking_goes_by_arrival_and_by_bitset() {
        let (machine, mm) = memory();
        let futexes = Futexes::default();
        let waiters = [1, 2, 1].map(|bitset| enqueue(&futexes, machine, &mm, bitset));
        assert_eq!(futexes.wake(&mm, WORD, true, 1, ANY), Ok(1));
        assert!(is_woken(&waiters[0]) && !is_woken(&waiters[1]));
        assert_eq!(futexes.wake(&mm, WORD, true, 9, 1), Ok(1));
        assert!(is_woken(&waiters[2]) && !is_woken(&waiters[1]));
        assert!(!futexes.give_up(&waiters[1]), "nobody woke it");
        assert_eq!(futexes.wake(&mm, WORD, true, 9, ANY), Ok(0), "and it is gone");
    }

    #[test]
    fn the_requeued_wait_at_the_other_word() {
        let (machine, mm) = memory();
        let futexes = Futexes::default();
        let waiters = [ANY; 4].map(|bitset| enqueue(&futexes, machine, &mm, bitset));
        let (from, to) = (Key::of(&mm, WORD, true).unwrap(), Key::of(&mm, OTHER, true).unwrap());
        let changed = futexes.requeue(from, to, 1, 2, || Ok(false));
        assert_eq!(changed, Err(Errno::EAGAIN));
        assert_eq!(futexes.requeue(from, to, 1, 2, || Ok(true)), Ok((1, 2)));
        assert!(is_woken(&waiters[0]));
        assert_eq!(futexes.wake(&mm, OTHER, true, 9, ANY), Ok(2));
        assert!(!is_woken(&waiters[3]));
        assert_eq!(futexes.wake(&mm, WORD, true, 9, ANY), Ok(1));
    }

    #[test]
    fn another_address_space_has_other_words() {
        let (machine, mm) = memory();
        let futexes = Futexes::default();
        let waiter = enqueue(&futexes, machine, &mm, ANY);
        let other = Mm::new(mm.memory);
        assert_eq!(futexes.wake(&other, WORD, true, 9, ANY), Ok(0));
        assert!(!is_woken(&waiter));
    }
}
