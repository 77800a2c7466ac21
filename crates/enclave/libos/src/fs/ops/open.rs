//! open(2).

use super::{may_change, names, writable_mount};
use crate::errno::Errno;
use crate::fs::context::Caller;
use crate::fs::fd::OpenFile;
use crate::fs::file::{File, SliceSource};
use crate::fs::flags::{
    MAX_LINKS, O_ACCMODE, O_CLOEXEC, O_CREAT, O_DIRECTORY, O_EXCL, O_LARGEFILE, O_NOATIME,
    O_NOFOLLOW, O_NONBLOCK, O_PATH, O_RDONLY, O_TMPFILE, O_TRUNC, O_WRONLY,
};
use crate::fs::inode::{InodeRef, OpenHow};
use crate::fs::location::Location;
use crate::fs::memfs::Node;
use crate::fs::permission::{EXECUTE, READ, WRITE};
use crate::fs::stat::{FileType, Stat};
use crate::fs::task::Task;
use crate::fs::walk::{self, Last, resolve, resolve_parent};
use alloc::string::String;
use alloc::sync::Arc;
use core::any::Any;

/// Opens, and with O_CREAT makes, what `path` names. Waits for the other end of a fifo.
///
/// # Errors
/// As open(2).
pub fn open(
    task: &dyn Task,
    start: &Location,
    path: &[u8],
    mut flags: u32,
    mode: u32,
) -> Result<Arc<OpenFile>, Errno> {
    let caller = Caller::of(task);
    flags |= O_LARGEFILE;
    if flags & O_PATH != 0 {
        flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    } else if flags & O_TMPFILE == O_TMPFILE {
        return open_unnamed(&caller, start, path, flags, mode);
    }
    let (location, is_new) = if flags & O_CREAT != 0 {
        find_or_create(&caller, start, path, flags, mode)?
    } else {
        (resolve(&caller, start, path, flags & O_NOFOLLOW == 0)?, false)
    };
    open_found(task, &caller, location, flags, is_new)
}

/// Opens an inode again by another descriptor (open(2) of /proc/self/fd/N comes here by the magic link).
fn open_found(
    task: &dyn Task,
    caller: &Caller,
    location: Location,
    flags: u32,
    is_new: bool,
) -> Result<Arc<OpenFile>, Errno> {
    let inode = &location.inode;
    let file_type = inode.file_type();
    if flags & O_DIRECTORY != 0 && file_type != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    if flags & O_PATH != 0 {
        let file = Arc::new(PathFile { inode: inode.clone() });
        return Ok(OpenFile::new(file, Some(location), flags));
    }
    let writes = flags & O_ACCMODE != O_RDONLY || flags & O_TRUNC != 0;
    match file_type {
        FileType::Symlink => return Err(Errno::ELOOP),
        FileType::Directory if writes || flags & O_CREAT != 0 => return Err(Errno::EISDIR),
        FileType::CharDevice | FileType::BlockDevice if location.mount.flags.is_nodev => {
            return Err(Errno::EACCES);
        }
        FileType::Socket => return Err(Errno::ENXIO),
        _ => {}
    }
    if !is_new {
        let wanted = if flags & O_ACCMODE == O_WRONLY { 0 } else { READ };
        let wanted = wanted | if writes { WRITE } else { 0 };
        let stat = inode.stat();
        caller.credentials.check(&stat, wanted)?;
        if writes && matches!(file_type, FileType::Regular) {
            writable_mount(&location)?;
        }
        if flags & O_NOATIME != 0 && !caller.credentials.is_owner(&stat) {
            return Err(Errno::EPERM);
        }
    }
    let fifo = inode.as_any().downcast_ref::<Node>().and_then(Node::fifo);
    let file: Arc<dyn File> = match fifo {
        Some(fifo) => {
            let is_nonblocking = flags & O_NONBLOCK != 0;
            fifo.open_fifo(task, inode.clone(), flags, is_nonblocking)?
        }
        None => inode.clone().open(caller, OpenHow { flags })?,
    };
    if flags & O_TRUNC != 0 && file_type == FileType::Regular && !is_new {
        inode.truncate(0)?;
    }
    Ok(OpenFile::new(file, Some(location), flags))
}

