//! Sets of signals: `sigset_t` as the kernel has it, bit n − 1 for signal n.

use super::signo::{SIGKILL, SIGSTOP};

/// A set of signals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Set(pub u64);

impl Set {
    /// None.
    pub const EMPTY: Self = Self(0);

    /// Those that cannot be blocked, caught or ignored.
    pub const UNBLOCKABLE: Self = Self::of(&[SIGKILL, SIGSTOP]);

    /// These. A number outside 1..=64 is a bug of the caller and counts for nothing.
    #[must_use]
    pub const fn of(signals: &[u8]) -> Self {
        let (mut bits, mut index) = (0, 0);
        while index < signals.len() {
            bits |= bit(signals[index]);
            index += 1;
        }
        Self(bits)
    }

    /// Whether `signal` is in.
    #[must_use]
    pub const fn contains(self, signal: u8) -> bool {
        self.0 & bit(signal) != 0
    }

    /// Puts `signal` in.
    pub fn insert(&mut self, signal: u8) {
        self.0 |= bit(signal);
    }

    /// Takes `signal` out.
    pub fn remove(&mut self, signal: u8) {
        self.0 &= !bit(signal);
    }

    /// Those in either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The lowest.
    #[must_use]
    pub const fn first(self) -> Option<u8> {
        if self.0 == 0 { None } else { Some(self.0.trailing_zeros() as u8 + 1) }
    }
}

const fn bit(signal: u8) -> u64 {
    if signal >= 1 && signal <= 64 { 1 << (signal - 1) } else { 0 }
}
