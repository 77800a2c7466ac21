//! System calls, processes and a shell inside the enclave against the same file on Linux.

use super::figure::{Figure, Target, median};
use super::{Bench, text};
use crate::run::{Result, output, root};
use fixtures::{Image, Tree};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Alternating rounds; the best of each side counts for the micro-benchmark.
const ROUNDS: usize = 3;
/// Alternating runs of the shell.
const SHELL_RUNS: usize = 5;
const PIPELINES: &str = "i=0; while [ $i -lt 20 ]; do echo x | cat >/dev/null; i=$((i+1)); done";

pub(super) fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let mut figures = micro(bench)?;
    figures.push(shell(bench)?);
    Ok(figures)
}

fn micro(bench: &Bench) -> Result<Vec<Figure>> {
    let program = bench.scratch.join("micro-native");
    let source = root().join("tests/fixtures/programs/micro.c");
    output(Command::new("cc").args(["-O2", "-static", "-o"]).arg(&program).arg(source))?;
    let mut tree = Tree::skeleton();
    tree.copy_from("micro", &program).map_err(text)?;
    let bundle = bench.bundle("micro", &Image::new("micro:bench", tree, &["/micro"]), "")?;

    let (mut inside, mut native) = (BTreeMap::new(), BTreeMap::new());
    for _ in 0..ROUNDS {
        keep_best(&mut native, &output(&mut Command::new(&program))?)?;
        let outcome = bundle.run(b"").map_err(text)?;
        if outcome.code != 0 {
            return Err(format!("micro inside: exit code {}: {}", outcome.code, outcome.stderr));
        }
        keep_best(&mut inside, &outcome.stdout)?;
    }
    let figure = |name: &str, from: &str, unit, scale: f64, target| {
        let find = |side: &BTreeMap<String, f64>| {
            side.get(from).map(|ns| ns / scale).ok_or_else(|| format!("micro: no figure {from}"))
        };
        Ok(Figure {
            name: name.to_owned(),
            unit,
            ours: find(&inside)?,
            peer: find(&native)?,
            peer_name: "Linux".to_owned(),
            target,
        })
    };
    let patched = Target::RatioAtMost(0.35);
    [
        figure("getppid, patched", "getppid", "ns", 1.0, patched),
        figure("getppid, trapped", "getppid-trapped", "ns", 1.0, Target::None),
        figure("read /dev/zero, patched", "read-zero", "ns", 1.0, patched),
        figure("read /dev/zero, trapped", "read-zero-trapped", "ns", 1.0, Target::None),
        figure("TCP loopback, 1 byte there", "tcp-write-read", "ns", 1.0, Target::None),
        figure("TCP loopback, 64 KiB there", "tcp-64k", "us", 1e3, Target::None),
        figure("TCP loopback, ping-pong", "tcp-ping-pong", "us", 1e3, Target::None),
        figure("fork + wait", "fork-wait", "ms", 1e6, Target::AtMost(1.0)),
        figure("vfork + exec", "vfork-exec", "ms", 1e6, Target::AtMost(2.0)),
    ]
    .into_iter()
    .collect()
}

/// Reads lines "name nanoseconds" and keeps the least of each.
fn keep_best(best: &mut BTreeMap<String, f64>, lines: &str) -> Result<()> {
    for line in lines.lines() {
        let parsed = line.split_once(' ').and_then(|(name, ns)| Some((name, ns.parse().ok()?)));
        let (name, ns): (_, f64) = parsed.ok_or_else(|| format!("micro: a line {line:?}"))?;
        let least = best.entry(name.to_owned()).or_insert(ns);
        *least = least.min(ns);
    }
    Ok(())
}

/// The loop is timed by the shell's own clock inside, so that container start does not count.
fn shell(bench: &Bench) -> Result<Figure> {
    let tree = fixtures::busybox_tree().map_err(text)?;
    let busybox = bench.scratch.join("busybox");
    let root = fixtures::busybox_tree().map_err(text)?;
    let Some(fixtures::Entry::File(_, bytes)) = root.get("bin/busybox") else {
        return Err("the busybox tree has no bin/busybox".to_owned());
    };
    std::fs::write(&busybox, bytes).map_err(|error| format!("write busybox: {error}"))?;
    std::fs::set_permissions(&busybox, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .map_err(|error| format!("chmod busybox: {error}"))?;
    // Linked by hand: `cat` must be a program of its own on both sides.
    let links = bench.scratch.join("applets");
    std::fs::create_dir_all(&links).map_err(|error| format!("create applets: {error}"))?;
    std::os::unix::fs::symlink(&busybox, links.join("cat"))
        .map_err(|error| format!("link cat: {error}"))?;

    let bundle = |name: &str, script: &str| {
        let image = Image::new("busybox:bench", tree.clone(), &["sh", "-c", script]);
        bench.bundle(name, &image, "")
    };
    let full = bundle("shell", PIPELINES)?;
    let empty = bundle("shell-empty", ":")?;
    let native = |script: &str| {
        timed(Command::new(&busybox).args(["sh", "-c", script]).env_clear().env("PATH", &links))
    };
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..SHELL_RUNS {
        // Less the same without the loop: start-up is another figure.
        ours.push(timed(&mut full.run_command())? - timed(&mut empty.run_command())?);
        peers.push(native(PIPELINES)? - native(":")?);
    }
    Ok(Figure {
        name: "sh -c, 20 x (echo | cat)".to_owned(),
        unit: "ms",
        ours: median(ours),
        peer: median(peers),
        peer_name: "Linux".to_owned(),
        target: Target::RatioAtMost(3.0),
    })
}

/// Wall time of a command in ms.
pub(super) fn timed(command: &mut Command) -> Result<f64> {
    let start = Instant::now();
    output(command.stdin(std::process::Stdio::null()))?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// A static program that writes a line and ends.
pub(super) fn hello(directory: &Path) -> Result<Tree> {
    let (source, program) = (directory.join("hello.c"), directory.join("hello"));
    std::fs::write(
        &source,
        "#include <unistd.h>\nint main(void) { return write(1, \"hello\\n\", 6) != 6; }\n",
    )
    .map_err(|error| format!("write {}: {error}", source.display()))?;
    output(Command::new("cc").args(["-O2", "-static", "-o"]).arg(&program).arg(&source))?;
    let mut tree = Tree::skeleton();
    tree.copy_from("hello", &program).map_err(text)?;
    Ok(tree)
}
