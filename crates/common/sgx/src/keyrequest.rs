//! KEYREQUEST: what EGETKEY is asked for.

use bitflags::bitflags;

use crate::attributes::{Attributes, Miscselect};
use crate::layout::{flags_field, layout};

/// KEYNAME.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum KeyName {
    /// EINITTOKEN_KEY, the launch key.
    Einittoken = 0,
    /// PROVISION_KEY.
    Provision = 1,
    /// PROVISION_SEAL_KEY.
    ProvisionSeal = 2,
    /// REPORT_KEY.
    Report = 3,
    /// SEAL_KEY.
    Seal = 4,
}

impl KeyName {
    /// The key with this number, if the manual defines one.
    #[must_use]
    pub const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            0 => Self::Einittoken,
            1 => Self::Provision,
            2 => Self::ProvisionSeal,
            3 => Self::Report,
            4 => Self::Seal,
            _ => return None,
        })
    }
}

bitflags! {
    /// KEYPOLICY: what a seal key depends on.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct KeyPolicy: u16 {
        /// MRENCLAVE.
        const MRENCLAVE = 1 << 0;
        /// MRSIGNER.
        const MRSIGNER = 1 << 1;
        /// Not on ISVPRODID (KSS).
        const NOISVPRODID = 1 << 2;
        /// CONFIGID and CONFIGSVN (KSS).
        const CONFIGID = 1 << 3;
        /// ISVFAMILYID (KSS).
        const ISVFAMILYID = 1 << 4;
        /// ISVEXTPRODID (KSS).
        const ISVEXTPRODID = 1 << 5;
        /// The bits that need ATTRIBUTES.KSS.
        const KSS = Self::NOISVPRODID.bits() | Self::CONFIGID.bits()
            | Self::ISVFAMILYID.bits() | Self::ISVEXTPRODID.bits();
    }
}
flags_field!(KeyPolicy, u16);

layout! {
    /// KEYREQUEST (SDM Vol. 3D, "Key Request"). 512-byte aligned as an operand.
    pub struct Keyrequest: 512 {
        /// Which key; a [`KeyName`] if it is one.
        keyname: u16 = 0,
        /// What it depends on.
        keypolicy: KeyPolicy = 2,
        /// Security version of the enclave, at most its own.
        isvsvn: u16 = 4,
        /// Which CET attributes it depends on.
        cet_attributes_mask: u8 = 6,
        /// Security version of the CPU, at most its own.
        cpusvn: [u8; 16] = 8,
        /// Which attributes it depends on.
        attributemask: Attributes = 24,
        /// Wear-out protection: any value.
        keyid: [u8; 32] = 40,
        /// Which MISCSELECT bits it depends on.
        miscmask: Miscselect = 72,
        /// Security version of the configuration, at most its own (KSS).
        configsvn: u16 = 76,
    }
}
