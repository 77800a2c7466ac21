//! Sockets of the network, by system calls: what waits, what is bounded, what is refused.

use crate::errno::Errno;
use crate::fs::flags::O_NONBLOCK;
use crate::fs::socket::inet::address::Family;
use crate::fs::testing::Arg::{N, P};
use crate::fs::testing::TestTask;
use std::net::SocketAddr;

pub(super) const STREAM: i64 = 1;
const DATAGRAM: i64 = 2;

pub(super) fn socket(task: &TestTask, kind: i64) -> i64 {
    task.call(41, &[N(2), N(kind), N(0)]).unwrap() as i64
}

/// Puts an address at 0x1000 of the buffer; gives its length.
fn address(task: &TestTask, text: &str) -> i64 {
    let address: SocketAddr = text.parse().unwrap();
    let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
    let raw = family.encode(address);
    task.set_buffer(0x1000, &raw);
    raw.len() as i64
}

pub(super) fn bind(task: &TestTask, fd: i64, text: &str) -> Result<u64, Errno> {
    let length = address(task, text);
    task.call(49, &[N(fd), P(0x1000), N(length)])
}

pub(super) fn connect(task: &TestTask, fd: i64, text: &str) -> Result<u64, Errno> {
    let length = address(task, text);
    task.call(42, &[N(fd), P(0x1000), N(length)])
}

pub(super) fn server(task: &TestTask, text: &str, backlog: i64) -> i64 {
    let fd = socket(task, STREAM);
    bind(task, fd, text).unwrap();
    task.call(50, &[N(fd), N(backlog)]).unwrap();
    fd
}

/// Two ends of a connection.
fn pair(task: &TestTask) -> (i64, i64) {
    let server = server(task, "127.0.0.1:80", 1);
    let client = socket(task, STREAM);
    connect(task, client, "127.0.0.1:80").unwrap();
    let accepted = task.call(43, &[N(server), N(0), N(0)]).unwrap() as i64;
    task.call(3, &[N(server)]).unwrap();
    (client, accepted)
}

pub(super) fn send(task: &TestTask, fd: i64, bytes: &[u8]) -> Result<u64, Errno> {
    task.set_buffer(0, bytes);
    task.call(1, &[N(fd), P(0), N(bytes.len() as i64)])
}

pub(super) fn receive(task: &TestTask, fd: i64, limit: i64) -> Result<Vec<u8>, Errno> {
    let count = task.call(0, &[N(fd), P(0), N(limit)])?;
    Ok(task.buffer(0, count as usize))
}

pub(super) fn set_nonblocking(task: &TestTask, fd: i64) {
    task.call(72, &[N(fd), N(4), N(i64::from(O_NONBLOCK))]).unwrap();
}

/// Takes a connection, and whom it comes from.
pub(super) fn accept(task: &TestTask, fd: i64) -> Result<(i64, SocketAddr), Errno> {
    task.set_buffer(0x2000, &16u32.to_le_bytes());
    let accepted = task.call(43, &[N(fd), P(0x1000), P(0x2000)])? as i64;
    Ok((accepted, Family::V4.decode(&task.buffer(0x1000, 16)).unwrap()))
}

/// The address that getsockname(2) or getpeername(2), by its number, gives.
pub(super) fn name_of(task: &TestTask, fd: i64, call: u16) -> SocketAddr {
    task.set_buffer(0x2000, &16u32.to_le_bytes());
    task.call(call, &[N(fd), P(0x1000), P(0x2000)]).unwrap();
    Family::V4.decode(&task.buffer(0x1000, 16)).unwrap()
}

/// Seconds and microseconds that a receive waits at most.
fn set_patience(task: &TestTask, fd: i64, name: i64, micros: u64) {
    task.set_buffer(0x2000, &[0u64.to_le_bytes(), micros.to_le_bytes()].concat());
    task.call(54, &[N(fd), N(1), N(name), P(0x2000), N(16)]).unwrap();
}

