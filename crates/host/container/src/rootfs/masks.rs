//! Masked and read-only paths.
//!
//! A masked file is the host's `/dev/null` (checked to be it, [`super::devices::open_null`]); a masked
//! directory is one empty read-only tmpfs, made once and bound again: it holds nothing that could be shared.

use super::devices::clone_node;
use super::mounts::{attach, clone_at, mount_at, set};
use super::options::attr;
use super::resolve::{Root, file_type};
use crate::error::{Error, Result};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::mount::MountFlags;
use std::path::{Path, PathBuf};

/// Masks paths. One that does not exist needs no mask.
///
/// # Errors
/// The path that could not be masked.
pub fn mask(root: &Root, null: &OwnedFd, paths: &[PathBuf]) -> Result<()> {
    let mut empty: Option<OwnedFd> = None;
    for path in paths {
        let failed = |operation| Error::os(operation, path);
        let Some(target) = open_existing(root, path)? else { continue };
        if file_type(&target).map_err(failed("stat"))? != FileType::Directory {
            let tree = clone_node(null).map_err(failed("mask"))?;
            attach(&tree, &target).map_err(failed("mask"))?;
            continue;
        }
        if let Some(first) = &empty {
            let tree = clone_at(first, false).map_err(failed("mask"))?;
            attach(&tree, &target).map_err(failed("mask"))?;
            continue;
        }
        let flags =
            MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount_at("tmpfs", Path::new("tmpfs"), &target, flags, c"nr_blocks=1,nr_inodes=1")
            .map_err(failed("mask"))?;
        empty = Some(root.open(path).map_err(failed("open"))?);
    }
    Ok(())
}

/// Makes paths read-only, with all mounted below them.
///
/// # Errors
/// The path that could not be.
pub fn make_readonly(root: &Root, paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        let failed = |operation| Error::os(operation, path);
        let Some(target) = open_existing(root, path)? else { continue };
        let tree = clone_at(&target, true).map_err(failed("make read-only"))?;
        // Not recursive in the kernel's sense: a mount below may be writable on purpose, as runc leaves it.
        set(tree.as_fd(), attr::RDONLY, 0, false).map_err(failed("make read-only"))?;
        attach(&tree, &target).map_err(failed("make read-only"))?;
    }
    Ok(())
}

fn open_existing(root: &Root, path: &Path) -> Result<Option<OwnedFd>> {
    match root.open(path) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(e) => Err(Error::os("open in the container's root", path)(e)),
    }
}
