//! Sockets of the host, asked for by a scripted enclave.

mod fake;

use fake::{Thread, no_streams, null, start};
use hostcall::enclave::{CallError, Reply};
use hostcall::{Event, Half, Request, address_of, address_words};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::channel;
use urts::ExitStatus;

const EAGAIN: u16 = 11;
const EBADF: u16 = 9;
const ENOTSOCK: u16 = 88;
const EADDRINUSE: u16 = 98;
const ECONNRESET: u16 = 104;
const ECONNREFUSED: u16 = 111;
const EINVAL: u16 = 22;

const IN: u16 = 1;
const OUT: u16 = 4;
const ERR: u16 = 8;
const HUP: u16 = 0x10;
const RDHUP: u16 = 0x2000;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Runs `script` to its end, which must be `exit(0)`, beside `outside`.
fn run(
    script: impl Fn(&mut Thread) + Send + Sync + 'static,
    outside: impl FnOnce() + Send + 'static,
) {
    let enclave = start(no_streams(), script);
    let outside = std::thread::spawn(outside);
    assert_eq!(enclave.wait(), ExitStatus::Exited(0));
    // Which closes its sockets.
    drop(enclave);
    outside.join().unwrap();
}

fn call(thread: &mut Thread, request: Request<'_>) -> Result<Reply, u16> {
    thread.call(request, &mut []).map_err(|error| match error {
        CallError::Errno(number) => number,
        other => panic!("{other}"),
    })
}

fn listen(thread: &mut Thread, address: IpAddr, port: u16) -> Result<u32, u16> {
    let [high, low] = address_words(address);
    let request = Request::NetListen { high, low, port, backlog: 16, is_v6_only: false };
    thread.ask(request).map(|stream| stream as u32)
}

fn connect(thread: &mut Thread, to: SocketAddr, is_datagram: bool) -> Result<u32, u16> {
    let [high, low] = address_words(to.ip());
    let request = Request::NetConnect { high, low, port: to.port(), is_datagram };
    thread.ask(request).map(|stream| stream as u32)
}

/// Watches a stream and waits for its event.
fn ready(thread: &mut Thread, stream: u32, interest: u16) -> u16 {
    thread.ask(Request::StreamWatch { stream, interest }).unwrap();
    match Event::decode(&thread.data(Request::NextEvent {}).unwrap()).unwrap() {
        Event::Ready { stream: of, readiness } if of == stream => readiness,
        other => panic!("got {other:?}"),
    }
}

fn read(thread: &mut Thread, stream: u32) -> Result<Vec<u8>, u16> {
    thread.data(Request::StreamRead { stream, length: 65536, is_nonblocking: true })
}

fn write(thread: &mut Thread, stream: u32, bytes: &[u8]) -> Result<u64, u16> {
    thread.ask(Request::StreamWrite { stream, is_nonblocking: true, bytes })
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind((LOOPBACK, 0)).unwrap().local_addr().unwrap().port()
}

#[test]
fn a_listener_takes_connections_and_says_whom_they_come_from() {
    let port = free_port();
    let (send, up) = channel();
    let (tell, peer) = channel();
    let send = std::sync::Mutex::new(send);
    let tell = std::sync::Mutex::new(tell);
    run(
        move |thread| {
            let listener = listen(thread, LOOPBACK, port).unwrap();
            assert_eq!(listen(thread, LOOPBACK, port), Err(EADDRINUSE));
            let accept = Request::NetAccept { stream: listener };
            assert_eq!(thread.ask(accept), Err(EAGAIN));
            send.lock().unwrap().send(()).unwrap();
            assert_eq!(ready(thread, listener, IN), IN);
            let [stream, from, high, low] = call(thread, accept).unwrap().values;
            let stream = stream as u32;
            tell.lock().unwrap().send((address_of([high, low]), from as u16)).unwrap();
            assert_eq!(thread.ask(accept), Err(EAGAIN));
            let name = call(thread, Request::NetName { stream }).unwrap().values;
            assert_eq!(name, [0, port.into(), 0, 0xffff_7f00_0001]);

            assert_eq!(ready(thread, stream, IN) & IN, IN);
            assert_eq!(read(thread, stream).unwrap(), b"question");
            assert_eq!(write(thread, stream, b"answer"), Ok(6));
            let half = Half::Write;
            thread.ask(Request::NetShutdown { stream, half }).unwrap();
            assert_eq!(write(thread, stream, b"more"), Err(32), "EPIPE");
            assert_eq!(ready(thread, stream, RDHUP) & RDHUP, RDHUP);
            assert_eq!(read(thread, stream).unwrap(), b"", "the end");
            thread.ask(Request::StreamClose { stream }).unwrap();
            assert_eq!(read(thread, stream), Err(EBADF));
            // Its port has connections in TIME_WAIT, and is taken all the same.
            thread.ask(Request::StreamClose { stream: listener }).unwrap();
            let again = listen(thread, LOOPBACK, port).unwrap();
            assert_ne!(again, listener, "numbers are not used again");
            thread.exit(0);
        },
        move || {
            up.recv().unwrap();
            let mut client = TcpStream::connect((LOOPBACK, port)).unwrap();
            let own = client.local_addr().unwrap();
            client.write_all(b"question").unwrap();
            assert_eq!(peer.recv().unwrap(), (own.ip(), own.port()));
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).unwrap();
            assert_eq!(answer, b"answer");
        },
    );
}