#[test]
fn a_server_accepts_and_bytes_go_both_ways() {
    let task = TestTask::empty();
    let server = server(&task, "0.0.0.0:8080", 5);
    let other = task.sibling();
    let client = std::thread::spawn(move || {
        let fd = socket(&other, STREAM);
        connect(&other, fd, "127.0.0.1:8080").unwrap();
        send(&other, fd, b"question").unwrap();
        receive(&other, fd, 100).unwrap()
    });
    task.set_buffer(0x2000, &16u32.to_le_bytes());
    let accepted = task.call(43, &[N(server), P(0x1000), P(0x2000)]).unwrap() as i64;
    let peer = Family::V4.decode(&task.buffer(0x1000, 16)).unwrap();
    assert!(peer.ip().is_loopback() && peer.port() >= 32768, "{peer}");
    assert_eq!(receive(&task, accepted, 100).unwrap(), b"question");
    send(&task, accepted, b"answer").unwrap();
    assert_eq!(client.join().unwrap(), b"answer");
}

#[test]
fn what_a_peer_does_not_read_is_bounded_and_its_writer_waits() {
    let task = TestTask::empty();
    let (client, accepted) = pair(&task);
    set_nonblocking(&task, client);
    let block = [7; 10_000];
    let mut sent = 0;
    while let Ok(count) = send(&task, client, &block) {
        sent += count;
        assert!(sent < 1 << 20, "no bound");
    }
    assert_eq!(send(&task, client, b"x"), Err(Errno::EAGAIN));
    task.call(72, &[N(client), N(4), N(0)]).unwrap();
    set_patience(&task, client, 21, 1000);
    assert_eq!(send(&task, client, b"x"), Err(Errno::EAGAIN), "SO_SNDTIMEO is over");
    let mut left = sent;
    while left > 0 {
        let bytes = receive(&task, accepted, 100_000).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 7));
        left -= bytes.len() as u64;
    }
    assert_eq!(send(&task, client, b"x"), Ok(1));
}

#[test]
fn many_short_writes_cost_what_they_hold() {
    let task = TestTask::empty();
    let (client, accepted) = pair(&task);
    set_nonblocking(&task, client);
    let mut sent = 0;
    while send(&task, client, &[sent as u8]).is_ok() {
        sent += 1;
    }
    let bytes = receive(&task, accepted, 1 << 20).unwrap();
    assert_eq!(bytes.len(), sent, "one read takes all");
    assert!(bytes.iter().enumerate().all(|(index, byte)| *byte == index as u8));
}

#[test]
fn a_write_to_a_peer_that_is_gone_is_a_signal_the_second_time() {
    let task = TestTask::empty();
    let (client, accepted) = pair(&task);
    task.call(3, &[N(accepted)]).unwrap();
    assert_eq!(receive(&task, client, 10).unwrap(), b"");
    assert_eq!(send(&task, client, b"x"), Ok(1));
    assert_eq!(send(&task, client, b"x"), Err(Errno::EPIPE));
    assert_eq!(*task.signals.lock().unwrap(), [13]);
    let no_signal = task.call(44, &[N(client), P(0), N(1), N(0x4000), N(0), N(0)]);
    assert_eq!(no_signal, Err(Errno::EPIPE));
    assert_eq!(*task.signals.lock().unwrap(), [13]);
}

#[test]
fn a_close_with_unread_bytes_resets() {
    let task = TestTask::empty();
    let (client, accepted) = pair(&task);
    send(&task, client, b"unread").unwrap();
    send(&task, accepted, b"on its way").unwrap();
    task.call(3, &[N(accepted)]).unwrap();
    assert_eq!(receive(&task, client, 100).unwrap(), b"on its way");
    assert_eq!(receive(&task, client, 100), Err(Errno::ECONNRESET));
    assert_eq!(receive(&task, client, 100).unwrap(), b"");
}

