//! Sockets of the host that the enclave asks for: listeners, connections, and UDP sockets with one peer.
//!
//! They are streams as the sessions' descriptors are. Their open file descriptions are nobody else's, so O_NONBLOCK
//! is set on them and no call here waits. Which ports and destinations are asked for is the enclave's decision, by
//! its measured manifest; the operator's means are the network namespace and the seccomp profile.

use super::streams::{Stream, Streams};
use super::{Answer, Served};
use hostcall::{Half, address_of, address_words};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Shutdown, SocketAddrAny, SocketFlags, SocketType, acceptfrom_with, bind,
    connect, getsockname, listen, shutdown, socket_with, sockopt,
};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

impl Streams {
    /// Listens on a TCP port. A port whose last connections are still in TIME_WAIT is not taken by them: a
    /// container that starts again would have to wait minutes for it.
    pub(crate) fn net_listen(
        &self,
        words: [u64; 2],
        port: u16,
        backlog: u32,
        is_v6_only: bool,
    ) -> Served<'static> {
        let address = address_of(words);
        let socket = socket_for(address, SocketType::STREAM)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, is_v6_only)?;
        }
        bind(&socket, &SocketAddr::new(address, port))?;
        listen(&socket, i32::try_from(backlog).unwrap_or(i32::MAX))?;
        Ok(Answer::Value(self.insert(Stream::socket(socket)).into()))
    }

    /// Takes a connection that waits.
    pub(crate) fn net_accept(&self, stream: u32) -> Served<'static> {
        let listener = self.socket(stream)?;
        let (socket, peer) = acceptfrom_with(listener.fd(), FLAGS)?;
        // Gone already: whoever accepts looks for the next one.
        let peer = peer.ok_or(Errno::CONNABORTED)?;
        let [port, high, low] = name_words(peer)?;
        send_at_once(&socket);
        let stream = self.insert(Stream::socket(socket));
        Ok(Answer::Values([stream.into(), port, high, low]))
    }

    /// Begins a connection.
    pub(crate) fn net_connect(
        &self,
        words: [u64; 2],
        port: u16,
        is_datagram: bool,
    ) -> Served<'static> {
        let address = address_of(words);
        let kind = if is_datagram { SocketType::DGRAM } else { SocketType::STREAM };
        let socket = socket_for(address, kind)?;
        if !is_datagram {
            send_at_once(&socket);
        }
        match connect(&socket, &SocketAddr::new(address, port)) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(errno) => return Err(errno),
        }
        Ok(Answer::Value(self.insert(Stream::socket(socket)).into()))
    }

    /// Takes the pending error.
    pub(crate) fn net_error(&self, stream: u32) -> Served<'static> {
        let error = sockopt::socket_error(self.socket(stream)?.fd())?;
        let number = error.err().map_or(0, Errno::raw_os_error);
        Ok(Answer::Value(u64::try_from(number).unwrap_or(0)))
    }

    /// Ends one direction or both.
    pub(crate) fn net_shutdown(&self, stream: u32, half: Half) -> Served<'static> {
        let how = match half {
            Half::Read => Shutdown::Read,
            Half::Write => Shutdown::Write,
            Half::Both => Shutdown::Both,
        };
        shutdown(self.socket(stream)?.fd(), how)?;
        Ok(Answer::Done)
    }

    /// The socket's own address.
    pub(crate) fn net_name(&self, stream: u32) -> Served<'static> {
        let [port, high, low] = name_words(getsockname(self.socket(stream)?.fd())?)?;
        Ok(Answer::Values([0, port, high, low]))
    }
}

fn socket_for(address: IpAddr, kind: SocketType) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    socket_with(family, kind, FLAGS, None)
}

/// The enclave hands over what a program wrote at once, in pieces as large as it can: waiting for more would only
/// delay. A socket that cannot do it works all the same.
fn send_at_once(socket: impl AsFd) {
    let _ = sockopt::set_tcp_nodelay(socket, true);
}

/// Port and address, as the reply has them.
fn name_words(address: SocketAddrAny) -> Result<[u64; 3], Errno> {
    let address = SocketAddr::try_from(address)?;
    let [high, low] = address_words(address.ip());
    Ok([address.port().into(), high, low])
}
