//! Where an image's files lie: a directory, or an archive.

use super::{MAX_DOCUMENT, fault};
use crate::error::{Error, ImageError};
use crate::tar::{Archive, Kind, TarError, shown};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The files of an image by name (`blobs/sha256/...`).
pub(crate) enum Blobs {
    Directory(PathBuf),
    Archive { file: Arc<File>, members: BTreeMap<String, Member> },
}

/// A file in an archive.
#[derive(Clone, Debug)]
pub(crate) enum Member {
    Data { offset: u64, length: u64 },
    Link(String),
}

impl Blobs {
    pub(crate) fn directory(path: &Path) -> Self {
        Self::Directory(path.into())
    }

    /// Finds the members of an archive, which may be compressed with gzip as `docker save | gzip` makes it.
    pub(crate) fn archive(path: &Path) -> Result<Self, Error> {
        let what = || format!("read {}", path.display());
        let mut file = File::open(path).map_err(Error::io(what()))?;
        let mut magic = [0; 2];
        let is_short = file.read_exact(&mut magic).is_err();
        file.rewind().map_err(Error::io(what()))?;
        if !is_short && magic == [0x1f, 0x8b] {
            let mut plain = tempfile::tempfile().map_err(Error::io("make a temporary file"))?;
            let mut decoder = flate2::read::MultiGzDecoder::new(file);
            io::copy(&mut decoder, &mut plain).map_err(Error::io(what()))?;
            plain.rewind().map_err(Error::io(what()))?;
            file = plain;
        }
        let members = members(&file).map_err(|error| match error {
            TarError::Read(error) => Error::Io { what: what(), error },
            other => fault("archive", "a tar archive", other.to_string()).into(),
        })?;
        Ok(Self::Archive { file: Arc::new(file), members })
    }

    /// Opens a file; None if there is none.
    pub(crate) fn open(&self, name: &str) -> Result<Option<Box<dyn Read + Send>>, Error> {
        match self {
            Self::Directory(root) => {
                let path = root.join(plain_name(name)?);
                match File::open(&path) {
                    Ok(file) => Ok(Some(Box::new(file))),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(Error::io(format!("open {}", path.display()))(error)),
                }
            }
            Self::Archive { file, members } => Ok(find(members, name)?.map(|(offset, length)| {
                let part = Part { file: Arc::clone(file), at: offset, end: offset + length };
                Box::new(part) as Box<dyn Read + Send>
            })),
        }
    }

    /// A file's contents, if they are at most [`MAX_DOCUMENT`] bytes.
    pub(crate) fn document(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(file) = self.open(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = file.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes);
        read.map_err(Error::io(format!("read {name}")))?;
        if bytes.len() as u64 > MAX_DOCUMENT {
            let expected = format!("at most {MAX_DOCUMENT} bytes");
            return Err(fault(name, expected, "more").into());
        }
        Ok(Some(bytes))
    }

    /// A file that must be there.
    pub(crate) fn required(&self, name: &str) -> Result<Vec<u8>, Error> {
        let bytes = self.document(name)?;
        Ok(bytes.ok_or_else(|| fault(name, "a file of the image", "none"))?)
    }

    /// Bytes of a file, for a progress bar.
    pub(crate) fn length(&self, name: &str) -> Option<u64> {
        match self {
            Self::Directory(root) => Some(root.join(plain_name(name).ok()?).metadata().ok()?.len()),
            Self::Archive { members, .. } => Some(find(members, name).ok()??.1),
        }
    }
}

/// A name that documents give must stay inside the image.
fn plain_name(name: &str) -> Result<&str, ImageError> {
    let is_plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    if name.split('/').all(is_plain) {
        return Ok(name);
    }
    Err(fault("name", "a relative path without \"..\"", shown(name.as_bytes())))
}

/// Follows the links that old `docker save` makes between equal layers.
fn find(members: &BTreeMap<String, Member>, name: &str) -> Result<Option<(u64, u64)>, ImageError> {
    let mut name = name.to_string();
    for _ in 0..8 {
        match members.get(&name) {
            None => return Ok(None),
            Some(&Member::Data { offset, length }) => return Ok(Some((offset, length))),
            Some(Member::Link(target)) => {
                let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
                name = join(directory, target).ok_or_else(|| {
                    fault(&*name, "a link inside the archive", shown(target.as_bytes()))
                })?;
            }
        }
    }
    Err(fault(name, "at most 8 links to a file", "more"))
}

fn join(directory: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            _ => parts.push(part),
        }
    }
    (!target.starts_with('/')).then(|| parts.join("/"))
}

/// Where the members of an archive are.
fn members(file: &File) -> Result<BTreeMap<String, Member>, TarError> {
    let position = Position { file, at: 0 };
    let mut archive = Archive::new(BufReader::new(position));
    let mut members = BTreeMap::new();
    while let Some(entry) = archive.next()? {
        let Ok(path) = String::from_utf8(entry.path) else { continue };
        let name = path.trim_start_matches("./").to_string();
        let reader = archive.input();
        let offset = reader.get_ref().at - reader.buffer().len() as u64;
        let member = match entry.kind {
            Kind::Regular(length) => {
                archive.seek_past_data()?;
                Member::Data { offset, length }
            }
            Kind::Symlink(target) => match String::from_utf8(target) {
                Ok(target) => Member::Link(target),
                Err(_) => continue,
            },
            _ => continue,
        };
        if members.insert(name.clone(), member).is_some() {
            return Err(TarError::field("name", "once in the archive", name.as_bytes()));
        }
    }
    Ok(members)
}

/// A file read from its start, without its own cursor.
struct Position<'a> {
    file: &'a File,
    at: u64,
}

impl Read for Position<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Position<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.file.metadata()?.len().checked_add_signed(by),
        };
        let wrong = || io::Error::new(io::ErrorKind::InvalidInput, "seek before the start");
        self.at = at.ok_or_else(wrong)?;
        Ok(self.at)
    }
}

/// A range of a file.
struct Part {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        let count = self.file.read_at(&mut buffer[..count], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
