//! Control groups: where a container's are, made, limited, frozen and removed.
//!
//! Serves pure v1, hybrid (v1 controllers and a v2 tree) and pure v2 hosts. The host is described by one
//! reading of `/proc/self/mountinfo` and one of `/proc/self/cgroup`.

mod devices;
pub mod freezer;
mod host;
mod join;
pub mod oom;
mod remove;
pub mod stats;
mod v1;
mod v2;

pub(crate) use devices::{DeviceLine, device_lines};
pub use host::{Hierarchy, Host};
pub(crate) use join::Doors;
pub use remove::remove;

use crate::error::{Error, Result};
use crate::spec::Resources;
use crate::systemd::{self, Unit};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The directories of one container, one per hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroups {
    /// v1: first controller or `name=...`, and directory. Empty on a pure v2 host.
    pub v1: Vec<(String, PathBuf)>,
    /// v2, where there is such a tree.
    pub unified: Option<PathBuf>,
    /// Whether it was made without root's rights: only what this user may write is there, and devices
    /// are not limited.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_rootless: bool,
    /// The unit, where systemd makes the groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
}

impl Cgroups {
    /// Where the directories of a container go. `path` is `linux.cgroupsPath`: absolute from the top of
    /// each hierarchy, relative from this process's own group; empty means the id.
    ///
    /// # Errors
    /// A path that climbs.
    pub fn plan(host: &Host, path: &str, id: &str) -> Result<Self> {
        let wanted = Path::new(if path.is_empty() { id } else { path });
        if wanted.components().any(|c| c == std::path::Component::ParentDir) {
            return Err(Error::config(
                "linux.cgroupsPath",
                "a path without ..",
                format!("{path:?}"),
            ));
        }
        let below = |hierarchy: &Hierarchy| match wanted.strip_prefix("/") {
            Ok(absolute) => hierarchy.mount.join(absolute),
            Err(_) => hierarchy.mount.join(&hierarchy.own).join(wanted),
        };
        let mut out = Self::default();
        for hierarchy in &host.hierarchies {
            if hierarchy.is_v2 {
                out.unified = Some(below(hierarchy));
            } else if let Some(first) = hierarchy.controllers.first() {
                out.v1.push((first.clone(), below(hierarchy)));
            }
        }
        if out.all().any(|d| host.hierarchies.iter().any(|h| h.mount == d)) {
            let got = format!("{path:?}, the root group");
            return Err(Error::config("linux.cgroupsPath", "a group of its own", got));
        }
        Ok(out)
    }

    /// Where they go if systemd makes them. `path` is `slice:prefix:name`.
    ///
    /// # Errors
    /// Another path; a user without a manager of its own.
    pub fn plan_unit(path: &str, id: &str, is_user: bool) -> Result<Self> {
        let unit = Unit::new(path, id, is_user)?;
        let host = Host::detect_first()?;
        let above = if is_user { Some(systemd::user_group()?) } else { None };
        let below = unit.directories().unwrap_or_default();
        let top = |hierarchy: &Hierarchy| match &above {
            Some(above) => hierarchy.mount.join(above),
            None => hierarchy.mount.join(&hierarchy.own),
        };
        let mut out = Self { unit: Some(unit), ..Self::default() };
        for hierarchy in &host.hierarchies {
            let directory = top(hierarchy).join(&below);
            if hierarchy.is_v2 {
                out.unified = Some(directory);
            } else if let Some(first) = hierarchy.controllers.first() {
                out.v1.push((first.clone(), directory));
            }
        }
        Ok(out)
    }

    /// Leaves out the hierarchies in which this user may not make the container's directory. A limit that
    /// needs one of them is refused by name later.
    #[must_use]
    pub fn writable(mut self) -> Self {
        self.is_rootless = true;
        self.v1.retain(|(_, directory)| is_writable(directory));
        self.unified = self.unified.filter(|directory| is_writable(directory));
        self
    }

    /// Whether the host has only the unified tree.
    #[must_use]
    pub fn is_unified(&self) -> bool {
        self.v1.is_empty() && self.unified.is_some()
    }

    /// The directory of a v1 controller.
    #[must_use]
    pub fn controller(&self, name: &str) -> Option<&Path> {
        self.v1.iter().find(|(n, _)| n.split(',').any(|c| c == name)).map(|(_, d)| d.as_path())
    }

    /// Every directory.
    pub fn all(&self) -> impl Iterator<Item = &Path> {
        self.v1.iter().map(|(_, d)| d.as_path()).chain(self.unified.as_deref())
    }

    /// A directory that knows all of the container's processes: the cheapest place to look for them.
    #[must_use]
    pub fn processes_directory(&self) -> Option<&Path> {
        self.controller("name=systemd")
            .or_else(|| self.controller("pids"))
            .or_else(|| self.all().next())
    }

