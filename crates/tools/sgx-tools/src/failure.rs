//! Why a command fails, and the exit code that says whose fault it is.

use aesm::{ClientError, Status};
use std::fmt::Display;
use std::path::Path;

/// A failed command.
pub(crate) enum Failure {
    /// The input, or the request, is refused.
    Refused(String),
    /// The verdict has been printed: refused.
    Verdict,
    /// Nothing was done or judged.
    Undone(String),
}

impl Failure {
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Refused(_) | Self::Verdict => 1,
            Self::Undone(_) => 2,
        }
    }

    pub(crate) fn report(&self) {
        if let Self::Refused(message) | Self::Undone(message) = self {
            eprintln!("sgx-tools: {message}");
        }
    }

    pub(crate) fn refused(error: impl Display) -> Self {
        Self::Refused(error.to_string())
    }

    pub(crate) fn undone(error: impl Display) -> Self {
        Self::Undone(error.to_string())
    }

    /// Says what was being done to a file when the system failed.
    pub(crate) fn io(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let what = format!("{what} {}", path.display());
        move |error| Self::Undone(format!("{what}: {error}"))
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Connect { .. } => Self::Undone(format!(
                "{error}\nstart Intel's aesmd, or for emulated enclaves: sgx-tools emulator serve"
            )),
            ClientError::Refused { status: Status::INVALID_REPORT, .. } => Self::Refused(format!(
                "{error}\nthe report is not of this platform, or was not made for the target \
                 information that gen-qe-target-info gives"
            )),
            ClientError::Frame(_) => Self::Undone(error.to_string()),
            _ => Self::Refused(error.to_string()),
        }
    }
}
