//! The programs `rats-tls-server`, `rats-tls-client`, `enclave-tls-server` and `enclave-tls-client`: sessions of
//! level `bound` from the command line, with upstream's flags.
//!
//! A flag works or is refused by name with what to do instead. Nothing has a default that accepts a peer: an end
//! that verifies needs `--policy` and `--root`, an end that proves itself needs `--device`.
#![forbid(unsafe_code)]

mod client;
mod end;
mod flags;
mod server;

use clap::Parser as _;
use flags::{EnclaveFlags, RatsClientFlags, RatsFlags};
use rats_tls::binding::Role;
use std::process::ExitCode;

pub use end::Failure;

/// `rats-tls-server`.
#[must_use]
pub fn rats_server() -> ExitCode {
    let flags = RatsFlags::parse();
    exit(flags.end(Role::Server).and_then(|end| server::run(&end)))
}

/// `rats-tls-client`.
#[must_use]
pub fn rats_client() -> ExitCode {
    let flags = RatsClientFlags::parse();
    exit(flags.end().and_then(|end| client::run(&end)))
}

/// `enclave-tls-server`.
#[must_use]
pub fn enclave_server() -> ExitCode {
    let flags = EnclaveFlags::parse();
    exit(flags.end(Role::Server).and_then(|end| server::run(&end)))
}

/// `enclave-tls-client`.
#[must_use]
pub fn enclave_client() -> ExitCode {
    let flags = EnclaveFlags::parse();
    exit(flags.end(Role::Client).and_then(|end| client::run(&end)))
}

fn exit(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.code())
        }
    }
}
