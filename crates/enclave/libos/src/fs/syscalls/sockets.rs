//! socket, bind, listen, connect, accept, socketpair, shutdown and the options.

use super::open::{install, install_pair};
use super::{SysResult, unsigned};
use crate::errno::Errno;
use crate::fs::fd::OpenFile;
use crate::fs::flags::{O_CLOEXEC, O_NONBLOCK, O_RDWR};
use crate::fs::socket::inet::address::Family;
use crate::fs::socket::netlink::{self, AF_NETLINK, Netlink};
use crate::fs::socket::options::{SOL_SOCKET, so};
use crate::fs::socket::unix::AF_UNIX;
use crate::fs::socket::{Kind, Socket, inet, own_credentials, unix};
use crate::fs::task::{Task, retry_within};
use crate::syscall::Args;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Bytes of `struct sockaddr_storage`.
const LONGEST_ADDRESS: u32 = 128;
/// Longest value of an option that is read.
const LONGEST_VALUE: u32 = 256;

/// The socket that a description is of.
pub(super) fn socket_of(open: &OpenFile) -> Result<&dyn Socket, Errno> {
    open.file.as_socket().ok_or(Errno::ENOTSOCK)
}

fn kind_and_flags(args: &Args) -> Result<(Kind, u32), Errno> {
    let raw = unsigned(args, 1);
    let kind = match raw & 0xf {
        1 => Kind::Stream,
        2 => Kind::Datagram,
        3 => Kind::Raw,
        5 => Kind::SeqPacket,
        _ => return Err(Errno::ESOCKTNOSUPPORT),
    };
    let flags = raw & !0xf;
    if flags & !(O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    Ok((kind, flags))
}

/// A Unix socket's kind: SOCK_RAW means datagrams there.
fn unix_kind(kind: Kind, protocol: i32) -> Result<Kind, Errno> {
    if !matches!(protocol, 0 | 1) {
        return Err(Errno::EPROTONOSUPPORT);
    }
    Ok(if kind == Kind::Raw { Kind::Datagram } else { kind })
}

/// socket(2)
pub(super) fn socket(task: &dyn Task, args: &Args) -> SysResult {
    let (kind, flags) = kind_and_flags(args)?;
    let domain = u16::try_from(args.int(0)).map_err(|_| Errno::EAFNOSUPPORT)?;
    let protocol = args.int(2);
    let socket: Arc<dyn Socket> = match (domain, Family::of(domain)) {
        (_, Some(family)) => inet::open(task, family, kind, protocol)?,
        (AF_UNIX, _) => unix::Socket::new(unix_kind(kind, protocol)?, own_credentials(task)),
        (AF_NETLINK, _) => match (kind, protocol) {
            (Kind::Raw | Kind::Datagram, netlink::ROUTE) => {
                Netlink::new(kind, own_credentials(task))
            }
            (Kind::Raw | Kind::Datagram, _) => return Err(Errno::EPROTONOSUPPORT),
            _ => return Err(Errno::ESOCKTNOSUPPORT),
        },
        _ => return Err(Errno::EAFNOSUPPORT),
    };
    let open = OpenFile::new(socket, None, O_RDWR | flags & O_NONBLOCK);
    install(task, open, flags & O_CLOEXEC != 0)
}

/// socketpair(2)
pub(super) fn socketpair(task: &dyn Task, args: &Args) -> SysResult {
    let (kind, flags) = kind_and_flags(args)?;
    match u16::try_from(args.int(0)) {
        Ok(AF_UNIX) => {}
        // The network joins no two sockets without addresses.
        Ok(domain) if Family::of(domain).is_some() => return Err(Errno::EOPNOTSUPP),
        _ => return Err(Errno::EAFNOSUPPORT),
    }
    let kind = unix_kind(kind, args.int(2))?;
    let status = O_RDWR | flags & O_NONBLOCK;
    let pair = unix::Socket::pair(kind, own_credentials(task)).map(|socket| (socket, status));
    install_pair(task, args.0[3], pair, flags & O_CLOEXEC != 0)
}

/// Reads an address, which the socket understands.
pub(super) fn read_address(task: &dyn Task, address: u64, length: u32) -> Result<Vec<u8>, Errno> {
    if length > LONGEST_ADDRESS {
        return Err(Errno::EINVAL);
    }
    let mut raw = alloc::vec![0; length as usize];
    task.read_user(address, &mut raw)?;
    Ok(raw)
}

/// Writes an address where the program wants one.
pub(super) fn write_address(
    task: &dyn Task,
    raw: &[u8],
    address: u64,
    length_address: u64,
) -> Result<(), Errno> {
    if address == 0 {
        return Ok(());
    }
    let room = i32::from_le_bytes(task.read_array(length_address)?);
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    task.write_user(address, &raw[..raw.len().min(room)])?;
    task.write_user(length_address, &(raw.len() as u32).to_le_bytes())
}

/// bind(2)
pub(super) fn bind(task: &dyn Task, args: &Args) -> SysResult {
    let open = task.files().get_file(args.int(0))?;
    let socket = socket_of(&open)?;
    let address = read_address(task, args.0[1], unsigned(args, 2))?;
    socket.bind(task, &address).map(|()| 0)
}

/// listen(2)
pub(super) fn listen(task: &dyn Task, args: &Args) -> SysResult {
    let open = task.files().get_file(args.int(0))?;
    // A negative backlog is a large one, as the unsigned comparison of Linux has it.
    socket_of(&open)?.listen(unsigned(args, 1) as usize).map(|()| 0)
}

/// connect(2)
pub(super) fn connect(task: &dyn Task, args: &Args) -> SysResult {
    let open = task.files().get_file(args.int(0))?;
    let socket = socket_of(&open)?;
    let address = read_address(task, args.0[1], unsigned(args, 2))?;
    socket.connect(task, &address, !open.is_nonblocking()).map(|()| 0)
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
    let open = task.files().get_file(args.int(0))?;
    let socket = socket_of(&open)?;
    // A connection that was taken and has no descriptor would be lost.
    task.files().check_room(task.limit_nofile())?;
    let accepted = match open.is_nonblocking() {
        true => socket.accept()?,
        false => {
            let limit = socket.options().wait_limit_ns(false);
            retry_within(task, socket.events(), limit, || socket.accept())?
        }
    };
    let peer = accepted.peer_name();
    let open = OpenFile::new(accepted, None, O_RDWR | flags & O_NONBLOCK);
    // One that was reset meanwhile is given all the same, with an address of no length.
    write_address(task, &peer.unwrap_or_default(), args.0[1], args.0[2])?;
    install(task, open, flags & O_CLOEXEC != 0)
}

/// shutdown(2)
pub(super) fn shutdown(task: &dyn Task, args: &Args) -> SysResult {
    let open = task.files().get_file(args.int(0))?;
    let socket = socket_of(&open)?;
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
    let open = task.files().get_file(args.int(0))?;
    write_address(task, &socket_of(&open)?.name(), args.0[1], args.0[2]).map(|()| 0)
}

/// getpeername(2)
pub(super) fn getpeername(task: &dyn Task, args: &Args) -> SysResult {
    let open = task.files().get_file(args.int(0))?;
    write_address(task, &socket_of(&open)?.peer_name()?, args.0[1], args.0[2]).map(|()| 0)
}

/// setsockopt(2)
pub(super) fn setsockopt(task: &dyn Task, args: &Args) -> SysResult {
    let open = task.files().get_file(args.int(0))?;
    let socket = socket_of(&open)?;
    let (level, name) = (args.int(1), args.int(2));
    let length = u32::try_from(args.int(4)).map_err(|_| Errno::EINVAL)?.min(LONGEST_VALUE);
    let mut value = alloc::vec![0; length as usize];
    task.read_user(args.0[3], &mut value)?;
    let options = socket.options();
    match (level, name) {
        (SOL_SOCKET, so::LINGER) => options.set_linger(&value)?,
        (SOL_SOCKET, so::RCVTIMEO) => options.set_timeout(false, &value)?,
        (SOL_SOCKET, so::SNDTIMEO) => options.set_timeout(true, &value)?,
        _ => socket.set_option(level, name, &value)?,
    }
    socket.options_changed();
    Ok(0)
}

/// getsockopt(2)
pub(super) fn getsockopt(task: &dyn Task, args: &Args) -> SysResult {
    let open = task.files().get_file(args.int(0))?;
    let socket = socket_of(&open)?;
    let room = i32::from_le_bytes(task.read_array(args.0[4])?);
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    let value = option(socket, args.int(1), args.int(2))?;
    let count = value.len().min(room);
    task.write_user(args.0[3], &value[..count])?;
    task.write_user(args.0[4], &(count as u32).to_le_bytes())?;
    Ok(0)
}

fn option(socket: &dyn Socket, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
    let word = |value: u32| Vec::from(value.to_le_bytes());
    if level != SOL_SOCKET {
        return socket.option(level, name);
    }
    Ok(match name {
        so::TYPE => word(socket.kind() as u32),
        so::ERROR => word(socket.take_error().map_or(0, |error| error.number().into())),
        so::PROTOCOL => word(socket.protocol()),
        so::DOMAIN => word(socket.domain().into()),
        so::ACCEPTCONN => word(socket.is_listening().into()),
        so::LINGER => socket.options().linger().into(),
        so::RCVTIMEO => socket.options().timeout(false).into(),
        so::SNDTIMEO => socket.options().timeout(true).into(),
        so::COOKIE => socket.stat().ino.to_le_bytes().into(),
        so::PEERCRED => {
            let peer = socket.peer();
            [peer.pid, peer.uid, peer.gid].map(u32::to_le_bytes).concat()
        }
        _ => return socket.option(level, name),
    })
}
