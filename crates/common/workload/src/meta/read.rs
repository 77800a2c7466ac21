//! The reader.

use super::record::{HEADER, Header, u32_at, u64_at};
use super::{BLOCK, DIRENT, FileType, INODE, Inode, NAME_MAX, PATH_MAX, ROOT, XATTR, XATTR_MAX};
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;

/// Verified blocks of the blob.
pub trait Blocks {
    /// A block: [`BLOCK`] bytes.
    type Block: AsRef<[u8]>;
    /// Why there is none.
    type Error;

    /// Block `index`, verified against the manifest's digest. Implementations keep recent blocks: the reader
    /// asks again for each record.
    ///
    /// # Errors
    /// The host does not give the block, or gives another one.
    fn block(&self, index: u64) -> Result<Self::Block, Self::Error>;
}

/// Why metadata cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetaError<E> {
    /// No block.
    Blocks(E),
    /// The blob is not what the format says.
    Malformed {
        /// Which rule is broken.
        what: &'static str,
        /// The value that breaks it: an offset, index or length.
        value: u64,
    },
}

impl<E: fmt::Display> fmt::Display for MetaError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocks(error) => write!(f, "root metadata: {error}"),
            Self::Malformed { what, value } => write!(f, "root metadata: {what}, got {value}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for MetaError<E> {}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// Its name: not empty, not `.` or `..`, without `/` and NUL.
    pub name: Vec<u8>,
    /// Inode number.
    pub inode: u32,
    /// Type of the inode, as the entry has it.
    pub file_type: FileType,
}

/// Name and value of an extended attribute.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// A reader of root metadata.
#[derive(Debug)]
pub struct Meta<B> {
    blocks: B,
    header: Header,
}

fn malformed<T, E>(what: &'static str, value: u64) -> Result<T, MetaError<E>> {
    Err(MetaError::Malformed { what, value })
}

impl<B: Blocks> Meta<B> {
    /// Reads the header of a blob of `size` bytes.
    ///
    /// # Errors
    /// Block 0 is missing or not a header, or a section lies outside the blob.
    pub fn open(blocks: B, size: u64) -> Result<Self, MetaError<B::Error>> {
        let mut meta = Self { blocks, header: Header { size, ..Header::default() } };
        let bytes: [u8; HEADER] = meta.record(0)?;
        let Some(header) = Header::decode(&bytes) else {
            return malformed("expected magic INCLMETA and version 1", u64_at(&bytes, 0));
        };
        if header.size != size {
            return malformed("expected the size that the manifest gives", header.size);
        }
        for ((offset, count), record) in [
            (header.inodes, INODE),
            (header.dirents, DIRENT),
            (header.xattrs, XATTR),
            (header.strings, 1),
        ] {
            let end = section_end(offset, count, record);
            if !offset.is_multiple_of(BLOCK as u64) || end.is_none_or(|end| end > size) {
                return malformed("expected aligned sections inside the blob", offset);
            }
            if count > u64::from(u32::MAX) && record != 1 {
                return malformed("expected less than 2^32 records", count);
            }
        }
        meta.header = header;
        Ok(meta)
    }

    /// Number of inodes.
    #[must_use]
    pub fn inodes(&self) -> u64 {
        self.header.inodes.1
    }

    /// Bytes of `trees.bin`.
    #[must_use]
    pub fn trees_length(&self) -> u64 {
        self.header.trees_length
    }

    /// The block source.
    #[must_use]
    pub fn blocks(&self) -> &B {
        &self.blocks
    }

    /// The root directory.
    ///
    /// # Errors
    /// As [`inode`](Self::inode), or it is no directory.
    pub fn root(&self) -> Result<Inode, MetaError<B::Error>> {
        let root = self.inode(ROOT)?;
        match root.file_type {
            FileType::Directory => Ok(root),
            _ => malformed("expected inode 0 to be a directory", u64::from(root.mode)),
        }
    }

    /// Inode `number`.
    ///
    /// # Errors
    /// There is no such inode, or no block.
    pub fn inode(&self, number: u32) -> Result<Inode, MetaError<B::Error>> {
        let record: [u8; INODE] = self.table(self.header.inodes, u64::from(number))?;
        match Inode::decode(number, &record) {
            Some(inode) => Ok(inode),
            None => malformed("expected a file type in the mode", u64::from(u32_at(&record, 0))),
        }
    }

