//! Why there is no session, or no session any more.

use crate::frame::CloseReason;
use crate::party::{AttestError, Refusal};
use crate::session::Fault;
use core::fmt;
use rustls::{HandshakeKind, ProtocolVersion};
use std::io;

/// A session that failed.
#[derive(Debug)]
pub enum SessionError {
    /// The transport.
    Io(io::Error),
    /// TLS.
    Tls(rustls::Error),
    /// The peer did not agree to the protocol: there is no other level to fall back to.
    Alpn {
        /// What was agreed to.
        got: Option<Vec<u8>>,
    },
    /// Another TLS version than 1.3.
    Version(Option<ProtocolVersion>),
    /// A handshake that was not a full one.
    Resumed(Option<HandshakeKind>),
    /// The peer did not keep to the protocol, or refused our evidence.
    Protocol(Fault),
    /// We refuse the peer's evidence.
    Refused(Box<Refusal>),
    /// We could not make evidence.
    Attest(AttestError),
    /// The peer closed, with a reason other than `done` or before the session was open.
    Closed(CloseReason),
    /// The peer took longer than it may.
    Timeout,
    /// The transport ended without a Close: what came before may be incomplete.
    Truncated,
}

impl SessionError {
    /// What the peer is told where the session's machine has not told it yet.
    pub(crate) const fn reason(&self) -> CloseReason {
        match self {
            Self::Refused(_) => CloseReason::Refused,
            Self::Attest(AttestError::Busy) => CloseReason::Busy,
            Self::Attest(AttestError::Device(_)) => CloseReason::Unavailable,
            Self::Timeout => CloseReason::Timeout,
            _ => CloseReason::Protocol,
        }
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "transport: {error}"),
            Self::Tls(error) => write!(f, "tls: {error}"),
            Self::Alpn { got: None } => f.write_str("alpn: expected eaa-bound/1, got none"),
            Self::Alpn { got: Some(got) } => {
                write!(f, "alpn: expected eaa-bound/1, got {:?}", String::from_utf8_lossy(got))
            }
            Self::Version(got) => write!(f, "tls version: expected 1.3, got {got:?}"),
            Self::Resumed(got) => write!(f, "tls handshake: expected a full one, got {got:?}"),
            Self::Protocol(fault) => fault.fmt(f),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Attest(error) => error.fmt(f),
            Self::Closed(reason) => write!(f, "the peer closed the session: {reason}"),
            Self::Timeout => f.write_str("the peer took longer than it may"),
            Self::Truncated => f.write_str("the peer ended without a close"),
        }
    }
}

impl core::error::Error for SessionError {}

impl From<io::Error> for SessionError {
    fn from(error: io::Error) -> Self {
        // A stream's own errors travel in it.
        let error = match error.downcast::<Self>() {
            Ok(own) => return own,
            Err(error) => error,
        };
        match error.kind() {
            // What a socket's own time-out looks like.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Timeout,
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Io(error),
        }
    }
}

impl From<SessionError> for io::Error {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Io(error) => error,
            SessionError::Timeout => Self::new(io::ErrorKind::TimedOut, error),
            SessionError::Truncated => Self::new(io::ErrorKind::UnexpectedEof, error),
            _ => Self::other(error),
        }
    }
}

impl From<rustls::Error> for SessionError {
    fn from(error: rustls::Error) -> Self {
        Self::Tls(error)
    }
}

impl From<Fault> for SessionError {
    fn from(fault: Fault) -> Self {
        Self::Protocol(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_error_comes_back_out_of_the_streams_error() {
        for error in [
            SessionError::Closed(CloseReason::Busy),
            SessionError::Alpn { got: None },
            SessionError::Timeout,
            SessionError::Truncated,
            SessionError::Io(io::Error::other("no route")),
        ] {
            let expected = format!("{error:?}");
            let back = SessionError::from(io::Error::from(error));
            assert_eq!(format!("{back:?}"), expected);
        }
        let timeout = SessionError::from(io::Error::from(io::ErrorKind::WouldBlock));
        assert!(matches!(timeout, SessionError::Timeout), "{timeout}");
    }
}
