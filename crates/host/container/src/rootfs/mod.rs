//! The container's root file system: prepared in the new mount namespace, then entered.
//!
//! Guarantee: no path below the root is resolved twice (see [`resolve`]), and nothing of the host's tree
//! stays reachable after [`enter`].

mod cgroup_mount;
mod copy_up;
pub mod devices;
pub mod masks;
pub mod mounts;
pub mod options;
pub mod resolve;

pub use cgroup_mount::{CgroupMount, Hierarchy as CgroupHierarchy};
pub use devices::Node;
pub use mounts::MountPlan;
pub use resolve::Root;

use crate::error::{Error, Result};
use mounts::{attach, propagation_flags, set};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, mount_change, unmount};
use rustix::process::{chdir, fchdir, pivot_root};
use std::path::{Path, PathBuf};

/// What [`prepare`] makes.
#[derive(Debug)]
pub struct RootPlan {
    /// The root directory on the host.
    pub path: PathBuf,
    /// `MS_*` propagation of `linux.rootfsPropagation`.
    pub propagation: Option<u64>,
    /// Whether `/` is read-only at the end.
    pub is_readonly: bool,
    /// `--no-pivot`: for a root on a ramdisk, which `pivot_root` refuses.
    pub is_pivot_avoided: bool,
    /// In order.
    pub mounts: Vec<MountPlan>,
    /// Which of `mounts` is of type `cgroup`, and what goes there.
    pub cgroup: Option<CgroupMount>,
    /// `linux.devices`.
    pub nodes: Vec<Node>,
    /// Whether nodes are bind mounts, because a user namespace cannot make them.
    pub are_nodes_bound: bool,
    /// `linux.maskedPaths`.
    pub masked: Vec<PathBuf>,
    /// `linux.readonlyPaths`.
    pub readonly: Vec<PathBuf>,
    /// Index of the mount on `/dev`, if it is a bind mount: then `/dev` is left alone.
    pub is_dev_bound: bool,
}

/// Isolates the mount namespace's propagation and makes the root a mount of its own, with all mounts,
/// devices and links below it. May change the working directory.
///
/// # Errors
/// The step that failed. The mount namespace is then thrown away by ending the process.
pub fn prepare(plan: &mut RootPlan) -> Result<Root> {
    let initial = plan.propagation.unwrap_or(libc::MS_SLAVE | libc::MS_REC);
    mount_change("/", propagation_flags(initial))
        .map_err(Error::os("set the propagation of", "/"))?;
    let failed = |operation| Error::os(operation, &plan.path);
    let path = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let target =
        rustix::fs::open(&plan.path, path, Mode::empty()).map_err(failed("open root.path"))?;
    if initial & (libc::MS_SLAVE | libc::MS_PRIVATE) == 0 {
        make_parent_private(&plan.path)?;
    }
    let tree = mounts::clone_at(&target, true).map_err(failed("open the root"))?;
    attach(&tree, &target).map_err(failed("bind the root"))?;
    let root = Root::new(tree);

    for (index, mount) in plan.mounts.iter_mut().enumerate() {
        match &plan.cgroup {
            Some(cgroup) if cgroup.index == index => cgroup.apply(&root, mount)?,
            _ => mount.apply(&root)?,
        }
    }
    if !plan.is_dev_bound {
        devices::make_defaults(&root, plan.are_nodes_bound)?;
    }
    for node in &plan.nodes {
        devices::make(&root, node, plan.are_nodes_bound)?;
    }
    Ok(root)
}

/// `pivot_root` refuses where the parent of the new root propagates to the host.
fn make_parent_private(root: &Path) -> Result<()> {
    let root = std::fs::canonicalize(root).map_err(|e| Error::os_io("find", root, &e))?;
    for directory in root.ancestors() {
        match mount_change(directory, propagation_flags(libc::MS_PRIVATE)) {
            Ok(()) => return Ok(()),
            // Not a mount point: the mount is further up.
            Err(Errno::INVAL) => {}
            Err(e) => return Err(Error::os("set the propagation of", directory)(e)),
        }
    }
    Ok(())
}

/// Masks, makes the root `/`, drops the host's tree, and makes `/` read-only if asked for.
///
/// # Errors
/// The step that failed; the process must end.
pub fn enter(plan: &RootPlan, root: Root, null: &OwnedFd) -> Result<()> {
    masks::make_readonly(&root, &plan.readonly)?;
    masks::mask(&root, null, &plan.masked)?;
    let failed = |operation| Error::os(operation, &plan.path);
    fchdir(root.fd()).map_err(failed("enter"))?;
    if plan.is_pivot_avoided {
        rustix::mount::mount_move(".", "/").map_err(failed("move to /"))?;
        rustix::process::chroot(".").map_err(failed("chroot to"))?;
    } else {
        // Both names are the new root: the old one is mounted over it, and then only a descriptor leads to
        // it. It is isolated before it is dropped: where the root's propagation is shared, its mounts are
        // peers of the host's, which would go with them.
        let old = rustix::fs::open(
            "/",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(failed("open the old root of"))?;
        pivot_root(".", ".").map_err(failed("pivot_root"))?;
        fchdir(&old).map_err(failed("enter the old root of"))?;
        mount_change(".", propagation_flags(libc::MS_SLAVE | libc::MS_REC))
            .map_err(failed("isolate the old root of"))?;
        unmount(".", UnmountFlags::DETACH).map_err(failed("drop the old root of"))?;
    }
    chdir("/").map_err(failed("enter"))?;
    if let Some(propagation) = plan.propagation
        && propagation & (libc::MS_SHARED | libc::MS_UNBINDABLE) != 0
    {
        mount_change("/", propagation_flags(propagation))
            .map_err(failed("set the propagation of"))?;
    }
    if plan.is_readonly {
        set(root.fd().as_fd(), options::attr::RDONLY, 0, false)
            .map_err(failed("make read-only"))?;
    }
    Ok(())
}
