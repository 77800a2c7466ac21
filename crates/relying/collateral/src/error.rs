//! What can go wrong between a service, the store and the verifier.

use crate::index::RollBack;
use crate::object::Wanted;
use attestation::check::Checks;
use attestation::collateral::JsonError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a service gave no object.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FetchError {
    /// This is no address of a service.
    Address {
        /// What was given.
        url: String,
    },
    /// The service cannot be reached, or does not speak HTTP.
    Transport {
        /// What was asked for.
        url: String,
        /// The client's answer.
        error: Arc<ureq::Error>,
    },
    /// The service answers with an error, or a redirection.
    Status {
        /// What was asked for.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// The answer is beyond the limit.
    TooLarge {
        /// What was asked for.
        url: String,
        /// Limit in bytes.
        most: u64,
    },
    /// The issuer chain's header is wrong.
    Header {
        /// What was asked for.
        url: String,
        /// Which header.
        name: &'static str,
        /// What there is.
        got: &'static str,
    },
    /// The body is something else.
    Body {
        /// What was asked for.
        url: String,
        /// What there should be.
        expected: &'static str,
    },
    /// The body is no envelope of a signed document.
    Json {
        /// What was asked for.
        url: String,
        /// What is wrong.
        error: Arc<JsonError>,
    },
}

impl FetchError {
    pub(crate) fn transport(url: &str, error: ureq::Error) -> Self {
        Self::Transport { url: url.into(), error: Arc::new(error) }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { url } => write!(
                f,
                "collateral service: expected https://HOST[:PORT][/PATH] or http://…, got {url:?}"
            ),
            Self::Transport { url, error } => write!(f, "ask {url}: {error}"),
            Self::Status { url, status: 404 } => {
                write!(f, "ask {url}: expected an object, got status 404: the service has none")
            }
            Self::Status { url, status } => {
                write!(f, "ask {url}: expected status 200, got {status}")
            }
            Self::TooLarge { url, most } => {
                write!(f, "ask {url}: expected at most {most} bytes, got more")
            }
            Self::Header { url, name, got } => {
                write!(f, "ask {url}: header {name}: expected a PEM certificate chain, got {got}")
            }
            Self::Body { url, expected } => {
                write!(f, "ask {url}: expected {expected}, got something else")
            }
            Self::Json { url, error } => write!(f, "ask {url}: {error}"),
        }
    }
}

impl std::error::Error for FetchError {}

/// Why the store fails.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// A file cannot be read or written.
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's answer.
        error: Arc<io::Error>,
    },
    /// The index is damaged.
    Index {
        /// Its file.
        path: PathBuf,
        /// What there should be.
        expected: String,
        /// What is there.
        got: String,
    },
    /// A file is beyond its limit.
    TooLarge {
        /// Which.
        path: PathBuf,
        /// Limit in bytes.
        most: u64,
    },
    /// An object is older than the floor.
    RollBack(RollBack),
}

impl StoreError {
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |error| Self::Io { what, path, error: Arc::new(error) }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { what, path, error } => write!(f, "{what} {}: {error}", path.display()),
            Self::Index { path, expected, got } => write!(
                f,
                "{}: damaged: expected {expected}, got {got}; it holds the editions below which collateral is \
                 refused: restore it from a backup, or remove it to start without them",
                path.display()
            ),
            Self::TooLarge { path, most } => {
                write!(f, "{}: expected at most {most} bytes, got more", path.display())
            }
            Self::RollBack(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for StoreError {}

/// Why there is no collateral.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CacheError {
    /// The service has none.
    Fetch(FetchError),
    /// The store fails, or the floor is above what came.
    Store(StoreError),
    /// What came does not verify under the trust anchor at this moment.
    Refused(Checks),
    /// What came is for other quotes.
    Another {
        /// What was asked for.
        expected: Wanted,
        /// What came.
        got: Wanted,
    },
    /// The store has none that is valid, and there is no service to ask.
    Offline {
        /// What was asked for.
        wanted: Wanted,
    },
    /// The CA of the PCK CRL is not named as a Processor or Platform CA.
    CaName,
    /// A CRL number has more than 64 bits.
    CrlNumber,
}

impl fmt::Display for CacheError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetch(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Refused(checks) => match checks.failed().next() {
                Some(check) => write!(f, "collateral is refused: {check}"),
                None => write!(f, "collateral is refused"),
            },
            Self::Another { expected, got } => write!(f, "expected {expected}, got {got}"),
            Self::Offline { wanted } => {
                write!(f, "{wanted}: none that is valid is stored, and no service is named to ask")
            }
            Self::CaName => {
                write!(f, "PCK CRL issuer: expected a Processor or Platform CA, got another name")
            }
            Self::CrlNumber => write!(f, "CRL number: expected at most 64 bits, got more"),
        }
    }
}

impl std::error::Error for CacheError {}

impl From<FetchError> for CacheError {
    fn from(error: FetchError) -> Self {
        Self::Fetch(error)
    }
}

impl From<StoreError> for CacheError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
