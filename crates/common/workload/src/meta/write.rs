//! The writer.

use super::record::{Header, put};
use super::{BLOCK, DIRENT, FileType, INODE, Inode, NAME_MAX, PATH_MAX, ROOT, XATTR, XATTR_MAX};
use crate::digest::{Digest, Hex};
use crate::verity::{Layout, Tree};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// A file for the blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewInode {
    /// Permission bits, the low 12 of `st_mode`.
    pub permissions: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What it is.
    pub kind: NewKind,
}

/// What a new file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewKind {
    /// A directory: names and indices into the list of inodes. Several names may give one file that is no
    /// directory.
    Directory(BTreeMap<Vec<u8>, usize>),
    /// A regular file.
    Regular {
        /// Bytes.
        size: u64,
        /// fs-verity digest.
        digest: Digest,
        /// Modification time in seconds since 1970.
        mtime: i64,
    },
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
    /// A device, FIFO or socket; the numbers are 0 unless it is a device.
    Special(FileType, u32, u32),
}

impl NewKind {
    fn file_type(&self) -> FileType {
        match self {
            Self::Directory(_) => FileType::Directory,
            Self::Regular { .. } => FileType::Regular,
            Self::Symlink(_) => FileType::Symlink,
            Self::Special(file_type, ..) => *file_type,
        }
    }
}

/// Finished metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// The blob.
    pub bytes: Vec<u8>,
    /// Its own tree, which `trees.bin` starts with, and its digest, which the manifest holds.
    pub tree: Tree,
    /// Where the files' trees go in `trees.bin`, ascending and without gaps.
    pub places: Vec<TreePlace>,
    /// Bytes of `trees.bin`.
    pub trees_length: u64,
}

/// Where the tree of all files with one digest goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreePlace {
    /// Index of one of the files in the list of inodes.
    pub inode: usize,
    /// Offset in `trees.bin`.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

/// A root file system that the format cannot hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// What there is too much of.
    pub what: &'static str,
    /// Most that fits.
    pub expected_at_most: u64,
    /// How much there is.
    pub got: u64,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, expected_at_most, got } = self;
        write!(f, "{what}: expected at most {expected_at_most}, got {got}")
    }
}

impl core::error::Error for TooLarge {}

fn at_most(what: &'static str, limit: usize, got: usize) -> Result<(), TooLarge> {
    if got <= limit {
        return Ok(());
    }
    Err(TooLarge { what, expected_at_most: limit as u64, got: got as u64 })
}

/// Writes the metadata of the tree that starts at `inodes[0]`, a directory. The bytes depend on the tree
/// alone, not on the order of the list; inodes that no directory names are left out.
///
/// # Errors
/// A name, target, path, attribute or the number of files is beyond the format.
///
/// # Panics
/// If `inodes[0]` is no directory, an index is out of range, or a directory has two names.
pub fn write(inodes: &[NewInode]) -> Result<Blob, TooLarge> {
    let order = Order::of(inodes)?;
    let mut tables = Tables::default();
    let mut records = Vec::with_capacity(order.sequence.len());
    for (number, &index) in order.sequence.iter().enumerate() {
        records.push(tables.add(inodes, &order, number as u32, index)?);
    }

    let mut header = Header::default();
    let mut end = BLOCK as u64;
    let mut section = |count: usize, record: usize| {
        let start = end;
        let per_block = BLOCK / record;
        end += (count.div_ceil(per_block) * BLOCK) as u64;
        (start, count as u64)
    };
    header.inodes = section(records.len(), INODE);
    header.dirents = section(tables.dirents.len(), DIRENT);
    header.xattrs = section(tables.xattrs.len(), XATTR);
    header.strings = section(tables.strings.len(), 1);
    header.size = end;

    let places = place_trees(inodes, &order, &mut records, Layout::of(header.size).tree_length());
    header.trees_length = places.1;

    let mut bytes = vec![0; header.size as usize];
    put(&mut bytes, 0, &header.encode());
    let encoded: Vec<[u8; INODE]> = records.iter().map(Inode::encode).collect();
    fill(&mut bytes, header.inodes.0, &encoded);
    fill(&mut bytes, header.dirents.0, &tables.dirents);
    fill(&mut bytes, header.xattrs.0, &tables.xattrs);
    put(&mut bytes, header.strings.0 as usize, &tables.strings);
    let tree = Tree::of(&bytes);
    Ok(Blob { bytes, tree, places: places.0, trees_length: places.1 })
}

fn fill<const N: usize>(bytes: &mut [u8], start: u64, records: &[[u8; N]]) {
    for (block, records) in records.chunks(BLOCK / N).enumerate() {
        for (slot, record) in records.iter().enumerate() {
            put(bytes, start as usize + block * BLOCK + slot * N, record);
        }
    }
}

/// Numbers and paths of the inodes.
struct Order {
    /// Index of each number.
    sequence: Vec<usize>,
    /// By index: number, parent's number, links, and the first path.
    numbers: Vec<Option<Numbered>>,
}

#[derive(Clone)]
struct Numbered {
    number: u32,
    parent: u32,
    nlink: u32,
    path: Vec<u8>,
}

