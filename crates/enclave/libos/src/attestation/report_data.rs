//! The 64 bytes that a report carries for its enclave.

use core::fmt;

/// Bytes of report data.
pub const SIZE: usize = 64;

/// Bytes of the digest in bound report data.
pub const HASH_SIZE: usize = 48;

/// The end of bound report data (bound-v1), after the digest.
pub const BOUND_TAG: [u8; SIZE - HASH_SIZE] = *b"EAA-BOUND-V1\0\0\0\0";

/// Bytes of [`BOUND_TAG`] that are not padding.
const TAG_TEXT: usize = 12;

/// Report data, of one of three origins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ReportData([u8; SIZE]);

impl ReportData {
    /// Zeros: identity and nothing else.
    pub const EMPTY: Self = Self([0; SIZE]);

    /// A program's bytes.
    ///
    /// # Errors
    /// They end with the tag of bound evidence. The padding after it does not matter, so that a verifier that
    /// looks at the text alone cannot be misled either.
    pub fn user(bytes: [u8; SIZE]) -> Result<Self, Tagged> {
        if bytes[HASH_SIZE..][..TAG_TEXT] == BOUND_TAG[..TAG_TEXT] {
            return Err(Tagged);
        }
        Ok(Self(bytes))
    }

    /// Bound report data; only a [`super::bound::Record`] makes one.
    pub(super) fn bound(hash: &[u8; HASH_SIZE]) -> Self {
        let mut bytes = [0; SIZE];
        bytes[..HASH_SIZE].copy_from_slice(hash);
        bytes[HASH_SIZE..].copy_from_slice(&BOUND_TAG);
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; SIZE] {
        &self.0
    }
}

impl fmt::Debug for ReportData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReportData({})", workload::digest::Hex(self.0))
    }
}

/// A program's report data ends with the tag of bound evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tagged;

impl fmt::Display for Tagged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "user_report_data: expected bytes 48 to 59 other than \"EAA-BOUND-V1\", which only \
             /dev/attestation/bound makes, got it",
        )
    }
}

impl core::error::Error for Tagged {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_of_bound_evidence_is_refused_whatever_the_padding() {
        let mut bytes = [0x5a; SIZE];
        assert_eq!(ReportData::user(bytes).map(|data| *data.bytes()), Ok(bytes));
        bytes[48..60].copy_from_slice(b"EAA-BOUND-V1");
        assert_eq!(ReportData::user(bytes), Err(Tagged));
        bytes[60..].fill(0);
        assert_eq!(ReportData::user(bytes), Err(Tagged));
        assert_eq!(ReportData::user(*ReportData::bound(&[7; 48]).bytes()), Err(Tagged));
        bytes[59] = b'2';
        assert!(ReportData::user(bytes).is_ok());
    }
}
