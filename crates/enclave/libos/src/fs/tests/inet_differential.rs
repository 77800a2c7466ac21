//! The same random socket calls here and on Linux's own loopback: every answer and readiness is the same.
//!
//! All sockets are non-blocking and nothing fills a buffer, so that an answer depends on what was done and
//! on nothing else. Linux may deliver a little later than it returns; before each call the readiness of all
//! sockets has to become the same on both sides.

use super::random::Random;
use crate::errno::Errno;
use crate::fs::flags::O_NONBLOCK;
use crate::fs::socket::inet::address::Family;
use crate::fs::testing::Arg::{N, P};
use crate::fs::testing::TestTask;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrAny, SocketFlags, SocketType, sockopt,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Sockets of a round.
const SLOTS: usize = 6;
const ROUNDS: u64 = 60;
const STEPS: usize = 80;

type Answer<T> = Result<T, i32>;

fn ours<T>(result: Result<T, Errno>) -> Answer<T> {
    result.map_err(|error| i32::from(error.number()))
}

fn theirs<T>(result: rustix::io::Result<T>) -> Answer<T> {
    result.map_err(rustix::io::Errno::raw_os_error)
}

/// A socket on both sides.
struct Pair {
    fd: i64,
    file: OwnedFd,
    is_stream: bool,
    is_v6: bool,
    /// Whether it has tried to connect to an IPv4 address, or to an IPv6 one.
    tried_v4: Option<bool>,
}

struct Round {
    task: TestTask,
    random: Random,
    pairs: Vec<Pair>,
    /// Ports that are named; all others are chosen, and differ.
    ports: [u16; 2],
    ip: Ipv4Addr,
    has_v6: bool,
    log: Vec<String>,
}

impl Round {
    fn new(seed: u64) -> Self {
        // No port twice in a run, and none that Linux chooses: a connection that was closed keeps its own.
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let offset = NEXT.fetch_add(2, Ordering::Relaxed);
        let process = std::process::id();
        let first = 61_000 + ((process % 2000) as u16 * 2 + offset) % 4500;
        let [a, b, ..] = process.to_le_bytes();
        let has_v6 = std::net::TcpListener::bind("[::1]:0").is_ok();
        Self {
            task: TestTask::empty(),
            random: Random::new(seed),
            pairs: Vec::new(),
            ports: [first, first + 1],
            ip: Ipv4Addr::new(127, a | 1, b, 9),
            has_v6,
            log: vec![format!("seed {seed}")],
        }
    }

    fn check<T: PartialEq + std::fmt::Debug>(&mut self, what: String, mine: T, its: T) {
        self.log.push(format!("{what} -> {its:?}"));
        assert_eq!(mine, its, "ours, Linux's: {}", self.log.join("\n"));
    }

    fn socket(&mut self) {
        let (is_stream, is_v6) =
            (!self.random.is_one_of(4), self.has_v6 && self.random.is_one_of(3));
        let (domain, kind) = (if is_v6 { 10 } else { 2 }, if is_stream { 1 } else { 2 });
        let flags = i64::from(O_NONBLOCK);
        let fd = self.task.call(41, &[N(domain), N(kind | flags), N(0)]).unwrap() as i64;
        let file = rustix::net::socket_with(
            if is_v6 { AddressFamily::INET6 } else { AddressFamily::INET },
            if is_stream { SocketType::STREAM } else { SocketType::DGRAM },
            SocketFlags::NONBLOCK,
            None,
        )
        .unwrap();
        self.log.push(format!("{} = socket {domain} {kind}", self.pairs.len()));
        self.pairs.push(Pair { fd, file, is_stream, is_v6, tried_v4: None });
        let last = self.pairs.len() - 1;
        if is_stream {
            self.set_flag(last, 6, 1);
            if self.random.is_one_of(3) {
                self.set_flag(last, 1, 2);
            }
        }
        if is_v6 && self.random.is_one_of(4) {
            self.set_flag(last, 41, 26);
        }
    }

    fn set_flag(&mut self, index: usize, level: i64, name: i64) {
        let Pair { fd, file, .. } = &self.pairs[index];
        self.task.set_buffer(0, &[1, 0, 0, 0]);
        self.task.call(54, &[N(*fd), N(level), N(name), P(0), N(4)]).unwrap();
        match (level, name) {
            (6, 1) => sockopt::set_tcp_nodelay(file, true).unwrap(),
            (1, 2) => sockopt::set_socket_reuseaddr(file, true).unwrap(),
            _ => sockopt::set_ipv6_v6only(file, true).unwrap(),
        }
        self.log.push(format!("{index}: option {level} {name}"));
    }

