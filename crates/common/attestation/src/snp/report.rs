//! ATTESTATION_REPORT: what the AMD secure processor says of a guest.
//!
//! Offsets are those of AMD document 56860, "SEV Secure Nested Paging Firmware ABI Specification",
//! revision 1.58, table "ATTESTATION_REPORT Structure". Versions 2 to 5 share one length.
//!
//! [`Report::parse`] is total. It refuses what the table reserves, so that each byte of an accepted report is
//! either signed or has one possible value. It does not verify the signature, and judges no field: see
//! [`super::verify`]. As (r, -s) is a signature where (r, s) is, the bytes of a report are no unique
//! name of it; [`Report::signed`] is.

use core::fmt;

use super::product::Product;

/// Bytes of a report.
pub const REPORT_LEN: usize = 1184;
/// Bytes at the front of a report that the signature covers.
pub const SIGNED_LEN: usize = 0x2a0;

/// SIGNATURE_ALGO: ECDSA on P-384 with SHA-384.
const ECDSA_P384_SHA384: u32 = 1;
/// Bytes of each of R and S in a report, little-endian.
const SCALAR_FIELD: usize = 72;
/// Bytes of each that P-384 uses.
const SCALAR: usize = 48;

/// What the table reserves in every version: zero, or the report is refused.
const RESERVED: [(usize, usize); 4] =
    [(0x4c, 0x50), (0x1eb, 0x1ec), (0x1ef, 0x1f0), (0x208, SIGNED_LEN)];
/// CPUID_FAM_ID, CPUID_MOD_ID, CPUID_STEP and the rest of their row: reserved before version 3.
const CPUID: (usize, usize) = (0x188, 0x1a0);
/// LAUNCH_MIT_VECTOR and CURRENT_MIT_VECTOR: reserved before version 5.
const MITIGATIONS: (usize, usize) = (0x1f8, 0x208);

/// A well-formed report, not yet verified.
#[derive(Clone, PartialEq, Eq)]
pub struct Report {
    bytes: [u8; REPORT_LEN],
}

/// Why bytes are not a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportError {
    /// Not [`REPORT_LEN`] bytes.
    Length {
        /// How many came.
        got: usize,
    },
    /// VERSION is none of 2 to 5.
    Version {
        /// What came.
        got: u32,
    },
    /// A reserved byte is not zero.
    Reserved {
        /// Where, from the start of the report.
        offset: usize,
        /// What came.
        got: u8,
    },
    /// SIGNATURE_ALGO is not 1, ECDSA on P-384 with SHA-384.
    SignatureAlgo {
        /// What came.
        got: u32,
    },
    /// SIGNING_KEY is neither 0 (VCEK), 1 (VLEK) nor 7 (none).
    SigningKey {
        /// What came.
        got: u32,
    },
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { got } => {
                write!(f, "report length: expected {REPORT_LEN} bytes, got {got}")
            }
            Self::Version { got } => write!(f, "VERSION: expected 2 to 5, got {got}"),
            Self::Reserved { offset, got } => {
                write!(f, "reserved byte {offset:#x}: expected 0, got {got:#x}")
            }
            Self::SignatureAlgo { got } => {
                write!(f, "SIGNATURE_ALGO: expected 1 (ECDSA P-384, SHA-384), got {got}")
            }
            Self::SigningKey { got } => {
                write!(f, "SIGNING_KEY: expected 0 (VCEK), 1 (VLEK) or 7 (none), got {got}")
            }
        }
    }
}

impl core::error::Error for ReportError {}

/// SIGNING_KEY: which key a report says it is signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningKey {
    /// The Versioned Chip Endorsement Key: one chip at one TCB.
    Vcek,
    /// The Versioned Loaded Endorsement Key: all chips of one cloud provider at one TCB.
    Vlek,
    /// No key: the report is not signed.
    None,
}

impl fmt::Display for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vcek => "VCEK",
            Self::Vlek => "VLEK",
            Self::None => "none",
        })
    }
}

