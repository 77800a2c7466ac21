//! A server and many clients on one thread of tokio: epoll with edges, an eventfd, sockets that do not wait.
//!
//! Runs inside a container of the tests and on Linux alike, and writes the same on both.
#![forbid(unsafe_code)]

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

/// Clients at once, and bytes that each sends: more than a connection holds.
const CLIENTS: u8 = 24;
const BYTES: usize = 700_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(serve(listener));

    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(client(address, number));
    }
    let mut echoed = 0;
    while let Some(count) = clients.join_next().await {
        echoed += count.expect("no client panics")?;
    }
    println!("echoed {echoed}");

    let mut silent = TcpStream::connect(address).await?;
    let waited = tokio::time::timeout(Duration::from_millis(20), silent.read_u8()).await;
    println!("silence {}", waited.is_err());
    server.abort();
    let _ = server.await;
    println!("after the server {:?}", silent.read(&mut [0]).await.map_err(|e| e.kind()));
    println!("nobody {:?}", TcpStream::connect(address).await.map_err(|e| e.kind()).err());

    let (a, b) = (UdpSocket::bind("[::1]:0").await?, UdpSocket::bind("[::1]:0").await?);
    a.send_to(b"datagram", b.local_addr()?).await?;
    let mut buffer = [0; 100];
    let (count, from) = b.recv_from(&mut buffer).await?;
    println!("{} {}", String::from_utf8_lossy(&buffer[..count]), from == a.local_addr()?);
    Ok(())
}

/// Sends back what comes, for good.
async fn serve(listener: TcpListener) -> Result<(), Error> {
    let mut connections = JoinSet::new();
    loop {
        let (mut stream, _) = listener.accept().await?;
        connections.spawn(async move {
            let (mut reader, mut writer) = stream.split();
            tokio::io::copy(&mut reader, &mut writer).await
        });
    }
}

/// Sends and reads at the same time; gives how many bytes came back as they were sent.
async fn client(address: SocketAddr, number: u8) -> Result<usize, Error> {
    let (mut reader, mut writer) = TcpStream::connect(address).await?.into_split();
    let sender = tokio::spawn(async move {
        let bytes: Vec<u8> = (0..BYTES).map(|index| index as u8 ^ number).collect();
        writer.write_all(&bytes).await?;
        writer.shutdown().await
    });
    let mut back = Vec::new();
    reader.read_to_end(&mut back).await?;
    sender.await.map_err(|_| ErrorKind::Other)??;
    let right = back.iter().enumerate().filter(|(index, byte)| **byte == *index as u8 ^ number);
    Ok(right.count())
}
