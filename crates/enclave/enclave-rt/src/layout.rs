//! Where things lie in ELRANGE.
//!
//! The converter measures the image at the end of ELRANGE, so that the image's own address gives the size
//! and everything else follows; nothing about the layout is asked from the host.
//!
//! | From | To | What |
//! |---|---|---|
//! | 0 | 0x10000 | never mapped |
//! | 0x10000 | K | user space |
//! | K | heap end | heap, growing up (EAUG, EACCEPT) |
//! | heap end | S - 16 MiB | dynamic thread slots, growing down from the end |
//! | S - 16 MiB | S - 12 MiB | manifest: u64 length, bytes (R) |
//! | S - 12 MiB | S - 8 MiB | the initial thread slot |
//! | S - 8 MiB | S | the image |

use core::ops::Range;

/// Bytes of a page.
pub(crate) const PAGE: u64 = 4096;

const MIB: u64 = 1 << 20;
const USER_START: u64 = 0x1_0000;

/// Smallest and largest ELRANGE that this layout fits; the largest is what host calls can name.
const SIZES: Range<u64> = 64 * MIB..1 << 47;

/// The layout of one enclave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    size: u64,
}

impl Layout {
    /// The layout of the enclave whose image lies at `image_base`; `None` if the converter cannot have put
    /// it there.
    pub(crate) const fn of_image(image_base: u64) -> Option<Self> {
        let Some(size) = image_base.checked_add(8 * MIB) else { return None };
        let is_sound = size.is_power_of_two() && size >= SIZES.start && size < SIZES.end;
        if is_sound { Some(Self { size }) } else { None }
    }

    /// All of it, empty parts included.
    pub(crate) const fn elrange(self) -> Range<u64> {
        0..self.size
    }

    /// Addresses that programs may use.
    pub(crate) const fn user(self) -> Range<u64> {
        let quarter = self.size / 4;
        let libos = if quarter > 32 * MIB { quarter } else { 32 * MIB };
        USER_START..self.size - libos
    }

    /// Heap (from the start) and dynamic thread slots (from the end).
    pub(crate) const fn dynamic(self) -> Range<u64> {
        self.user().end..self.size - 16 * MIB
    }

    /// Where the manifest's length and bytes may lie.
    pub(crate) const fn manifest(self) -> Range<u64> {
        self.size - 16 * MIB..self.size - 12 * MIB
    }

    /// TCS of the initial thread slot.
    pub(crate) const fn initial_tcs(self) -> u64 {
        self.size - 12 * MIB
    }
}

/// The parts of a thread slot, as distances from its TCS.
pub(crate) mod slot {
    use super::PAGE;

    /// The SSA frames, one page each.
    pub(crate) const SSA: u64 = PAGE;
    /// Number of SSA frames.
    pub(crate) const SSA_FRAMES: u32 = 3;
    /// The page that GS (and FS in the library OS) points to.
    pub(crate) const THREAD: u64 = 4 * PAGE;
    /// First byte of the stack; the page before it stays empty, so that an overflow faults.
    pub(crate) const STACK: u64 = 6 * PAGE;
    /// Top of the stack that the library OS runs on.
    pub(crate) const STACK_TOP: u64 = STACK + 30 * PAGE;
    /// Top of the stack that the exception entry runs on. It is never shared with the interrupted code, so
    /// that nothing an exception does depends on the interrupted stack pointer.
    pub(crate) const EXCEPTION_STACK_TOP: u64 = STACK + 32 * PAGE;
    /// Bytes from one slot to the next.
    pub(crate) const SIZE: u64 = EXCEPTION_STACK_TOP;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_size_leaves_three_quarters_to_programs() {
        let layout = Layout::of_image((1 << 36) - 8 * MIB).expect("a power of two");
        assert_eq!(layout.user(), 0x1_0000..3 << 34);
        assert_eq!(layout.dynamic(), 3 << 34..(1 << 36) - 16 * MIB);
        assert_eq!(layout.initial_tcs(), (1 << 36) - 12 * MIB);
    }

    #[test]
    fn the_smallest_size_keeps_32_mib_for_the_library_os() {
        let layout = Layout::of_image(56 * MIB).expect("64 MiB");
        assert_eq!(layout.user(), 0x1_0000..32 * MIB);
        assert_eq!(layout.dynamic(), 32 * MIB..48 * MIB);
    }

    #[test]
    fn other_places_are_refused() {
        for base in
            [0, 8 * MIB, 24 * MIB, 57 * MIB, (1 << 36) - 4 * MIB, (1 << 48) - 8 * MIB, u64::MAX]
        {
            assert_eq!(Layout::of_image(base), None, "{base:#x}");
        }
    }
}
