//! Builds the enclave program with a cargo of its own: another profile, another lock file, another target
//! directory.

#[path = "build/inner.rs"]
mod inner;

use inner::{TARGET, variable};
use std::path::{Path, PathBuf};

/// What the program is made of, from the repository's root.
const SOURCES: &[&str] = &[
    "Cargo.toml",
    "rust-toolchain.toml",
    "crates/Cargo.toml",
    "crates/Cargo.lock",
    "crates/enclave/image",
    "crates/enclave/enclave-rt",
    "crates/enclave/libos",
    "crates/common/hostcall",
    "crates/common/workload",
    "crates/common/sgx",
];

fn main() {
    let out = PathBuf::from(variable("OUT_DIR"));
    let root = inner::root();
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    if let Some(prebuilt) = inner::prebuilt("INCLAVARE_ENCLAVE_ELF") {
        println!("cargo::rustc-env=ENCLAVE_ELF={}", prebuilt.display());
        return;
    }
    // The product of one variant is moved out of the way of the next.
    let target_directory = inner::target_directory("enclave-image-target");
    if std::env::var_os("CARGO_FEATURE_SMOKE").is_some() {
        let product = build(&root, &target_directory, &["--features", "smoke"]);
        let smoke = keep(&product, &out.join("enclave-smoke.elf"));
        println!("cargo::rustc-env=ENCLAVE_SMOKE_ELF={}", smoke.display());
    }
    let product = build(&root, &target_directory, &[]);
    let product = keep(&product, &out.join("enclave.elf"));
    println!("cargo::rustc-env=ENCLAVE_ELF={}", product.display());
}

fn keep(product: &Path, to: &Path) -> PathBuf {
    std::fs::copy(product, to).unwrap_or_else(|error| {
        panic!("cannot copy {} to {}: {error}", product.display(), to.display())
    });
    to.to_path_buf()
}

/// Runs cargo on the image and gives the path of the ELF file.
fn build(root: &Path, target_directory: &Path, extra: &[&str]) -> PathBuf {
    let image = root.join("crates/enclave/image");
    let status = inner::cargo(&rust_flags(root))
        .current_dir(&image)
        .args(["build", "--release", "--locked", "--target", TARGET, "--target-dir"])
        .arg(target_directory)
        .args(extra)
        .status()
        .unwrap_or_else(|error| panic!("cannot run cargo for the enclave program: {error}"));
    assert!(
        status.success(),
        "building the enclave program failed ({status}); if its lock file is out of date after a change of \
         dependencies: cargo update --workspace --manifest-path crates/Cargo.toml"
    );
    target_directory.join(TARGET).join("release/enclave")
}

/// Compiler flags of the enclave program, all of which are part of what is measured.
fn rust_flags(root: &Path) -> Vec<String> {
    let mut flags: Vec<String> = [
        "-Ctarget-feature=+crt-static",
        "-Crelocation-model=pie",
        // The baseline: SSE2, nothing that has to be asked for with CPUID.
        "-Ctarget-cpu=x86-64",
        // Cryptography selects its code when it is compiled; a run-time check would need CPUID.
        "--cfg=sha2_backend=\"soft\"",
    ]
    .map(String::from)
    .into();
    flags.extend(inner::remap_flags(root));
    flags
}
