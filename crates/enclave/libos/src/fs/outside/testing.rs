//! Sockets of a host in memory, which does what a test says and tells it what it was asked.

use crate::errno::Errno;
use crate::fs::stream::Streams;
use crate::host::{HostStream, Readiness};
use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

const IN: u16 = Readiness::IN.0;
const OUT: u16 = Readiness::OUT.0;
const RDHUP: u16 = Readiness::RDHUP.0;
const OVER: u16 = Readiness::HUP.0 | Readiness::ERR.0;

/// First number of a socket: those below are streams of sessions.
const FIRST: u32 = 100;

/// Sockets of the host.
pub(crate) struct Net {
    pub(crate) sockets: BTreeMap<u32, Socket>,
    /// What was asked for, in order.
    pub(crate) asked: Vec<String>,
    /// Answers to come for calls that make or name a socket, in place of the true ones.
    pub(crate) errors: VecDeque<Errno>,
    /// The number of the next socket, in place of a new one.
    pub(crate) number: Option<u32>,
    /// Own address of every socket.
    pub(crate) name: SocketAddr,
    /// Bytes that reads and writes claim beyond the true count.
    pub(crate) excess: usize,
    next: u32,
}

/// One socket.
#[derive(Default)]
pub(crate) struct Socket {
    pub(crate) input: VecDeque<u8>,
    /// The peer sends no more.
    pub(crate) is_ended: bool,
    pub(crate) output: Vec<u8>,
    /// Bytes of output that still fit.
    pub(crate) room: usize,
    pub(crate) error: Option<Errno>,
    pub(crate) is_connecting: bool,
    /// Of a listener: who waits.
    pub(crate) waiting: VecDeque<SocketAddr>,
    pub(crate) shut: (bool, bool),
    watched: u16,
}

impl Default for Net {
    fn default() -> Self {
        Self {
            sockets: BTreeMap::new(),
            asked: Vec::new(),
            errors: VecDeque::new(),
            number: None,
            name: SocketAddrV4::new(Ipv4Addr::new(10, 9, 8, 7), 80).into(),
            excess: 0,
            next: FIRST,
        }
    }
}

impl Net {
    fn make(&mut self, socket: Socket) -> HostStream {
        let number = self.number.take().unwrap_or(self.next);
        self.next = self.next.max(number + 1);
        self.sockets.entry(number).or_insert(socket);
        HostStream(number)
    }

    fn fails(&mut self, asked: String) -> Result<(), Errno> {
        self.asked.push(asked);
        self.errors.pop_front().map_or(Ok(()), Err)
    }

    pub(crate) fn listen(&mut self, at: SocketAddr, v6_only: bool) -> Result<HostStream, Errno> {
        self.fails(format!(
            "listen {at}{}",
            if v6_only && at.is_ipv6() { " v6 only" } else { "" }
        ))?;
        Ok(self.make(Socket::default()))
    }

    pub(crate) fn accept(&mut self, at: HostStream) -> Result<(HostStream, SocketAddr), Errno> {
        self.fails(format!("accept {}", at.0))?;
        let listener = self.sockets.get_mut(&at.0).ok_or(Errno::EBADF)?;
        let peer = listener.waiting.pop_front().ok_or(Errno::EAGAIN)?;
        Ok((self.make(Socket { room: 1 << 20, ..Socket::default() }), peer))
    }

    pub(crate) fn connect(&mut self, to: SocketAddr, udp: bool) -> Result<HostStream, Errno> {
        self.fails(format!("connect {}{to}", if udp { "udp:" } else { "" }))?;
        let is_connecting = !udp;
        Ok(self.make(Socket { room: 1 << 20, is_connecting, ..Socket::default() }))
    }

    pub(crate) fn error(&mut self, of: HostStream) -> Option<Errno> {
        self.asked.push(format!("error {}", of.0));
        self.sockets.get_mut(&of.0).map_or(Some(Errno::EBADF), |socket| socket.error.take())
    }

