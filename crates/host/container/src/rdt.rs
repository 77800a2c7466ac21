//! `linux.intelRdt`: cache and memory bandwidth shares through the kernel's resctrl file system.
//!
//! Tested on a tree of ordinary files; not yet run on a machine with resctrl.

use crate::error::{Error, Result};
use crate::spec::linux::IntelRdt;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The groups of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Groups {
    /// Its allocation group.
    pub group: PathBuf,
    /// Whether the group is the container's alone and goes with it: it has no `closID`.
    pub is_own: bool,
    /// Its monitoring group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<PathBuf>,
}

/// Where resctrl is mounted.
fn mount_point() -> Result<PathBuf> {
    let info = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let line = info.lines().find(|l| l.contains(" - resctrl "));
    line.and_then(|l| l.split(' ').nth(4)).map(PathBuf::from).ok_or_else(|| Error::Unsupported {
        field: "linux.intelRdt".into(),
        reason: "no resctrl file system is mounted (mount -t resctrl resctrl /sys/fs/resctrl)"
            .into(),
    })
}

/// The lines of the configuration, in the order in which they are written.
fn lines(wanted: &IntelRdt) -> Vec<&str> {
    let single = [&wanted.l3_cache_schema, &wanted.mem_bw_schema];
    let lines = single.into_iter().map(String::as_str).filter(|l| !l.is_empty());
    lines.chain(wanted.schemata.iter().map(String::as_str)).collect()
}

impl Groups {
    /// Where a container's groups are.
    ///
    /// # Errors
    /// No resctrl; a `closID` that is no name; nothing to do with neither name nor shares.
    pub(crate) fn plan(wanted: &IntelRdt, id: &str) -> Result<Self> {
        Self::plan_at(&mount_point()?, wanted, id)
    }

    fn plan_at(top: &Path, wanted: &IntelRdt, id: &str) -> Result<Self> {
        let name = if wanted.clos_id.is_empty() { id } else { &wanted.clos_id };
        if name.contains('/') && name != "/" || name == "." || name == ".." {
            return Err(Error::config("linux.intelRdt.closID", "a name", format!("{name:?}")));
        }
        // "/" is the default group.
        let group = if name == "/" { top.to_owned() } else { top.join(name) };
        if !wanted.clos_id.is_empty() && lines(wanted).is_empty() && !group.is_dir() {
            let expected = "a group that exists, since there are no schemata to make one";
            return Err(Error::config("linux.intelRdt.closID", expected, format!("{name:?}")));
        }
        let monitor = wanted.enable_monitoring.then(|| group.join("mon_groups").join(id));
        Ok(Self { group, is_own: wanted.clos_id.is_empty(), monitor })
    }

    /// Makes the groups, writes the shares and puts a process in.
    ///
    /// # Errors
    /// What the kernel refused; a shared group whose shares are others.
    pub(crate) fn apply(&self, wanted: &IntelRdt, pid: Pid) -> Result<()> {
        let lines = lines(wanted);
        let schemata = self.group.join("schemata");
        let is_there = self.group.is_dir();
        if !is_there {
            std::fs::create_dir(&self.group).map_err(|e| Error::os_io("make", &self.group, &e))?;
        }
        if is_there && !self.is_own && !lines.is_empty() {
            let now = std::fs::read_to_string(&schemata).unwrap_or_default();
            let has = |line: &str| now.lines().any(|l| normal(l) == normal(line));
            if let Some(other) = lines.iter().find(|l| !has(l)) {
                let expected = format!("the shares that the group has: {:?}", now.trim());
                return Err(Error::config("linux.intelRdt.closID", expected, other));
            }
        } else if !lines.is_empty() {
            let text = lines.join("\n") + "\n";
            crate::tuning::write_file(&schemata, &text)
                .map_err(Error::os("apply", Path::new("linux.intelRdt schemata")))?;
        }
        if let Some(monitor) = &self.monitor {
            match std::fs::create_dir(monitor) {
                Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(Error::os_io("make", monitor, &e));
                }
                _ => {}
            }
        }
        self.add(pid)
    }

    /// Puts a process in.
    ///
    /// # Errors
    /// As the kernel refuses.
    pub(crate) fn add(&self, pid: Pid) -> Result<()> {
        let number = pid.as_raw_nonzero().to_string();
        // The allocation group first: a process may be monitored only in its own.
        for directory in [Some(&self.group), self.monitor.as_ref()].into_iter().flatten() {
            let tasks = directory.join("tasks");
            crate::tuning::write_file(&tasks, &number)
                .map_err(Error::os("add a process to", &tasks))?;
        }
        Ok(())
    }

    /// Removes what was made for the container alone.
    pub(crate) fn remove(&self) {
        if let Some(monitor) = &self.monitor {
            let _ = std::fs::remove_dir(monitor);
        }
        if self.is_own {
            let _ = std::fs::remove_dir(&self.group);
        }
    }
}

