//! What ends a command: a message and an exit code.

use crate::args::Usage;
use std::fmt::Display;

/// A command's failure.
#[derive(Debug)]
pub(crate) struct Failure {
    /// For people and engines.
    pub(crate) message: String,
    /// Exit code.
    pub(crate) code: i32,
}

/// Result of a command: its exit code.
pub(crate) type Outcome = Result<i32, Failure>;

impl Failure {
    /// Any message, exit code 1.
    pub(crate) fn new(message: impl Display) -> Self {
        Self { message: message.to_string(), code: 1 }
    }

    /// The same failure with another exit code.
    pub(crate) const fn with_code(mut self, code: i32) -> Self {
        self.code = code;
        self
    }
}

impl From<container::Error> for Failure {
    fn from(error: container::Error) -> Self {
        Self::new(error)
    }
}

impl From<Usage> for Failure {
    fn from(usage: Usage) -> Self {
        Self::new(usage)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error)
    }
}