impl Report {
    /// Reads a report.
    ///
    /// # Errors
    /// Another length or version, a reserved byte set, an unknown algorithm or signing key.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReportError> {
        let bytes: [u8; REPORT_LEN] =
            bytes.try_into().map_err(|_| ReportError::Length { got: bytes.len() })?;
        let report = Self { bytes };
        let version = report.version();
        if !(2..=5).contains(&version) {
            return Err(ReportError::Version { got: version });
        }
        for (start, end) in RESERVED {
            report.check_zero(start, end)?;
        }
        // From version 3 on the first three bytes of the row have a meaning.
        report.check_zero(if version < 3 { CPUID.0 } else { CPUID.0 + 3 }, CPUID.1)?;
        if version < 5 {
            report.check_zero(MITIGATIONS.0, MITIGATIONS.1)?;
        }
        // The signature: R, S, and what is left of its 512 bytes.
        report.check_zero(SIGNED_LEN + SCALAR, SIGNED_LEN + SCALAR_FIELD)?;
        report.check_zero(SIGNED_LEN + SCALAR_FIELD + SCALAR, REPORT_LEN)?;
        match report.u32(0x34) {
            ECDSA_P384_SHA384 => {}
            got => return Err(ReportError::SignatureAlgo { got }),
        }
        // Bits 31:5 of the key information are reserved.
        let key_info = report.u32(0x48);
        if key_info >> 5 != 0 {
            let offset = if key_info >> 8 == 0 { 0x48 } else { 0x49 };
            return Err(ReportError::Reserved { offset, got: (key_info >> 5) as u8 });
        }
        match key_info >> 2 & 7 {
            0 | 1 | 7 => Ok(report),
            got => Err(ReportError::SigningKey { got }),
        }
    }

    /// The report as it came.
    #[must_use]
    pub fn bytes(&self) -> &[u8; REPORT_LEN] {
        &self.bytes
    }

    /// What the signature covers.
    #[must_use]
    pub fn signed(&self) -> &[u8] {
        &self.bytes[..SIGNED_LEN]
    }

    /// R and S, each 48 bytes, most significant byte first.
    #[must_use]
    pub fn signature(&self) -> [u8; 2 * SCALAR] {
        let mut signature = [0; 2 * SCALAR];
        for (scalar, start) in
            signature.chunks_exact_mut(SCALAR).zip([SIGNED_LEN, SIGNED_LEN + SCALAR_FIELD])
        {
            scalar.copy_from_slice(&self.bytes[start..start + SCALAR]);
            scalar.reverse();
        }
        signature
    }

    /// VERSION: 2 to 5.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.u32(0)
    }

    /// GUEST_SVN, from the ID block.
    #[must_use]
    pub fn guest_svn(&self) -> u32 {
        self.u32(0x4)
    }

    /// POLICY: what the guest's owner lets the host do with it.
    #[must_use]
    pub fn policy(&self) -> GuestPolicy {
        GuestPolicy(self.u64(0x8))
    }

    /// FAMILY_ID, from the ID block.
    #[must_use]
    pub fn family_id(&self) -> &[u8; 16] {
        self.array(0x10)
    }

    /// IMAGE_ID, from the ID block.
    #[must_use]
    pub fn image_id(&self) -> &[u8; 16] {
        self.array(0x20)
    }

    /// VMPL that asked for the report; 0 has the most privileges. A host that asks has `0xffff_ffff`.
    #[must_use]
    pub fn vmpl(&self) -> u32 {
        self.u32(0x30)
    }

    /// CURRENT_TCB: what runs now. See [`super::tcb::Tcb`] for its parts.
    #[must_use]
    pub fn current_tcb(&self) -> [u8; 8] {
        *self.array(0x38)
    }

    /// PLATFORM_INFO.
    #[must_use]
    pub fn platform_info(&self) -> PlatformInfo {
        PlatformInfo(self.u64(0x40))
    }

    /// AUTHOR_KEY_EN: whether [`Self::author_key_digest`] has a meaning.
    #[must_use]
    pub fn has_author_key(&self) -> bool {
        self.u32(0x48) & 1 != 0
    }

    /// MASK_CHIP_KEY: whether the host has taken the chip's key away, in which case nothing is signed by it.
    #[must_use]
    pub fn is_chip_key_masked(&self) -> bool {
        self.u32(0x48) & 2 != 0
    }

    /// SIGNING_KEY.
    #[must_use]
    pub fn signing_key(&self) -> SigningKey {
        match self.u32(0x48) >> 2 & 7 {
            0 => SigningKey::Vcek,
            1 => SigningKey::Vlek,
            _ => SigningKey::None,
        }
    }

    /// REPORT_DATA: what the guest asked to have signed.
    #[must_use]
    pub fn report_data(&self) -> &[u8; 64] {
        self.array(0x50)
    }

    /// MEASUREMENT: the launch digest.
    #[must_use]
    pub fn measurement(&self) -> &[u8; 48] {
        self.array(0x90)
    }

    /// HOST_DATA: given by the host at launch, and fixed since.
    #[must_use]
    pub fn host_data(&self) -> &[u8; 32] {
        self.array(0xc0)
    }

    /// ID_KEY_DIGEST: SHA-384 of the key that signed the ID block; zero without one.
    #[must_use]
    pub fn id_key_digest(&self) -> &[u8; 48] {
        self.array(0xe0)
    }

    /// AUTHOR_KEY_DIGEST: SHA-384 of the key that certified the ID key; zero without one.
    #[must_use]
    pub fn author_key_digest(&self) -> &[u8; 48] {
        self.array(0x110)
    }

    /// REPORT_ID: names this guest among those of one run of the platform.
    #[must_use]
    pub fn report_id(&self) -> &[u8; 32] {
        self.array(0x140)
    }

    /// REPORT_ID_MA: REPORT_ID of the migration agent; all ones without one.
    #[must_use]
    pub fn report_id_ma(&self) -> &[u8; 32] {
        self.array(0x160)
    }

    /// REPORTED_TCB: the one that the signing key was derived from.
    #[must_use]
    pub fn reported_tcb(&self) -> [u8; 8] {
        *self.array(0x180)
    }

    /// The product that CPUID names, from version 3 on. `Some(Err)` has family and model of an unknown one.
    #[must_use]
    pub fn product(&self) -> Option<Result<Product, (u8, u8)>> {
        let (family, model) = (self.bytes[0x188], self.bytes[0x189]);
        (self.version() >= 3).then(|| Product::from_cpuid(family, model).ok_or((family, model)))
    }

    /// CHIP_ID; zero where the host masks it. Turin uses the first eight bytes.
    #[must_use]
    pub fn chip_id(&self) -> &[u8; 64] {
        self.array(0x1a0)
    }

    /// COMMITTED_TCB: what the platform can no longer go back behind.
    #[must_use]
    pub fn committed_tcb(&self) -> [u8; 8] {
        *self.array(0x1e0)
    }

    /// CURRENT_MAJOR, CURRENT_MINOR and CURRENT_BUILD of the SNP firmware.
    #[must_use]
    pub fn current_version(&self) -> (u8, u8, u8) {
        (self.bytes[0x1ea], self.bytes[0x1e9], self.bytes[0x1e8])
    }

    /// COMMITTED_MAJOR, COMMITTED_MINOR and COMMITTED_BUILD of the SNP firmware.
    #[must_use]
    pub fn committed_version(&self) -> (u8, u8, u8) {
        (self.bytes[0x1ee], self.bytes[0x1ed], self.bytes[0x1ec])
    }

    /// LAUNCH_TCB: CURRENT_TCB when the guest was launched or imported.
    #[must_use]
    pub fn launch_tcb(&self) -> [u8; 8] {
        *self.array(0x1f0)
    }

    /// LAUNCH_MIT_VECTOR and CURRENT_MIT_VECTOR, from version 5 on.
    #[must_use]
    pub fn mitigations(&self) -> Option<(u64, u64)> {
        (self.version() >= 5).then(|| (self.u64(0x1f8), self.u64(0x200)))
    }

    fn check_zero(&self, start: usize, end: usize) -> Result<(), ReportError> {
        match self.bytes[start..end].iter().position(|&byte| byte != 0) {
            None => Ok(()),
            Some(at) => {
                Err(ReportError::Reserved { offset: start + at, got: self.bytes[start + at] })
            }
        }
    }

    /// All offsets are constants of this file, below the length.
    fn array<const N: usize>(&self, offset: usize) -> &[u8; N] {
        self.bytes[offset..offset + N].try_into().expect("the range has N bytes")
    }

    fn u32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(*self.array(offset))
    }

    fn u64(&self, offset: usize) -> u64 {
        u64::from_le_bytes(*self.array(offset))
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report")
            .field("version", &self.version())
            .field("signing_key", &self.signing_key())
            .field("measurement", self.measurement())
            .finish_non_exhaustive()
    }
}

