//! Why a command fails, and the exit code that says whose fault it is.

use std::fmt::Display;
use std::path::Path;

/// A failed command.
pub(crate) enum Failure {
    /// The input is refused.
    Refused(String),
    /// This machine failed.
    System(String),
    /// The report has said it already; enclaves cannot run here.
    NotHere,
}

impl Failure {
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Refused(_) => 1,
            Self::System(_) => 3,
            Self::NotHere => 4,
        }
    }

    pub(crate) fn report(&self) {
        if let Self::Refused(message) | Self::System(message) = self {
            eprintln!("inclavare: {message}");
        }
    }

    pub(crate) fn refused(error: impl Display) -> Self {
        Self::Refused(error.to_string())
    }

    /// Says what was being done to a file when the system failed.
    pub(crate) fn io(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let what = format!("{what} {}", path.display());
        move |error| Self::System(format!("{what}: {error}"))
    }
}

impl From<convert::Error> for Failure {
    fn from(error: convert::Error) -> Self {
        match error {
            convert::Error::Io { .. } => Self::System(error.to_string()),
            other => Self::Refused(other.to_string()),
        }
    }
}
