//! Unix sockets inside the enclave: streams, sequenced packets and datagrams, with names in the tree or
//! abstract ones, and descriptors that travel (unix(7)).
//!
//! They never reach the host: whoever connects is a process of this container.
//!
//! Lock order: a socket's `state`, then a channel's state. Wait queues last.

mod address;

pub use address::AF_UNIX;

use super::channel::{Attached, Bounds, CAPACITY, Channel, Peer, Received};
use super::options::{Options, SOL_SOCKET, so};
use super::{Destination, FIONREAD, Kind, SOMAXCONN, Socket as _};
use crate::errno::Errno;
use crate::fs::file::{File, Sink, Source};
use crate::fs::stat::Stat;
use crate::fs::task::{Task, retry_within};
use crate::host::Readiness;
use crate::sync::Mutex;
use crate::wait::WaitQueue;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;

/// Messages that a socket of datagrams holds (net.unix.max_dgram_qlen, which counts one more).
const MAX_DATAGRAMS: usize = 11;

/// A Unix socket.
pub struct Socket {
    /// How it carries bytes.
    pub kind: Kind,
    options: Options,
    state: Mutex<State>,
    queue: Arc<WaitQueue>,
    id: u64,
    owner: Peer,
    this: Weak<Socket>,
}

struct State {
    /// Its own name: bytes of `sun_path`; empty without one.
    name: Vec<u8>,
    role: Role,
    /// What datagrams without a connection arrive in.
    inbox: Option<Arc<Channel>>,
}

enum Role {
    Idle,
    Listening { backlog: VecDeque<Arc<Socket>>, limit: usize },
    Connected(Connection),
}

#[derive(Clone)]
struct Connection {
    receives: Arc<Channel>,
    sends: Arc<Channel>,
    /// Name and owner of the other side.
    peer_name: Vec<u8>,
    peer: Peer,
}

/// Sockets with abstract names.
static ABSTRACT: Mutex<BTreeMap<Vec<u8>, Weak<Socket>>> = Mutex::new(BTreeMap::new());

impl Socket {
    /// A socket that is not connected.
    #[must_use]
    pub fn new(kind: Kind, owner: Peer) -> Arc<Self> {
        let queue = Arc::new(WaitQueue::new());
        let is_datagram = kind == Kind::Datagram;
        let inbox =
            is_datagram.then(|| Channel::new(Bounds::Messages(MAX_DATAGRAMS), queue.clone(), None));
        Arc::new_cyclic(|this| Self {
            kind,
            options: Options::default(),
            state: Mutex::new(State { name: Vec::new(), role: Role::Idle, inbox }),
            queue,
            id: super::next_id(),
            owner,
            this: this.clone(),
        })
    }

    /// Two sockets that are connected to each other.
    #[must_use]
    pub fn pair(kind: Kind, owner: Peer) -> [Arc<Self>; 2] {
        let (a, b) = (Self::new(kind, owner), Self::new(kind, owner));
        Self::join(&a, &b);
        [a, b]
    }

    fn join(a: &Arc<Self>, b: &Arc<Self>) {
        let bounds = match a.kind {
            Kind::Stream => Bounds::Stream,
            _ => Bounds::Messages(MAX_DATAGRAMS),
        };
        let make = |reader: &Self, writer: &Self| {
            Channel::new(bounds, reader.queue.clone(), Some(writer.queue.clone()))
        };
        let (to_a, to_b) = (make(a, b), make(b, a));
        let (a_name, b_name) = (a.own_name(), b.own_name());
        a.state.lock().role = Role::Connected(Connection {
            receives: to_a.clone(),
            sends: to_b.clone(),
            peer_name: b_name,
            peer: b.owner,
        });
        b.state.lock().role = Role::Connected(Connection {
            receives: to_b,
            sends: to_a,
            peer_name: a_name,
            peer: a.owner,
        });
        a.queue.wake_all();
        b.queue.wake_all();
    }

    /// Its own name: bytes of `sun_path`, a leading NUL for an abstract one.
    fn own_name(&self) -> Vec<u8> {
        self.state.lock().name.clone()
    }

