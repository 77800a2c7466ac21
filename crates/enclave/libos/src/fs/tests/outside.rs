//! Sockets of streams that go through the host, by system calls.

use super::inet::{
    STREAM, accept, bind, connect, name_of, receive, send, server, set_nonblocking, socket,
};
use crate::errno::Errno;
use crate::fs::memfs::Fs;
use crate::fs::outside::testing::change;
use crate::fs::outside::{Outside, Rules, testing::Socket};
use crate::fs::socket::inet::address::Family;
use crate::fs::socket::inet::listing::sockets;
use crate::fs::stream::Streams;
use crate::fs::testing::Arg::{N, P};
use crate::fs::testing::{RecordingHost, TestTask, settings};
use crate::testing::Machine;
use std::net::SocketAddr;
use std::sync::Arc;
use workload::manifest::{Network, Protocol};

const IN: u16 = 1;
const OUT: u16 = 4;
const ERR: u16 = 8;
const HUP: u16 = 0x10;

struct Fixture {
    host: &'static RecordingHost,
    streams: Arc<Streams>,
    task: TestTask,
}

fn fixture(listen: &[u16], connect: &[&str]) -> Fixture {
    let host: &'static RecordingHost = Box::leak(Box::default());
    let machine = Machine::with_host(1000, host);
    let task = TestTask::new(machine, Fs::empty(settings(machine, 10_000), 0o755));
    let streams = Streams::new();
    let connect = connect.iter().map(|rule| rule.parse().unwrap()).collect();
    let network = Network { connect, listen: listen.into() };
    let rules = Rules { network, attester: Some((443, 65_500)) };
    task.network.attach(Outside::new(machine, streams.clone(), rules));
    Fixture { host, streams, task }
}

impl Fixture {
    fn change(&self, number: u32, body: impl FnOnce(&mut Socket)) {
        change(&self.host.net, &self.streams, number, body);
    }

    /// poll(2) of one descriptor that does not wait.
    fn poll(&self, fd: i64) -> u16 {
        let [a, b, c, d] = (fd as u32).to_le_bytes();
        self.task.set_buffer(0x3000, &[a, b, c, d, 5, 0x20, 0, 0]);
        self.task.call(7, &[P(0x3000), N(1), N(0)]).unwrap();
        let raw = self.task.buffer(0x3006, 2);
        u16::from_le_bytes([raw[0], raw[1]])
    }

