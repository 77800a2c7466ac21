//! What attestation adds to a TLS session.

use super::figure::{Figure, Target, numbers};
use crate::run::{Result, cargo, output};

/// Most that attestation may add to a handshake, in microseconds.
const ADDED_WITHOUT_QUOTE: f64 = 600.0;
const ADDED: f64 = 1500.0;

pub(super) fn run() -> Result<Vec<Figure>> {
    let bench = ["bench", "--quiet", "--locked", "-p", "rats-tls", "--bench", "session"];
    let lines = output(cargo().args(bench))?;
    figures(&lines).ok_or_else(|| format!("the bench of rats-tls printed {lines:?}"))
}

fn figures(lines: &str) -> Option<Vec<Figure>> {
    let figure = |name: &str, what: &str, unit, target: fn(f64) -> Target| {
        let [ours, peer] = numbers(lines, name)?;
        let (name, peer_name) = (what.to_owned(), "TLS 1.3 by rustls".to_owned());
        Some(Figure { name, unit, ours, peer, peer_name, target: target(peer) })
    };
    Some(vec![
        figure("handshake-without-quote", "session, without making the quote", "us", |peer| {
            Target::AtMost(peer + ADDED_WITHOUT_QUOTE)
        })?,
        figure("handshake", "session, emulated quote included", "us", |peer| {
            Target::AtMost(peer + ADDED)
        })?,
        figure("bulk", "bulk data", "MB/s", |_| Target::RatioAtLeast(0.95))?,
        figure("sessions", "sessions, both ends on one machine", "1/s", |_| Target::None)?,
        figure("idle-kib", "memory of an idle end", "KiB", |_| Target::None)?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_figures() {
        let lines = "handshake-without-quote 900.0 500.0\nhandshake 2100.0 500.0\nsessions 476.0 2000.0\nbulk 980.0 1000.0\nidle-kib 60.0 50.0\n";
        let figures = figures(lines).expect("figures");
        let met: Vec<_> = figures.iter().map(Figure::is_met).collect();
        assert_eq!(met, [Some(true), Some(false), Some(true), None, None]);
        assert!(super::figures("handshake 1.0 2.0\n").is_none());
    }
}
