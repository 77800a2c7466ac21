//! Sockets of datagrams: UDP as a program sees it (udp(7)).
//!
//! A datagram arrives at once or is lost: where the receiver has no room it goes nowhere and the sender does
//! not hear of it. Where nobody has the port, a socket that is connected hears ECONNREFUSED next.

use super::super::channel::{Bounds, Channel};
use super::super::options::{SOL_SOCKET, so};
use super::super::{AF_UNSPEC, Attached, Destination, Kind, Peer, Received, Socket};
use super::address::{Family, family_of, is_local};
use super::base::{Base, Bound};
use super::interface;
use super::listing::Row;
use super::network::Network;
use super::protocol::{IPPROTO_UDP, of_datagram};
use crate::errno::Errno;
use crate::fs::file::{File, Sink, Source};
use crate::fs::socket::options::Options;
use crate::fs::stat::Stat;
use crate::fs::task::Task;
use crate::host::Readiness;
use crate::sync::Mutex;
use crate::wait::WaitQueue;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use workload::manifest::Protocol;

/// Longest payload over IPv4 and IPv6: 65,535 less the headers.
const LONGEST: [usize; 2] = [65_507, 65_527];

/// Datagrams that a socket holds, however short: Linux counts 768 bytes for one.
const MOST: usize = super::super::channel::CAPACITY / 768;

/// A socket of datagrams.
pub struct Datagram {
    base: Base,
    state: Mutex<State>,
    inbox: Arc<Channel>,
    this: Weak<Self>,
}

#[derive(Default)]
struct State {
    bound: Option<Bound>,
    /// Where it is connected to, and from which address.
    remote: Option<(SocketAddr, SocketAddr)>,
    error: Option<Errno>,
    /// shutdown(2): for reading, for writing.
    shut: (bool, bool),
}

impl Datagram {
    /// A socket without an address.
    #[must_use]
    pub fn new(network: Arc<Network>, family: Family, owner: Peer) -> Arc<Self> {
        let base = Base::new(network, family, owner);
        let inbox = Channel::new(Bounds::Messages(MOST), base.queue.clone(), None);
        let socket = Arc::new_cyclic(|this| Self {
            base,
            state: Mutex::default(),
            inbox,
            this: this.clone(),
        });
        socket.base.network.datagrams.add(socket.base.id, &socket);
        socket
    }

    /// Where a datagram to `remote` comes from and really goes; gives the socket a port if it has none.
    fn path(
        &self,
        state: &mut State,
        remote: SocketAddr,
    ) -> Result<(SocketAddr, SocketAddr), Errno> {
        let remote = self.base.reachable(remote)?;
        let is_broadcast = remote.ip() == IpAddr::V4(Ipv4Addr::BROADCAST);
        if is_broadcast && !self.base.options.is_set(so::BROADCAST) {
            return Err(Errno::EACCES);
        }
        if !is_local(remote.ip()) {
            return Err(Errno::ENETUNREACH);
        }
        let bound = match state.bound {
            Some(bound) => bound,
            None => {
                let (sockets, any) = (&self.base.network.datagrams, self.base.family.any());
                self.base.claim(sockets, &self.this, any, 0, true)?
            }
        };
        state.bound = Some(bound);
        bound.path(remote)
    }

    fn count_unreachable<T>(&self, to: SocketAddr, done: Result<T, Errno>) -> Result<T, Errno> {
        match done {
            Err(Errno::ENETUNREACH) => {
                Err(self.base.network.outside().unreachable(Protocol::Udp, to))
            }
            done => done,
        }
    }

    /// Whom it hears is part of how a datagram finds it.
    fn hear(&self, bound: Option<Bound>, remote: Option<SocketAddr>) {
        if let Some(bound) = bound {
            let mut ports = self.base.network.datagrams.ports.lock();
            ports.update(bound.port, self.base.id, |holder| holder.remote = remote);
        }
    }

    /// connect(2) with AF_UNSPEC.
    fn disconnect(&self) {
        let mut state = self.state.lock();
        state.remote = None;
        match state.bound.take_if(|bound| bound.is_chosen) {
            Some(bound) => {
                let mut ports = self.base.network.datagrams.ports.lock();
                ports.release(bound.port, self.base.id);
            }
            None => self.hear(state.bound, None),
        }
    }

