//! What an end of a session brings: a way to make evidence, a way to verify the peer's, and limits.

use crate::binding::Binding;
use crate::claims::{Claims, ClaimsFault};
use crate::compat::CompatFault;
use crate::frame::{Flags, Format};
use crate::session::{Config, Offered, Received};
use crate::tls::{self, Identity, IdentityError};
use attestation::Verdict;
use attestation::policy::Level;
use core::fmt;
use rustls::{ClientConfig, ServerConfig};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Makes evidence.
pub trait Attester: Send + Sync {
    /// Makes evidence over a binding, of one of the formats that the peer accepts.
    ///
    /// # Errors
    /// None of the formats, too busy, or the device failed.
    fn attest(&self, binding: &Binding, formats: &[u16]) -> Result<Offered, AttestError>;
}

impl<A: Attester + ?Sized> Attester for Arc<A> {
    fn attest(&self, binding: &Binding, formats: &[u16]) -> Result<Offered, AttestError> {
        (**self).attest(binding, formats)
    }
}

/// Verifies evidence.
pub trait Appraiser: Send + Sync {
    /// Decides on evidence: genuine, what the policy wants, and bound to exactly this session.
    ///
    /// # Errors
    /// Every other evidence.
    fn appraise(&self, received: &Received) -> Result<Accepted, Box<Refusal>>;

    /// Evidence that may come.
    fn formats(&self) -> Vec<Format>;

    /// Changes when what verdicts rest on does, such as collateral: sessions then ask for new evidence.
    fn generation(&self) -> u64 {
        0
    }
}

/// Evidence that was accepted.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Every check.
    pub verdict: Box<Verdict>,
    /// What the evidence says besides the hardware's words.
    pub claims: Claims,
}

/// Evidence that was refused.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// By the verification or the policy.
    Verdict(Box<Verdict>),
    /// The claims buffer cannot be read.
    Claims(ClaimsFault),
    /// Another instance of the workload than the pinned one.
    Instance {
        /// Its instance-id.
        expected: [u8; 16],
        /// The peer's.
        got: [u8; 16],
    },
    /// Of another level than the policy's.
    Level {
        /// The policy's.
        expected: Level,
        /// The evidence's.
        got: Level,
    },
    /// The certificate is none of the compat level.
    Compat(CompatFault),
    /// There is no collateral for it.
    Collateral(String),
    /// By the caller's own look at the claims.
    Denied {
        /// The claim or property that it names.
        field: String,
        /// What was expected.
        expected: String,
        /// What came.
        got: String,
    },
}

impl Refusal {
    /// What the peer is told: which check failed, and not what was wanted.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Verdict(verdict) => verdict
                .checks
                .failed()
                .next()
                .map_or("evidence".into(), |check| check.id.to_string()),
            Self::Claims(_) => "claims".into(),
            Self::Instance { .. } => "instance-id".into(),
            Self::Level { .. } => "level".into(),
            Self::Compat(_) => "certificate".into(),
            Self::Collateral(_) => "collateral".into(),
            Self::Denied { field, .. } => field.clone(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("evidence refused: ")?;
        match self {
            Self::Verdict(verdict) => {
                for (index, check) in verdict.checks.failed().enumerate() {
                    if index > 0 {
                        f.write_str("; ")?;
                    }
                    check.fmt(f)?;
                }
                Ok(())
            }
            Self::Claims(fault) => fault.fmt(f),
            Self::Instance { expected, got } => write!(
                f,
                "instance-id: expected {}, got {}",
                attestation::hex::Hex(expected),
                attestation::hex::Hex(got)
            ),
            Self::Level { expected, got } => write!(f, "level: expected {expected}, got {got}"),
            Self::Compat(fault) => fault.fmt(f),
            Self::Collateral(what) => write!(f, "collateral: {what}"),
            Self::Denied { field, expected, got } => {
                write!(f, "{field}: expected {expected}, got {got}")
            }
        }
    }
}

impl core::error::Error for Refusal {}

/// Evidence that could not be made.
#[derive(Debug)]
pub enum AttestError {
    /// Too many are in the making.
    Busy,
    /// None of the formats that the peer accepts.
    Format {
        /// What can be made.
        expected: Format,
        /// What the peer accepts, by number.
        got: Vec<u16>,
    },
    /// The device that makes it.
    Device(io::Error),
}

impl fmt::Display for AttestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("too many evidences are in the making"),
            Self::Format { expected, got } => {
                write!(f, "evidence format: expected a peer that accepts {expected:?}, got {got:?}")
            }
            Self::Device(error) => write!(f, "make evidence: {error}"),
        }
    }
}

impl core::error::Error for AttestError {}

/// One end of sessions: what it proves, what it asks for, and how long it waits.
#[derive(Clone)]
pub struct Party {
    pub(crate) identity: Option<Arc<Identity>>,
    pub(crate) attester: Option<Arc<dyn Attester>>,
    pub(crate) appraiser: Option<Arc<dyn Appraiser>>,
    verify_first: bool,
    /// For the peer's part of opening, and of each re-attestation.
    pub(crate) patience: Duration,
    configs: Configs,
    /// Between re-attestations of the peer; `None`: only when the appraiser's generation changes.
    pub(crate) interval: Option<Duration>,
}

/// TLS configurations, made when they are first needed.
#[derive(Clone, Default)]
struct Configs {
    client: Arc<OnceLock<Arc<ClientConfig>>>,
    server: Arc<OnceLock<Arc<ServerConfig>>>,
}

