//! What inclavared is not: a relay with a part in what it relays.
//!
//! [`end_tls`] is the attack that attested sessions are made against: it has a session with each side, under keys of
//! its own, and passes on every frame of theirs, so that the verifier gets the genuine evidence of the container that
//! it wants, made at that moment. It runs in tests, on the host and, as a program, in an enclave in between.
#![forbid(unsafe_code)]

use rats_tls::tls::{self, Identity};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection, StreamOwned};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// What happens between a verifier and a container; it returns when the session is over.
pub type Between = fn(verifier: TcpStream, container: TcpStream) -> io::Result<()>;

/// Serves one verifier after the other, each with a connection to the container, for as long as the process lives.
pub fn serve(listener: &TcpListener, container: SocketAddr, between: Between) {
    for verifier in listener.incoming().flatten() {
        // Whatever goes wrong ends this session alone.
        let _ = TcpStream::connect(container).and_then(|it| between(verifier, it));
    }
}

/// A session with each side; what is said in one is said in the other.
///
/// # Errors
/// Either side's session failed.
pub fn end_tls(verifier: TcpStream, container: TcpStream) -> io::Result<()> {
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
