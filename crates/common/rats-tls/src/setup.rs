//! A party from files, for programs and for the C interface: a policy, the root it trusts, and where evidence
//! comes from.
//!
//! Nothing has a default that accepts: an end that verifies needs a policy and a root, an end that attests needs
//! the directory of its attestation device. Files are read when the party is made, once.

use crate::appraiser::{CollateralSource, Fixed, FromPeer, PolicyAppraiser};
use crate::binding::Role;
use crate::claims::{Claims, ClaimsFault, Custom};
use crate::compat::CompatAppraiser;
use crate::device::Device;
use crate::frame::Format;
use crate::party::{Appraiser, Attester, Party};
use crate::tls::IdentityError;
use attestation::anchor::AnchorError;
use attestation::collateral::{CollateralError, MAX_COLLATERAL_BYTES};
use attestation::crypto::Ring;
use attestation::hex::Hex;
use attestation::policy::{Level, MAX_POLICY_BYTES, PolicyError};
use attestation::x509::{self, PemError};
use attestation::{Collateral, Now, Policy, TrustAnchor, Verifier};
use core::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longest file of one certificate, in bytes.
const MAX_ROOT_BYTES: usize = 16 << 10;

/// What an end is made of.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// What the peer must be: a policy, TOML.
    pub policy: Option<PathBuf>,
    /// The trust anchor: one certificate, DER or PEM.
    pub root: Option<PathBuf>,
    /// Collateral, QuoteCollateralV3 as JSON. An end that verifies uses it in place of the peer's; an end that
    /// attests sends it with its evidence.
    pub collateral: Option<PathBuf>,
    /// Directory of the attestation device.
    pub device: Option<PathBuf>,
    /// The program's own claims.
    pub claims: Custom,
    /// The one instance of the workload that is accepted.
    pub instance: Option<[u8; 16]>,
    /// How long a peer may take to open a session, and for each re-attestation.
    pub patience: Option<Duration>,
    /// How often the peer is asked for new evidence.
    pub reattest: Option<Duration>,
}

impl Setup {
    /// What verifies, by the policy and the host's clock. `formats` are those it takes.
    ///
    /// # Errors
    /// A file is missing or is not what it should be.
    pub fn appraiser(&self, formats: &[Format]) -> Result<Arc<dyn Appraiser>, SetupError> {
        let (verifier, policy) = self.trust(Level::Bound)?;
        Ok(match &self.collateral {
            None => appraise(verifier, policy, FromPeer::default(), self.instance, formats),
            Some(path) => {
                let source = fixed(&verifier, path)?;
                appraise(verifier, policy, source, self.instance, formats)
            }
        })
    }

    /// What verifies certificates of the `compat` level, in the same way. Their peers send no collateral, so that a
    /// file of it is needed.
    ///
    /// # Errors
    /// As [`appraiser`](Self::appraiser).
    pub fn compat_appraiser(&self) -> Result<CompatAppraiser<Fixed>, SetupError> {
        let (verifier, policy) = self.trust(Level::Compat)?;
        let path = need(self.collateral.as_deref(), "collateral", "peers of this level send none")?;
        let source = fixed(&verifier, path)?;
        Ok(CompatAppraiser::new(verifier, policy, source, Box::new(host_time)))
    }

    /// Whom it trusts, and for what: found now, and not at the first peer.
    fn trust(&self, expected: Level) -> Result<(Verifier<Ring>, Policy), SetupError> {
        let for_what = "an end that verifies accepts nothing without one";
        let path = need(self.policy.as_deref(), "policy", for_what)?;
        let policy = read(path, MAX_POLICY_BYTES)?;
        let policy = String::from_utf8(policy).map_err(|_| SetupError::Text(path.into()))?;
        let wrong = |error| SetupError::Policy(path.into(), Box::new(error));
        let policy = Policy::from_toml(&policy).map_err(wrong)?;
        if policy.level != expected {
            return Err(SetupError::Level { path: path.into(), expected, got: policy.level });
        }
        let for_what = "the policy names it by its digest only";
        let root = need(self.root.as_deref(), "root", for_what)?;
        let anchor = anchor(root)?;
        if !policy.roots.contains(anchor.sha256()) {
            return Err(SetupError::Roots {
                path: path.into(),
                root: root.into(),
                expected: *anchor.sha256(),
                got: policy.roots,
            });
        }
        Ok((Verifier::new(Ring, anchor), policy))
    }

