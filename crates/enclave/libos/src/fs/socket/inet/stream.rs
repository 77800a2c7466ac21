//! Sockets of streams: TCP as a program sees it (tcp(7)).
//!
//! A socket is nobody's, or listens, or is one end of a connection whose bytes a [`Carrier`] moves. A
//! connection inside the enclave is there as soon as it is asked for; a socket that does not wait is told
//! EINPROGRESS all the same, as on Linux. Where the listener has no room the wish waits, with no time limit
//! of its own.
//!
//! Lock order: a listener's state, then a new connection's; never two that programs know. No socket is
//! dropped with a lock held.

use super::super::options::{SOL_SOCKET, so};
use super::super::{AF_UNSPEC, Attached, Destination, Kind, Peer, Received, SOMAXCONN, Socket};
use super::address::{Family, family_of, is_local, source};
use super::base::{Base, Bound};
use super::carrier::Carrier;
use super::interface;
use super::link;
use super::listener::{Listener, Wish};
use super::listing::Row;
use super::network::Network;
use super::protocol::{IPPROTO_TCP, TCP_CONGESTION, TCP_INFO, of_stream};
use crate::errno::Errno;
use crate::fs::file::{File, Sink, Source};
use crate::fs::outside::{self, Connection, Place};
use crate::fs::socket::options::Options;
use crate::fs::stat::Stat;
use crate::fs::task::{Task, retry_within};
use crate::host::Readiness;
use crate::sync::{Mutex, MutexGuard};
use crate::wait::WaitQueue;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use workload::manifest::Protocol;

/// A socket of streams.
pub struct Stream {
    base: Base,
    state: Mutex<State>,
    /// Nobody accepted it: it ends with a reset.
    is_orphan: AtomicBool,
    this: Weak<Self>,
}

struct State {
    bound: Option<Bound>,
    /// Address of this side of a connection.
    local: Option<SocketAddr>,
    role: Role,
    /// SO_ERROR of a connection that never was.
    error: Option<Errno>,
}

enum Role {
    Idle,
    Listening(Listener),
    /// The other side has no room yet.
    Connecting,
    /// The host has not said yet what became of it.
    Reaching {
        connection: Arc<Connection>,
        remote: SocketAddr,
    },
    Connected {
        carrier: Arc<dyn Carrier>,
        remote: SocketAddr,
        /// The program knows: the next connect(2) is EISCONN.
        is_told: bool,
    },
    /// Nobody was there.
    Failed,
}

/// The states that there are, as TCP numbers them.
const ESTABLISHED: u8 = 1;
const SYN_SENT: u8 = 2;
const CLOSED: u8 = 7;
const LISTENING: u8 = 10;

impl State {
    /// Which of them it is in.
    fn code(&self) -> u8 {
        match &self.role {
            Role::Idle | Role::Failed => CLOSED,
            Role::Listening(_) => LISTENING,
            Role::Connecting | Role::Reaching { .. } => SYN_SENT,
            Role::Connected { carrier, .. } if carrier.is_over() => CLOSED,
            Role::Connected { .. } => ESTABLISHED,
        }
    }
}

impl Stream {
    /// A socket that is not connected.
    #[must_use]
    pub fn new(network: Arc<Network>, family: Family, owner: Peer) -> Arc<Self> {
        Self::with(Base::new(network, family, owner), None, Role::Idle)
    }

    fn with(base: Base, local: Option<SocketAddr>, role: Role) -> Arc<Self> {
        let socket = Arc::new_cyclic(|this| Self {
            base,
            state: Mutex::new(State { bound: None, local, role, error: None }),
            is_orphan: AtomicBool::new(false),
            this: this.clone(),
        });
        socket.base.network.streams.add(socket.base.id, &socket);
        socket
    }

