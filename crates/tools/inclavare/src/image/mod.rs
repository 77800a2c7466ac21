//! `inclavare image`

mod convert;
mod digest;
mod pack;
mod unpack;

use crate::args::{Image, Source};
use crate::failure::Failure;
use crate::progress::Bar;
use ::convert::Input;
use ::convert::output::Skipped;

pub(crate) fn run(command: Image, is_quiet: bool) -> Result<(), Failure> {
    let bar = Bar::new(is_quiet);
    match command {
        Image::Convert(arguments) => convert::run(arguments, bar),
        Image::Pack(arguments) => pack::run(&arguments, bar),
        Image::Unpack(arguments) => unpack::run(&arguments, bar),
        Image::Digest(arguments) => digest::run(&arguments, bar),
    }
}

fn open(source: &Source) -> Result<Input, Failure> {
    Ok(Input::open(&source.image, source.reference.as_deref())?)
}

/// Says what an unprivileged user could not write.
fn report_skipped(skipped: Skipped) {
    let Skipped { devices, owners, xattrs } = skipped;
    for (count, what) in [(devices, "devices"), (owners, "owners"), (xattrs, "extended attributes")]
    {
        if count > 0 {
            eprintln!(
                "inclavare: left out {count} {what}, which this user may not write; inside the enclave they \
                 are there"
            );
        }
    }
}
