//! `attested PROGRAMS DIRECTORY`: runs the script, and prints its lines.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let paths: Vec<_> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [programs, directory] = &paths[..] else {
        eprintln!("usage: attested PROGRAMS DIRECTORY");
        return ExitCode::from(2);
    };
    match attested::run(programs, directory, &mut |line| eprintln!("  {line}")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("attested: {failure}");
            ExitCode::FAILURE
        }
    }
}
