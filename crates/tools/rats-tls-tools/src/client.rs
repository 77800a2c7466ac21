//! A client: one session, one message, and its echo.

use crate::end::{End, Failure, describe};
use crate::flags::LogLevel;
use rats_tls::Stream;
use rustls::pki_types::ServerName;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

const MESSAGE: &[u8] = b"hello from the other end of an attested session\n";

pub(crate) fn run(end: &End) -> Result<(), Failure> {
    let address = end.address;
    let connected = TcpStream::connect(address);
    let socket = connected.map_err(|error| Failure::Address(address, error))?;
    let name = ServerName::IpAddress(address.ip().into());
    let mut stream = Stream::connect(socket, name, &end.party)?;
    println!("{}", describe(stream.peer()));
    if let Some(peer) = stream.peer().filter(|_| end.says(LogLevel::Debug)) {
        let verdict = serde_json::to_string(&peer.verdict);
        eprintln!("verdict: {}", verdict.expect("a verdict is made of text and numbers"));
    }
    stream.write_all(MESSAGE)?;
    let mut answer = vec![0; MESSAGE.len()];
    stream.read_exact(&mut answer)?;
    if answer != MESSAGE {
        return Err(Failure::Answer { expected: MESSAGE.len(), got: answer.len() });
    }
    println!("echo: {} bytes", answer.len());
    Ok(stream.close()?)
}