#[test]
fn a_client_waits_for_room_in_the_backlog_and_hears_when_nobody_will_accept() {
    let task = TestTask::empty();
    let server = server(&task, "127.0.0.1:80", 0);
    let clients: Vec<i64> = (0..4).map(|_| socket(&task, STREAM)).collect();
    for client in &clients {
        set_nonblocking(&task, *client);
        assert_eq!(connect(&task, *client, "127.0.0.1:80"), Err(Errno::EINPROGRESS));
    }
    assert_eq!(connect(&task, clients[0], "127.0.0.1:80"), Ok(0));
    assert_eq!(connect(&task, clients[1], "127.0.0.1:80"), Err(Errno::EALREADY));
    task.call(43, &[N(server), N(0), N(0)]).unwrap();
    assert_eq!(connect(&task, clients[1], "127.0.0.1:80"), Ok(0));
    assert_eq!(connect(&task, clients[2], "127.0.0.1:80"), Err(Errno::EALREADY));
    let waiting = task.sibling();
    let patient = std::thread::spawn(move || {
        let fd = socket(&waiting, STREAM);
        connect(&waiting, fd, "127.0.0.1:80")
    });
    std::thread::sleep(std::time::Duration::from_millis(20));
    task.call(3, &[N(server)]).unwrap();
    assert_eq!(patient.join().unwrap(), Err(Errno::ECONNREFUSED));
    assert_eq!(connect(&task, clients[2], "127.0.0.1:80"), Err(Errno::ECONNREFUSED));
    assert_eq!(receive(&task, clients[1], 1), Err(Errno::ECONNRESET), "it was not accepted");
}

#[test]
fn a_receive_waits_as_long_as_its_socket_says() {
    let task = TestTask::empty();
    let (client, _accepted) = pair(&task);
    set_patience(&task, client, 20, 1000);
    assert_eq!(receive(&task, client, 1), Err(Errno::EAGAIN));
    let server = server(&task, "127.0.0.1:81", 1);
    set_patience(&task, server, 20, 1000);
    assert_eq!(task.call(43, &[N(server), N(0), N(0)]), Err(Errno::EAGAIN));
}

#[test]
fn what_is_beyond_loopback_is_refused_counted_and_told_once() {
    let task = TestTask::empty();
    for (kind, text) in [(STREAM, "10.0.0.1:80"), (STREAM, "10.0.0.1:80"), (DATAGRAM, "8.8.8.8:53")]
    {
        let fd = socket(&task, kind);
        assert_eq!(connect(&task, fd, text), Err(Errno::ENETUNREACH));
    }
    let fd = socket(&task, STREAM);
    assert_eq!(bind(&task, fd, "10.0.0.1:80"), Err(Errno::EADDRNOTAVAIL));
    let counted = task.network.text();
    assert_eq!(counted, "refused 2 connect 10.0.0.1:80\nrefused 1 connect udp:8.8.8.8:53\n");
}

#[test]
fn a_port_below_1024_needs_user_0() {
    let task = TestTask::empty();
    task.credentials.lock().unwrap().euid = 1000;
    let fd = socket(&task, STREAM);
    assert_eq!(bind(&task, fd, "127.0.0.1:80"), Err(Errno::EACCES));
    assert_eq!(bind(&task, fd, "127.0.0.1:1024"), Ok(0));
}

#[test]
fn a_datagram_without_room_is_lost_and_its_sender_goes_on() {
    let task = TestTask::empty();
    let receiver = socket(&task, DATAGRAM);
    bind(&task, receiver, "127.0.0.1:53").unwrap();
    let sender = socket(&task, DATAGRAM);
    connect(&task, sender, "127.0.0.1:53").unwrap();
    for _ in 0..2000 {
        assert_eq!(send(&task, sender, b"question"), Ok(8));
    }
    set_nonblocking(&task, receiver);
    let held = (0..2000).take_while(|_| receive(&task, receiver, 100).is_ok()).count();
    assert!((100..2000).contains(&held), "{held}");
    let long = vec![0; 65_508];
    assert_eq!(send(&task, sender, &long), Err(Errno::EMSGSIZE));
    assert_eq!(send(&task, sender, &long[1..]), Ok(65_507));
    assert_eq!(send(&task, sender, b""), Ok(0), "a datagram of no bytes is one");
    assert_eq!(receive(&task, receiver, 100_000).unwrap().len(), 65_507);
    let empty = task.call(45, &[N(receiver), P(0), N(10), N(0), N(0), N(0)]);
    assert_eq!(empty, Ok(0));
    assert_eq!(receive(&task, receiver, 1), Err(Errno::EAGAIN));
}

