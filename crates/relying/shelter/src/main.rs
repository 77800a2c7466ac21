//! `shelter`: decides off the host whether evidence is to be trusted, and what an enclave's measurement must be.
//!
//! It believes nothing that it does not verify, and needs no daemon, no root and no SGX. Exit codes are in
//! [`EXIT_CODES`].
#![forbid(unsafe_code)]

mod args;
mod collateral;
mod evidence;
mod explain;
mod failure;
mod files;
mod live;
mod measure;
mod mistaken;
mod reference;
mod report;
mod shown;
mod source;
mod store;
mod table;
mod trusted;
mod upstream;
mod verify;

use args::{Arguments, Command};
use clap::Parser;
use std::process::ExitCode;

/// Shown by `--help`.
const EXIT_CODES: &str = "\
Exit codes:
  0  accepted, authentic or done
  1  refused: the message names what was looked at, what was expected and what came
  2  could not be judged: wrong use of the command, a file or service that cannot be read, or a container that
     cannot be reached or does not prove itself";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Send(arguments) => live::send::run(&arguments),
        Command::Connect(arguments) => live::connect::run(&arguments),
        Command::Watch(arguments) => live::watch::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Measure(arguments) => measure::run(arguments),
        Command::Reference(command) => reference::run(&command),
        Command::Remoteattestation(arguments) => upstream::remote_attestation(&arguments),
        Command::Mrverify(arguments) => upstream::mr_verify(arguments),
        Command::Collateral(command) => collateral::run(&command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            ExitCode::from(failure.code())
        }
    }
}
