//! Which kind of quote. EPID's two are known and refused.

use crate::failure::Failure;
use std::str::FromStr;

/// `--quote-type`, in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QuoteType {
    EpidUnlinkable,
    EpidLinkable,
    Ecdsa,
}

impl FromStr for QuoteType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::EpidUnlinkable, Self::EpidLinkable, Self::Ecdsa];
        all.into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| format!("expected epidUnlinkable, epidLinkable or ecdsa, got {text}"))
    }
}

impl QuoteType {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::EpidUnlinkable => "epidUnlinkable",
            Self::EpidLinkable => "epidLinkable",
            Self::Ecdsa => "ecdsa",
        }
    }

    /// EPID quotes can neither be made nor verified any more: the service behind them is gone.
    pub(crate) fn expect_ecdsa(self) -> Result<(), Failure> {
        match self {
            Self::Ecdsa => Ok(()),
            epid => Err(Failure::Refused(format!(
                "quote-type: {}: retired by Intel, use ecdsa",
                epid.name()
            ))),
        }
    }
}

/// Says that an option of EPID's was given for nothing.
pub(crate) fn warn_unused(name: &str, value: Option<&String>) {
    if value.is_some() {
        eprintln!("sgx-tools: --{name} is not used: it belongs to EPID, retired by Intel");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_in_any_case() {
        assert_eq!("EPIDunlinkable".parse(), Ok(QuoteType::EpidUnlinkable));
        assert_eq!("epidlinkable".parse(), Ok(QuoteType::EpidLinkable));
        assert_eq!("ECDSA".parse(), Ok(QuoteType::Ecdsa));
        assert!("epid".parse::<QuoteType>().is_err());
    }
}
