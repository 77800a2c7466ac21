//! One end: a party, an address, and how it talks to people.

use crate::flags::LogLevel;
use rats_tls::binding::Role;
use rats_tls::names::NameError;
use rats_tls::{Accepted, Format, Limited, Party, SessionError, Setup, SetupError};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// Quotes that are made at once, and asked for behind them: anyone may ask.
const QUOTES: u32 = 4;
const QUEUE: u32 = 16;

/// An end that is ready.
pub(crate) struct End {
    pub(crate) party: Arc<Party>,
    pub(crate) address: SocketAddr,
    pub(crate) log_level: LogLevel,
}

/// A party that attests, with endorsements or not, and verifies evidence of these formats.
pub(crate) fn party(
    setup: &Setup,
    role: Role,
    attests: Option<bool>,
    verifies: Option<&[Format]>,
) -> Result<Arc<Party>, Failure> {
    let attester = attests.map(|endorses| setup.attester(endorses)).transpose()?;
    let attester = attester.map(|inner| Arc::new(Limited::new(inner, QUOTES, QUEUE)) as _);
    let appraiser = verifies.map(|formats| setup.appraiser(formats)).transpose()?;
    Ok(Arc::new(setup.party(role, attester, appraiser)?))
}

impl End {
    pub(crate) fn says(&self, level: LogLevel) -> bool {
        self.log_level >= level
    }
}

/// The verdict on a peer, in a line.
pub(crate) fn describe(peer: Option<&Accepted>) -> String {
    let Some(Accepted { verdict, claims }) = peer else {
        return "peer: not verified by this end".into();
    };
    let value = serde_json::to_value(verdict).expect("a verdict is made of text and numbers");
    let measurement = &value["measurement"];
    let measurement = measurement["mrenclave"].as_str().or(measurement["mrtd"].as_str());
    format!(
        "peer: {} {}{}, runtime {}",
        value["tee"].as_str().unwrap_or("unknown tee"),
        measurement.unwrap_or("without measurement"),
        if verdict.emulated { " (emulated)" } else { "" },
        claims.runtime_version
    )
}

/// Why a program ends.
#[derive(Debug)]
pub enum Failure {
    /// A flag of upstream's that has no meaning here.
    Flag {
        /// Which.
        flag: &'static str,
        /// What to do instead.
        advice: &'static str,
    },
    /// A name of an instance.
    Name(NameError),
    /// A file, or one that is missing.
    Setup(SetupError),
    /// The address.
    Address(SocketAddr, io::Error),
    /// The session.
    Session(SessionError),
    /// The peer's answer.
    Answer {
        /// In bytes.
        expected: usize,
        /// In bytes.
        got: usize,
    },
}

impl Failure {
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Flag { .. } | Self::Name(_) | Self::Setup(_) => 2,
            Self::Address(..) | Self::Session(_) | Self::Answer { .. } => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag { flag, advice } => write!(f, "{flag}: {advice}"),
            Self::Name(error) => write!(f, "--{error}"),
            Self::Setup(error @ SetupError::Missing { .. }) => write!(f, "--{error}"),
            Self::Setup(error) => error.fmt(f),
            Self::Address(address, error) => write!(f, "{address}: {error}"),
            Self::Session(error) => error.fmt(f),
            Self::Answer { expected, got } => {
                write!(f, "answer: expected the {expected} bytes that were sent, got {got} others")
            }
        }
    }
}

impl std::error::Error for Failure {}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        Self::Setup(error)
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Session(error.into())
    }
}
