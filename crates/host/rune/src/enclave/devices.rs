//! SGX devices of the host.

use container::Spec;
use container::spec::LinuxDevice;
use container::spec::resources::DeviceRule;
use rustix::fs::{FileType, major, minor};
use std::path::Path;

/// Names under which the kernel and older drivers offer SGX.
const DEVICES: [&str; 6] = [
    "/dev/sgx_enclave",
    "/dev/sgx/enclave",
    "/dev/sgx_provision",
    "/dev/sgx/provision",
    "/dev/isgx",
    "/dev/gsgx",
];

/// Miscellaneous devices: what SGX drivers register.
const MISC_MAJOR: u32 = 10;

/// Gives the container the host's SGX devices, and the right to open them. Names that are links get a node
/// of their own name, since programs open both.
pub(crate) fn inject(spec: &mut Spec) {
    for path in DEVICES {
        let Ok(stat) = rustix::fs::stat(path) else { continue };
        let (major, minor) = (major(stat.st_rdev), minor(stat.st_rdev));
        let is_char = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
        let is_known = spec.linux.devices.iter().any(|d| d.path == Path::new(path));
        if !is_char || major != MISC_MAJOR || is_known {
            continue;
        }
        spec.linux.devices.push(LinuxDevice {
            path: path.into(),
            kind: "c".into(),
            major: major.into(),
            minor: minor.into(),
            file_mode: Some(0o666),
            uid: Some(0),
            gid: Some(0),
        });
        spec.linux.resources.devices.push(DeviceRule {
            allow: true,
            kind: "c".into(),
            major: Some(major.into()),
            minor: Some(minor.into()),
            access: "rwm".into(),
        });
    }
}

/// Whether the kernel offers enclaves of its own here.
pub(crate) fn has_hardware() -> bool {
    rustix::fs::stat("/dev/sgx_enclave")
        .is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::CharacterDevice)
}