impl fmt::Debug for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Party")
            .field("attests", &self.attester.is_some())
            .field("verifies", &self.appraiser.is_some())
            .finish_non_exhaustive()
    }
}

impl Party {
    /// Verifies its peers and proves nothing.
    #[must_use]
    pub fn verifier(appraiser: Arc<dyn Appraiser>) -> Self {
        Self::new(None, None, Some(appraiser))
    }

    /// Proves itself to whoever asks, under a new key.
    ///
    /// # Errors
    /// No key can be made.
    pub fn attester(attester: Arc<dyn Attester>) -> Result<Self, IdentityError> {
        let identity = Arc::new(Identity::generate()?);
        Ok(Self::new(Some(identity), Some(attester), None))
    }

    /// Proves itself, under a new key, and verifies its peers.
    ///
    /// # Errors
    /// No key can be made.
    pub fn mutual(
        attester: Arc<dyn Attester>,
        appraiser: Arc<dyn Appraiser>,
    ) -> Result<Self, IdentityError> {
        let identity = Arc::new(Identity::generate()?);
        Ok(Self::new(Some(identity), Some(attester), Some(appraiser)))
    }

    /// A server that verifies its clients and proves nothing; it has a key all the same.
    ///
    /// # Errors
    /// No key can be made.
    pub fn verifying_server(appraiser: Arc<dyn Appraiser>) -> Result<Self, IdentityError> {
        let identity = Arc::new(Identity::generate()?);
        Ok(Self::new(Some(identity), None, Some(appraiser)))
    }

    fn new(
        identity: Option<Arc<Identity>>,
        attester: Option<Arc<dyn Attester>>,
        appraiser: Option<Arc<dyn Appraiser>>,
    ) -> Self {
        let patience = Duration::from_secs(10);
        let configs = Configs::default();
        Self {
            identity,
            attester,
            appraiser,
            verify_first: false,
            patience,
            configs,
            interval: None,
        }
    }

    /// Of its TLS client's end.
    pub(crate) fn client(&self) -> Result<Arc<ClientConfig>, rustls::Error> {
        once(&self.configs.client, || tls::client(self.identity.as_deref()))
    }

    /// Of its TLS server's end.
    pub(crate) fn server(&self) -> Result<Arc<ServerConfig>, rustls::Error> {
        once(&self.configs.server, || {
            let identity = self.identity.as_deref();
            let identity = identity.ok_or(rustls::Error::NoCertificatesPresented)?;
            tls::server(identity, self.appraiser.is_some())
        })
    }

    /// Withholds its own evidence until it has accepted the peer's.
    #[must_use]
    pub const fn verify_first(mut self) -> Self {
        self.verify_first = true;
        self
    }

    /// How long the peer may take to open the session, and for each re-attestation; 10 s by default.
    #[must_use]
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Asks the peer for new evidence at this interval.
    #[must_use]
    pub const fn reattest_every(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    pub(crate) fn config(&self) -> Config {
        Config {
            flags: Flags {
                attest_me: self.attester.is_some(),
                attest_you: self.appraiser.is_some(),
                verify_first: self.verify_first,
            },
            formats: self
                .appraiser
                .as_ref()
                .map(|appraiser| appraiser.formats())
                .unwrap_or_default(),
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.appraiser.as_ref().map_or(0, |appraiser| appraiser.generation())
    }
}

/// What was made before, or what is made now. Two threads may make one each; one of them stays.
fn once<T>(
    cell: &OnceLock<Arc<T>>,
    make: impl FnOnce() -> Result<T, rustls::Error>,
) -> Result<Arc<T>, rustls::Error> {
    if let Some(made) = cell.get() {
        return Ok(made.clone());
    }
    let made = Arc::new(make()?);
    Ok(cell.get_or_init(|| made).clone())
}

/// An attester that makes only so much evidence at once. Anyone can ask for evidence before anything is known
/// of them, and each costs a quote.
pub struct Limited<A> {
    inner: A,
    running: u32,
    waiting: u32,
    now: Mutex<Load>,
    freed: Condvar,
}

#[derive(Default)]
struct Load {
    running: u32,
    waiting: u32,
}

impl<A: Attester> Limited<A> {
    /// At most `running` at once and `waiting` behind them; the next is refused as busy.
    #[must_use]
    pub fn new(inner: A, running: u32, waiting: u32) -> Self {
        let now = Mutex::default();
        Self { inner, running: running.max(1), waiting, now, freed: Condvar::new() }
    }

    fn load(&self) -> MutexGuard<'_, Load> {
        // A panic of another thread leaves two counters, which are right at every moment.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A: Attester> Attester for Limited<A> {
    fn attest(&self, binding: &Binding, formats: &[u16]) -> Result<Offered, AttestError> {
        let mut load = self.load();
        if load.running >= self.running {
            if load.waiting >= self.waiting {
                return Err(AttestError::Busy);
            }
            load.waiting += 1;
            while load.running >= self.running {
                load = self.freed.wait(load).unwrap_or_else(PoisonError::into_inner);
            }
            load.waiting -= 1;
        }
        load.running += 1;
        drop(load);
        let _running = Running(self);
        self.inner.attest(binding, formats)
    }
}

/// Gives the place back, also when the attester panics.
struct Running<'a, A: Attester>(&'a Limited<A>);

impl<A: Attester> Drop for Running<'_, A> {
    fn drop(&mut self) {
        self.0.load().running -= 1;
        self.0.freed.notify_one();
    }
}
