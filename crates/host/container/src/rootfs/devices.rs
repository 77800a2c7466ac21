//! Device nodes and links below `/dev`.

use super::mounts::{attach, clone_at};
use super::resolve::{Missing, Root};
use crate::error::{Error, Result};
use crate::spec::LinuxDevice;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Uid, makedev};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use std::ffi::OsStr;
use std::path::Path;

/// A node to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Path in the container.
    pub path: std::path::PathBuf,
    /// Where the same device is on the host, for a bind mount where nodes cannot be made.
    pub host_path: std::path::PathBuf,
    /// Character, block or fifo.
    pub kind: FileType,
    /// Device number.
    pub device: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner in the container.
    pub uid: u32,
    /// Group in the container.
    pub gid: u32,
}

/// The devices that every container has (runtime specification, "Default Devices").
pub const DEFAULTS: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

impl Node {
    /// From the configuration.
    ///
    /// # Errors
    /// A type or number that is none.
    pub fn from_spec(index: usize, device: &LinuxDevice) -> Result<Self> {
        let field = |name: &str| format!("linux.devices[{index}].{name}");
        let kind = match device.kind.as_str() {
            "c" | "u" => FileType::CharacterDevice,
            "b" => FileType::BlockDevice,
            "p" => FileType::Fifo,
            other => {
                return Err(Error::config(field("type"), "c, b, u or p", format!("{other:?}")));
            }
        };
        let number = |name: &str, value: i64| {
            u32::try_from(value).map_err(|_| Error::config(field(name), "0 to 2^32-1", value))
        };
        let device_number = if kind == FileType::Fifo {
            0
        } else {
            makedev(number("major", device.major)?, number("minor", device.minor)?)
        };
        if !device.path.is_absolute() {
            let got = format!("{:?}", device.path);
            return Err(Error::config(field("path"), "an absolute path", got));
        }
        Ok(Self {
            path: device.path.clone(),
            host_path: device.path.clone(),
            kind,
            device: device_number,
            mode: device.file_mode.unwrap_or(0o666) & 0o7777,
            uid: device.uid.unwrap_or(0),
            gid: device.gid.unwrap_or(0),
        })
    }
}

/// Makes the default nodes and links in `/dev`. `is_bound`: nodes are bind mounts of the host's, because a
/// user namespace may not make them.
///
/// # Errors
/// What could not be made.
pub fn make_defaults(root: &Root, is_bound: bool) -> Result<()> {
    let dev = root.open_or_make(Path::new("/dev"), Missing::Directory)?;
    for (name, major, minor) in DEFAULTS {
        let node = Node {
            path: Path::new("/dev").join(name),
            host_path: Path::new("/dev").join(name),
            kind: FileType::CharacterDevice,
            device: makedev(major, minor),
            mode: 0o666,
            uid: 0,
            gid: 0,
        };
        make_in(&dev, OsStr::new(name), &node, is_bound)?;
    }
    for (target, name) in LINKS {
        match rustix::fs::symlinkat(target, &dev, name) {
            Ok(()) => {}
            // An image's own device, as `ptmx` was, gives way; its directories and files do not.
            Err(Errno::EXIST) if name == "ptmx" => {
                let _ = rustix::fs::unlinkat(&dev, name, AtFlags::empty());
                let _ = rustix::fs::symlinkat(target, &dev, name);
            }
            Err(Errno::EXIST | Errno::ROFS) => {}
            Err(e) => return Err(Error::os("make the link", Path::new("/dev").join(name))(e)),
        }
    }
    Ok(())
}

/// Makes one node of the configuration.
///
/// # Errors
/// What could not be made.
pub fn make(root: &Root, node: &Node, is_bound: bool) -> Result<()> {
    let (parent, name) = root.parent_of(&node.path)?;
    make_in(&parent, name, node, is_bound)
}

fn make_in(parent: &OwnedFd, name: &OsStr, node: &Node, is_bound: bool) -> Result<()> {
    let failed = |operation| Error::os(operation, &node.path);
    if is_bound {
        return bind(parent, name, node);
    }
    let mode = Mode::from_raw_mode(node.mode);
    match rustix::fs::mknodat(parent, name, node.kind, mode, node.device) {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(failed("stat"))?;
            if FileType::from_raw_mode(stat.st_mode) == node.kind && stat.st_rdev == node.device {
                return Ok(());
            }
            return bind(parent, name, node);
        }
        Err(Errno::PERM) => return bind(parent, name, node),
        Err(e) => return Err(failed("make the device")(e)),
    }
    if node.uid != 0 || node.gid != 0 {
        let owner = (Some(Uid::from_raw(node.uid)), Some(Gid::from_raw(node.gid)));
        rustix::fs::chownat(parent, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed("change the owner of"))?;
    }
    Ok(())
}

fn bind(parent: &OwnedFd, name: &OsStr, node: &Node) -> Result<()> {
    use rustix::fs::OFlags;
    let failed = |operation| Error::os(operation, &node.path);
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, &node.host_path, flags).map_err(failed("open the host's"))?;
    let create = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(parent, name, create | OFlags::EXCL, Mode::from_raw_mode(0o666)) {
        Ok(_) | Err(Errno::EXIST) => {}
        Err(e) => return Err(failed("make the mount point")(e)),
    }
    let path = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::openat(parent, name, path, Mode::empty()).map_err(failed("open"))?;
    attach(&tree, &target).map_err(failed("bind the host's device"))
}

/// Opens the host's `/dev/null` and makes sure that it is that device: an impostor would be bound over
/// every masked path.
///
/// # Errors
/// It is missing or something else.
pub fn open_null() -> Result<OwnedFd> {
    use rustix::fs::OFlags;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let null = rustix::fs::open("/dev/null", flags, Mode::empty())
        .map_err(Error::os("open", "/dev/null"))?;
    let stat = rustix::fs::statat(&null, "", AtFlags::EMPTY_PATH)
        .map_err(Error::os("stat", "/dev/null"))?;
    let is_null = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && stat.st_rdev == makedev(1, 3);
    if is_null {
        Ok(null)
    } else {
        Err(Error::os("use as the null device", "/dev/null")(Errno::NODEV))
    }
}

/// A detached copy of an open node's mount, to bind elsewhere.
pub(super) fn clone_node(fd: impl AsFd) -> std::result::Result<OwnedFd, Errno> {
    clone_at(fd, false)
}
