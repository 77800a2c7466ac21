//! The life of a connection: hello, route, container, relay.

use crate::hello::{ClientHello, Hello};
use crate::limits::{Limits, Place};
use crate::listener::Incoming;
use crate::metrics::Metrics;
use crate::name::Name;
use crate::refusal::{Log, Refusal};
use crate::relay::{End, Patience, Relay};
use crate::routes::Routes;
use crate::socket::Socket;
use core::time::Duration;
use std::io;
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

/// Serves a connection, if there may be another one, in a task of its own.
pub(crate) fn start(incoming: Incoming, shared: &Arc<Shared>, held: &Held) {
    let Incoming { fd, peer, source, is_tcp } = incoming;
    let place = match shared.limits.enter(source) {
        Ok(place) => place,
        Err(refusal) => return shared.log.refused(&shared.metrics, &peer, &refusal),
    };
    shared.metrics.accepted();
    let counted = Counted { shared: shared.clone(), _place: place, _held: held.clone() };
    if is_tcp {
        // Else what is passed on in two pieces waits for an acknowledgement of the first.
        let _ = socket2::SockRef::from(&fd).set_tcp_nodelay(true);
    }
    let socket = match Socket::new(fd) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(%error, "accept"),
    };
    tokio::spawn(async move {
        let shared = &counted.shared;
        match open(&socket, shared).await {
            Ok(opened) => opened.relay(socket, &peer, shared).await,
            Err(refusal) => {
                shared.log.refused(&shared.metrics, &peer, &refusal);
                if let Some(record) = refusal.record() {
                    // Who does not read it does not get it.
                    let _ = socket.try_send(&record);
                    let _ = socket.end();
                }
            }
        }
    });
}

/// A connection to a container.
struct Opened {
    name: Name,
    container: Socket,
    /// Of the hello, what the container did not take at once.
    rest: Vec<u8>,
}

/// Reads the hello, and passes it on to the container that it names.
async fn open(verifier: &Socket, shared: &Shared) -> Result<Opened, Refusal> {
    let mut hello = Hello::default();
    let read = timeout(shared.times.hello, read(verifier, &mut hello)).await;
    let asked = read.unwrap_or_else(|_| {
        let because = format!("{:?} were over", shared.times.hello);
        Err(Refusal::hello_incomplete(hello.bytes().len(), &because))
    })?;
    let name = route(&asked)?;
    let address = shared.routes.find(&name);
    let address =
        address.ok_or_else(|| Refusal::unknown(&name.to_string(), shared.routes.count()))?;
    let bytes = hello.into_bytes();
    let reach = async {
        let container = Socket::connect(&address)?;
        let sent = container.send(&bytes).await?;
        io::Result::Ok((container, sent))
    };
    let refused =
        |error: &dyn core::fmt::Display| Refusal::container(&name.to_string(), &address, error);
    match timeout(shared.times.connect, reach).await {
        Ok(Ok((container, sent))) => {
            let rest = bytes[sent..].to_vec();
            Ok(Opened { name, container, rest })
        }
        Ok(Err(error)) => Err(refused(&error)),
        Err(_) => Err(refused(&format!("nothing in {:?}", shared.times.connect))),
    }
}

/// Reads until the hello is whole.
async fn read(verifier: &Socket, hello: &mut Hello) -> Result<ClientHello, Refusal> {
    let mut buffer = [0; FIRST_READ];
    loop {
        let most = hello.room().min(FIRST_READ);
        let count = verifier
            .receive(&mut buffer[..most])
            .await
            .map_err(|error| Refusal::hello_incomplete(hello.bytes().len(), &error.to_string()))?;
        if count == 0 {
            return Err(Refusal::hello_incomplete(hello.bytes().len(), "the end"));
        }
        if let Some(asked) = hello.read(&buffer[..count])? {
            return Ok(asked);
        }
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

impl Opened {
    async fn relay(self, verifier: Socket, peer: &str, shared: &Shared) {
        let Self { name, container, rest } = self;
        shared.metrics.relayed();
        tracing::debug!(%peer, container = %name, "relaying");
        let patience = Patience { idle: shared.times.idle, half_open: shared.times.half_open };
        match Relay::new(verifier, container, &rest, patience, &shared.metrics).await {
            Ok(End::Closed) => tracing::debug!(%peer, container = %name, "closed"),
            Ok(end @ (End::Idle | End::HalfOpen)) => {
                shared.metrics.timed_out();
                tracing::info!(%peer, container = %name, ?end, "timed out");
            }
            Err(error) => tracing::debug!(%peer, container = %name, %error, "broken off"),
        }
    }
}
