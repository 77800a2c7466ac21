//! `cargo xtask dist`: the programs as they are shipped.
//!
//! rune is linked with musl: it is started for every operation of every container, and a static glibc program takes
//! 0.5 ms of CPU before `main` where CPUID traps, a musl one 0.15. Everything else is an ordinary program.

use crate::run::{Result, cargo, output, pass, programs, target};
use std::path::{Path, PathBuf};
use std::process::Command;

const MUSL: &str = "x86_64-unknown-linux-musl";

/// What is shipped besides rune.
const OTHERS: [&str; 4] = ["inclavare", "inclavared", "shelter", "sgx-tools"];

pub(crate) fn run() -> Result<()> {
    println!("{}", rune()?.display());
    let mut build = cargo();
    build.args(["build", "--locked", "--profile", "dist"]);
    pass(build.args(OTHERS.iter().flat_map(|package| ["-p", package])))?;
    for name in OTHERS {
        println!("{}", programs("dist").join(name).display());
    }
    Ok(())
}

/// Builds rune.
pub(crate) fn rune() -> Result<PathBuf> {
    if let Some(reason) = obstacle()? {
        return Err(reason);
    }
    let mut build = cargo();
    build.args(["build", "--locked", "--profile", "dist", "--target", MUSL, "-p", "rune"]);
    // Cargo forgets the profile's `strip` for a package that has settings of its own.
    pass(build.env("RUSTFLAGS", "-C strip=symbols"))?;
    Ok(target().join(MUSL).join("dist/rune"))
}

/// What is missing for rune's build, and how to get it.
pub(crate) fn obstacle() -> Result<Option<String>> {
    let arguments = ["--print", "target-libdir", "--target", MUSL];
    let library = output(Command::new("rustc").args(arguments))?;
    if !Path::new(library.trim()).exists() {
        return Ok(Some(format!("no Rust for {MUSL}: rustup target add {MUSL}")));
    }
    match Command::new("musl-gcc").arg("--version").output() {
        Ok(_) => Ok(None),
        Err(_) => {
            Ok(Some("no musl-gcc: apt-get install --no-install-recommends musl-tools".into()))
        }
    }
}