/// POLICY, 8 bytes (document 56860, table "Guest Policy Structure").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestPolicy(pub u64);

impl GuestPolicy {
    /// Bits that have a meaning: ABI version, 16 to 25.
    const KNOWN: u64 = (1 << 26) - 1;

    /// Whether the siblings of a core may run something else (bit 16).
    #[must_use]
    pub const fn is_smt_allowed(self) -> bool {
        self.0 >> 16 & 1 != 0
    }

    /// Whether a migration agent may move the guest, and with it its memory (bit 18).
    #[must_use]
    pub const fn is_migration_allowed(self) -> bool {
        self.0 >> 18 & 1 != 0
    }

    /// Whether the host may read the guest's memory (bit 19).
    #[must_use]
    pub const fn is_debug_allowed(self) -> bool {
        self.0 >> 19 & 1 != 0
    }

    /// Whether each reserved bit has the value that the table demands: 17 set, those above 25 clear.
    #[must_use]
    pub const fn is_well_formed(self) -> bool {
        self.0 >> 17 & 1 == 1 && self.0 & !Self::KNOWN == 0
    }
}

/// PLATFORM_INFO, 8 bytes (document 56860, table "PLATFORM_INFO Field").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlatformInfo(pub u64);

impl PlatformInfo {
    /// Whether SMT is enabled on the platform (bit 0).
    #[must_use]
    pub const fn is_smt_enabled(self) -> bool {
        self.0 & 1 != 0
    }

