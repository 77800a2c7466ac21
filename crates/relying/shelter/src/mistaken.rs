//! What a file seems to be that is not what was asked for: people mix up their files, and an error of the parser that
//! they did not mean says nothing.

use crate::failure::Failure;
use crate::files::in_file;
use attestation::Policy;
use attestation::collateral::Collateral;
use attestation::quote::Quote;
use attestation::x509::Certificate;
use serde_json::Value;
use std::fmt::Display;
use std::path::Path;

/// The failure to read a file as `expected`: by what it seems to be where that is plain, else by the parser's error.
pub(crate) fn instead(path: &Path, bytes: &[u8], expected: &str, error: impl Display) -> Failure {
    match seems(bytes) {
        Some(it) => in_file(path)(format!("expected {expected}, got {it}")),
        None => in_file(path)(error),
    }
}

/// Kinds of files that people have around when they verify.
fn seems(bytes: &[u8]) -> Option<&'static str> {
    if bytes.is_empty() {
        return Some("an empty file");
    }
    if Certificate::parse(bytes).is_ok() {
        return Some("a certificate, DER");
    }
    if Quote::parse(bytes).is_ok() {
        return Some("a quote");
    }
    let text = std::str::from_utf8(bytes).ok()?;
    if text.starts_with("-----BEGIN CERTIFICATE-----") {
        return Some("a certificate, PEM");
    }
    if text.starts_with("-----BEGIN ") {
        return Some("a key or something else in PEM");
    }
    if let Ok(value @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text) {
        return Some(match value {
            _ if Collateral::from_json(bytes).is_ok() => "collateral",
            _ if value.get("verdict").is_some() => "a verdict, JSON",
            _ if value.get("ociVersion").is_some() => "the config.json of a bundle",
            _ => "other JSON",
        });
    }
    if Policy::from_toml(text).is_ok() {
        return Some("a policy");
    }
    // A file of comments alone would pass, and is nobody's rules.
    let has_rules = convert::policy::Policy::parse(text).is_ok() && text.contains('=');
    has_rules.then_some("the rules of a conversion, which measure takes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_contents() {
        let policy = format!("roots = ['{}']", "0".repeat(64));
        for (bytes, expected) in [
            ("", Some("an empty file")),
            ("-----BEGIN CERTIFICATE-----\nAAEC", Some("a certificate, PEM")),
            ("-----BEGIN RSA PRIVATE KEY-----", Some("a key or something else in PEM")),
            ("{\"verdict\":\"accepted\"}", Some("a verdict, JSON")),
            ("{\"ociVersion\":\"1.0.2\"}", Some("the config.json of a bundle")),
            ("[1]", Some("other JSON")),
            (&policy, Some("a policy")),
            (
                "[attester]\nlisten = 1\nforward = '127.0.0.1:1'",
                Some("the rules of a conversion, which measure takes"),
            ),
            ("mrenclaves = []", None),
            ("\u{0}\u{1}", None),
            ("# nothing", None),
        ] {
            assert_eq!(seems(bytes.as_bytes()), expected, "{bytes}");
        }
    }
}
