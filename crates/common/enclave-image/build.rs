//! Builds the enclave program with a cargo of its own: another profile, another lock file, another target
//! directory (sharing the outer one would deadlock on its lock).

use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "x86_64-unknown-linux-gnu";

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
    let root = Path::new(&variable("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(3)
        .expect("this crate is three levels below the repository's root")
        .to_path_buf();
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    println!("cargo::rerun-if-env-changed=INCLAVARE_ENCLAVE_ELF");

    // A packager that built the program once, reproducibly, need not build it again for each consumer.
    if let Some(prebuilt) = std::env::var_os("INCLAVARE_ENCLAVE_ELF") {
        let prebuilt = PathBuf::from(prebuilt);
        println!("cargo::rerun-if-changed={}", prebuilt.display());
        println!("cargo::warning=embedding {}, not building it", prebuilt.display());
        println!("cargo::rustc-env=ENCLAVE_ELF={}", prebuilt.display());
        return;
    }
    // One target directory for all variants, and for all feature sets of this crate (OUT_DIR differs by them), so
    // that they share what they have in common; the product is moved out of the way of the next.
    let target_directory = out
        .ancestors()
        .nth(2)
        .expect("OUT_DIR is target/profile/build/package/out")
        .join("enclave-image-target");
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
    let mut command = Command::new(variable("CARGO"));
    for (name, _) in std::env::vars_os() {
        // The outer build's settings would change what is measured, or confuse the inner cargo.
        let text = name.to_string_lossy();
        let is_kept = matches!(
            &*text,
            "CARGO_HOME" | "CARGO_NET_OFFLINE" | "RUSTUP_HOME" | "RUSTUP_TOOLCHAIN"
        );
        let is_cargo = ["CARGO", "RUST", "DEP_"].iter().any(|prefix| text.starts_with(prefix));
        let is_build = ["PROFILE", "OPT_LEVEL", "DEBUG", "TARGET", "HOST", "NUM_JOBS", "OUT_DIR"]
            .contains(&&*text);
        if (is_cargo && !is_kept) || is_build || text == "MAKEFLAGS" {
            command.env_remove(&name);
        }
    }
    let status = command
        .current_dir(&image)
        .env("CARGO_ENCODED_RUSTFLAGS", rust_flags(root).join("\x1f"))
        .env("CARGO_INCREMENTAL", "0")
        // The manual's word for reproducible: nothing in the product depends on the clock.
        .env("SOURCE_DATE_EPOCH", "0")
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
    // No absolute path of this machine reaches the product.
    let mut remap =
        |from: &Path, to: &str| flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    remap(root, "/inclavare");
    let home = std::env::var_os("CARGO_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cargo"),
        PathBuf::from,
    );
    remap(&home, "/cargo");
    if let Some(sysroot) = output(&["--print", "sysroot"]) {
        // Only where the rust-src component is installed does the compiler name the library's real place.
        remap(&Path::new(&sysroot).join("lib/rustlib/src/rust"), "/rustc");
    }
    flags
}

fn output(arguments: &[&str]) -> Option<String> {
    let output = Command::new(variable("RUSTC")).args(arguments).output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