    fn is_open(&self, number: u32) -> bool {
        self.host.net.lock().unwrap().sockets.contains_key(&number)
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn a_listener_takes_from_inside_and_from_outside() {
    let it = fixture(&[8080], &[]);
    let server = server(&it.task, "0.0.0.0:8080", 5);
    set_nonblocking(&it.task, server);
    assert_eq!(accept(&it.task, server).err(), Some(Errno::EAGAIN));
    assert_eq!(it.poll(server), 0);
    it.change(100, |socket| socket.waiting.push_back(address("127.0.0.1:9")));
    assert_eq!(it.poll(server), IN);
    let client = socket(&it.task, STREAM);
    connect(&it.task, client, "127.0.0.1:8080").unwrap();

    let (inner, peer) = accept(&it.task, server).unwrap();
    assert!(peer.ip().is_loopback(), "{peer}");
    assert_eq!(it.poll(server), IN);
    let (outer, peer) = accept(&it.task, server).unwrap();
    assert_eq!(peer, address("192.0.0.8:9"), "no peer of the host is on loopback");
    assert_eq!(it.poll(server), 0);

    send(&it.task, client, b"inner").unwrap();
    it.change(101, |socket| socket.input.extend(b"outer"));
    assert_eq!(it.poll(outer), IN | OUT);
    assert_eq!(receive(&it.task, inner, 9).unwrap(), b"inner");
    assert_eq!(receive(&it.task, outer, 9).unwrap(), b"outer");
    assert_eq!(send(&it.task, outer, b"answer"), Ok(6));
    assert_eq!(it.host.net.lock().unwrap().sockets[&101].output, b"answer");
    assert_eq!(name_of(&it.task, outer, 51), address("10.9.8.7:80"), "getsockname");

    it.task.call(48, &[N(outer), N(1)]).unwrap();
    assert_eq!(it.host.net.lock().unwrap().sockets[&101].shut, (false, true));
    assert_eq!(send(&it.task, outer, b"x"), Err(Errno::EPIPE));
    for fd in [outer, server] {
        it.task.call(3, &[N(fd)]).unwrap();
    }
    assert!(!it.is_open(100) && !it.is_open(101));
}

#[test]
fn a_listener_on_loopback_or_without_a_rule_is_inside_only() {
    let it = fixture(&[8080], &[]);
    server(&it.task, "127.0.0.1:8080", 5);
    server(&it.task, "0.0.0.0:8081", 5);
    assert_eq!(it.host.net.lock().unwrap().asked, [""; 0]);
    let log = it.host.log.lock().unwrap();
    assert_eq!(log.len(), 1, "{log:?}");
    assert!(log[0].starts_with("network.listen: expected a port of the manifest, got 8081"));
}

/// An address that the library OS does not know may be the host's, where the port has a rule.
#[test]
fn another_address_is_the_hosts_to_give() {
    let it = fixture(&[8080], &[]);
    let fd = socket(&it.task, STREAM);
    assert_eq!(bind(&it.task, fd, "10.0.0.7:8081"), Err(Errno::EADDRNOTAVAIL), "no rule");
    bind(&it.task, fd, "10.0.0.7:8080").unwrap();
    it.host.net.lock().unwrap().errors.push_back(Errno::EADDRNOTAVAIL);
    assert_eq!(it.task.call(50, &[N(fd), N(5)]), Err(Errno::EADDRNOTAVAIL));
    // It does not listen: another try may do better.
    assert_eq!(it.task.call(50, &[N(fd), N(5)]), Ok(0));
    let asked = it.host.net.lock().unwrap().asked();
    assert_eq!(asked, ["listen 10.0.0.7:8080", "listen 10.0.0.7:8080"]);
    let datagram = it.task.call(41, &[N(2), N(2), N(0)]).unwrap() as i64;
    assert_eq!(bind(&it.task, datagram, "10.0.0.7:8080"), Err(Errno::EADDRNOTAVAIL), "UDP");
}

#[test]
fn a_wait_in_accept_ends_when_the_host_has_a_connection() {
    let it = fixture(&[8080], &[]);
    let server = server(&it.task, "0.0.0.0:8080", 5);
    let other = it.task.sibling();
    let waiting = std::thread::spawn(move || accept(&other, server).unwrap().1);
    while it.host.net.lock().unwrap().asked.iter().all(|asked| !asked.starts_with("watch")) {
        std::thread::yield_now();
    }
    it.change(100, |socket| socket.waiting.push_back(address("10.0.0.1:7")));
    assert_eq!(waiting.join().unwrap(), address("10.0.0.1:7"));
}

#[test]
fn a_connection_that_does_not_wait_is_told_by_readiness() {
    let it = fixture(&[], &["10.0.0.0/8:any"]);
    let fd = socket(&it.task, STREAM);
    set_nonblocking(&it.task, fd);
    assert_eq!(connect(&it.task, fd, "10.0.0.5:5432"), Err(Errno::EINPROGRESS));
    assert_eq!(connect(&it.task, fd, "10.0.0.5:5432"), Err(Errno::EALREADY));
    assert_eq!(it.poll(fd), 0);
    assert_eq!(send(&it.task, fd, b"early"), Err(Errno::EAGAIN));
    it.change(100, |socket| socket.is_connecting = false);
    assert_eq!(it.poll(fd), OUT);
    assert_eq!(name_of(&it.task, fd, 52), address("10.0.0.5:5432"), "getpeername");
    assert_eq!(name_of(&it.task, fd, 51), address("10.9.8.7:80"), "getsockname");
    assert_eq!(connect(&it.task, fd, "10.0.0.5:5432"), Ok(0), "it is there");
    assert_eq!(connect(&it.task, fd, "10.0.0.5:5432"), Err(Errno::EISCONN));
    assert_eq!(send(&it.task, fd, b"late"), Ok(4));
}

/// getsockname(2), TCP_INFO and /proc/net/tcp read what had come, up to 64 KiB, with the socket's state locked.
#[test]
fn asking_about_a_connection_reads_nothing_from_the_host() {
    let it = fixture(&[], &["10.0.0.0/8:any"]);
    let fd = socket(&it.task, STREAM);
    set_nonblocking(&it.task, fd);
    assert_eq!(connect(&it.task, fd, "10.0.0.5:5432"), Err(Errno::EINPROGRESS));
    it.change(100, |socket| socket.is_connecting = false);
    assert_eq!(connect(&it.task, fd, "10.0.0.5:5432"), Ok(0));
    it.change(100, |socket| socket.input.extend(b"here"));
    let left = || it.host.net.lock().unwrap().sockets[&100].input.len();
    it.host.net.lock().unwrap().asked();
    assert_eq!(name_of(&it.task, fd, 51), address("10.9.8.7:80"), "getsockname");
    assert_eq!(it.host.net.lock().unwrap().asked(), [""; 0]);
    assert_eq!(left(), 4);

    it.task.set_buffer(0x2000, &104u32.to_le_bytes());
    it.task.call(55, &[N(fd), N(6), N(11), P(0x2100), P(0x2000)]).unwrap();
    assert_eq!(it.task.buffer(0x2100, 1), [1], "TCP_INFO: established");
    let list = || sockets(&it.task.network, Protocol::Tcp, Family::V4);
    assert!(list().contains(" 0500000A:1538 01 00000000:00000000 "), "{}", list());
    assert_eq!(left(), 4);

    // FIONREAD does: the program wants to know.
    it.task.call(16, &[N(fd), N(0x541b), P(0x2000)]).unwrap();
    assert_eq!(it.task.buffer(0x2000, 4), 4u32.to_le_bytes());
    assert_eq!(left(), 0);
    assert!(list().contains(" 0500000A:1538 01 00000000:00000004 "), "{}", list());
    assert_eq!(receive(&it.task, fd, 9).unwrap(), b"here");
}

#[test]
fn a_connection_that_fails_says_why_and_may_be_tried_again() {
    let it = fixture(&[], &["10.0.0.0/8:any"]);
    let fd = socket(&it.task, STREAM);
    set_nonblocking(&it.task, fd);
    assert_eq!(connect(&it.task, fd, "10.0.0.5:1"), Err(Errno::EINPROGRESS));
    it.change(100, |socket| socket.error = Some(Errno::ECONNREFUSED));
    assert_eq!(it.poll(fd) & (OUT | ERR | HUP), OUT | ERR | HUP);
    it.task.set_buffer(0x2000, &4u32.to_le_bytes());
    it.task.call(55, &[N(fd), N(1), N(4), P(0x2100), P(0x2000)]).unwrap();
    assert_eq!(it.task.buffer(0x2100, 4), 111u32.to_le_bytes(), "SO_ERROR");
    assert!(!it.is_open(100), "what failed is closed");
    // The first call after a failure tells of it, as Linux has it.
    assert_eq!(connect(&it.task, fd, "10.0.0.5:2"), Err(Errno::ECONNABORTED));
    assert_eq!(connect(&it.task, fd, "10.0.0.5:2"), Err(Errno::EINPROGRESS));
    it.change(101, |socket| socket.is_connecting = false);
    assert_eq!(it.poll(fd), OUT);
    assert_eq!(connect(&it.task, socket(&it.task, STREAM), "11.0.0.5:2"), Err(Errno::ENETUNREACH));
}

#[test]
fn a_wait_in_connect_ends_with_the_hosts_answer() {
    let it = fixture(&[], &["10.0.0.5:5432"]);
    let fd = socket(&it.task, STREAM);
    for (number, outcome) in [(100, Err(Errno::ETIMEDOUT)), (101, Ok(0))] {
        let other = it.task.sibling();
        let waiting = std::thread::spawn(move || connect(&other, fd, "10.0.0.5:5432"));
        while !it.is_open(number) {
            std::thread::yield_now();
        }
        it.change(number, |socket| {
            socket.is_connecting = false;
            socket.error = outcome.err();
        });
        assert_eq!(waiting.join().unwrap(), outcome);
    }
}

/// What the host says of a family that the socket does not have reaches no program.
#[test]
fn a_peer_of_another_family_is_no_connection() {
    let it = fixture(&[8080], &[]);
    let server = server(&it.task, "0.0.0.0:8080", 5);
    set_nonblocking(&it.task, server);
    it.change(100, |socket| socket.waiting.push_back(address("[2001:db8::1]:7")));
    assert_eq!(accept(&it.task, server).err(), Some(Errno::ECONNABORTED));
    assert_eq!(accept(&it.task, server).err(), Some(Errno::EAGAIN));
}

/// The attester is a user without privilege, who could not have port 443.
#[test]
fn the_attester_has_the_port_of_the_manifest_though_it_is_a_low_one() {
    let it = fixture(&[], &[]);
    it.task.credentials.lock().unwrap().euid = 65_500;
    server(&it.task, "0.0.0.0:443", 5);
    assert_eq!(it.host.net.lock().unwrap().asked(), ["listen 0.0.0.0:443"]);
    assert_eq!(bind(&it.task, socket(&it.task, STREAM), "0.0.0.0:80"), Err(Errno::EACCES));
}
