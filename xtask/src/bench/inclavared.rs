//! inclavared against haproxy with splicing: the same routing, one thread each.

use super::figure::{Figure, Target, numbers};
use crate::run::{Result, cargo, output, pass, programs};

/// Most memory with 9,000 idle connections, in megabytes.
const IDLE: f64 = 200.0;

pub(super) fn run() -> Result<Vec<Figure>> {
    pass(cargo().args(["build", "--locked", "--profile", "dist", "-p", "inclavared"]))?;
    let bench = ["bench", "--quiet", "--locked", "-p", "inclavared", "--bench", "relay"];
    let lines = output(cargo().args(bench).env("INCLAVARED", programs("dist").join("inclavared")))?;
    figures(&lines).ok_or_else(|| format!("the bench of inclavared printed {lines:?}"))
}

fn figures(lines: &str) -> Option<Vec<Figure>> {
    let faster = || Target::RatioAtLeast(1.0);
    let mut figures = Vec::new();
    for (count, words) in [(1, "1 connection"), (64, "64 connections")] {
        let mut add = |name: String, what: &str, unit, target| {
            figures.push(figure(lines, &name, format!("relay, {what}, {words}"), unit, target)?);
            Some(())
        };
        add(format!("bytes-{count}"), "bytes", "MB/s", faster())?;
        add(format!("bytes-{count}-cpu"), "CPU for 1 GB", "ms", Target::None)?;
        add(format!("connections-{count}"), "rate", "1/s", faster())?;
        add(format!("connections-{count}-cpu"), "CPU for one", "us", Target::None)?;
    }
    let what = "relay, memory of 9,000 idle".to_owned();
    figures.push(figure(lines, "idle-mb", what, "MB", Target::AtMost(IDLE))?);
    Some(figures)
}

/// `name ours ratio`, the ratio ours / peer the median of pairs.
fn figure(
    lines: &str,
    name: &str,
    what: String,
    unit: &'static str,
    target: Target,
) -> Option<Figure> {
    let [ours, ratio] = numbers(lines, name)?;
    // From the median of the paired ratios: the peer's own median was taken under another load.
    let peer = ours / ratio;
    Some(Figure { name: what, unit, ours, peer, peer_name: "haproxy, splicing".into(), target })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_figures() {
        let mut lines = String::new();
        for count in [1, 64] {
            for name in ["bytes", "connections"] {
                lines += &format!("{name}-{count} 500.0 1.25\n{name}-{count}-cpu 80.0 0.9\n");
            }
        }
        assert!(figures(&lines).is_none(), "one is missing");
        let figures = figures(&(lines + "idle-mb 250.0 0.5\n")).expect("figures");
        assert_eq!(figures.len(), 9);
        assert_eq!((figures[0].ours, figures[0].peer), (500.0, 400.0));
        assert_eq!((figures[0].is_met(), figures[8].is_met()), (Some(true), Some(false)));
    }
}
