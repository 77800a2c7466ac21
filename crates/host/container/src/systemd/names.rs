//! `linux.cgroupsPath` with systemd: `slice:prefix:name`, and where the unit's groups are.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A container's unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// `prefix-name.scope`.
    pub name: String,
    /// The slice it is in.
    pub slice: String,
    /// Whether the user's own manager has it, not the machine's.
    pub is_user: bool,
}

impl Unit {
    /// From `linux.cgroupsPath`; an empty one means the default slice and the id.
    ///
    /// # Errors
    /// Not three parts, or a slice that is none.
    pub(crate) fn new(path: &str, id: &str, is_user: bool) -> Result<Self> {
        let default = if is_user { "user.slice" } else { "system.slice" };
        let refuse =
            |expected| Err(Error::config("linux.cgroupsPath", expected, format!("{path:?}")));
        let (slice, prefix, name) = match path.split(':').collect::<Vec<_>>().as_slice() {
            [""] => (default, "rune", id),
            ["", prefix, name] => (default, *prefix, *name),
            [slice, prefix, name] => (*slice, *prefix, *name),
            _ => return refuse("slice:prefix:name, with --systemd-cgroup"),
        };
        if name.is_empty() || name.contains('/') || prefix.contains('/') {
            return refuse("slice:prefix:name with a name and without /, with --systemd-cgroup");
        }
        if name.ends_with(".slice") {
            return refuse("slice:prefix:name whose name is no slice: processes live in scopes");
        }
        let dash = if prefix.is_empty() { "" } else { "-" };
        let unit =
            Self { name: format!("{prefix}{dash}{name}.scope"), slice: slice.to_owned(), is_user };
        match unit.directories() {
            Some(_) => Ok(unit),
            None => refuse("a slice such as a-b.slice, with --systemd-cgroup"),
        }
    }

    /// The unit's group below the manager's: `a-b.slice` is in `a.slice`.
    pub(crate) fn directories(&self) -> Option<PathBuf> {
        let stem = self.slice.strip_suffix(".slice")?;
        let mut out = PathBuf::new();
        if stem != "-" {
            if stem.contains('/') || stem.split('-').any(str::is_empty) {
                return None;
            }
            let ends = stem.match_indices('-').map(|(at, _)| at).chain([stem.len()]);
            out.extend(ends.map(|end| format!("{}.slice", &stem[..end])));
        }
        out.push(&self.name);
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_units_and_groups() {
        for (path, name, directories) in [
            ("", "rune-x.scope", "system.slice/rune-x.scope"),
            ("system.slice:docker:abc", "docker-abc.scope", "system.slice/docker-abc.scope"),
            (":a:b", "a-b.scope", "system.slice/a-b.scope"),
            ("a.slice::b", "b.scope", "a.slice/b.scope"),
            ("-.slice:p:n", "p-n.scope", "p-n.scope"),
            (
                "kubepods-besteffort-pod1.slice:cri-containerd:c",
                "cri-containerd-c.scope",
                "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice/cri-containerd-c.scope",
            ),
        ] {
            let unit = Unit::new(path, "x", false).unwrap();
            assert_eq!(unit.name, name);
            assert_eq!(unit.directories().unwrap().to_str(), Some(directories));
        }
    }

    #[test]
    fn other_paths_are_refused_by_field() {
        for path in [
            "/docker/x",
            "a:b",
            "a:b:c:d",
            "a.slice:p:",
            "a.slice:p:x.slice",
            "a--b.slice:p:n",
            "-a.slice:p:n",
            "a:p:n",
            "../a.slice:p:n",
            "a.slice:p:../n",
        ] {
            let error = Unit::new(path, "x", false).unwrap_err().to_string();
            assert!(error.contains("linux.cgroupsPath"), "{path}: {error}");
        }
    }
}
