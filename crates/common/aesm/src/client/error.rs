//! Why a request has no answer.

use crate::att_key_id::Algorithm;
use crate::frame::FrameError;
use crate::status::Status;
use std::io;
use std::path::PathBuf;

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// Nobody listens.
    Connect {
        /// Where.
        socket: PathBuf,
        /// Why.
        kind: io::ErrorKind,
    },
    /// The request did not go, or the answer did not come.
    Frame(FrameError),
    /// The answer is no protobuf message.
    Decode(prost::DecodeError),
    /// The answer is to another request, or lacks a field.
    Missing {
        /// The field.
        field: &'static str,
    },
    /// The daemon refuses.
    Refused {
        /// The request.
        request: &'static str,
        /// Its reason.
        status: Status,
    },
    /// A field of the answer has another length.
    Length {
        /// The field.
        field: &'static str,
        /// In bytes.
        expected: usize,
        /// In bytes.
        got: usize,
    },
    /// A quote goes on, and not with zeros, after its end.
    Trailing {
        /// Where the first byte is that is not zero.
        offset: usize,
        /// That byte.
        got: u8,
    },
    /// More attestation keys than any platform has.
    Keys {
        /// The most there may be.
        limit: u32,
        /// How many the daemon says there are.
        got: u32,
    },
    /// The platform makes no ECDSA P-256 quotes.
    NoEcdsaKey {
        /// The algorithms of the keys it has.
        offered: Vec<Algorithm>,
    },
}

impl core::fmt::Display for ClientError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Connect { socket, kind } => write!(f, "aesm socket {}: {kind}", socket.display()),
            Self::Frame(error) => write!(f, "aesm: {error}"),
            Self::Decode(error) => write!(f, "aesm: {error}"),
            Self::Missing { field } => write!(f, "aesm: the answer has no field {field}"),
            Self::Refused { request, status } => {
                write!(f, "aesm refused {request}: expected status 0 (SUCCESS), got {status}")
            }
            Self::Length { field, expected, got } => {
                write!(f, "aesm: {field}: expected {expected} bytes, got {got}")
            }
            Self::Trailing { offset, got } => {
                write!(f, "aesm: byte at {offset} after the quote: expected 0, got {got:#04x}")
            }
            Self::Keys { limit, got } => {
                write!(f, "aesm: att_key_id_num: expected at most {limit}, got {got}")
            }
            Self::NoEcdsaKey { offered } => {
                let offered: Vec<u32> = offered.iter().map(|algorithm| algorithm.0).collect();
                write!(
                    f,
                    "aesm: attestation keys: expected one of algorithm 2 (ECDSA P-256), got \
                     algorithms {offered:?}"
                )
            }
        }
    }
}

impl core::error::Error for ClientError {}

impl From<FrameError> for ClientError {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}
