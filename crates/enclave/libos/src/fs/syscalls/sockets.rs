//! socket, bind, listen, connect, accept, socketpair and the options: Unix sockets only.

use super::open::{install, install_pair};
use super::{SysResult, unsigned};
use crate::errno::Errno;
use crate::fs::context::Caller;
use crate::fs::fd::OpenFile;
use crate::fs::flags::{O_CLOEXEC, O_NONBLOCK, O_RDWR};
use crate::fs::memfs::Node;
use crate::fs::ops::names::mknod;
use crate::fs::permission::WRITE;
use crate::fs::socket::{Kind, Peer, Socket};
use crate::fs::stat::FileType;
use crate::fs::task::{Task, retry};
use crate::fs::walk::resolve;
use crate::syscall::Args;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::Ordering;

const AF_UNIX: u16 = 1;
/// Bytes of `sun_path`.
const PATH: usize = 108;

const SOL_SOCKET: i32 = 1;
const SO_TYPE: i32 = 3;
const SO_ERROR: i32 = 4;
const SO_SNDBUF: i32 = 7;
const SO_RCVBUF: i32 = 8;
const SO_PASSCRED: i32 = 16;
const SO_PEERCRED: i32 = 17;
const SO_RCVTIMEO: i32 = 20;
const SO_SNDTIMEO: i32 = 21;
const SO_ACCEPTCONN: i32 = 30;
const SO_PROTOCOL: i32 = 38;
const SO_DOMAIN: i32 = 39;

/// The socket behind a descriptor, and its description.
pub(super) fn socket_of(task: &dyn Task, fd: i32) -> Result<(Arc<OpenFile>, Arc<Socket>), Errno> {
    let open = task.files().get_file(fd)?;
    let socket = open.file.as_any().downcast_ref::<Socket>().ok_or(Errno::ENOTSOCK)?;
    let socket = socket.strong().ok_or(Errno::ENOTSOCK)?;
    Ok((open, socket))
}

pub(super) fn own_credentials(task: &dyn Task) -> Peer {
    let credentials = task.credentials();
    Peer { pid: task.pid(), uid: credentials.euid, gid: credentials.egid }
}

