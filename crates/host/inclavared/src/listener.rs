//! Where connections come in.
//!
//! A TCP port is bound with SO_REUSEPORT, so that the next process of the same user can listen before this one
//! stops; a Unix socket is moved over the one that is there; and sockets may be handed over by whoever started
//! this process (LISTEN_FDS), which then loses no connection at all.

use crate::address::Address;
use crate::limits::Source;
use crate::watched::Watched;
use listenfd::ListenFd;
use rustix::net::SocketFlags;
use socket2::{Domain, SockRef, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

/// Connections that may wait to be accepted; the kernel has a limit of its own, somaxconn.
const BACKLOG: i32 = 4096;

/// A listening socket, in no runtime yet: each thread takes a copy.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    /// For logs.
    name: String,
}

/// A connection that came in.
pub(crate) struct Incoming {
    pub(crate) fd: OwnedFd,
    /// For logs.
    pub(crate) peer: String,
    pub(crate) source: Option<Source>,
    pub(crate) is_tcp: bool,
}

impl Listener {
    /// Listens at an address.
    ///
    /// # Errors
    /// Those of the socket; a file in the place of a Unix socket that is none.
    pub fn bind(address: &Address) -> io::Result<Self> {
        let target = address.to_socket()?;
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::from(i32::from(target.family())), kind, None)?;
        match address {
            Address::Unix(path) => listen_at(&socket, path)?,
            Address::Tcp(_) => {
                socket.set_reuse_address(true)?;
                socket.set_reuse_port(true)?;
                socket.bind(&target)?;
                socket.listen(BACKLOG)?;
            }
            Address::Vsock { .. } => {
                socket.bind(&target)?;
                socket.listen(BACKLOG)?;
            }
        }
        Self::named(socket.into(), &address.to_string())
    }

    /// Those that whoever started this process hands over: LISTEN_PID, LISTEN_FDS.
    ///
    /// # Errors
    /// One of them is no listening TCP or Unix socket.
    pub fn inherited() -> io::Result<Vec<Self>> {
        let mut handed = ListenFd::from_env();
        let mut listeners = Vec::new();
        for index in 0..handed.len() {
            let tcp = handed.take_tcp_listener(index).map(|it| it.map(OwnedFd::from));
            let fd = match tcp {
                Ok(fd) => fd,
                Err(_) => handed.take_unix_listener(index)?.map(OwnedFd::from),
            };
            let Some(fd) = fd else { continue };
            SockRef::from(&fd).set_nonblocking(true)?;
            listeners.push(Self::named(fd, &format!("socket {index} of LISTEN_FDS"))?);
        }
        Ok(listeners)
    }

    /// With the port that the kernel chose, where it did.
    fn named(fd: OwnedFd, otherwise: &str) -> io::Result<Self> {
        let address = SockRef::from(&fd).local_addr()?.as_socket();
        let name = address.map_or_else(|| otherwise.into(), |it| Address::Tcp(it).to_string());
        Ok(Self { fd, name })
    }

    /// What it listens at.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A copy in this thread's runtime.
    pub(crate) fn open(&self) -> io::Result<Acceptor> {
        let fd = self.fd.try_clone()?;
        let is_tcp = SockRef::from(&fd).local_addr()?.as_socket().is_some();
        if is_tcp {
            // Else what is passed on in two pieces waits for an acknowledgement of the first. Linux gives it to
            // each socket that is accepted.
            SockRef::from(&fd).set_tcp_nodelay(true)?;
        }
        Ok(Acceptor { fd: Watched::new(fd)?, is_tcp })
    }
}

/// Binds beside the path and moves the socket over it: there is one at every moment, and a former process keeps
/// its own until it stops.
fn listen_at(socket: &Socket, path: &Path) -> io::Result<()> {
    if std::fs::symlink_metadata(path).is_ok_and(|there| !there.file_type().is_socket()) {
        let message = format!("{}: expected a socket or nothing, got a file", path.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let _ = std::fs::remove_file(&beside); // of a process that had this number before
    socket.bind(&Address::Unix(beside.clone()).to_socket()?)?;
    socket.listen(BACKLOG)?;
    std::fs::rename(&beside, path)
}

/// Accepts in one thread. All threads wait for all listeners: who is free takes what comes.
pub(crate) struct Acceptor {
    fd: Watched,
    is_tcp: bool,
}

impl Acceptor {
    /// The next connection.
    pub(crate) async fn accept(&self) -> io::Result<Incoming> {
        loop {
            match self.fd.read(|fd| accept(fd, self.is_tcp)).await {
                // It was gone before it was accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                done => return done,
            }
        }
    }

    /// A connection that is waiting already.
    pub(crate) fn try_accept(&self) -> Option<Incoming> {
        accept(self.fd.fd(), self.is_tcp).ok()
    }
}

fn accept(listener: BorrowedFd<'_>, is_tcp: bool) -> io::Result<Incoming> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    if !is_tcp {
        let fd = rustix::net::accept_with(listener, flags)?;
        return Ok(Incoming { fd, peer: "local".into(), source: None, is_tcp });
    }
    let (fd, peer) = rustix::net::acceptfrom_with(listener, flags)?;
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    let source = peer.map(Source::from);
    let peer = peer.map_or_else(|| "unknown".into(), |it| it.to_string());
    Ok(Incoming { fd, peer, source, is_tcp })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_port_can_be_taken_over_while_it_is_listened_at() {
        let first = Listener::bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
        let second = Listener::bind(&first.name().parse().unwrap()).unwrap();
        assert_eq!(first.name(), second.name());
    }

    #[test]
    fn an_accepted_connection_passes_on_small_pieces_at_once() {
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let acceptor = listener.open().unwrap();
            let address = listener.name().strip_prefix("tcp:").unwrap();
            let _client = std::net::TcpStream::connect(address).unwrap();
            let incoming = acceptor.accept().await.unwrap();
            assert!(SockRef::from(&incoming.fd).tcp_nodelay().unwrap());
        });
    }

    #[test]
    fn a_unix_socket_can_be_taken_over_and_a_file_cannot() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.sock");
        let address = Address::Unix(path.clone());
        let first = Listener::bind(&address).unwrap();
        let second = Listener::bind(&address).unwrap();
        drop(first);
        assert!(UnixStream::connect(&path).is_ok());
        drop(second);
        assert!(UnixStream::connect(&path).is_err());
        assert!(Listener::bind(&address).is_ok(), "one that nobody listens at");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        let file = directory.path().join("file");
        std::fs::write(&file, "keep").unwrap();
        let error = Listener::bind(&Address::Unix(file.clone())).unwrap_err().to_string();
        assert!(error.ends_with("expected a socket or nothing, got a file"), "{error}");
        assert_eq!(std::fs::read(&file).unwrap(), b"keep");
    }
}
