//! What can go wrong.

use sgx::LayoutError;
use sgx::driver::DriverError;
use std::path::PathBuf;

/// Why there is no platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlatformError {
    /// The emulator's secret, or the lab root, cannot be had.
    Secret(DriverError),
    /// A secret that ends with this process: no other process's enclaves would have it.
    NotStored {
        /// Where it should be.
        path: PathBuf,
        /// Why it is not.
        reason: Option<String>,
    },
    /// A file cannot be reached.
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        kind: std::io::ErrorKind,
    },
    /// A certificate or CRL cannot be made: a date is out of range.
    Certificate(rcgen::Error),
}

impl core::fmt::Display for PlatformError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Secret(error) => error.fmt(f),
            Self::NotStored { path, reason } => {
                write!(f, "{}: expected a secret that lasts", path.display())?;
                reason.as_ref().map_or(Ok(()), |reason| write!(f, ", got none: {reason}"))
            }
            Self::Io { path, kind } => write!(f, "{}: {kind}", path.display()),
            Self::Certificate(error) => write!(f, "emulated certificate: {error}"),
        }
    }
}

impl core::error::Error for PlatformError {}

impl From<DriverError> for PlatformError {
    fn from(error: DriverError) -> Self {
        Self::Secret(error)
    }
}

impl From<rcgen::Error> for PlatformError {
    fn from(error: rcgen::Error) -> Self {
        Self::Certificate(error)
    }
}

/// Why a report is not quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuoteError {
    /// A reserved byte of the report is not zero.
    Report(LayoutError),
    /// A reserved byte of the target of the quoting enclave's own report is not zero.
    Target(LayoutError),
    /// The report's MAC is none of this host's for this quoting enclave. A report does not say for whom it
    /// was made: it may have another target, be another host's, or have been changed. The expected MAC is
    /// not told, since it would make the report good.
    Mac {
        /// Which enclave the report claims to be about.
        mrenclave: [u8; 32],
        /// The MAC that came.
        got: [u8; 16],
    },
}

impl core::fmt::Display for QuoteError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Report(error) => error.fmt(f),
            Self::Target(error) => write!(f, "target of the quoting enclave's report: {error}"),
            Self::Mac { mrenclave, got } => {
                f.write_str("report.mac: expected one made on this host for TARGETINFO of the ")?;
                f.write_str("emulated quoting enclave, got ")?;
                hex(f, got)?;
                f.write_str(" in a report about mrenclave ")?;
                hex(f, mrenclave)
            }
        }
    }
}

impl core::error::Error for QuoteError {}

fn hex(f: &mut core::fmt::Formatter<'_>, bytes: &[u8]) -> core::fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}
