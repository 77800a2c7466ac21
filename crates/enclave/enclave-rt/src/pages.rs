//! The record of user pages: which are committed, and which page-table rights the host was told to give.
//!
//! One byte per page, in chunks made by need. The record is what tells a fault of the program from a fault
//! of the host's making, and it is read in the exception entry, so that reading it takes no lock. Between a
//! change of the record and the host call that carries it out the record permits the weaker of the two, so
//! that a fault in between is taken for the program's, which its library OS sees to be none.

use alloc::boxed::Box;
use core::ops::Range;
use core::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

use libos::platform::Access;

use crate::layout::PAGE;

const CHUNK_PAGES: u64 = 4096;

type Chunk = [AtomicU8; CHUNK_PAGES as usize];

/// Page-table rights, bits as `mprotect(2)` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rights(u8);

impl Rights {
    pub(crate) const READ: Self = Self(1);
    pub(crate) const WRITE: Self = Self(2);
    pub(crate) const EXECUTE: Self = Self(4);
    /// What absent pages have, so that committing ordinary memory needs no host call.
    pub(crate) const DEFAULT: Self = Self(3);

    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    pub(crate) const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl From<Access> for Rights {
    fn from(access: Access) -> Self {
        Self(u8::from(access.read) | u8::from(access.write) << 1 | u8::from(access.execute) << 2)
    }
}

/// State of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) is_committed: bool,
    pub(crate) rights: Rights,
}

impl State {
    const COMMITTED: u8 = 8;

    /// All zero bits: absent, with the default rights.
    const fn decode(byte: u8) -> Self {
        Self {
            is_committed: byte & Self::COMMITTED != 0,
            rights: Rights((byte & 7) ^ Rights::DEFAULT.0),
        }
    }

    const fn encode(self) -> u8 {
        (self.rights.0 ^ Rights::DEFAULT.0) | if self.is_committed { Self::COMMITTED } else { 0 }
    }
}

/// The record.
pub(crate) struct Pages {
    user: Range<u64>,
    chunks: Box<[AtomicPtr<Chunk>]>,
}

impl Pages {
    /// A record for these addresses, all absent.
    pub(crate) fn new(user: Range<u64>) -> Self {
        let count = user.end.div_ceil(CHUNK_PAGES * PAGE);
        let chunks = (0..count).map(|_| AtomicPtr::new(core::ptr::null_mut())).collect();
        Self { user, chunks }
    }

    /// The addresses it covers.
    pub(crate) fn user(&self) -> Range<u64> {
        self.user.clone()
    }

    /// State of the page that holds `address`; absent outside user space.
    pub(crate) fn get(&self, address: u64) -> State {
        let chunk = self.chunk(address).filter(|_| self.user.contains(&address));
        let chunk = chunk.map_or(core::ptr::null_mut(), |chunk| chunk.load(Ordering::Acquire));
        // SAFETY: published chunks are never freed.
        let chunk: Option<&Chunk> = unsafe { chunk.as_ref() };
        State::decode(chunk.map_or(0, |chunk| chunk[index(address)].load(Ordering::Acquire)))
    }

    /// Sets the state of a page. One thread at a time, under `memory`'s lock.
    pub(crate) fn set(&self, address: u64, state: State) {
        if let (true, Some(chunk)) = (self.user.contains(&address), self.chunk(address)) {
            let mut pointer = chunk.load(Ordering::Acquire);
            if pointer.is_null() {
                let zero: Box<Chunk> = Box::new([const { AtomicU8::new(0) }; CHUNK_PAGES as usize]);
                pointer = Box::into_raw(zero);
                chunk.store(pointer, Ordering::Release);
            }
            // SAFETY: published chunks are never freed.
            let chunk: &Chunk = unsafe { &*pointer };
            chunk[index(address)].store(state.encode(), Ordering::Release);
        }
    }

    /// Whether the access that a #PF error code describes is permitted by the record.
    pub(crate) fn permits(&self, address: u64, error_code: u32) -> bool {
        const WRITE: u32 = 1 << 1;
        const FETCH: u32 = 1 << 4;
        const PROTECTION_KEY: u32 = 1 << 5;
        let state = self.get(address);
        let needed = if error_code & FETCH != 0 {
            Rights::EXECUTE
        } else if error_code & WRITE != 0 {
            Rights::WRITE
        } else {
            Rights::READ
        };
        state.is_committed && error_code & PROTECTION_KEY == 0 && state.rights.contains(needed)
    }

    fn chunk(&self, address: u64) -> Option<&AtomicPtr<Chunk>> {
        self.chunks.get(usize::try_from(address / (CHUNK_PAGES * PAGE)).ok()?)
    }
}

fn index(address: u64) -> usize {
    (address / PAGE % CHUNK_PAGES) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: Range<u64> = 0x1_0000..0x400_0000;

    #[test]
    fn states_survive_their_byte_and_zero_is_absent() {
        assert_eq!(State::decode(0), State { is_committed: false, rights: Rights::DEFAULT });
        for bits in 0..8 {
            for is_committed in [false, true] {
                let state = State { is_committed, rights: Rights(bits) };
                assert_eq!(State::decode(state.encode()), state);
            }
        }
    }

    #[test]
    fn pages_outside_user_space_are_absent_for_ever() {
        let pages = Pages::new(USER);
        let committed = State { is_committed: true, rights: Rights::DEFAULT };
        for address in [0, 0xf000, 0x400_0000, 0x1000_0000, u64::MAX] {
            pages.set(address, committed);
            assert!(!pages.get(address).is_committed, "{address:#x}");
        }
        pages.set(0x3ff_f000, committed);
        assert!(pages.get(0x3ff_ffff).is_committed);
    }

    #[test]
    fn a_fault_is_permitted_only_with_the_right_that_it_needs() {
        let pages = Pages::new(USER);
        pages
            .set(0x40_0000, State { is_committed: true, rights: Rights::READ.or(Rights::EXECUTE) });
        assert!(pages.permits(0x40_0000, 0x4));
        assert!(pages.permits(0x40_0000, 0x15), "fetch");
        assert!(!pages.permits(0x40_0000, 0x7), "write");
        assert!(!pages.permits(0x40_0000, 0x25), "protection key");
        assert!(!pages.permits(0x40_1000, 0x4), "absent");
    }
}
