//! What a process's users and groups may do with a file.
//!
//! All processes of a container trust each other: this is semantics that programs expect, not a boundary.

use super::stat::{FileType, Stat};
use crate::errno::Errno;
use crate::process::Credentials;

/// Right to read (`R_OK`).
pub const READ: u32 = 4;
/// Right to write (`W_OK`).
pub const WRITE: u32 = 2;
/// Right to execute, or to search a directory (`X_OK`).
pub const EXECUTE: u32 = 1;

impl Credentials {
    /// The same with the real user and group in place of the file-system ones, as access(2) checks.
    #[must_use]
    pub fn real(&self) -> Self {
        Self { fsuid: self.ruid, fsgid: self.rgid, ..self.clone() }
    }

    /// Whether the file-system user has every capability.
    #[must_use]
    pub fn is_privileged(&self) -> bool {
        self.fsuid == 0
    }

    /// Whether `gid` is among the groups.
    #[must_use]
    pub fn is_in_group(&self, gid: u32) -> bool {
        self.fsgid == gid || self.groups.contains(&gid)
    }

    /// Checks rights ([`READ`], [`WRITE`], [`EXECUTE`]) on a file.
    ///
    /// # Errors
    /// EACCES.
    pub fn check(&self, stat: &Stat, wanted: u32) -> Result<(), Errno> {
        if self.is_privileged() {
            let executable = stat.mode & 0o111 != 0 || stat.file_type == FileType::Directory;
            return if wanted & EXECUTE != 0 && !executable { Err(Errno::EACCES) } else { Ok(()) };
        }
        let shift = if self.fsuid == stat.uid {
            6
        } else if self.is_in_group(stat.gid) {
            3
        } else {
            0
        };
        if (stat.mode >> shift) & wanted == wanted { Ok(()) } else { Err(Errno::EACCES) }
    }

    /// Whether the user owns the file, or may act as if.
    #[must_use]
    pub fn is_owner(&self, stat: &Stat) -> bool {
        self.is_privileged() || self.fsuid == stat.uid
    }

    /// Whether a sticky directory keeps this user from removing or renaming an entry.
    #[must_use]
    pub fn is_held_by_sticky(&self, directory: &Stat, entry: &Stat) -> bool {
        directory.mode & 0o1000 != 0 && !self.is_owner(entry) && self.fsuid != directory.uid
    }
}
