//! Sockets: what every address family has in common.
//!
//! An address family implements [`Socket`]; the system calls know nothing else. Addresses cross that line as
//! the program's bytes (`struct sockaddr`), for only the family can read them. No call of it waits but
//! [`Socket::connect`]: who calls the others waits on [`Socket::events`] and tries again.

mod channel;
pub mod inet;
pub mod netlink;
pub mod options;
pub mod unix;

pub use channel::{Attached, Peer, Received};

use super::file::{File, Sink, Source};
use super::stat::{FileType, Stat, makedev};
use super::task::Task;
use crate::errno::Errno;
use crate::wait::WaitQueue;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use options::Options;

pub(super) const FIONREAD: u32 = 0x541b;

/// Most connections that wait for accept(2) (net.core.somaxconn).
pub(crate) const SOMAXCONN: usize = 4096;

/// AF_UNSPEC: in connect(2), no other side any more.
pub(super) const AF_UNSPEC: u16 = 0;

/// How a socket carries bytes; the value is SOCK_*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum Kind {
    Stream = 1,
    Datagram = 2,
    Raw = 3,
    SeqPacket = 5,
}

/// Where a datagram goes, found by [`Socket::destination`].
pub enum Destination {
    /// A Unix socket.
    Unix(Arc<unix::Socket>),
    /// An address of the network.
    Inet(SocketAddr),
    /// The library OS itself.
    Netlink,
}

/// A socket of some address family.
pub trait Socket: File {
    /// SO_DOMAIN: AF_*.
    fn domain(&self) -> u16;
    /// SO_TYPE.
    fn kind(&self) -> Kind;
    /// SO_PROTOCOL: IPPROTO_* and the like.
    fn protocol(&self) -> u32;
    /// What setsockopt(2) has set.
    fn options(&self) -> &Options;
    /// Where who would wait for it waits.
    fn events(&self) -> &WaitQueue;

    /// bind(2).
    ///
    /// # Errors
    /// EINVAL where it has an address, EADDRINUSE, EADDRNOTAVAIL, EACCES, EAFNOSUPPORT.
    fn bind(&self, task: &dyn Task, address: &[u8]) -> Result<(), Errno>;

    /// connect(2); waits for the other side if `waits`.
    ///
    /// # Errors
    /// As connect(2): EINPROGRESS where it goes on, ECONNREFUSED, EISCONN, ENETUNREACH, ...
    fn connect(&self, task: &dyn Task, address: &[u8], waits: bool) -> Result<(), Errno>;

    /// listen(2).
    ///
    /// # Errors
    /// EOPNOTSUPP where it takes no connections, EINVAL, EADDRINUSE.
    fn listen(&self, backlog: usize) -> Result<(), Errno> {
        let _ = backlog;
        Err(Errno::EOPNOTSUPP)
    }

    /// Takes a connection that waits.
    ///
    /// # Errors
    /// EAGAIN, EINVAL where it does not listen, EOPNOTSUPP.
    fn accept(&self) -> Result<Arc<dyn Socket>, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Whether it takes connections (SO_ACCEPTCONN).
    fn is_listening(&self) -> bool {
        false
    }

    /// Its own address (getsockname(2)).
    fn name(&self) -> Vec<u8>;

    /// Address of the other side (getpeername(2)).
    ///
    /// # Errors
    /// ENOTCONN.
    fn peer_name(&self) -> Result<Vec<u8>, Errno>;

    /// SO_PEERCRED.
    fn peer(&self) -> Peer {
        Peer { uid: u32::MAX, gid: u32::MAX, pid: 0 }
    }

    /// shutdown(2).
    ///
    /// # Errors
    /// ENOTCONN.
    fn shutdown(&self, reads: bool, writes: bool) -> Result<(), Errno>;

    /// Where an address of sendto(2) leads; None where the socket does not look at it.
    ///
    /// # Errors
    /// As sendto(2) for a bad address.
    fn destination(&self, task: &dyn Task, address: &[u8]) -> Result<Option<Destination>, Errno>;

    /// Sends to the other side, or a datagram to `to`. A stream may take less than is offered.
    ///
    /// # Errors
    /// EAGAIN without room, ENOTCONN, EPIPE, ECONNRESET, EMSGSIZE, ECONNREFUSED, EDESTADDRREQ, ...
    fn send(
        &self,
        from: &mut dyn Source,
        attached: Attached,
        to: Option<&Destination>,
    ) -> Result<usize, Errno>;

    /// Calls `wait` with the queue that tells of room for a [`send`](Self::send).
    ///
    /// # Errors
    /// What `wait` gives; ENOTCONN.
    fn wait_for_room(
        &self,
        to: Option<&Destination>,
        wait: &mut dyn FnMut(&WaitQueue) -> Result<usize, Errno>,
    ) -> Result<usize, Errno> {
        let _ = to;
        wait(self.events())
    }

    /// Receives; what is there stays if `peeks`.
    ///
    /// # Errors
    /// EAGAIN, ENOTCONN, ECONNRESET, ECONNREFUSED.
    fn receive(&self, into: &mut dyn Sink, peeks: bool) -> Result<Received, Errno>;

    /// SO_ERROR: why the last operation failed that nobody waited for. It is told once.
    fn take_error(&self) -> Option<Errno> {
        None
    }

    /// getsockopt(2) of what is the family's own.
    ///
    /// # Errors
    /// ENOPROTOOPT.
    fn option(&self, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
        let value = self.options().integer(&[], level, name).ok_or(Errno::ENOPROTOOPT)?;
        Ok(value.to_le_bytes().into())
    }

    /// setsockopt(2) of what is the family's own.
    ///
    /// # Errors
    /// ENOPROTOOPT, EINVAL for a value that does not fit.
    fn set_option(&self, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        self.options().set_integer(&[], level, name, value)
    }

    /// Takes note that the options changed: sizes of buffers.
    fn options_changed(&self) {}
}

/// A number that no other socket has: its inode.
fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// What fstat(2) says of a socket.
fn stat_of(id: u64, owner: Peer) -> Stat {
    Stat {
        dev: makedev(0, 8),
        ino: id,
        file_type: FileType::Socket,
        mode: 0o777,
        nlink: 1,
        uid: owner.uid,
        gid: owner.gid,
        ..Stat::default()
    }
}

/// Who makes a system call.
pub(super) fn own_credentials(task: &dyn Task) -> Peer {
    let credentials = task.credentials();
    Peer { pid: task.pid(), uid: credentials.euid, gid: credentials.egid }
}
