//! Licences of everything that is built, against `deny.toml`.
//!
//! `cargo deny` reads the same file; it is not needed, so that a fresh machine can check.

use super::{MANIFESTS, metadata};
use crate::run::{Result, root};
use std::path::Path;

pub(super) fn run() -> Result<()> {
    let text = std::fs::read_to_string(root().join("deny.toml"))
        .map_err(|error| format!("read deny.toml: {error}"))?;
    let policy = Policy::parse(&text)?;
    let mut wrong = Vec::new();
    for manifest in MANIFESTS {
        for package in metadata(Path::new(manifest))?["packages"].as_array().into_iter().flatten() {
            let name = package["name"].as_str().unwrap_or_default();
            let licence = package["license"].as_str().unwrap_or("none");
            if !policy.accepts(name, licence) {
                wrong.push(format!(
                    "{name}: licence: expected one that deny.toml allows, got {licence}"
                ));
            }
            if let Some(source) = package["source"].as_str()
                && source != "registry+https://github.com/rust-lang/crates.io-index"
            {
                wrong
                    .push(format!("{name}: source: expected the crates.io registry, got {source}"));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

struct Policy {
    allowed: Vec<String>,
    exceptions: Vec<(String, Vec<String>)>,
}

impl Policy {
    fn parse(text: &str) -> Result<Self> {
        let document: toml::Table = text.parse().map_err(|error| format!("deny.toml: {error}"))?;
        let strings = |value: Option<&toml::Value>| -> Vec<String> {
            let array = value.and_then(toml::Value::as_array);
            array
                .into_iter()
                .flatten()
                .filter_map(|item| item.as_str().map(str::to_owned))
                .collect()
        };
        let licences = document.get("licenses").ok_or("deny.toml: no [licenses]")?;
        let exceptions = licences.get("exceptions").and_then(toml::Value::as_array);
        Ok(Self {
            allowed: strings(licences.get("allow")),
            exceptions: exceptions
                .into_iter()
                .flatten()
                .filter_map(|item| {
                    Some((item.get("crate")?.as_str()?.to_owned(), strings(item.get("allow"))))
                })
                .collect(),
        })
    }

    /// Whether an SPDX expression of licences joined by OR and AND can be met.
    fn accepts(&self, name: &str, expression: &str) -> bool {
        let flat = expression.replace(['(', ')'], " ").replace('/', " OR ");
        flat.split(" OR ").any(|choice| {
            choice.split(" AND ").all(|licence| {
                let licence = licence.trim();
                let excepted = self.exceptions.iter().any(|(excepted, licences)| {
                    excepted == name && licences.iter().any(|allowed| allowed == licence)
                });
                excepted || self.allowed.iter().any(|allowed| allowed == licence)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_needs_one_and_a_conjunction_needs_all() {
        let policy = Policy::parse(
            "[licenses]\nallow = ['MIT', 'Apache-2.0']\n\
             exceptions = [{ crate = 'oracle', allow = ['MPL-2.0'] }]",
        )
        .unwrap();
        assert!(policy.accepts("any", "MIT OR GPL-3.0"));
        assert!(policy.accepts("any", "MIT/Apache-2.0"));
        assert!(!policy.accepts("any", "MIT AND GPL-3.0"));
        assert!(policy.accepts("oracle", "MPL-2.0"));
        assert!(!policy.accepts("any", "MPL-2.0"));
        assert!(!policy.accepts("any", "none"));
    }
}
