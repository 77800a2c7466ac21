//! The mount of type `cgroup`: the container's view of its own cgroups.
//!
//! On v2 it is the file system itself where a cgroup namespace hides the rest, else a bind mount of the
//! container's directory. On v1 and hybrid hosts it is a tmpfs with one such mount per hierarchy.

use super::mounts::{MountPlan, attach_below, mount_at, set};
use super::options::attr;
use super::resolve::{Missing, Root};
use crate::error::{Error, Result};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, OpenTreeFlags, open_tree};
use std::path::{Path, PathBuf};

/// One hierarchy as the container sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Directory name below the mount, `cpu,cpuacct`; empty for a pure v2 host.
    pub name: String,
    /// Options of `mount(2)` for it: `cpu,cpuacct` or `none,name=systemd`; empty for v2.
    pub options: String,
    /// The container's directory on the host.
    pub directory: PathBuf,
}

/// What goes on the mount of type `cgroup`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupMount {
    /// Index in `mounts`.
    pub index: usize,
    /// Whether the container has a cgroup namespace of its own.
    pub has_namespace: bool,
    /// Whether the host has one unified hierarchy only.
    pub is_unified: bool,
    /// Hierarchies.
    pub hierarchies: Vec<Hierarchy>,
    /// Links for co-mounted controllers: `cpu` to `cpu,cpuacct`.
    pub links: Vec<(String, String)>,
}

impl CgroupMount {
    /// Mounts it.
    ///
    /// # Errors
    /// The hierarchy that could not be mounted.
    pub fn apply(&self, root: &Root, plan: &MountPlan) -> Result<()> {
        let failed = |operation| Error::os(operation, &plan.destination);
        let target = root.open_or_make(&plan.destination, Missing::Directory)?;
        let flags = plan.options.flags as u32 & !(libc::MS_REC | libc::MS_BIND) as u32;
        if self.is_unified {
            if let Some(hierarchy) = self.hierarchies.first() {
                return self.mount_one(hierarchy, &target, "", flags);
            }
            return Ok(());
        }
        let rw = MountFlags::from_bits_retain(flags & !(libc::MS_RDONLY as u32));
        mount_at("tmpfs", Path::new("tmpfs"), &target, rw, c"mode=755").map_err(failed("mount"))?;
        let top = root.open(&plan.destination).map_err(failed("open"))?;
        for hierarchy in &self.hierarchies {
            let name = hierarchy.name.as_str();
            rustix::fs::mkdirat(&top, name, rustix::fs::Mode::from_raw_mode(0o755))
                .map_err(failed("make a directory in"))?;
            self.mount_one(hierarchy, &top, name, flags)?;
        }
        for (name, target) in &self.links {
            match rustix::fs::symlinkat(target.as_str(), &top, name.as_str()) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(failed("make a link in")(e)),
            }
        }
        if flags & libc::MS_RDONLY as u32 != 0 {
            set(top.as_fd(), attr::RDONLY, 0, false).map_err(failed("make read-only"))?;
        }
        Ok(())
    }

    /// Mounts a hierarchy over an open directory or, with a name, one that was just made in it.
    fn mount_one(
        &self,
        hierarchy: &Hierarchy,
        target: &OwnedFd,
        name: &str,
        flags: u32,
    ) -> Result<()> {
        let failed = |operation| Error::os(operation, &hierarchy.directory);
        if self.has_namespace {
            let is_v2 = hierarchy.options.is_empty();
            let kind = if is_v2 { "cgroup2" } else { "cgroup" };
            let data = std::ffi::CString::new(hierarchy.options.as_str())
                .map_err(|_| failed("mount")(Errno::INVAL))?;
            let flags = MountFlags::from_bits_retain(flags);
            let opened;
            let target = if name.is_empty() {
                target
            } else {
                opened = super::resolve::open_in(target, Path::new(name), OFlags::PATH)
                    .map_err(failed("open"))?;
                &opened
            };
            return mount_at(kind, Path::new(kind), target, flags, &data).map_err(failed("mount"));
        }
        let open = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = match open_tree(CWD, &hierarchy.directory, open) {
            Ok(tree) => tree,
            // A hierarchy in which the container has no directory is left out.
            Err(Errno::NOENT) => return Ok(()),
            Err(e) => return Err(failed("open the cgroup")(e)),
        };
        let pairs = [
            (libc::MS_RDONLY, attr::RDONLY),
            (libc::MS_NOSUID, attr::NOSUID),
            (libc::MS_NODEV, attr::NODEV),
            (libc::MS_NOEXEC, attr::NOEXEC),
        ];
        let on = pairs.iter().filter(|(f, _)| flags & *f as u32 != 0).fold(0, |a, (_, b)| a | b);
        if on != 0 {
            set(tree.as_fd(), on, 0, false).map_err(failed("set the attributes of"))?;
        }
        attach_below(&tree, target, name).map_err(failed("bind the cgroup"))
    }
}