    /// An address of the enclave's and this machine's loopback that a socket of this family can mean.
    fn address(&mut self, is_v6: bool) -> SocketAddr {
        let port = self.ports[self.random.below(2)];
        let ip4 = [self.ip, Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED][self.random.below(3)];
        let ip: IpAddr = match (is_v6, self.random.below(3)) {
            (false, _) => ip4.into(),
            (true, 0) => Ipv6Addr::LOCALHOST.into(),
            (true, 1) => Ipv6Addr::UNSPECIFIED.into(),
            (true, _) => ip4.to_ipv6_mapped().into(),
        };
        SocketAddr::new(ip, port)
    }

    /// Puts an address at 0x1000 of the buffer; gives its length.
    fn put(&self, address: SocketAddr) -> i64 {
        let family = if address.is_ipv6() { Family::V6 } else { Family::V4 };
        let raw = family.encode(address);
        self.task.set_buffer(0x1000, &raw);
        raw.len() as i64
    }

    /// An address, with a star for a port that was chosen, or for none: after a connection that failed
    /// Linux still shows the one that is not the socket's any more.
    fn shown(&self, address: SocketAddr) -> String {
        let is_named = self.ports.contains(&address.port());
        let port = if is_named { address.port().to_string() } else { "*".into() };
        format!("{}:{port}", address.ip())
    }

    fn name(&mut self, index: usize, call: u16) {
        let fd = self.pairs[index].fd;
        self.task.set_buffer(0x2000, &128u32.to_le_bytes());
        let mine = self.task.call(call, &[N(fd), P(0x1000), P(0x2000)]).map(|_| {
            let length = self.task.buffer(0x2000, 1)[0] as usize;
            let raw = self.task.buffer(0x1000, length);
            self.shown(decode(&raw))
        });
        let file = &self.pairs[index].file;
        let its = match call {
            51 => rustix::net::getsockname(file).map(Some),
            _ => rustix::net::getpeername(file),
        };
        let its = its
            .map(|address| self.shown(SocketAddr::try_from(address.expect("an address")).unwrap()));
        self.check(format!("{index}: name {call}"), ours(mine), theirs(its));
    }

    /// Readiness of all sockets becomes the same.
    fn settle(&mut self) {
        for index in 0..self.pairs.len() {
            let Pair { fd, file, .. } = &self.pairs[index];
            let all = PollFlags::IN | PollFlags::OUT | PollFlags::RDHUP;
            let raw =
                [&(*fd as i32).to_le_bytes()[..], &all.bits().to_le_bytes(), &[0; 2]].concat();
            self.task.set_buffer(0, &raw);
            self.task.call(7, &[P(0), N(1), N(0)]).unwrap();
            let bytes = self.task.buffer(6, 2);
            let mine = PollFlags::from_bits_retain(u16::from_le_bytes([bytes[0], bytes[1]]));
            let start = Instant::now();
            let its = loop {
                let mut fds = [PollFd::new(file, all)];
                poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap();
                let its = fds[0].revents();
                if its == mine || start.elapsed() > Duration::from_secs(5) {
                    break its;
                }
                std::thread::sleep(Duration::from_millis(1));
            };
            if mine != its {
                self.check(format!("{index}: poll"), mine, its);
            }
        }
    }

    fn bind(&mut self, index: usize) {
        let address = self.address(self.pairs[index].is_v6);
        let length = self.put(address);
        let Pair { fd, file, .. } = &self.pairs[index];
        let mine = self.task.call(49, &[N(*fd), P(0x1000), N(length)]);
        let its = rustix::net::bind(file, &address);
        self.check(format!("{index}: bind {address}"), ours(mine), theirs(its.map(|()| 0)));
    }

    fn listen(&mut self, index: usize) {
        let Pair { fd, file, .. } = &self.pairs[index];
        let mine = self.task.call(50, &[N(*fd), N(64)]);
        let its = rustix::net::listen(file, 64);
        self.check(format!("{index}: listen"), ours(mine), theirs(its.map(|()| 0)));
    }

