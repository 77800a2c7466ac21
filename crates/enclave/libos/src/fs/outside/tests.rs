//! Sockets of a host that does what it should, and of one that lies.

use super::testing::change;
use super::{Connection, Listener, Outside, Place, Rules};
use crate::errno::Errno;
use crate::fs::file::{SliceSource, VecSink};
use crate::fs::stream::Streams;
use crate::fs::testing::RecordingHost;
use crate::host::Readiness;
use crate::testing::Machine;
use crate::wait::{WaitQueue, Wake};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use workload::manifest::{Network, Protocol};

const IN: u16 = Readiness::IN.0;
const OUT: u16 = Readiness::OUT.0;
const RDHUP: u16 = Readiness::RDHUP.0;
const ERR: u16 = Readiness::ERR.0;

struct Fixture {
    host: &'static RecordingHost,
    streams: Arc<Streams>,
    outside: Arc<Outside>,
}

/// Hears of a queue as epoll does.
#[derive(Default)]
struct Counter(AtomicU32);

impl Wake for Counter {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn fixture(listen: &[u16], connect: &[&str]) -> Fixture {
    let host: &'static RecordingHost = Box::leak(Box::default());
    let machine = Machine::with_host(1 << 10, host);
    let streams = Streams::new();
    let connect = connect.iter().map(|rule| rule.parse().unwrap()).collect();
    let network = Network { connect, listen: listen.into() };
    let rules = Rules { network, attester: Some((8443, 65_000)) };
    let outside = Outside::new(machine, streams.clone(), rules);
    Fixture { host, streams, outside }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn queue() -> Arc<WaitQueue> {
    Arc::new(WaitQueue::new())
}

/// A program listens on all addresses of IPv4.
fn any(port: u16) -> Place {
    Place { ip: Ipv4Addr::UNSPECIFIED.into(), port, is_dual: false }
}

impl Fixture {
    fn listen(&self, place: Place) -> Result<Option<Listener>, Errno> {
        self.outside.listen(place, 16, 0, &queue())
    }

    fn asked(&self) -> Vec<String> {
        self.host.net.lock().unwrap().asked()
    }

    fn change(&self, number: u32, body: impl FnOnce(&mut super::testing::Socket)) {
        change(&self.host.net, &self.streams, number, body);
    }

    fn listener(&self) -> Listener {
        self.listen(any(80)).unwrap().expect("there is a rule")
    }

    fn connection(&self) -> Connection {
        let to = address("10.0.0.5:5432");
        self.outside.connect(Protocol::Tcp, to, &queue()).unwrap()
    }