    /// The listener's side of a connection: what accept(2) will give.
    fn accepted(
        listener: &Self,
        local: SocketAddr,
        remote: SocketAddr,
        queue: Arc<WaitQueue>,
        carrier: Arc<dyn Carrier>,
    ) -> Arc<Self> {
        let base = &listener.base;
        let options = base.options.inherited();
        let mut base = Base::with_options(base.network.clone(), base.family, base.owner, options);
        base.queue = queue;
        let role = Role::Connected { carrier, remote, is_told: true };
        let socket = Self::with(base, Some(local), role);
        socket.options_changed();
        socket
    }

    /// Begins a connection. Gives whether the program is to wait for it.
    fn begin(&self, raw: &[u8], waits: bool) -> Result<bool, Errno> {
        let mut state = self.settled();
        match &mut state.role {
            Role::Idle => {}
            Role::Connecting | Role::Reaching { .. } if waits => return Ok(true),
            Role::Connecting | Role::Reaching { .. } => return Err(Errno::EALREADY),
            Role::Connected { is_told: false, carrier, .. } if carrier.is_over() => {
                state.error = carrier.take_error();
                return Err(self.give_up(&mut state));
            }
            Role::Connected { is_told, .. } if !*is_told => {
                *is_told = true;
                return Ok(false);
            }
            Role::Connected { .. } | Role::Listening(_) => return Err(Errno::EISCONN),
            Role::Failed => return Err(self.give_up(&mut state)),
        }
        let remote = self.base.reachable(self.base.family.decode(raw)?)?;
        if !is_local(remote.ip()) {
            return self.reach(&mut state, remote).map(|()| true);
        }
        let sockets = &self.base.network.streams;
        let bound = match state.bound {
            Some(bound) => bound,
            None => self.base.claim(sockets, &self.this, source(remote.ip()), 0, true)?,
        };
        let (local, target) = bound.path(remote)?;
        state.bound = Some(bound);
        state.local = Some(local);
        state.role = Role::Connecting;
        drop(state);

        let listener = sockets.ports.lock().find(target, local, |holder| holder.is_listening);
        let wish = Wish { client: self.this.clone(), local, target };
        if listener.is_none_or(|listener| !listener.offer(wish)) {
            self.refuse();
        }
        Ok(true)
    }

    /// Begins a connection through the host.
    fn reach(&self, state: &mut State, remote: SocketAddr) -> Result<(), Errno> {
        if state.bound.is_some_and(|bound| bound.place.ip.is_loopback()) {
            return Err(Errno::EINVAL);
        }
        let outside = self.base.network.outside();
        let connection = outside.connect(Protocol::Tcp, remote, &self.base.queue)?;
        state.role = Role::Reaching { connection: Arc::new(connection), remote };
        Ok(())
    }

    /// The state, after what the host has said meanwhile of a connection that goes through it.
    fn settled(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        if let Role::Reaching { connection, remote } = &state.role {
            let (connection, remote) = (connection.clone(), *remote);
            match connection.finish() {
                Err(Errno::EAGAIN) => {}
                Ok(()) => {
                    state.local = connection.name();
                    state.role = Role::Connected { carrier: connection, remote, is_told: false };
                }
                Err(error) => {
                    state.role = Role::Failed;
                    state.error = Some(error);
                }
            }
        }
        state
    }

    /// What became of a connection; EAGAIN while it is open.
    fn outcome(&self) -> Result<(), Errno> {
        let mut state = self.settled();
        match &mut state.role {
            Role::Connecting | Role::Reaching { .. } => Err(Errno::EAGAIN),
            Role::Connected { is_told, .. } => {
                *is_told = true;
                Ok(())
            }
            _ => Err(self.give_up(&mut state)),
        }
    }

    /// A connection that failed is forgotten: the socket may try again.
    fn give_up(&self, state: &mut State) -> Errno {
        state.role = Role::Idle;
        self.forget_addresses(state);
        state.error.take().unwrap_or(Errno::ECONNABORTED)
    }

    /// A connection is over: so is its address, unless the program named it.
    fn forget_addresses(&self, state: &mut State) {
        state.local = None;
        if let Some(bound) = state.bound.take_if(|bound| bound.is_chosen) {
            self.base.network.streams.ports.lock().release(bound.port, self.base.id);
        }
    }

