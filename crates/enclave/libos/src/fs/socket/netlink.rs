//! Netlink sockets as far as programs ask for interfaces and addresses (rtnetlink(7)): getifaddrs(3) and
//! getaddrinfo(3) of the C libraries, the interface lists of language runtimes.
//!
//! The answers are in the socket before the question returns. Only lists are answered; a wish to change
//! something is EPERM, another question EOPNOTSUPP. Nothing of the program's bytes is kept.

use super::channel::{Attached, Bounds, Channel, Peer, Received};
use super::inet::interface;
use super::options::Options;
use super::{AF_UNSPEC, Destination, FIONREAD, Kind, Socket, next_id, stat_of};
use crate::errno::Errno;
use crate::fs::file::{File, Sink, SliceSource, Source};
use crate::fs::stat::Stat;
use crate::fs::task::Task;
use crate::host::Readiness;
use crate::sync::Mutex;
use crate::wait::WaitQueue;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU32, Ordering};

/// AF_NETLINK.
pub const AF_NETLINK: u16 = 16;
/// NETLINK_ROUTE, the one protocol.
pub const ROUTE: i32 = 0;

/// Longest question that is read.
const MAX_QUESTION: usize = 4096;
/// Answers that a socket holds.
const MAX_ANSWERS: usize = 64;

const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_GETROUTE: u16 = 26;
const RTM_GETNEIGH: u16 = 30;
const RTM_GETRULE: u16 = 34;

const NLM_F_MULTI: u16 = 2;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;

/// A netlink socket.
pub struct Netlink {
    kind: Kind,
    options: Options,
    queue: Arc<WaitQueue>,
    inbox: Arc<Channel>,
    /// Its port number; 0 without one.
    port: Mutex<u32>,
    id: u64,
    owner: Peer,
}

/// A question: header and what follows it.
struct Question<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &'a [u8],
    whole: &'a [u8],
}

impl Netlink {
    /// A socket without a port number.
    #[must_use]
    pub fn new(kind: Kind, owner: Peer) -> Arc<Self> {
        let queue: Arc<WaitQueue> = Arc::default();
        Arc::new(Self {
            kind,
            options: Options::default(),
            inbox: Channel::new(Bounds::Messages(MAX_ANSWERS), queue.clone(), None),
            queue,
            port: Mutex::new(0),
            id: next_id(),
            owner,
        })
    }

    /// Its port number, which it gets now if it has none: numbers above those of processes.
    fn port(&self) -> u32 {
        static NEXT: AtomicU32 = AtomicU32::new(0x8000_0000);
        let mut port = self.port.lock();
        if *port == 0 {
            *port = NEXT.fetch_add(1, Ordering::Relaxed);
        }
        *port
    }

    fn answer(&self, parts: &[Vec<u8>]) {
        let mut attached = Attached { from: address(0), ..Attached::default() };
        // A socket that nobody reads loses answers, as Linux's do.
        let _ = self.inbox.send(&mut SliceSource(&parts.concat()), &mut attached);
    }

