//! Which crates may hold `unsafe`, checked against the attribute in each crate root.

use super::{MANIFESTS, metadata};
use crate::run::Result;
use std::path::Path;

/// The only crates that may; every other one forbids it.
const MAY_USE_UNSAFE: &[&str] = &[
    "container",    // process set-up, in one module
    "enclave-rt",   // entry, untrusted memory
    "hostcall",     // block access
    "image",        // entry symbol
    "pal",          // C ABI
    "rats-tls-c",   // C ABI of the attested session, in one module
    "sgx",          // byte views
    "sgx-emulator", // the emulated CPU
    "urts",         // entering the enclave, devices
];

/// Kinds of targets that go into what is shipped; a library is named by what it is built as.
const ROOTS: &[&str] = &["bin", "cdylib", "dylib", "lib", "proc-macro", "rlib", "staticlib"];

pub(super) fn run() -> Result<()> {
    let metadata = metadata(Path::new(MANIFESTS[0]))?;
    let mut wrong = Vec::new();
    for package in members(&metadata) {
        let name = package["name"].as_str().unwrap_or_default();
        if MAY_USE_UNSAFE.contains(&name) {
            continue;
        }
        for target in package["targets"].as_array().into_iter().flatten() {
            let kinds = target["kind"].as_array().into_iter().flatten();
            let is_root = kinds.filter_map(|kind| kind.as_str()).any(|kind| ROOTS.contains(&kind));
            let path = Path::new(target["src_path"].as_str().unwrap_or_default());
            if is_root && !forbids_unsafe(path)? {
                wrong.push(format!("{}: no #![forbid(unsafe_code)]", path.display()));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// Packages of this workspace.
fn members(metadata: &serde_json::Value) -> impl Iterator<Item = &serde_json::Value> {
    metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|package| package["source"].is_null())
}

fn forbids_unsafe(path: &Path) -> Result<bool> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("read {}: {error}", path.display()))?;
    Ok(text.lines().any(|line| line.trim() == "#![forbid(unsafe_code)]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attribute_must_be_a_line_of_its_own() {
        let directory = std::env::temp_dir().join(format!("unsafe-list-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join("lib.rs");
        for (text, expected) in
            [("#![forbid(unsafe_code)]\n", true), ("// #![forbid(unsafe_code)]\n", false)]
        {
            std::fs::write(&file, text).unwrap();
            assert_eq!(forbids_unsafe(&file), Ok(expected), "{text}");
        }
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