#[test]
fn edges_come_with_bytes_with_room_and_with_the_end() {
    let task = TestTask::empty();
    let (client, accepted) = pair(&task);
    let epoll = task.call(291, &[N(0)]).unwrap() as i64;
    // EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET
    let events: u32 = 0x1 | 0x4 | 0x2000 | 1 << 31;
    task.set_buffer(0x3000, &[&events.to_le_bytes()[..], &7u64.to_le_bytes()].concat());
    task.call(233, &[N(epoll), N(1), N(client), P(0x3000)]).unwrap();
    let wait = || {
        let count = task.call(232, &[N(epoll), P(0x3000), N(8), N(0)]).unwrap();
        assert!(count <= 1);
        let raw = task.buffer(0x3000, 4);
        (count == 1).then(|| u32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]))
    };
    assert_eq!(wait(), Some(0x4));
    assert_eq!(wait(), None, "an edge is told once");
    send(&task, accepted, b"x").unwrap();
    assert_eq!(wait(), Some(0x5));
    send(&task, accepted, b"y").unwrap();
    assert_eq!(wait(), Some(0x5), "more is another edge, though nothing was read");
    assert_eq!(receive(&task, client, 10).unwrap(), b"xy");
    set_nonblocking(&task, client);
    while send(&task, client, &[0; 65_536]).is_ok() {}
    while wait().is_some() {}
    receive(&task, accepted, 10_000).unwrap();
    assert_eq!(wait(), Some(0x4), "room");
    task.call(48, &[N(accepted), N(1)]).unwrap();
    assert_eq!(wait().map(|events| events & 0x2001), Some(0x2001));
}

#[test]
fn a_taken_port_is_free_again_with_its_socket() {
    let task = TestTask::empty();
    let first = server(&task, "127.0.0.1:8080", 1);
    let second = socket(&task, STREAM);
    assert_eq!(bind(&task, second, "0.0.0.0:8080"), Err(Errno::EADDRINUSE));
    let client = socket(&task, STREAM);
    connect(&task, client, "127.0.0.1:8080").unwrap();
    let accepted = task.call(43, &[N(first), N(0), N(0)]).unwrap() as i64;
    task.call(3, &[N(first)]).unwrap();
    assert_eq!(bind(&task, second, "0.0.0.0:8080"), Ok(0));
    send(&task, client, b"goes on").unwrap();
    assert_eq!(receive(&task, accepted, 10).unwrap(), b"goes on");
}

#[test]
fn a_connection_is_not_lost_where_no_descriptor_is_left() {
    let task = TestTask::empty();
    let server = server(&task, "127.0.0.1:80", 1);
    let client = socket(&task, STREAM);
    connect(&task, client, "127.0.0.1:80").unwrap();
    let mut last = client;
    while let Ok(fd) = task.call(32, &[N(server)]) {
        last = fd as i64;
    }
    assert_eq!(task.call(43, &[N(server), N(0), N(0)]), Err(Errno::EMFILE));
    task.call(3, &[N(last)]).unwrap();
    assert_eq!(task.call(43, &[N(server), N(0), N(0)]), Ok(last as u64));
}

#[test]
fn options_read_back_and_unknown_ones_are_refused() {
    let task = TestTask::empty();
    let fd = socket(&task, STREAM);
    let set = |level: i64, name: i64, value: u32| {
        task.set_buffer(0, &value.to_le_bytes());
        task.call(54, &[N(fd), N(level), N(name), P(0), N(4)])
    };
    let get = |level: i64, name: i64| {
        task.set_buffer(0x10, &4u32.to_le_bytes());
        task.call(55, &[N(fd), N(level), N(name), P(0), P(0x10)]).map(|_| {
            let raw = task.buffer(0, 4);
            u32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]])
        })
    };
    // TCP_NODELAY, TCP_KEEPIDLE, SO_KEEPALIVE, SO_REUSEPORT, IP_TOS
    for (level, name, value) in [(6, 1, 1), (6, 4, 60), (1, 9, 1), (1, 15, 1), (0, 1, 16)] {
        assert_eq!(set(level, name, value), Ok(0), "{level} {name}");
        assert_eq!(get(level, name), Ok(value), "{level} {name}");
    }
    assert_eq!((get(1, 3), get(1, 38), get(1, 39)), (Ok(1), Ok(6), Ok(2)));
    // SO_ZEROCOPY, TCP_ULP, an IPv6 option of an IPv4 socket, SO_TYPE
    for (level, name) in [(1, 60), (6, 31), (41, 26), (1, 3)] {
        assert_eq!(set(level, name, 1), Err(Errno::ENOPROTOOPT), "{level} {name}");
    }
    assert_eq!(set(0, 35, 0), Err(Errno::ENODEV), "no group has receivers");
}
