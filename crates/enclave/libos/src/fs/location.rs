//! Where a file is: an inode below a mount, and the name that led to it.

use super::inode::InodeRef;
use super::mount::Mount;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A place in the tree of mounts.
#[derive(Clone)]
pub struct Location {
    /// The mount.
    pub mount: Arc<Mount>,
    /// The inode.
    pub inode: InodeRef,
    /// Directory and name that led to something that is not a directory.
    pub entry: Option<Arc<(InodeRef, Vec<u8>)>>,
}

impl Location {
    /// A directory, or something whose name does not matter.
    #[must_use]
    pub fn new(mount: Arc<Mount>, inode: InodeRef) -> Self {
        Self { mount, inode, entry: None }
    }

    /// Whether both are the same inode below the same mount.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.mount, &other.mount) && self.inode.key() == other.inode.key()
    }
}
