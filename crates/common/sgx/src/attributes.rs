//! ATTRIBUTES and MISCSELECT: what an enclave is allowed and which state its SSA frames hold.

use bitflags::bitflags;

use crate::layout::{flags_field, layout};

bitflags! {
    /// The first eight bytes of ATTRIBUTES (SDM Vol. 3D, "ATTRIBUTES").
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct AttributeFlags: u64 {
        /// Set by EINIT; refused in a SECS at ECREATE.
        const INIT = 1 << 0;
        /// The host may read and write enclave memory (EDBGRD, EDBGWR).
        const DEBUG = 1 << 1;
        /// 64-bit enclave.
        const MODE64BIT = 1 << 2;
        /// May ask EGETKEY for provisioning keys.
        const PROVISIONKEY = 1 << 4;
        /// May ask EGETKEY for the launch key.
        const EINITTOKENKEY = 1 << 5;
        /// Control-flow enforcement.
        const CET = 1 << 6;
        /// Key separation and sharing: CONFIGID, CONFIGSVN, ISVEXTPRODID, ISVFAMILYID.
        const KSS = 1 << 7;
        /// The enclave may ask for notice of asynchronous exits.
        const AEXNOTIFY = 1 << 10;
    }
}
flags_field!(AttributeFlags, u64);

bitflags! {
    /// XFRM: the XSAVE state components that enclave code may use, as XCR0 numbers them.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Xfrm: u64 {
        /// x87; always set.
        const X87 = 1 << 0;
        /// SSE; always set.
        const SSE = 1 << 1;
        /// AVX (upper halves of YMM0-15).
        const AVX = 1 << 2;
        /// MPX bound registers.
        const BNDREGS = 1 << 3;
        /// MPX configuration.
        const BNDCSR = 1 << 4;
        /// AVX-512 mask registers.
        const OPMASK = 1 << 5;
        /// AVX-512 upper halves of ZMM0-15.
        const ZMM_HI256 = 1 << 6;
        /// AVX-512 ZMM16-31.
        const HI16_ZMM = 1 << 7;
        /// Protection keys.
        const PKRU = 1 << 9;
        /// AMX tile configuration.
        const TILECFG = 1 << 17;
        /// AMX tile data.
        const TILEDATA = 1 << 18;
        /// What every enclave has.
        const LEGACY = Self::X87.bits() | Self::SSE.bits();
        /// The three AVX-512 components, which come together.
        const AVX512 = Self::OPMASK.bits() | Self::ZMM_HI256.bits() | Self::HI16_ZMM.bits();
    }
}
flags_field!(Xfrm, u64);

impl Xfrm {
    /// Whether ECREATE takes this value on a CPU that has all its components: x87 and SSE set, and the
    /// dependencies of XSETBV kept (AVX-512 whole and with AVX, MPX whole, AMX whole).
    #[must_use]
    pub const fn is_consistent(self) -> bool {
        self.contains(Self::LEGACY)
            && self.has_all_or_none(Self::AVX512)
            && (!self.intersects(Self::AVX512) || self.contains(Self::AVX))
            && self.has_all_or_none(Self::BNDREGS.union(Self::BNDCSR))
            && self.has_all_or_none(Self::TILECFG.union(Self::TILEDATA))
            && self.difference(Self::all()).is_empty()
    }

    const fn has_all_or_none(self, group: Self) -> bool {
        !self.intersects(group) || self.contains(group)
    }
}

layout! {
    /// ATTRIBUTES, 16 bytes.
    #[derive(Hash)]
    pub struct Attributes: 16 {
        /// Permissions and modes.
        flags: AttributeFlags = 0,
        /// State components.
        xfrm: Xfrm = 8,
    }
}

impl Attributes {
    /// The bits set in both: how a mask is applied.
    #[must_use]
    pub const fn masked(self, mask: Self) -> Self {
        Self { flags: self.flags.intersection(mask.flags), xfrm: self.xfrm.intersection(mask.xfrm) }
    }
}

bitflags! {
    /// MISCSELECT: what the MISC region of an SSA frame holds beside GPRSGX.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Miscselect: u32 {
        /// EXINFO: address and error code of #PF and #GP.
        const EXINFO = 1 << 0;
        /// CPINFO: error code of #CP.
        const CPINFO = 1 << 1;
    }
}
flags_field!(Miscselect, u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xfrm_follows_the_rules_of_xsetbv() {
        for good in [0x3, 0x7, 0xe7, 0x1f, 0x2e7, 0x602e7] {
            assert!(Xfrm::from_bits_retain(good).is_consistent(), "{good:#x}");
        }
        // No SSE; half of MPX; AVX-512 without AVX; part of AVX-512; half of AMX; unknown bit.
        for bad in [0x1, 0xb, 0xe3, 0x27, 0x20007, 0x107] {
            assert!(!Xfrm::from_bits_retain(bad).is_consistent(), "{bad:#x}");
        }
    }

    #[test]
    fn a_mask_covers_unknown_bits_too() {
        let all = Attributes::from_bytes(&[0xff; 16]);
        let some = Attributes::from_bytes(&[0xa5; 16]);
        assert_eq!(some.masked(all), some);
        assert_eq!(all.masked(some).to_bytes(), [0xa5; 16]);
    }
}
