//! Processor generations: which one a report or a certificate speaks of.
//!
//! It matters twice: the parts of a TCB version lie elsewhere from Turin on, and each generation has its own
//! root, so a report of one must not be vouched for by another's chain.

use core::fmt;

/// A generation of EPYC that has SEV-SNP and a root key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Product {
    /// Zen 3.
    Milan,
    /// Zen 4; Bergamo and Siena share its root.
    Genoa,
    /// Zen 5.
    Turin,
}

impl Product {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Milan, Self::Genoa, Self::Turin];

    /// By CPUID's combined family and model, as reports have them from version 3 on.
    ///
    /// The ranges are those that AMD's own tools use (crate sev 8, `Generation::identify_cpu`). Models outside of
    /// them are unknown, and a report of them is refused.
    #[must_use]
    pub const fn from_cpuid(family: u8, model: u8) -> Option<Self> {
        match (family, model) {
            (0x19, 0x00..=0x0f) => Some(Self::Milan),
            (0x19, 0x10..=0x1f | 0xa0..=0xaf) => Some(Self::Genoa),
            (0x1a, 0x00..=0x11) => Some(Self::Turin),
            _ => None,
        }
    }

    /// By the productName of an endorsement key's certificate: a name, and perhaps `-` and a stepping.
    #[must_use]
    pub fn from_product_name(name: &str) -> Option<Self> {
        let base = match name.split_once('-') {
            None => name,
            Some((_, "")) => return None,
            Some((base, _)) => base,
        };
        match base {
            "Milan" => Some(Self::Milan),
            "Genoa" | "Bergamo" | "Siena" => Some(Self::Genoa),
            "Turin" => Some(Self::Turin),
            _ => None,
        }
    }

    /// Its name in certificates, as in `ARK-Milan`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Milan => "Milan",
            Self::Genoa => "Genoa",
            Self::Turin => "Turin",
        }
    }

    /// Bytes of CHIP_ID that say something; the rest is zero.
    #[must_use]
    pub const fn chip_id_len(self) -> usize {
        match self {
            Self::Milan | Self::Genoa => 64,
            Self::Turin => 8,
        }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steppings_do_not_matter_and_other_names_are_unknown() {
        for (name, product) in [
            ("Milan-B0", Some(Product::Milan)),
            ("Milan", Some(Product::Milan)),
            ("Siena-B1", Some(Product::Genoa)),
            ("Turin", Some(Product::Turin)),
            ("Turin-", None),
            ("Milano", None),
            ("milan", None),
            ("", None),
        ] {
            assert_eq!(Product::from_product_name(name), product, "{name}");
        }
    }

    #[test]
    fn unknown_models_have_no_product() {
        assert_eq!(Product::from_cpuid(0x19, 0x01), Some(Product::Milan));
        assert_eq!(Product::from_cpuid(0x19, 0xa0), Some(Product::Genoa));
        assert_eq!(Product::from_cpuid(0x1a, 0x02), Some(Product::Turin));
        for (family, model) in [(0x17, 0x31), (0x19, 0x20), (0x1a, 0x12), (0, 0)] {
            assert_eq!(Product::from_cpuid(family, model), None);
        }
    }
}