    /// A connection that is there: socket 100.
    fn connected(&self) -> Connection {
        let connection = self.connection();
        self.change(100, |socket| socket.is_connecting = false);
        assert_eq!(connection.finish(), Ok(()));
        self.asked();
        connection
    }
}

fn receive(connection: &Connection, limit: usize, peeks: bool) -> Result<Vec<u8>, Errno> {
    let mut sink = VecSink::new(limit);
    let count = connection.receive(&mut sink, peeks)?;
    assert_eq!(count, sink.bytes.len());
    Ok(sink.bytes)
}

#[test]
fn without_a_rule_the_host_is_not_asked_and_the_refusal_is_logged_once_and_counted() {
    let it = fixture(&[443], &["any:53"]);
    for _ in 0..3 {
        assert!(it.listen(any(80)).unwrap().is_none());
        let refused = it.outside.connect(Protocol::Tcp, address("10.0.0.5:80"), &queue());
        assert_eq!(refused.err(), Some(Errno::ENETUNREACH));
    }
    let local = it.outside.connect(Protocol::Tcp, address("127.0.0.1:53"), &queue());
    assert_eq!(local.err(), Some(Errno::ENETUNREACH));
    assert_eq!(it.asked(), [""; 0]);
    assert_eq!(
        *it.host.log.lock().unwrap(),
        [
            "network.listen: expected a port of the manifest, got 80: the program that listens there is reached \
             from inside the enclave only",
            "network.connect: expected a destination of the manifest, got 10.0.0.5:80: ENETUNREACH",
            "network.connect: expected a destination of the manifest, got 127.0.0.1:53: ENETUNREACH",
        ]
    );
    assert_eq!(
        it.outside.text(),
        "listen 443\nlisten 8443 attester 65000\nconnect any:53\nrefused 3 listen 80\nrefused 3 connect 10.0.0.5:80\nrefused 1 connect \
         127.0.0.1:53\n"
    );
}

#[test]
fn refusals_of_a_program_that_tries_everything_take_bounded_memory_and_few_lines() {
    let it = fixture(&[], &[]);
    for port in 1..2000 {
        assert!(it.listen(any(port)).is_ok());
    }
    assert_eq!(it.host.log.lock().unwrap().len(), 257);
    assert!(it.outside.text().ends_with("refused 1743 others\n"), "{}", it.outside.text());
}

#[test]
fn a_listener_takes_connections_as_they_come() {
    let it = fixture(&[80], &[]);
    let place = Place { ip: Ipv6Addr::UNSPECIFIED.into(), port: 80, is_dual: true };
    let listener = it.listen(place).unwrap().expect("there is a rule");
    assert!(!listener.is_ready());
    assert_eq!(listener.accept(queue()).err(), Some(Errno::EAGAIN));
    let heard = it.asked();
    assert_eq!(heard[0], "listen [::]:80");
    // One watch, however often it is asked.
    assert!(!listener.is_ready());
    assert_eq!(it.asked(), [""; 0]);
    it.change(100, |socket| socket.waiting = [address("10.0.0.1:7"), address("[::1]:8")].into());
    assert!(listener.is_ready());
    let first = listener.accept(queue()).unwrap();
    assert_eq!(first.peer(), address("10.0.0.1:7"));
    assert!(listener.is_ready(), "another waits");
    let second = listener.accept(queue()).unwrap();
    assert_eq!(second.peer(), address("[100::1]:8"), "nobody of the host is on loopback");
    assert_eq!(first.name(), Some(address("10.9.8.7:80")));
    assert_eq!(second.name(), None, "of another family than its peer");
    assert!(!listener.is_ready());
    drop((first, second, listener));
    assert!(it.host.net.lock().unwrap().sockets.is_empty(), "all closed");
}

#[test]
fn bytes_go_in_and_out_and_what_is_peeked_stays() {
    let it = fixture(&[], &["any:any"]);
    let connection = it.connected();
    assert_eq!(receive(&connection, 9, false), Err(Errno::EAGAIN));
    it.change(100, |socket| socket.input.extend(b"hello world"));
    assert_eq!(connection.poll().0, IN | OUT);
    assert_eq!(receive(&connection, 5, true).unwrap(), b"hello");
    assert_eq!(connection.available(), 11);
    assert_eq!(receive(&connection, 5, false).unwrap(), b"hello");
    assert_eq!(connection.poll().0 & IN, IN, "the rest was taken from the host already");
    assert_eq!(receive(&connection, 50, false).unwrap(), b" world");
    assert_eq!(receive(&connection, 50, true), Err(Errno::EAGAIN));
    assert_eq!(connection.poll().0, OUT);

    let mut source = SliceSource(b"answer");
    assert_eq!(connection.send(&mut source), Ok(6));
    assert_eq!(it.host.net.lock().unwrap().sockets[&100].output, b"answer");
    it.change(100, |socket| socket.is_ended = true);
    assert_eq!(receive(&connection, 50, false).unwrap(), b"");
    assert_eq!(connection.poll().0, IN | OUT | RDHUP);
}

/// A reset that was met while looking ahead was dropped, and the end that follows it at the host was read: what
/// was cut off looked complete.
#[test]
fn what_was_cut_off_does_not_look_complete() {
    let looks: [fn(&Connection); 2] = [
        |connection| assert_eq!(connection.available(), 4),
        |connection| assert_eq!(receive(connection, 9, true).unwrap(), b"half"),
    ];
    for look in looks {
        let it = fixture(&[], &["any:any"]);
        let connection = it.connected();
        it.change(100, |socket| socket.input.extend(b"half"));
        assert_eq!(receive(&connection, 9, true).unwrap(), b"half");
        it.change(100, |socket| {
            socket.error = Some(Errno::ECONNRESET);
            socket.is_ended = true;
        });
        look(&connection);
        assert_eq!(it.host.net.lock().unwrap().sockets[&100].error, None, "the host has told it");
        assert_eq!(connection.poll().0 & (IN | ERR), IN | ERR);
        look(&connection);
        assert_eq!(receive(&connection, 9, false).unwrap(), b"half");
        assert_eq!(receive(&connection, 9, false), Err(Errno::ECONNRESET));
        assert_eq!(connection.poll().0 & ERR, 0, "told once");
        assert_eq!(receive(&connection, 9, false).unwrap(), b"");
    }
}

#[test]
fn an_error_met_by_fionread_is_told_by_the_next_call_that_tells_errors() {
    let it = fixture(&[], &["any:any"]);
    let connection = it.connected();
    let reset = |socket: &mut super::testing::Socket| {
        socket.error = Some(Errno::ETIMEDOUT);
        socket.is_ended = true;
    };
    it.change(100, reset);
    assert_eq!(connection.available(), 0);
    assert_eq!(receive(&connection, 9, true), Err(Errno::ETIMEDOUT));
    assert_eq!(receive(&connection, 9, true).unwrap(), b"");
    it.change(100, reset);
    assert_eq!(connection.available(), 0);
    assert_eq!(connection.take_error(), Some(Errno::ETIMEDOUT), "SO_ERROR");
    assert_eq!(connection.take_error(), None);
}

/// A write that fits in part leaves the rest with the program: nothing is lost, nothing said twice.
#[test]
fn what_does_not_fit_stays_offered() {
    let it = fixture(&[], &["any:any"]);
    let connection = it.connected();
    it.change(100, |socket| socket.room = 4);
    let mut source = SliceSource(b"abcdefgh");
    assert_eq!(connection.send(&mut source), Ok(4));
    assert_eq!(source.0, b"efgh");
    assert_eq!(connection.send(&mut source), Err(Errno::EAGAIN));
    assert_eq!(connection.poll().0, 0);
    it.change(100, |socket| socket.room = 100);
    assert_eq!(connection.poll().0, OUT);
    assert_eq!(connection.send(&mut source), Ok(4));
    assert_eq!(it.host.net.lock().unwrap().sockets[&100].output, b"abcdefgh");
}

/// Asking for readiness is no host call where the answer is known: polling many idle connections is cheap.
#[test]
fn an_idle_connection_is_asked_about_once() {
    let it = fixture(&[], &["any:any"]);
    let connection = it.connected();
    assert_eq!(connection.poll().0, OUT);
    it.asked();
    for _ in 0..10 {
        assert_eq!(connection.poll().0, OUT);
    }
    assert_eq!(it.asked(), [""; 0]);
    it.change(100, |socket| socket.input.extend(b"x"));
    for _ in 0..10 {
        assert_eq!(connection.poll().0, IN | OUT);
    }
    assert_eq!(it.asked(), [""; 0], "the host has said so");
}

/// Who hears of a socket through epoll asks for nothing after it has read all there was (EPOLLET): the next
/// bytes wake it all the same.
#[test]
fn every_arrival_wakes_who_asks_for_nothing() {
    let it = fixture(&[], &["any:any"]);
    let queue = queue();
    let to = address("10.0.0.5:5432");
    let connection = it.outside.connect(Protocol::Tcp, to, &queue).unwrap();
    it.change(100, |socket| socket.is_connecting = false);
    assert_eq!(connection.finish(), Ok(()));
    let counter = Arc::new(Counter::default());
    queue.add_waker(counter.clone());
    assert_eq!(connection.poll().0, OUT);
    for (round, limit) in [(1, 10), (2, 4), (3, 4)] {
        // The second and third time exactly what was asked for: perhaps not all there is.
        it.change(100, |socket| socket.input.extend(b"four"));
        assert_eq!(counter.0.load(Ordering::Relaxed), round);
        assert_eq!(receive(&connection, limit, false).unwrap(), b"four");
    }
    it.change(100, |socket| socket.room = 3);
    assert_eq!(connection.send(&mut SliceSource(b"abcdef")), Ok(3));
    it.change(100, |socket| socket.room = 3);
    assert_eq!(counter.0.load(Ordering::Relaxed), 4, "room for the rest");
}

#[test]
fn a_connection_is_made_or_fails_with_one_error() {
    let it = fixture(&[], &["10.0.0.0/8:5432"]);
    let connection = it.connection();
    assert_eq!(connection.finish(), Err(Errno::EAGAIN));
    it.change(100, |socket| {
        socket.is_connecting = false;
        socket.error = Some(Errno::ECONNREFUSED);
    });
    assert_eq!(connection.finish(), Err(Errno::ECONNREFUSED));
    assert_eq!(connection.finish(), Ok(()), "told once");
    it.host.net.lock().unwrap().errors.push_back(Errno::EHOSTUNREACH);
    let refused = it.outside.connect(Protocol::Tcp, address("10.0.0.5:5432"), &queue());
    assert_eq!(refused.err(), Some(Errno::EHOSTUNREACH));
}

#[test]
fn error_numbers_that_no_socket_has_become_plausible_ones() {
    let it = fixture(&[80], &["any:any"]);
    let push = |error| it.host.net.lock().unwrap().errors.push_back(error);
    push(Errno::EFAULT);
    assert_eq!(it.listen(any(80)).err(), Some(Errno::ENETDOWN));
    push(Errno::ERESTARTSYS);
    let to = address("10.0.0.5:1");
    let connecting = it.outside.connect(Protocol::Tcp, to, &queue());
    assert_eq!(connecting.err(), Some(Errno::ENETDOWN));
    let listener = it.listener();
    push(Errno::from_host(4095));
    assert_eq!(listener.accept(queue()).err(), Some(Errno::ECONNABORTED));
    let connection = it.outside.connect(Protocol::Tcp, to, &queue()).unwrap();
    it.change(101, |socket| socket.error = Some(Errno::EISDIR));
    assert_eq!(receive(&connection, 9, false), Err(Errno::ECONNRESET));
    it.change(101, |socket| socket.error = Some(Errno::ENOSYS));
    assert_eq!(connection.send(&mut SliceSource(b"x")), Err(Errno::ECONNRESET));
}

#[test]
fn a_count_over_what_was_asked_for_is_an_error_and_reaches_no_program() {
    let it = fixture(&[], &["any:any"]);
    let connection = it.connected();
    it.change(100, |socket| socket.input.extend(b"abc"));
    it.host.net.lock().unwrap().excess = 1 << 40;
    assert_eq!(receive(&connection, 9, false), Err(Errno::ECONNRESET));
    let mut source = SliceSource(b"abc");
    assert_eq!(connection.send(&mut source), Err(Errno::ECONNRESET));
    assert_eq!(source.0, b"abc");
}

#[test]
fn a_socket_that_is_in_use_is_not_given_twice() {
    let it = fixture(&[80], &["any:any"]);
    let connection = it.connected();
    let give_again = || it.host.net.lock().unwrap().number = Some(100);
    give_again();
    let again = it.outside.connect(Protocol::Tcp, address("10.0.0.5:1"), &queue());
    assert_eq!(again.err(), Some(Errno::ENETDOWN));
    let listener = it.listener();
    it.change(101, |socket| socket.waiting = [address("10.0.0.1:7")].into());
    give_again();
    assert_eq!(listener.accept(queue()).err(), Some(Errno::ECONNABORTED));
    let line = "socket of the host: expected a new one, got 100, which is in use";
    assert_eq!(*it.host.log.lock().unwrap(), [line, line]);
    // The first one is untouched, and hears of what comes.
    assert_eq!(receive(&connection, 9, false), Err(Errno::EAGAIN));
    it.change(100, |socket| socket.input.extend(b"still"));
    assert_eq!(receive(&connection, 9, false).unwrap(), b"still");
}

/// Its number was free as soon as nobody held the socket: given again before the close reached the host, that
/// close was of the new one.
#[test]
fn a_socket_is_in_use_until_the_host_has_closed_it() {
    let it = fixture(&[], &["any:any"]);
    let connection = it.connected();
    let (host, outside) = (it.host, it.outside.clone());
    let connect_again = move || {
        host.net.lock().unwrap().number = Some(100);
        outside.connect(Protocol::Tcp, address("10.0.0.5:1"), &queue())
    };
    let at_once = connect_again.clone();
    *it.host.at_close.lock().unwrap() =
        Some(Box::new(move || assert_eq!(at_once().err(), Some(Errno::ENETDOWN))));
    drop(connection);
    let line = "socket of the host: expected a new one, got 100, which is in use";
    assert_eq!(*it.host.log.lock().unwrap(), [line]);
    assert!(connect_again().is_ok(), "closed");
}

#[test]
fn a_peer_that_cannot_be_is_no_connection() {
    let it = fixture(&[80], &[]);
    let listener = it.listener();
    for peer in [
        "0.0.0.0:7",
        "224.0.0.1:7",
        "10.0.0.1:0",
        "255.255.255.255:1",
        "[2001:db8::1]:7",
        "[::1]:9",
    ] {
        it.change(100, |socket| socket.waiting = [address(peer)].into());
        assert_eq!(listener.accept(queue()).err(), Some(Errno::ECONNABORTED), "{peer}");
        let log = it.host.log.lock().unwrap();
        assert!(log.last().is_some_and(|line| line.ends_with(peer)), "{log:?}");
    }
    assert_eq!(it.host.net.lock().unwrap().sockets.len(), 1, "they are closed");
}

#[test]
fn halves_are_shut_down_at_the_host() {
    let it = fixture(&[], &["any:any"]);
    let connection = it.connected();
    assert_eq!(connection.shutdown(false, true), Ok(()));
    assert_eq!(it.host.net.lock().unwrap().sockets[&100].shut, (false, true));
    assert_eq!(connection.send(&mut SliceSource(b"x")), Err(Errno::EPIPE));
    assert_eq!(connection.shutdown(true, false), Ok(()));
    assert_eq!(receive(&connection, 9, false).unwrap(), b"");
    it.host.net.lock().unwrap().errors.push_back(Errno::EBADF);
    assert_eq!(connection.shutdown(true, true), Err(Errno::ENOTCONN));
}

#[test]
fn the_attesters_port_is_for_its_user_alone() {
    let it = fixture(&[], &[]);
    let as_user = |uid| it.outside.listen(any(8443), 16, uid, &queue()).unwrap();
    assert!(as_user(0).is_none());
    assert!(as_user(65_001).is_none());
    assert!(as_user(65_000).is_some());
    assert!(it.outside.listen(any(8444), 16, 65_000, &queue()).unwrap().is_none());
}

#[test]
fn a_host_without_ipv6_serves_the_other_half() {
    let it = fixture(&[80], &[]);
    let push = |error| it.host.net.lock().unwrap().errors.push_back(error);
    push(Errno::EAFNOSUPPORT);
    let place = Place { ip: Ipv6Addr::UNSPECIFIED.into(), port: 80, is_dual: true };
    assert!(it.listen(place).unwrap().is_some());
    assert_eq!(it.asked(), ["listen [::]:80", "listen 0.0.0.0:80", "close 100"]);
    push(Errno::EAFNOSUPPORT);
    let only = Place { is_dual: false, ..place };
    assert_eq!(it.listen(only).err(), Some(Errno::EAFNOSUPPORT));
}