#[test]
fn a_wildcard_listener_is_reached_over_both_families() {
    let port = free_port();
    let (send, up) = channel();
    let send = std::sync::Mutex::new(send);
    run(
        move |thread| {
            let listener = listen(thread, Ipv6Addr::UNSPECIFIED.into(), port).unwrap();
            send.lock().unwrap().send(()).unwrap();
            for expected in [LOOPBACK, Ipv6Addr::LOCALHOST.into()] {
                assert_eq!(ready(thread, listener, IN), IN);
                let reply = call(thread, Request::NetAccept { stream: listener }).unwrap();
                assert_eq!(address_of([reply.values[2], reply.values[3]]), expected);
            }
            thread.exit(0);
        },
        move || {
            up.recv().unwrap();
            drop(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap());
            drop(TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap());
        },
    );
}

#[test]
fn a_connection_is_made_without_waiting_and_a_refused_one_says_so_once() {
    let server = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let address = server.local_addr().unwrap();
    let nobody = SocketAddr::new(LOOPBACK, free_port());
    run(
        move |thread| {
            let stream = connect(thread, address, false).unwrap();
            assert_eq!(ready(thread, stream, OUT) & OUT, OUT);
            assert_eq!(thread.ask(Request::NetError { stream }), Ok(0));
            assert_eq!(write(thread, stream, b"hello"), Ok(5));
            assert_eq!(ready(thread, stream, IN) & IN, IN);
            assert_eq!(read(thread, stream).unwrap(), b"HELLO");

            let stream = connect(thread, nobody, false).unwrap();
            let got = ready(thread, stream, OUT);
            assert_eq!(got & (ERR | HUP), ERR | HUP, "{got:#x}");
            assert_eq!(thread.ask(Request::NetError { stream }), Ok(ECONNREFUSED.into()));
            assert_eq!(thread.ask(Request::NetError { stream }), Ok(0), "it was taken");
            thread.exit(0);
        },
        move || {
            let (mut peer, _) = server.accept().unwrap();
            let mut said = [0; 5];
            peer.read_exact(&mut said).unwrap();
            peer.write_all(&said.map(|byte| byte.to_ascii_uppercase())).unwrap();
            let mut rest = Vec::new();
            let _ = peer.read_to_end(&mut rest);
        },
    );
}

