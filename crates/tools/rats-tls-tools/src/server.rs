//! A server: sends back what comes, to every peer at once. It ends when it is told to by a signal.

use crate::end::{End, Failure, describe};
use crate::flags::LogLevel;
use rats_tls::{SessionError, Stream};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Connections at once. Another is closed without a word: it costs nothing to ask.
const CONNECTIONS: usize = 64;

pub(crate) fn run(end: &End) -> Result<(), Failure> {
    let failed = |error| Failure::Address(end.address, error);
    let listener = TcpListener::bind(end.address).map_err(failed)?;
    println!("listening on {}", listener.local_addr().map_err(failed)?);
    let count = AtomicUsize::new(0);
    thread::scope(|scope| {
        for connection in listener.incoming() {
            // Whoever resets a connection before it is taken does not end the server.
            let Ok(connection) = connection else { continue };
            if count.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
                count.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            scope.spawn(|| {
                if let Err(error) = serve(end, connection)
                    && end.says(LogLevel::Error)
                {
                    eprintln!("session: {error}");
                }
                count.fetch_sub(1, Ordering::Relaxed);
            });
        }
    });
    Ok(())
}

fn serve(end: &End, connection: TcpStream) -> Result<(), Failure> {
    let mut stream = Stream::accept(connection, &end.party)?;
    if end.says(LogLevel::Info) {
        eprintln!("session: {}", describe(stream.peer()));
    }
    let mut buffer = vec![0; 64 << 10];
    loop {
        match stream.read(&mut buffer)? {
            0 => return stream.close().map_err(|error: SessionError| error.into()),
            count => stream.write_all(&buffer[..count])?,
        }
    }
}
