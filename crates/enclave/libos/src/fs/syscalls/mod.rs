//! The file system calls: arguments in, operations of this directory, results out.
//!
//! Every handler takes a [`Task`], so that all of them are tested without a kernel.

mod attributes;
mod control;
mod directories;
mod epoll;
mod events;
mod messages;
mod names;
mod open;
mod poll;
mod positions;
mod rw;
mod sockets;
mod stat;
mod xattr;

use super::context::Caller;
use super::fd::OpenFile;
use super::flags::{AT_FDCWD, PATH_MAX};
use super::location::Location;
use super::task::Task;
use super::walk::resolve;
use crate::errno::Errno;
use crate::syscall::{Args, Entry, Support};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// What serves a call.
#[cfg(test)]
pub(super) type Handler = fn(&dyn Task, &Args) -> SysResult;

/// Makes the table for the kernel, and one of bare handlers for the tests.
macro_rules! calls {
    ($($number:literal => $handler:path $(, $note:literal)?;)*) => {
        /// Served by the file layer.
        pub const TABLE: &[Entry] = &[$(calls!(@entry $number $handler $(, $note)?)),*];
        #[cfg(test)]
        pub(super) const HANDLERS: &[(u16, Handler)] = &[$(($number, $handler)),*];
    };
    (@entry $number:literal $handler:path) => {
        Entry::seated($number, Support::Full, |seat, args| $handler(seat, args))
    };
    (@entry $number:literal $handler:path, $note:literal) => {
        Entry::seated($number, Support::Partial($note), |seat, args| $handler(seat, args))
    };
}

calls! {
    0 => rw::read;
    1 => rw::write;
    2 => open::open;
    3 => open::close;
    4 => stat::stat;
    5 => stat::fstat;
    6 => stat::lstat;
    7 => poll::poll;
    8 => positions::lseek;
    16 => control::ioctl, "requests of the files that exist here";
    17 => rw::pread64;
    18 => rw::pwrite64;
    19 => rw::readv;
    20 => rw::writev;
    21 => attributes::access;
    22 => open::pipe;
    23 => poll::select;
    32 => open::dup;
    33 => open::dup2;
    40 => rw::sendfile;
    41 => sockets::socket, "Unix, TCP and UDP over loopback, netlink lists; no raw sockets";
    42 => sockets::connect, "loopback only";
    43 => sockets::accept;
    44 => messages::sendto, "no MSG_OOB, MSG_FASTOPEN, MSG_ZEROCOPY";
    45 => messages::recvfrom, "no MSG_OOB, no error queue";
    46 => messages::sendmsg, "no MSG_OOB, MSG_FASTOPEN, MSG_ZEROCOPY; control data of Unix sockets";
    47 => messages::recvmsg, "no MSG_OOB, no error queue; control data of Unix sockets";
    48 => sockets::shutdown;
    49 => sockets::bind;
    50 => sockets::listen;
    51 => sockets::getsockname;
    52 => sockets::getpeername;
    53 => sockets::socketpair;
    54 => sockets::setsockopt, "the options that programs set; others ENOPROTOOPT";
    55 => sockets::getsockopt, "the options that programs set; others ENOPROTOOPT";
    72 => control::fcntl, "no leases, no directory notification, no SIGIO";
    73 => control::flock;
    74 => positions::fsync;
    75 => positions::fsync;
    76 => positions::truncate;
    77 => positions::ftruncate;
    78 => directories::getdents;
    79 => directories::getcwd;
    80 => directories::chdir;
    81 => directories::fchdir;
    82 => names::rename;
    83 => names::mkdir;
    84 => names::rmdir;
    85 => open::creat;
    86 => names::link;
    87 => names::unlink;
    88 => names::symlink;
    89 => names::readlink;
    90 => attributes::chmod;
    91 => attributes::fchmod;
    92 => attributes::chown;
    93 => attributes::fchown;
    94 => attributes::lchown;
    95 => directories::umask;
    132 => attributes::utime;
    133 => names::mknod;
    137 => stat::statfs;
    138 => stat::fstatfs;
    161 => directories::chroot;
    162 => positions::sync;
    188 => xattr::setxattr;
    189 => xattr::lsetxattr;
    190 => xattr::fsetxattr;
    191 => xattr::getxattr;
    192 => xattr::lgetxattr;
    193 => xattr::fgetxattr;
    194 => xattr::listxattr;
    195 => xattr::llistxattr;
    196 => xattr::flistxattr;
    197 => xattr::removexattr;
    198 => xattr::lremovexattr;
    199 => xattr::fremovexattr;
    213 => epoll::epoll_create;
    217 => directories::getdents64;
    221 => positions::fadvise64;
    232 => epoll::epoll_wait;
    233 => epoll::epoll_ctl;
    235 => attributes::utimes;
    257 => open::openat;
    258 => names::mkdirat;
    259 => names::mknodat;
    260 => attributes::fchownat;
    261 => attributes::futimesat;
    262 => stat::newfstatat;
    263 => names::unlinkat;
    264 => names::renameat;
    265 => names::linkat;
    266 => names::symlinkat;
    267 => names::readlinkat;
    268 => attributes::fchmodat;
    269 => attributes::faccessat;
    270 => poll::pselect6;
    271 => poll::ppoll;
    280 => attributes::utimensat;
    281 => epoll::epoll_pwait;
    282 => events::signalfd;
    283 => events::timerfd_create;
    284 => events::eventfd;
    285 => positions::fallocate, "no collapse, insert or unshare";
    286 => events::timerfd_settime;
    287 => events::timerfd_gettime;
    288 => sockets::accept4;
    289 => events::signalfd4;
    290 => events::eventfd2;
    291 => epoll::epoll_create1;
    292 => open::dup3;
    293 => open::pipe2;
    295 => rw::preadv;
    296 => rw::pwritev;
    299 => messages::recvmmsg;
    306 => positions::syncfs;
    307 => messages::sendmmsg;
    316 => names::renameat2;
    319 => events::memfd_create, "no seals, no huge pages";
    326 => rw::copy_file_range;
    327 => rw::preadv2, "RWF_HIPRI, DSYNC, SYNC and NOWAIT have no effect";
    328 => rw::pwritev2, "RWF_HIPRI, DSYNC, SYNC and NOWAIT have no effect";
    332 => stat::statx;
    436 => open::close_range;
    439 => attributes::faccessat2;
    441 => epoll::epoll_pwait2;
    452 => attributes::fchmodat2;
}

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
    let open = task.files().get_file(fd)?;
    open.location.clone().ok_or(Errno::EPERM)
}

/// The lower half of an argument, as `unsigned int`.
fn unsigned(args: &Args, index: usize) -> u32 {
    args.0[index] as u32
}