fn kind_and_flags(args: &Args) -> Result<(Kind, u32), Errno> {
    if unsigned(args, 0) != u32::from(AF_UNIX) {
        return Err(Errno::EAFNOSUPPORT);
    }
    let raw = unsigned(args, 1);
    let kind = match raw & 0xf {
        1 => Kind::Stream,
        2 | 3 => Kind::Datagram,
        5 => Kind::SeqPacket,
        _ => return Err(Errno::ESOCKTNOSUPPORT),
    };
    let flags = raw & !0xf;
    if flags & !(O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    if !matches!(unsigned(args, 2), 0 | 1) {
        return Err(Errno::EPROTONOSUPPORT);
    }
    Ok((kind, flags))
}

/// socket(2)
pub(super) fn socket(task: &dyn Task, args: &Args) -> SysResult {
    let (kind, flags) = kind_and_flags(args)?;
    let socket = Socket::new(kind, own_credentials(task));
    let open = OpenFile::new(socket, None, O_RDWR | flags & O_NONBLOCK);
    install(task, open, flags & O_CLOEXEC != 0)
}

/// socketpair(2)
pub(super) fn socketpair(task: &dyn Task, args: &Args) -> SysResult {
    let (kind, flags) = kind_and_flags(args)?;
    let status = O_RDWR | flags & O_NONBLOCK;
    let pair = Socket::pair(kind, own_credentials(task)).map(|socket| (socket, status));
    install_pair(task, args.0[3], pair, flags & O_CLOEXEC != 0)
}

/// Reads an address: the bytes of `sun_path`, up to the NUL of a pathname. Empty for the family only.
pub(super) fn read_address(task: &dyn Task, address: u64, length: u32) -> Result<Vec<u8>, Errno> {
    let length = length as usize;
    if !(2..=2 + PATH).contains(&length) {
        return Err(Errno::EINVAL);
    }
    let mut raw = alloc::vec![0; length];
    task.read_user(address, &mut raw)?;
    if u16::from_le_bytes([raw[0], raw[1]]) != AF_UNIX {
        return Err(Errno::EINVAL);
    }
    let mut path = raw.split_off(2);
    if path.first().is_some_and(|byte| *byte != 0) {
        let end = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
        path.truncate(end);
    }
    Ok(path)
}

/// Writes an address where the program wants one.
pub(super) fn write_address(
    task: &dyn Task,
    name: &[u8],
    address: u64,
    length_address: u64,
) -> Result<(), Errno> {
    if address == 0 {
        return Ok(());
    }
    let room = i32::from_le_bytes(task.read_array(length_address)?);
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    let raw = encode_address(name);
    task.write_user(address, &raw[..raw.len().min(room)])?;
    task.write_user(length_address, &(raw.len() as u32).to_le_bytes())
}

/// `struct sockaddr_un` of a name; a pathname has its NUL.
pub(super) fn encode_address(name: &[u8]) -> Vec<u8> {
    let mut raw = Vec::from(AF_UNIX.to_le_bytes());
    raw.extend_from_slice(name);
    if name.first().is_some_and(|byte| *byte != 0) {
        raw.push(0);
    }
    raw
}

/// The socket that a name leads to.
pub(super) fn find(task: &dyn Task, name: &[u8]) -> Result<Arc<Socket>, Errno> {
    match name.first() {
        None => return Err(Errno::EINVAL),
        Some(0) => return Socket::find_abstract(name),
        Some(_) => {}
    }
    let caller = Caller::of(task);
    let place = resolve(&caller, &caller.fs.cwd(), name, true)?;
    caller.credentials.check(&place.inode.stat(), WRITE)?;
    let node = place.inode.as_any().downcast_ref::<Node>().ok_or(Errno::ECONNREFUSED)?;
    let bound = node.socket().ok_or(Errno::ECONNREFUSED)?;
    bound.downcast::<Socket>().map_err(|_| Errno::ECONNREFUSED)
}

/// bind(2)
pub(super) fn bind(task: &dyn Task, args: &Args) -> SysResult {
    let (_, socket) = socket_of(task, args.int(0))?;
    let name = read_address(task, args.0[1], unsigned(args, 2))?;
    if name.is_empty() {
        return socket.bind_any().map(|()| 0);
    }
    let caller = Caller::of(task);
    socket.bind(&name, |weak| {
        let mode = FileType::Socket as u32 | 0o777;
        let inode = mknod(&caller, &caller.fs.cwd(), &name, mode, 0)
            .map_err(|error| if error == Errno::EEXIST { Errno::EADDRINUSE } else { error })?;
        let inode: &dyn Any = inode.as_any();
        inode.downcast_ref::<Node>().ok_or(Errno::EPERM)?.bind(weak);
        Ok(())
    })?;
    Ok(0)
}

/// listen(2)
pub(super) fn listen(task: &dyn Task, args: &Args) -> SysResult {
    let (_, socket) = socket_of(task, args.int(0))?;
    // A negative backlog is a large one, as the unsigned comparison of Linux has it.
    socket.listen(unsigned(args, 1) as usize).map(|()| 0)
}

/// connect(2)
pub(super) fn connect(task: &dyn Task, args: &Args) -> SysResult {
    let (open, socket) = socket_of(task, args.int(0))?;
    let name = read_address(task, args.0[1], unsigned(args, 2))?;
    let target = find(task, &name)?;
    if open.is_nonblocking() {
        return socket.connect(&target).map(|()| 0);
    }
    retry(task, &[target.events()], None, || socket.connect(&target)).map(|()| 0)
}

/// accept(2)
pub(super) fn accept(task: &dyn Task, args: &Args) -> SysResult {
    accept_with(task, args, 0)
}

/// accept4(2)
pub(super) fn accept4(task: &dyn Task, args: &Args) -> SysResult {
    accept_with(task, args, unsigned(args, 3))
}

fn accept_with(task: &dyn Task, args: &Args, flags: u32) -> SysResult {
    if flags & !(O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let (open, socket) = socket_of(task, args.int(0))?;
    let accepted = match open.is_nonblocking() {
        true => socket.accept()?,
        false => retry(task, &[socket.events()], None, || socket.accept())?,
    };
    write_address(task, &accepted.peer_name().unwrap_or_default(), args.0[1], args.0[2])?;
    let open = OpenFile::new(accepted, None, O_RDWR | flags & O_NONBLOCK);
    install(task, open, flags & O_CLOEXEC != 0)
}

/// shutdown(2)
pub(super) fn shutdown(task: &dyn Task, args: &Args) -> SysResult {
    let (_, socket) = socket_of(task, args.int(0))?;
    let (reads, writes) = match args.int(1) {
        0 => (true, false),
        1 => (false, true),
        2 => (true, true),
        _ => return Err(Errno::EINVAL),
    };
    socket.shutdown(reads, writes).map(|()| 0)
}

/// getsockname(2)
pub(super) fn getsockname(task: &dyn Task, args: &Args) -> SysResult {
    let (_, socket) = socket_of(task, args.int(0))?;
    write_address(task, &socket.name(), args.0[1], args.0[2]).map(|()| 0)
}

/// getpeername(2)
pub(super) fn getpeername(task: &dyn Task, args: &Args) -> SysResult {
    let (_, socket) = socket_of(task, args.int(0))?;
    write_address(task, &socket.peer_name()?, args.0[1], args.0[2]).map(|()| 0)
}

/// setsockopt(2)
pub(super) fn setsockopt(task: &dyn Task, args: &Args) -> SysResult {
    let (_, socket) = socket_of(task, args.int(0))?;
    if args.int(1) != SOL_SOCKET {
        return Err(Errno::ENOPROTOOPT);
    }
    match args.int(2) {
        SO_PASSCRED => {
            let is_on = task.read_array::<4>(args.0[3])? != [0; 4];
            socket.passes_credentials.store(is_on, Ordering::Relaxed);
        }
        // Buffers have one size; asking for another is a hint that Linux may ignore, too.
        SO_SNDBUF | SO_RCVBUF => {}
        // A time that is not kept would be a promise: only none is taken.
        SO_RCVTIMEO | SO_SNDTIMEO if task.read_array::<16>(args.0[3])? == [0; 16] => {}
        _ => return Err(Errno::ENOPROTOOPT),
    }
    Ok(0)
}

/// getsockopt(2)
pub(super) fn getsockopt(task: &dyn Task, args: &Args) -> SysResult {
    let (_, socket) = socket_of(task, args.int(0))?;
    if args.int(1) != SOL_SOCKET {
        return Err(Errno::EOPNOTSUPP);
    }
    let word = |value: u32| Vec::from(value.to_le_bytes());
    let value = match args.int(2) {
        SO_TYPE => word(socket.kind as u32),
        SO_ERROR | SO_PROTOCOL => word(0),
        SO_DOMAIN => word(u32::from(AF_UNIX)),
        SO_SNDBUF | SO_RCVBUF => word(212_992),
        SO_PASSCRED => word(u32::from(socket.passes_credentials.load(Ordering::Relaxed))),
        SO_ACCEPTCONN => word(u32::from(socket.is_listening())),
        SO_RCVTIMEO | SO_SNDTIMEO => alloc::vec![0; 16],
        SO_PEERCRED => {
            let peer = socket.peer();
            [peer.pid, peer.uid, peer.gid].map(u32::to_le_bytes).concat()
        }
        _ => return Err(Errno::ENOPROTOOPT),
    };
    let room = u32::from_le_bytes(task.read_array(args.0[4])?) as usize;
    let count = value.len().min(room);
    task.write_user(args.0[3], &value[..count])?;
    task.write_user(args.0[4], &(count as u32).to_le_bytes())?;
    Ok(0)
}
