//! Files whose contents are made when they are read: the frame of /proc and /sys.
//!
//! Inodes are made on lookup and keep their parents alive, never the reverse. Inode numbers are hashes of
//! the path, so that they stay the same without a table.

use super::context::Caller;
use super::dirfile::DirFile;
use super::file::{File, Sink, Source};
use super::inode::{DirEntry, Inode, InodeRef, OpenHow};
use super::location::Location;
use super::stat::{FileType, FsStat, Stat, Time};
use crate::errno::Errno;
use crate::sync::Mutex;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

/// Makes the contents of a file.
pub type Text = Box<dyn Fn(&Caller) -> Result<Vec<u8>, Errno> + Send + Sync>;
/// Takes what is written to a file.
pub type Write = Box<dyn Fn(&Caller, &[u8]) -> Result<(), Errno> + Send + Sync>;
/// Makes the target of a link.
pub type Target = Box<dyn Fn(&Caller) -> Result<Vec<u8>, Errno> + Send + Sync>;
/// Finds where a link leads.
pub type Place = Box<dyn Fn(&Caller) -> Result<Location, Errno> + Send + Sync>;

/// Opens a file that is more than its contents.
pub type Open =
    Box<dyn Fn(&Caller, InodeRef, OpenHow) -> Result<Arc<dyn File>, Errno> + Send + Sync>;

/// Names of a directory.
pub trait Names: Send + Sync {
    /// What `name` is.
    fn find(&self, caller: &Caller, name: &[u8]) -> Option<Entry>;
    /// All names, in an order that stays.
    fn list(&self, caller: &Caller) -> Vec<(Vec<u8>, FileType)>;
}

/// What a name is.
pub enum Entry {
    /// A directory.
    Directory(Box<dyn Names>),
    /// A file to read.
    Text(Text),
    /// A file to read and write.
    Control(Text, Write),
    /// A file of these permission bits that opens as an object of its own.
    Opened(u32, Open),
    /// A symbolic link.
    Link(Target),
    /// A link that leads to a place and shows a text.
    Magic(Target, Place),
}

impl Entry {
    fn file_type(&self) -> FileType {
        match self {
            Self::Directory(_) => FileType::Directory,
            Self::Text(_) | Self::Control(..) | Self::Opened(..) => FileType::Regular,
            Self::Link(_) | Self::Magic(..) => FileType::Symlink,
        }
    }

    fn mode(&self) -> u32 {
        match self {
            Self::Directory(_) => 0o555,
            Self::Text(_) => 0o444,
            Self::Control(..) => 0o644,
            Self::Opened(mode, _) => *mode,
            Self::Link(_) | Self::Magic(..) => 0o777,
        }
    }
}

/// A file of such a file system.
pub struct Pseudo {
    dev: u64,
    magic: u64,
    ino: u64,
    made: Time,
    entry: Entry,
    parent: Option<(Arc<Pseudo>, Vec<u8>)>,
    this: alloc::sync::Weak<Pseudo>,
}

impl Pseudo {
    /// The root of a file system with these names.
    #[must_use]
    pub fn root(names: Box<dyn Names>, magic: u64, made: Time) -> Arc<Self> {
        let dev = super::memfs::next_device();
        let entry = Entry::Directory(names);
        Arc::new_cyclic(|this| Self {
            dev,
            magic,
            ino: 1,
            made,
            entry,
            parent: None,
            this: this.clone(),
        })
    }

    fn child_ino(&self, name: &[u8]) -> u64 {
        // FNV-1a over the parent's number and the name, kept to 48 bits and above the root's.
        let start = self.ino ^ 0xcbf2_9ce4_8422_2325;
        let hash = name.iter().fold(start, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        (hash & 0xffff_ffff_ffff) | 2
    }
}

impl Inode for Pseudo {
    fn stat(&self) -> Stat {
        let file_type = self.file_type();
        Stat {
            dev: self.dev,
            ino: self.ino,
            file_type,
            mode: self.entry.mode(),
            nlink: if file_type == FileType::Directory { 2 } else { 1 },
            atime: self.made,
            mtime: self.made,
            ctime: self.made,
            ..Stat::default()
        }
    }

    fn file_type(&self) -> FileType {
        self.entry.file_type()
    }

