//! A virtual machine with Debian's own kernel and this machine's files, for tests of what the host's kernel
//! or its cgroups lack: version 2 of cgroups with every controller, AppArmor, SELinux, sockets of vsock.
//!
//! Guarantees: a job sees the host's files at their own paths, read-only below a layer of its own, and `/machine`
//! ($TMPDIR) on an ext4 disk; it leaves nothing on the host. Neither root nor KVM is needed: the processor is emulated,
//! since hosts that are virtual machines themselves often offer a /dev/kvm that fails. Does not guarantee: speed (a
//! minute becomes some ten), the host's processor or devices.
//!
//! Needs Debian's packages qemu-system-x86, e2fsprogs and busybox-static; the kernel is fetched with
//! `apt-get download`.
#![forbid(unsafe_code)]

mod boot;
mod initrd;
mod systemd;

pub use systemd::{Manager, repeat_test_below};

use fixtures::Error;
use std::path::Path;
use std::time::Duration;

/// Set in the environment of every job.
const INSIDE: &str = "INCLAVARE_TEST_MACHINE";

/// The security module that decides besides capabilities. A kernel has one of these two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecurityModule {
    /// Debian's choice.
    AppArmor,
    /// Without a policy until a job loads one.
    Selinux,
}

/// How a job ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its exit code.
    pub code: i32,
    /// What it wrote, and what the kernel had to say, as lines.
    pub output: String,
}

/// Why no machine is started here, if so: the slow tests are not asked for, or what is missing and how to get it.
#[must_use]
pub fn obstacle() -> Option<String> {
    if is_inside() {
        return Some("this is the machine".into());
    }
    if std::env::var_os("INCLAVARE_TEST_ALL").is_none() {
        return Some("only with --all".into());
    }
    for (program, package) in [(boot::QEMU, "qemu-system-x86"), (boot::MKFS, "e2fsprogs")] {
        if !Path::new(program).exists() {
            return Some(format!(
                "no {program}: apt-get install --no-install-recommends {package}"
            ));
        }
    }
    None
}

/// Whether this process runs in such a machine.
#[must_use]
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs a shell script in a new machine to its end.
///
/// # Errors
/// The kernel cannot be had, the machine does not start, or the script does not end within `limit`.
pub fn run(module: SecurityModule, script: &str, limit: Duration) -> Result<Outcome, Error> {
    let kernel = boot::Kernel::fetch()?;
    let directory =
        tempfile::tempdir().map_err(|error| Error(format!("make a directory: {error}")))?;
    let job = format!("export {INSIDE}=1\n{script}\n");
    boot::run(&kernel, module, &job, directory.path(), limit)
}

/// Runs one test of the calling test program in a machine, with the slow ones asked for.
///
/// # Errors
/// As [`run`]; the test fails, or there is no such test.
pub fn repeat_test(module: SecurityModule, name: &str) -> Result<(), Error> {
    let program = std::env::current_exe().map_err(|error| Error(format!("own name: {error}")))?;
    let script = format!(
        "INCLAVARE_TEST_ALL=1 '{}' '{name}' --exact --nocapture --test-threads 1",
        program.display()
    );
    repeat_by(module, name, &script)
}

/// Runs a script that runs one test and ends as it does.
fn repeat_by(module: SecurityModule, name: &str, script: &str) -> Result<(), Error> {
    let outcome = run(module, script, Duration::from_secs(40 * 60))?;
    if outcome.code == 0 && outcome.output.contains("test result: ok. 1 passed") {
        return Ok(());
    }
    Err(Error(format!("{name} in the machine: exit code {}\n{}", outcome.code, outcome.output)))
}
