//! `update`: changes a running container's limits.

use super::Command;
use crate::args::{Args, End, Opt, value};
use crate::failure::{Failure, Outcome};
use crate::global::Globals;
use container::spec::resources::{BlockIo, Cpu, Memory, Pids};
use container::spec::{Resources, parse_json, read_limited};
use container::state::{Directory, Status};
use std::io::Read;
use std::path::Path;

const OPTIONS: [Opt; 14] = [
    value("resources", Some('r'), "file with linux.resources, - for standard input"),
    value("blkio-weight", None, "10 to 1000"),
    value("cpu-period", None, "microseconds"),
    value("cpu-quota", None, "microseconds per period"),
    value("cpu-share", None, "relative weight"),
    value("cpu-rt-period", None, "microseconds"),
    value("cpu-rt-runtime", None, "microseconds"),
    value("cpuset-cpus", None, "list of processors"),
    value("cpuset-mems", None, "list of memory nodes"),
    value("kernel-memory", None, "ignored: kernels have none any more"),
    value("memory", None, "bytes"),
    value("memory-reservation", None, "bytes"),
    value("memory-swap", None, "bytes of memory and swap, -1 for no limit"),
    value("pids-limit", None, "number of tasks"),
];

pub(crate) const COMMAND: Command = Command {
    name: "update",
    usage: "[options] ID",
    about: "change limits of a container",
    options: &OPTIONS,
    end: End::Never,
    enters_container: false,
    run,
};

fn run(globals: &Globals, args: &Args) -> Outcome {
    let directory = Directory::open(&globals.root, args.only_word()?)?;
    let state = directory.state()?;
    let status = directory.status(&state);
    if !matches!(status, Status::Created | Status::Running | Status::Paused) {
        let (id, got) = (&state.id, status.name());
        return Err(Failure::new(format!("cannot update container {id:?}: it is {got}")));
    }
    state.cgroups.set(&resources(args)?, false)?;
    Ok(0)
}

fn resources(args: &Args) -> Result<Resources, Failure> {
    match args.get("resources") {
        Some("-") => {
            let mut text = Vec::new();
            std::io::stdin().lock().read_to_end(&mut text)?;
            return Ok(parse_json(Path::new("standard input"), &text)?);
        }
        Some(file) => return Ok(parse_json(Path::new(file), &read_limited(Path::new(file))?)?),
        None => {}
    }
    let bytes = |name: &str| -> Result<Option<i64>, Failure> {
        let Some(text) = args.get(name) else { return Ok(None) };
        match parse_bytes(text) {
            Some(v) => Ok(Some(v)),
            None => {
                Err(Failure::new(format!("--{name}: expected bytes such as 512m, got {text:?}")))
            }
        }
    };
    Ok(Resources {
        memory: Some(Memory {
            limit: bytes("memory")?,
            reservation: bytes("memory-reservation")?,
            swap: bytes("memory-swap")?,
            ..Memory::default()
        }),
        cpu: Some(Cpu {
            shares: args.number("cpu-share")?,
            quota: args.number("cpu-quota")?,
            period: args.number("cpu-period")?,
            realtime_period: args.number("cpu-rt-period")?,
            realtime_runtime: args.number("cpu-rt-runtime")?,
            cpus: args.get("cpuset-cpus").map(str::to_owned),
            mems: args.get("cpuset-mems").map(str::to_owned),
            ..Cpu::default()
        }),
        pids: Some(Pids { limit: args.number("pids-limit")? }),
        block_io: Some(BlockIo { weight: args.number("blkio-weight")?, ..BlockIo::default() }),
        ..Resources::default()
    })
}

/// A number with an optional unit: k, m, g, t, each 1024 times the one before.
fn parse_bytes(text: &str) -> Option<i64> {
    let lower = text.to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let lower = lower.strip_suffix('i').unwrap_or(lower);
    let (digits, shift) = match lower.as_bytes().last()? {
        b'k' => (&lower[..lower.len() - 1], 10),
        b'm' => (&lower[..lower.len() - 1], 20),
        b'g' => (&lower[..lower.len() - 1], 30),
        b't' => (&lower[..lower.len() - 1], 40),
        _ => (lower, 0),
    };
    let value: i64 = digits.parse().ok()?;
    if value < 0 {
        return (value == -1 && shift == 0).then_some(-1);
    }
    value.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_with_units() {
        for (text, bytes) in
            [("1024", 1024), ("2k", 2048), ("1M", 1 << 20), ("3GiB", 3 << 30), ("-1", -1)]
        {
            assert_eq!(parse_bytes(text), Some(bytes), "{text}");
        }
        for bad in ["", "k", "-2", "1x", "9999999999g"] {
            assert_eq!(parse_bytes(bad), None, "{bad}");
        }
    }
}
