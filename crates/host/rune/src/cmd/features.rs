//! `features`: what this runtime does, as the specification's features document.

use super::Command;
use crate::args::{Args, End};
use crate::failure::{Failure, Outcome};
use crate::global::Globals;
use container::spec::{NamespaceType, OCI_VERSION};
use container::{caps, rootfs::options, seccomp};
use serde_json::{Value, json};

pub(crate) const COMMAND: Command = Command {
    name: "features",
    usage: "",
    about: "print what this runtime supports",
    options: &[],
    end: End::Never,
    enters_container: false,
    run,
};

fn run(_: &Globals, _: &Args) -> Outcome {
    println!("{}", serde_json::to_string_pretty(&document()).map_err(Failure::new)?);
    Ok(0)
}

fn document() -> Value {
    let mut namespaces: Vec<_> = NamespaceType::ALL.iter().map(|n| n.name()).collect();
    namespaces.sort_unstable();
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": [
            "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"
        ],
        "mountOptions": options::names().collect::<Vec<_>>(),
        "linux": {
            "namespaces": namespaces,
            "capabilities": caps::NAMES.as_slice(),
            "cgroup": {
                "v1": true,
                "v2": true,
                "systemd": true,
                "systemdUser": true,
                "rdma": true,
            },
            "seccomp": {
                "enabled": true,
                "actions": seccomp::ACTIONS,
                "operators": seccomp::OPERATORS,
                "archs": seccomp::ARCHITECTURES,
                "knownFlags": seccomp::FLAGS,
                "supportedFlags": seccomp::FLAGS,
            },
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "intelRdt": { "enabled": true, "schemata": true, "monitoring": true },
            "memoryPolicy": {
                "modes": container::MEMORY_POLICY_MODES.iter().map(|(n, _)| *n).collect::<Vec<_>>(),
                "flags": container::MEMORY_POLICY_FLAGS.iter().map(|(n, _)| *n).collect::<Vec<_>>(),
            },
            "netDevices": { "enabled": true },
            "mountExtensions": { "idmap": { "enabled": true } },
        },
        "annotations": {
            "org.inclavare.rune.version": env!("CARGO_PKG_VERSION"),
        },
        "potentiallyUnsafeConfigAnnotations": ["enclave."],
    })
}
