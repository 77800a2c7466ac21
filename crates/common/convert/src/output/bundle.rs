//! An OCI bundle: config.json, the root file system and the pack in it, for `rune run -b DIR id`.

use super::unpack::{Skipped, unpack};
use crate::conversion::Input;
use crate::error::Error;
use crate::pack::{FILES, Pack};
use crate::progress::Progress;
use crate::root::Root;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use workload::manifest::{ArgvRule, Availability, EnvRule, Manifest};

/// What a bundle asks for beyond the manifest.
#[derive(Clone, Copy, Debug, Default)]
pub struct BundleOptions {
    /// A terminal, where the manifest allows one.
    pub terminal: bool,
}

/// Writes a bundle to `directory`, which does not exist or is empty. On failure nothing stays.
///
/// # Errors
/// The directory is in use, or something cannot be read or written.
pub fn write_bundle(
    input: &Input,
    root: &Root,
    pack: &Pack,
    options: BundleOptions,
    directory: &Path,
    progress: &dyn Progress,
) -> Result<Skipped, Error> {
    let what = || format!("make {}", directory.display());
    if pack.manifest.root.digest != root.blob.tree.digest {
        return Err(Error::Pack {
            part: "root digest",
            expected: pack.manifest.root.digest.to_string(),
            got: root.blob.tree.digest.to_string(),
        });
    }
    let is_new = match fs::create_dir(directory) {
        Ok(()) => true,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(Error::io(what())(error)),
    };
    if fs::read_dir(directory).map_err(Error::io(what()))?.next().is_some() {
        return Err(Error::Directory {
            path: directory.into(),
            expected: "a new or empty directory",
            got: "files in it".into(),
        });
    }
    let written = fill(input, root, pack, options, directory, progress);
    if written.is_err() {
        let _ = fs::remove_dir_all(directory.join("rootfs"));
        let _ = fs::remove_file(directory.join("config.json"));
        if is_new {
            let _ = fs::remove_dir(directory);
        }
    }
    written
}

fn fill(
    input: &Input,
    root: &Root,
    pack: &Pack,
    options: BundleOptions,
    directory: &Path,
    progress: &dyn Progress,
) -> Result<Skipped, Error> {
    let rootfs = directory.join("rootfs");
    let skipped = unpack(input, root, &rootfs, progress)?;
    let reserved = rootfs.join(".inclavare");
    let copying = || Error::io(format!("copy the pack to {}", reserved.display()));
    // Where the tree has an attester the directory is there.
    fs::create_dir_all(&reserved).map_err(copying())?;
    for name in FILES {
        let source = pack.directory.join(name);
        if source.exists() {
            fs::copy(source, reserved.join(name)).map_err(copying())?;
        }
    }
    let mut text = serde_json::to_vec_pretty(&config(&pack.manifest, options))
        .expect("a value has no failing part");
    text.push(b'\n');
    let path = directory.join("config.json");
    fs::write(&path, text).map_err(Error::io(format!("write {}", path.display())))?;
    Ok(skipped)
}

/// The OCI configuration that asks for exactly what the manifest allows.
fn config(manifest: &Manifest, options: BundleOptions) -> Value {
    let process = &manifest.process;
    let argv = match &process.argv {
        ArgvRule::Exact(argv) | ArgvRule::Prefix { argv, .. } => argv,
    };
    let env = process.env.iter().filter_map(|(name, rule)| match rule {
        EnvRule::Exact(value) => Some(format!("{name}={value}")),
        _ => None,
    });
    let env: Vec<String> = env.collect();
    let terminal = options.terminal && process.tty == Availability::Allowed;
    let capabilities = [
        "CAP_AUDIT_WRITE",
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_KILL",
        "CAP_MKNOD",
        "CAP_NET_BIND_SERVICE",
        "CAP_NET_RAW",
        "CAP_SETFCAP",
        "CAP_SETGID",
        "CAP_SETPCAP",
        "CAP_SETUID",
        "CAP_SYS_CHROOT",
    ];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": terminal,
            "user": {
                "uid": process.user.uid,
                "gid": process.user.gid,
                "additionalGids": process.user.additional_gids,
            },
            "args": argv,
            "env": env,
            "cwd": process.cwd,
            "capabilities": {
                "bounding": capabilities,
                "effective": capabilities,
                "permitted": capabilities,
            },
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "enclave",
        "mounts": mounts(),
        "annotations": { "enclave.type": "intelSgx" },
        "linux": {
            "namespaces": [
                { "type": "pid" },
                { "type": "network" },
                { "type": "ipc" },
                { "type": "uts" },
                { "type": "mount" },
            ],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                "/proc/sched_debug", "/proc/scsi", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

/// What the runtime's host process needs; inside, the library OS has its own.
fn mounts() -> Value {
    json!([
        { "destination": "/proc", "type": "proc", "source": "proc" },
        { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
          "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
        { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
          "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] },
        { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
          "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
        { "destination": "/sys", "type": "sysfs", "source": "sysfs",
          "options": ["nosuid", "noexec", "nodev", "ro"] },
    ])
}
