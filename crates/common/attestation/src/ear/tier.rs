//! Trustworthiness: the values of AR4SI and the tiers that they fall into.
//!
//! draft-ietf-rats-ar4si, section "Trustworthiness Claims": -128 to 127, where a negative value says the same
//! as its mirror by a standard that the verifier has of its own.

use core::fmt;

use serde_json::Value;

/// A tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Nothing is said.
    None,
    /// Good.
    Affirming,
    /// Good enough for some.
    Warning,
    /// Bad.
    Contraindicated,
}

impl Tier {
    /// The tier of a claim's value.
    #[must_use]
    pub const fn of(value: i8) -> Self {
        match value {
            -1..=1 => Self::None,
            2..=31 | -32..=-2 => Self::Affirming,
            32..=95 | -96..=-33 => Self::Warning,
            96..=127 | -128..=-97 => Self::Contraindicated,
        }
    }

    /// A status: a tier's name, or the number that stands for the whole tier.
    pub(super) fn from_json(value: &Value) -> Option<Self> {
        if let Some(name) = value.as_str() {
            return match name {
                "none" => Some(Self::None),
                "affirming" => Some(Self::Affirming),
                "warning" => Some(Self::Warning),
                "contraindicated" => Some(Self::Contraindicated),
                _ => None,
            };
        }
        match value.as_i64()? {
            0 => Some(Self::None),
            2 => Some(Self::Affirming),
            32 => Some(Self::Warning),
            96 => Some(Self::Contraindicated),
            _ => None,
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Affirming => "affirming",
            Self::Warning => "warning",
            Self::Contraindicated => "contraindicated",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_meet_without_a_gap() {
        for (value, tier) in [
            (-128, Tier::Contraindicated),
            (-97, Tier::Contraindicated),
            (-96, Tier::Warning),
            (-33, Tier::Warning),
            (-32, Tier::Affirming),
            (-2, Tier::Affirming),
            (-1, Tier::None),
            (1, Tier::None),
            (2, Tier::Affirming),
            (31, Tier::Affirming),
            (32, Tier::Warning),
            (95, Tier::Warning),
            (96, Tier::Contraindicated),
            (127, Tier::Contraindicated),
        ] {
            assert_eq!(Tier::of(value), tier, "{value}");
        }
    }

    #[test]
    fn a_status_is_a_name_or_the_first_of_a_tier() {
        assert_eq!(Tier::from_json(&"affirming".into()), Some(Tier::Affirming));
        assert_eq!(Tier::from_json(&96.into()), Some(Tier::Contraindicated));
        for bad in [Value::from("Affirming"), 3.into(), (-2).into(), 2.0.into(), Value::Null] {
            assert_eq!(Tier::from_json(&bad), None, "{bad}");
        }
    }
}