    /// Nobody takes the connection that it wishes.
    fn refuse(&self) {
        let mut state = self.state.lock();
        if matches!(state.role, Role::Connecting) {
            state.role = Role::Failed;
            state.error = Some(Errno::ECONNREFUSED);
        }
        drop(state);
        self.base.queue.wake_all();
    }

    /// The connection that it wishes is there; false where it does not wish it any more.
    fn establish(&self, carrier: &Arc<link::End>, remote: SocketAddr) -> bool {
        let mut state = self.state.lock();
        let is_wished = matches!(state.role, Role::Connecting);
        if is_wished {
            let carrier = carrier.clone();
            state.role = Role::Connected { carrier, remote, is_told: false };
        }
        drop(state);
        if is_wished {
            self.options_changed();
            self.base.queue.wake_all();
        }
        is_wished
    }

    /// A wish for a connection: kept where there is no room; false where this does not listen.
    fn offer(&self, wish: Wish) -> bool {
        let Some(client) = wish.client.upgrade() else { return true };
        let mut state = self.state.lock();
        let Role::Listening(listener) = &mut state.role else { return false };
        if listener.is_full() {
            listener.keep(wish);
            return true;
        }
        let queue: Arc<WaitQueue> = Arc::default();
        let [near, far] = link::pair([client.base.queue.clone(), queue.clone()]);
        // The lock is held on: a connection is in the backlog before its client knows.
        listener.push(Self::accepted(self, wish.target, wish.local, queue, far));
        drop(state);
        if !client.establish(&near, wish.target) {
            near.close(true);
        }
        self.base.queue.wake_all();
        true
    }

    /// Who waits for room gets what there is.
    fn serve_wishes(&self) {
        loop {
            let wish = match &mut self.state.lock().role {
                Role::Listening(listener) => listener.next_wish(),
                _ => None,
            };
            let Some(wish) = wish else { return };
            self.offer(wish);
        }
    }

    /// Takes what it is, which is then nothing.
    fn take_role(&self) -> Role {
        core::mem::replace(&mut self.state.lock().role, Role::Idle)
    }

    /// Ends what it was. Without locks: sockets are dropped.
    fn end(&self, role: Role, resets: bool) {
        match role {
            Role::Listening(listener) => {
                for socket in listener.backlog {
                    socket.is_orphan.store(true, Ordering::Relaxed);
                }
                for client in listener.wishes.iter().filter_map(|wish| wish.client.upgrade()) {
                    client.refuse();
                }
            }
            Role::Connected { carrier, .. } => carrier.close(resets),
            Role::Idle | Role::Connecting | Role::Reaching { .. } | Role::Failed => {}
        }
        self.base.queue.wake_all();
    }

    /// connect(2) with AF_UNSPEC.
    fn disconnect(&self) {
        let role = self.take_role();
        let mut state = self.state.lock();
        state.error = None;
        self.forget_addresses(&mut state);
        self.stop_listening(&state);
        drop(state);
        self.end(role, true);
    }

    /// The host's side of a listener, where the manifest has a rule for it.
    fn listen_outside(
        &self,
        bound: Bound,
        limit: usize,
    ) -> Result<Option<outside::Listener>, Errno> {
        if bound.place.ip.is_loopback() {
            return Ok(None);
        }
        let place = Place { ip: bound.place.ip, port: bound.port, is_dual: bound.place.is_dual };
        let backlog = u32::try_from(limit).unwrap_or(u32::MAX);
        self.base.network.outside().listen(place, backlog, self.base.owner.uid, &self.base.queue)
    }

    fn stop_listening(&self, state: &State) {
        if let Some(bound) = state.bound {
            let mut ports = self.base.network.streams.ports.lock();
            ports.update(bound.port, self.base.id, |holder| holder.is_listening = false);
        }
    }

    fn carrier(&self) -> Option<Arc<dyn Carrier>> {
        match &self.settled().role {
            Role::Connected { carrier, .. } => Some(carrier.clone()),
            _ => None,
        }
    }

