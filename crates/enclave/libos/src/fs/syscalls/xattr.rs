//! Extended attributes.
//!
//! `user.*` follows the file's permissions, `trusted.*` and `security.*` need user 0; all are kept as the
//! image has them and mean nothing to this library OS.

use super::{SysResult, place_of, target, unsigned};
use crate::errno::Errno;
use crate::fs::context::Caller;
use crate::fs::flags::AT_FDCWD;
use crate::fs::location::Location;
use crate::fs::permission::{READ, WRITE};
use crate::fs::stat::FileType;
use crate::fs::task::Task;
use crate::syscall::Args;
use alloc::vec;
use alloc::vec::Vec;

const XATTR_NAME_MAX: usize = 255;
const XATTR_SIZE_MAX: u64 = 65_536;
const XATTR_CREATE: u32 = 1;
const XATTR_REPLACE: u32 = 2;

macro_rules! three_forms {
    ($operation:ident: $by_path:ident, $by_link:ident, $by_fd:ident) => {
        #[doc = concat!(stringify!($by_path), "(2)")]
        pub(super) fn $by_path(task: &dyn Task, args: &Args) -> SysResult {
            $operation(task, &target(task, AT_FDCWD, args.0[0], true, false)?.place()?, args)
        }
        #[doc = concat!(stringify!($by_link), "(2)")]
        pub(super) fn $by_link(task: &dyn Task, args: &Args) -> SysResult {
            $operation(task, &target(task, AT_FDCWD, args.0[0], false, false)?.place()?, args)
        }
        #[doc = concat!(stringify!($by_fd), "(2)")]
        pub(super) fn $by_fd(task: &dyn Task, args: &Args) -> SysResult {
            $operation(task, &place_of(task, args.int(0))?, args)
        }
    };
}

three_forms!(get: getxattr, lgetxattr, fgetxattr);
three_forms!(list: listxattr, llistxattr, flistxattr);
three_forms!(set: setxattr, lsetxattr, fsetxattr);
three_forms!(remove: removexattr, lremovexattr, fremovexattr);

fn get(task: &dyn Task, place: &Location, args: &Args) -> SysResult {
    let name = name(task, args)?;
    permitted(&Caller::of(task), place, &name, READ)?;
    give(task, &place.inode.xattr(&name)?, args.0[2], args.0[3])
}

fn list(task: &dyn Task, place: &Location, args: &Args) -> SysResult {
    let mut names = Vec::new();
    for name in place.inode.xattr_names() {
        if name.starts_with(b"trusted.") && !task.credentials().is_privileged() {
            continue;
        }
        names.extend_from_slice(&name);
        names.push(0);
    }
    give(task, &names, args.0[1], args.0[2])
}

fn set(task: &dyn Task, place: &Location, args: &Args) -> SysResult {
    let name = name(task, args)?;
    let must_exist = match unsigned(args, 4) {
        0 => None,
        XATTR_CREATE => Some(false),
        XATTR_REPLACE => Some(true),
        _ => return Err(Errno::EINVAL),
    };
    if args.0[3] > XATTR_SIZE_MAX {
        return Err(Errno::E2BIG);
    }
    let mut value = vec![0; args.0[3] as usize];
    task.read_user(args.0[2], &mut value)?;
    permitted(&Caller::of(task), place, &name, WRITE)?;
    place.inode.set_xattr(&name, Some(&value), must_exist).map(|()| 0)
}

fn remove(task: &dyn Task, place: &Location, args: &Args) -> SysResult {
    let name = name(task, args)?;
    permitted(&Caller::of(task), place, &name, WRITE)?;
    place.inode.set_xattr(&name, None, Some(true)).map(|()| 0)
}

fn name(task: &dyn Task, args: &Args) -> Result<Vec<u8>, Errno> {
    let name = task.read_string(args.0[1], XATTR_NAME_MAX + 1);
    match name {
        Err(Errno::ENAMETOOLONG) => Err(Errno::ERANGE),
        Ok(name) if name.is_empty() => Err(Errno::ERANGE),
        name => name,
    }
}

fn permitted(caller: &Caller, place: &Location, name: &[u8], wanted: u32) -> Result<(), Errno> {
    let stat = place.inode.stat();
    if wanted == WRITE && place.mount.flags.is_read_only {
        return Err(Errno::EROFS);
    }
    if name.starts_with(b"user.") && name.len() > 5 {
        return match stat.file_type {
            FileType::Regular | FileType::Directory => caller.credentials.check(&stat, wanted),
            _ if wanted == WRITE => Err(Errno::EPERM),
            _ => Err(Errno::ENODATA),
        };
    }
    let privileged = caller.credentials.is_privileged();
    if name.starts_with(b"trusted.") {
        return match (privileged, wanted) {
            (true, _) => Ok(()),
            (false, WRITE) => Err(Errno::EPERM),
            (false, _) => Err(Errno::ENODATA),
        };
    }
    if name.starts_with(b"security.") {
        return if wanted == READ || privileged { Ok(()) } else { Err(Errno::EPERM) };
    }
    Err(Errno::EOPNOTSUPP)
}

/// Writes a value, or its length where the program's buffer has size 0.
fn give(task: &dyn Task, value: &[u8], address: u64, size: u64) -> SysResult {
    if size != 0 {
        if value.len() as u64 > size {
            return Err(Errno::ERANGE);
        }
        task.write_user(address, value)?;
    }
    Ok(value.len() as u64)
}