    /// What makes evidence. With `endorsed` the collateral goes with it.
    ///
    /// # Errors
    /// There is no device or no collateral, or the program's claims cannot be in a claims buffer.
    pub fn attester(&self, endorsed: bool) -> Result<Arc<dyn Attester>, SetupError> {
        let for_what = "an end that attests makes evidence by it";
        let directory = need(self.device.as_deref(), "device", for_what)?;
        Claims::check_custom(&self.claims).map_err(SetupError::Claims)?;
        let device = Device::at(directory, &self.claims);
        if !endorsed {
            return Ok(Arc::new(device));
        }
        let for_what = "it is to be sent with the evidence";
        let path = need(self.collateral.as_deref(), "collateral", for_what)?;
        Ok(Arc::new(device.endorsements(endorsements(path)?)))
    }

    /// A party of these two, at this end.
    ///
    /// # Errors
    /// It does nothing of the two, or no key can be made.
    pub fn party(
        &self,
        role: Role,
        attester: Option<Arc<dyn Attester>>,
        appraiser: Option<Arc<dyn Appraiser>>,
    ) -> Result<Party, SetupError> {
        let party = match (attester, appraiser) {
            (Some(attester), Some(appraiser)) => Party::mutual(attester, appraiser),
            (Some(attester), None) => Party::attester(attester),
            (None, Some(appraiser)) if role == Role::Client => Ok(Party::verifier(appraiser)),
            (None, Some(appraiser)) => Party::verifying_server(appraiser),
            (None, None) => return Err(SetupError::Idle),
        };
        let mut party = party.map_err(SetupError::Identity)?;
        if let Some(patience) = self.patience {
            party = party.patience(patience);
        }
        if let Some(interval) = self.reattest {
            party = party.reattest_every(interval);
        }
        Ok(party)
    }
}

fn need<'a>(
    given: Option<&'a Path>,
    name: &'static str,
    for_what: &'static str,
) -> Result<&'a Path, SetupError> {
    given.ok_or(SetupError::Missing { name, for_what })
}

fn appraise<S: CollateralSource + 'static>(
    verifier: Verifier<Ring>,
    policy: Policy,
    source: S,
    instance: Option<[u8; 16]>,
    formats: &[Format],
) -> Arc<dyn Appraiser> {
    let appraiser = PolicyAppraiser::new(verifier, policy, source, Box::new(host_time));
    let appraiser = appraiser.accepting(formats);
    match instance {
        Some(id) => Arc::new(appraiser.instance(id)),
        None => Arc::new(appraiser),
    }
}

/// Collateral in a file, verified. Its dates are looked at again whenever it is used.
fn fixed(verifier: &Verifier<Ring>, path: &Path) -> Result<Fixed, SetupError> {
    let verified = verifier.collateral(&collateral(path)?, host_time()).map_err(|checks| {
        let failed: Vec<_> = checks.failed().map(ToString::to_string).collect();
        SetupError::Unverified { path: path.into(), failed }
    })?;
    Ok(Fixed(Arc::new(verified)))
}

