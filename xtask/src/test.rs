//! `cargo xtask test`: everything that must pass before a change lands.

use crate::run::{Result, cargo, pass, programs};
use clap::Args;

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
    // The end-to-end suite runs the programs as a user does, so they are built first.
    pass(cargo().args(["build", "--locked", "-p", "rune", "-p", "inclavare"]))?;
    let mut tests = cargo();
    tests.args(["test", "--locked", "--workspace", "--no-fail-fast"]);
    if arguments.quick {
        tests.args(["--exclude", "e2e"]);
    }
    if arguments.all {
        tests.env("INCLAVARE_TEST_ALL", "1");
    }
    pass(&mut tests)?;
    // Its own workspace; the shared target directory saves compiling the same crates again.
    let mut fuzz = cargo();
    fuzz.args([
        "test",
        "--locked",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "-p",
        "targets",
        "--target-dir",
    ]);
    fuzz.arg(programs("dev").parent().expect("the profile's folder lies in it"));
    if arguments.all {
        fuzz.env("FUZZ_ITERATIONS", "100000");
    }
    pass(&mut fuzz)
}
