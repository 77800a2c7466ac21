//! The images that the engines load.

use fixtures::{Image, Programs, write_docker_archive};
use std::path::{Path, PathBuf};

/// An archive of `busybox:test` in a directory.
///
/// # Panics
/// It cannot be made.
#[must_use]
pub fn busybox(directory: &Path) -> PathBuf {
    archive(directory, "busybox:test", &["sh"])
}

/// An archive of `pause:test`, whose process holds a pod: it sleeps, collects orphans and ends when asked to.
///
/// # Panics
/// It cannot be made.
#[must_use]
pub fn pause(directory: &Path) -> PathBuf {
    let script = "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait; done";
    archive(directory, "pause:test", &["sh", "-c", script])
}

/// busybox under a name, with a command.
fn archive(directory: &Path, name: &str, command: &[&str]) -> PathBuf {
    let tree = fixtures::busybox_tree().unwrap_or_else(|error| panic!("{error}"));
    let file = directory.join(name.replace(':', "-")).with_extension("tar");
    write_docker_archive(&Image::new(name, tree, command), &file)
        .unwrap_or_else(|error| panic!("{error}"));
    file
}

/// An archive of `busybox:enclave`, which carries its signed enclave, and its MRENCLAVE. The image's own command
/// is `sh`, the policy's another one.
///
/// # Panics
/// It cannot be made.
#[must_use]
pub fn enclave(directory: &Path, policy: &str) -> PathBuf {
    let place = fixtures::program_directory();
    let programs = Programs::new(&place, &directory.join("state"));
    let programs = programs.unwrap_or_else(|error| panic!("{error}"));
    let key = directory.join("key.pem");
    let packed = programs
        .new_key(&key)
        .and_then(|()| programs.packed(&busybox(directory), "busybox:enclave", policy, &key));
    packed.unwrap_or_else(|error| panic!("{error}"))
}