#[test]
fn a_peer_that_reads_nothing_is_pressed_back_and_one_that_resets_is_an_error() {
    let server = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let address = server.local_addr().unwrap();
    let (send, full) = channel();
    let send = std::sync::Mutex::new(send);
    run(
        move |thread| {
            let stream = connect(thread, address, false).unwrap();
            assert_eq!(ready(thread, stream, OUT) & OUT, OUT);
            let mut sent = 0;
            let end = loop {
                match write(thread, stream, &[b'x'; 65536]) {
                    Ok(count) => sent += count,
                    Err(errno) => break errno,
                }
            };
            assert_eq!(end, EAGAIN);
            assert_eq!(thread.ask(Request::StreamPoll { stream }), Ok(0));
            send.lock().unwrap().send(sent).unwrap();
            // The peer reads it all, which makes room, and then goes without reading one byte more.
            assert_eq!(ready(thread, stream, OUT) & OUT, OUT);
            assert!(write(thread, stream, b"unread").is_ok());
            while ready(thread, stream, IN) & (ERR | HUP) == 0 {}
            assert_eq!(read(thread, stream), Err(ECONNRESET));
            thread.exit(0);
        },
        move || {
            let (mut peer, _) = server.accept().unwrap();
            let sent = full.recv().unwrap();
            std::io::copy(&mut (&mut peer).take(sent), &mut std::io::sink()).unwrap();
            let mut one = [0];
            peer.peek(&mut one).unwrap();
        },
    );
}

#[test]
fn datagrams_keep_their_bounds() {
    let server = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let address = server.local_addr().unwrap();
    run(
        move |thread| {
            let stream = connect(thread, address, true).unwrap();
            assert_eq!(write(thread, stream, b"one"), Ok(3));
            assert_eq!(write(thread, stream, b"three"), Ok(5));
            for expected in [&b"one"[..], b"thr"] {
                assert_eq!(ready(thread, stream, IN) & IN, IN);
                let request = Request::StreamRead { stream, length: 3, is_nonblocking: true };
                assert_eq!(thread.data(request).unwrap(), expected);
            }
            thread.exit(0);
        },
        move || {
            let mut bytes = [0; 64];
            for _ in 0..2 {
                let (count, from) = server.recv_from(&mut bytes).unwrap();
                server.send_to(&bytes[..count], from).unwrap();
            }
        },
    );
}

/// A session's own socket may be shared with anyone: none of these calls reaches it.
#[test]
fn net_calls_are_for_sockets_that_the_enclave_asked_for() {
    let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
    let enclave = start([near.into(), null(), null()], |thread| {
        for stream in [0, 1] {
            let half = Half::Both;
            assert_eq!(thread.ask(Request::NetShutdown { stream, half }), Err(ENOTSOCK));
            assert_eq!(thread.ask(Request::NetError { stream }), Err(ENOTSOCK));
            assert_eq!(thread.ask(Request::NetName { stream }), Err(ENOTSOCK));
            assert_eq!(thread.ask(Request::NetAccept { stream }), Err(ENOTSOCK));
        }
        assert_eq!(thread.ask(Request::NetError { stream: 77 }), Err(EBADF));
        let port = free_port();
        listen(thread, LOOPBACK, port).unwrap();
        assert_eq!(thread.ask(Request::NetShutdown { stream: 99, half: Half::Read }), Err(EBADF));
        let client = connect(thread, SocketAddr::new(LOOPBACK, port), false).unwrap();
        assert_eq!(thread.ask(Request::NetAccept { stream: client }), Err(EINVAL));
        // An enclave that knows nothing of RDHUP is not told of it.
        assert_eq!(thread.ask(Request::StreamPoll { stream: 0 }), Ok(5));
        assert_eq!(write(thread, 0, b"still here"), Ok(10));
        thread.exit(0);
    });
    far.shutdown(std::net::Shutdown::Write).unwrap();
    let mut said = [0; 10];
    far.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"still here");
    assert_eq!(enclave.wait(), ExitStatus::Exited(0));
}

/// Sockets are closed with the enclave, and no thread waits for ever on one.
#[test]
fn the_end_of_the_enclave_closes_its_sockets() {
    let port = free_port();
    let (send, up) = channel();
    let send = std::sync::Mutex::new(send);
    let enclave = start(no_streams(), move |thread| {
        let listener = listen(thread, LOOPBACK, port).unwrap();
        thread.ask(Request::StreamWatch { stream: listener, interest: IN }).unwrap();
        send.lock().unwrap().send(()).unwrap();
        let _ = thread.data(Request::NextEvent {});
        let _ = thread.ask(Request::Park { timeout_ns: hostcall::NO_DEADLINE });
    });
    up.recv().unwrap();
    drop(TcpStream::connect((LOOPBACK, port)).unwrap());
    enclave.stop();
    drop(enclave);
    let error = TcpStream::connect((LOOPBACK, port)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}