    fn key(&self) -> (u64, u64) {
        (self.dev, self.ino)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn lookup(&self, caller: &Caller, name: &[u8]) -> Result<InodeRef, Errno> {
        let Entry::Directory(names) = &self.entry else { return Err(Errno::ENOTDIR) };
        let entry = names.find(caller, name).ok_or(Errno::ENOENT)?;
        let parent = self.this.upgrade().ok_or(Errno::ENOENT)?;
        Ok(Arc::new_cyclic(|this| Self {
            dev: self.dev,
            magic: self.magic,
            ino: self.child_ino(name),
            made: self.made,
            entry,
            parent: Some((parent, name.to_vec())),
            this: this.clone(),
        }))
    }

    fn parent(&self) -> Option<(InodeRef, Vec<u8>)> {
        if self.file_type() != FileType::Directory {
            return None;
        }
        let (parent, name) = self.parent.as_ref()?;
        Some((parent.clone(), name.clone()))
    }

    fn read_dir(
        &self,
        caller: &Caller,
        cookie: u64,
        emit: &mut dyn FnMut(DirEntry<'_>) -> bool,
    ) -> Result<(), Errno> {
        let Entry::Directory(names) = &self.entry else { return Err(Errno::ENOTDIR) };
        let above = self.parent.as_ref().map_or(self.ino, |(parent, _)| parent.ino);
        let names = names.list(caller);
        let dots =
            [(Vec::from(b"."), FileType::Directory), (Vec::from(b".."), FileType::Directory)];
        for (index, (name, file_type)) in dots.iter().chain(&names).enumerate() {
            let next = index as u64 + 1;
            let ino = match index {
                0 => self.ino,
                1 => above,
                _ => self.child_ino(name),
            };
            if next > cookie && !emit(DirEntry { name, ino, file_type: *file_type, next }) {
                break;
            }
        }
        Ok(())
    }

    fn read_link(&self, caller: &Caller) -> Result<Vec<u8>, Errno> {
        match &self.entry {
            Entry::Link(target) | Entry::Magic(target, _) => target(caller),
            _ => Err(Errno::EINVAL),
        }
    }

    fn magic_link(&self, caller: &Caller) -> Option<Result<Location, Errno>> {
        match &self.entry {
            Entry::Magic(_, place) => Some(place(caller)),
            _ => None,
        }
    }

    fn truncate(&self, _size: u64) -> Result<(), Errno> {
        // `echo 1 > /proc/...` truncates first.
        Ok(())
    }

    fn open(self: Arc<Self>, caller: &Caller, how: OpenHow) -> Result<Arc<dyn File>, Errno> {
        match &self.entry {
            Entry::Opened(_, open) => open(caller, self.clone(), how),
            Entry::Directory(_) => Ok(Arc::new(DirFile::new(self))),
            Entry::Text(_) | Entry::Control(..) => {
                let inode: InodeRef = self.clone();
                let made = Mutex::new(Vec::new());
                Ok(Arc::new(TextFile { pseudo: self, inode, caller: caller.clone(), made }))
            }
            _ => Err(Errno::ELOOP),
        }
    }

    fn fs_stat(&self) -> FsStat {
        FsStat { magic: self.magic, ..FsStat::default() }
    }
}

/// An open file: its contents are made anew by every read from the start.
struct TextFile {
    pseudo: Arc<Pseudo>,
    inode: InodeRef,
    caller: Caller,
    made: Mutex<Vec<u8>>,
}

impl File for TextFile {
    fn read(&self, offset: u64, into: &mut dyn Sink) -> Result<usize, Errno> {
        if offset == 0 {
            let text = match &self.pseudo.entry {
                Entry::Text(text) | Entry::Control(text, _) => text(&self.caller)?,
                _ => return Err(Errno::EINVAL),
            };
            *self.made.lock() = text;
        }
        let bytes = {
            let made = self.made.lock();
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(made.len());
            let count = into.remaining().min(made.len() - start);
            made[start..start + count].to_vec()
        };
        into.put(&bytes)?;
        Ok(bytes.len())
    }

    fn write(&self, _offset: u64, from: &mut dyn Source) -> Result<usize, Errno> {
        let Entry::Control(_, write) = &self.pseudo.entry else { return Err(Errno::EIO) };
        let count = from.remaining().min(4096);
        let mut bytes = alloc::vec![0; count];
        from.take(&mut bytes)?;
        write(&self.caller, &bytes)?;
        Ok(count)
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn stat(&self) -> Stat {
        self.pseudo.stat()
    }

    fn inode(&self) -> Option<&InodeRef> {
        Some(&self.inode)
    }

    fn description(&self) -> String {
        String::new()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A file with the same contents always.
#[must_use]
pub fn text(contents: impl Into<Vec<u8>>) -> Entry {
    let contents = contents.into();
    Entry::Text(Box::new(move |_| Ok(contents.clone())))
}

/// A file whose contents are made by `make`.
#[must_use]
pub fn made(make: impl Fn() -> String + Send + Sync + 'static) -> Entry {
    Entry::Text(Box::new(move |_| Ok(make().into_bytes())))
}
