//! `cargo xtask bench`: figures against a named peer, paired in one run.
//!
//! The machine is shared: absolute times mean little, ratios of figures taken alternately mean something.
//! Emulator figures leave out what only hardware pays: EAUG, EACCEPT, and the cost of leaving an enclave.

mod attestation;
mod figure;
mod inclavared;
mod libos;
mod measure;
mod oci;
mod session;
mod start;

use crate::run::{Result, cargo, pass, programs, root};
use clap::{Args, ValueEnum};
use figure::Figure;
use fixtures::{Bundle, Image, Programs};
use std::path::PathBuf;

/// What to measure, and how to print it.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Which figures; all if none is named
    names: Vec<Name>,
    /// A line of JSON per figure
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// System calls, fork, exec and a shell's pipelines, inside and native
    Libos,
    /// Start of a static program as an enclave and as an ordinary container
    Start,
    /// Measuring an enclave, and the digest of a root file system
    Measure,
    /// Verifying a quote, with nothing, collateral, or the platform verified before
    Attestation,
    /// An attested session against plain TLS: handshake, bulk data, memory
    Session,
    /// Relaying attested sessions, against haproxy with splicing
    Inclavared,
    /// create, start, delete and run of ordinary containers, against crun and runc
    Oci,
}

/// What every benchmark needs.
struct Bench {
    programs: Programs,
    /// Emptied at start.
    scratch: PathBuf,
}

impl Bench {
    /// Converts and signs an image into a bundle of this name.
    fn bundle(&self, name: &str, image: &Image, policy: &str) -> Result<Bundle> {
        let key = self.scratch.join("key.pem");
        if !key.exists() {
            self.programs.new_key(&key).map_err(text)?;
        }
        self.programs.bundle(image, policy, &key, &self.scratch.join(name)).map_err(text)
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let names =
        if arguments.names.is_empty() { Name::value_variants() } else { &arguments.names[..] };
    let print = |figures: Vec<Figure>| figures.iter().for_each(|it| it.print(arguments.json));
    let mut bench = None;
    for name in names {
        match name {
            Name::Libos => print(libos::run(shipped(&mut bench)?)?),
            Name::Start => print(start::run(shipped(&mut bench)?)?),
            Name::Measure => print(measure::run(shipped(&mut bench)?)?),
            Name::Attestation => print(attestation::run()?),
            Name::Session => print(session::run()?),
            Name::Inclavared => print(inclavared::run()?),
            Name::Oci => oci::run(arguments.json)?,
        }
    }
    Ok(())
}

/// The programs as they are shipped, for the benchmarks that run them; built once.
fn shipped(bench: &mut Option<Bench>) -> Result<&Bench> {
    if bench.is_none() {
        *bench = Some(build()?);
    }
    Ok(bench.as_ref().expect("made above"))
}

fn build() -> Result<Bench> {
    let packages = ["-p", "rune", "-p", "inclavare"];
    pass(cargo().args(["build", "--locked", "--profile", "dist"]).args(packages))?;
    let scratch = root().join("target/bench");
    if scratch.exists() {
        std::fs::remove_dir_all(&scratch)
            .map_err(|error| format!("remove {}: {error}", scratch.display()))?;
    }
    std::fs::create_dir_all(&scratch)
        .map_err(|error| format!("create {}: {error}", scratch.display()))?;
    let programs = Programs::new(&programs("dist"), &scratch.join("state")).map_err(text)?;
    Ok(Bench { programs, scratch })
}

fn text(error: fixtures::Error) -> String {
    error.to_string()
}
