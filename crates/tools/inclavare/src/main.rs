//! `inclavare`: makes enclaves of images, signs them, and says what is in them and what this machine can do.
//!
//! It runs on its user's machine and needs no daemon, no root and no SGX. Exit codes are in [`EXIT_CODES`].
#![forbid(unsafe_code)]

mod args;
mod doctor;
mod failure;
mod image;
mod inspect;
mod key;
mod progress;
mod sign;

use args::{Arguments, Command};
use clap::Parser;
use std::process::ExitCode;

/// Shown by `--help`.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the input is refused: the message names the field, what was expected and what it is
  2  wrong use of the command
  3  this machine failed: a file cannot be read or written
  4  doctor: enclaves cannot run here";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Image(command) => image::run(command, arguments.quiet),
        Command::Key(command) => key::run(&command),
        Command::Sign(arguments) => sign::sign(&arguments),
        Command::Gendata(arguments) => sign::gendata(&arguments),
        Command::Catsig(arguments) => sign::catsig(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            ExitCode::from(failure.code())
        }
    }
}
