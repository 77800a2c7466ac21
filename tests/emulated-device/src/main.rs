//! `emulated-device`: serves the device in a directory until it is stopped.
#![forbid(unsafe_code)]

use clap::Parser;
use emulated_device::Enclave;
use std::path::PathBuf;
use std::process::ExitCode;

/// Evidence of an emulated platform, without an enclave: for trying attested sessions.
#[derive(Parser)]
struct Arguments {
    /// Where the device and what the other side needs is put.
    #[arg(long)]
    directory: PathBuf,
    /// Number of the CPU: others are other platforms under the same root.
    #[arg(long, default_value_t = 1)]
    cpu: u8,
    /// MRENCLAVE that the evidence says.
    #[arg(
        long,
        default_value = "1111111111111111111111111111111111111111111111111111111111111111"
    )]
    mrenclave: String,
    /// A debug enclave.
    #[arg(long)]
    debug: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mrenclave = match attestation::hex::array::<32>(&arguments.mrenclave) {
        Ok(mrenclave) => mrenclave,
        Err(error) => {
            eprintln!("emulated-device: mrenclave: {error}");
            return ExitCode::from(2);
        }
    };
    let mut enclave = Enclave::new(arguments.cpu, mrenclave);
    if arguments.debug {
        enclave = enclave.debug();
    }
    if let Err(error) = enclave.serve(&arguments.directory) {
        eprintln!("emulated-device: {}: {error}", arguments.directory.display());
        return ExitCode::FAILURE;
    }
    println!("EMULATED evidence in {}", arguments.directory.display());
    loop {
        std::thread::park();
    }
}