    /// Has systemd make its unit, if there is one: it takes a first process.
    ///
    /// # Errors
    /// What systemd says.
    pub fn start_unit(&self, pid: Pid, resources: &Resources, id: &str) -> Result<()> {
        self.unit.as_ref().map_or(Ok(()), |unit| unit.start(pid, resources, self.is_unified(), id))
    }

    /// Makes the directories.
    ///
    /// # Errors
    /// The directory that could not be made.
    pub fn make(&self, host: &Host) -> Result<()> {
        for (first, directory) in &self.v1 {
            let mut hierarchies = host.hierarchies.iter().map(|h| &h.controllers);
            let controllers = hierarchies.find(|names| names.first() == Some(first));
            v1::make(
                directory,
                controllers.is_some_and(|names| names.iter().any(|n| n == "cpuset")),
            )?;
        }
        if let (Some(directory), Some(tree)) = (&self.unified, host.unified()) {
            v2::make(directory, &tree.mount, self.is_unified())?;
        }
        Ok(())
    }

    /// Writes limits; also on a running container, for `update`.
    ///
    /// # Errors
    /// The field whose limit was refused.
    pub fn set(&self, resources: &Resources, is_new: bool) -> Result<()> {
        if let (Some(unit), false) = (&self.unit, is_new) {
            unit.set(resources, self.is_unified())?;
        }
        if self.is_unified() {
            v2::set(self, resources, is_new)
        } else {
            v1::set(self, resources, is_new)
        }
    }

    /// Puts a process in. One that is made for the container comes in by itself ([`Doors`]).
    ///
    /// # Errors
    /// The directory that refused it.
    pub fn add(&self, pid: Pid) -> Result<()> {
        self.all().try_for_each(|directory| add(directory, pid))
    }

    /// Puts a process into the v2 group.
    ///
    /// # Errors
    /// It refused it.
    pub(crate) fn add_to_unified(&self, pid: Pid) -> Result<()> {
        self.unified.as_deref().map_or(Ok(()), |directory| add(directory, pid))
    }

    /// The processes in it, its descendants included.
    #[must_use]
    pub fn processes(&self) -> Vec<i32> {
        let mut out = Vec::new();
        if let Some(directory) = self.processes_directory() {
            collect_processes(directory, &mut out, 0);
        }
        out
    }
}

fn add(directory: &Path, pid: Pid) -> Result<()> {
    write(directory, "cgroup.procs", &pid.as_raw_nonzero().to_string())
        .map_err(Error::os("add a process to", directory.join("cgroup.procs")))
}

/// Whether the directory, or the first existing one above it, can be written to.
fn is_writable(directory: &Path) -> bool {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    let above = directory.ancestors().find(|d| d.exists());
    let access = Access::WRITE_OK | Access::EXEC_OK;
    above.is_some_and(|d| accessat(CWD, d, access, AtFlags::EACCESS).is_ok())
}

fn collect_processes(directory: &Path, out: &mut Vec<i32>, depth: usize) {
    if let Ok(text) = std::fs::read_to_string(directory.join("cgroup.procs")) {
        out.extend(text.lines().filter_map(|l| l.parse::<i32>().ok()).filter(|p| *p > 0));
    }
    if depth < 16 {
        for child in children(directory) {
            collect_processes(&child, out, depth + 1);
        }
    }
}

/// Directories below a group.
fn children(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries
        .filter_map(std::result::Result::ok)
        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
        .map(|e| e.path())
        .collect()
}

/// One write to one file, as control files want it.
fn write(directory: &Path, file: &str, value: &str) -> std::result::Result<(), rustix::io::Errno> {
    use rustix::fs::{Mode, OFlags};
    let fd =
        rustix::fs::open(directory.join(file), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::retry_on_intr(|| rustix::io::write(&fd, value.as_bytes())).map(drop)
}

/// Reads a small control file, trimmed.
pub(crate) fn read(directory: &Path, file: &str) -> Option<String> {
    std::fs::read_to_string(directory.join(file)).ok().map(|t| t.trim_end().to_owned())
}

/// A limit refused by the kernel, by the field that set it.
fn refused(field: &str, value: &str) -> impl FnOnce(rustix::io::Errno) -> Error {
    let subject = PathBuf::from(format!("linux.resources.{field} = {value}"));
    Error::os("apply", subject)
}

/// Children-first deletion order is the caller's; this lists every directory below, deepest first.
fn descendants(directory: &Path, out: &mut Vec<PathBuf>, depth: usize) {
    if depth < 16 {
        for child in children(directory) {
            descendants(&child, out, depth + 1);
            out.push(child);
        }
    }
}

/// CPU weight of v2 from shares of v1, as other runtimes convert (2..262144 to 1..10000).
pub(crate) const fn weight_of_shares(shares: u64) -> u64 {
    if shares == 0 {
        return 0;
    }
    let shares = if shares < 2 {
        2
    } else if shares > 262_144 {
        262_144
    } else {
        shares
    };
    1 + ((shares - 2) * 9999) / 262_142
}
