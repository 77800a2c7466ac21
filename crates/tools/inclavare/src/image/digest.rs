//! `inclavare image digest`

use super::open;
use crate::args::Digest;
use crate::failure::Failure;
use crate::progress::Bar;
use convert::hash::Pool;
use convert::layer::Limits;

pub(crate) fn run(arguments: &Digest, bar: Bar) -> Result<(), Failure> {
    let root = open(&arguments.source)?.root(None, Limits::default(), Pool::default(), &bar)?;
    drop(bar);
    println!("{}", root.blob.tree.digest);
    Ok(())
}
