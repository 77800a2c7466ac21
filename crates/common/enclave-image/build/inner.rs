// A cargo inside the build: for programs that run in enclaves, whose bytes must not depend on this machine, on the
// directory, or on the outer build's settings. Shared by the build scripts that have one.

use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The repository's root, three levels above the crate.
pub(crate) fn root() -> PathBuf {
    Path::new(&variable("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(3)
        .expect("this crate is three levels below the repository's root")
        .to_path_buf()
}

/// A target directory of its own: sharing the outer one would deadlock on its lock. It is the same for all feature
/// sets of the crate (OUT_DIR differs by them), so that they share what they have in common.
pub(crate) fn target_directory(name: &str) -> PathBuf {
    Path::new(&variable("OUT_DIR"))
        .ancestors()
        .nth(2)
        .expect("OUT_DIR is target/profile/build/package/out")
        .join(name)
}

/// cargo, without what the outer build would have it do otherwise.
pub(crate) fn cargo(flags: &[String]) -> Command {
    let mut command = Command::new(variable("CARGO"));
    for (name, _) in std::env::vars_os() {
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
    command
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env("CARGO_INCREMENTAL", "0")
        // The manual's word for reproducible: nothing in the product depends on the clock.
        .env("SOURCE_DATE_EPOCH", "0");
    command
}

/// Compiler flags by which no absolute path of this machine reaches the product.
pub(crate) fn remap_flags(root: &Path) -> Vec<String> {
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    let home = std::env::var_os("CARGO_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cargo"),
        PathBuf::from,
    );
    let mut flags = vec![remap(root, "/inclavare"), remap(&home, "/cargo")];
    if let Some(sysroot) = output(&["--print", "sysroot"]) {
        // Only where the rust-src component is installed does the compiler name the library's real place.
        flags.push(remap(&Path::new(&sysroot).join("lib/rustlib/src/rust"), "/rustc"));
    }
    flags
}

/// What somebody built once, reproducibly, and need not be built again for each consumer.
pub(crate) fn prebuilt(name: &str) -> Option<PathBuf> {
    println!("cargo::rerun-if-env-changed={name}");
    let prebuilt = PathBuf::from(std::env::var_os(name)?);
    println!("cargo::rerun-if-changed={}", prebuilt.display());
    println!("cargo::warning=embedding {}, not building it", prebuilt.display());
    Some(prebuilt)
}

fn output(arguments: &[&str]) -> Option<String> {
    let output = Command::new(variable("RUSTC")).args(arguments).output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
