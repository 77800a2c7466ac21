//! What inclavared is not: a relay that ends TLS. It has a session with each side, under a key of its own, and
//! passes on what is said in them.

use rats_tls::tls::{self, Identity};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection, StreamOwned};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Serves one verifier after the other.
pub(crate) fn serve(listener: &TcpListener, container: &str) {
    for verifier in listener.incoming() {
        // Whatever goes wrong ends this session alone.
        let _ = between(verifier.unwrap(), TcpStream::connect(container).unwrap());
    }
}

fn between(verifier: TcpStream, container: TcpStream) -> std::io::Result<()> {
    for stream in [&verifier, &container] {
        // One thread listens to both sides in turn.
        stream.set_read_timeout(Some(Duration::from_millis(10)))?;
    }
    let identity = Identity::generate().unwrap();
    let server = Arc::new(tls::server(&identity, false).unwrap());
    let client = Arc::new(tls::client(None).unwrap());
    let name = ServerName::try_from("web").unwrap();
    let server = ServerConnection::new(server).map_err(std::io::Error::other)?;
    let client = ClientConnection::new(client, name).map_err(std::io::Error::other)?;
    let mut near = StreamOwned::new(server, verifier);
    let mut far = StreamOwned::new(client, container);
    loop {
        let ended = pass(&mut near, &mut far)? | pass(&mut far, &mut near)?;
        if ended {
            return Ok(());
        }
    }
}

/// What one side says now, to the other; whether it has ended.
fn pass(from: &mut impl Read, to: &mut impl Write) -> std::io::Result<bool> {
    let mut buffer = [0; 1 << 14];
    match from.read(&mut buffer) {
        Ok(0) => Ok(true),
        Ok(count) => to.write_all(&buffer[..count]).and_then(|()| to.flush()).map(|()| false),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
