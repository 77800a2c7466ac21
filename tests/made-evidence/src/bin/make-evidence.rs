//! Writes SNP evidence made here to a directory: report, certificates and CRL, to try programs on.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use made_evidence::snp::{NOW, Setup};

const USAGE: &str = "usage: make-evidence vcek|vlek Milan|Genoa|Turin 2|3|4|5 DIRECTORY";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, product, version, directory] = arguments.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let Some(setup) = setup(kind, product, version) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match write(&setup, Path::new(directory)) {
        Ok(()) => {
            println!("made here, valid at {NOW}, under a root that nobody trusts: {directory}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("make-evidence: {directory}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn setup(kind: &str, product: &str, version: &str) -> Option<Setup> {
    let product = ["Milan", "Genoa", "Turin"].into_iter().find(|name| *name == product)?;
    let version = version.parse().ok().filter(|version| (2..=5).contains(version))?;
    match kind {
        "vcek" => Some(Setup::vcek(product, version)),
        "vlek" => Some(Setup::vlek(product, version)),
        _ => None,
    }
}

fn write(setup: &Setup, directory: &Path) -> std::io::Result<()> {
    fs::create_dir_all(directory)?;
    let made = setup.make();
    for (name, bytes) in [
        ("report.bin", made.report),
        ("key.der", made.vek),
        ("authority.der", made.ask),
        ("root.der", made.ark),
        ("crl.der", made.crl),
    ] {
        fs::write(directory.join(name), bytes)?;
    }
    Ok(())
}
