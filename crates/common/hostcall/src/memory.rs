//! Access to a block: untrusted memory that the other side may change at any moment.

use crate::layout::{BLOCK_SIZE, DATA_OFFSET, DATA_SIZE};
use core::cell::Cell;
use core::ptr::NonNull;

/// A block of [`BLOCK_SIZE`] bytes that the other side may change between any two accesses.
///
/// Words are little-endian and aligned. An offset that is unaligned or outside the block reads as zero and
/// ignores writes: this crate never passes one, and an implementation must not panic or leave the block.
pub trait Memory {
    /// Reads the word at `offset`.
    fn word(&self, offset: usize) -> u64;

    /// Writes the word at `offset`.
    fn set_word(&self, offset: usize, value: u64);

    /// Copies from the start of the data area, in aligned 8-byte reads; bytes past its end are left as they
    /// are.
    fn copy_out(&self, into: &mut [u8]) {
        let length = into.len().min(DATA_SIZE);
        for (index, chunk) in into[..length].chunks_mut(8).enumerate() {
            let word = self.word(DATA_OFFSET + index * 8).to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    /// Copies to the start of the data area, in aligned 8-byte writes; the last word is padded with zeros,
    /// what does not fit is not written.
    fn copy_in(&self, from: &[u8]) {
        let length = from.len().min(DATA_SIZE);
        for (index, chunk) in from[..length].chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.set_word(DATA_OFFSET + index * 8, u64::from_le_bytes(word));
        }
    }
}

impl<M: Memory> Memory for &M {
    fn word(&self, offset: usize) -> u64 {
        (**self).word(offset)
    }

    fn set_word(&self, offset: usize, value: u64) {
        (**self).set_word(offset, value);
    }
}

/// A block at an address, read and written in aligned 8-byte multiples only.
///
/// Narrower accesses to untrusted memory would let stale buffer contents into an enclave on processors with
/// the MMIO stale data flaws (Intel security advisory INTEL-SA-00615); wider ones are not needed.
#[derive(Clone, Copy, Debug)]
pub struct RawBlock(NonNull<u64>);

// SAFETY: a block is plain memory reached by volatile accesses only; both sides expect concurrent change, and
// `from_address` makes the creator responsible for its lifetime.
unsafe impl Send for RawBlock {}

impl RawBlock {
    /// A block at `address`; `None` if it is null, not 8-byte aligned or wraps around.
    ///
    /// # Safety
    /// `[address, address + BLOCK_SIZE)` must be mapped, readable and writable as long as the value (or a copy
    /// of it) is used, and must hold no Rust object. In an enclave the caller has also checked that the range
    /// lies wholly outside ELRANGE.
    #[must_use]
    pub unsafe fn from_address(address: u64) -> Option<Self> {
        let is_sound =
            address.is_multiple_of(8) && address.checked_add(BLOCK_SIZE as u64).is_some();
        if is_sound { NonNull::new(address as *mut u64).map(Self) } else { None }
    }

    /// Start of the data area, for system calls that read or write it in place.
    #[must_use]
    pub fn data(&self) -> *mut u8 {
        self.0.as_ptr().cast::<u8>().wrapping_add(DATA_OFFSET)
    }
}

impl Memory for RawBlock {
    fn word(&self, offset: usize) -> u64 {
        if !is_word(offset) {
            return 0;
        }
        // SAFETY: `is_word` holds the offset to an aligned word inside the block, which is mapped and readable by
        // the contract of `from_address`; concurrent change is expected, hence volatile.
        unsafe { self.0.as_ptr().add(offset / 8).read_volatile() }
    }

    fn set_word(&self, offset: usize, value: u64) {
        if is_word(offset) {
            // SAFETY: as in `word`, and the block is writable.
            unsafe { self.0.as_ptr().add(offset / 8).write_volatile(value) }
        }
    }
}

/// A block in ordinary memory, for tests and fuzzing.
#[derive(Debug)]
pub struct SliceBlock<'a>(&'a [Cell<u64>]);

impl<'a> SliceBlock<'a> {
    /// Wraps the words of a block; missing ones read as zero.
    pub fn new(words: &'a mut [u64]) -> Self {
        Self(Cell::from_mut(words).as_slice_of_cells())
    }
}

impl Memory for SliceBlock<'_> {
    fn word(&self, offset: usize) -> u64 {
        if is_word(offset) { self.0.get(offset / 8).map_or(0, Cell::get) } else { 0 }
    }

    fn set_word(&self, offset: usize, value: u64) {
        if let (true, Some(cell)) = (is_word(offset), self.0.get(offset / 8)) {
            cell.set(value);
        }
    }
}

fn is_word(offset: usize) -> bool {
    offset.is_multiple_of(8) && offset < BLOCK_SIZE
}
