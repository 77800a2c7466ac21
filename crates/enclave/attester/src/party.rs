//! From the command line to an end of sessions.

use crate::args::{Arguments, Role};
use crate::evidence::{self, Busy};
use core::fmt;
use rats_tls::{Attester, Format, Party, Setup, SetupError, binding, endorsements};
use std::io;
use std::sync::Arc;

/// An end that cannot be made.
#[derive(Debug)]
pub enum StartError {
    /// A file that is not what it should be, or no key.
    Setup(SetupError),
    /// No randomness.
    Random(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup(error) => error.fmt(f),
            Self::Random(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for StartError {}

impl From<SetupError> for StartError {
    fn from(error: SetupError) -> Self {
        Self::Setup(error)
    }
}

/// The end of a session that is opened in earnest, and the end that tells a peer to come again.
pub struct Parties {
    /// In earnest.
    pub usual: Arc<Party>,
    /// Too much to do; `None` for an end that asks, and does not answer.
    pub busy: Option<Arc<Party>>,
}

/// Reads all files, and makes the end's key.
///
/// # Errors
/// The first thing that is wrong.
pub fn parties(arguments: &Arguments) -> Result<Parties, StartError> {
    let verify = arguments.verify.as_ref();
    let setup = Setup {
        policy: verify.map(|verify| verify.policy.clone()),
        root: verify.map(|verify| verify.root.clone()),
        collateral: verify.and_then(|verify| verify.collateral.clone()),
        patience: Some(arguments.limits.patience),
        reattest: verify.and_then(|verify| verify.reattest),
        ..Setup::default()
    };
    let role = match arguments.role {
        Role::Ends { .. } => binding::Role::Server,
        Role::Opens { .. } => binding::Role::Client,
    };
    let attester = arguments.attests.then(|| attester(arguments)).transpose()?;
    let appraiser = verify.map(|_| setup.appraiser(&[Format::Sgx, Format::Tdx])).transpose()?;
    // Of an end that does not attest there is nothing to withhold.
    let is_first = arguments.attests && verify.is_some_and(|verify| verify.is_first);
    let make = |attester| -> Result<_, SetupError> {
        let party = setup.party(role, attester, appraiser.clone())?;
        Ok(Arc::new(if is_first { party.verify_first() } else { party }))
    };
    let busy = match attester {
        Some(_) => Some(make(Some(Arc::new(Busy) as Arc<dyn Attester>))?),
        None => None,
    };
    Ok(Parties { usual: make(attester)?, busy })
}

fn attester(arguments: &Arguments) -> Result<Arc<dyn Attester>, StartError> {
    let json = arguments.endorsements.as_deref().map(endorsements).transpose()?;
    evidence::attester(arguments, json.unwrap_or_default()).map_err(StartError::Random)
}
