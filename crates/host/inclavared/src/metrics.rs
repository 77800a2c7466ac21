//! What is counted, in Prometheus' text format.

use core::fmt::{self, Write as _};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Which way bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From a verifier to a container.
    In,
    /// From a container to a verifier.
    Out,
}

/// Counters since the start. Names of containers and peers are not in them: strangers choose those.
#[derive(Debug, Default)]
pub struct Metrics {
    accepted: AtomicU64,
    relayed: AtomicU64,
    open: AtomicU64,
    bytes: [AtomicU64; 2],
    timed_out: AtomicU64,
    routes: AtomicU64,
    reload_problems: AtomicU64,
    /// By field; a handful of fixed names.
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

impl Metrics {
    pub(crate) fn accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    pub(crate) fn relayed(&self) {
        self.relayed.fetch_add(1, Relaxed);
    }

    pub(crate) fn moved(&self, way: Way, bytes: usize) {
        self.bytes[way as usize].fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn timed_out(&self) {
        self.timed_out.fetch_add(1, Relaxed);
    }

    /// After a reload.
    pub fn routes(&self, count: usize, problems: usize) {
        self.routes.store(count as u64, Relaxed);
        self.reload_problems.store(problems as u64, Relaxed);
    }

    pub(crate) fn refused(&self, field: &'static str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused.entry(field).or_default() += 1;
    }

    /// Connections that are open, those whose hello has not come included.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut metric = |name: &str, kind: &str, help: &str, lines: &[(String, u64)]| {
            writeln!(f, "# HELP inclavared_{name} {help}\n# TYPE inclavared_{name} {kind}")?;
            lines
                .iter()
                .try_for_each(|(label, value)| writeln!(f, "inclavared_{name}{label} {value}"))
        };
        let one = |value: &AtomicU64| [(String::new(), value.load(Relaxed))];
        metric("connections_total", "counter", "Connections accepted", &one(&self.accepted))?;
        metric("connections_open", "gauge", "Connections that are open", &one(&self.open))?;
        metric(
            "relayed_total",
            "counter",
            "Connections that reached a container",
            &one(&self.relayed),
        )?;
        let bytes = [Way::In, Way::Out].map(|way| {
            let name = if way == Way::In { "in" } else { "out" };
            (format!("{{direction=\"{name}\"}}"), self.bytes[way as usize].load(Relaxed))
        });
        metric("bytes_total", "counter", "Bytes passed on, in: to containers", &bytes)?;
        let help = "Relayed connections ended for want of a sign of life";
        metric("timed_out_total", "counter", help, &one(&self.timed_out))?;
        metric("routes", "gauge", "Containers that can be reached by name", &one(&self.routes))?;
        let help = "Routes that the last reload could not take";
        metric("route_problems", "gauge", help, &one(&self.reload_problems))?;
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let refused: Vec<_> = refused
            .iter()
            .map(|(field, count)| (format!("{{field=\"{field}\"}}"), *count))
            .collect();
        metric("refused_total", "counter", "Connections refused, by what was wrong", &refused)
    }
}

/// The page as an HTTP server gives it.
#[must_use]
pub fn page(metrics: &Metrics) -> String {
    let mut text = String::new();
    let _ = write!(text, "{metrics}"); // writing to a String does not fail
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_prometheus_text() {
        let metrics = Metrics::default();
        metrics.accepted();
        metrics.moved(Way::Out, 7);
        metrics.refused("sni");
        let page = page(&metrics);
        for line in page.lines().filter(|line| !line.starts_with("# ")) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with("inclavared_"), "{line}");
            value.parse::<u64>().unwrap();
        }
        for expected in [
            "inclavared_connections_open 1",
            "inclavared_bytes_total{direction=\"out\"} 7",
            "inclavared_refused_total{field=\"sni\"} 1",
        ] {
            assert!(page.lines().any(|line| line == expected), "{expected}: {page}");
        }
    }
}
