//! One measured figure against its peer.

use serde_json::json;

/// The numbers of a bench's line `name number number …`; None if there is no such line with so many.
pub(super) fn numbers<const N: usize>(lines: &str, name: &str) -> Option<[f64; N]> {
    let rest = lines.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    let all: Option<Vec<f64>> = rest.split(' ').take(N).map(|word| word.parse().ok()).collect();
    all?.try_into().ok()
}

/// Which side of the target is good.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// The ratio ours / peer is at most this.
    RatioAtMost(f64),
    /// The ratio ours / peer is at least this.
    RatioAtLeast(f64),
    /// Our figure, in its unit, is at most this.
    AtMost(f64),
    /// Reported, not judged.
    None,
}

/// A figure of ours and one of a peer, taken in the same run.
#[derive(Clone, Debug)]
pub(super) struct Figure {
    /// What was measured.
    pub(super) name: String,
    /// Unit of `ours` and `peer`.
    pub(super) unit: &'static str,
    /// Our figure.
    pub(super) ours: f64,
    /// The peer's figure.
    pub(super) peer: f64,
    /// Who the peer is.
    pub(super) peer_name: String,
    /// What we want.
    pub(super) target: Target,
}

impl Figure {
    pub(super) fn ratio(&self) -> f64 {
        self.ours / self.peer
    }

    /// Whether the target is met; None without one.
    pub(super) fn is_met(&self) -> Option<bool> {
        match self.target {
            Target::RatioAtMost(limit) => Some(self.ratio() <= limit),
            Target::RatioAtLeast(limit) => Some(self.ratio() >= limit),
            Target::AtMost(limit) => Some(self.ours <= limit),
            Target::None => None,
        }
    }

    fn target_text(&self) -> String {
        match self.target {
            Target::RatioAtMost(limit) => format!("ratio <= {limit}"),
            Target::RatioAtLeast(limit) => format!("ratio >= {limit}"),
            Target::AtMost(limit) => format!("<= {limit} {}", self.unit),
            Target::None => "-".to_owned(),
        }
    }

    /// Prints a line: JSON for machines, columns for people.
    pub(super) fn print(&self, is_json: bool) {
        if is_json {
            let line = json!({
                "name": self.name, "unit": self.unit, "ours": self.ours, "peer": self.peer,
                "peer_name": self.peer_name, "ratio": self.ratio(),
                "target": self.target_text(), "met": self.is_met(),
            });
            println!("{line}");
            return;
        }
        let met = match self.is_met() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        println!(
            "{:<34} {:>12.3} {:<5} {:>12.3} {:<26} ratio {:>6.3}  {:<14} {met}",
            self.name,
            self.ours,
            self.unit,
            self.peer,
            self.peer_name,
            self.ratio(),
            self.target_text(),
        );
    }
}

/// Median of samples.
pub(super) fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(ours: f64, target: Target) -> Figure {
        Figure {
            name: String::new(),
            unit: "ns",
            ours,
            peer: 2.0,
            peer_name: String::new(),
            target,
        }
    }

    #[test]
    fn targets_judge_the_right_side() {
        assert_eq!(figure(1.0, Target::RatioAtMost(0.5)).is_met(), Some(true));
        assert_eq!(figure(1.1, Target::RatioAtMost(0.5)).is_met(), Some(false));
        assert_eq!(figure(1.1, Target::RatioAtLeast(0.5)).is_met(), Some(true));
        assert_eq!(figure(3.0, Target::AtMost(2.5)).is_met(), Some(false));
        assert_eq!(figure(3.0, Target::None).is_met(), None);
    }

    #[test]
    fn median_of_an_even_count_is_the_upper_one() {
        assert!((median(vec![3.0, 1.0, 2.0, 9.0]) - 3.0).abs() < f64::EPSILON);
    }
}
