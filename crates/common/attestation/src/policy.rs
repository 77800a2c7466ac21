//! What a relying party accepts, as a TOML document, and the appraisal of evidence against it.
//!
//! A document that leaves something out gets the strict answer: hardware only, patch level exactly
//! UpToDate, no debugging, no measurement that it does not name. A key that is not known is an error, for
//! a misspelt rule must not read as no rule.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::hex::HexError;
pub use crate::snp::policy::SnpPlatformRule;
use crate::tcb::TcbStatus;

mod appraise;
mod document;
mod reference;
mod snp_document;

pub use reference::{Reference, ReferenceError, ReferenceValues};

pub(crate) use appraise::{appraise, authenticate, identify};

/// The longest document that is read.
pub const MAX_POLICY_BYTES: usize = 1 << 20;

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How evidence must be tied to the session that it arrives in.
    pub level: Level,
    /// At [`Level::HopByHop`]: SHA-256 of the SubjectPublicKeyInfo of each inclavared that is trusted.
    pub inclavared: Vec<[u8; 32]>,
    /// SHA-256 of the DER of every trust anchor that may be used, each alone.
    pub roots: Vec<[u8; 32]>,
    /// Which TEEs are allowed; any one of these.
    pub tee: Vec<TeeRule>,
    /// Enclaves by their contents.
    pub mrenclave: Vec<[u8; 32]>,
    /// Enclaves by their signer.
    pub mrsigner: Vec<SignerRule>,
    /// Trust domains by their contents.
    pub tdx: Vec<TdxRule>,
    /// Guests by their launch digest.
    pub snp: Vec<SnpRule>,
    /// What SNP platforms and guests must be beside that.
    pub snp_platform: SnpPlatformRule,
    /// Names of reference values that count like `mrenclave`.
    pub references: Vec<String>,
    /// Patch levels that are allowed.
    pub tcb_status: Vec<TcbStatus>,
    /// Advisories that must not apply.
    pub advisories_deny: BTreeSet<String>,
    /// Whether the host may look inside: for tests.
    pub allow_debug: bool,
    /// The machines that are allowed, by PPID, platform instance id or chip id; `None` for any genuine one.
    pub platforms: Option<Vec<Vec<u8>>>,
    /// What the workload was started with.
    pub config_digest: ConfigRule,
    /// The least TCB evaluation data number that collateral may have.
    pub min_tcb_eval: u32,
}

/// How evidence is tied to a session. A policy names exactly one; what a peer offers never changes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// `bound`: evidence made for the session, after its handshake (bound-v1).
    #[default]
    Bound,
    /// `compat`: evidence in the TLS certificate, which can be relayed once a TLS key leaks.
    Compat,
    /// `hop-by-hop`: no evidence, but the word of an inclavared that says that it has verified some.
    HopByHop,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bound => "bound",
            Self::Compat => "compat",
            Self::HopByHop => "hop-by-hop",
        })
    }
}

/// One kind of TEE that a policy allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TeeRule {
    /// `hardware`: any TEE, under its vendor's root.
    Hardware,
    /// `sgx`: SGX hardware.
    Sgx,
    /// `tdx`: TDX hardware.
    Tdx,
    /// `snp`: SEV-SNP hardware.
    Snp,
    /// `emulated`: any TEE, under a root that is no vendor's.
    Emulated,
}

/// Enclaves of one signer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignerRule {
    /// MRSIGNER.
    pub mrsigner: [u8; 32],
    /// ISVPRODID, exactly.
    pub isvprodid: u16,
    /// The least ISVSVN.
    pub min_isvsvn: u16,
}

/// A trust domain: its contents, and what was measured while it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TdxRule {
    /// MRTD.
    pub mrtd: [u8; 48],
    /// Runtime measurement registers 0 to 3; `None` for any value.
    pub rtmr: [Option<[u8; 48]>; 4],
}

/// A guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnpRule {
    /// Launch digest.
    pub measurement: [u8; 48],
    /// HOST_DATA; `None` for any value.
    pub host_data: Option<[u8; 32]>,
    /// The least guest SVN.
    pub min_guest_svn: u32,
}