    fn serve(&self, question: &Question<'_>) {
        let is_dump = question.flags & NLM_F_DUMP == NLM_F_DUMP;
        let port = self.port();
        let message =
            |kind, flags, body: &[u8]| message(kind, flags, question.sequence, port, body);
        let done = || message(NLMSG_DONE, NLM_F_MULTI, &[0; 4]);
        let family = question.body.first().copied().unwrap_or_default();
        let failed = |error: Errno| {
            let code = (-i32::from(error.number())).to_le_bytes();
            message(NLMSG_ERROR, 0, &[&code, question.whole].concat())
        };
        match question.kind {
            RTM_GETLINK if is_dump => {
                self.answer(&[message(RTM_NEWLINK, NLM_F_MULTI, &link())]);
                self.answer(&[done()]);
            }
            RTM_GETLINK => match asks_for_lo(question.body) {
                true => self.answer(&[message(RTM_NEWLINK, 0, &link())]),
                false => self.answer(&[failed(Errno::ENODEV)]),
            },
            RTM_GETADDR if is_dump => {
                let all = [(2, &[127, 0, 0, 1][..], 8), (10, &LOOPBACK_6[..], 128)];
                let wanted = all.iter().filter(|(of, ..)| family == 0 || family == *of);
                let parts: Vec<_> = wanted
                    .map(|(of, ip, bits)| {
                        message(RTM_NEWADDR, NLM_F_MULTI, &interface_address(*of, ip, *bits))
                    })
                    .collect();
                if !parts.is_empty() {
                    self.answer(&parts);
                }
                self.answer(&[done()]);
            }
            RTM_GETROUTE | RTM_GETNEIGH | RTM_GETRULE if is_dump => self.answer(&[done()]),
            // Every fourth kind, from 16 on, is a question: the others change something.
            kind if kind >= RTM_NEWLINK && kind % 4 != 2 => self.answer(&[failed(Errno::EPERM)]),
            kind if kind >= RTM_NEWLINK => self.answer(&[failed(Errno::EOPNOTSUPP)]),
            _ if question.flags & NLM_F_ACK != 0 => {
                let body = [&[0; 4], &question.whole[..HEADER]].concat();
                self.answer(&[message(NLMSG_ERROR, 0, &body)]);
            }
            _ => {}
        }
    }
}

const LOOPBACK_6: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// `struct sockaddr_nl`.
fn address(port: u32) -> Vec<u8> {
    let mut raw = vec![0; 12];
    raw[..2].copy_from_slice(&AF_NETLINK.to_le_bytes());
    raw[4..8].copy_from_slice(&port.to_le_bytes());
    raw
}

/// The port number of a `struct sockaddr_nl`.
fn decode(raw: &[u8]) -> Result<u32, Errno> {
    let raw = raw.first_chunk::<12>().ok_or(Errno::EINVAL)?;
    match u16::from_le_bytes([raw[0], raw[1]]) {
        AF_NETLINK => Ok(u32::from_le_bytes([raw[4], raw[5], raw[6], raw[7]])),
        _ => Err(Errno::EINVAL),
    }
}

/// `struct nlmsghdr` and what follows, padded.
fn message(kind: u16, flags: u16, sequence: u32, port: u32, body: &[u8]) -> Vec<u8> {
    let mut raw = Vec::from(((HEADER + body.len()) as u32).to_le_bytes());
    raw.extend(kind.to_le_bytes());
    raw.extend(flags.to_le_bytes());
    raw.extend(sequence.to_le_bytes());
    raw.extend(port.to_le_bytes());
    raw.extend(body);
    raw.resize(raw.len().next_multiple_of(4), 0);
    raw
}

/// `struct rtattr` and its value, padded.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut raw = Vec::from(((4 + value.len()) as u16).to_le_bytes());
    raw.extend(kind.to_le_bytes());
    raw.extend(value);
    raw.resize(raw.len().next_multiple_of(4), 0);
    raw
}

/// `struct ifinfomsg` of lo: IFLA_ADDRESS, IFLA_BROADCAST, IFLA_IFNAME, IFLA_MTU, IFLA_TXQLEN, IFLA_OPERSTATE.
fn link() -> Vec<u8> {
    let mut raw = vec![0; 4];
    raw[2..].copy_from_slice(&interface::HARDWARE.to_le_bytes());
    raw.extend(interface::INDEX.to_le_bytes());
    raw.extend((interface::FLAGS | 0x1_0000).to_le_bytes());
    raw.extend([0; 4]);
    raw.extend(attribute(1, &[0; 6]));
    raw.extend(attribute(2, &[0; 6]));
    raw.extend(attribute(3, b"lo\0"));
    raw.extend(attribute(4, &interface::MTU.to_le_bytes()));
    raw.extend(attribute(13, &1000u32.to_le_bytes()));
    raw.extend(attribute(16, &[0]));
    raw
}

