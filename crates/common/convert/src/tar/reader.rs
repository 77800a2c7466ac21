//! The archive as a sequence of entries.

use super::header::{Header, number};
use super::pax::{Pax, decimal};
use super::sparse::Map;
use super::{BLOCK, MAX_EXTENSION, TarError};
use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Seek};

/// An archive. Its entries' data is read in between: [`next`](Self::next), then [`piece`](Self::piece) until
/// the end (what is not read is skipped).
pub struct Archive<R> {
    input: R,
    global: Pax,
    /// Stored bytes of the current entry not read yet, and the padding behind them.
    stored_left: u64,
    padding: u64,
    /// Ranges of the current entry not read yet, where the next byte goes, and its size.
    ranges: VecDeque<(u64, u64)>,
    at: u64,
    size: u64,
    ended: bool,
}

/// A file in the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, as it is.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Modification time in whole seconds since 1970.
    pub mtime: i64,
    /// Extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file of so many bytes, holes included.
    Regular(u64),
    /// Another name for the file with this name.
    HardLink(Vec<u8>),
    /// A symbolic link to this target.
    Symlink(Vec<u8>),
    /// A directory.
    Directory,
    /// A character device: major, minor.
    CharacterDevice(u32, u32),
    /// A block device: major, minor.
    BlockDevice(u32, u32),
    /// A FIFO.
    Fifo,
}

/// A piece of a regular file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// So many bytes are in the buffer.
    Bytes(usize),
    /// So many zeros, which the archive does not hold.
    Hole(u64),
    /// There is no more.
    End,
}

impl<R: Read> Archive<R> {
    /// Reads an uncompressed archive.
    pub fn new(input: R) -> Self {
        Self {
            input,
            global: Pax::default(),
            stored_left: 0,
            padding: 0,
            ranges: VecDeque::new(),
            at: 0,
            size: 0,
            ended: false,
        }
    }

    /// The input, for what follows the archive's end.
    pub fn into_inner(self) -> R {
        self.input
    }

    /// The input, which stands at the current entry's data.
    pub fn input(&self) -> &R {
        &self.input
    }

    /// The next entry; None after the last.
    ///
    /// # Errors
    /// The archive is damaged; it cannot be read further.
    #[allow(clippy::should_implement_trait)] // a lending iterator of results
    pub fn next(&mut self) -> Result<Option<Entry>, TarError> {
        self.skip_data()?;
        let mut pax = self.global.clone();
        let (mut long_name, mut long_link) = (None, None);
        loop {
            let Some(header) = self.header()? else { return Ok(None) };
            match header.type_flag() {
                b'x' | b'X' => pax.read(&self.extension(&header, "pax header")?)?,
                b'g' => {
                    let records = self.extension(&header, "global pax header")?;
                    self.global.read(&records)?;
                    pax.read(&records)?;
                }
                b'L' => long_name = Some(until_nul(self.extension(&header, "long name")?)),
                b'K' => long_link = Some(until_nul(self.extension(&header, "long link name")?)),
                _ => return self.entry(&header, &pax, long_name, long_link).map(Some),
            }
        }
    }

    /// The next piece of the current entry. A hole is given whole; bytes fill at most `buffer`.
    ///
    /// # Errors
    /// The archive ends early.
    pub fn piece(&mut self, buffer: &mut [u8]) -> Result<Piece, TarError> {
        let Some(&(offset, length)) = self.ranges.front() else {
            let rest = self.size - self.at;
            self.at = self.size;
            return Ok(if rest > 0 { Piece::Hole(rest) } else { Piece::End });
        };
        if self.at < offset {
            let hole = offset - self.at;
            self.at = offset;
            return Ok(Piece::Hole(hole));
        }
        let count = length.min(buffer.len() as u64) as usize;
        self.fill(&mut buffer[..count])?;
        self.stored_left -= count as u64;
        self.at += count as u64;
        self.ranges.pop_front();
        if length > count as u64 {
            self.ranges.push_front((self.at, length - count as u64));
        }
        Ok(Piece::Bytes(count))
    }

