//! Reference values: measurements under a name, with a version and an end.
//!
//! A policy names a value; who builds the workload publishes what the name stands for today. A name that
//! is not there, or whose values have all expired, is a refusal.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::Deserialize;

use crate::hex::{self, HexError};
use crate::time::{DateError, parse_rfc3339};

/// The longest document that is read.
const MAX_BYTES: usize = 4 << 20;

/// One version of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// What policies call it.
    pub name: String,
    /// Which build it is, for people.
    pub version: String,
    /// The measurement: MRENCLAVE, MRTD or launch digest, 32 or 48 bytes.
    pub measurement: Vec<u8>,
    /// Until when it counts, in Unix seconds, included.
    pub expires: u64,
}

/// A set of reference values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReferenceValues(Vec<Reference>);

/// A document that is not a set of reference values.
#[derive(Debug)]
pub enum ReferenceError {
    /// Longer than is read.
    TooLong {
        /// What came, in bytes.
        got: usize,
    },
    /// Not TOML, a key that is not known, or a value of another type: the error shows the place.
    Toml(toml::de::Error),
    /// A measurement that is not hex of 32 or 48 bytes.
    Hex {
        /// The name of the value.
        name: String,
        /// What is wrong.
        error: HexError,
    },
    /// An expiry that is not a date.
    Date {
        /// The name of the value.
        name: String,
        /// What is wrong.
        error: DateError,
    },
    /// The same version of the same name twice.
    Duplicate {
        /// The name.
        name: String,
        /// The version.
        version: String,
    },
}

impl fmt::Display for ReferenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { got } => {
                write!(f, "reference values: expected at most {MAX_BYTES} bytes, got {got}")
            }
            Self::Toml(error) => write!(f, "reference values: {error}"),
            Self::Hex { name, error } => {
                write!(f, "reference value {name}: measurement: {error}")
            }
            Self::Date { name, error } => write!(f, "reference value {name}: expires: {error}"),
            Self::Duplicate { name, version } => {
                write!(f, "reference value {name}: version {version} comes twice")
            }
        }
    }
}

impl core::error::Error for ReferenceError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    reference: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    version: String,
    measurement: String,
    /// RFC 3339, UTC, whole seconds.
    expires: String,
}

impl Entry {
    fn check(self) -> Result<Reference, ReferenceError> {
        let Self { name, version, measurement, expires } = self;
        let measurement = match measurement.len() {
            96 => hex::array::<48>(&measurement).map(|bytes| bytes.to_vec()),
            _ => hex::array::<32>(&measurement).map(|bytes| bytes.to_vec()),
        };
        let measurement =
            measurement.map_err(|error| ReferenceError::Hex { name: name.clone(), error })?;
        let expires = parse_rfc3339(&expires)
            .map_err(|error| ReferenceError::Date { name: name.clone(), error })?;
        Ok(Reference { name, version, measurement, expires })
    }
}

impl ReferenceValues {
    /// Reads the TOML document: `[[reference]]` tables of `name`, `version`, `measurement` and `expires`.
    ///
    /// # Errors
    ///
    /// [`ReferenceError`].
    pub fn from_toml(text: &str) -> Result<Self, ReferenceError> {
        if text.len() > MAX_BYTES {
            return Err(ReferenceError::TooLong { got: text.len() });
        }
        let document: Document = toml::from_str(text).map_err(ReferenceError::Toml)?;
        let values =
            document.reference.into_iter().map(Entry::check).collect::<Result<Vec<_>, _>>()?;
        let mut seen = alloc::collections::BTreeSet::new();
        for value in &values {
            if !seen.insert((&value.name, &value.version)) {
                let (name, version) = (value.name.clone(), value.version.clone());
                return Err(ReferenceError::Duplicate { name, version });
            }
        }
        drop(seen);
        Ok(Self(values))
    }

    /// Adds a value.
    ///
    /// # Errors
    ///
    /// The same version of the same name is there.
    pub fn add(&mut self, value: Reference) -> Result<(), ReferenceError> {
        if self.0.iter().any(|it| it.name == value.name && it.version == value.version) {
            let Reference { name, version, .. } = value;
            return Err(ReferenceError::Duplicate { name, version });
        }
        self.0.push(value);
        Ok(())
    }

    /// The values of this name that count at this moment.
    pub fn at(&self, name: &str, seconds: u64) -> impl Iterator<Item = &Reference> {
        self.0.iter().filter(move |value| value.name == name && seconds <= value.expires)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, version: &str, expires: &str) -> String {
        let measurement = "ab".repeat(32);
        alloc::format!(
            "[[reference]]\nname = '{name}'\nversion = '{version}'\n\
             measurement = '{measurement}'\nexpires = '{expires}'\n"
        )
    }

    #[test]
    fn values_count_until_they_expire() {
        let text = entry("payroll", "1", "2025-01-01T00:00:00Z")
            + &entry("payroll", "2", "2026-01-01T00:00:00Z");
        let values = ReferenceValues::from_toml(&text).expect("values");
        let at = |name, seconds| {
            values.at(name, seconds).map(|value| &*value.version).collect::<Vec<_>>()
        };
        assert_eq!(at("payroll", 1_735_689_600), ["1", "2"]);
        assert_eq!(at("payroll", 1_735_689_601), ["2"]);
        assert!(at("payroll", 1_800_000_000).is_empty());
        assert!(at("other", 0).is_empty());
    }

    #[test]
    fn a_malformed_document_is_an_error() {
        let good = entry("a", "1", "2025-01-01T00:00:00Z");
        for bad in [
            good.clone() + &good,
            good.replace("expires", "until"),
            good.replace("2025-01-01", "2025-02-30"),
            good.replace("abab", "ab"),
        ] {
            assert!(ReferenceValues::from_toml(&bad).is_err(), "{bad}");
        }
    }
}
