//! Why a request is refused: a peer gets a status, the service's log gets this.

use crate::att_key_id::Algorithm;
use crate::status::Status;

/// Why there is no answer. `E` is the quoting service's own reason.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal<E> {
    /// No protobuf message.
    Undecodable(prost::DecodeError),
    /// A message with another number of known requests than one.
    Requests {
        /// How many.
        got: usize,
    },
    /// An EPID request.
    Epid,
    /// A launch token.
    LaunchToken,
    /// Another attestation key than the service's.
    KeyId {
        /// Its algorithm, if one was named.
        got: Option<Algorithm>,
    },
    /// A field has another length.
    Length {
        /// The field.
        field: &'static str,
        /// In bytes.
        expected: usize,
        /// In bytes.
        got: usize,
    },
    /// The peer's buffer is too short.
    Buffer {
        /// The field that says so.
        field: &'static str,
        /// In bytes.
        needed: usize,
        /// In bytes.
        got: u64,
    },
    /// The report is not quoted.
    Report(E),
    /// The quoting enclave makes no report for this target.
    QeReport(E),
}

impl<E> Refusal<E> {
    /// What the peer is told.
    #[must_use]
    pub const fn status(&self) -> Status {
        match self {
            Self::Undecodable(_) | Self::Requests { .. } => Status::UNEXPECTED_ERROR,
            Self::Epid | Self::LaunchToken => Status::SERVICE_UNAVAILABLE,
            Self::KeyId { .. } => Status::UNSUPPORTED_ATT_KEY_ID,
            Self::Length { .. } | Self::Buffer { .. } => Status::PARAMETER_ERROR,
            Self::Report(_) => Status::INVALID_REPORT,
            Self::QeReport(_) => Status::UNABLE_TO_GENERATE_QE_REPORT,
        }
    }
}

impl<E: core::fmt::Display> core::fmt::Display for Refusal<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Undecodable(error) => error.fmt(f),
            Self::Requests { got } => {
                write!(f, "requests in the message: expected 1 that this service knows, got {got}")
            }
            Self::Epid => write!(f, "expected an ECDSA request, got an EPID one: retired by Intel"),
            Self::LaunchToken => {
                write!(f, "a launch token is not needed: this platform has flexible launch control")
            }
            Self::KeyId { got: Some(got) } => write!(
                f,
                "attestation key id: expected the one this service offers, got another of algorithm {}",
                got.0
            ),
            Self::KeyId { got: None } => {
                write!(f, "attestation key ids: expected one this service offers, got none")
            }
            Self::Length { field, expected, got } => {
                write!(f, "{field}: expected {expected} bytes, got {got}")
            }
            Self::Buffer { field, needed, got } => {
                write!(f, "{field}: expected at least {needed} bytes, got {got}")
            }
            Self::Report(error) | Self::QeReport(error) => error.fmt(f),
        }
    }
}
