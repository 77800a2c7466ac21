//! The life of a connection: hello, route, container, relay.

use crate::address::Address;
use crate::hello::{ClientHello, Hello};
use crate::limits::{Limits, Place};
use crate::listener::Incoming;
use crate::metrics::Metrics;
use crate::name::Name;
use crate::refusal::{Log, Refusal};
use crate::relay::{End, Patience, Relay};
use crate::routes::Routes;
use crate::socket::{self, Socket};
use core::time::Duration;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// First read: nearly every hello fits.
const FIRST_READ: usize = 4 << 10;

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The whole ClientHello, from when the connection was accepted.
    pub hello: Duration,
    /// Connecting to the container.
    pub connect: Duration,
    /// Nothing moves in either direction.
    pub idle: Duration,
    /// One direction has ended and nothing moves in the other.
    pub half_open: Duration,
}

/// What all connections share.
#[derive(Debug)]
pub struct Shared {
    /// Which containers there are.
    pub routes: Routes,
    /// How many connections there may be.
    pub limits: Arc<Limits>,
    /// How long they may wait.
    pub times: Times,
    /// What is counted.
    pub metrics: Metrics,
    /// Where refusals are written.
    pub log: Log,
}

/// Held by a connection while it is open; draining ends when none is held.
pub type Held = mpsc::Sender<()>;

/// Counts a connection for as long as it lives.
struct Counted {
    shared: Arc<Shared>,
    _place: Place,
    _held: Held,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.shared.metrics.closed();
    }
}

/// Serves a connection, if there may be another one: now, as far as nothing has to be waited for, and then in a
/// task of its own.
pub(crate) fn start(incoming: Incoming, shared: &Arc<Shared>, held: &Held) {
    let Incoming { fd, peer, source, .. } = incoming;
    let place = match shared.limits.enter(source) {
        Ok(place) => place,
        Err(refusal) => return shared.log.refused(&shared.metrics, &peer, &refusal),
    };
    shared.metrics.accepted();
    let counted = Counted { shared: shared.clone(), _place: place, _held: held.clone() };
    let mut hello = Hello::default();
    // A hello follows the connection closely, and a container on this host takes it at once: mostly neither a
    // timer nor a wait is needed, nor the runtime before there is something to relay.
    let begun = begin(fd.as_fd(), &mut hello, shared);
    let verifier = match Socket::new(fd) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(%error, "accept"),
    };
    tokio::spawn(async move {
        let shared = &counted.shared;
        let opened = match begun {
            Ok(Some(reached)) => reached.taken(shared).await,
            Ok(None) => open(&verifier, hello, shared).await,
            Err(refusal) => Err(refusal),
        };
        match opened {
            Ok(opened) => opened.relay(verifier, &peer, shared).await,
            Err(refusal) => {
                shared.log.refused(&shared.metrics, &peer, &refusal);
                if let Some(record) = refusal.record() {
                    // Who does not read it does not get it.
                    let _ = verifier.try_send(&record);
                    let _ = verifier.end();
                }
            }
        }
    });
}

/// Reads what has come of the hello, and passes it on if it is whole.
fn begin(
    verifier: BorrowedFd<'_>,
    hello: &mut Hello,
    shared: &Shared,
) -> Result<Option<Reached>, Refusal> {
    let mut buffer = [0; FIRST_READ];
    match socket::receive(verifier, &mut buffer) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        came => match take(hello, &buffer, came)? {
            Some(asked) => Reached::new(&asked, core::mem::take(hello), shared).map(Some),
            None => Ok(None),
        },
    }
}

/// Reads the rest of the hello, and passes it on.
async fn open(verifier: &Socket, mut hello: Hello, shared: &Shared) -> Result<Reached, Refusal> {
    let read = timeout(shared.times.hello, read(verifier, &mut hello)).await;
    let asked = read.unwrap_or_else(|_| {
        let because = format!("{:?} were over", shared.times.hello);
        Err(Refusal::hello_incomplete(hello.bytes().len(), &because))
    })?;
    Reached::new(&asked, hello, shared)?.taken(shared).await
}

