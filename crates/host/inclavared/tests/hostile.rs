//! Peers that are slow, half there or too many cost bounded memory and bounded time.

mod common;

use common::hello::bound_hello;
use common::{Relay, connect, container, echo, read, rest, wait};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

/// Of memory that a connection may take, in bytes; 9,000 of them stay below 200 MB.
const EACH: usize = 22_000;

#[test]
fn slow_hellos_are_cut_off_and_take_little_memory() {
    let web = echo("web");
    let relay = Relay::start(&[&format!("--container=web={web}"), "--hello-timeout=2"]);
    let before = relay.memory();
    // As long as a hello may be, without its end.
    let mut bytes = bound_hello("web");
    bytes.splice(3..5, [0x3f, 0xf0]);
    bytes.splice(6..9, [0, 0x3f, 0xec]);
    bytes.resize(10_000, 0);
    let slow: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = connect(relay.address);
            stream.write_all(&bytes).unwrap();
            stream
        })
        .collect();
    relay.reaches("connections_total", 200);
    assert!(relay.memory() - before < 200 * (EACH + 16_384), "{}", relay.memory() - before);
    for mut stream in slow {
        assert_eq!(rest(&mut stream), b"");
    }
    relay.logged("expected=a whole one got=10000 bytes, then 2s were over");
    assert_eq!(relay.metric("refused_total{field=\"client hello\"}"), 200);
    let mut stream = relay.connect("web");
    assert_eq!(read(&mut stream, 3), "web");
}

/// Single bytes, each soon after the other, do not keep a connection without a hello open.
#[test]
fn a_hello_byte_by_byte_has_no_more_time() {
    let web = echo("web");
    let relay = Relay::start(&[&format!("--container=web={web}"), "--hello-timeout=0.5"]);
    let mut stream = connect(relay.address);
    let hello = bound_hello("web");
    let mut sent = 0;
    // The last byte would complete it.
    wait("the relay to close", || {
        sent += 1;
        assert!(sent < hello.len(), "it waited for {sent} bytes");
        std::thread::sleep(std::time::Duration::from_millis(20));
        stream.write_all(&hello[sent - 1..sent]).is_err()
    });
    relay.logged("then 500ms were over");
}

#[test]
fn one_end_may_end_before_the_other_for_a_while() {
    let (listener, address) = container();
    let relay = Relay::start(&[&format!("--container=web={address}"), "--half-open-timeout=1"]);
    let mut verifier = relay.connect("web");
    let mut attester = listener.accept().unwrap().0;
    attester.shutdown(Shutdown::Write).unwrap();
    assert_eq!(verifier.read(&mut [0; 1]).unwrap(), 0, "the end is passed on");
    verifier.write_all(b"last words").unwrap();
    let mut got = vec![0; bound_hello("web").len() + 10];
    attester.read_exact(&mut got).unwrap();
    assert!(got.ends_with(b"last words"));
    // And no more: it is closed though nobody closes it.
    assert_eq!(rest(&mut attester), b"");
    relay.logged("timed out");
    wait("it to be closed", || relay.metric("connections_open") == 0);
    assert_eq!(relay.metric("timed_out_total"), 1);
}

#[test]
fn who_says_nothing_is_cut_off_and_who_speaks_is_not() {
    let web = echo("web");
    let relay = Relay::start(&[&format!("--container=web={web}"), "--idle-timeout=2"]);
    let (mut silent, mut speaking) = (relay.connect("web"), relay.connect("web"));
    read(&mut silent, 3);
    read(&mut speaking, 3);
    // Longer than may be idle.
    for _ in 0..12 {
        speaking.write_all(b"still").unwrap();
        assert_eq!(read(&mut speaking, 5), "still");
        std::thread::sleep(std::time::Duration::from_millis(250));
    }
    assert_eq!(rest(&mut silent), b"");
    assert_eq!(relay.metric("timed_out_total"), 1);
    speaking.write_all(b"still").unwrap();
    assert_eq!(read(&mut speaking, 5), "still");
}

#[test]
fn one_source_has_so_many_connections_and_gets_them_back() {
    let web = echo("web");
    let relay = Relay::start(&[&format!("--container=web={web}"), "--max-per-source=3"]);
    let mut open: Vec<_> = (0..3).map(|_| relay.connect("web")).collect();
    for stream in &mut open {
        assert_eq!(read(stream, 3), "web");
    }
    assert_eq!(rest(&mut connect(relay.address)), b"");
    relay.logged(r#"field="connections of one source" expected=at most 3 got=4"#);
    open.pop();
    wait("one to be free", || relay.metric("connections_open") == 2);
    assert_eq!(read(&mut relay.connect("web"), 3), "web");
}

#[test]
fn there_are_so_many_connections_in_all() {
    let web = echo("web");
    let relay = Relay::start(&[&format!("--container=web={web}"), "--max-connections=2"]);
    let _open = [relay.connect("web"), relay.connect("web")];
    relay.reaches("relayed_total", 2);
    assert_eq!(rest(&mut connect(relay.address)), b"");
    relay.logged(r#"field="connections" expected=at most 2 got=3"#);
}

/// Who sends is stopped where nobody reads, and nothing is lost when somebody does.
#[test]
fn nothing_piles_up_where_nobody_reads() {
    let (listener, address) = container();
    let relay = Relay::start(&[&format!("--container=web={address}")]);
    let verifier = relay.connect("web");
    let mut attester = listener.accept().unwrap().0;
    let before = relay.memory();
    attester.set_nonblocking(true).unwrap();
    let (mut sent, mut refused) = (0_u64, 0);
    // Until nothing more goes for a while.
    while refused < 50 {
        match attester.write(&[7; 1 << 16]) {
            Ok(count) => (sent, refused) = (sent + count as u64, 0),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                refused += 1;
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            Err(error) => panic!("{error}"),
        }
        assert!(sent < 256 << 20, "it took {sent} bytes that nobody reads");
    }
    assert!(relay.memory() - before < 2 << 20, "{}", relay.memory() - before);
    // All of it comes, though nothing more is sent that would wake the relay: a full pipe is no empty socket.
    let mut rest = verifier.take(sent);
    assert_eq!(std::io::copy(&mut rest, &mut std::io::sink()).unwrap(), sent);
}

/// A thousand here; `cargo xtask bench inclavared` has nine thousand.
#[test]
fn idle_connections_take_little_memory() {
    let web = echo_without_threads();
    let relay = Relay::start(&[&format!("--container=web={web}"), "--max-per-source=2000"]);
    let before = relay.memory();
    let open: Vec<TcpStream> = (0..1000).map(|_| relay.connect("web")).collect();
    relay.reaches("relayed_total", 1000);
    let each = (relay.memory() - before) / open.len();
    assert!(each < EACH, "{each} bytes for each connection");
}

/// Accepts and keeps.
fn echo_without_threads() -> String {
    let (listener, address) = container();
    std::thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    address
}
