//! Directories: getdents, getcwd, chdir, chroot, umask.

use super::{SysResult, path_at, unsigned};
use crate::errno::Errno;
use crate::fs::context::Caller;
use crate::fs::inode::DirEntry;
use crate::fs::location::Location;
use crate::fs::permission::EXECUTE;
use crate::fs::stat::FileType;
use crate::fs::task::Task;
use crate::fs::walk::{path_of, resolve};
use crate::syscall::Args;
use alloc::vec::Vec;

/// Most bytes that one call fills.
const MAX_FILL: usize = 1 << 20;

/// getdents64(2)
pub(super) fn getdents64(task: &dyn Task, args: &Args) -> SysResult {
    list(task, args, |entry, out| {
        // struct linux_dirent64: ino, off, reclen, type, name, NUL, padding to 8.
        let length = (19 + entry.name.len() + 1).next_multiple_of(8);
        out.extend_from_slice(&entry.ino.to_le_bytes());
        out.extend_from_slice(&entry.next.to_le_bytes());
        out.extend_from_slice(&(length as u16).to_le_bytes());
        out.push(entry.file_type.dirent_type());
        out.extend_from_slice(entry.name);
        length
    })
}

/// getdents(2)
pub(super) fn getdents(task: &dyn Task, args: &Args) -> SysResult {
    list(task, args, |entry, out| {
        // struct linux_dirent: ino, off, reclen, name, NUL, padding, type in the last byte.
        let length = (18 + entry.name.len() + 2).next_multiple_of(8);
        let start = out.len();
        out.extend_from_slice(&entry.ino.to_le_bytes());
        out.extend_from_slice(&entry.next.to_le_bytes());
        out.extend_from_slice(&(length as u16).to_le_bytes());
        out.extend_from_slice(entry.name);
        out.resize(start + length - 1, 0);
        out.push(entry.file_type.dirent_type());
        length
    })
}

/// Fills a buffer with entries in one of the two forms; `encode` gives the length to pad to.
fn list(
    task: &dyn Task,
    args: &Args,
    encode: impl Fn(&DirEntry<'_>, &mut Vec<u8>) -> usize,
) -> SysResult {
    let open = task.files().get_file(args.int(0))?;
    let inode = open.file.inode().ok_or(Errno::ENOTDIR)?;
    if inode.file_type() != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    let room = (unsigned(args, 2) as usize).min(MAX_FILL);
    let mut out: Vec<u8> = Vec::new();
    let mut next = open.offset();
    let mut is_too_small = false;
    inode.read_dir(&Caller::of(task), next, &mut |entry| {
        let start = out.len();
        let length = encode(&entry, &mut out);
        if start + length > room {
            out.truncate(start);
            is_too_small = start == 0;
            return false;
        }
        out.resize(start + length, 0);
        next = entry.next;
        true
    })?;
    if is_too_small {
        return Err(Errno::EINVAL);
    }
    task.write_user(args.0[1], &out)?;
    open.set_offset(next);
    Ok(out.len() as u64)
}

/// getcwd(2)
pub(super) fn getcwd(task: &dyn Task, args: &Args) -> SysResult {
    let caller = Caller::of(task);
    let mut path = path_of(&caller, &caller.fs.cwd());
    if path.ends_with(b" (deleted)") && caller.fs.cwd().inode.stat().nlink == 0 {
        return Err(Errno::ENOENT);
    }
    path.push(0);
    if path.len() as u64 > args.0[1] {
        return Err(Errno::ERANGE);
    }
    task.write_user(args.0[0], &path)?;
    Ok(path.len() as u64)
}

/// chdir(2)
pub(super) fn chdir(task: &dyn Task, args: &Args) -> SysResult {
    let caller = Caller::of(task);
    let path = path_at(task, args.0[0])?;
    let place = resolve(&caller, &caller.fs.cwd(), &path, true)?;
    caller.fs.set_cwd(searchable(&caller, place)?);
    Ok(0)
}

/// fchdir(2)
pub(super) fn fchdir(task: &dyn Task, args: &Args) -> SysResult {
    let caller = Caller::of(task);
    let place = task.files().get(args.int(0))?.location.clone().ok_or(Errno::ENOTDIR)?;
    caller.fs.set_cwd(searchable(&caller, place)?);
    Ok(0)
}

/// chroot(2)
pub(super) fn chroot(task: &dyn Task, args: &Args) -> SysResult {
    let caller = Caller::of(task);
    let path = path_at(task, args.0[0])?;
    let place = resolve(&caller, &caller.fs.cwd(), &path, true)?;
    let place = searchable(&caller, place)?;
    if !caller.credentials.is_privileged() {
        return Err(Errno::EPERM);
    }
    caller.fs.set_root(place);
    Ok(0)
}

fn searchable(caller: &Caller, place: Location) -> Result<Location, Errno> {
    if place.inode.file_type() != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    caller.credentials.check(&place.inode.stat(), EXECUTE)?;
    Ok(place)
}

/// umask(2)
pub(super) fn umask(task: &dyn Task, args: &Args) -> SysResult {
    Ok(u64::from(task.fs().set_umask(unsigned(args, 0))))
}
