//! `sgx-tools`: what the architectural enclaves offer, as commands.
//!
//! The enclaves are behind a daemon, Intel's aesmd or the emulator's service, which `sgx-tools emulator
//! serve` is. It asks, writes down what it gets, and judges quotes; it holds no secret of its own. Whatever
//! is emulated is said to be. Exit codes are in [`EXIT_CODES`].
#![forbid(unsafe_code)]

mod args;
mod emulator;
mod failure;
mod file;
mod ias;
mod inspect;
mod quote;
mod quote_type;
mod text;
mod token;
mod verify;

use args::{Arguments, Command};
use clap::Parser;
use failure::Failure;
use serde_json::Value;
use std::process::ExitCode;

/// Shown by `--help`.
const EXIT_CODES: &str = "\
Exit codes:
  0  done; a verdict is accepted or authentic
  1  refused: the message names the field, what was expected and what it is
  2  nothing was done or judged: wrong use, a file that cannot be read or written, no daemon";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let say = Say { is_json: arguments.json, is_verbose: arguments.verbose };
    let done = match arguments.command {
        Command::GenToken(arguments) => token::run(&arguments, say),
        Command::GenQeTargetInfo(arguments) => quote::target_info(&arguments, say),
        Command::GenQuote(arguments) => quote::quote(&arguments, say),
        Command::VerifyQuote(arguments) => verify::run(&arguments, say),
        Command::GetIasReport(arguments) => ias::run(&arguments, say),
        Command::Inspect(arguments) => inspect::run(&arguments, say),
        Command::Emulator(command) => emulator::run(&command, say),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            ExitCode::from(failure.code())
        }
    }
}

/// How results are shown.
#[derive(Clone, Copy)]
struct Say {
    is_json: bool,
    is_verbose: bool,
}

impl Say {
    /// The result, on standard output: JSON on one line, or a line for each member.
    fn result(self, value: &Value) -> Result<(), Failure> {
        let shown = if self.is_json { format!("{value}\n") } else { text::render(value) };
        file::write_stdout(shown.as_bytes())
    }

    /// What is being done, on standard error, for who asked for it.
    fn step(self, what: &str) {
        if self.is_verbose {
            eprintln!("sgx-tools: {what}");
        }
    }
}
