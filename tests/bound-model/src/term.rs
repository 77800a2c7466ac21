//! The terms that parties exchange. Cryptography is perfect: a hash is the tuple of what was hashed, and only
//! who may make a quote makes one.

/// Who takes part. The intruder is the network, and whoever sits at its other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// A relying party outside any enclave. It has no evidence.
    Verifier,
    /// A genuine enclave on platform A, with the measurement that policies accept.
    EnclaveA,
    /// Another genuine enclave of the same measurement, on platform B.
    EnclaveB,
    /// The attacker.
    Intruder,
}

/// Which end of a TLS session. An attester's role in the protocol is its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Sends the TLS ClientHello.
    Client,
    /// Answers it.
    Server,
}

impl Side {
    /// The other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// A TLS session. Its number stands for its secrets: both ends of one session, and nobody else, compute the
/// same exporter values. It is the index of its client or, where the intruder is the client, of its server.
pub type SessionId = u8;

/// A nonce, unique to the endpoint and epoch that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Nonce {
    /// Made by an honest endpoint for an epoch.
    Honest {
        /// Index of the endpoint.
        endpoint: u8,
        /// 0 at first, then one more at each re-attestation.
        epoch: u8,
    },
    /// The intruder's own.
    Intruder,
}

/// T: both Hello frames, or both Reattest frames. The frames' other fields are public constants.
pub type Transcript = [Nonce; 2];

/// A TLS key, as its SubjectPublicKeyInfo names it. Each party has one.
pub type Key = Party;

/// TLS-Exporter(label, T ‖ role ‖ epoch) of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Binder {
    /// Whose secrets it comes from.
    pub session: SessionId,
    /// The context's first part.
    pub transcript: Transcript,
    /// The context's second part: the attester's role; `None` where a level leaves it out.
    pub role: Option<Side>,
    /// The context's third part.
    pub epoch: u8,
}

/// What a quote's 64 bytes of report data stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReportData {
    /// The certificate-only level: a digest of the TLS key.
    Key(Key),
    /// The exporter alone: neither role nor keys.
    Exporter(Binder),
    /// bound-v1's H.
    Bound {
        /// The attester's role.
        role: Side,
        /// Epoch.
        epoch: u8,
        /// The attester's key.
        own: Key,
        /// Its peer's key, if the peer has a certificate.
        peer: Option<Key>,
        /// T.
        transcript: Transcript,
        /// Binder.
        binder: Binder,
    },
}

/// A quote over report data by a genuine platform's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quote {
    /// The enclave that it names: [`Party::EnclaveA`] or [`Party::EnclaveB`], each on its own platform.
    pub attester: Party,
    /// What was quoted.
    pub data: ReportData,
}
