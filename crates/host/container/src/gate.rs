//! Between `create` and `start`: the container's first process waits on a socket in its directory.
//!
//! `start` connects and waits for the end of the connection. The first process keeps its side open, close
//! on exec: a successful `execve` closes it, a failed one writes why. So `start` knows whether the program
//! runs, which a fifo cannot tell.

use crate::error::{Error, Result};
use crate::state::Directory;
use crate::sync::{Sync, Tag};
use rustix::fd::OwnedFd;
use rustix::fs::AtFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen,
    socket_with,
};

/// Name until the container is set up.
pub(crate) const PENDING: &str = "start.new";
/// Name from then until `start`.
pub(crate) const SOCKET: &str = "start.sock";

/// Where the first process waits.
#[derive(Debug)]
pub(crate) enum Gate {
    /// For another `rune`.
    Listener(OwnedFd),
    /// For the `rune run` that made it.
    Parent,
}

/// The answer to whoever started the program.
#[derive(Debug)]
pub(crate) enum Started {
    /// Closed by `execve`.
    Connection(OwnedFd),
    /// As [`Gate::Parent`].
    Parent,
}

impl Gate {
    /// Makes the socket, under the name that says "not yet".
    pub(crate) fn listen(directory: &Directory) -> Result<Self> {
        Ok(Self::Listener(listen_at(directory, PENDING)?))
    }

    /// In the child: waits until the program may run.
    pub(crate) fn wait(self, sync: &Sync) -> Result<Started> {
        match self {
            Self::Parent => {
                sync.expect(Tag::Go);
                Ok(Started::Parent)
            }
            Self::Listener(fd) => {
                let connection =
                    rustix::io::retry_on_intr(|| accept_with(&fd, SocketFlags::CLOEXEC))
                        .map_err(Error::os("wait on", SOCKET))?;
                Ok(Started::Connection(connection))
            }
        }
    }
}

impl Started {
    /// In the child: says why the program does not run.
    pub(crate) fn failed(&self, sync: &Sync, message: &str) {
        match self {
            Self::Connection(fd) => {
                let _ = rustix::io::write(fd, message.as_bytes());
            }
            Self::Parent => sync.send(Tag::Failed, message),
        }
    }
}

/// Binds and listens on a socket in the container's directory.
pub(crate) fn listen_at(directory: &Directory, name: &str) -> Result<OwnedFd> {
    let failed = |operation| Error::os(operation, directory.path().join(name));
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(failed("make the socket"))?;
    let address = SocketAddrUnix::new(directory.socket_path(name)).map_err(failed("name"))?;
    bind(&socket, &address).map_err(failed("bind"))?;
    listen(&socket, 8).map_err(failed("listen on"))?;
    Ok(socket)
}

/// Connects to a socket in the container's directory.
///
/// # Errors
/// As `connect(2)`.
pub fn connect_to(directory: &Directory, name: &str) -> Result<OwnedFd> {
    let failed = |operation| Error::os(operation, directory.path().join(name));
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(failed("make a socket for"))?;
    let address = SocketAddrUnix::new(directory.socket_path(name)).map_err(failed("name"))?;
    connect(&socket, &address).map_err(failed("connect to"))?;
    Ok(socket)
}

/// Lets a created container run its program.
pub(crate) fn open(directory: &Directory) -> Result<()> {
    let connection = connect_to(directory, SOCKET)?;
    // Another `start` at the same moment finds no name, or waits in the queue and sees the end.
    let _ = rustix::fs::unlinkat(directory.fd(), SOCKET, AtFlags::empty());
    let mut message = Vec::new();
    let mut buffer = [0u8; 4096];
    loop {
        match rustix::io::read(&connection, &mut buffer) {
            Err(Errno::INTR) => {}
            Ok(0) | Err(_) => break,
            Ok(n) => message.extend_from_slice(buffer.get(..n).unwrap_or_default()),
        }
    }
    if message.is_empty() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&message).into_owned();
    Err(Error::Init { message: crate::launcher::reported(message) })
}
