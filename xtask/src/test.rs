//! `cargo xtask test`: everything that must pass before a change lands.

use crate::run::{Result, cargo, pass, programs};
use clap::Args;
use std::process::Command;

/// What to run.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Also the slow suites: reproducibility of the enclave file, long runs, real engines
    #[arg(long)]
    all: bool,
    /// Only the unit and crate tests, without the checks and the end-to-end suite
    #[arg(long)]
    quick: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if !arguments.quick {
        crate::check::run()?;
    }
    // The end-to-end suites run the programs as a user does, so they are built first.
    let programs =
        ["rune", "inclavare", "inclavared", "shelter", "sgx-tools", "rats-tls-c", "hostile-relay"];
    pass(cargo().args(["build", "--locked"]).args(programs.iter().flat_map(|it| ["-p", it])))?;
    let mut tests = cargo();
    tests.args(["test", "--locked", "--workspace", "--no-fail-fast"]);
    if arguments.quick {
        tests.args(["--exclude", "e2e", "--exclude", "attested"]);
    }
    if arguments.all {
        tests.env("INCLAVARE_TEST_ALL", "1");
        match crate::dist::obstacle()? {
            None => {
                tests.env("INCLAVARE_TEST_DIST_RUNE", crate::dist::rune()?);
            }
            Some(reason) => eprintln!("skipped: rune as it is shipped: {reason}"),
        }
    }
    pass(&mut tests)?;
    let mut fuzz = in_workspace("fuzz/Cargo.toml", "targets");
    if arguments.all {
        fuzz.env("FUZZ_ITERATIONS", "100000");
    }
    pass(&mut fuzz)?;
    peers()
}

/// Programs of others that need more than Rust to build.
fn peers() -> Result<()> {
    match fixtures::protoc_environment() {
        Ok(environment) => {
            pass(in_workspace("tests/aesm-peer/Cargo.toml", "aesm-peer").envs(environment))
        }
        Err(error) => {
            eprintln!("skipped: tests/aesm-peer (the crate aesm-client needs protoc): {error}");
            Ok(())
        }
    }
}

/// The tests of a package in a workspace of its own; the shared target directory saves compiling the same
/// crates again.
fn in_workspace(manifest: &str, package: &str) -> Command {
    let mut command = cargo();
    command.args(["test", "--locked", "--manifest-path", manifest, "-p", package, "--target-dir"]);
    command.arg(programs("dev").parent().expect("the profile's folder lies in it"));
    command
}
