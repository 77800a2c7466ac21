//! What went wrong, as a number for C and as text for people.

use core::ffi::{c_int, c_ulong};
use core::fmt;
use rats_tls::names::NameError;
use rats_tls::{AttestError, SessionError, SetupError};
use std::cell::RefCell;
use std::ffi::CString;
use std::io;
use std::path::PathBuf;

/// Classes of the error word, bits 28 to 30.
const TLS: c_int = 1 << 28;
const ATTESTER: c_int = 2 << 28;
const VERIFIER: c_int = 3 << 28;

/// Codes of the core's class.
const UNKNOWN: c_int = 1;
const INVALID: c_int = 2;
const INIT: c_int = 10;
const UNSUPPORTED_CERT_ALGO: c_int = 11;
const NO_NAME: c_int = 12;

/// An error of a call.
#[derive(Debug)]
pub(crate) enum Error {
    /// A pointer that must not be null.
    Null(&'static str),
    /// A handle that is none, or was cleaned up.
    Handle(usize),
    /// Another call has it.
    InUse,
    /// A call before failed in a way that is a fault of this library.
    Broken,
    /// Another version of the interface.
    ApiVersion(u32),
    /// Flags that mean nothing.
    Flags(c_ulong),
    /// A number outside its domain.
    Number { field: &'static str, expected: &'static str, got: u64 },
    /// A key of another kind.
    CertAlgo(u32),
    /// Evidence of the retired service.
    Epid,
    /// Text without an end, or not in UTF-8.
    Text { field: &'static str, expected: &'static str },
    /// A length that no buffer has, or that is too small.
    Size { field: &'static str, expected: SizeRule, got: usize },
    /// A claim twice.
    Twice(String),
    /// An instance name.
    Name(NameError),
    /// A call that may not come now.
    State { expected: &'static str, got: &'static str },
    /// A descriptor that is no socket.
    Fd(c_int, io::Error),
    /// Not a name for SNI.
    ServerName(String),
    /// No such claim.
    NoClaim(String),
    /// The configuration.
    Setup(SetupError),
    /// The session.
    Session(SessionError),
}

/// What a length should have been.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SizeRule {
    AtLeast(usize),
    AtMost(usize),
}

impl Error {
    /// The enumerator of upstream's header; functions return it negated.
    const fn number(&self) -> c_int {
        match self {
            Self::Broken => UNKNOWN,
            Self::CertAlgo(_) => UNSUPPORTED_CERT_ALGO,
            Self::Name(_) => NO_NAME,
            Self::Setup(SetupError::Claims(_)) => ATTESTER + 3,
            Self::Setup(_) => INIT,
            Self::Session(SessionError::Refused(_)) => VERIFIER + 3,
            Self::Session(SessionError::Attest(AttestError::Device(_))) => ATTESTER + 1,
            Self::Session(SessionError::Attest(_)) => ATTESTER + 3,
            Self::Session(SessionError::Protocol(_) | SessionError::Alpn { .. }) => TLS + 3,
            Self::Session(_) => TLS + 9,
            _ => INVALID,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null(field) => write!(f, "{field}: expected a pointer, got NULL"),
            Self::Handle(got) => write!(
                f,
                "handle: expected one that init gave and cleanup did not take, got {got:#x}"
            ),
            Self::InUse => f.write_str("handle: expected one call at a time, got a second one"),
            Self::Broken => {
                f.write_str("handle: a call before failed inside the library; clean up")
            }
            Self::ApiVersion(got) => write!(f, "api_version: expected 1, got {got}"),
            Self::Flags(got) => write!(f, "flags: expected known ones, got {got:#x} beside them"),
            Self::Number { field, expected, got } => {
                write!(f, "{field}: expected {expected}, got {got}")
            }
            Self::CertAlgo(got) => {
                write!(f, "cert_algo: expected ECC_256_SHA256 (1) or DEFAULT (3), got {got}")
            }
            Self::Epid => f.write_str(
                "quote_sgx_epid.valid: expected false, got true: Intel ended EPID in 2025",
            ),
            Self::Text { field, expected } => write!(f, "{field}: expected {expected}"),
            Self::Size { field, expected: SizeRule::AtLeast(size), got } => {
                write!(f, "{field}: expected at least {size} bytes, got {got}")
            }
            Self::Size { field, expected: SizeRule::AtMost(size), got } => {
                write!(f, "{field}: expected at most {size}, got {got}")
            }
            Self::Twice(name) => {
                write!(f, "custom_claims: expected each name once, got {name:?} twice")
            }
            Self::Name(error) => error.fmt(f),
            Self::State { expected, got } => write!(f, "expected {expected}, got {got}"),
            Self::Fd(fd, error) => write!(f, "fd {fd}: expected a stream socket: {error}"),
            Self::ServerName(got) => write!(f, "server name: expected a host name, got {got:?}"),
            Self::NoClaim(name) => write!(f, "the peer's claims: expected {name:?}, got none"),
            Self::Setup(error) => error.fmt(f),
            Self::Session(error) => error.fmt(f),
        }
    }
}

impl From<NameError> for Error {
    fn from(error: NameError) -> Self {
        Self::Name(error)
    }
}

impl From<SetupError> for Error {
    fn from(error: SetupError) -> Self {
        Self::Setup(error)
    }
}

impl From<SessionError> for Error {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Session(error.into())
    }
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// A call's result as C gets it; the text is kept for this thread, and logged.
pub(crate) fn finish(result: std::thread::Result<Result<(), Error>>) -> c_int {
    let (text, number) = match result {
        Ok(Ok(())) => return 0,
        Ok(Err(error)) => (error.to_string(), error.number()),
        Err(_) => ("a fault of this library: it panicked".to_owned(), UNKNOWN),
    };
    crate::log::error(&text);
    // What came from the peer may hold anything.
    let text = CString::new(text.replace('\0', "?")).expect("no zero is left");
    LAST.with_borrow_mut(|last| *last = text);
    -number
}

/// Gives the text of this thread's last error; the pointer holds until its next failing call.
pub(crate) fn last() -> *const core::ffi::c_char {
    LAST.with_borrow(|last| last.as_ptr())
}

/// A file name as C gave it.
pub(crate) fn path(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    std::ffi::OsString::from_vec(bytes).into()
}