    /// Whether the firmware has looked for memory that answers at two addresses, and found none (bit 5).
    #[must_use]
    pub const fn is_alias_check_complete(self) -> bool {
        self.0 >> 5 & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty(version: u32) -> [u8; REPORT_LEN] {
        let mut bytes = [0; REPORT_LEN];
        bytes[..4].copy_from_slice(&version.to_le_bytes());
        bytes[0x34] = 1;
        bytes
    }

    #[test]
    fn versions_two_to_five_are_read_and_no_other() {
        for version in 0..9 {
            let expected = (2..=5).contains(&version);
            assert_eq!(Report::parse(&empty(version)).is_ok(), expected, "{version}");
        }
    }

    #[test]
    fn another_length_is_refused() {
        let bytes = empty(2);
        for length in [0, 1, SIGNED_LEN, REPORT_LEN - 1] {
            assert_eq!(Report::parse(&bytes[..length]), Err(ReportError::Length { got: length }));
        }
        let long = [bytes.as_slice(), &[0]].concat();
        assert_eq!(Report::parse(&long), Err(ReportError::Length { got: REPORT_LEN + 1 }));
    }

    /// The unsigned part: every byte is R, S, or must be zero.
    #[test]
    fn no_byte_outside_the_signed_part_is_free() {
        for offset in SIGNED_LEN..REPORT_LEN {
            let mut bytes = empty(5);
            bytes[offset] = 1;
            let is_scalar = (0x2a0..0x2d0).contains(&offset) || (0x2e8..0x318).contains(&offset);
            assert_eq!(Report::parse(&bytes).is_ok(), is_scalar, "{offset:#x}");
        }
    }

    #[test]
    fn a_field_of_a_later_version_is_reserved_before_it() {
        for (offset, since) in [(0x188, 3), (0x18a, 3), (0x1f8, 5), (0x207, 5)] {
            for version in 2..=5 {
                let mut bytes = empty(version);
                bytes[offset] = 0x19;
                assert_eq!(Report::parse(&bytes).is_ok(), version >= since, "{offset:#x}");
            }
        }
        let mut bytes = empty(5);
        bytes[0x18b] = 1;
        assert_eq!(Report::parse(&bytes), Err(ReportError::Reserved { offset: 0x18b, got: 1 }));
    }

    #[test]
    fn key_information_has_three_signing_keys_and_no_reserved_bit() {
        let mut bytes = empty(3);
        for key_info in 0..=0xff_u8 {
            bytes[0x48] = key_info;
            let accepted = key_info < 0x20 && matches!(key_info >> 2, 0 | 1 | 7);
            assert_eq!(Report::parse(&bytes).is_ok(), accepted, "{key_info:#x}");
        }
        bytes[0x48] = 0;
        bytes[0x4b] = 1;
        assert!(Report::parse(&bytes).is_err());
        bytes[0x4b] = 0;
        bytes[0x34] = 2;
        assert_eq!(Report::parse(&bytes), Err(ReportError::SignatureAlgo { got: 2 }));
    }

    #[test]
    fn the_signature_is_turned_around() {
        let mut bytes = empty(2);
        bytes[0x2a0] = 7; // least significant byte of R
        bytes[0x2e8 + 47] = 9; // most significant byte of S
        let signature = Report::parse(&bytes).unwrap().signature();
        assert_eq!((signature[47], signature[48]), (7, 9));
    }

    #[test]
    fn policy_bits_are_where_the_table_has_them() {
        let policy = GuestPolicy(0x30000);
        assert!(policy.is_well_formed() && policy.is_smt_allowed());
        assert!(!policy.is_debug_allowed() && !policy.is_migration_allowed());
        assert!(GuestPolicy(0xb0000).is_debug_allowed());
        assert!(GuestPolicy(0x70000).is_migration_allowed());
        assert!(!GuestPolicy(0x10000).is_well_formed(), "bit 17 must be one");
        assert!(!GuestPolicy(0x20000 | 1 << 26).is_well_formed());
    }
}