    pub(crate) fn shutdown(&mut self, of: HostStream, r: bool, w: bool) -> Result<(), Errno> {
        self.fails(format!("shutdown {}", of.0))?;
        let socket = self.sockets.get_mut(&of.0).ok_or(Errno::EBADF)?;
        socket.shut = (socket.shut.0 | r, socket.shut.1 | w);
        Ok(())
    }

    pub(crate) fn read(&mut self, of: HostStream, into: &mut [u8]) -> Option<Result<usize, Errno>> {
        let socket = self.sockets.get_mut(&of.0)?;
        if let Some(error) = socket.error.take() {
            return Some(Err(error));
        }
        if socket.input.is_empty() {
            let is_over = socket.is_ended || socket.shut.0;
            return Some(if is_over { Ok(0) } else { Err(Errno::EAGAIN) });
        }
        let count = socket.input.len().min(into.len());
        for (to, from) in into.iter_mut().zip(socket.input.drain(..count)) {
            *to = from;
        }
        Some(Ok(count + self.excess))
    }

    pub(crate) fn write(&mut self, of: HostStream, from: &[u8]) -> Option<Result<usize, Errno>> {
        let socket = self.sockets.get_mut(&of.0)?;
        if let Some(error) = socket.error.take() {
            return Some(Err(error));
        }
        if socket.shut.1 {
            return Some(Err(Errno::EPIPE));
        }
        let count = from.len().min(socket.room);
        if count == 0 {
            return Some(Err(Errno::EAGAIN));
        }
        socket.room -= count;
        socket.output.extend_from_slice(&from[..count]);
        Some(Ok(count + self.excess))
    }

    pub(crate) fn poll(&mut self, of: HostStream) -> Option<Readiness> {
        let readiness = Readiness(self.sockets.get(&of.0)?.readiness());
        self.asked.push(format!("poll {}", of.0));
        Some(readiness)
    }

    pub(crate) fn watch(&mut self, of: HostStream, interest: Readiness) -> bool {
        let Some(socket) = self.sockets.get_mut(&of.0) else { return false };
        socket.watched = interest.0;
        self.asked.push(format!("watch {} {:#x}", of.0, interest.0));
        true
    }

    pub(crate) fn close(&mut self, of: HostStream) {
        if self.sockets.remove(&of.0).is_some() {
            self.asked.push(format!("close {}", of.0));
        }
    }

    /// What was asked since the last time.
    pub(crate) fn asked(&mut self) -> Vec<String> {
        std::mem::take(&mut self.asked)
    }

    /// The events that watches give now; each is over with its event.
    fn events(&mut self) -> Vec<(HostStream, Readiness)> {
        let mut events = Vec::new();
        for (number, socket) in &mut self.sockets {
            let ready = socket.readiness() & (socket.watched | OVER);
            if socket.watched != 0 && ready != 0 {
                socket.watched = 0;
                events.push((HostStream(*number), Readiness(ready)));
            }
        }
        events
    }
}

impl Socket {
    fn readiness(&self) -> u16 {
        let mut ready = 0;
        if !self.waiting.is_empty() || !self.input.is_empty() || self.is_ended || self.shut.0 {
            ready |= IN;
        }
        if self.is_ended {
            ready |= RDHUP;
        }
        if self.room > 0 && !self.is_connecting {
            ready |= OUT;
        }
        if self.error.is_some() {
            ready |= IN | OUT | OVER;
        }
        ready
    }
}

/// Does `change` to a socket of the host and tells of what it makes ready.
pub(crate) fn change(
    net: &std::sync::Mutex<Net>,
    streams: &Streams,
    number: u32,
    change: impl FnOnce(&mut Socket),
) {
    let events = {
        let mut net = net.lock().unwrap();
        change(net.sockets.get_mut(&number).unwrap());
        net.events()
    };
    for (stream, readiness) in events {
        streams.ready(stream, readiness);
    }
}
