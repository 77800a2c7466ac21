//! Unix sockets inside the enclave: streams, sequenced packets and datagrams, with names in the tree or
//! abstract ones, and descriptors that travel (unix(7)).
//!
//! They never reach the host: whoever connects is a process of this container.
//!
//! Lock order: a socket's `state`, then a channel's state. Wait queues last.

mod channel;

pub use channel::{Attached, Peer, Received};

use super::file::{File, Sink, Source};
use super::stat::{FileType, Stat, makedev};
use super::task::Task;
use crate::errno::Errno;
use crate::host::Readiness;
use crate::sync::Mutex;
use crate::wait::WaitQueue;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use channel::Channel;
use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const FIONREAD: u32 = 0x541b;

/// Most connections that wait for accept(2) (net.core.somaxconn).
const SOMAXCONN: usize = 4096;

/// How a socket carries bytes; the value is SOCK_*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum Kind {
    Stream = 1,
    Datagram = 2,
    SeqPacket = 5,
}

/// A Unix socket.
pub struct Socket {
    /// How it carries bytes.
    pub kind: Kind,
    /// SO_PASSCRED.
    pub passes_credentials: AtomicBool,
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
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let queue = Arc::new(WaitQueue::new());
        let is_datagram = kind == Kind::Datagram;
        let inbox = is_datagram.then(|| Channel::new(false, queue.clone(), None));
        Arc::new_cyclic(|this| Self {
            kind,
            passes_credentials: AtomicBool::new(false),
            state: Mutex::new(State { name: Vec::new(), role: Role::Idle, inbox }),
            queue,
            id: NEXT.fetch_add(1, Ordering::Relaxed),
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
        let is_stream = a.kind == Kind::Stream;
        let make = |reader: &Self, writer: &Self| {
            Channel::new(is_stream, reader.queue.clone(), Some(writer.queue.clone()))
        };
        let (to_a, to_b) = (make(a, b), make(b, a));
        let (a_name, b_name) = (a.name(), b.name());
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

    /// Itself, as who holds a description of it has it.
    #[must_use]
    pub fn strong(&self) -> Option<Arc<Self>> {
        self.this.upgrade()
    }

    /// Its own name: bytes of `sun_path`, a leading NUL for an abstract one.
    #[must_use]
    pub fn name(&self) -> Vec<u8> {
        self.state.lock().name.clone()
    }

    /// Name of the other side.
    ///
    /// # Errors
    /// ENOTCONN.
    pub fn peer_name(&self) -> Result<Vec<u8>, Errno> {
        self.connection().map(|connection| connection.peer_name)
    }

    /// SO_PEERCRED.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.connection().map_or(Peer { uid: u32::MAX, gid: u32::MAX, pid: 0 }, |c| c.peer)
    }

    /// Whether it takes connections (SO_ACCEPTCONN).
    #[must_use]
    pub fn is_listening(&self) -> bool {
        matches!(self.state.lock().role, Role::Listening { .. })
    }

    /// Gives it a name; `node` is told where it is in the tree.
    ///
    /// # Errors
    /// EINVAL where it has one, EADDRINUSE for an abstract name that is taken.
    pub fn bind(
        &self,
        name: &[u8],
        node: impl FnOnce(Weak<dyn Any + Send + Sync>) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        if !self.name().is_empty() {
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
    pub fn bind_any(&self) -> Result<(), Errno> {
        for number in 0..0x10_0000u32 {
            let name = alloc::format!("\0{number:05x}");
            match self.bind(name.as_bytes(), |_| Ok(())) {
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
    pub fn find_abstract(name: &[u8]) -> Result<Arc<Self>, Errno> {
        ABSTRACT.lock().get(name).and_then(Weak::upgrade).ok_or(Errno::ECONNREFUSED)
    }

    /// listen(2).
    ///
    /// # Errors
    /// EOPNOTSUPP for datagrams, EINVAL without a name or when connected.
    pub fn listen(&self, backlog: usize) -> Result<(), Errno> {
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

    /// Takes a connection that waits.
    ///
    /// # Errors
    /// EAGAIN, EINVAL where it does not listen.
    pub fn accept(&self) -> Result<Arc<Self>, Errno> {
        let accepted = match &mut self.state.lock().role {
            Role::Listening { backlog, .. } => backlog.pop_front().ok_or(Errno::EAGAIN)?,
            _ if self.kind == Kind::Datagram => return Err(Errno::EOPNOTSUPP),
            _ => return Err(Errno::EINVAL),
        };
        // Room for one who waits to connect.
        self.queue.wake_all();
        Ok(accepted)
    }

    /// connect(2) to `target`. EAGAIN where its backlog is full: wait on its queue.
    ///
    /// # Errors
    /// EISCONN, EPROTOTYPE, ECONNREFUSED, EAGAIN.
    pub fn connect(&self, target: &Arc<Self>) -> Result<(), Errno> {
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
        accepted.state.lock().name = target.name();
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
        let peer_name = target.name();
        let mut state = self.state.lock();
        let receives = state.inbox.clone().ok_or(Errno::ECONNREFUSED)?;
        let peer = target.owner;
        state.role = Role::Connected(Connection { receives, sends, peer_name, peer });
        Ok(())
    }

    /// Where a wait for [`connect`](Self::connect) or [`accept`](Self::accept) waits.
    #[must_use]
    pub fn events(&self) -> &WaitQueue {
        &self.queue
    }

    /// Sends to the other side, or a datagram to `target`. A stream may take less than is offered.
    ///
    /// # Errors
    /// ENOTCONN, EPIPE, EAGAIN, EMSGSIZE, ECONNREFUSED.
    pub fn send(
        &self,
        from: &mut dyn Source,
        mut attached: Attached,
        target: Option<&Arc<Self>>,
    ) -> Result<usize, Errno> {
        attached.from = self.name();
        let channel = match target {
            Some(target) => target.state.lock().inbox.clone().ok_or(Errno::EPROTOTYPE)?,
            None => self.connection()?.sends,
        };
        match channel.send(from, &mut attached) {
            Err(Errno::EPIPE) if self.kind == Kind::Datagram => Err(Errno::ECONNREFUSED),
            done => done,
        }
    }

    /// Whom a sender to `target` (or to the other side) waits for.
    ///
    /// # Errors
    /// ENOTCONN.
    pub fn wait_for_room<T>(
        &self,
        target: Option<&Arc<Self>>,
        wait: impl FnOnce(&WaitQueue) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let channel = match target {
            Some(target) => target.state.lock().inbox.clone().ok_or(Errno::EPROTOTYPE)?,
            None => self.connection()?.sends,
        };
        wait(&channel.room)
    }

    /// Receives.
    ///
    /// # Errors
    /// ENOTCONN, EAGAIN.
    pub fn receive(&self, into: &mut dyn Sink, peeks: bool) -> Result<Received, Errno> {
        self.inbox()?.receive(into, peeks)
    }

    /// shutdown(2).
    ///
    /// # Errors
    /// ENOTCONN.
    pub fn shutdown(&self, reads: bool, writes: bool) -> Result<(), Errno> {
        let connection = self.connection()?;
        if reads {
            connection.receives.end();
        }
        if writes {
            connection.sends.end();
        }
        Ok(())
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

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
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
        Stat {
            dev: makedev(0, 8),
            ino: self.id,
            file_type: FileType::Socket,
            mode: 0o777,
            nlink: 1,
            uid: self.owner.uid,
            gid: self.owner.gid,
            ..Stat::default()
        }
    }

    fn description(&self) -> String {
        alloc::format!("socket:[{}]", self.id)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