/// A schemata line without what does not matter: blanks, leading zeros, case.
fn normal(line: &str) -> String {
    let line: String = line.chars().filter(|c| !c.is_whitespace()).collect();
    let line = line.to_ascii_lowercase();
    let Some((resource, values)) = line.split_once(':') else { return line };
    let values = values.split(';').map(|v| match v.split_once('=') {
        Some((domain, value)) => {
            format!("{}={}", domain.trim_start_matches('0'), value.trim_start_matches('0'))
        }
        None => v.to_owned(),
    });
    format!("{resource}:{}", values.collect::<Vec<_>>().join(";"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(json: &str) -> IntelRdt {
        serde_json::from_str(json).unwrap()
    }

    fn make(directory: &Path) {
        std::fs::create_dir_all(directory.join("mon_groups/x")).unwrap();
        for file in ["schemata", "tasks", "mon_groups/x/tasks"] {
            std::fs::write(directory.join(file), "").unwrap();
        }
    }

    #[test]
    fn shares_are_written_and_the_process_put_in() {
        let top = tempfile::tempdir().unwrap();
        make(&top.path().join("x"));
        let wanted =
            wanted(r#"{"l3CacheSchema":"L3:0=ff","schemata":["MB:0=50"],"enableMonitoring":true}"#);
        let groups = Groups::plan_at(top.path(), &wanted, "x").unwrap();
        assert!(groups.is_own);
        groups.apply(&wanted, Pid::from_raw(7).unwrap()).unwrap();
        let read = |f: &str| std::fs::read_to_string(top.path().join("x").join(f)).unwrap();
        assert_eq!(read("schemata"), "L3:0=ff\nMB:0=50\n");
        assert_eq!((read("tasks"), read("mon_groups/x/tasks")), ("7".into(), "7".into()));
    }

    #[test]
    fn a_shared_group_must_exist_or_have_the_same_shares() {
        let top = tempfile::tempdir().unwrap();
        let bare = wanted(r#"{"closID":"gold"}"#);
        let error = Groups::plan_at(top.path(), &bare, "x").unwrap_err().to_string();
        assert!(error.contains("closID"), "{error}");
        make(&top.path().join("gold"));
        std::fs::write(top.path().join("gold/schemata"), "    L3:0=00ff;1=0f\n    MB:0=100\n")
            .unwrap();
        let pid = Pid::from_raw(7).unwrap();
        let same = wanted(r#"{"closID":"gold","l3CacheSchema":"L3:0=FF;1=f"}"#);
        let groups = Groups::plan_at(top.path(), &same, "x").unwrap();
        groups.apply(&same, pid).unwrap();
        let other = wanted(r#"{"closID":"gold","l3CacheSchema":"L3:0=f0;1=f"}"#);
        let error = groups.apply(&other, pid).unwrap_err().to_string();
        assert!(error.contains("L3:0=f0"), "{error}");
        groups.remove();
        assert!(top.path().join("gold").exists(), "it is not the container's");
    }

    #[test]
    fn names_are_names() {
        for name in ["a/b", "..", "."] {
            let wanted = IntelRdt { clos_id: name.into(), ..IntelRdt::default() };
            assert!(Groups::plan_at(Path::new("/x"), &wanted, "x").is_err(), "{name}");
        }
    }
}