    /// The entry of `directory` with this name: its inode number. None if there is none, or if `directory`
    /// is no directory.
    ///
    /// # Errors
    /// Malformed entries met on the way, or no block.
    pub fn lookup(
        &self,
        directory: &Inode,
        name: &[u8],
    ) -> Result<Option<u32>, MetaError<B::Error>> {
        let (mut low, mut high) = (0, directory.entries());
        while low < high {
            let middle = low + (high - low) / 2;
            let (offset, length, _, inode) = self.raw_entry(directory, middle)?;
            match self.compare(offset, length, name)? {
                Ordering::Equal => return Ok(Some(inode)),
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }

    /// Entry `index` of `directory`, below [`Inode::entries`], in the order of names.
    ///
    /// # Errors
    /// There is no such entry, it is malformed, or no block.
    pub fn entry(&self, directory: &Inode, index: u32) -> Result<DirEntry, MetaError<B::Error>> {
        let (offset, length, kind, inode) = self.raw_entry(directory, index)?;
        let name = self.string(offset, usize::from(length), NAME_MAX)?;
        if matches!(name.as_slice(), b"" | b"." | b"..")
            || name.iter().any(|b| matches!(b, 0 | b'/'))
        {
            return malformed("expected the name of a directory entry", offset);
        }
        match FileType::of_mode(u32::from(kind) << 12) {
            Some(file_type) if kind < 16 => Ok(DirEntry { name, inode, file_type }),
            _ => malformed("expected a file type in the directory entry", u64::from(kind)),
        }
    }

    /// The target of a symbolic link; empty for anything else.
    ///
    /// # Errors
    /// It lies outside the strings or is longer than [`PATH_MAX`], or no block.
    pub fn symlink_target(&self, link: &Inode) -> Result<Vec<u8>, MetaError<B::Error>> {
        match link.file_type {
            FileType::Symlink => self.string(link.payload, link.payload_count as usize, PATH_MAX),
            _ => Ok(Vec::new()),
        }
    }

    /// The absolute path below the container's root where the data of a regular file lies; of a file with
    /// several links, one of them. Where to look, and no statement about what is there.
    ///
    /// # Errors
    /// It lies outside the strings or is longer than [`PATH_MAX`], or no block.
    pub fn data_path(&self, file: &Inode) -> Result<Vec<u8>, MetaError<B::Error>> {
        self.string(file.path.0, file.path.1 as usize, PATH_MAX)
    }

    /// Extended attributes, in the order of names.
    ///
    /// # Errors
    /// They lie outside the blob or are too long, or no block.
    pub fn xattrs(&self, inode: &Inode) -> Result<Vec<Xattr>, MetaError<B::Error>> {
        // No capacity from the count: it is not checked against the table yet.
        let mut xattrs = Vec::new();
        for index in 0..inode.xattrs.1 {
            xattrs.push(self.xattr(inode, index)?);
        }
        Ok(xattrs)
    }

    /// The value of an extended attribute.
    ///
    /// # Errors
    /// As [`xattrs`](Self::xattrs).
    pub fn xattr_value(
        &self,
        inode: &Inode,
        name: &[u8],
    ) -> Result<Option<Vec<u8>>, MetaError<B::Error>> {
        for index in 0..inode.xattrs.1 {
            let (found, value) = self.xattr(inode, index)?;
            if found == name {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    fn xattr(&self, inode: &Inode, index: u32) -> Result<Xattr, MetaError<B::Error>> {
        let at = u64::from(inode.xattrs.0) + u64::from(index);
        let record: [u8; XATTR] = self.table(self.header.xattrs, at)?;
        let name = self.string(u64_at(&record, 0), u32_at(&record, 16) as usize, NAME_MAX)?;
        let value = self.string(u64_at(&record, 8), u32_at(&record, 20) as usize, XATTR_MAX)?;
        Ok((name, value))
    }

    /// Name offset, name length, type and inode of an entry.
    fn raw_entry(
        &self,
        directory: &Inode,
        index: u32,
    ) -> Result<(u64, u16, u16, u32), MetaError<B::Error>> {
        if index >= directory.entries() {
            return malformed("expected an entry of the directory", u64::from(index));
        }
        let Some(at) = directory.payload.checked_add(u64::from(index)) else {
            return malformed("expected entries inside their table", directory.payload);
        };
        let record: [u8; DIRENT] = self.table(self.header.dirents, at)?;
        let low = u32_at(&record, 8);
        Ok((u64_at(&record, 0), low as u16, (low >> 16) as u16, u32_at(&record, 12)))
    }

    /// Record `index` of a table whose bounds `open` checked.
    fn table<const N: usize>(
        &self,
        (offset, count): (u64, u64),
        index: u64,
    ) -> Result<[u8; N], MetaError<B::Error>> {
        if index >= count {
            return malformed("expected an index below the number of records", index);
        }
        let per_block = (BLOCK / N) as u64;
        let in_block = (index % per_block) * N as u64;
        self.record(offset + index / per_block * BLOCK as u64 + in_block)
    }

    /// `N` bytes at `offset`, which do not cross a block.
    fn record<const N: usize>(&self, offset: u64) -> Result<[u8; N], MetaError<B::Error>> {
        let block = self.block(offset / BLOCK as u64)?;
        let start = (offset % BLOCK as u64) as usize;
        let mut record = [0; N];
        match block.as_ref().get(start..start + N) {
            Some(bytes) => record.copy_from_slice(bytes),
            None => return malformed("expected a whole record", offset),
        }
        Ok(record)
    }

    fn block(&self, index: u64) -> Result<B::Block, MetaError<B::Error>> {
        if index >= self.header.size.div_ceil(BLOCK as u64) {
            return malformed("expected a block of the blob", index);
        }
        self.blocks.block(index).map_err(MetaError::Blocks)
    }

    /// A string of `length` bytes at `offset` of the strings.
    fn string(
        &self,
        offset: u64,
        length: usize,
        longest: usize,
    ) -> Result<Vec<u8>, MetaError<B::Error>> {
        if length > longest {
            return malformed("expected a shorter string", length as u64);
        }
        let mut text = Vec::new();
        self.pieces(offset, length, |piece| {
            text.extend_from_slice(piece);
            true
        })?;
        Ok(text)
    }

    /// Compares a string of the blob with `name`.
    fn compare(
        &self,
        offset: u64,
        length: u16,
        name: &[u8],
    ) -> Result<Ordering, MetaError<B::Error>> {
        let mut rest = name;
        let mut order = Ordering::Equal;
        self.pieces(offset, usize::from(length), |piece| {
            let (head, tail) = rest.split_at(rest.len().min(piece.len()));
            order = piece.cmp(head);
            rest = tail;
            order == Ordering::Equal
        })?;
        if order == Ordering::Equal && !rest.is_empty() {
            order = Ordering::Less;
        }
        Ok(order)
    }

    /// Gives the bytes of a string block by block until `take` has enough.
    fn pieces(
        &self,
        offset: u64,
        length: usize,
        mut take: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), MetaError<B::Error>> {
        let (start, total) = self.header.strings;
        if offset.checked_add(length as u64).is_none_or(|end| end > total) {
            return malformed("expected a string inside the strings", offset);
        }
        let (mut at, mut left) = (start + offset, length);
        while left > 0 {
            let block = self.block(at / BLOCK as u64)?;
            let from = (at % BLOCK as u64) as usize;
            let count = left.min(BLOCK - from);
            match block.as_ref().get(from..from + count) {
                Some(piece) if take(piece) => {}
                Some(_) => return Ok(()),
                None => return malformed("expected a whole block", at),
            }
            at += count as u64;
            left -= count;
        }
        Ok(())
    }
}

/// Where a section of `count` records of `record` bytes ends.
fn section_end(offset: u64, count: u64, record: usize) -> Option<u64> {
    let per_block = (BLOCK / record) as u64;
    let blocks = (count / per_block).checked_mul(BLOCK as u64)?;
    let rest = count % per_block * record as u64;
    offset.checked_add(blocks)?.checked_add(rest)
}
