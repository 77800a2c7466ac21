//! Ciphertext that has come and that TLS has not taken yet.
//!
//! rustls reads 4 KiB at a time, which is four system calls a record, and takes nothing while decrypted data
//! wait in it. So what a transport has is read here in one piece, and given to TLS as it wants it. The room is
//! that of a small message at first, doubles while reads fill it, and shrinks again when they do not: a session
//! that is idle keeps little.

use std::mem::take;

/// Room at first, in bytes.
const LEAST: usize = 4 << 10;
/// Room at most: four records.
const MOST: usize = 64 << 10;

/// Bytes in the order in which they came.
pub(crate) struct Inbox {
    bytes: Box<[u8]>,
    /// Up to where TLS has taken them, and up to where they have come.
    taken: usize,
    filled: usize,
    /// Room that the last read asks for.
    wanted: usize,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { bytes: Box::default(), taken: 0, filled: 0, wanted: LEAST }
    }
}

impl Inbox {
    pub(crate) const fn is_empty(&self) -> bool {
        self.taken == self.filled
    }

    /// Where to read to.
    ///
    /// # Panics
    /// Unless everything was taken.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        assert!(self.is_empty(), "what has come is taken before more is read");
        (self.taken, self.filled) = (0, 0);
        if self.bytes.len() != self.wanted {
            // The old one first: the two never live together.
            drop(take(&mut self.bytes));
            self.bytes = vec![0; self.wanted].into_boxed_slice();
        }
        &mut self.bytes
    }

    /// So many bytes came into the [`room`](Self::room).
    pub(crate) fn came(&mut self, count: usize) {
        self.filled = count;
        if count == self.bytes.len() {
            self.wanted = (2 * count).min(MOST);
        } else if count < self.bytes.len() / 8 {
            self.wanted = (self.bytes.len() / 2).max(LEAST);
        }
    }

    /// Gives back what large messages made it grow to, as after a handshake.
    pub(crate) fn shrink(&mut self) {
        self.wanted = LEAST;
        if self.is_empty() {
            *self = Self::default();
        }
    }

    /// Bytes that were not taken.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..self.filled]
    }

    /// So many of them were taken.
    pub(crate) fn took(&mut self, count: usize) {
        self.taken += count;
        assert!(self.taken <= self.filled, "no more is taken than has come");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_follows_what_comes() {
        let mut inbox = Inbox::default();
        let mut take = |count: usize| {
            let room = inbox.room().len();
            inbox.came(count.min(room));
            assert_eq!(inbox.rest().len(), count.min(room));
            inbox.took(inbox.rest().len());
            room
        };
        let rooms: Vec<_> = (0..7).map(|_| take(usize::MAX) >> 10).collect();
        assert_eq!(rooms, [4, 8, 16, 32, 64, 64, 64]);
        let rooms: Vec<_> = (0..6).map(|_| take(100) >> 10).collect();
        assert_eq!(rooms, [64, 32, 16, 8, 4, 4]);

        inbox.room();
        inbox.came(LEAST);
        inbox.shrink();
        assert_eq!(inbox.rest().len(), LEAST, "nothing is lost");
        inbox.took(LEAST);
        inbox.shrink();
        assert_eq!((inbox.bytes.len(), inbox.room().len()), (0, LEAST));
    }
}