    fn entry(
        &mut self,
        header: &Header,
        pax: &Pax,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Entry, TarError> {
        let get = |key: &str| pax.get(key).map(<[u8]>::to_vec);
        let path = (get("GNU.sparse.name").or_else(|| get("path")))
            .or(long_name)
            .unwrap_or_else(|| header.name());
        let link = || get("linkpath").or(long_link).unwrap_or_else(|| header.link_name());
        let stored = pax.number("size")?.map_or_else(|| header.size(), Ok)?;

        let mut has_data = false;
        let kind = match header.type_flag() {
            // In the oldest format a directory is a file whose name ends in a slash.
            0 if path.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' | b'S' => {
                has_data = true;
                Kind::Regular(0)
            }
            b'1' => Kind::HardLink(link()),
            b'2' => Kind::Symlink(link()),
            b'3' => {
                let (major, minor) = header.device()?;
                Kind::CharacterDevice(id("devmajor", major)?, id("devminor", minor)?)
            }
            b'4' => {
                let (major, minor) = header.device()?;
                Kind::BlockDevice(id("devmajor", major)?, id("devminor", minor)?)
            }
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => {
                let expected = "a file, link, directory, device or fifo";
                return Err(TarError::field("entry type", expected, &[other]));
            }
        };
        // Only files have data; old programs give directories and links a size all the same.
        self.start_data(if has_data { stored } else { 0 });
        let kind = if has_data {
            self.ranges_of(header, pax, stored)?;
            Kind::Regular(self.size)
        } else {
            (self.size, self.at) = (0, 0);
            self.ranges.clear();
            kind
        };
        Ok(Entry {
            path,
            kind,
            mode: (header.mode()? & 0o7777) as u32,
            uid: id("uid", pax.number("uid")?.map_or_else(|| header.uid(), Ok)?)?,
            gid: id("gid", pax.number("gid")?.map_or_else(|| header.gid(), Ok)?)?,
            mtime: pax.mtime()?.map_or_else(|| header.mtime(), Ok)?,
            xattrs: pax.xattrs(),
        })
    }

    fn start_data(&mut self, stored: u64) {
        self.stored_left = stored;
        self.padding = (BLOCK as u64 - stored % BLOCK as u64) % BLOCK as u64;
    }

    /// Finds out which ranges of the file the stored bytes are.
    fn ranges_of(&mut self, header: &Header, pax: &Pax, stored: u64) -> Result<(), TarError> {
        let mut map = Map::default();
        let real_size = pax.number("GNU.sparse.realsize")?.or(pax.number("GNU.sparse.size")?);
        self.size = if header.type_flag() == b'S' {
            self.old_gnu_map(header, &mut map)?;
            number("realsize", &header.0[483..495])?
        } else if pax.get("GNU.sparse.major") == Some(b"1") {
            self.map_in_data(&mut map)?;
            real_size.unwrap_or(stored)
        } else if let Some(numbers) = pax.get("GNU.sparse.map") {
            let numbers = numbers.split(|&byte| byte == b',');
            let numbers: Result<Vec<u64>, TarError> =
                numbers.map(|word| decimal("GNU.sparse.map", word)).collect();
            map.extend(&numbers?)?;
            real_size.unwrap_or(stored)
        } else if !pax.sparse_pairs.is_empty() {
            map.extend(&pax.sparse_pairs)?;
            real_size.unwrap_or(stored)
        } else {
            map.push(0, stored)?;
            stored
        };
        self.at = 0;
        self.ranges = map.finish(self.size, self.stored_left)?.into();
        Ok(())
    }

    /// GNU's first form: four ranges in the header, 21 in each block that follows it.
    fn old_gnu_map(&mut self, header: &Header, map: &mut Map) -> Result<(), TarError> {
        let mut add = |fields: &[u8]| -> Result<(), TarError> {
            for field in fields.chunks_exact(24).filter(|field| field[0] != 0) {
                map.push(
                    number("sparse offset", &field[..12])?,
                    number("sparse length", &field[12..])?,
                )?;
            }
            Ok(())
        };
        add(&header.0[386..482])?;
        let mut is_continued = header.0[482] != 0;
        while is_continued {
            let mut block = [0; BLOCK];
            self.fill(&mut block)?;
            add(&block[..504])?;
            is_continued = block[504] != 0;
        }
        Ok(())
    }

