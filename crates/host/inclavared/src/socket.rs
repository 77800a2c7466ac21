//! A connected stream socket of any family, without waiting.

use crate::address::Address;
use crate::watched::Watched;
use core::task::{Context, Poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use socket2::{Domain, Type};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

/// A socket.
#[derive(Debug)]
pub(crate) struct Socket(Watched);

impl Socket {
    /// A socket that does not block.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        Watched::new(fd).map(Self)
    }

    /// Begins to connect, and sends at once what can be sent at once; after 0 bytes the next [`send`](Self::send)
    /// says whether it went well.
    pub(crate) fn connect(address: &Address, first: &[u8]) -> io::Result<(Self, usize)> {
        let socket = connect(address)?;
        let sent = try_send(socket.as_fd(), first)?;
        Ok((Self::new(socket)?, sent))
    }

    /// Sends now what can be sent now; 0 if nothing can, or the connection is not there yet.
    pub(crate) fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        try_send(self.0.fd(), bytes)
    }

    /// Sends some bytes, as soon as some can be sent; also waits for the connection.
    pub(crate) async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let sent = self.try_send(bytes)?;
            if sent > 0 {
                return Ok(sent);
            }
            self.0.writable().await?;
        }
    }

    /// Receives some bytes; 0: the peer has ended its direction.
    pub(crate) async fn receive(&self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(|fd| receive(fd, into)).await
    }

    /// As [`receive`](Self::receive).
    pub(crate) fn poll_receive(
        &self,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_read(context, Some(into.len()), |fd| receive(fd, into))
    }

    /// As [`Watched::poll_read`].
    pub(crate) fn poll_read(
        &self,
        context: &mut Context<'_>,
        enough: Option<usize>,
        read: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.0.poll_read(context, enough, read)
    }

    /// As [`Watched::poll_write`].
    pub(crate) fn poll_write(
        &self,
        context: &mut Context<'_>,
        write: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(context, write)
    }

    /// Tells the peer that nothing more comes.
    pub(crate) fn end(&self) -> io::Result<()> {
        match rustix::net::shutdown(self.0.fd(), Shutdown::Write) {
            // It has gone already.
            Err(Errno::NOTCONN) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Begins to connect: the socket can be written to once that went well or did not.
pub(crate) fn connect(address: &Address) -> io::Result<OwnedFd> {
    let target = address.to_socket()?;
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = socket2::Socket::new(Domain::from(i32::from(target.family())), kind, None)?;
    if matches!(address, Address::Tcp(_)) {
        // Else what is passed on in two pieces waits for an acknowledgement of the first.
        socket.set_tcp_nodelay(true)?;
    }
    match socket.connect(&target) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(error),
        _ => Ok(socket.into()),
    }
}

fn try_send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    match send(fd, bytes) {
        // ENOTCONN: as vsock says that it is still connecting.
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
            Ok(0)
        }
        done => done,
    }
}

/// Sends some bytes.
pub(crate) fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(fd, bytes, SendFlags::NOSIGNAL)?)
}

/// Receives some bytes; 0: the peer has ended its direction.
pub(crate) fn receive(fd: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match rustix::net::recv(fd, &mut *into, RecvFlags::empty()) {
            Err(Errno::INTR) => {}
            done => return Ok(done?.1),
        }
    }
}
