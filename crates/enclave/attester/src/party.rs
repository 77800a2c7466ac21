//! From files to an end of sessions.

use crate::args::{Arguments, Verify};
use crate::evidence::{self, Busy};
use attestation::collateral::MAX_COLLATERAL_BYTES;
use attestation::policy::{Level, MAX_POLICY_BYTES};
use attestation::{Collateral, Now, Policy, TrustAnchor, Verifier, crypto, x509};
use core::fmt::{self, Display};
use rats_tls::tls::IdentityError;
use rats_tls::{Appraiser, Attester, Fixed, FromPeer, Party, PolicyAppraiser};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Most bytes of a certificate's file.
const MOST_CERTIFICATE: u64 = 1 << 20;

/// An end that cannot be made.
#[derive(Debug)]
pub enum SetupError {
    /// A file that cannot be read.
    Read(PathBuf, io::Error),
    /// A file that is not what it should be.
    Content {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A policy that does not go with the rest.
    Policy {
        /// Its member.
        field: &'static str,
        /// What it should say.
        expected: String,
        /// What it says.
        got: String,
    },
    /// No randomness.
    Random(io::Error),
    /// No key.
    Identity(IdentityError),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => write!(f, "read {}: {error}", path.display()),
            Self::Content { path, reason } => write!(f, "{}: {reason}", path.display()),
            Self::Policy { field, expected, got } => {
                write!(f, "policy: {field}: expected {expected}, got {got}")
            }
            Self::Random(error) => error.fmt(f),
            Self::Identity(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SetupError {}

impl From<IdentityError> for SetupError {
    fn from(error: IdentityError) -> Self {
        Self::Identity(error)
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
pub fn parties(arguments: &Arguments) -> Result<Parties, SetupError> {
    let attester = arguments.attests.then(|| attester(arguments)).transpose()?;
    let appraiser = arguments.verify.as_ref().map(appraiser).transpose()?;
    let (is_first, interval) = match &arguments.verify {
        Some(verify) => (verify.is_first, verify.reattest),
        None => (false, None),
    };
    let make = |attester| -> Result<_, SetupError> {
        let mut party = match (attester, &appraiser) {
            (Some(attester), None) => Party::attester(attester)?,
            (Some(attester), Some(appraiser)) => Party::mutual(attester, appraiser.clone())?,
            (None, Some(appraiser)) => Party::verifier(appraiser.clone()),
            (None, None) => unreachable!("the command line asks for one of them"),
        };
        // Of an end that does not attest there is nothing to withhold.
        if is_first && arguments.attests {
            party = party.verify_first();
        }
        if let Some(interval) = interval {
            party = party.reattest_every(interval);
        }
        Ok(Arc::new(party.patience(arguments.limits.patience)))
    };
    let busy = match attester {
        Some(_) => Some(make(Some(Arc::new(Busy) as Arc<dyn Attester>))?),
        None => None,
    };
    Ok(Parties { usual: make(attester)?, busy })
}

fn attester(arguments: &Arguments) -> Result<Arc<dyn Attester>, SetupError> {
    let endorsements = match &arguments.endorsements {
        Some(path) => {
            let json = read(path, MAX_COLLATERAL_BYTES as u64)?;
            Collateral::from_json(&json).map_err(in_file(path))?;
            json
        }
        None => Vec::new(),
    };
    evidence::attester(arguments, endorsements).map_err(SetupError::Random)
}

fn appraiser(verify: &Verify) -> Result<Arc<dyn Appraiser>, SetupError> {
    let anchor = anchor(&verify.root)?;
    let text = read(&verify.policy, MAX_POLICY_BYTES as u64)?;
    let text = String::from_utf8(text).map_err(in_file(&verify.policy))?;
    let policy = Policy::from_toml(&text).map_err(in_file(&verify.policy))?;
    // Found now, and not at the first peer.
    if policy.level != Level::Bound {
        return Err(SetupError::Policy {
            field: "level",
            expected: Level::Bound.to_string(),
            got: policy.level.to_string(),
        });
    }
    if !policy.roots.contains(anchor.sha256()) {
        return Err(SetupError::Policy {
            field: "roots",
            expected: format!("{}, of {}", hex(anchor.sha256()), verify.root.display()),
            got: policy.roots.iter().map(hex).collect::<Vec<_>>().join(", "),
        });
    }
    let verifier = Verifier::new(crypto::Default::default(), anchor);
    let Some(path) = &verify.collateral else {
        let appraiser = PolicyAppraiser::new(verifier, policy, FromPeer::default(), Box::new(now));
        return Ok(Arc::new(appraiser));
    };
    let json = read(path, MAX_COLLATERAL_BYTES as u64)?;
    let collateral = Collateral::from_json(&json).map_err(in_file(path))?;
    let verified = verifier.collateral(&collateral, now()).map_err(|checks| {
        let failed: Vec<_> = checks.failed().map(ToString::to_string).collect();
        in_file(path)(failed.join("; "))
    })?;
    let source = Fixed(Arc::new(verified));
    Ok(Arc::new(PolicyAppraiser::new(verifier, policy, source, Box::new(now))))
}

/// One certificate, DER or PEM.
fn anchor(path: &Path) -> Result<TrustAnchor, SetupError> {
    let mut der = read(path, MOST_CERTIFICATE)?;
    if der.starts_with(b"-----BEGIN") {
        let chain = x509::chain(&der).map_err(in_file(path))?;
        let [only] = <[_; 1]>::try_from(chain).map_err(|chain| {
            in_file(path)(format!("expected one certificate, got {}", chain.len()))
        })?;
        der = only;
    }
    TrustAnchor::from_der(&der, &crypto::Default::default()).map_err(in_file(path))
}

/// The machine's clock: inside an enclave it is the host's word, and every verdict says so.
#[must_use]
pub fn now() -> Now {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    // A clock before 1970 makes every certificate one of the future, which is refused.
    Now::host(since.map_or(0, |since| since.as_secs()))
}

fn read(path: &Path, at_most: u64) -> Result<Vec<u8>, SetupError> {
    let failed = |error| SetupError::Read(path.into(), error);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(at_most + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > at_most {
        return Err(in_file(path)(format!("expected at most {at_most} bytes, got more")));
    }
    Ok(bytes)
}

fn in_file<E: Display>(path: &Path) -> impl Fn(E) -> SetupError {
    move |error| SetupError::Content { path: path.into(), reason: error.to_string() }
}

fn hex(digest: &[u8; 32]) -> String {
    attestation::hex::Hex(digest).to_string()
}