    fn send_bytes(&self, from: &mut dyn Source) -> Result<usize, Errno> {
        let carrier = {
            let mut state = self.settled();
            match &state.role {
                Role::Connected { carrier, .. } => carrier.clone(),
                Role::Connecting | Role::Reaching { .. } => return Err(Errno::EAGAIN),
                _ => return Err(state.error.take().unwrap_or(Errno::EPIPE)),
            }
        };
        carrier.send(from)
    }

    fn receive_bytes(&self, into: &mut dyn Sink, peeks: bool) -> Result<usize, Errno> {
        let carrier = {
            let mut state = self.settled();
            match &state.role {
                Role::Connected { carrier, .. } => carrier.clone(),
                Role::Connecting | Role::Reaching { .. } => return Err(Errno::EAGAIN),
                Role::Failed => return state.error.take().map_or(Ok(0), Err),
                Role::Idle | Role::Listening(_) => return Err(Errno::ENOTCONN),
            }
        };
        carrier.receive(into, peeks)
    }

    fn any(&self) -> SocketAddr {
        SocketAddr::new(self.base.family.any(), 0)
    }

    /// Its own address, as it is known here: the host is not asked.
    fn own(&self, state: &State) -> SocketAddr {
        state.local.or(state.bound.map(|bound| bound.address())).unwrap_or_else(|| self.any())
    }

    /// Its line of /proc/net/tcp.
    pub(super) fn row(&self) -> Row {
        let state = self.settled();
        let code = state.code();
        let (remote, queues) = match &state.role {
            Role::Listening(listener) => (self.any(), (0, listener.backlog.len())),
            Role::Reaching { remote, .. } => (*remote, (0, 0)),
            Role::Connected { carrier, remote, .. } if code == ESTABLISHED => {
                (*remote, (carrier.unsent(), carrier.unread()))
            }
            _ => (self.any(), (0, 0)),
        };
        let (base, own) = (&self.base, self.own(&state));
        Row { family: base.family, own, remote, code, queues, uid: base.owner.uid, inode: base.id }
    }

    /// TCP_INFO: the state and nothing of a wire that is not there.
    fn info(&self) -> Vec<u8> {
        let mut raw = alloc::vec![0; 104];
        raw[0] = self.settled().code();
        raw
    }
}

impl Socket for Stream {
    fn domain(&self) -> u16 {
        self.base.family as u16
    }

    fn kind(&self) -> Kind {
        Kind::Stream
    }

    fn protocol(&self) -> u32 {
        IPPROTO_TCP as u32
    }

    fn options(&self) -> &Options {
        &self.base.options
    }

    fn events(&self) -> &WaitQueue {
        &self.base.queue
    }

    fn bind(&self, task: &dyn Task, address: &[u8]) -> Result<(), Errno> {
        let outside = self.base.network.outside();
        let uid = self.base.owner.uid;
        let is_admitted = |wanted: SocketAddr| outside.admits_listen(wanted.port(), uid);
        let wanted = self.base.wanted(task, address, is_admitted)?;
        let mut state = self.state.lock();
        if state.bound.is_some() || !matches!(state.role, Role::Idle) {
            return Err(Errno::EINVAL);
        }
        let sockets = &self.base.network.streams;
        let bound = self.base.claim(sockets, &self.this, wanted.ip(), wanted.port(), false)?;
        state.bound = Some(bound);
        Ok(())
    }

    fn connect(&self, task: &dyn Task, address: &[u8], waits: bool) -> Result<(), Errno> {
        if family_of(address)? == AF_UNSPEC {
            self.disconnect();
            return Ok(());
        }
        if !self.begin(address, waits)? {
            return Ok(());
        }
        if !waits {
            return Err(Errno::EINPROGRESS);
        }
        let limit = self.base.options.wait_limit_ns(true);
        match retry_within(task, &self.base.queue, limit, || self.outcome()) {
            Err(Errno::EAGAIN) => Err(Errno::EINPROGRESS),
            done => done,
        }
    }