    fn connect(&mut self, index: usize) {
        let address = self.address(self.pairs[index].is_v6);
        let is_v4 = address.ip().to_canonical().is_ipv4();
        if *self.pairs[index].tried_v4.get_or_insert(is_v4) != is_v4 {
            // An IPv6 socket that failed to connect to an IPv4 address connects to no IPv6 one on Linux: the
            // answer never reaches it.
            return;
        }
        let length = self.put(address);
        let Pair { fd, file, is_stream, .. } = &self.pairs[index];
        let own = SocketAddr::try_from(rustix::net::getsockname(file).unwrap()).unwrap();
        let own_ip = own.ip().to_canonical();
        let is_other_kind = !own_ip.is_unspecified() && own_ip.is_ipv4() != is_v4;
        if is_other_kind || *is_stream && own.port() == address.port() {
            // Linux sends from an address that is not the socket's, or connects it to itself; here neither.
            return;
        }
        let mine = self.task.call(42, &[N(*fd), P(0x1000), N(length)]);
        let its = rustix::net::connect(file, &address);
        self.check(format!("{index}: connect {address}"), ours(mine), theirs(its.map(|()| 0)));
    }

    fn accept(&mut self, index: usize) {
        let Pair { fd, file, is_stream, is_v6, .. } = &self.pairs[index];
        let (is_stream, is_v6) = (*is_stream, *is_v6);
        let mine = self.task.call(288, &[N(*fd), N(0), N(0), N(i64::from(O_NONBLOCK))]);
        let its = rustix::net::accept_with(file, SocketFlags::NONBLOCK);
        let (mine, its) = (ours(mine), theirs(its));
        let (mine_or, its_or) = (mine.map(|_| 0), its.as_ref().map(|_| 0).map_err(|error| *error));
        self.check(format!("{index}: accept"), mine_or, its_or);
        if let (Ok(fd), Ok(file)) = (mine, its) {
            self.log.push(format!("{} = accepted", self.pairs.len()));
            sockopt::set_tcp_nodelay(&file, true).unwrap();
            self.pairs.push(Pair { fd: fd as i64, file, is_stream, is_v6, tried_v4: None });
        }
    }

    fn send(&mut self, index: usize) {
        let count = [1, 3, 700][self.random.below(3)];
        let bytes: Vec<u8> = (0..count).map(|_| self.random.next() as u8).collect();
        self.task.set_buffer(0, &bytes);
        let Pair { fd, file, .. } = &self.pairs[index];
        let args = [N(*fd), P(0), N(count as i64), N(0x4000), N(0), N(0)];
        let mine = self.task.call(44, &args).map(|count| count as usize);
        let its = rustix::net::send(file, &bytes, SendFlags::NOSIGNAL);
        self.check(format!("{index}: send {count}"), ours(mine), theirs(its));
    }

    fn send_to(&mut self, index: usize) {
        let (is_stream, is_v6) = (self.pairs[index].is_stream, self.pairs[index].is_v6);
        if is_stream {
            return;
        }
        let address = self.address(is_v6);
        let length = self.put(address);
        self.task.set_buffer(0, b"to you");
        let Pair { fd, file, .. } = &self.pairs[index];
        let args = [N(*fd), P(0), N(6), N(0x4000), P(0x1000), N(length)];
        let mine = self.task.call(44, &args).map(|count| count as usize);
        let its = rustix::net::sendto(file, b"to you", SendFlags::NOSIGNAL, &address);
        self.check(format!("{index}: send to {address}"), ours(mine), theirs(its));
    }

    fn receive(&mut self, index: usize) {
        let limit = [1, 100, 2000][self.random.below(3)];
        let peeks = self.random.is_one_of(4);
        let Pair { fd, file, is_stream, .. } = &self.pairs[index];
        let flags = if peeks { 2 } else { 0 };
        self.task.set_buffer(0x2000, &128u32.to_le_bytes());
        let args = [N(*fd), P(0), N(limit as i64), N(flags), P(0x1000), P(0x2000)];
        let mine = self.task.call(45, &args).map(|count| {
            let from = self.task.buffer(0x2000, 1)[0] as usize;
            let from =
                if *is_stream || from == 0 { vec![] } else { self.task.buffer(0x1000, from) };
            let from = (!from.is_empty()).then(|| self.shown(decode(&from)));
            (self.task.buffer(0, count as usize), from)
        });
        let mut buffer = vec![0; limit];
        let flags = if peeks { RecvFlags::PEEK } else { RecvFlags::empty() };
        let its = rustix::net::recvfrom(file, &mut buffer[..], flags);
        let its = its.map(|(count, _, from)| {
            let from = from.filter(|_| !is_stream);
            let from = from.map(|from: SocketAddrAny| self.shown(from.try_into().unwrap()));
            (buffer[..count].to_vec(), from)
        });
        self.check(format!("{index}: receive {limit} {peeks}"), ours(mine), theirs(its));
    }

