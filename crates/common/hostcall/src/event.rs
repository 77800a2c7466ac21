//! Events: the data area of a reply to [`Request::NextEvent`](crate::Request::NextEvent).

use crate::layout::MAX_REQUEST;
use crate::plausible::READINESS;

/// Bytes of an encoded event.
pub const EVENT_SIZE: usize = 48;

/// What the host tells the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A signal for the first process of a session.
    Signal {
        /// Session; 0 is the container's first process.
        session: u32,
        /// Linux signal number, 1 to 64.
        signal: u8,
    },
    /// A new exec session.
    Exec {
        /// Session, not 0.
        session: u32,
        /// Bytes of its request, to be read with [`Request::SessionRequest`](crate::Request::SessionRequest).
        request_length: u32,
        /// Streams for descriptors 0, 1 and 2.
        streams: [u32; 3],
    },
    /// A watched stream is ready; the watch is over.
    Ready {
        /// Stream.
        stream: u32,
        /// `poll(2)` bits, not empty.
        readiness: u16,
    },
    /// The terminal's size changed.
    WindowSize {
        /// Session.
        session: u32,
    },
    /// The host wants a REPORT of this enclave.
    Report {
        /// Number of the wish, for [`Request::ReportTarget`](crate::Request::ReportTarget) and
        /// [`Request::ReportMade`](crate::Request::ReportMade).
        ticket: u32,
    },
}

impl Event {
    /// The encoded form: six words.
    #[must_use]
    pub fn encode(&self) -> [u8; EVENT_SIZE] {
        let words = match *self {
            Self::Signal { session, signal } => [1, u64::from(session), u64::from(signal), 0, 0, 0],
            Self::Exec { session, request_length, streams: [a, b, c] } => {
                [2, session.into(), request_length.into(), a.into(), b.into(), c.into()]
            }
            Self::Ready { stream, readiness } => [3, stream.into(), readiness.into(), 0, 0, 0],
            Self::WindowSize { session } => [4, session.into(), 0, 0, 0, 0],
            Self::Report { ticket } => [5, ticket.into(), 0, 0, 0, 0],
        };
        let mut bytes = [0; EVENT_SIZE];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&u64::to_le_bytes(word));
        }
        bytes
    }

    /// Decodes an event.
    ///
    /// # Errors
    /// Any length but [`EVENT_SIZE`], an unknown kind, a field outside its domain, an unused word that is not
    /// zero.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadEvent> {
        let Ok(bytes) = <&[u8; EVENT_SIZE]>::try_from(bytes) else {
            return Err(BadEvent { field: "length", got: bytes.len() as u64 });
        };
        let mut words = [0; 6];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            let mut le = [0; 8];
            le.copy_from_slice(chunk);
            *word = u64::from_le_bytes(le);
        }
        let id = |field, word| u32::try_from(word).map_err(|_| BadEvent { field, got: word });
        let (event, used) = match words[0] {
            1 => {
                let signal = within("signal", words[2], 1, 64)? as u8;
                (Self::Signal { session: id("session", words[1])?, signal }, 3)
            }
            2 => {
                let session = within("session", words[1], 1, u32::MAX.into())? as u32;
                let request_length = within("request length", words[2], 0, MAX_REQUEST)? as u32;
                let stream = |index: usize| id("stream", words[index]);
                let streams = [stream(3)?, stream(4)?, stream(5)?];
                (Self::Exec { session, request_length, streams }, 6)
            }
            3 => {
                let readiness = within("readiness", words[2], 1, READINESS.into())? as u16;
                if readiness & !READINESS != 0 {
                    return Err(BadEvent { field: "readiness", got: words[2] });
                }
                (Self::Ready { stream: id("stream", words[1])?, readiness }, 3)
            }
            4 => (Self::WindowSize { session: id("session", words[1])? }, 2),
            5 => (Self::Report { ticket: id("ticket", words[1])? }, 2),
            got => return Err(BadEvent { field: "kind", got }),
        };
        match words[used..].iter().find(|word| **word != 0) {
            Some(extra) => Err(BadEvent { field: "unused word", got: *extra }),
            None => Ok(event),
        }
    }
}

/// Bytes that are no event. The host is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadEvent {
    /// Field.
    pub field: &'static str,
    /// What came.
    pub got: u64,
}

impl core::fmt::Display for BadEvent {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} of the host's event: got {:#x}, outside its domain", self.field, self.got)
    }
}

impl core::error::Error for BadEvent {}

fn within(field: &'static str, word: u64, low: u64, high: u64) -> Result<u64, BadEvent> {
    if (low..=high).contains(&word) { Ok(word) } else { Err(BadEvent { field, got: word }) }
}
