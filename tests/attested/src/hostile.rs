//! What may stand in the place of inclavared.

use crate::verifier::Verifier;
use crate::{Result, Tell};
use hostile_relay::{Between, end_tls};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};

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
    std::thread::spawn(move || hostile_relay::serve(&listener, container, between));
    Ok(address)
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
