//! Signals sent and not yet delivered.

use super::info::Info;
use super::set::Set;
use super::signo::*;
use alloc::collections::VecDeque;

/// Real-time signals that one queue holds (RLIMIT_SIGPENDING is per user on Linux; here it is per queue).
pub const MAX_QUEUED: usize = 1024;

/// Raised by the thread itself; they go before all others.
const SYNCHRONOUS: Set = Set::of(&[SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGSYS]);

/// A queue of pending signals: a thread's, or those of a whole process.
///
/// A standard signal is pending once, with what it told first. Real-time signals queue.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    set: Set,
    queue: VecDeque<Info>,
}

/// The queue is full (EAGAIN of sigqueue(3)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Pending {
    /// Which are pending.
    #[must_use]
    pub const fn set(&self) -> Set {
        self.set
    }

    /// Adds a signal.
    ///
    /// # Errors
    /// [`Full`] for a real-time signal when [`MAX_QUEUED`] wait.
    pub fn push(&mut self, info: Info) -> Result<(), Full> {
        if info.signal < SIGRTMIN {
            if self.set.contains(info.signal) {
                return Ok(());
            }
        } else if self.queue.len() >= MAX_QUEUED {
            return Err(Full);
        }
        self.set.insert(info.signal);
        self.queue.push_back(info);
        Ok(())
    }

    /// Takes the next one that is in `wanted`: the thread's own faults first, then by number, and of one
    /// number by age.
    pub fn take(&mut self, wanted: Set) -> Option<Info> {
        let wanted = self.set.and(wanted);
        let signal = wanted.and(SYNCHRONOUS).first().or_else(|| wanted.first())?;
        let at = self.queue.iter().position(|info| info.signal == signal)?;
        let info = self.queue.remove(at)?;
        if !self.queue.iter().any(|info| info.signal == signal) {
            self.set.remove(signal);
        }
        Some(info)
    }

    /// Forgets those in `set`: SIGCONT ends pending stops, a stop ends a pending SIGCONT, an ignored signal
    /// is not pending.
    pub fn discard(&mut self, set: Set) {
        self.set = self.set.without(set);
        self.queue.retain(|info| !set.contains(info.signal));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(signal: u8, pid: u32) -> Info {
        Info::sent(signal, 0, pid, 0)
    }

    #[test]
    fn standard_signals_merge_and_real_time_ones_queue() {
        let mut pending = Pending::default();
        for pid in 1..=3 {
            pending.push(sent(SIGUSR1, pid)).unwrap();
            pending.push(sent(SIGRTMIN + 2, pid)).unwrap();
        }
        let all = Set(u64::MAX);
        assert_eq!(pending.take(all), Some(sent(SIGUSR1, 1)));
        for pid in 1..=3 {
            assert_eq!(pending.take(all), Some(sent(SIGRTMIN + 2, pid)));
        }
        assert_eq!(pending.take(all), None);
        assert!(pending.set().is_empty());
    }

    #[test]
    fn faults_go_first_and_blocked_ones_wait() {
        let mut pending = Pending::default();
        pending.push(sent(SIGINT, 1)).unwrap();
        pending.push(sent(SIGSEGV, 1)).unwrap();
        assert_eq!(pending.take(Set(u64::MAX)).unwrap().signal, SIGSEGV);
        assert_eq!(pending.take(Set::of(&[SIGTERM])), None);
        pending.discard(Set::of(&[SIGINT]));
        assert_eq!(pending.take(Set(u64::MAX)), None);
    }

    #[test]
    fn a_full_queue_says_so() {
        let mut pending = Pending::default();
        for _ in 0..MAX_QUEUED {
            pending.push(sent(SIGRTMAX, 1)).unwrap();
        }
        assert_eq!(pending.push(sent(SIGRTMAX, 1)), Err(Full));
        assert_eq!(pending.push(sent(SIGTERM, 1)), Ok(()), "standard signals always fit");
    }
}