    fn shutdown(&mut self, index: usize) {
        let (how, its) =
            [(0, Shutdown::Read), (1, Shutdown::Write), (2, Shutdown::Both)][self.random.below(3)];
        let Pair { fd, file, is_stream, .. } = &self.pairs[index];
        let is_live =
            rustix::net::getpeername(file).is_ok() || sockopt::socket_acceptconn(file).unwrap();
        if *is_stream && !is_live {
            // Linux refuses, and the socket is shut all the same: nobody can want that.
            return;
        }
        if !*is_stream && how != 1 {
            // Who does not wait is told EAGAIN by Linux, who waits the end; here both hear of the end.
            return;
        }
        let mine = self.task.call(48, &[N(*fd), N(how)]);
        let its = rustix::net::shutdown(file, its);
        self.check(format!("{index}: shutdown {how}"), ours(mine), theirs(its.map(|()| 0)));
    }

    fn error(&mut self, index: usize) {
        let Pair { fd, file, .. } = &self.pairs[index];
        self.task.set_buffer(0x2000, &4u32.to_le_bytes());
        self.task.call(55, &[N(*fd), N(1), N(4), P(0x1000), P(0x2000)]).unwrap();
        let mine = i32::from(self.task.buffer(0x1000, 1)[0]);
        let its = sockopt::socket_error(file).unwrap();
        let its = its.map_or_else(rustix::io::Errno::raw_os_error, |()| 0);
        self.check(format!("{index}: error"), mine, its);
    }

    fn available(&mut self, index: usize) {
        let Pair { fd, file, .. } = &self.pairs[index];
        let mine = self.task.call(16, &[N(*fd), N(0x541b), P(0)]).map(|_| {
            let raw = self.task.buffer(0, 4);
            u64::from(u32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]))
        });
        let its = rustix::io::ioctl_fionread(file);
        self.check(format!("{index}: available"), ours(mine), theirs(its));
    }

    fn close(&mut self, index: usize) {
        let resets = self.random.is_one_of(4);
        let Pair { fd, file, .. } = self.pairs.swap_remove(index);
        if resets {
            self.task.set_buffer(0, &[1, 0, 0, 0, 0, 0, 0, 0]);
            self.task.call(54, &[N(fd), N(1), N(13), P(0), N(8)]).unwrap();
            sockopt::set_socket_linger(&file, Some(Duration::ZERO)).unwrap();
        }
        self.task.call(3, &[N(fd)]).unwrap();
        drop(file);
        self.log.push(format!("{index}: close {resets}, then the last one is {index}"));
    }

    fn run(&mut self) {
        for _ in 0..SLOTS {
            self.socket();
        }
        // A connection that was closed keeps its port on Linux for a while: all names are given before.
        for index in 0..SLOTS {
            if !self.random.is_one_of(4) {
                self.bind(index);
            }
            if self.pairs[index].is_stream && self.random.is_one_of(2) {
                self.listen(index);
            }
            self.settle();
        }
        for _ in 0..STEPS {
            self.settle();
            if self.pairs.is_empty() {
                return;
            }
            let index = self.random.below(self.pairs.len());
            match self.random.below(20) {
                0..=3 => self.connect(index),
                4 | 5 => self.accept(index),
                6..=9 => self.send(index),
                10 => self.send_to(index),
                11..=13 => self.receive(index),
                14 => self.shutdown(index),
                15 => self.error(index),
                16 => self.name(index, 51),
                17 => self.name(index, 52),
                18 => self.available(index),
                _ => self.close(index),
            }
        }
    }
}

fn decode(raw: &[u8]) -> SocketAddr {
    let family = Family::of(u16::from_le_bytes([raw[0], raw[1]])).expect("a family");
    let address = family.decode(raw).unwrap();
    match (family, address.ip()) {
        (Family::V6, IpAddr::V4(ip)) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        _ => address,
    }
}

#[test]
fn sockets_answer_as_linux_does() {
    for seed in 0..ROUNDS {
        Round::new(seed).run();
    }
}