    /// Gives it a name; `node` is told where it is in the tree.
    ///
    /// # Errors
    /// EINVAL where it has one, EADDRINUSE for an abstract name that is taken.
    fn bind_name(
        &self,
        name: &[u8],
        node: impl FnOnce(Weak<dyn Any + Send + Sync>) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        if !self.own_name().is_empty() {
            return Err(Errno::EINVAL);
        }
        if name.first() == Some(&0) {
            let mut names = ABSTRACT.lock();
            if names.get(name).is_some_and(|socket| socket.strong_count() > 0) {
                return Err(Errno::EADDRINUSE);
            }
            names.insert(name.to_vec(), self.this.clone());
        } else {
            node(self.this.clone())?;
        }
        self.state.lock().name = name.to_vec();
        Ok(())
    }

    /// Gives it an abstract name of five hexadecimal digits (bind(2) with the family only).
    ///
    /// # Errors
    /// EADDRINUSE where all are taken.
    fn bind_any(&self) -> Result<(), Errno> {
        for number in 0..0x10_0000u32 {
            let name = alloc::format!("\0{number:05x}");
            match self.bind_name(name.as_bytes(), |_| Ok(())) {
                Err(Errno::EADDRINUSE) => {}
                done => return done,
            }
        }
        Err(Errno::EADDRINUSE)
    }

    /// The socket with an abstract name.
    ///
    /// # Errors
    /// ECONNREFUSED.
    fn find_abstract(name: &[u8]) -> Result<Arc<Self>, Errno> {
        ABSTRACT.lock().get(name).and_then(Weak::upgrade).ok_or(Errno::ECONNREFUSED)
    }

    /// connect(2) to `target`. EAGAIN where its backlog is full: wait on its queue.
    ///
    /// # Errors
    /// EISCONN, EPROTOTYPE, ECONNREFUSED, EAGAIN.
    fn connect_to(&self, target: &Arc<Self>) -> Result<(), Errno> {
        if self.kind != target.kind {
            return Err(Errno::EPROTOTYPE);
        }
        let this = self.this.upgrade().ok_or(Errno::ENOTCONN)?;
        if self.kind == Kind::Datagram {
            return self.connect_datagrams(target);
        }
        match self.state.lock().role {
            Role::Idle => {}
            Role::Connected(_) => return Err(Errno::EISCONN),
            Role::Listening { .. } => return Err(Errno::EINVAL),
        }
        let accepted = Self::new(self.kind, target.owner);
        accepted.state.lock().name = target.own_name();
        match &mut target.state.lock().role {
            Role::Listening { backlog, limit } if backlog.len() < *limit => {
                Self::join(&this, &accepted);
                backlog.push_back(accepted);
            }
            Role::Listening { .. } => return Err(Errno::EAGAIN),
            _ => return Err(Errno::ECONNREFUSED),
        }
        target.queue.wake_all();
        Ok(())
    }

    fn connect_datagrams(&self, target: &Arc<Self>) -> Result<(), Errno> {
        let sends = target.state.lock().inbox.clone().ok_or(Errno::ECONNREFUSED)?;
        let peer_name = target.own_name();
        let mut state = self.state.lock();
        let receives = state.inbox.clone().ok_or(Errno::ECONNREFUSED)?;
        let peer = target.owner;
        state.role = Role::Connected(Connection { receives, sends, peer_name, peer });
        Ok(())
    }

    /// What a sender to `to`, or to the other side, puts its bytes into.
    fn outbox(&self, to: Option<&Destination>) -> Result<Arc<Channel>, Errno> {
        match to {
            Some(Destination::Unix(target)) => {
                target.state.lock().inbox.clone().ok_or(Errno::EPROTOTYPE)
            }
            Some(_) => Err(Errno::EINVAL),
            None => self.connection().map(|connection| connection.sends),
        }
    }

    fn connection(&self) -> Result<Connection, Errno> {
        match &self.state.lock().role {
            Role::Connected(connection) => Ok(connection.clone()),
            _ => Err(Errno::ENOTCONN),
        }
    }

