//! `inclavare image convert`

use super::{open, report_skipped};
use crate::args::Convert;
use crate::failure::Failure;
use crate::progress::Bar;
use convert::output::{BundleOptions, write_bundle};
use convert::pack::{self, Pack};
use convert::{Conversion, Input, Options};
use serde_json::json;
use std::path::Path;
use workload::manifest::Source;

pub(crate) fn run(arguments: Convert, bar: Bar) -> Result<(), Failure> {
    let input = open(&arguments.source)?;
    let policy = arguments.overrides.clone().apply().map_err(|error| {
        // One that says what was read names the file already.
        match (&arguments.overrides.policy, error) {
            (Some(path), error @ convert::Error::Policy { .. }) => {
                Failure::Refused(format!("{}: {error}", path.display()))
            }
            (_, error) => error.into(),
        }
    })?;
    let options = Options { policy, progress: &bar, ..Options::default() };
    let conversion = convert::convert(&input, options)?;
    if let Some(directory) = &arguments.pack {
        pack::write(&conversion, directory)?;
    }
    if let Some(directory) = &arguments.bundle {
        bundle(&arguments, &input, &conversion, directory, &bar)?;
    }
    drop(bar);
    report(&arguments, &conversion);
    Ok(())
}

fn bundle(
    arguments: &Convert,
    input: &Input,
    conversion: &Conversion,
    directory: &Path,
    bar: &Bar,
) -> Result<(), Failure> {
    let scratch = tempfile::tempdir()
        .map_err(|error| Failure::System(format!("make a temporary directory: {error}")))?;
    let place = scratch.path().join("pack");
    pack::write(conversion, &place)?;
    let pack = Pack::open(&place)?;
    let options = BundleOptions { terminal: arguments.overrides.tty };
    let skipped = write_bundle(input, &conversion.root, &pack, options, directory, bar)?;
    report_skipped(skipped);
    Ok(())
}

fn report(arguments: &Convert, conversion: &Conversion) {
    let manifest = &conversion.manifest;
    let mrenclave = conversion.enclave.mrenclave;
    let root = manifest.root.digest;
    if arguments.json {
        let result = json!({
            "mrenclave": mrenclave,
            "root": root,
            "source": manifest.root.source,
            "runtime_version": manifest.runtime_version,
            "enclave_size": manifest.enclave.size,
            "debug": manifest.debug,
            "pack": arguments.pack,
            "bundle": arguments.bundle,
        });
        println!("{result}");
        return;
    }
    println!("mrenclave {mrenclave}");
    println!("root      {root}");
    if manifest.root.source == Source::Directory {
        println!("source    a directory: not recomputable from a reference");
    }
    if manifest.debug {
        println!("debug     the host can read this enclave's memory");
    }
}
