//! Sockets of the host: what of the world beyond the enclave programs may reach, and how they do.
//!
//! The measured manifest says which ports and destinations there are. Without a rule the host is not asked: a
//! program listens inside only, and its connections fail with ENETUNREACH. Each refusal is counted, and its
//! first is logged. What goes through is plaintext to the host, and whatever the host says of it (who the peer
//! is, how much came, which error there was) is checked for what it can be, never for what it is.
//!
//! * [`Outside`]: the rules, and the only way to a socket of the host.
//! * [`Listener`], [`Connection`]: sockets in use.

mod answers;
mod connection;
mod listener;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use connection::Connection;
pub use listener::Listener;

use super::endpoint::Endpoint;
use super::stream::Streams;
use crate::errno::Errno;
use crate::host::{HostStream, Level};
use crate::platform::Platform;
use crate::sync::Mutex;
use crate::wait::WaitQueue;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::{self, Write};
use core::net::SocketAddr;
use workload::manifest::{Network, Protocol};

/// Most refusals that are told apart; the rest are counted together. A program chooses what it asks for.
const MAX_REFUSALS: usize = 256;

/// The way to sockets of the host.
pub struct Outside {
    platform: &'static dyn Platform,
    streams: Arc<Streams>,
    rules: Network,
    refusals: Mutex<BTreeMap<Refusal, u64>>,
}

/// What was asked for and not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Refusal {
    Listen(u16),
    Connect(Protocol, SocketAddr),
    /// One of those that are not told apart any more.
    More,
}

impl Outside {
    /// By these rules.
    #[must_use]
    pub fn new(
        platform: &'static dyn Platform,
        streams: Arc<Streams>,
        rules: Network,
    ) -> Arc<Self> {
        Arc::new(Self { platform, streams, rules, refusals: Mutex::default() })
    }

    /// Listens on the host's side of a port; `queue` is woken when a connection comes. None without a rule:
    /// the program is reached from inside only.
    ///
    /// # Errors
    /// As listen(2), of what the host says: EADDRINUSE, EACCES, ...
    pub fn listen(
        &self,
        address: SocketAddr,
        backlog: u32,
        is_v6_only: bool,
        queue: &Arc<WaitQueue>,
    ) -> Result<Option<Listener>, Errno> {
        if !self.rules.admits_listen(address.port()) {
            self.refuse(Refusal::Listen(address.port()));
            return Ok(None);
        }
        let host = self.platform.host();
        let stream = host.net_listen(address, backlog, is_v6_only).map_err(answers::listening)?;
        Ok(Some(Listener::new(self.adopt(stream, queue)?, self.streams.clone())))
    }

    /// Begins a connection; `queue` is woken when it is there or has failed, and with everything that comes.
    ///
    /// # Errors
    /// ENETUNREACH without a rule; of what the host says as connect(2).
    pub fn connect(
        &self,
        protocol: Protocol,
        to: SocketAddr,
        queue: &Arc<WaitQueue>,
    ) -> Result<Connection, Errno> {
        if !self.rules.admits_connect(protocol, to) {
            self.refuse(Refusal::Connect(protocol, to));
            return Err(Errno::ENETUNREACH);
        }
        let is_datagram = protocol == Protocol::Udp;
        let stream = self.platform.host().net_connect(to, is_datagram);
        let stream = stream.map_err(answers::connecting)?;
        Ok(Connection::begun(self.adopt(stream, queue)?, to))
    }

    fn adopt(&self, stream: HostStream, queue: &Arc<WaitQueue>) -> Result<Arc<Endpoint>, Errno> {
        adopt(&self.streams, self.platform, stream, queue.clone()).map_err(|_| Errno::ENETDOWN)
    }

    fn refuse(&self, refusal: Refusal) {
        let mut refusals = self.refusals.lock();
        let is_known = refusals.contains_key(&refusal);
        let is_told_apart = is_known || refusals.len() < MAX_REFUSALS;
        let refusal = if is_told_apart { refusal } else { Refusal::More };
        let count = refusals.entry(refusal).or_default();
        *count += 1;
        let is_first = *count == 1;
        drop(refusals);
        if is_first {
            self.platform.host().log(Level::Warn, format!("{refusal}"));
        }
    }

    /// Text of /proc/inclavare/network: the rules, and how often what was refused.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        for port in &self.rules.listen {
            let _ = writeln!(text, "listen {port}");
        }
        for rule in &self.rules.connect {
            let _ = writeln!(text, "connect {rule}");
        }
        for (refusal, count) in &*self.refusals.lock() {
            let _ = match refusal {
                Refusal::Listen(port) => writeln!(text, "refused {count} listen {port}"),
                Refusal::Connect(Protocol::Tcp, to) => {
                    writeln!(text, "refused {count} connect {to}")
                }
                Refusal::Connect(Protocol::Udp, to) => {
                    writeln!(text, "refused {count} connect udp:{to}")
                }
                Refusal::More => writeln!(text, "refused {count} others"),
            };
        }
        text
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(port) => write!(
                f,
                "network.listen: expected a port of the manifest, got {port}: the program that listens there is \
                 reached from inside the enclave only"
            ),
            Self::Connect(protocol, to) => {
                let protocol = if *protocol == Protocol::Udp { "udp:" } else { "" };
                write!(
                    f,
                    "network.connect: expected a destination of the manifest, got {protocol}{to}: ENETUNREACH"
                )
            }
            Self::More => f.write_str("network: more refusals are counted and not told apart"),
        }
    }
}

/// Takes a socket that the host gave; one that is in use is a lie, and logged.
fn adopt(
    streams: &Arc<Streams>,
    platform: &'static dyn Platform,
    stream: HostStream,
    queue: Arc<WaitQueue>,
) -> Result<Arc<Endpoint>, Errno> {
    Endpoint::adopt(streams, platform, stream, queue).inspect_err(|_| {
        let line =
            format!("socket of the host: expected a new one, got {}, which is in use", stream.0);
        platform.host().log(Level::Error, line);
    })
}
