//! Character devices: /dev/null, zero, full, random, urandom, tty, console.
//!
//! Random bytes come from the enclave's own generator, never from the host.

use super::context::Caller;
use super::file::{File, Sink, Source};
use super::inode::{Inode, InodeRef, NewInode, OpenHow};
use super::memfs::{DeviceOpener, Fs, Node, Settings};
use super::stat::{FileType, Stat, makedev};
use super::stream::Streams;
use crate::errno::Errno;
use crate::platform::Platform;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

/// Device number of /dev/console: the terminal of the container's first process.
pub const CONSOLE: u64 = makedev(5, 1);
const TTY: u64 = makedev(5, 0);

const NODES: &[(&str, u64)] = &[
    ("null", makedev(1, 3)),
    ("zero", makedev(1, 5)),
    ("full", makedev(1, 7)),
    ("random", makedev(1, 8)),
    ("urandom", makedev(1, 9)),
    ("tty", TTY),
    ("console", CONSOLE),
];

const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Opens devices by number.
pub struct Devices {
    platform: &'static dyn Platform,
    streams: Arc<Streams>,
}

impl Devices {
    /// Devices whose terminals are those of `streams`.
    #[must_use]
    pub fn new(platform: &'static dyn Platform, streams: Arc<Streams>) -> Arc<Self> {
        Arc::new(Self { platform, streams })
    }
}

impl DeviceOpener for Devices {
    fn open(
        &self,
        rdev: u64,
        inode: InodeRef,
        caller: &Caller,
        _how: OpenHow,
    ) -> Result<Arc<dyn File>, Errno> {
        let kind = match NODES.iter().find(|(_, number)| *number == rdev) {
            Some(("null", _)) => Kind::Null,
            Some(("zero", _)) => Kind::Zero,
            Some(("full", _)) => Kind::Full,
            Some(("random" | "urandom", _)) => Kind::Random(self.platform),
            Some(("tty", _)) => return self.streams.terminal_of(caller.sid),
            Some(("console", _)) => return self.streams.terminal(0),
            _ => return Err(Errno::ENXIO),
        };
        Ok(Arc::new(Device { kind, inode }))
    }
}

/// The tree of /dev: device nodes, links, and empty directories for what is mounted there.
///
/// # Errors
/// Never for an empty file system; the type says so of any.
pub fn tree(settings: Settings) -> Result<Arc<Node>, Errno> {
    let root = Fs::empty(settings, 0o755);
    let new = |file_type, mode, rdev, target: &str| NewInode {
        file_type,
        mode,
        uid: 0,
        gid: 0,
        rdev,
        target: Vec::from(target),
    };
    for (name, rdev) in NODES {
        let mode = if *rdev == CONSOLE { 0o620 } else { 0o666 };
        let device = new(FileType::CharDevice, mode, *rdev, "");
        Inode::create(&*root, name.as_bytes(), &device)?;
    }
    for (name, target) in LINKS {
        let link = new(FileType::Symlink, 0o777, 0, target);
        Inode::create(&*root, name.as_bytes(), &link)?;
    }
    for name in ["shm", "pts", "mqueue"] {
        Inode::create(&*root, name.as_bytes(), &new(FileType::Directory, 0o755, 0, ""))?;
    }
    Ok(root)
}

enum Kind {
    Null,
    Zero,
    Full,
    Random(&'static dyn Platform),
}

struct Device {
    kind: Kind,
    inode: InodeRef,
}

impl File for Device {
    fn read(&self, _offset: u64, into: &mut dyn Sink) -> Result<usize, Errno> {
        let wanted = into.remaining();
        match self.kind {
            Kind::Null => return Ok(0),
            Kind::Zero | Kind::Full => into.put_zeros(wanted)?,
            Kind::Random(platform) => {
                let mut chunk = [0; 512];
                while into.remaining() > 0 {
                    let chunk = &mut chunk[..into.remaining().min(512)];
                    platform.random(chunk);
                    into.put(chunk)?;
                }
            }
        }
        Ok(wanted)
    }

    fn write(&self, _offset: u64, from: &mut dyn Source) -> Result<usize, Errno> {
        // The bytes are not even looked at, as on Linux. What is written to /dev/random adds nothing to the
        // generator: programs are no source of entropy that anyone could judge.
        let count = from.remaining();
        if matches!(self.kind, Kind::Full) && count > 0 {
            return Err(Errno::ENOSPC);
        }
        discard(from)?;
        Ok(count)
    }

    fn append(&self, from: &mut dyn Source) -> Result<(u64, usize), Errno> {
        self.write(0, from).map(|count| (0, count))
    }

    fn is_seek_ignored(&self) -> bool {
        true
    }

    fn stat(&self) -> Stat {
        self.inode.stat()
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

/// Takes everything, so that the caller sees that nothing is left.
fn discard(from: &mut dyn Source) -> Result<(), Errno> {
    let mut chunk = [0; 1024];
    while from.remaining() > 0 {
        let chunk = &mut chunk[..from.remaining().min(1024)];
        from.take(chunk)?;
    }
    Ok(())
}
