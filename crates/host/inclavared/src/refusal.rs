//! Why a connection is not relayed, and what is said about it.

use crate::hello::{ClientHello, HelloFault};
use crate::metrics::Metrics;
use crate::name::NameError;
use core::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines about refusals that may come at once, and how many each second thereafter: the peers that cause them
/// are strangers.
const BURST: u32 = 20;
const PER_SECOND: u32 = 5;

/// A connection that is not relayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Of what; also the metric's label.
    pub field: &'static str,
    /// What it should have been.
    pub expected: String,
    /// What it was; bytes of strangers are escaped and cut.
    pub got: String,
    /// What the peer is told, a TLS alert's description (RFC 8446, section 6); `None`: it does not speak TLS,
    /// or is not to be answered.
    pub alert: Option<u8>,
}

const HANDSHAKE_FAILURE: u8 = 40;
const DECODE_ERROR: u8 = 50;
const PROTOCOL_VERSION: u8 = 70;
const INTERNAL_ERROR: u8 = 80;
const UNRECOGNIZED_NAME: u8 = 112;
const NO_APPLICATION_PROTOCOL: u8 = 120;

impl Refusal {
    /// No ClientHello in time, or none at all.
    #[must_use]
    pub fn hello_incomplete(came: usize, because: &str) -> Self {
        let got = format!("{came} bytes, then {because}");
        Self { field: "client hello", expected: "a whole one".into(), got, alert: None }
    }

    /// The hello offers no attested session.
    #[must_use]
    pub fn alpn(hello: &ClientHello) -> Self {
        let shown: Vec<_> =
            hello.protocols.iter().take(8).map(|it| shown(&String::from_utf8_lossy(it))).collect();
        let got = if shown.is_empty() { "none".into() } else { shown.join(", ") };
        let alert = Some(NO_APPLICATION_PROTOCOL);
        Self { field: "alpn", expected: "eaa-bound/1".into(), got, alert }
    }

    /// The hello offers no TLS 1.3.
    #[must_use]
    pub fn version(hello: &ClientHello) -> Self {
        let shown: Vec<_> = hello.versions.iter().take(8).map(|it| format!("{it:04x}")).collect();
        let alert = Some(PROTOCOL_VERSION);
        let expected = "0304, TLS 1.3".into();
        Self { field: "supported_versions", expected, got: shown.join(", "), alert }
    }

    /// The hello names no container.
    #[must_use]
    pub fn no_name() -> Self {
        let alert = Some(UNRECOGNIZED_NAME);
        Self { field: "sni", expected: "a container's name".into(), got: "none".into(), alert }
    }

    /// SNI is no container's name.
    #[must_use]
    pub fn name(name: &str, _: &NameError) -> Self {
        let expected = "labels of letters, digits, - and _".into();
        Self { field: "sni", expected, got: shown(name), alert: Some(UNRECOGNIZED_NAME) }
    }

    /// No container has this name.
    #[must_use]
    pub fn unknown(name: &str, count: usize) -> Self {
        let expected = format!("one of {count} containers");
        Self { field: "sni", expected, got: shown(name), alert: Some(UNRECOGNIZED_NAME) }
    }

    /// The container's attester cannot be reached.
    #[must_use]
    pub fn container(name: &str, address: &impl fmt::Display, error: &dyn fmt::Display) -> Self {
        Self {
            field: "container",
            expected: format!("{} to answer at {address}", shown(name)),
            got: error.to_string(),
            alert: Some(INTERNAL_ERROR),
        }
    }

    /// Too many connections, of one source or in all.
    #[must_use]
    pub fn limit(field: &'static str, limit: usize) -> Self {
        let got = (limit + 1).to_string();
        Self { field, expected: format!("at most {limit}"), got, alert: None }
    }

    /// The record that tells the peer.
    #[must_use]
    pub fn record(&self) -> Option<[u8; 7]> {
        const FATAL: u8 = 2;
        self.alert.map(|description| [21, 3, 3, 0, 2, FATAL, description])
    }
}

impl From<HelloFault> for Refusal {
    fn from(fault: HelloFault) -> Self {
        let alert = match fault {
            HelloFault::RecordType(_) => None,
            HelloFault::TooLong(_) => Some(HANDSHAKE_FAILURE),
            _ => Some(DECODE_ERROR),
        };
        Self { field: fault.field(), expected: fault.expected(), got: fault.got(), alert }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, got {}", self.field, self.expected, self.got)
    }
}

/// Strangers' text, for a line of a log.
fn shown(text: &str) -> String {
    format!("{:.64}", text.escape_debug().to_string())
}

/// Writes refusals down, and not more of them than anyone reads.
#[derive(Debug, Default)]
pub struct Log(Mutex<Bucket>);

#[derive(Debug)]
struct Bucket {
    left: u32,
    filled: Option<Instant>,
    unwritten: u64,
}

impl Default for Bucket {
    fn default() -> Self {
        Self { left: BURST, filled: None, unwritten: 0 }
    }
}

impl Log {
    /// One line, or one more that was not written. It is counted in any case.
    pub fn refused(&self, metrics: &Metrics, peer: &dyn fmt::Display, refusal: &Refusal) {
        metrics.refused(refusal.field);
        let unwritten = {
            let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(unwritten) = bucket.take(Instant::now()) else { return };
            unwritten
        };
        if unwritten > 0 {
            tracing::warn!(count = unwritten, "refusals that were not written down");
        }
        let Refusal { field, expected, got, .. } = refusal;
        tracing::warn!(%peer, field, %expected, %got, "refused");
    }
}

impl Bucket {
    /// Leave for a line, and how many were not written since the last.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let since = self.filled.map_or(Duration::ZERO, |then| now.duration_since(then));
        let more = u32::try_from(since.as_millis() * u128::from(PER_SECOND) / 1000);
        let more = more.unwrap_or(BURST);
        if self.filled.is_none() || more > 0 {
            self.filled = Some(now);
        }
        self.left = self.left.saturating_add(more).min(BURST);
        if self.left == 0 {
            self.unwritten += 1;
            return None;
        }
        self.left -= 1;
        Some(core::mem::take(&mut self.unwritten))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_no_faster_than_they_may() {
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        let written = (0..1000).filter(|_| bucket.take(start).is_some()).count();
        assert_eq!(written, BURST as usize);
        let later = start + Duration::from_secs(1);
        assert_eq!(bucket.take(later), Some(1000 - u64::from(BURST)));
        let written = (0..1000).filter(|_| bucket.take(later).is_some()).count();
        assert_eq!(written, PER_SECOND as usize - 1);
        // Often asked, it fills all the same.
        let again = (1..=100).map(|tick| later + Duration::from_millis(tick * 10));
        assert_eq!(again.filter(|now| bucket.take(*now).is_some()).count(), PER_SECOND as usize);
    }

    #[test]
    fn strangers_write_no_lines_of_their_own() {
        let refusal = Refusal::unknown("web\n2026 INFO accepted \u{1b}[0m", 2);
        assert!(!refusal.to_string().contains(['\n', '\u{1b}']), "{refusal}");
        assert!(Refusal::unknown(&"x".repeat(1000), 2).got.len() <= 64);
    }

    #[test]
    fn the_peer_is_told_by_an_alert_if_it_speaks_tls() {
        assert_eq!(Refusal::no_name().record(), Some([21, 3, 3, 0, 2, 2, 112]));
        assert_eq!(Refusal::from(HelloFault::RecordType(b'G')).record(), None);
    }
}
