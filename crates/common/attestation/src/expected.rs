//! What the caller demands that evidence be bound to. There is no way to demand nothing.

use core::fmt;

use crate::hex::{self, HexError};

/// The report data that evidence must carry, all 64 bytes of it.
///
/// Evidence that is not bound to anything is anybody's: it can be copied from another session. So this is
/// a required argument, and neither empty nor all zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ExpectedReportData {
    bytes: [u8; 64],
    config_digest: Option<[u8; 32]>,
}

/// Report data that binds to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedError {
    /// Not 64 bytes.
    Length {
        /// What came, in bytes.
        got: usize,
    },
    /// All zero: what an enclave that bound nothing reports.
    Zero,
    /// Not hex.
    Hex(HexError),
}

impl fmt::Display for ExpectedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { got } => write!(f, "report data: expected 64 bytes, got {got}"),
            Self::Zero => f.write_str("report data: all zero binds to nothing"),
            Self::Hex(error) => write!(f, "report data: {error}"),
        }
    }
}

impl core::error::Error for ExpectedError {}

impl ExpectedReportData {
    /// Exactly these 64 bytes.
    ///
    /// # Errors
    ///
    /// Another length, or all zero.
    pub fn new(bytes: &[u8]) -> Result<Self, ExpectedError> {
        let bytes = bytes.try_into().map_err(|_| ExpectedError::Length { got: bytes.len() })?;
        if bytes == [0; 64] {
            return Err(ExpectedError::Zero);
        }
        Ok(Self { bytes, config_digest: None })
    }

    /// These bytes and zeros after them, as formats that hash into fewer than 64 bytes have it.
    ///
    /// # Errors
    ///
    /// None, more than 64 bytes, or all zero.
    pub fn zero_padded(bytes: &[u8]) -> Result<Self, ExpectedError> {
        if bytes.is_empty() || bytes.len() > 64 {
            return Err(ExpectedError::Length { got: bytes.len() });
        }
        let mut padded = [0; 64];
        padded[..bytes.len()].copy_from_slice(bytes);
        Self::new(&padded)
    }

    /// 128 hex digits.
    ///
    /// # Errors
    ///
    /// Anything else, or all zero.
    pub fn from_hex(text: &str) -> Result<Self, ExpectedError> {
        Self::new(&hex::array::<64>(text).map_err(ExpectedError::Hex)?)
    }

    /// Adds the config-digest of the claims that this report data commits to. Only who computed the report
    /// data from those claims may say so.
    #[must_use]
    pub const fn with_config_digest(mut self, digest: [u8; 32]) -> Self {
        self.config_digest = Some(digest);
        self
    }

    /// The 64 bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 64] {
        &self.bytes
    }

    /// The config-digest that they commit to, if they do.
    #[must_use]
    pub const fn config_digest(&self) -> Option<&[u8; 32]> {
        self.config_digest.as_ref()
    }
}

impl fmt::Debug for ExpectedReportData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&hex::Hex(&self.bytes), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_data_that_binds_to_nothing_cannot_be_expected() {
        assert_eq!(ExpectedReportData::new(&[]), Err(ExpectedError::Length { got: 0 }));
        assert_eq!(ExpectedReportData::new(&[1; 63]), Err(ExpectedError::Length { got: 63 }));
        assert_eq!(ExpectedReportData::new(&[1; 65]), Err(ExpectedError::Length { got: 65 }));
        assert_eq!(ExpectedReportData::new(&[0; 64]), Err(ExpectedError::Zero));
        assert_eq!(ExpectedReportData::zero_padded(&[]), Err(ExpectedError::Length { got: 0 }));
        assert_eq!(ExpectedReportData::zero_padded(&[0; 5]), Err(ExpectedError::Zero));
        assert!(ExpectedReportData::from_hex("").is_err());
        let padded = ExpectedReportData::zero_padded(b"Hello, world!").expect("bytes");
        assert_eq!(padded.bytes()[..13], *b"Hello, world!");
        assert_eq!(padded.bytes()[13..], [0; 51]);
    }
}
