//! Waiting for events.
//!
//! Every wait of the library OS is: register with the queues whose events may change the answer, look,
//! park, look again. A wake between the look and the park is kept by [`Platform::unpark`]. A waiting
//! thread has left its collision group (its process may be moved out of memory meanwhile), so that user
//! memory must be reached through [`crate::usermem`] again after every wait.

use crate::errno::Errno;
use crate::platform::{Platform, ThreadId};
use crate::sync::Mutex;
use crate::thread::Thread;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering, fence};

/// Threads that want to hear of an event.
#[derive(Default)]
pub struct WaitQueue {
    waiters: Mutex<Vec<Waiter>>,
    /// Length of `waiters`: waking an empty queue, the usual case, takes no lock.
    count: AtomicUsize,
}

/// Something other than a thread that hears of events: an epoll instance.
pub trait Wake: Send + Sync {
    /// Takes note of a change; cheap, does not wait, and does not call back into a queue.
    fn wake(&self);
}

#[derive(Clone)]
enum Waiter {
    Thread(&'static dyn Platform, ThreadId),
    Other(Arc<dyn Wake>),
}

/// A thread to wake.
#[derive(Clone, Copy)]
pub struct ThreadRef {
    platform: &'static dyn Platform,
    /// Which.
    pub thread: ThreadId,
}

impl ThreadRef {
    /// The calling thread.
    #[must_use]
    pub fn current(platform: &'static dyn Platform) -> Self {
        Self { platform, thread: platform.current() }
    }

    /// A thread that was started.
    #[must_use]
    pub fn new(platform: &'static dyn Platform, thread: ThreadId) -> Self {
        Self { platform, thread }
    }

    /// Ends its park, or its next one.
    pub fn wake(&self) {
        self.platform.unpark(self.thread);
    }

    /// Makes it leave user mode.
    pub fn kick(&self) {
        self.platform.kick(self.thread);
    }
}

impl Waiter {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Thread(_, a), Self::Thread(_, b)) => a == b,
            (Self::Other(a), Self::Other(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl WaitQueue {
    /// An empty queue.
    #[must_use]
    pub const fn new() -> Self {
        Self { waiters: Mutex::new(Vec::new()), count: AtomicUsize::new(0) }
    }

    /// Wakes all: each looks again whether what it waits for has come. Call it after the change, without
    /// holding locks that the waiters need to look.
    pub fn wake_all(&self) {
        // A waiter counts itself before it looks, so one of the two sees the other.
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        for waiter in self.waiters.lock().iter() {
            match waiter {
                Waiter::Thread(platform, thread) => platform.unpark(*thread),
                Waiter::Other(other) => other.wake(),
            }
        }
    }

    /// Whether anyone waits.
    #[must_use]
    pub fn has_waiters(&self) -> bool {
        self.count.load(Ordering::SeqCst) != 0
    }

    /// Has `other` woken, until [`remove_waker`](Self::remove_waker).
    pub fn add_waker(&self, other: Arc<dyn Wake>) {
        self.add(Waiter::Other(other));
    }

    /// Undoes one [`add_waker`](Self::add_waker).
    pub fn remove_waker(&self, other: &Arc<dyn Wake>) {
        self.remove(&Waiter::Other(other.clone()));
    }

    fn add(&self, waiter: Waiter) {
        let mut waiters = self.waiters.lock();
        waiters.push(waiter);
        self.count.store(waiters.len(), Ordering::SeqCst);
    }

    fn remove(&self, waiter: &Waiter) {
        let mut waiters = self.waiters.lock();
        if let Some(index) = waiters.iter().position(|w| w.is_same(waiter)) {
            waiters.swap_remove(index);
        }
        self.count.store(waiters.len(), Ordering::SeqCst);
    }
}

/// Why a wait ended without what was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitError {
    /// A signal is to be delivered (or the process is ending or stopping).
    Interrupted,
    /// The deadline passed.
    TimedOut,
}

impl WaitError {
    /// For calls that SA_RESTART repeats (read, write, wait4, ...): an interruption becomes ERESTARTSYS, a
    /// deadline ETIMEDOUT. Calls that a handler always ends (poll, select, epoll_wait, nanosleep, ...)
    /// map [`WaitError::Interrupted`] to [`Errno::ERESTARTNOHAND`] themselves.
    #[must_use]
    pub fn restartable(self) -> Errno {
        match self {
            Self::Interrupted => Errno::ERESTARTSYS,
            Self::TimedOut => Errno::ETIMEDOUT,
        }
    }
}

/// Waits until `attempt` answers, a signal arrives or the deadline (monotonic nanoseconds) passes.
/// `attempt` is tried first and after every wake of one of `queues`; it must not wait itself.
///
/// # Errors
/// [`WaitError`].
pub fn wait_for<T>(
    thread: &Thread,
    queues: &[&WaitQueue],
    deadline_ns: Option<u64>,
    mut attempt: impl FnMut() -> Option<T>,
) -> Result<T, WaitError> {
    if let Some(value) = attempt() {
        return Ok(value);
    }
    let platform = thread.kernel.platform;
    let waiter = Waiter::Thread(platform, platform.current());
    for queue in queues {
        queue.add(waiter.clone());
    }
    let result = loop {
        if let Some(value) = attempt() {
            break Ok(value);
        }
        if thread.is_interrupted() {
            break Err(WaitError::Interrupted);
        }
        if deadline_ns.is_some_and(|deadline| platform.monotonic_ns() >= deadline) {
            break Err(WaitError::TimedOut);
        }
        thread.leave_residency();
        platform.park(deadline_ns);
    };
    for queue in queues {
        queue.remove(&waiter);
    }
    result
}

/// As [`wait_for`], for code of the library OS itself that no signal ends (no thread of a program).
pub fn wait_uninterrupted<T>(
    platform: &'static dyn Platform,
    queues: &[&WaitQueue],
    deadline_ns: Option<u64>,
    mut attempt: impl FnMut() -> Option<T>,
) -> Option<T> {
    let waiter = Waiter::Thread(platform, platform.current());
    for queue in queues {
        queue.add(waiter.clone());
    }
    let result = loop {
        if let Some(value) = attempt() {
            break Some(value);
        }
        if deadline_ns.is_some_and(|deadline| platform.monotonic_ns() >= deadline) {
            break None;
        }
        platform.park(deadline_ns);
    };
    for queue in queues {
        queue.remove(&waiter);
    }
    result
}
