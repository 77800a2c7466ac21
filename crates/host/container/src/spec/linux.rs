//! `linux` of the configuration.

use super::{Resources, null_as_default};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Linux settings.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)] // named as the specification names them
pub struct Linux {
    #[serde(deserialize_with = "null_as_default")]
    pub uid_mappings: Vec<IdMapping>,
    #[serde(deserialize_with = "null_as_default")]
    pub gid_mappings: Vec<IdMapping>,
    #[serde(deserialize_with = "null_as_default")]
    pub sysctl: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_as_default")]
    pub resources: Resources,
    #[serde(deserialize_with = "null_as_default")]
    pub cgroups_path: String,
    #[serde(deserialize_with = "null_as_default")]
    pub namespaces: Vec<Namespace>,
    #[serde(deserialize_with = "null_as_default")]
    pub devices: Vec<LinuxDevice>,
    pub seccomp: Option<Seccomp>,
    #[serde(deserialize_with = "null_as_default")]
    pub rootfs_propagation: String,
    #[serde(deserialize_with = "null_as_default")]
    pub masked_paths: Vec<PathBuf>,
    #[serde(deserialize_with = "null_as_default")]
    pub readonly_paths: Vec<PathBuf>,
    #[serde(deserialize_with = "null_as_default")]
    pub mount_label: String,
    pub personality: Option<Personality>,
    #[serde(deserialize_with = "null_as_default")]
    pub time_offsets: BTreeMap<String, TimeOffset>,
    pub memory_policy: Option<MemoryPolicy>,
    pub intel_rdt: Option<IntelRdt>,
    #[serde(deserialize_with = "null_as_default")]
    pub net_devices: BTreeMap<String, NetDevice>,
}

/// Shares of caches and memory bandwidth.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct IntelRdt {
    #[serde(rename = "closID", deserialize_with = "null_as_default")]
    pub clos_id: String,
    #[serde(deserialize_with = "null_as_default")]
    pub schemata: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub l3_cache_schema: String,
    #[serde(deserialize_with = "null_as_default")]
    pub mem_bw_schema: String,
    #[serde(deserialize_with = "null_as_default")]
    pub enable_monitoring: bool,
}

/// An interface of the host that moves into the container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct NetDevice {
    pub name: Option<String>,
}

/// A range of ids.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
#[allow(missing_docs)]
pub struct IdMapping {
    #[serde(rename = "containerID")]
    pub container_id: u32,
    #[serde(rename = "hostID")]
    pub host_id: u32,
    pub size: u32,
}

/// One namespace: new, or joined where `path` is given.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Namespace {
    #[serde(rename = "type")]
    pub kind: NamespaceType,
    #[serde(default, deserialize_with = "null_as_default")]
    pub path: PathBuf,
}

/// Kinds of namespaces.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum NamespaceType {
    User,
    Pid,
    Network,
    Mount,
    Ipc,
    Uts,
    Cgroup,
    Time,
}

impl NamespaceType {
    /// Every kind, in the order in which joining works: the user namespace first.
    pub const ALL: [Self; 8] = [
        Self::User,
        Self::Pid,
        Self::Network,
        Self::Ipc,
        Self::Uts,
        Self::Cgroup,
        Self::Time,
        Self::Mount,
    ];

    /// The `CLONE_NEW*` flag.
    #[must_use]
    pub const fn flag(self) -> u64 {
        match self {
            Self::User => 0x1000_0000,
            Self::Pid => 0x2000_0000,
            Self::Network => 0x4000_0000,
            Self::Mount => 0x0002_0000,
            Self::Ipc => 0x0800_0000,
            Self::Uts => 0x0400_0000,
            Self::Cgroup => 0x0200_0000,
            Self::Time => 0x0000_0080,
        }
    }

    /// Name in the specification.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Pid => "pid",
            Self::Network => "network",
            Self::Mount => "mount",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
        }
    }

    /// Name below `/proc/PID/ns`.
    #[must_use]
    pub const fn proc_name(self) -> &'static str {
        match self {
            Self::Network => "net",
            Self::Mount => "mnt",
            other => other.name(),
        }
    }
}

/// A device node to make.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct LinuxDevice {
    pub path: PathBuf,
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(deserialize_with = "null_as_default")]
    pub major: i64,
    #[serde(deserialize_with = "null_as_default")]
    pub minor: i64,
    pub file_mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

/// System call filter.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Seccomp {
    pub default_action: String,
    pub default_errno_ret: Option<u32>,
    #[serde(deserialize_with = "null_as_default")]
    pub architectures: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub flags: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub listener_path: PathBuf,
    #[serde(deserialize_with = "null_as_default")]
    pub listener_metadata: String,
    #[serde(deserialize_with = "null_as_default")]
    pub syscalls: Vec<SeccompRule>,
}

/// One rule.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct SeccompRule {
    #[serde(deserialize_with = "null_as_default")]
    pub names: Vec<String>,
    pub action: String,
    pub errno_ret: Option<u32>,
    #[serde(deserialize_with = "null_as_default")]
    pub args: Vec<SeccompArg>,
}

/// One argument comparison.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct SeccompArg {
    pub index: u32,
    pub value: u64,
    pub value_two: u64,
    pub op: String,
}

/// Execution domain.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Personality {
    pub domain: String,
    #[serde(deserialize_with = "null_as_default")]
    pub flags: Vec<String>,
}

/// Clock offset of a time namespace.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct TimeOffset {
    pub secs: i64,
    pub nanosecs: u32,
}

/// NUMA memory policy.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct MemoryPolicy {
    pub mode: String,
    #[serde(deserialize_with = "null_as_default")]
    pub nodes: String,
    #[serde(deserialize_with = "null_as_default")]
    pub flags: Vec<String>,
}
