//! `inclavare image unpack`

use super::{open, report_skipped};
use crate::args::Unpack;
use crate::failure::Failure;
use crate::progress::Bar;
use convert::hash::Pool;
use convert::layer::Limits;

pub(crate) fn run(arguments: &Unpack, bar: Bar) -> Result<(), Failure> {
    let input = open(&arguments.source)?;
    let root = input.root(None, Limits::default(), Pool::default(), &bar)?;
    let skipped = convert::output::unpack(&input, &root, &arguments.output, &bar)?;
    drop(bar);
    report_skipped(skipped);
    println!("root      {}", root.blob.tree.digest);
    Ok(())
}
