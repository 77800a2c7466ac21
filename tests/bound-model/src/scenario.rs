//! What is being checked: the level, what the intruder has, what policies ask, and who talks.

use crate::term::{Party, Side};

/// How evidence is tied to the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Evidence in the certificate, over its key: the `compat` level.
    Certificate,
    /// Evidence over an exporter value that says neither who attests nor with which key.
    Exporter,
    /// bound-v1.
    Bound,
}

/// What the intruder has besides the network and keys of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leaks {
    /// The TLS private key of enclave A.
    pub tls_key: bool,
    /// The secrets of the first TLS session that honest parties complete with each other.
    pub first_session: bool,
    /// The provisioning key of platform B: quotes in its name over anything the intruder can compute.
    pub platform_b: bool,
    /// A program in enclave A that quotes any 64 bytes it is told to.
    pub quoting_program: bool,
}

/// An end that an honest party will use for at most one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Whose it is.
    pub owner: Party,
    /// Which end.
    pub side: Side,
    /// Whether it asks its peer for evidence.
    pub verifies: bool,
    /// Whether it proves itself. Only enclaves can.
    pub attests: bool,
}

impl Endpoint {
    /// A client outside an enclave that asks for evidence.
    pub const RELYING: Self =
        Self { owner: Party::Verifier, side: Side::Client, verifies: true, attests: false };

    /// An enclave's server that proves itself to anyone.
    #[must_use]
    pub const fn attesting_server(owner: Party) -> Self {
        Self { owner, side: Side::Server, verifies: false, attests: true }
    }

    /// An enclave's end of a mutually attested session.
    #[must_use]
    pub const fn mutual(owner: Party, side: Side) -> Self {
        Self { owner, side, verifies: true, attests: true }
    }
}

/// One thing to check.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// How evidence is tied to the session.
    pub level: Level,
    /// Whether only the bound device makes bound-v1 report data: the tag.
    pub has_tag: bool,
    /// What the intruder has.
    pub leaks: Leaks,
    /// Whether policies pin `platforms` to platform A.
    pub pins_platform: bool,
    /// Ends that honest parties use.
    pub endpoints: Vec<Endpoint>,
    /// Last epoch: how often sessions re-attest.
    pub last_epoch: u8,
}

impl Scenario {
    /// Two relying parties and one server in each of two enclaves, one re-attestation.
    #[must_use]
    pub fn one_way(level: Level) -> Self {
        Self {
            level,
            has_tag: true,
            leaks: Leaks::default(),
            pins_platform: false,
            endpoints: vec![
                Endpoint::RELYING,
                Endpoint::RELYING,
                Endpoint::attesting_server(Party::EnclaveA),
                Endpoint::attesting_server(Party::EnclaveB),
            ],
            last_epoch: 1,
        }
    }

    /// Both enclaves as client and as server, each asking the other for evidence.
    #[must_use]
    pub fn mutual(level: Level) -> Self {
        Self {
            endpoints: vec![
                Endpoint::mutual(Party::EnclaveA, Side::Client),
                Endpoint::mutual(Party::EnclaveB, Side::Client),
                Endpoint::mutual(Party::EnclaveA, Side::Server),
                Endpoint::mutual(Party::EnclaveB, Side::Server),
            ],
            ..Self::one_way(level)
        }
    }

    /// The same, with these leaks.
    #[must_use]
    pub fn with(mut self, leaks: Leaks) -> Self {
        self.leaks = leaks;
        self
    }

    /// The same, without the tag.
    #[must_use]
    pub fn without_tag(mut self) -> Self {
        self.has_tag = false;
        self
    }

    /// The same, with `platforms` pinned.
    #[must_use]
    pub fn pinning_platform(mut self) -> Self {
        self.pins_platform = true;
        self
    }
}
