//! The file system calls.

use crate::syscall::Entry;

/// Served by the file layer.
pub const TABLE: &[Entry] = &[];
