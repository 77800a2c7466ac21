//! Why a command does not end well, and the exit code that tells a refusal from a failure to judge.

use crate::shown::Shown;
use std::fmt::{self, Display};

/// How a command ends when it does not end well.
#[derive(Debug)]
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
        if !matches!(self, Self::Said) {
            // Messages of parsers have several lines; what is in a line may be a peer's.
            let message = self.to_string();
            let lines: Vec<String> = message.lines().map(|it| Shown(it).to_string()).collect();
            eprintln!("shelter: {}", lines.join("\n"));
        }
    }

    pub(crate) fn undecided(error: impl Display) -> Self {
        Self::Undecided(error.to_string())
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(message) | Self::Undecided(message) => f.write_str(message),
            Self::Said => f.write_str("refused"),
        }
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
