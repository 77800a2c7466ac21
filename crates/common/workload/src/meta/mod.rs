//! Root metadata: every path, mode, owner, link and extended attribute of a root file system, and the
//! fs-verity digest of every file, in one blob that is read by need.
//!
//! The manifest holds the blob's own fs-verity digest and size; a [`Blocks`] hands the [`Meta`] reader
//! verified blocks. Verified means that the blob is the measured one, not that whoever made it meant well:
//! the reader is total on any bytes, and no input makes it loop or allocate beyond what it returns.
//!
//! # Format, version 1
//! All integers are little-endian. Sections follow each other in this order, each starts on a multiple of
//! 4096, gaps are zero. Records never cross a 4096-byte block.
//!
//! **Header**, block 0:
//!
//! | offset | size | |
//! |---|---|---|
//! | 0 | 8 | `INCLMETA` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | 0 |
//! | 16 | 8 | size of the blob in bytes |
//! | 24 | 8 | offset of the inode table (4096) |
//! | 32 | 8 | inodes |
//! | 40 | 8 | offset of the directory entries |
//! | 48 | 8 | directory entries |
//! | 56 | 8 | offset of the extended attributes |
//! | 64 | 8 | extended attributes |
//! | 72 | 8 | offset of the strings |
//! | 80 | 8 | bytes of strings |
//! | 88 | 8 | bytes of all trees (`trees.bin`) |
//! | 96 | 4000 | 0 |
//!
//! **Inode**, 128 bytes; inode 0 is the root directory. Numbers are in breadth-first order, entries of a
//! directory by name, and a file with several links has the number of its first one.
//!
//! | offset | size | |
//! |---|---|---|
//! | 0 | 4 | mode, with the file type (`st_mode`) |
//! | 4 | 4 | user id |
//! | 8 | 4 | group id |
//! | 12 | 4 | links; of a directory 2 and one per directory in it |
//! | 16 | 8 | size: bytes of a regular file or of a link's target, 0 otherwise |
//! | 24 | 8 | device: major << 32 \| minor; 0 unless a character or block device |
//! | 32 | 8 | modification time of a regular file in seconds since 1970, signed; 0 of anything else |
//! | 40 | 32 | fs-verity digest of a regular file; 0 of anything else |
//! | 72 | 8 | regular file: offset of its tree in `trees.bin`; directory: index of its first entry; symbolic link: offset of the target in the strings |
//! | 80 | 4 | directory: entries; symbolic link: bytes of the target |
//! | 84 | 4 | directory: inode of its parent (the root's is itself) |
//! | 88 | 4 | index of its first extended attribute |
//! | 92 | 4 | extended attributes |
//! | 96 | 8 | regular file: offset in the strings of the absolute path under which its data lies |
//! | 104 | 4 | bytes of that path |
//! | 108 | 20 | 0 |
//!
//! **Directory entry**, 16 bytes; entries of one directory are adjacent and sorted by the bytes of the name:
//! u64 offset of the name in the strings, u16 length, u16 file type (`st_mode >> 12`), u32 inode.
//!
//! **Extended attribute**, 24 bytes; those of one inode are adjacent and sorted by name: u64 offset of the
//! name in the strings, u64 offset of the value, u32 length of the name, u32 length of the value.
//!
//! # Times
//! Regular files keep the modification time of their layer entry in whole seconds, because programs compare
//! it with what they cached (Python's `.pyc`). It is part of the image, so every conversion of the image
//! sees the same one. Directories, links and devices have time 0: unpacking changes theirs.
//!
//! # Trees
//! `trees.bin` is not measured. It starts with the tree of the blob itself ([`crate::verity`]), and goes on
//! with one tree for each different digest of a file of more than one block, in the order of the inodes.

mod memory;
mod read;
mod record;
mod write;

pub use read::{Blocks, DirEntry, Meta, MetaError, Xattr};
pub use record::{FileType, Inode};
pub use write::{Blob, NewInode, NewKind, TooLarge, TreePlace, write};

pub use memory::fuzz;

/// Bytes of a block.
pub const BLOCK: usize = crate::verity::BLOCK;

/// Number of the root directory.
pub const ROOT: u32 = 0;

/// Longest name of a directory entry, in bytes.
pub const NAME_MAX: usize = 255;

/// Longest target of a symbolic link and longest path, in bytes.
pub const PATH_MAX: usize = 4095;

/// Longest value of an extended attribute, in bytes.
pub const XATTR_MAX: usize = 65536;

const MAGIC: &[u8; 8] = b"INCLMETA";
const VERSION: u32 = 1;
const INODE: usize = 128;
const DIRENT: usize = 16;
const XATTR: usize = 24;

#[cfg(test)]
mod tests;
