//! Untrusted memory: what the host says about addresses, checked.

use core::ops::Range;

use hostcall::{BLOCK_SIZE, RawBlock};

/// Why an address that the host gave is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not the length of a block.
    Length,
    /// Null, or not a multiple of 8.
    Alignment,
    /// The range wraps around the address space.
    Wraps,
    /// The range touches the enclave.
    InEnclave,
}

/// Takes the host's word for where this thread's block is: the right length, aligned, without wraparound,
/// wholly outside `elrange`.
///
/// Holding the block proves only that. The memory may be absent, read-only, shared, or change between two
/// reads; a fault on it is a fault in the run time, which stops the enclave.
pub(crate) fn block(address: u64, length: u64, elrange: &Range<u64>) -> Result<RawBlock, Refusal> {
    if length != BLOCK_SIZE as u64 {
        return Err(Refusal::Length);
    }
    if address == 0 || !address.is_multiple_of(8) {
        return Err(Refusal::Alignment);
    }
    let end = address.checked_add(length).ok_or(Refusal::Wraps)?;
    if address < elrange.end && end > elrange.start {
        return Err(Refusal::InEnclave);
    }
    // SAFETY: the range does not wrap and is outside ELRANGE, so that no object of the enclave lies in it. It
    // is not known to be mapped: an access may fault, which the exception entry answers by stopping the
    // enclave, so that execution never continues past such an access.
    unsafe { RawBlock::from_address(address) }.ok_or(Refusal::Alignment)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ELRANGE: Range<u64> = 0..1 << 36;
    const LENGTH: u64 = BLOCK_SIZE as u64;

    fn refusal(address: u64, length: u64) -> Option<Refusal> {
        block(address, length, &ELRANGE).err()
    }

    #[test]
    fn a_block_outside_is_taken() {
        assert_eq!(refusal(1 << 36, LENGTH), None);
        assert_eq!(refusal(0x7f00_0000_0000, LENGTH), None);
    }

    #[test]
    fn blocks_inside_or_across_the_edge_are_refused() {
        for address in [8, 0x1_0000, (1 << 36) - LENGTH, (1 << 36) - 8] {
            assert_eq!(refusal(address, LENGTH), Some(Refusal::InEnclave), "{address:#x}");
        }
    }

    #[test]
    fn a_block_that_ends_where_the_enclave_starts_is_taken() {
        assert!(block(0x1000, LENGTH, &(0x1000 + LENGTH..1 << 36)).is_ok());
        assert_eq!(
            block(0x1008, LENGTH, &(0x1000 + LENGTH..1 << 36)).err(),
            Some(Refusal::InEnclave)
        );
    }

    #[test]
    fn wraparound_misalignment_and_other_lengths_are_refused() {
        assert_eq!(refusal(u64::MAX - 7, LENGTH), Some(Refusal::Wraps));
        assert_eq!(refusal((1 << 36) + 4, LENGTH), Some(Refusal::Alignment));
        assert_eq!(refusal(0, LENGTH), Some(Refusal::Alignment));
        for length in [0, 8, LENGTH - 8, LENGTH + 8, u64::MAX] {
            assert_eq!(refusal(1 << 36, length), Some(Refusal::Length));
        }
    }
}