fn find_or_create(
    caller: &Caller,
    start: &Location,
    path: &[u8],
    flags: u32,
    mode: u32,
) -> Result<(Location, bool), Errno> {
    if flags & O_DIRECTORY != 0 {
        return Err(Errno::EINVAL);
    }
    let mut parent = resolve_parent(caller, start, path, 0)?;
    loop {
        let name = match &parent.last {
            Last::Name(name, false) => name.clone(),
            Last::Name(_, true) => return Err(Errno::EISDIR),
            _ if flags & O_EXCL != 0 => return Err(Errno::EEXIST),
            _ => return Err(Errno::EISDIR),
        };
        let found = match walk::lookup(caller, &parent.directory, &name) {
            Ok(found) => found,
            Err(Errno::ENOENT) => {
                may_change(caller, &parent.directory)?;
                let new = names::new_inode(caller, &parent.directory, FileType::Regular, mode);
                match parent.directory.inode.create(&name, &new) {
                    // Another thread was faster: it is there now.
                    Err(Errno::EEXIST) if flags & O_EXCL == 0 => continue,
                    created => drop(created?),
                }
                return Ok((walk::lookup(caller, &parent.directory, &name)?, true));
            }
            Err(error) => return Err(error),
        };
        if flags & O_EXCL != 0 {
            return Err(Errno::EEXIST);
        }
        if found.inode.file_type() != FileType::Symlink || flags & O_NOFOLLOW != 0 {
            return Ok((found, false));
        }
        if parent.links >= MAX_LINKS {
            return Err(Errno::ELOOP);
        }
        if let Some(place) = found.inode.magic_link(caller) {
            return Ok((place?, false));
        }
        let target = found.inode.read_link(caller)?;
        let directory = parent.directory;
        parent = resolve_parent(caller, &directory, &target, parent.links + 1)?;
    }
}

/// O_TMPFILE.
fn open_unnamed(
    caller: &Caller,
    start: &Location,
    path: &[u8],
    flags: u32,
    mode: u32,
) -> Result<Arc<OpenFile>, Errno> {
    if flags & O_ACCMODE == O_RDONLY {
        return Err(Errno::EINVAL);
    }
    let directory = resolve(caller, start, path, true)?;
    if directory.inode.file_type() != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    may_change(caller, &directory)?;
    let node = directory.inode.as_any().downcast_ref::<Node>().ok_or(Errno::EOPNOTSUPP)?;
    let new = names::new_inode(caller, &directory, FileType::Regular, mode);
    let inode: InodeRef = Node::anonymous(node, new.mode, new.uid, new.gid);
    let location = Location::new(directory.mount.clone(), inode.clone());
    let file = inode.open(caller, OpenHow { flags })?;
    Ok(OpenFile::new(file, Some(location), flags & !O_DIRECTORY))
}

/// Opens a program for execve(2).
///
/// # Errors
/// As execve(2): EACCES where it is not regular, not executable, or its mount is noexec.
pub fn open_program(
    task: &dyn Task,
    start: &Location,
    path: &[u8],
    is_followed: bool,
) -> Result<(Location, Arc<dyn File>), Errno> {
    let caller = Caller::of(task);
    let location = resolve(&caller, start, path, is_followed)?;
    program_at(&caller, location)
}

/// As [`open_program`], for something found already (AT_EMPTY_PATH).
///
/// # Errors
/// As [`open_program`].
pub fn program_at(caller: &Caller, location: Location) -> Result<(Location, Arc<dyn File>), Errno> {
    match location.inode.file_type() {
        FileType::Symlink => return Err(Errno::ELOOP),
        FileType::Regular => {}
        _ => return Err(Errno::EACCES),
    }
    if location.mount.flags.is_noexec {
        return Err(Errno::EACCES);
    }
    caller.credentials.check(&location.inode.stat(), EXECUTE)?;
    let file = location.inode.clone().open(caller, OpenHow { flags: O_RDONLY })?;
    Ok((location, file))
}

/// Writes all of a file's contents, at start.
///
/// # Errors
/// ENOSPC.
pub fn write_file(caller: &Caller, inode: InodeRef, contents: &[u8]) -> Result<(), Errno> {
    let file = inode.open(caller, OpenHow { flags: O_WRONLY })?;
    let written = file.write(0, &mut SliceSource(contents))?;
    if written == contents.len() { Ok(()) } else { Err(Errno::ENOSPC) }
}

/// What O_PATH opens: a place, not its contents.
struct PathFile {
    inode: InodeRef,
}

impl File for PathFile {
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
