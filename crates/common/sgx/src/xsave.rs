//! Sizes of the XSAVE area at the start of an SSA frame.
//!
//! The area has the standard (not compacted) format. Offsets are those of Intel CPUs, which are the only
//! ones with SGX. CPUs of other makers lay components out closer together, never farther, so a frame sized
//! by this table holds theirs too; a driver that copies components there must take its offsets from CPUID
//! leaf 0xD instead.

use crate::attributes::Xfrm;

/// Legacy region (x87 and SSE) and XSAVE header.
pub const HEADER_END: usize = 576;

/// Offset of XSTATE_BV in the area.
pub const XSTATE_BV: usize = 512;

/// One extended state component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component {
    /// Its bit in XFRM.
    pub bit: Xfrm,
    /// Offset in the area, in bytes.
    pub offset: usize,
    /// Length in bytes.
    pub size: usize,
}

/// The components beyond the legacy region, by ascending offset (CPUID leaf 0xD, sub-leaves 2 and up).
pub const COMPONENTS: &[Component] = &[
    Component { bit: Xfrm::AVX, offset: 576, size: 256 },
    Component { bit: Xfrm::BNDREGS, offset: 960, size: 64 },
    Component { bit: Xfrm::BNDCSR, offset: 1024, size: 64 },
    Component { bit: Xfrm::OPMASK, offset: 1088, size: 64 },
    Component { bit: Xfrm::ZMM_HI256, offset: 1152, size: 512 },
    Component { bit: Xfrm::HI16_ZMM, offset: 1664, size: 1024 },
    Component { bit: Xfrm::PKRU, offset: 2688, size: 8 },
    Component { bit: Xfrm::TILECFG, offset: 2752, size: 64 },
    Component { bit: Xfrm::TILEDATA, offset: 2816, size: 8192 },
];

/// Bytes of an area that holds these components.
#[must_use]
pub const fn area_bytes(xfrm: Xfrm) -> usize {
    let (mut end, mut i) = (HEADER_END, 0);
    while i < COMPONENTS.len() {
        if xfrm.contains(COMPONENTS[i].bit) {
            end = COMPONENTS[i].offset + COMPONENTS[i].size;
        }
        i += 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_common_states() {
        for (xfrm, bytes) in
            [(0x3, 576), (0x7, 832), (0x1f, 1088), (0xe7, 2688), (0x2e7, 2696), (0x602e7, 11008)]
        {
            assert_eq!(area_bytes(Xfrm::from_bits_retain(xfrm)), bytes, "{xfrm:#x}");
        }
    }

    #[test]
    fn components_neither_overlap_nor_lie_out_of_order() {
        let mut end = HEADER_END;
        for component in COMPONENTS {
            assert!(component.offset >= end, "{component:?}");
            end = component.offset + component.size;
        }
    }

    /// An area sized here must hold what this machine's own XSAVE writes.
    #[test]
    fn this_machine_needs_no_more() {
        let leaf = core::arch::x86_64::__cpuid_count(0xd, 0);
        let xcr0 = Xfrm::from_bits_retain(u64::from(leaf.eax) | u64::from(leaf.edx) << 32);
        if xcr0.difference(Xfrm::all()).is_empty() {
            assert!(area_bytes(xcr0) >= leaf.ecx as usize, "{xcr0:?} needs {} bytes", leaf.ecx);
        } else {
            eprintln!("skipped: this CPU has components unknown to SGX: {xcr0:?}");
        }
    }
}