/// The host's clock: inside an enclave it is the host's word, and every verdict says so.
#[must_use]
pub fn host_time() -> Now {
    // A clock before 1970 is before every certificate, and refused as such.
    Now::host(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

fn anchor(path: &Path) -> Result<TrustAnchor, SetupError> {
    let der = x509::one(read(path, MAX_ROOT_BYTES)?);
    let der = der.map_err(|error| SetupError::Pem(path.into(), error))?;
    TrustAnchor::from_der(&der, &Ring).map_err(|error| SetupError::Root(path.into(), error))
}

/// Collateral to send: the bytes of a file that are collateral. Whether it is genuine is for the peer to say.
///
/// # Errors
/// The file cannot be read, or is none.
pub fn endorsements(path: &Path) -> Result<Vec<u8>, SetupError> {
    let bytes = read(path, MAX_COLLATERAL_BYTES)?;
    parse_collateral(path, &bytes)?;
    Ok(bytes)
}

fn collateral(path: &Path) -> Result<Collateral, SetupError> {
    parse_collateral(path, &read(path, MAX_COLLATERAL_BYTES)?)
}

fn parse_collateral(path: &Path, bytes: &[u8]) -> Result<Collateral, SetupError> {
    Collateral::from_json(bytes)
        .map_err(|error| SetupError::Collateral(path.into(), Box::new(error)))
}

fn read(path: &Path, most: usize) -> Result<Vec<u8>, SetupError> {
    let failed = |error| SetupError::File(path.into(), error);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > most {
        return Err(SetupError::TooLong { path: path.into(), expected_at_most: most });
    }
    Ok(bytes)
}

/// An end that cannot be made. Its own configuration is at fault.
#[derive(Debug)]
pub enum SetupError {
    /// Something that has no default.
    Missing {
        /// What.
        name: &'static str,
        /// Why it is needed.
        for_what: &'static str,
    },
    /// An end that neither attests nor verifies.
    Idle,
    /// A file that cannot be read.
    File(PathBuf, io::Error),
    /// A file that is longer than it may be, in bytes.
    TooLong {
        /// Which.
        path: PathBuf,
        /// The limit.
        expected_at_most: usize,
    },
    /// A policy that is not UTF-8.
    Text(PathBuf),
    /// A policy that is none.
    Policy(PathBuf, Box<PolicyError>),
    /// A policy for another level.
    Level {
        /// Its file.
        path: PathBuf,
        /// The one that is spoken here.
        expected: Level,
        /// The policy's.
        got: Level,
    },
    /// A policy that does not trust the root.
    Roots {
        /// Its file.
        path: PathBuf,
        /// The root's file.
        root: PathBuf,
        /// The root's SHA-256.
        expected: [u8; 32],
        /// Those of the roots that the policy names.
        got: Vec<[u8; 32]>,
    },
    /// A root that begins like PEM and is not one certificate in it.
    Pem(PathBuf, PemError),
    /// A certificate that is no root.
    Root(PathBuf, AnchorError),
    /// Collateral that is none.
    Collateral(PathBuf, Box<CollateralError>),
    /// Collateral that is not genuine, or not current.
    Unverified {
        /// Its file.
        path: PathBuf,
        /// The checks that failed.
        failed: Vec<String>,
    },
    /// Claims that no peer would read.
    Claims(ClaimsFault),
    /// No key.
    Identity(IdentityError),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { name, for_what } => {
                write!(f, "{name}: expected one, got none: {for_what}")
            }
            Self::Idle => f.write_str(
                "attester, verifier: expected an end that attests or verifies, got one that does neither",
            ),
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::TooLong { path, expected_at_most } => {
                write!(f, "{}: expected at most {expected_at_most} bytes, got more", path.display())
            }
            Self::Text(path) => write!(f, "{}: expected text in UTF-8", path.display()),
            Self::Policy(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Level { path, expected, got } => {
                write!(f, "{}: level: expected {expected}, got {got}", path.display())
            }
            Self::Roots { path, root, expected, got } => {
                let (path, root) = (path.display(), root.display());
                write!(f, "{path}: roots: expected {}, of {root}, got ", Hex(expected))?;
                let got: Vec<_> = got.iter().map(|digest| Hex(digest).to_string()).collect();
                f.write_str(&got.join(", "))
            }
            Self::Pem(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Root(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Collateral(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Unverified { path, failed } => {
                write!(f, "{}: collateral refused: {}", path.display(), failed.join("; "))
            }
            Self::Claims(fault) => fault.fmt(f),
            Self::Identity(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SetupError {}

#[cfg(test)]
mod tests {
    use super::*;
    use emulated_platform::{Collateral, CollateralSettings, Dates, Issued, Root, Settings};
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;
    use std::thread;

    fn root() -> Root {
        let cpu = sgx::keys::Platform {
            root: [1; 16],
            seal_fuses: [1; 16],
            owner_epoch: [1; 16],
            cpusvn: sgx::report::EMULATED_CPUSVN,
        };
        Root::new(&cpu, Dates::default()).unwrap()
    }

    fn json() -> Vec<u8> {
        let (settings, issued) = (CollateralSettings::default(), Issued::at(1_800_000_000));
        let issued = Collateral::issue(&root(), Settings::default().ca, &settings, issued);
        serde_json::to_vec(&issued.unwrap()).unwrap()
    }

    /// A second reading of a pipe gives nothing.
    #[test]
    fn the_collateral_that_is_sent_is_the_one_that_was_checked() {
        let json = json();
        let (pipe, mut writer) = io::pipe().unwrap();
        let path = PathBuf::from(format!("/proc/self/fd/{}", pipe.as_raw_fd()));
        let sent = thread::scope(|scope| {
            let json = &json;
            scope.spawn(move || writer.write_all(json).unwrap());
            endorsements(&path).unwrap()
        });
        assert_eq!(sent, json);
    }

    #[test]
    fn a_policy_that_names_another_root_is_found_before_a_peer_comes() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = directory.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let root_path = file("root.der", root().certificate());
        let own = Hex(&root().fingerprint()).to_string();
        let appraiser = |roots: &str| {
            let policy = file("policy.toml", format!("roots = {roots}").as_bytes());
            let root = Some(root_path.clone());
            Setup { policy: Some(policy), root, ..Setup::default() }.appraiser(&[Format::Sgx])
        };
        let (a, b) = ("aa".repeat(32), "bb".repeat(32));
        assert!(appraiser(&format!("['{a}', '{own}']")).is_ok());
        let error = appraiser(&format!("['{a}', '{b}']")).err().unwrap();
        let (path, root) = (directory.path().join("policy.toml"), root_path.display());
        let expected =
            format!("{}: roots: expected {own}, of {root}, got {a}, {b}", path.display());
        assert_eq!(error.to_string(), expected);
    }
}
