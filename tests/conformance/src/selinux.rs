//! SELinux's policy for the cases that need one.
//!
//! A policy is the machine's, not a process's, so it is loaded in a machine of the tests' own alone: there
//! SELinux is enforced from the first case that asks. It needs checkpolicy (package checkpolicy).

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// Of everything until something else is said.
pub(crate) const BASE: &str = "base_u:base_r:base_t";
/// Of containers.
pub(crate) const CONTAINER: &str = "base_u:base_r:container_t";
/// Of files that containers may not read.
pub(crate) const SECRET: &str = "base_u:base_r:secret_t";

const COMPILER: &str = "/usr/bin/checkpolicy";
const FILES: &str = "/sys/fs/selinux";

/// Whether the kernel gives labels.
pub(crate) fn is_there() -> bool {
    Path::new(FILES).join("enforce").exists()
}

/// Whether [`BASE`] and the others are known here and enforced; false where no policy may be loaded.
pub(crate) fn is_enforced() -> Result<bool, String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    if !is_there() || !machine::is_inside() {
        return Ok(false);
    }
    LOADED.get_or_init(load).clone().map(|()| true)
}

fn load() -> Result<(), String> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: std::io::Error| format!("{what}: {error}")
    };
    let directory = tempfile::tempdir().map_err(failed("temporary directory"))?;
    let (source, policy) = (directory.path().join("policy.conf"), directory.path().join("policy"));
    std::fs::write(&source, include_str!("../data/selinux.conf")).map_err(failed("policy.conf"))?;
    let mut compiler = Command::new(COMPILER);
    let compiler = compiler.args(["-U", "allow", "-o"]).arg(&policy).arg(&source);
    let output = compiler.output().map_err(failed(COMPILER))?;
    if !output.status.success() {
        return Err(format!("{COMPILER}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    // One write: the kernel takes a whole policy.
    let policy = std::fs::read(&policy).map_err(failed("policy"))?;
    for (file, content) in [("load", policy.as_slice()), ("enforce", b"1")] {
        let file = Path::new(FILES).join(file);
        std::fs::write(&file, content).map_err(failed(&file.display().to_string()))?;
    }
    Ok(())
}
