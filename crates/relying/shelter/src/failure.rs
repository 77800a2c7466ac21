//! Why a command does not end well, and the exit code that tells a refusal from a failure to judge.

use std::fmt::Display;

/// How a command ends when it does not end well.
pub(crate) enum Failure {
    /// Refused; the message says why.
    Refused(String),
    /// Refused; the output has said why already.
    Said,
    /// It could not be judged. Never to be taken for a yes, and no statement about the evidence either.
    Undecided(String),
}

impl Failure {
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Refused(_) | Self::Said => 1,
            Self::Undecided(_) => 2,
        }
    }

    pub(crate) fn report(&self) {
        if let Self::Refused(message) | Self::Undecided(message) = self {
            eprintln!("shelter: {message}");
        }
    }

    pub(crate) fn undecided(error: impl Display) -> Self {
        Self::Undecided(error.to_string())
    }
}

impl From<convert::Error> for Failure {
    fn from(error: convert::Error) -> Self {
        match error {
            // The parts of a pack contradict each other: that is an answer.
            convert::Error::Pack { .. } => Self::Refused(error.to_string()),
            other => Self::Undecided(other.to_string()),
        }
    }
}