    /// What it receives from.
    fn inbox(&self) -> Result<Arc<Channel>, Errno> {
        let state = self.state.lock();
        match &state.role {
            Role::Connected(connection) => Ok(connection.receives.clone()),
            Role::Listening { .. } => Err(Errno::EINVAL),
            Role::Idle if self.kind == Kind::SeqPacket => Err(Errno::ENOTCONN),
            Role::Idle => state.inbox.clone().ok_or(Errno::EINVAL),
        }
    }
}

impl super::Socket for Socket {
    fn domain(&self) -> u16 {
        AF_UNIX
    }

    fn kind(&self) -> Kind {
        self.kind
    }

    fn protocol(&self) -> u32 {
        0
    }

    fn options(&self) -> &Options {
        &self.options
    }

    fn events(&self) -> &WaitQueue {
        &self.queue
    }

    fn bind(&self, task: &dyn Task, address: &[u8]) -> Result<(), Errno> {
        address::bind(task, self, &address::decode(address)?)
    }

    fn connect(&self, task: &dyn Task, address: &[u8], waits: bool) -> Result<(), Errno> {
        let target = address::find(task, &address::decode(address)?)?;
        if !waits {
            return self.connect_to(&target);
        }
        let limit = self.options.wait_limit_ns(true);
        retry_within(task, &target.queue, limit, || self.connect_to(&target))
    }