/// config-digest of a workload whose manifest leaves nothing to the host, started without resource limits: SHA-256 of
/// `inclavare config-digest v1`, a line feed, and the JSON of no choice at all (`docs/spec/bound-v1.md`, 5).
pub const NOTHING_FREE: [u8; 32] = [
    0x85, 0xc8, 0x96, 0x90, 0x50, 0xd3, 0x9c, 0x9b, 0x2e, 0x9b, 0x75, 0xec, 0xc4, 0x7d, 0x70, 0xc8,
    0xec, 0x99, 0xf6, 0x63, 0x68, 0xd9, 0xb4, 0xc1, 0xed, 0xf3, 0xfe, 0xa5, 0xdc, 0x76, 0x78, 0xf8,
];

/// What the workload may have been started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigRule {
    /// The policy does not say. Evidence that carries a config-digest must have [`NOTHING_FREE`]: what the host chose
    /// is not accepted unseen.
    Unsaid,
    /// Anything that the manifest allows, and evidence without a config-digest.
    Any,
    /// One of these digests, and evidence must carry one.
    OneOf(Vec<[u8; 32]>),
}

/// A document that is not a policy.
#[derive(Debug)]
pub enum PolicyError {
    /// Longer than is read.
    TooLong {
        /// What came, in bytes.
        got: usize,
    },
    /// Not TOML, a key that is not known, or a value of another type: the error shows the place.
    Toml(toml::de::Error),
    /// A value that is not hex of its length.
    Hex {
        /// The key.
        key: &'static str,
        /// What is wrong.
        error: HexError,
    },
    /// A key that the level needs and that is not there, or one of which nothing can be seen at the level.
    Level {
        /// The key.
        key: &'static str,
        /// The level.
        level: Level,
        /// Whether it is there.
        is_there: bool,
    },
    /// A list that must name something and is empty.
    Empty {
        /// The key.
        key: &'static str,
    },
    /// A word that is not one of those allowed.
    Word {
        /// The key.
        key: &'static str,
        /// The words allowed.
        expected: &'static str,
        /// What came.
        got: String,
    },
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { got } => {
                write!(f, "policy: expected at most {MAX_POLICY_BYTES} bytes, got {got}")
            }
            Self::Toml(error) => write!(f, "policy: {error}"),
            Self::Hex { key, error } => write!(f, "policy: {key}: {error}"),
            Self::Level { key, level, is_there: true } => {
                write!(f, "policy: {key}: expected none at level {level}, got one")
            }
            Self::Level { key, level, is_there: false } => {
                write!(f, "policy: {key}: expected one at level {level}, got none")
            }
            Self::Empty { key } => {
                write!(f, "policy: {key}: expected at least one value, got none")
            }
            Self::Word { key, expected, got } => {
                write!(f, "policy: {key}: expected {expected}, got {got}")
            }
        }
    }
}

impl core::error::Error for PolicyError {}

impl Policy {
    /// The strict policy under one root: hardware, UpToDate, no debugging, and no measurement, so that
    /// nothing is accepted until one is added. Enough as it is to authenticate.
    #[must_use]
    pub fn strict(root: [u8; 32]) -> Self {
        Self {
            level: Level::Bound,
            inclavared: Vec::new(),
            roots: alloc::vec![root],
            tee: alloc::vec![TeeRule::Hardware],
            mrenclave: Vec::new(),
            mrsigner: Vec::new(),
            tdx: Vec::new(),
            snp: Vec::new(),
            snp_platform: SnpPlatformRule::default(),
            references: Vec::new(),
            tcb_status: alloc::vec![TcbStatus::UpToDate],
            advisories_deny: BTreeSet::new(),
            allow_debug: false,
            platforms: None,
            config_digest: ConfigRule::Unsaid,
            min_tcb_eval: 0,
        }
    }

    /// Reads the TOML document.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        if text.len() > MAX_POLICY_BYTES {
            return Err(PolicyError::TooLong { got: text.len() });
        }
        document::read(text)
    }
}
