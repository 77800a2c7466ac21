//! `process` of the configuration; also the file that `exec --process` reads.

use super::null_as_default;
use serde::Deserialize;
use std::path::PathBuf;

/// The program to run and with what.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)] // named as the specification names them
pub struct Process {
    #[serde(deserialize_with = "null_as_default")]
    pub terminal: bool,
    pub console_size: Option<ConsoleSize>,
    #[serde(deserialize_with = "null_as_default")]
    pub user: User,
    #[serde(deserialize_with = "null_as_default")]
    pub args: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub cwd: PathBuf,
    pub capabilities: Option<Capabilities>,
    #[serde(deserialize_with = "null_as_default")]
    pub rlimits: Vec<Rlimit>,
    #[serde(deserialize_with = "null_as_default")]
    pub no_new_privileges: bool,
    #[serde(deserialize_with = "null_as_default")]
    pub apparmor_profile: String,
    pub oom_score_adj: Option<i32>,
    #[serde(deserialize_with = "null_as_default")]
    pub selinux_label: String,
    pub scheduler: Option<Scheduler>,
    #[serde(rename = "ioPriority")]
    pub io_priority: Option<IoPriority>,
    #[serde(rename = "execCPUAffinity")]
    pub exec_cpu_affinity: Option<CpuAffinity>,
}

/// Characters of the terminal.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct ConsoleSize {
    pub height: u16,
    pub width: u16,
}

/// Ids inside the container's user namespace.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub umask: Option<u32>,
    #[serde(deserialize_with = "null_as_default")]
    pub additional_gids: Vec<u32>,
}

/// Capability names per set.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Capabilities {
    #[serde(deserialize_with = "null_as_default")]
    pub bounding: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub effective: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub inheritable: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub permitted: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub ambient: Vec<String>,
}

/// One resource limit, `RLIMIT_NOFILE` and so on.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Rlimit {
    #[serde(rename = "type")]
    pub kind: String,
    pub soft: u64,
    pub hard: u64,
}

/// CPU scheduler attributes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Scheduler {
    pub policy: String,
    pub nice: i32,
    pub priority: i32,
    #[serde(deserialize_with = "null_as_default")]
    pub flags: Vec<String>,
    /// Nanoseconds, as `deadline` and `period`.
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// I/O scheduling class and priority.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct IoPriority {
    pub class: String,
    pub priority: i32,
}

/// CPU lists of an exec'd process, before and after it joins the cgroup.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct CpuAffinity {
    pub initial: String,
    #[serde(rename = "final")]
    pub final_: String,
}
