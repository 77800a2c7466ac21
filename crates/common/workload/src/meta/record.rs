//! Records as they are in the blob.

use super::{INODE, MAGIC, VERSION};
use crate::digest::{Digest, Hex};

/// Type of a file, the upper four bits of `st_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // inode(7)
pub enum FileType {
    Fifo,
    CharacterDevice,
    Directory,
    BlockDevice,
    Regular,
    Symlink,
    Socket,
}

impl FileType {
    /// From `st_mode`.
    #[must_use]
    pub fn of_mode(mode: u32) -> Option<Self> {
        Some(match mode & 0o170_000 {
            0o010_000 => Self::Fifo,
            0o020_000 => Self::CharacterDevice,
            0o040_000 => Self::Directory,
            0o060_000 => Self::BlockDevice,
            0o100_000 => Self::Regular,
            0o120_000 => Self::Symlink,
            0o140_000 => Self::Socket,
            _ => return None,
        })
    }

    /// The bits of `st_mode`.
    #[must_use]
    pub fn bits(self) -> u32 {
        match self {
            Self::Fifo => 0o010_000,
            Self::CharacterDevice => 0o020_000,
            Self::Directory => 0o040_000,
            Self::BlockDevice => 0o060_000,
            Self::Regular => 0o100_000,
            Self::Symlink => 0o120_000,
            Self::Socket => 0o140_000,
        }
    }
}

/// A file of the root. Ranges have not been checked yet: [`super::Meta`] does where it follows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inode {
    /// Its number.
    pub number: u32,
    /// Type.
    pub file_type: FileType,
    /// `st_mode`.
    pub mode: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Links.
    pub nlink: u32,
    /// Bytes of a regular file or of a link's target.
    pub size: u64,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Modification time of a regular file, seconds since 1970.
    pub mtime: i64,
    /// fs-verity digest of a regular file.
    pub digest: Digest,
    /// Parent of a directory.
    pub parent: u32,
    /// What the record points to, by type.
    pub(super) payload: u64,
    pub(super) payload_count: u32,
    pub(super) xattrs: (u32, u32),
    pub(super) path: (u64, u32),
}

impl Inode {
    /// Offset in `trees.bin` of a regular file's tree; without meaning for one of at most one block.
    #[must_use]
    pub fn tree_offset(&self) -> u64 {
        self.payload
    }

    /// Entries of a directory, without `.` and `..`; 0 of anything else.
    #[must_use]
    pub fn entries(&self) -> u32 {
        if self.file_type == FileType::Directory { self.payload_count } else { 0 }
    }

    /// Reads a record; None where the mode has no file type.
    pub(super) fn decode(number: u32, record: &[u8; INODE]) -> Option<Self> {
        let mode = u32_at(record, 0);
        let device = u64_at(record, 24);
        let mut digest = [0; 32];
        digest.copy_from_slice(&record[40..72]);
        Some(Self {
            number,
            file_type: FileType::of_mode(mode)?,
            mode,
            uid: u32_at(record, 4),
            gid: u32_at(record, 8),
            nlink: u32_at(record, 12),
            size: u64_at(record, 16),
            device: ((device >> 32) as u32, device as u32),
            mtime: u64_at(record, 32).cast_signed(),
            digest: Hex(digest),
            parent: u32_at(record, 84),
            payload: u64_at(record, 72),
            payload_count: u32_at(record, 80),
            xattrs: (u32_at(record, 88), u32_at(record, 92)),
            path: (u64_at(record, 96), u32_at(record, 104)),
        })
    }

    pub(super) fn encode(&self) -> [u8; INODE] {
        let mut record = [0; INODE];
        let device = u64::from(self.device.0) << 32 | u64::from(self.device.1);
        put(&mut record, 0, &self.mode.to_le_bytes());
        put(&mut record, 4, &self.uid.to_le_bytes());
        put(&mut record, 8, &self.gid.to_le_bytes());
        put(&mut record, 12, &self.nlink.to_le_bytes());
        put(&mut record, 16, &self.size.to_le_bytes());
        put(&mut record, 24, &device.to_le_bytes());
        put(&mut record, 32, &self.mtime.to_le_bytes());
        put(&mut record, 40, &self.digest.0);
        put(&mut record, 72, &self.payload.to_le_bytes());
        put(&mut record, 80, &self.payload_count.to_le_bytes());
        put(&mut record, 84, &self.parent.to_le_bytes());
        put(&mut record, 88, &self.xattrs.0.to_le_bytes());
        put(&mut record, 92, &self.xattrs.1.to_le_bytes());
        put(&mut record, 96, &self.path.0.to_le_bytes());
        put(&mut record, 104, &self.path.1.to_le_bytes());
        record
    }
}

/// The header's fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) size: u64,
    /// Offset and number of records or bytes: inodes, entries, extended attributes, strings.
    pub(super) inodes: (u64, u64),
    pub(super) dirents: (u64, u64),
    pub(super) xattrs: (u64, u64),
    pub(super) strings: (u64, u64),
    pub(super) trees_length: u64,
}

/// Bytes of the header that hold something.
pub(super) const HEADER: usize = 96;

impl Header {
    /// None where magic or version are others.
    pub(super) fn decode(bytes: &[u8; HEADER]) -> Option<Self> {
        let is_ours = bytes[..8] == *MAGIC && u32_at(bytes, 8) == VERSION;
        let pair = |at| (u64_at(bytes, at), u64_at(bytes, at + 8));
        is_ours.then(|| Self {
            size: u64_at(bytes, 16),
            inodes: pair(24),
            dirents: pair(40),
            xattrs: pair(56),
            strings: pair(72),
            trees_length: u64_at(bytes, 88),
        })
    }

    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 8, &VERSION.to_le_bytes());
        let pairs = [self.inodes, self.dirents, self.xattrs, self.strings];
        let words = pairs.iter().flat_map(|pair| [pair.0, pair.1]);
        let words = core::iter::once(self.size).chain(words).chain([self.trees_length]);
        for (index, word) in words.enumerate() {
            put(&mut bytes, 16 + 8 * index, &word.to_le_bytes());
        }
        bytes
    }
}

/// Panics only if the array is too short for the constant offset.
pub(super) fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

pub(super) fn u64_at<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

pub(super) fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}