impl Order {
    fn of(inodes: &[NewInode]) -> Result<Self, TooLarge> {
        at_most("files", u32::MAX as usize - 1, inodes.len())?;
        let mut order = Self { sequence: vec![0], numbers: vec![None; inodes.len()] };
        order.numbers[0] =
            Some(Numbered { number: ROOT, parent: ROOT, nlink: 2, path: Vec::new() });
        let mut queue = VecDeque::from([0]);
        while let Some(index) = queue.pop_front() {
            let NewKind::Directory(children) = &inodes[index].kind else {
                panic!("only directories are queued");
            };
            let above = order.numbers[index].clone().expect("numbered before it was queued");
            for (name, &child) in children {
                at_most("bytes of a name", NAME_MAX, name.len())?;
                let is_directory = matches!(inodes[child].kind, NewKind::Directory(_));
                if let Some(numbered) = &mut order.numbers[child] {
                    assert!(!is_directory, "a directory has one name");
                    numbered.nlink += 1;
                    continue;
                }
                let path = [&above.path[..], b"/", name].concat();
                at_most("bytes of a path", PATH_MAX, path.len())?;
                order.numbers[child] = Some(Numbered {
                    number: order.sequence.len() as u32,
                    parent: above.number,
                    nlink: if is_directory { 2 } else { 1 },
                    path,
                });
                order.sequence.push(child);
                if is_directory {
                    queue.push_back(child);
                    let parent = order.numbers[index].as_mut().expect("numbered above");
                    parent.nlink += 1;
                }
            }
        }
        Ok(order)
    }

    fn get(&self, index: usize) -> &Numbered {
        self.numbers[index].as_ref().expect("every child was numbered")
    }
}

#[derive(Default)]
struct Tables {
    dirents: Vec<[u8; DIRENT]>,
    xattrs: Vec<[u8; XATTR]>,
    strings: Vec<u8>,
}

impl Tables {
    fn string(&mut self, text: &[u8]) -> u64 {
        let offset = self.strings.len() as u64;
        self.strings.extend_from_slice(text);
        offset
    }

    /// Adds what belongs to an inode and gives its record, still without the place of its tree.
    fn add(
        &mut self,
        inodes: &[NewInode],
        order: &Order,
        number: u32,
        index: usize,
    ) -> Result<Inode, TooLarge> {
        let new = &inodes[index];
        let numbered = order.get(index);
        let file_type = new.kind.file_type();
        let mut inode = Inode {
            number,
            file_type,
            mode: file_type.bits() | new.permissions & 0o7777,
            uid: new.uid,
            gid: new.gid,
            nlink: numbered.nlink,
            size: 0,
            device: (0, 0),
            mtime: 0,
            digest: Hex::default(),
            parent: 0,
            payload: 0,
            payload_count: 0,
            xattrs: (0, 0),
            path: (0, 0),
        };
        match &new.kind {
            NewKind::Directory(children) => {
                inode.parent = numbered.parent;
                inode.payload = self.dirents.len() as u64;
                inode.payload_count = children.len() as u32;
                for (name, &child) in children {
                    let offset = self.string(name);
                    let kind = inodes[child].kind.file_type().bits() >> 12;
                    let mut record = [0; DIRENT];
                    put(&mut record, 0, &offset.to_le_bytes());
                    put(&mut record, 8, &(name.len() as u16).to_le_bytes());
                    put(&mut record, 10, &(kind as u16).to_le_bytes());
                    put(&mut record, 12, &order.get(child).number.to_le_bytes());
                    self.dirents.push(record);
                }
            }
            NewKind::Regular { size, digest, mtime } => {
                (inode.size, inode.digest, inode.mtime) = (*size, *digest, *mtime);
                inode.path = (self.string(&numbered.path), numbered.path.len() as u32);
            }
            NewKind::Symlink(target) => {
                at_most("bytes of a link's target", PATH_MAX, target.len())?;
                inode.size = target.len() as u64;
                inode.payload = self.string(target);
                inode.payload_count = target.len() as u32;
            }
            NewKind::Special(_, major, minor) => inode.device = (*major, *minor),
        }
        self.add_xattrs(new, &mut inode)?;
        Ok(inode)
    }

    fn add_xattrs(&mut self, new: &NewInode, inode: &mut Inode) -> Result<(), TooLarge> {
        at_most("extended attributes", u32::MAX as usize, self.xattrs.len() + new.xattrs.len())?;
        if !new.xattrs.is_empty() {
            inode.xattrs = (self.xattrs.len() as u32, new.xattrs.len() as u32);
        }
        for (name, value) in &new.xattrs {
            at_most("bytes of an extended attribute's name", NAME_MAX, name.len())?;
            at_most("bytes of an extended attribute", XATTR_MAX, value.len())?;
            let (name_offset, value_offset) = (self.string(name), self.string(value));
            let mut record = [0; XATTR];
            put(&mut record, 0, &name_offset.to_le_bytes());
            put(&mut record, 8, &value_offset.to_le_bytes());
            put(&mut record, 16, &(name.len() as u32).to_le_bytes());
            put(&mut record, 20, &(value.len() as u32).to_le_bytes());
            self.xattrs.push(record);
        }
        Ok(())
    }
}

/// Gives every file of more than one block the place of its tree, files with one digest the same.
fn place_trees(
    inodes: &[NewInode],
    order: &Order,
    records: &mut [Inode],
    start: u64,
) -> (Vec<TreePlace>, u64) {
    let mut placed: BTreeMap<Digest, u64> = BTreeMap::new();
    let mut places = Vec::new();
    let mut end = start;
    for (record, &index) in records.iter_mut().zip(&order.sequence) {
        let NewKind::Regular { size, digest, .. } = inodes[index].kind else {
            continue;
        };
        let length = Layout::of(size).tree_length();
        if length == 0 {
            continue;
        }
        record.payload = *placed.entry(digest).or_insert_with(|| {
            let offset = end;
            places.push(TreePlace { inode: index, offset, length });
            end += length;
            offset
        });
    }
    (places, end)
}
