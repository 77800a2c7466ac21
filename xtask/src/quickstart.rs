//! `cargo xtask quickstart`: the main job, shown step by step.

use crate::run::{Result, cargo, pass, programs, root};
use clap::Args;
use fixtures::{Bundle, Image, Programs, checked};
use serde_json::Value;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// What to leave out.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Where images, bundles and the key go
    #[arg(long, default_value = "target/quickstart")]
    directory: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let directory = root().join(&arguments.directory);
    let mut steps = Steps { number: 0 };
    steps.run("build rune and inclavare (release)", || {
        pass(cargo().args(["build", "--locked", "--release", "-p", "rune", "-p", "inclavare"]))
    })?;
    if directory.exists() {
        std::fs::remove_dir_all(&directory)
            .map_err(|error| format!("remove {}: {error}", directory.display()))?;
    }
    std::fs::create_dir_all(&directory)
        .map_err(|error| format!("create {}: {error}", directory.display()))?;
    let programs = Programs::new(&programs("release"), &directory.join("state")).map_err(text)?;

    let (busybox, debian) = steps.run("make two images out of Debian's packages", || {
        let busybox = fixtures::busybox_tree().map_err(text)?;
        let debian = fixtures::debian_tree().map_err(text)?;
        for (name, tree) in [("busybox", &busybox), ("debian", &debian)] {
            eprintln!("  {name}: {} files, {} KiB", tree.iter().count(), tree.bytes() >> 10);
        }
        let busybox = Image::new("busybox:quickstart", busybox, &["sh", "-c", BUSYBOX_SCRIPT]);
        let debian = Image::new("debian:quickstart", debian, &["bash", "-c", DEBIAN_SCRIPT]);
        Ok((busybox, debian))
    })?;
    let key = directory.join("key.pem");
    steps.run("make a signing key (RSA-3072, e = 3)", || programs.new_key(&key).map_err(text))?;
    let bundles = steps.run("convert the images to enclave files, and sign them", || {
        let mut bundles = Vec::new();
        for (name, image) in [("busybox", &busybox), ("debian", &debian)] {
            let bundle = programs.bundle(image, "", &key, &directory.join(name)).map_err(text)?;
            print_identity(name, &bundle)?;
            bundles.push((name, bundle));
        }
        Ok(bundles)
    })?;
    if effective_user() != 0 {
        eprintln!(
            "skipped: running the containers and the refusal: rune needs root to make a container \
             here; run this command as root to see them"
        );
        return Ok(());
    }
    for (name, bundle) in &bundles {
        steps.run(&format!("run {name} in an enclave: rune run"), || {
            let outcome = bundle.run(b"").map_err(text)?;
            print_block(&outcome.stdout);
            print_block(&outcome.stderr);
            expect_code(&outcome.stderr, outcome.code, 0)
        })?;
    }
    let (_, busybox) = &bundles[0];
    steps.run("change one byte of busybox in the root file system, and run it again", || {
        flip_byte(&busybox.directory().join("rootfs/bin/busybox"))?;
        let outcome = busybox.run(b"").map_err(text)?;
        print_block(&outcome.stderr);
        if outcome.code == 0 {
            return Err("the changed program ran: expected a refusal, got exit code 0".to_owned());
        }
        eprintln!("  refused, exit code {}", outcome.code);
        Ok(())
    })?;
    attested(&mut steps, &directory)?;
    eprintln!(
        "\nThis machine ran it on the SGX emulator: the same enclave file and measurement as on"
    );
    eprintln!("hardware, and no protection at all. `emulated` says so wherever it matters.");
    Ok(())
}

/// The second half: who is elsewhere verifies a container, and whatever is not that container is refused.
fn attested(steps: &mut Steps, directory: &Path) -> Result<()> {
    steps.run("build shelter, inclavared and sgx-tools (release)", || {
        let packages = ["shelter", "inclavared", "sgx-tools", "hostile-relay", "attested"];
        let packages = packages.iter().flat_map(|it| ["-p", it]);
        pass(cargo().args(["build", "--locked", "--release"]).args(packages))
    })?;
    steps.run("verify a container whose host is not trusted", || {
        let programs = programs("release");
        let mut script = Command::new(programs.join("attested"));
        pass(script.arg(&programs).arg(directory.join("attested")))
    })
}

const BUSYBOX_SCRIPT: &str = "echo \"hello from an enclave: $(uname -sm)\"; \
     for word in one two three; do echo $word; done | sort | tr a-z A-Z; \
     grep -c . /etc/passwd; head -c 16 /dev/urandom | wc -c";
const DEBIAN_SCRIPT: &str = "echo \"bash $BASH_VERSION, pid $$\"; ls / | paste -sd' '; \
     find /usr/bin -name 'b*' -type f | sort | xargs sha256sum | head -2; \
     (sleep 0.1; echo background) & wait; tar -cf - /etc | tar -tf - | wc -l";

struct Steps {
    number: u32,
}

impl Steps {
    fn run<T>(&mut self, what: &str, body: impl FnOnce() -> Result<T>) -> Result<T> {
        self.number += 1;
        eprintln!("\n[{}] {what}", self.number);
        let start = Instant::now();
        let value = body()?;
        eprintln!("  {:.2} s", start.elapsed().as_secs_f64());
        Ok(value)
    }
}

fn print_identity(name: &str, bundle: &Bundle) -> Result<()> {
    let pack = bundle.directory().join("rootfs/.inclavare");
    let json = checked(bundle.programs().inclavare().arg("inspect").arg(&pack).arg("--json"))
        .map_err(text)?;
    let value: Value =
        serde_json::from_str(&json).map_err(|error| format!("inclavare inspect: {error}"))?;
    for (label, field) in
        [("MRENCLAVE", &value["mrenclave"]), ("MRSIGNER", &value["sigstruct"]["mrsigner"])]
    {
        let shown = field.as_str().ok_or_else(|| format!("inspect: no {label}: {json}"))?;
        eprintln!("  {name}: {label} {shown}");
    }
    Ok(())
}

fn print_block(block: &str) {
    for line in block.lines() {
        eprintln!("  | {line}");
    }
}

fn expect_code(stderr: &str, got: i32, expected: i32) -> Result<()> {
    if got == expected {
        return Ok(());
    }
    Err(format!("exit code: expected {expected}, got {got}: {}", stderr.trim_end()))
}

/// Flips a bit in the middle of a file, in place.
fn flip_byte(file: &Path) -> Result<()> {
    let failed = |error| format!("change {}: {error}", file.display());
    let mut bytes = std::fs::read(file).map_err(failed)?;
    // In the first page, which every start reads.
    bytes[0x200] ^= 1;
    std::fs::set_permissions(file, Permissions::from_mode(0o755)).map_err(failed)?;
    std::fs::write(file, bytes).map_err(failed)
}

fn effective_user() -> u32 {
    Path::new("/proc/self").metadata().map_or(u32::MAX, |metadata| metadata.uid())
}

fn text(error: fixtures::Error) -> String {
    error.to_string()
}