    fn listen(&self, backlog: usize) -> Result<(), Errno> {
        let limit = backlog.min(SOMAXCONN) + 1;
        let mut state = self.settled();
        match &mut state.role {
            Role::Idle | Role::Failed => {}
            Role::Listening(listener) => {
                listener.limit = limit;
                return Ok(());
            }
            Role::Connecting | Role::Reaching { .. } | Role::Connected { .. } => {
                return Err(Errno::EINVAL);
            }
        }
        let sockets = &self.base.network.streams;
        let bound = match state.bound {
            Some(bound) => bound,
            None => self.base.claim(sockets, &self.this, self.base.family.any(), 0, false)?,
        };
        state.bound = Some(bound);
        sockets.ports.lock().listen(bound.port, self.base.id, self.base.sharing())?;
        match self.listen_outside(bound, limit) {
            Ok(outside) => state.role = Role::Listening(Listener::new(limit, outside)),
            Err(error) => {
                self.stop_listening(&state);
                return Err(error);
            }
        }
        Ok(())
    }

    fn accept(&self) -> Result<Arc<dyn Socket>, Errno> {
        let (accepted, outside, bound) = {
            let mut state = self.state.lock();
            let bound = state.bound;
            match &mut state.role {
                Role::Listening(one) => (one.backlog.pop_front(), one.outside.clone(), bound),
                _ => return Err(Errno::EINVAL),
            }
        };
        if let Some(accepted) = accepted {
            self.serve_wishes();
            return Ok(accepted);
        }
        let (Some(outside), Some(bound)) = (outside, bound) else { return Err(Errno::EAGAIN) };
        let queue: Arc<WaitQueue> = Arc::default();
        let connection = outside.accept(queue.clone())?;
        let (peer, local) = (connection.peer(), connection.name().unwrap_or(bound.address()));
        Ok(Self::accepted(self, local, peer, queue, Arc::new(connection)))
    }

    fn is_listening(&self) -> bool {
        matches!(self.state.lock().role, Role::Listening(_))
    }

    fn name(&self) -> Vec<u8> {
        self.base.family.encode(self.own(&self.settled()))
    }

    fn peer_name(&self) -> Result<Vec<u8>, Errno> {
        match &self.settled().role {
            Role::Connected { carrier, remote, .. } if !carrier.is_over() => {
                Ok(self.base.family.encode(*remote))
            }
            _ => Err(Errno::ENOTCONN),
        }
    }

    fn shutdown(&self, reads: bool, writes: bool) -> Result<(), Errno> {
        let mut state = self.settled();
        match &mut state.role {
            Role::Connected { carrier, is_told, .. } if !carrier.is_over() => {
                // Who shuts it knows that it is there.
                *is_told = true;
                let carrier = carrier.clone();
                drop(state);
                carrier.shutdown(reads, writes);
                Ok(())
            }
            Role::Listening(_) if reads => {
                let role = core::mem::replace(&mut state.role, Role::Idle);
                self.stop_listening(&state);
                drop(state);
                self.end(role, true);
                Ok(())
            }
            Role::Listening(_) => Ok(()),
            Role::Connecting | Role::Reaching { .. } => {
                drop(state);
                self.disconnect();
                Ok(())
            }
            _ => Err(Errno::ENOTCONN),
        }
    }

    fn destination(&self, _: &dyn Task, _: &[u8]) -> Result<Option<Destination>, Errno> {
        // A stream goes where it is connected to, whatever sendto(2) says.
        Ok(None)
    }

    fn send(
        &self,
        from: &mut dyn Source,
        _attached: Attached,
        _to: Option<&Destination>,
    ) -> Result<usize, Errno> {
        self.send_bytes(from)
    }

    fn receive(&self, into: &mut dyn Sink, peeks: bool) -> Result<Received, Errno> {
        let count = self.receive_bytes(into, peeks)?;
        Ok(Received { count, length: count, ..Received::default() })
    }

    fn take_error(&self) -> Option<Errno> {
        let error = self.settled().error.take();
        error.or_else(|| self.carrier()?.take_error())
    }