    fn send_to(&self, from: &mut dyn Source, to: Option<SocketAddr>) -> Result<usize, Errno> {
        let length = from.remaining();
        let (path, heard) = {
            let mut state = self.state.lock();
            let path = match (to, state.remote) {
                (None, Some(path)) => Ok(path),
                (None, None) => return Err(Errno::EDESTADDRREQ),
                (Some(to), _) if to.port() == 0 => return Err(Errno::EINVAL),
                (Some(to), _) => self.path(&mut state, to),
            };
            (path, state.remote.map(|(_, remote)| remote))
        };
        let (local, target) = match to {
            Some(to) => self.count_unreachable(to, path)?,
            None => path?,
        };
        {
            // As on Linux a bad address is told before an error that waits, and that before the end.
            let mut state = self.state.lock();
            if let Some(error) = state.error.take() {
                return Err(error);
            }
            if state.shut.1 {
                return Err(Errno::EPIPE);
            }
        }
        if length > LONGEST[usize::from(target.is_ipv6())] {
            return Err(Errno::EMSGSIZE);
        }
        let sockets = &self.base.network.datagrams;
        let receiver = sockets.ports.lock().find(target, local, |_| true);
        match receiver {
            Some(receiver) => receiver.deliver(from, local)?,
            None if heard == Some(target) => {
                self.state.lock().error = Some(Errno::ECONNREFUSED);
                self.base.queue.wake_all();
            }
            None => {}
        }
        Ok(length)
    }

    /// Takes a datagram; without room it is lost.
    fn deliver(&self, from: &mut dyn Source, sender: SocketAddr) -> Result<(), Errno> {
        let from_address = self.base.family.encode(sender);
        let mut attached = Attached { from: from_address, ..Attached::default() };
        match self.inbox.send(from, &mut attached) {
            Err(Errno::EFAULT) => Err(Errno::EFAULT),
            _ => Ok(()),
        }
    }

    /// Its line of /proc/net/udp.
    pub(super) fn row(&self) -> Row {
        let state = self.state.lock();
        let base = &self.base;
        let any = SocketAddr::new(base.family.any(), 0);
        let (own, remote) = match (state.remote, state.bound) {
            (Some(path), _) => path,
            (None, bound) => (bound.map_or(any, |bound| bound.address()), any),
        };
        let code = if state.remote.is_some() { 1 } else { 7 };
        let queues = (0, self.inbox.available());
        Row { family: base.family, own, remote, code, queues, uid: base.owner.uid, inode: base.id }
    }
}

impl Socket for Datagram {
    fn domain(&self) -> u16 {
        self.base.family as u16
    }

    fn kind(&self) -> Kind {
        Kind::Datagram
    }

    fn protocol(&self) -> u32 {
        IPPROTO_UDP as u32
    }

    fn options(&self) -> &Options {
        &self.base.options
    }

    fn events(&self) -> &WaitQueue {
        &self.base.queue
    }

    fn bind(&self, task: &dyn Task, address: &[u8]) -> Result<(), Errno> {
        let wanted = self.base.wanted(task, address, |_| false)?;
        let mut state = self.state.lock();
        if state.bound.is_some() {
            return Err(Errno::EINVAL);
        }
        let sockets = &self.base.network.datagrams;
        let bound = self.base.claim(sockets, &self.this, wanted.ip(), wanted.port(), false)?;
        state.bound = Some(bound);
        Ok(())
    }

    fn connect(&self, _task: &dyn Task, address: &[u8], _waits: bool) -> Result<(), Errno> {
        if family_of(address)? == AF_UNSPEC {
            self.disconnect();
            return Ok(());
        }
        let remote = self.base.family.decode_datagram(address)?;
        let path = self.path(&mut self.state.lock(), remote);
        let path = self.count_unreachable(remote, path)?;
        let mut state = self.state.lock();
        state.remote = Some(path);
        self.hear(state.bound, Some(path.1));
        Ok(())
    }

    fn name(&self) -> Vec<u8> {
        self.base.family.encode(self.row().own)
    }

    fn peer_name(&self) -> Result<Vec<u8>, Errno> {
        let (_, remote) = self.state.lock().remote.ok_or(Errno::ENOTCONN)?;
        Ok(self.base.family.encode(remote))
    }

