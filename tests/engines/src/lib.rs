//! rune below real engines: Docker, containerd and podman, as an administrator sets them up.
//!
//! Slow, and it needs root and Debian's packages: run by `cargo xtask test --all`, which sets
//! `INCLAVARE_TEST_ALL`. What is missing is installed where no systemd runs (a container, a build machine); else
//! the suite says what it skips and what to install. Debian 13's Docker and containerd are unpacked beside,
//! under `target/`, and never installed.
//!
//! Each engine runs on a [`Host`] of its own: namespaces with empty `/run` and `/var/lib`, and cgroups that go
//! with it, so that nothing of the machine is touched and tests do not meet.
//!
//! | test | covers |
//! |---|---|
//! | `docker` | run, exec, logs, stop, restart policies, limits and OOM, volumes, published ports, `--init`, networks of several containers, users and rights, build, restart of the daemon |
//! | `containerd` | runc's shim with `BinaryName`: run, exec, pause, metrics, kill, limits |
//! | `cri` | containerd as a kubelet asks it, rune as the handler: pods and containers from creation to removal, exec, logs, shared namespaces, limits and OOM, rights, restart of the daemon |
//! | `podman` | run, exec, logs, stop, restart, OOM, volumes, ports, `--init`, pods |
//! | `enclaves` | an image that carries its signed enclave, through all of them |
//!
//! Not covered: a kubelet itself, systemd's cgroup manager, rootless engines.
#![forbid(unsafe_code)]

mod containerd;
mod cri;
mod docker;
mod host;
mod image;
mod packages;
mod podman;

pub use containerd::Containerd;
pub use cri::{Cri, Shared, Status, Wish};
pub use docker::Docker;
pub use host::Host;
pub use image::{busybox, enclave, pause};
pub use packages::{Release, obstacle};
pub use podman::Podman;

use fixtures::Outcome;

/// One behaviour of one engine.
pub struct Case<E> {
    /// Its name.
    pub name: &'static str,
    /// Runs it. What it leaves running is removed after it.
    pub run: fn(&E) -> Result<(), String>,
}

/// A list of cases named as their functions.
#[macro_export]
macro_rules! cases {
    ($engine:ty: $($name:ident),+ $(,)?) => {
        &[$($crate::Case::<$engine> { name: stringify!($name), run: $name }),+]
    };
}

/// Runs all cases and fails with those that fail. `CONFORMANCE_CASE` picks those whose names hold it.
///
/// # Panics
/// A case fails.
pub fn check<E>(engine: &E, cases: &[Case<E>], clean: impl Fn(&E)) {
    let only = std::env::var("CONFORMANCE_CASE").unwrap_or_default();
    let mut failed = Vec::new();
    for case in cases.iter().filter(|case| case.name.contains(&only)) {
        if let Err(error) = (case.run)(engine) {
            failed.push(format!("{}: {error}", case.name));
        }
        clean(engine);
    }
    assert!(failed.is_empty(), "{} cases failed:\n{}", failed.len(), failed.join("\n"));
}

/// What an outcome has to be.
pub trait Expect {
    /// The trimmed standard output, if the exit code is this one.
    ///
    /// # Errors
    /// Another code, with all that was said.
    fn expect(&self, code: i32) -> Result<String, String>;

    /// As [`expect`](Self::expect), and the output is this.
    ///
    /// # Errors
    /// Another code or output.
    fn expect_output(&self, code: i32, output: &str) -> Result<(), String>;
}

impl Expect for Outcome {
    fn expect(&self, code: i32) -> Result<String, String> {
        if self.code == code {
            return Ok(self.stdout.trim().to_owned());
        }
        let said = format!("{}{}", self.stdout, self.stderr);
        Err(format!("exit code: expected {code}, got {}: {}", self.code, said.trim_end()))
    }

    fn expect_output(&self, code: i32, output: &str) -> Result<(), String> {
        let got = self.expect(code)?;
        if got == output {
            return Ok(());
        }
        Err(format!("output: expected {output:?}, got {got:?} ({})", self.stderr.trim_end()))
    }
}

/// Repeats a question until its answer is the expected one.
///
/// # Errors
/// It is not, for 20 seconds.
pub fn eventually(expected: &str, ask: impl Fn() -> String) -> Result<(), String> {
    let mut got = String::new();
    for _ in 0..100 {
        got = ask();
        if got == expected {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    Err(format!("expected {expected:?} in the end, got {got:?}"))
}

/// Fails a case whose text lacks a part.
///
/// # Errors
/// It does.
pub fn holds(text: &str, part: &str) -> Result<(), String> {
    if text.contains(part) { Ok(()) } else { Err(format!("expected {part:?} in {text:?}")) }
}
