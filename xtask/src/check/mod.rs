//! `cargo xtask check`: what a reviewer need not look for.

mod licences;
mod unsafe_list;

use crate::run::{Result, cargo, output, pass, root};
use std::path::Path;

/// The manifests of our two workspaces: everything outside, and the enclave program.
const MANIFESTS: [&str; 2] = ["Cargo.toml", "crates/Cargo.toml"];

pub(crate) fn run() -> Result<()> {
    step("format", || pass(cargo().args(["fmt", "--all", "--check"])))?;
    step("lints", || {
        pass(cargo().args([
            "clippy",
            "--locked",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]))
    })?;
    step("unsafe list", unsafe_list::run)?;
    step("enclave instructions", || {
        pass(cargo().args([
            "test",
            "--locked",
            "--quiet",
            "-p",
            "enclave-image",
            "--test",
            "instructions",
        ]))
    })?;
    step("licences", licences::run)
}

fn step(name: &str, body: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("check: {name}");
    body().map_err(|error| format!("check: {name}: {error}"))
}

/// `cargo metadata` of the workspace that `manifest` belongs to, parsed.
fn metadata(manifest: &Path) -> Result<serde_json::Value> {
    let mut command = cargo();
    command.args(["metadata", "--locked", "--format-version", "1", "--manifest-path"]);
    let text = output(command.arg(root().join(manifest)))?;
    serde_json::from_str(&text).map_err(|error| format!("cargo metadata: {error}"))
}