    fn option(&self, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
        match (level, name) {
            (IPPROTO_TCP, TCP_INFO) => Ok(self.info()),
            (IPPROTO_TCP, TCP_CONGESTION) => Ok(b"cubic\0\0\0\0\0\0\0\0\0\0\0".to_vec()),
            _ => {
                let value = self.base.integer(of_stream(self.base.family), level, name)?;
                Ok(value.to_le_bytes().into())
            }
        }
    }

    fn set_option(&self, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        if (level, name) == (IPPROTO_TCP, TCP_CONGESTION) {
            let is_known = matches!(value.trim_ascii_end(), [b'c', b'u', b'b', b'i', b'c', rest @ ..]
                if rest.iter().all(|byte| *byte == 0));
            return if is_known { Ok(()) } else { Err(Errno::ENOENT) };
        }
        let is_bound = self.state.lock().bound.is_some();
        self.base.set_option(of_stream(self.base.family), (level, name), value, is_bound)
    }

    fn options_changed(&self) {
        let size = |name| {
            let value = self.base.options.set_value(SOL_SOCKET, name)?;
            usize::try_from(value).ok()
        };
        let (receive, send) = (size(so::RCVBUF), size(so::SNDBUF));
        if let Some(carrier) = self.carrier().filter(|_| receive.is_some() || send.is_some()) {
            carrier.set_buffers(receive, send);
        }
        let bound = self.state.lock().bound;
        if let Some(bound) = bound {
            let sharing = self.base.sharing();
            let mut ports = self.base.network.streams.ports.lock();
            ports.update(bound.port, self.base.id, |holder| holder.sharing = sharing);
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let network = self.base.network.clone();
        let (role, bound) = {
            let mut state = self.state.lock();
            (core::mem::replace(&mut state.role, Role::Idle), state.bound.take())
        };
        if let Some(bound) = bound {
            network.streams.ports.lock().release(bound.port, self.base.id);
        }
        network.streams.remove(self.base.id);
        let resets = self.base.options.resets_at_close() || self.is_orphan.load(Ordering::Relaxed);
        self.end(role, resets);
    }
}

impl File for Stream {
    fn read(&self, _offset: u64, into: &mut dyn Sink) -> Result<usize, Errno> {
        if into.remaining() == 0 {
            return Ok(0);
        }
        self.receive_bytes(into, false)
    }

    fn write(&self, _offset: u64, from: &mut dyn Source) -> Result<usize, Errno> {
        self.send_bytes(from)
    }

    fn poll(&self) -> Readiness {
        let bits = {
            let state = self.settled();
            match &state.role {
                Role::Connected { carrier, .. } => {
                    let carrier = carrier.clone();
                    drop(state);
                    return carrier.poll();
                }
                Role::Listening(listener) if listener.backlog.is_empty() => {
                    let outside = listener.outside.clone();
                    drop(state);
                    let is_ready = outside.is_some_and(|outside| outside.is_ready());
                    return if is_ready { Readiness::IN } else { Readiness(0) };
                }
                Role::Listening(_) => Readiness::IN.0,
                Role::Connecting | Role::Reaching { .. } => 0,
                Role::Idle => Readiness::OUT.0 | Readiness::HUP.0,
                Role::Failed => {
                    let error = state.error.map_or(0, |_| Readiness::ERR.0);
                    let over = Readiness::HUP.0 | Readiness::RDHUP.0;
                    Readiness::IN.0 | Readiness::OUT.0 | over | error
                }
            }
        };
        Readiness(bits)
    }

    fn ioctl(&self, task: &dyn Task, request: u32, argument: u64) -> Result<u64, Errno> {
        if let Some(done) = interface::ioctl(task, request, argument) {
            return done;
        }
        let count = match (request, self.carrier()) {
            (_, _) if self.is_listening() => return Err(Errno::EINVAL),
            (interface::SIOCINQ, carrier) => carrier.map_or(0, |carrier| carrier.available()),
            (interface::SIOCOUTQ, carrier) => carrier.map_or(0, |carrier| carrier.unsent()),
            // No urgent data ever comes.
            (interface::SIOCATMARK, _) => 0,
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