    /// PAX form 1.0: the map stands in the data, in decimal lines, padded to a block.
    fn map_in_data(&mut self, map: &mut Map) -> Result<(), TarError> {
        let mut text = Vec::new();
        let mut wanted = 1;
        let mut numbers: Vec<u64> = Vec::new();
        while numbers.len() < wanted {
            let too_large = text.len() as u64 >= MAX_EXTENSION;
            if too_large || self.stored_left < BLOCK as u64 {
                let got = self.stored_left.min(BLOCK as u64);
                return Err(TarError::Truncated { expected: BLOCK as u64, got });
            }
            let mut block = [0; BLOCK];
            self.fill(&mut block)?;
            self.stored_left -= BLOCK as u64;
            text.extend_from_slice(&block);
            while numbers.len() < wanted {
                let Some(end) = text.iter().position(|&byte| byte == b'\n') else { break };
                let line: Vec<u8> = text.drain(..=end).collect();
                let value = decimal("sparse map", &line[..end])?;
                if numbers.is_empty() {
                    let pairs = usize::try_from(value).ok();
                    let limit = (MAX_EXTENSION / 4) as usize;
                    let pairs =
                        pairs.filter(|&pairs| pairs <= limit).ok_or(TarError::TooLarge {
                            field: "sparse map",
                            expected_at_most: limit as u64,
                            got: value,
                        })?;
                    wanted = 1 + 2 * pairs;
                }
                numbers.push(value);
            }
        }
        map.extend(&numbers[1..])
    }

    /// The contents of an extension header.
    fn extension(&mut self, header: &Header, field: &'static str) -> Result<Vec<u8>, TarError> {
        let size = header.size()?;
        if size > MAX_EXTENSION {
            return Err(TarError::TooLarge { field, expected_at_most: MAX_EXTENSION, got: size });
        }
        let mut bytes = vec![0; size as usize];
        self.fill(&mut bytes)?;
        self.start_data(0);
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        self.skip_data()?;
        Ok(bytes)
    }

    /// The next header; None at the end of the archive: a block of zeros, or the end of the input.
    fn header(&mut self) -> Result<Option<Header>, TarError> {
        let mut block = [0; BLOCK];
        if self.ended || self.read_some(&mut block)? == 0 || block == [0; BLOCK] {
            self.ended = true;
            return Ok(None);
        }
        Header::check(block).map(Some)
    }

    fn skip_data(&mut self) -> Result<(), TarError> {
        let mut buffer = [0; 8192];
        let mut left = self.stored_left.saturating_add(self.padding);
        while left > 0 {
            let count = left.min(buffer.len() as u64) as usize;
            self.fill(&mut buffer[..count])?;
            left -= count as u64;
        }
        (self.stored_left, self.padding) = (0, 0);
        self.ranges.clear();
        Ok(())
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), TarError> {
        match self.read_some(buffer)? {
            0 if !buffer.is_empty() => {
                Err(TarError::Truncated { expected: buffer.len() as u64, got: 0 })
            }
            _ => Ok(()),
        }
    }

    /// Fills the buffer: its length, or 0 at the end of the input. An end in between is an error.
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.input.read(&mut buffer[filled..]) {
                Ok(0) if filled == 0 => return Ok(0),
                Ok(0) => {
                    let expected = buffer.len() as u64;
                    return Err(TarError::Truncated { expected, got: filled as u64 });
                }
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(TarError::Read(error)),
            }
        }
        Ok(filled)
    }
}

impl<R: Read + Seek> Archive<R> {
    /// Skips the current entry's data without reading it. An end of the input inside it is not noticed.
    ///
    /// # Errors
    /// The input cannot seek, or the entry is sparse, so that its data is not one run of the input.
    pub fn seek_past_data(&mut self) -> Result<(), TarError> {
        let is_whole = self.size == 0 || self.ranges.front() == Some(&(0, self.size));
        if !is_whole {
            return Err(TarError::field("entry type", "a file that is not sparse", b"S"));
        }
        let length = self.stored_left.saturating_add(self.padding);
        let length = i64::try_from(length).map_err(|_| TarError::TooLarge {
            field: "size",
            expected_at_most: i64::MAX as u64,
            got: length,
        })?;
        self.input.seek_relative(length).map_err(TarError::Read)?;
        (self.stored_left, self.padding) = (0, 0);
        self.ranges.clear();
        Ok(())
    }
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

fn id(field: &'static str, value: u64) -> Result<u32, TarError> {
    u32::try_from(value).map_err(|_| TarError::Field {
        field,
        expected: "a number below 2^32",
        got: value.to_string(),
    })
}