    fn shutdown(&self, reads: bool, writes: bool) -> Result<(), Errno> {
        let is_connected = {
            let mut state = self.state.lock();
            state.shut = (state.shut.0 || reads, state.shut.1 || writes);
            state.remote.is_some()
        };
        self.base.queue.wake_all();
        if is_connected { Ok(()) } else { Err(Errno::ENOTCONN) }
    }

    fn destination(&self, _task: &dyn Task, address: &[u8]) -> Result<Option<Destination>, Errno> {
        Ok(Some(Destination::Inet(self.base.family.decode_datagram(address)?)))
    }

    fn send(
        &self,
        from: &mut dyn Source,
        _attached: Attached,
        to: Option<&Destination>,
    ) -> Result<usize, Errno> {
        match to {
            Some(Destination::Inet(to)) => self.send_to(from, Some(*to)),
            Some(_) => Err(Errno::EINVAL),
            None => self.send_to(from, None),
        }
    }

    fn receive(&self, into: &mut dyn Sink, peeks: bool) -> Result<Received, Errno> {
        if let Some(error) = self.take_error() {
            return Err(error);
        }
        match self.inbox.receive(into, peeks) {
            Err(Errno::EAGAIN) if self.state.lock().shut.0 => Ok(Received::default()),
            done => done,
        }
    }

    fn take_error(&self) -> Option<Errno> {
        self.state.lock().error.take()
    }

    fn option(&self, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
        let value = self.base.integer(of_datagram(self.base.family), level, name)?;
        Ok(value.to_le_bytes().into())
    }

    fn set_option(&self, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        let is_bound = self.state.lock().bound.is_some();
        self.base.set_option(of_datagram(self.base.family), (level, name), value, is_bound)
    }

    fn options_changed(&self) {
        if let Some(size) = self.base.options.set_value(SOL_SOCKET, so::RCVBUF) {
            // Twice what the program asked for is kept: half of it is for the bookkeeping.
            self.inbox.set_capacity(usize::try_from(size / 2).unwrap_or_default());
        }
        let (bound, sharing) = (self.state.lock().bound, self.base.sharing());
        if let Some(bound) = bound {
            let mut ports = self.base.network.datagrams.ports.lock();
            ports.update(bound.port, self.base.id, |holder| holder.sharing = sharing);
        }
    }
}

impl Drop for Datagram {
    fn drop(&mut self) {
        let sockets = &self.base.network.datagrams;
        if let Some(bound) = self.state.lock().bound.take() {
            sockets.ports.lock().release(bound.port, self.base.id);
        }
        sockets.remove(self.base.id);
        self.inbox.deafen();
    }
}

impl File for Datagram {
    fn read(&self, _offset: u64, into: &mut dyn Sink) -> Result<usize, Errno> {
        if into.remaining() == 0 {
            return Ok(0);
        }
        self.receive(into, false).map(|received| received.count)
    }

    fn write(&self, _offset: u64, from: &mut dyn Source) -> Result<usize, Errno> {
        self.send_to(from, None)
    }

    fn poll(&self) -> Readiness {
        let (has_error, (no_reads, no_writes)) = {
            let state = self.state.lock();
            (state.error.is_some(), state.shut)
        };
        let mut ready = Readiness::OUT.0;
        if no_reads {
            ready |= Readiness::IN.0 | Readiness::RDHUP.0;
            if no_writes {
                ready |= Readiness::HUP.0;
            }
        }
        if self.inbox.is_readable() {
            ready |= Readiness::IN.0;
        }
        if has_error {
            ready |= Readiness::ERR.0;
        }
        Readiness(ready)
    }

    fn ioctl(&self, task: &dyn Task, request: u32, argument: u64) -> Result<u64, Errno> {
        if let Some(done) = interface::ioctl(task, request, argument) {
            return done;
        }
        let count = match request {
            interface::SIOCINQ => self.inbox.available(),
            interface::SIOCOUTQ => 0,
            _ => return Err(Errno::ENOTTY),
        };
        task.write_user(argument, &(count as u32).to_le_bytes())?;
        Ok(0)
    }

    fn stat(&self) -> Stat {
        super::super::stat_of(self.base.id, self.base.owner)
    }

    fn description(&self) -> String {
        alloc::format!("socket:[{}]", self.base.id)
    }

    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
