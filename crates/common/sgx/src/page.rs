//! Pages: their size, types, and SECINFO.

use bitflags::bitflags;

use crate::layout::{flags_field, layout};

/// Bytes in an EPC page.
pub const PAGE_SIZE: usize = 4096;

/// EPCM page types (SDM Vol. 3D, "Page Type").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PageType {
    /// PT_SECS.
    Secs = 0,
    /// PT_TCS.
    Tcs = 1,
    /// PT_REG.
    Reg = 2,
    /// PT_VA: version array, for paging.
    Va = 3,
    /// PT_TRIM: on its way out.
    Trim = 4,
    /// PT_SS_FIRST: first page of a shadow stack.
    SsFirst = 5,
    /// PT_SS_REST: further page of a shadow stack.
    SsRest = 6,
}

impl PageType {
    /// The type with this number, if the manual defines one.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Secs,
            1 => Self::Tcs,
            2 => Self::Reg,
            3 => Self::Va,
            4 => Self::Trim,
            5 => Self::SsFirst,
            6 => Self::SsRest,
            _ => return None,
        })
    }
}

bitflags! {
    /// SECINFO.FLAGS. Bits 8 to 15 are the page type, read with [`page_type`](Self::page_type).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct SecinfoFlags: u64 {
        /// Readable inside.
        const R = 1 << 0;
        /// Writable inside.
        const W = 1 << 1;
        /// Executable inside.
        const X = 1 << 2;
        /// Augmented (EAUG), not yet accepted.
        const PENDING = 1 << 3;
        /// Type changed (EMODT), not yet accepted.
        const MODIFIED = 1 << 4;
        /// Permissions restricted (EMODPR), not yet accepted.
        const PR = 1 << 5;
        /// The bits of the page type.
        const PAGE_TYPE = 0xff << 8;
    }
}
flags_field!(SecinfoFlags, u64);

impl SecinfoFlags {
    /// Read, write and execute.
    pub const RWX: Self = Self::R.union(Self::W).union(Self::X);

    /// The page type, if the manual defines it.
    #[must_use]
    pub const fn page_type(self) -> Option<PageType> {
        PageType::from_number((self.bits() >> 8) as u8)
    }

    /// These flags with the page type replaced.
    #[must_use]
    pub const fn with_page_type(self, page_type: PageType) -> Self {
        Self::from_bits_retain(self.bits() & !Self::PAGE_TYPE.bits() | (page_type as u64) << 8)
    }
}

layout! {
    /// SECINFO, 64 bytes: what EADD makes of a page and what EACCEPT expects of one. 64-byte aligned as an
    /// operand.
    pub struct Secinfo: 64 {
        /// Permissions, state and type.
        flags: SecinfoFlags = 0,
    }
}

impl Secinfo {
    /// A regular page with these permissions.
    #[must_use]
    pub const fn reg(permissions: SecinfoFlags) -> Self {
        Self { flags: permissions.with_page_type(PageType::Reg) }
    }

    /// A TCS page. Its permissions are none: the CPU clears them, and measures them cleared.
    #[must_use]
    pub const fn tcs() -> Self {
        Self { flags: SecinfoFlags::empty().with_page_type(PageType::Tcs) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_type_and_permissions_share_the_flags() {
        let secinfo = Secinfo::reg(SecinfoFlags::R | SecinfoFlags::X);
        assert_eq!(secinfo.to_bytes()[..3], [5, 2, 0]);
        assert_eq!(secinfo.flags.page_type(), Some(PageType::Reg));
        assert_eq!(Secinfo::tcs().to_bytes()[..3], [0, 1, 0]);
        let changed = secinfo.flags.with_page_type(PageType::Trim);
        assert_eq!(changed.bits(), 0x405);
        assert_eq!(SecinfoFlags::from_bits_retain(0x700).page_type(), None);
    }

    #[test]
    fn every_number_of_a_page_type_comes_back() {
        for number in 0..=255 {
            if let Some(page_type) = PageType::from_number(number) {
                assert_eq!(page_type as u8, number);
            } else {
                assert!(number > 6);
            }
        }
    }
}
