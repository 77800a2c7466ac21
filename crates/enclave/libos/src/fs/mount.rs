//! The tree of mounts. It is built at start from what was admitted, and does not change afterwards:
//! mount(2) and umount2(2) fail with EPERM, as in an unprivileged container.

use super::inode::InodeRef;
use super::location::Location;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use hashbrown::HashMap;

/// How a mount restricts what lies below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountFlags {
    /// No change by any path through this mount.
    pub is_read_only: bool,
    /// No execve(2), no PROT_EXEC mapping.
    pub is_noexec: bool,
    /// No device files.
    pub is_nodev: bool,
    /// Set-user-id bits have no effect.
    pub is_nosuid: bool,
}

impl MountFlags {
    /// Options as /proc/mounts shows them.
    #[must_use]
    pub fn options(&self) -> String {
        let mut out = String::from(if self.is_read_only { "ro" } else { "rw" });
        for (is_set, name) in
            [(self.is_nosuid, ",nosuid"), (self.is_nodev, ",nodev"), (self.is_noexec, ",noexec")]
        {
            if is_set {
                out.push_str(name);
            }
        }
        out.push_str(",relatime");
        out
    }

    /// `ST_*` bits of statfs(2).
    #[must_use]
    pub fn statfs_bits(&self) -> u64 {
        u64::from(self.is_read_only)
            | u64::from(self.is_nosuid) << 1
            | u64::from(self.is_nodev) << 2
            | u64::from(self.is_noexec) << 3
    }
}

/// One mounted file system.
pub struct Mount {
    /// Unique, from 1.
    pub id: u64,
    /// Its root.
    pub root: InodeRef,
    /// Where it is mounted; None for the root of all.
    pub at: Option<(Arc<Mount>, InodeRef)>,
    /// Path of the mount point.
    pub path: String,
    /// Type name, as /proc/mounts shows it.
    pub fs_type: String,
    /// Source, as /proc/mounts shows it.
    pub source: String,
    /// Restrictions.
    pub flags: MountFlags,
}

/// All mounts.
#[derive(Clone)]
pub struct Namespace {
    mounts: Vec<Arc<Mount>>,
    /// (mount id, device, inode) of a mount point to the index of what is mounted there.
    points: HashMap<(u64, u64, u64), usize>,
    /// Where files without a name are made (memfd_create(2)).
    scratch: Option<InodeRef>,
}

impl Namespace {
    /// A tree of one mount at `/`.
    #[must_use]
    pub fn new(root: InodeRef, fs_type: &str, source: &str, flags: MountFlags) -> Self {
        let root = Arc::new(Mount {
            id: 1,
            root,
            at: None,
            path: String::from("/"),
            fs_type: String::from(fs_type),
            source: String::from(source),
            flags,
        });
        Self { mounts: alloc::vec![root], points: HashMap::new(), scratch: None }
    }

    /// Mounts `root` on a directory (or a file on a file), over what may be mounted there.
    pub fn add(
        &mut self,
        at: &Location,
        path: &str,
        root: InodeRef,
        fs_type: &str,
        source: &str,
        flags: MountFlags,
    ) {
        let (dev, ino) = at.inode.key();
        let mount = Arc::new(Mount {
            id: self.mounts.len() as u64 + 1,
            root,
            at: Some((at.mount.clone(), at.inode.clone())),
            path: String::from(path),
            fs_type: String::from(fs_type),
            source: String::from(source),
            flags,
        });
        self.points.insert((at.mount.id, dev, ino), self.mounts.len());
        self.mounts.push(mount);
    }

    /// Sets where files without a name are made.
    pub fn set_scratch(&mut self, scratch: InodeRef) {
        self.scratch = Some(scratch);
    }

    /// Where files without a name are made.
    #[must_use]
    pub fn scratch(&self) -> Option<&InodeRef> {
        self.scratch.as_ref()
    }

    /// The root of all.
    #[must_use]
    pub fn root(&self) -> Location {
        let root = self.mounts[0].clone();
        let inode = root.root.clone();
        self.enter(Location::new(root, inode))
    }

    /// Where one is after stepping on `location`: the root of what is mounted there, or the same.
    #[must_use]
    pub fn enter(&self, mut location: Location) -> Location {
        if self.points.is_empty() {
            return location;
        }
        loop {
            let (dev, ino) = location.inode.key();
            let Some(&index) = self.points.get(&(location.mount.id, dev, ino)) else {
                return location;
            };
            let mount = self.mounts[index].clone();
            let inode = mount.root.clone();
            location = Location { mount, inode, entry: location.entry };
        }
    }

    /// Whether something is mounted on `location` itself.
    #[must_use]
    pub fn is_mount_point(&self, location: &Location) -> bool {
        let (dev, ino) = location.inode.key();
        self.points.contains_key(&(location.mount.id, dev, ino))
    }

    /// All mounts in the order they were made.
    #[must_use]
    pub fn mounts(&self) -> &[Arc<Mount>] {
        &self.mounts
    }
}
