//! Measuring against what OpenSSL hashes on the same cores.

use super::figure::{Figure, Target};
use super::{Bench, text};
use crate::run::{Result, cargo, output};
use fixtures::checked;
use std::io::Write;
use std::process::Command;
use std::time::Instant;

/// Size of the tree to digest, in bytes, and of its files.
const TREE_BYTES: u64 = 1 << 30;
const FILE_BYTES: u64 = 4 << 20;

pub(super) fn run(bench: &Bench) -> Result<Vec<Figure>> {
    Ok(vec![enclave()?, tree(bench)?])
}

/// 256 MiB of fully extended pages, on one core.
fn enclave() -> Result<Figure> {
    let lines =
        output(cargo().args(["bench", "--quiet", "--locked", "-p", "sgx", "--bench", "measure"]))?;
    let ours = lines
        .lines()
        .find_map(|line| line.strip_prefix("measure with ring: ")?.strip_suffix(" MB/s"))
        .and_then(|figure| figure.parse().ok())
        .ok_or_else(|| format!("the bench of sgx printed {lines:?}"))?;
    Ok(Figure {
        name: "measure 256 MiB".to_owned(),
        unit: "MB/s",
        ours,
        peer: openssl(1)?,
        peer_name: "openssl sha256, 1 core".to_owned(),
        target: Target::RatioAtLeast(0.65),
    })
}

/// The digest of an unpacked tree, on all cores.
fn tree(bench: &Bench) -> Result<Figure> {
    let directory = bench.scratch.join("tree");
    let failed = |error| format!("write {}: {error}", directory.display());
    std::fs::create_dir_all(&directory).map_err(failed)?;
    let mut block = vec![0_u8; 1 << 16];
    for index in 0..TREE_BYTES / FILE_BYTES {
        let mut file = std::fs::File::create(directory.join(index.to_string())).map_err(failed)?;
        for part in 0..FILE_BYTES >> 16 {
            block[..16].copy_from_slice(&u128::from(index << 32 | part).to_le_bytes());
            file.write_all(&block).map_err(failed)?;
        }
    }
    let digest = || {
        let start = Instant::now();
        checked(bench.programs.inclavare().args(["image", "digest"]).arg(&directory))
            .map_err(text)?;
        Ok::<_, String>(TREE_BYTES as f64 / 1e6 / start.elapsed().as_secs_f64())
    };
    digest()?; // the page cache is warm from here on
    let (mut ours, mut peer) = (0.0_f64, 0.0_f64);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for _ in 0..3 {
        ours = ours.max(digest()?);
        peer = peer.max(openssl(cores)?);
    }
    std::fs::remove_dir_all(&directory).map_err(failed)?;
    Ok(Figure {
        name: "root digest of 1 GiB".to_owned(),
        unit: "MB/s",
        ours,
        peer,
        peer_name: format!("openssl sha256, {cores} cores"),
        target: Target::RatioAtLeast(0.7),
    })
}

/// `openssl speed -evp sha256` on blocks of 16 KiB, in MB/s.
fn openssl(cores: usize) -> Result<f64> {
    let mut command = Command::new("openssl");
    command.args(["speed", "-evp", "sha256", "-seconds", "2", "-bytes", "16384", "-mr"]);
    if cores > 1 {
        command.args(["-multi", &cores.to_string()]);
    }
    let lines = output(&mut command)?;
    lines
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("+F:")?.rsplit(':').next()?.parse::<f64>().ok())
        .map(|bytes| bytes / 1e6)
        .ok_or_else(|| format!("openssl speed printed {lines:?}"))
}
