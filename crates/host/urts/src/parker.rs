//! A thread's wake-up token.
//!
//! The standard library's own token will not do: its channels use it too, so a token could be taken by another
//! wait on the same thread.

use rustix::thread::futex::{self, Flags};
use rustix::time::Timespec;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const EMPTY: u32 = 0;
const WOKEN: u32 = 1;
const PARKED: u32 = 2;

/// At most one token.
#[derive(Default)]
pub(crate) struct Parker(AtomicU32);

impl Parker {
    /// Takes the token, or waits for it or the timeout, or returns for no reason. One thread calls it.
    pub(crate) fn park(&self, timeout: Option<Duration>) {
        let parked = self.0.compare_exchange(EMPTY, PARKED, Ordering::Acquire, Ordering::Acquire);
        if parked.is_ok() {
            let timeout = timeout.and_then(|timeout| {
                // Longer than the kernel can count is for ever.
                let tv_sec = i64::try_from(timeout.as_secs()).ok()?;
                Some(Timespec { tv_sec, tv_nsec: timeout.subsec_nanos().into() })
            });
            // EAGAIN: woken meanwhile. EINTR, ETIMEDOUT: the caller takes any reason.
            let _ = futex::wait(&self.0, Flags::PRIVATE, PARKED, timeout.as_ref());
        }
        self.0.swap(EMPTY, Ordering::Acquire);
    }

    /// Drops a token that is there. The thread itself calls it.
    pub(crate) fn clear(&self) {
        self.0.store(EMPTY, Ordering::Relaxed);
    }

    /// Gives the token. What the caller stored before is seen by the woken thread.
    pub(crate) fn unpark(&self) {
        if self.0.swap(WOKEN, Ordering::Release) == PARKED {
            let _ = futex::wake(&self.0, Flags::PRIVATE, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;
    use std::time::Instant;

    #[test]
    fn a_token_ends_one_park() {
        let parker = Parker::default();
        parker.unpark();
        parker.unpark();
        parker.park(None);
        let start = Instant::now();
        parker.park(Some(Duration::from_millis(5)));
        assert!(start.elapsed() >= Duration::from_millis(4));
        parker.park(Some(Duration::ZERO));
    }

    #[test]
    fn two_threads_wake_each_other_without_loss() {
        let parkers = Arc::new([Parker::default(), Parker::default()]);
        let turn = Arc::new(AtomicU64::new(0));
        let play = |me: usize| {
            let (parkers, turn) = (Arc::clone(&parkers), Arc::clone(&turn));
            move || {
                for round in 0..2000 {
                    while turn.load(Ordering::Relaxed) != round * 2 + me as u64 {
                        parkers[me].park(None);
                    }
                    turn.fetch_add(1, Ordering::Relaxed);
                    parkers[1 - me].unpark();
                }
            }
        };
        let other = std::thread::spawn(play(1));
        play(0)();
        other.join().unwrap();
        assert_eq!(turn.load(Ordering::Relaxed), 4000);
    }
}
