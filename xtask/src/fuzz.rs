//! `cargo xtask fuzz`: every target by coverage, with cargo-fuzz.
//!
//! Without it, `cargo xtask test` runs the same targets on mutations of their seeds.

use crate::run::{Result, cargo, output, pass, root};
use clap::Args;
use std::path::Path;
use std::time::Duration;

/// What to fuzz, and for how long.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Which targets; all if none is named
    targets: Vec<String>,
    /// For how long in all, shared equally between the targets
    #[arg(long, default_value_t = 60, value_name = "MINUTES")]
    minutes: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    // cargo-fuzz asks for flags of the compiler that only a nightly takes; this makes the pinned one take
    // them, so that what is fuzzed is compiled by what compiles the product.
    let with_unstable_flags = |words: &[&str]| {
        let mut command = cargo();
        command.args(words).env("RUSTC_BOOTSTRAP", "1");
        command
    };
    output(&mut with_unstable_flags(&["fuzz", "--version"])).map_err(|error| {
        format!("cargo-fuzz is needed (cargo install cargo-fuzz --locked): {error}")
    })?;
    let listed = output(&mut with_unstable_flags(&["fuzz", "list", "--fuzz-dir", "fuzz"]))?;
    let listed: Vec<&str> = listed.lines().collect();
    let targets: Vec<&str> = if arguments.targets.is_empty() {
        listed.clone()
    } else {
        arguments.targets.iter().map(String::as_str).collect()
    };
    if let Some(unknown) = targets.iter().find(|target| !listed.contains(target)) {
        return Err(format!("no target {unknown}; there are {}", listed.join(", ")));
    }
    let share = share(Duration::from_secs(60 * arguments.minutes), targets.len())?;

    pass(
        cargo().args(["run", "--quiet", "--locked", "--manifest-path", "fuzz/Cargo.toml"]).args([
            "-p",
            "targets",
            "--bin",
            "write-seeds",
        ]),
    )?;
    pass(&mut with_unstable_flags(&["fuzz", "build", "--fuzz-dir", "fuzz"]))?;
    let mut failed = Vec::new();
    for target in targets {
        println!("{target}: {} s", share.as_secs());
        let mut fuzz = with_unstable_flags(&["fuzz", "run", "--fuzz-dir", "fuzz", target, "--"]);
        fuzz.arg(format!("-max_total_time={}", share.as_secs()));
        // A target that hangs or swells has failed, as one that panics has.
        fuzz.args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"]);
        if let Err(error) = pass(&mut fuzz) {
            eprintln!("{target}: {error}");
            failed.push(target);
        }
    }
    if failed.is_empty() {
        println!("no finding");
        return Ok(());
    }
    let findings = root().join("fuzz/artifacts");
    Err(format!("findings in {} ({})", failed.join(", "), Path::display(&findings)))
}

/// The time of one target, in whole seconds.
fn share(total: Duration, targets: usize) -> Result<Duration> {
    let targets = u32::try_from(targets).ok().filter(|&targets| targets > 0);
    let share = total / targets.ok_or("no target")?;
    if share < Duration::from_secs(1) {
        return Err(format!("{} s are less than a second for each target", total.as_secs()));
    }
    Ok(Duration::from_secs(share.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_shared_equally() {
        assert_eq!(share(Duration::from_secs(3600), 24), Ok(Duration::from_secs(150)));
        assert!(share(Duration::from_secs(60), 61).is_err());
        assert!(share(Duration::from_secs(60), 0).is_err());
    }
}
