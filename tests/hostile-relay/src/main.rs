//! `hostile-relay PORT CONTAINER`: ends the TLS of whoever connects to the port, and passes on what is said.
#![forbid(unsafe_code)]

use std::io::{Error, ErrorKind};
use std::net::{Ipv4Addr, TcpListener};

fn main() -> Result<(), Error> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [port, container] = &arguments[..] else {
        return Err(Error::new(ErrorKind::InvalidInput, "usage: hostile-relay PORT CONTAINER"));
    };
    let bad = |error| Error::new(ErrorKind::InvalidInput, error);
    let port = port.parse().map_err(|error| bad(format!("PORT: {error}")))?;
    let container = container.parse().map_err(|error| bad(format!("CONTAINER: {error}")))?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    hostile_relay::serve(&listener, container, hostile_relay::end_tls);
    Ok(())
}