/// Reads until the hello is whole.
async fn read(verifier: &Socket, hello: &mut Hello) -> Result<ClientHello, Refusal> {
    let mut buffer = [0; FIRST_READ];
    loop {
        let most = hello.room().min(FIRST_READ);
        let came = verifier.receive(&mut buffer[..most]).await;
        if let Some(asked) = take(hello, &buffer, came)? {
            return Ok(asked);
        }
    }
}

/// What the verifier asks for, if with these bytes its hello is whole.
fn take(
    hello: &mut Hello,
    buffer: &[u8],
    came: io::Result<usize>,
) -> Result<Option<ClientHello>, Refusal> {
    let incomplete = |because: &str| Refusal::hello_incomplete(hello.bytes().len(), because);
    match came {
        Err(error) => Err(incomplete(&error.to_string())),
        Ok(0) => Err(incomplete("the end")),
        Ok(count) => Ok(hello.read(&buffer[..count])?),
    }
}

/// Which container a hello asks for.
fn route(asked: &ClientHello) -> Result<Name, Refusal> {
    if !asked.is_tls13() {
        return Err(Refusal::version(asked));
    }
    if !asked.is_bound() {
        return Err(Refusal::alpn(asked));
    }
    let name = asked.server_name.as_deref().ok_or_else(Refusal::no_name)?;
    name.parse().map_err(|error| Refusal::name(name, &error))
}

/// A container, and the hello that goes to it.
struct Reached {
    name: Name,
    address: Address,
    container: Socket,
    hello: Vec<u8>,
    /// Of the hello; 0: perhaps it is not connected yet.
    sent: usize,
}

impl Reached {
    /// The container that the hello names.
    fn new(asked: &ClientHello, hello: Hello, shared: &Shared) -> Result<Self, Refusal> {
        let name = route(asked)?;
        let address = shared.routes.find(&name);
        let address =
            address.ok_or_else(|| Refusal::unknown(&name.to_string(), shared.routes.count()))?;
        let hello = hello.into_bytes();
        match Socket::connect(&address, &hello) {
            Ok((container, sent)) => Ok(Self { name, address, container, hello, sent }),
            Err(error) => Err(Refusal::container(&name.to_string(), &address, &error)),
        }
    }

    /// Waits until it has taken something.
    async fn taken(mut self, shared: &Shared) -> Result<Self, Refusal> {
        if self.sent > 0 {
            return Ok(self);
        }
        let refused = |error: &dyn core::fmt::Display| {
            Refusal::container(&self.name.to_string(), &self.address, error)
        };
        match timeout(shared.times.connect, self.container.send(&self.hello)).await {
            Ok(Ok(sent)) => self.sent = sent,
            Ok(Err(error)) => return Err(refused(&error)),
            Err(_) => return Err(refused(&format!("nothing in {:?}", shared.times.connect))),
        }
        Ok(self)
    }

    async fn relay(self, verifier: Socket, peer: &str, shared: &Shared) {
        let Self { name, container, hello, sent, .. } = self;
        shared.metrics.relayed();
        tracing::debug!(%peer, container = %name, "relaying");
        let patience = Patience { idle: shared.times.idle, half_open: shared.times.half_open };
        let relay = Relay::new(verifier, container, &hello[sent..], patience, &shared.metrics);
        drop(hello);
        match relay.await {
            Ok(End::Closed) => tracing::debug!(%peer, container = %name, "closed"),
            Ok(end @ (End::Idle | End::HalfOpen)) => {
                shared.metrics.timed_out();
                tracing::info!(%peer, container = %name, ?end, "timed out");
            }
            Err(error) => tracing::debug!(%peer, container = %name, %error, "broken off"),
        }
    }
}
