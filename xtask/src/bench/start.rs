//! Start of a static program, from `rune run` to its end.

use super::figure::{Figure, Target, median};
use super::libos::{hello, timed};
use super::{Bench, text};
use crate::run::Result;
use fixtures::Image;

const RUNS: usize = 15;

pub(super) fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let image = Image::new("hello:bench", hello(&bench.scratch)?, &["/hello"]);
    let enclave = bench.bundle("hello-bundle", &image, "[enclave]\nsize = \"64M\"\n")?;
    let ordinary = enclave.ordinary(&bench.scratch.join("hello-ordinary")).map_err(text)?;
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        ours.push(timed(&mut enclave.run_command())?);
        peers.push(timed(&mut ordinary.run_command())?);
    }
    Ok(vec![Figure {
        name: "start, static hello, 64 MiB enclave".to_owned(),
        unit: "ms",
        ours: median(ours),
        peer: median(peers),
        peer_name: "rune, ordinary container".to_owned(),
        target: Target::RatioAtMost(3.0),
    }])
}
