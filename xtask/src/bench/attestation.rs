//! Verifying an SGX quote, against the crate dcap-qvl with ring.

use super::figure::{Figure, Target, numbers};
use crate::run::{Result, cargo, output};

pub(super) fn run() -> Result<Vec<Figure>> {
    let bench = ["bench", "--quiet", "--locked", "-p", "attestation", "--bench", "verify"];
    let lines = output(cargo().args(bench))?;
    [
        ("cold", "every signature", Target::RatioAtMost(1.0)),
        ("warm", "collateral verified", Target::RatioAtMost(1.0 / 3.0)),
        ("known", "platform known", Target::RatioAtMost(1.0 / 4.5)),
    ]
    .map(|(name, what, target)| {
        figure(&lines, name, what, target)
            .ok_or_else(|| format!("the bench of attestation printed {lines:?}"))
    })
    .into_iter()
    .collect()
}

/// `name ours peer ratio signatures`, times in µs and the ratio peer / ours, the median of pairs.
fn figure(lines: &str, name: &str, what: &str, target: Target) -> Option<Figure> {
    let [ours, _, ratio, signatures] = numbers(lines, name)?;
    Some(Figure {
        name: format!("quote, {what}, {signatures} signatures"),
        unit: "us",
        ours,
        // From the median of the paired ratios: on a shared machine the peer's own median was taken under
        // another load.
        peer: ours * ratio,
        peer_name: "dcap-qvl + ring".to_owned(),
        target,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_a_figure() {
        let lines = "cold 500.0 600.0 1.2 9\nwarm 150.0 600.0 4.0 3\n";
        let figure = figure(lines, "warm", "collateral verified", Target::RatioAtMost(1.0 / 3.0))
            .expect("a figure");
        assert_eq!(figure.name, "quote, collateral verified, 3 signatures");
        assert_eq!(figure.is_met(), Some(true));
        assert!((figure.peer - 600.0).abs() < 1e-9);
        assert!(super::figure(lines, "known", "", Target::None).is_none());
    }
}
