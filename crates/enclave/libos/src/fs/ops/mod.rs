//! What programs do to the tree, with the checks that belong to it: permissions, read-only mounts, sticky
//! directories, the order of errors. Inodes below do as they are told.

pub mod attributes;
pub mod names;
pub mod open;

use super::context::Caller;
use super::location::Location;
use super::permission::{EXECUTE, WRITE};
use crate::errno::Errno;

/// Whether `caller` may add and remove names in a directory.
///
/// # Errors
/// EROFS, EACCES.
fn may_change(caller: &Caller, directory: &Location) -> Result<(), Errno> {
    writable_mount(directory)?;
    caller.credentials.check(&directory.inode.stat(), WRITE | EXECUTE)
}

/// # Errors
/// EROFS.
fn writable_mount(location: &Location) -> Result<(), Errno> {
    if location.mount.flags.is_read_only { Err(Errno::EROFS) } else { Ok(()) }
}