    fn listen(&self, backlog: usize) -> Result<(), Errno> {
        if self.kind == Kind::Datagram {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut state = self.state.lock();
        if state.name.is_empty() {
            return Err(Errno::EINVAL);
        }
        let wanted = backlog.min(SOMAXCONN) + 1;
        match &mut state.role {
            Role::Listening { limit, .. } => *limit = wanted,
            Role::Connected(_) => return Err(Errno::EINVAL),
            role => *role = Role::Listening { backlog: VecDeque::new(), limit: wanted },
        }
        Ok(())
    }

    fn accept(&self) -> Result<Arc<dyn super::Socket>, Errno> {
        let accepted = match &mut self.state.lock().role {
            Role::Listening { backlog, .. } => backlog.pop_front().ok_or(Errno::EAGAIN)?,
            _ if self.kind == Kind::Datagram => return Err(Errno::EOPNOTSUPP),
            _ => return Err(Errno::EINVAL),
        };
        // Room for one who waits to connect.
        self.queue.wake_all();
        Ok(accepted)
    }

    fn is_listening(&self) -> bool {
        matches!(self.state.lock().role, Role::Listening { .. })
    }

    fn name(&self) -> Vec<u8> {
        address::encode(&self.own_name())
    }

    fn peer_name(&self) -> Result<Vec<u8>, Errno> {
        self.connection().map(|connection| address::encode(&connection.peer_name))
    }

    fn peer(&self) -> Peer {
        self.connection().map_or(Peer { uid: u32::MAX, gid: u32::MAX, pid: 0 }, |c| c.peer)
    }

    fn shutdown(&self, reads: bool, writes: bool) -> Result<(), Errno> {
        let connection = self.connection()?;
        if reads {
            connection.receives.end();
        }
        if writes {
            connection.sends.end();
        }
        Ok(())
    }

    fn destination(&self, task: &dyn Task, address: &[u8]) -> Result<Option<Destination>, Errno> {
        match self.kind {
            Kind::Datagram => {
                let found = address::find(task, &address::decode(address)?)?;
                Ok(Some(Destination::Unix(found)))
            }
            _ if self.connection().is_ok() => Err(Errno::EISCONN),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    fn send(
        &self,
        from: &mut dyn Source,
        mut attached: Attached,
        to: Option<&Destination>,
    ) -> Result<usize, Errno> {
        let name = self.own_name();
        if !name.is_empty() {
            attached.from = address::encode(&name);
        }
        match self.outbox(to)?.send(from, &mut attached) {
            Err(Errno::EPIPE) if self.kind == Kind::Datagram => Err(Errno::ECONNREFUSED),
            done => done,
        }
    }

    fn wait_for_room(
        &self,
        to: Option<&Destination>,
        wait: &mut dyn FnMut(&WaitQueue) -> Result<usize, Errno>,
    ) -> Result<usize, Errno> {
        wait(&self.outbox(to)?.room)
    }

    fn receive(&self, into: &mut dyn Sink, peeks: bool) -> Result<Received, Errno> {
        self.inbox()?.receive(into, peeks)
    }

    fn option(&self, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
        let value = self.options.integer(&[], level, name).ok_or(match level {
            SOL_SOCKET => Errno::ENOPROTOOPT,
            _ => Errno::EOPNOTSUPP,
        })?;
        Ok(value.to_le_bytes().into())
    }

    fn options_changed(&self) {
        // The sender's size counts: its bytes lie in the other side's channel (unix(7)).
        let Ok(outbox) = self.outbox(None) else { return };
        if let Some(size) = self.options.set_value(SOL_SOCKET, so::SNDBUF) {
            outbox.set_capacity(usize::try_from(size).unwrap_or(CAPACITY));
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        if state.name.first() == Some(&0) {
            let mut names = ABSTRACT.lock();
            if names.get(&state.name).is_some_and(|socket| socket.strong_count() == 0) {
                names.remove(&state.name);
            }
        }
        if let Some(inbox) = &state.inbox {
            inbox.deafen();
        }
        let role = core::mem::replace(&mut state.role, Role::Idle);
        drop(state);
        match role {
            Role::Connected(connection) => {
                connection.receives.deafen();
                if self.kind != Kind::Datagram {
                    connection.sends.end();
                }
            }
            // Connections that nobody will accept drop with it, which ends them.
            Role::Idle | Role::Listening { .. } => {}
        }
        self.queue.wake_all();
    }
}

impl File for Socket {
    fn read(&self, _offset: u64, into: &mut dyn Sink) -> Result<usize, Errno> {
        self.receive(into, false).map(|received| received.count)
    }

    fn write(&self, _offset: u64, from: &mut dyn Source) -> Result<usize, Errno> {
        self.send(from, Attached { sender: self.owner, ..Attached::default() }, None)
    }

    fn poll(&self) -> Readiness {
        let (connection, inbox) = {
            let state = self.state.lock();
            match &state.role {
                Role::Listening { backlog, .. } => {
                    return if backlog.is_empty() { Readiness(0) } else { Readiness::IN };
                }
                Role::Connected(connection) => (Some(connection.clone()), state.inbox.clone()),
                Role::Idle => (None, state.inbox.clone()),
            }
        };
        let mut ready = 0;
        match (&connection, &inbox) {
            (Some(connection), _) => {
                if connection.receives.is_readable() {
                    ready |= Readiness::IN.0;
                }
                if connection.sends.is_writable() {
                    ready |= Readiness::OUT.0;
                }
                if self.kind != Kind::Datagram && connection.receives.is_over() {
                    ready |= Readiness::RDHUP.0;
                    if connection.sends.is_deaf() {
                        ready |= Readiness::HUP.0;
                    }
                }
            }
            (None, Some(inbox)) => {
                ready |= Readiness::OUT.0;
                if inbox.is_readable() {
                    ready |= Readiness::IN.0;
                }
            }
            (None, None) => ready |= Readiness::OUT.0 | Readiness::HUP.0,
        }
        Readiness(ready)
    }

    fn ioctl(&self, task: &dyn Task, request: u32, argument: u64) -> Result<u64, Errno> {
        if request != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        let available = self.inbox()?.available() as u32;
        task.write_user(argument, &available.to_le_bytes())?;
        Ok(0)
    }

    fn stat(&self) -> Stat {
        super::stat_of(self.id, self.owner)
    }

    fn description(&self) -> String {
        alloc::format!("socket:[{}]", self.id)
    }

    fn as_socket(&self) -> Option<&dyn super::Socket> {
        Some(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
