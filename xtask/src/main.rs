//! The project's own tasks: `cargo xtask quickstart`, `test`, `check`, `bench`, `fuzz`, `dist`.
#![forbid(unsafe_code)]

mod bench;
mod check;
mod dist;
mod fuzz;
mod quickstart;
mod run;
mod test;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Tasks of the Inclavare workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Make images from Debian's packages, convert and sign them, and run them in an enclave
    Quickstart(quickstart::Arguments),
    /// Run the tests; what CI runs
    Test(test::Arguments),
    /// Measure against named peers
    Bench(bench::Arguments),
    /// Fuzz every parser of outside bytes by coverage, with cargo-fuzz
    Fuzz(fuzz::Arguments),
    /// Format, lints, unsafe list, enclave instructions, licences
    Check,
    /// Build the programs as they are shipped, rune without the C library's loader
    Dist,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Quickstart(arguments) => quickstart::run(&arguments),
        Task::Test(arguments) => test::run(&arguments),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Fuzz(arguments) => fuzz::run(&arguments),
        Task::Check => check::run(),
        Task::Dist => dist::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
