//! What may stand in the place of inclavared.

use crate::verifier::Verifier;
use crate::{Result, Tell};
use rats_tls::tls::{self, Identity};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection, StreamOwned};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

type Between = fn(TcpStream, TcpStream) -> io::Result<()>;

/// Hostile relays before the right container.
pub(crate) fn in_the_place_of_the_relay(
    verifier: &Verifier,
    container: SocketAddr,
    tell: Tell<'_>,
) -> Result<()> {
    tell("refused: a relay that ends TLS, and passes on every frame with genuine evidence in it");
    verifier.refuses(serve(container, end_tls)?, None, None, "binding.report_data", tell)?;
    tell("no session: a relay that changes a byte");
    verifier.gets_nowhere(serve(container, change_a_byte)?, tell)
}

/// Stands between verifiers and the container for as long as this process lives.
fn serve(container: SocketAddr, between: Between) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for verifier in listener.incoming().flatten() {
            // Whatever goes wrong ends this session alone.
            let _ = TcpStream::connect(container).and_then(|it| between(verifier, it));
        }
    });
    Ok(address)
}

/// A session with each side, under a key of its own; what is said in one is said in the other.
fn end_tls(verifier: TcpStream, container: TcpStream) -> io::Result<()> {
    for stream in [&verifier, &container] {
        // One thread listens to both in turn.
        stream.set_read_timeout(Some(Duration::from_millis(10)))?;
    }
    let identity = Identity::generate().map_err(io::Error::other)?;
    let server = tls::server(&identity, false).map_err(io::Error::other)?;
    let client = tls::client(None).map_err(io::Error::other)?;
    let name = ServerName::try_from("web").map_err(io::Error::other)?;
    let server = ServerConnection::new(Arc::new(server)).map_err(io::Error::other)?;
    let client = ClientConnection::new(Arc::new(client), name).map_err(io::Error::other)?;
    let mut near = StreamOwned::new(server, verifier);
    let mut far = StreamOwned::new(client, container);
    while pass(&mut near, &mut far)? && pass(&mut far, &mut near)? {}
    Ok(())
}

/// What one side says now, to the other; false at the end.
fn pass(from: &mut impl Read, to: &mut impl Write) -> io::Result<bool> {
    let mut buffer = [0; 1 << 14];
    match from.read(&mut buffer) {
        Ok(count) => {
            to.write_all(&buffer[..count])?;
            to.flush()?;
            Ok(count > 0)
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Ok(true)
        }
        Err(error) => Err(error),
    }
}

/// Passes bytes on; of what the container says first, a bit is changed.
fn change_a_byte(verifier: TcpStream, mut container: TcpStream) -> io::Result<()> {
    let (mut up, mut down) = (verifier.try_clone()?, verifier);
    let mut to = container.try_clone()?;
    std::thread::spawn(move || {
        let _ = io::copy(&mut up, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let mut first = [0; 200];
    container.read_exact(&mut first)?;
    first[199] ^= 1;
    down.write_all(&first)?;
    io::copy(&mut container, &mut down)?;
    Ok(())
}
