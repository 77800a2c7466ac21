//! The file system calls: arguments in, operations of this directory, results out.
//!
//! Every handler takes a [`Task`], so that all of them are tested without a kernel.

mod attributes;
mod control;
mod directories;
mod names;
mod open;
mod positions;
mod rw;
mod stat;
mod xattr;

use super::context::Caller;
use super::fd::OpenFile;
use super::flags::{AT_FDCWD, PATH_MAX};
use super::location::Location;
use super::task::Task;
use super::walk::resolve;
use crate::errno::Errno;
use crate::syscall::{Args, Entry};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Wraps a handler of this directory for the table.
macro_rules! full {
    ($number:literal, $handler:path) => {
        Entry::full($number, |thread, args| $handler(&**thread, args))
    };
}

macro_rules! partial {
    ($number:literal, $handler:path, $note:literal) => {
        Entry::partial($number, $note, |thread, args| $handler(&**thread, args))
    };
}

/// Served by the file layer.
pub const TABLE: &[Entry] = &[
    full!(0, rw::read),
    full!(1, rw::write),
    full!(2, open::open),
    full!(3, open::close),
    full!(4, stat::stat),
    full!(5, stat::fstat),
    full!(6, stat::lstat),
    full!(8, positions::lseek),
    partial!(16, control::ioctl, "requests of the files that exist here"),
    full!(17, rw::pread64),
    full!(18, rw::pwrite64),
    full!(19, rw::readv),
    full!(20, rw::writev),
    full!(21, attributes::access),
    full!(22, open::pipe),
    full!(32, open::dup),
    full!(33, open::dup2),
    full!(40, rw::sendfile),
    partial!(72, control::fcntl, "no leases, no directory notification, no SIGIO"),
    full!(73, control::flock),
    full!(74, positions::fsync),
    full!(75, positions::fsync),
    full!(76, positions::truncate),
    full!(77, positions::ftruncate),
    full!(78, directories::getdents),
    full!(79, directories::getcwd),
    full!(80, directories::chdir),
    full!(81, directories::fchdir),
    full!(82, names::rename),
    full!(83, names::mkdir),
    full!(84, names::rmdir),
    full!(85, open::creat),
    full!(86, names::link),
    full!(87, names::unlink),
    full!(88, names::symlink),
    full!(89, names::readlink),
    full!(90, attributes::chmod),
    full!(91, attributes::fchmod),
    full!(92, attributes::chown),
    full!(93, attributes::fchown),
    full!(94, attributes::lchown),
    full!(95, directories::umask),
    full!(132, attributes::utime),
    full!(133, names::mknod),
    full!(137, stat::statfs),
    full!(138, stat::fstatfs),
    full!(161, directories::chroot),
    full!(162, positions::sync),
    full!(188, xattr::setxattr),
    full!(189, xattr::lsetxattr),
    full!(190, xattr::fsetxattr),
    full!(191, xattr::getxattr),
    full!(192, xattr::lgetxattr),
    full!(193, xattr::fgetxattr),
    full!(194, xattr::listxattr),
    full!(195, xattr::llistxattr),
    full!(196, xattr::flistxattr),
    full!(197, xattr::removexattr),
    full!(198, xattr::lremovexattr),
    full!(199, xattr::fremovexattr),
    full!(217, directories::getdents64),
    full!(221, positions::fadvise64),
    full!(235, attributes::utimes),
    full!(257, open::openat),
    full!(258, names::mkdirat),
    full!(259, names::mknodat),
    full!(260, attributes::fchownat),
    full!(261, attributes::futimesat),
    full!(262, stat::newfstatat),
    full!(263, names::unlinkat),
    full!(264, names::renameat),
    full!(265, names::linkat),
    full!(266, names::symlinkat),
    full!(267, names::readlinkat),
    full!(268, attributes::fchmodat),
    full!(269, attributes::faccessat),
    full!(280, attributes::utimensat),
    partial!(285, positions::fallocate, "no collapse, insert or unshare"),
    full!(292, open::dup3),
    full!(293, open::pipe2),
    full!(295, rw::preadv),
    full!(296, rw::pwritev),
    full!(306, positions::syncfs),
    full!(316, names::renameat2),
    full!(326, rw::copy_file_range),
    partial!(327, rw::preadv2, "RWF_HIPRI, DSYNC, SYNC and NOWAIT have no effect"),
    partial!(328, rw::pwritev2, "RWF_HIPRI, DSYNC, SYNC and NOWAIT have no effect"),
    full!(332, stat::statx),
    full!(436, open::close_range),
    full!(439, attributes::faccessat2),
    full!(452, attributes::fchmodat2),
];

/// What a call answers.
type SysResult = Result<u64, Errno>;

/// A path argument.
fn path_at(task: &dyn Task, address: u64) -> Result<Vec<u8>, Errno> {
    task.read_string(address, PATH_MAX)
}

/// Where a relative `path` starts: the working directory, or that of a descriptor.
fn start(task: &dyn Task, directory: i32, path: &[u8]) -> Result<Location, Errno> {
    if directory == AT_FDCWD || path.first() == Some(&b'/') {
        return Ok(task.fs().cwd());
    }
    task.files().get(directory)?.location.clone().ok_or(Errno::ENOTDIR)
}

/// What a descriptor and a path name together.
enum Target {
    /// A place in the tree.
    Place(Location),
    /// The descriptor itself, by an empty path.
    Open(Arc<OpenFile>),
}

/// Finds the target of an `*at` call. An empty path is the descriptor itself if `may_be_empty`.
fn target(
    task: &dyn Task,
    directory: i32,
    path: u64,
    is_followed: bool,
    may_be_empty: bool,
) -> Result<Target, Errno> {
    let path = path_at(task, path)?;
    if path.is_empty() && may_be_empty {
        return match directory {
            AT_FDCWD => Ok(Target::Place(task.fs().cwd())),
            fd => Ok(Target::Open(task.files().get(fd)?)),
        };
    }
    let start = start(task, directory, &path)?;
    resolve(&Caller::of(task), &start, &path, is_followed).map(Target::Place)
}

impl Target {
    /// The place; a pipe, socket or the like has none.
    fn place(self) -> Result<Location, Errno> {
        match self {
            Self::Place(place) => Ok(place),
            Self::Open(open) => open.location.clone().ok_or(Errno::EPERM),
        }
    }
}

/// The place behind a descriptor that was not opened with O_PATH.
fn place_of(task: &dyn Task, fd: i32) -> Result<Location, Errno> {
    let open = task.files().get(fd)?;
    if open.is_path() {
        return Err(Errno::EBADF);
    }
    open.location.clone().ok_or(Errno::EPERM)
}

/// The lower half of an argument, as `unsigned int`.
fn unsigned(args: &Args, index: usize) -> u32 {
    args.0[index] as u32
}
