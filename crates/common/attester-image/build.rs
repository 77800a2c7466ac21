//! Builds the attester with a cargo of its own, for another profile and another target directory. The lock file is
//! the workspace's: what versions it is made of is decided where they are tested.

#[path = "../enclave-image/build/inner.rs"]
mod inner;

use inner::{TARGET, variable};
use std::path::PathBuf;

/// What the program is made of, from the repository's root.
const SOURCES: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "rust-toolchain.toml",
    "crates/enclave/attester/Cargo.toml",
    "crates/enclave/attester/src",
    "crates/common/attestation/Cargo.toml",
    "crates/common/attestation/src",
    "crates/common/rats-tls/Cargo.toml",
    "crates/common/rats-tls/src",
    "crates/common/sgx/Cargo.toml",
    "crates/common/sgx/src",
];

fn main() {
    let root = inner::root();
    println!("cargo::rerun-if-changed=../enclave-image/build/inner.rs");
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    if let Some(prebuilt) = inner::prebuilt("INCLAVARE_ATTESTER_ELF") {
        println!("cargo::rustc-env=ATTESTER_ELF={}", prebuilt.display());
        return;
    }
    let target_directory = inner::target_directory("attester-image-target");
    let mut flags: Vec<String> =
        ["-Ctarget-feature=+crt-static", "-Ctarget-cpu=x86-64"].map(String::from).into();
    flags.extend(inner::remap_flags(&root));
    let status = inner::cargo(&flags)
        .current_dir(&root)
        .args(["build", "--profile", "measured", "--locked", "--package", "attester"])
        .args(["--bin", "attester", "--target", TARGET, "--target-dir"])
        .arg(&target_directory)
        .status()
        .unwrap_or_else(|error| panic!("cannot run cargo for the attester: {error}"));
    assert!(status.success(), "building the attester failed ({status})");
    let product = target_directory.join(TARGET).join("measured/attester");
    let kept = PathBuf::from(variable("OUT_DIR")).join("attester.elf");
    std::fs::copy(&product, &kept).unwrap_or_else(|error| {
        panic!("cannot copy {} to {}: {error}", product.display(), kept.display())
    });
    println!("cargo::rustc-env=ATTESTER_ELF={}", kept.display());
}