/// `struct ifaddrmsg` of lo: scope host, permanent; IFA_ADDRESS, IFA_LOCAL, IFA_LABEL.
fn interface_address(family: u8, ip: &[u8], bits: u8) -> Vec<u8> {
    let mut raw = vec![family, bits, 0x80, 254];
    raw.extend(interface::INDEX.to_le_bytes());
    raw.extend(attribute(1, ip));
    if family == 2 {
        raw.extend(attribute(2, ip));
        raw.extend(attribute(3, b"lo\0"));
    }
    raw
}

/// Whether `struct ifinfomsg` and its attributes name lo, by its index or IFLA_IFNAME.
fn asks_for_lo(body: &[u8]) -> bool {
    let Some((info, mut rest)) = body.split_first_chunk::<16>() else { return false };
    if u32::from_le_bytes([info[4], info[5], info[6], info[7]]) == interface::INDEX {
        return true;
    }
    while let Some((head, _)) = rest.split_first_chunk::<4>() {
        let length = usize::from(u16::from_le_bytes([head[0], head[1]]));
        let Some(value) = rest.get(4..length) else { return false };
        if u16::from_le_bytes([head[2], head[3]]) == 3 {
            return value.strip_suffix(b"\0").unwrap_or(value) == interface::NAME;
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    false
}

/// The questions in a datagram. What is no question ends it.
fn questions(mut rest: &[u8]) -> Vec<Question<'_>> {
    let mut found = Vec::new();
    while let Some((head, _)) = rest.split_first_chunk::<HEADER>() {
        let word =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let length = word(0) as usize;
        let Some(whole) = rest.get(..length).filter(|whole| whole.len() >= HEADER) else { break };
        let (kind, flags) = (word(4) as u16, (word(4) >> 16) as u16);
        found.push(Question { kind, flags, sequence: word(8), body: &whole[HEADER..], whole });
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

impl Socket for Netlink {
    fn domain(&self) -> u16 {
        AF_NETLINK
    }

    fn kind(&self) -> Kind {
        self.kind
    }

    fn protocol(&self) -> u32 {
        ROUTE as u32
    }

    fn options(&self) -> &Options {
        &self.options
    }

    fn events(&self) -> &WaitQueue {
        &self.queue
    }

    fn bind(&self, _task: &dyn Task, address: &[u8]) -> Result<(), Errno> {
        match decode(address)? {
            0 => self.port(),
            port => core::mem::replace(&mut *self.port.lock(), port),
        };
        Ok(())
    }

    fn connect(&self, _task: &dyn Task, address: &[u8], _waits: bool) -> Result<(), Errno> {
        if super::inet::address::family_of(address)? == AF_UNSPEC {
            return Ok(());
        }
        match decode(address)? {
            0 => Ok(()),
            _ => Err(Errno::ECONNREFUSED),
        }
    }

    fn name(&self) -> Vec<u8> {
        address(*self.port.lock())
    }

    fn peer_name(&self) -> Result<Vec<u8>, Errno> {
        Ok(address(0))
    }

    fn shutdown(&self, _reads: bool, _writes: bool) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn destination(&self, _task: &dyn Task, address: &[u8]) -> Result<Option<Destination>, Errno> {
        match decode(address)? {
            0 => Ok(Some(Destination::Netlink)),
            _ => Err(Errno::ECONNREFUSED),
        }
    }

    fn send(
        &self,
        from: &mut dyn Source,
        _attached: Attached,
        _to: Option<&Destination>,
    ) -> Result<usize, Errno> {
        let count = from.remaining();
        if count > MAX_QUESTION {
            return Err(Errno::EMSGSIZE);
        }
        let mut bytes = vec![0; count];
        from.take(&mut bytes)?;
        questions(&bytes).iter().for_each(|question| self.serve(question));
        Ok(count)
    }

    fn receive(&self, into: &mut dyn Sink, peeks: bool) -> Result<Received, Errno> {
        self.inbox.receive(into, peeks)
    }
}

impl File for Netlink {
    fn read(&self, _offset: u64, into: &mut dyn Sink) -> Result<usize, Errno> {
        self.receive(into, false).map(|received| received.count)
    }

    fn write(&self, _offset: u64, from: &mut dyn Source) -> Result<usize, Errno> {
        self.send(from, Attached::default(), None)
    }

    fn poll(&self) -> Readiness {
        let readable = if self.inbox.is_readable() { Readiness::IN.0 } else { 0 };
        Readiness(Readiness::OUT.0 | readable)
    }

    fn ioctl(&self, task: &dyn Task, request: u32, argument: u64) -> Result<u64, Errno> {
        if request != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        task.write_user(argument, &(self.inbox.available() as u32).to_le_bytes())?;
        Ok(0)
    }

    fn stat(&self) -> Stat {
        stat_of(self.id, self.owner)
    }

    fn description(&self) -> String {
        alloc::format!("socket:[{}]", self.id)
    }

    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::file::VecSink;

    fn ask(socket: &Netlink, kind: u16, flags: u16, body: &[u8]) -> Vec<Vec<u8>> {
        let question = message(kind, flags, 7, 0, body);
        socket.send(&mut SliceSource(&question), Attached::default(), None).unwrap();
        let mut answers = Vec::new();
        loop {
            let mut sink = VecSink::new(4096);
            match socket.receive(&mut sink, false) {
                Ok(_) => answers.push(sink.bytes),
                Err(error) => {
                    assert_eq!(error, Errno::EAGAIN);
                    return answers;
                }
            }
        }
    }

    fn kinds(answer: &[u8]) -> Vec<u16> {
        questions(answer).iter().map(|one| one.kind).collect()
    }

    #[test]
    fn lists_name_lo_and_end_and_everything_else_is_refused() {
        let socket = Netlink::new(Kind::Raw, Peer::default());
        let links = ask(&socket, RTM_GETLINK, NLM_F_DUMP, &[0; 16]);
        assert_eq!(
            links.iter().map(|a| kinds(a)).collect::<Vec<_>>(),
            [[RTM_NEWLINK], [NLMSG_DONE]]
        );
        assert!(links[0].windows(3).any(|bytes| bytes == b"lo\0"));
        let addresses = ask(&socket, RTM_GETADDR, NLM_F_DUMP, &[0; 8]);
        assert_eq!(kinds(&addresses[0]), [RTM_NEWADDR; 2]);
        let only_6 = ask(&socket, RTM_GETADDR, NLM_F_DUMP, &[10, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(kinds(&only_6[0]), [RTM_NEWADDR]);
        let error = |answers: Vec<Vec<u8>>| {
            assert_eq!(kinds(&answers[0]), [NLMSG_ERROR]);
            i32::from_le_bytes(answers[0][16..20].try_into().unwrap())
        };
        assert_eq!(error(ask(&socket, RTM_NEWLINK, 0, &[0; 16])), -1, "EPERM");
        assert_eq!(error(ask(&socket, 94, 0, &[0; 16])), -95, "EOPNOTSUPP");
        assert_eq!(error(ask(&socket, RTM_GETLINK, 0, &[0; 16])), -19, "ENODEV");
        let named = [&[0; 16][..], &attribute(3, b"lo\0")].concat();
        assert_eq!(kinds(&ask(&socket, RTM_GETLINK, 0, &named)[0]), [RTM_NEWLINK]);
    }

    #[test]
    fn bytes_that_are_no_question_have_no_answer() {
        let socket = Netlink::new(Kind::Raw, Peer::default());
        for bytes in [&[][..], &[1; 15], &[255; 64], &[0; 16]] {
            socket.send(&mut SliceSource(bytes), Attached::default(), None).unwrap();
        }
        assert!(!socket.inbox.is_readable());
        let long = vec![0; MAX_QUESTION + 1];
        let sent = socket.send(&mut SliceSource(&long), Attached::default(), None);
        assert_eq!(sent, Err(Errno::EMSGSIZE));
    }
}
