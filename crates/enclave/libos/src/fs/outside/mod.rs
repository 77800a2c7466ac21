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
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use workload::manifest::{Network, Protocol};

/// Most refusals that are told apart; the rest are counted together. A program chooses what it asks for.
const MAX_REFUSALS: usize = 256;

/// The way to sockets of the host.
pub struct Outside {
    platform: &'static dyn Platform,
    streams: Arc<Streams>,
    rules: Rules,
    refusals: Mutex<BTreeMap<Refusal, u64>>,
}

/// What the measured manifest admits.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// For every program.
    pub network: Network,
    /// A port for one user alone: the attester's port and user id.
    pub attester: Option<(u16, u32)>,
}

/// Where a program listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// An address beyond loopback, or all of a family.
    pub ip: IpAddr,
    /// Not 0.
    pub port: u16,
    /// All IPv6 addresses and all IPv4 ones.
    pub is_dual: bool,
}

impl Place {
    /// Whether a connection that comes here can come from `peer`.
    fn hears(&self, peer: IpAddr) -> bool {
        self.is_dual || self.ip.is_ipv4() == peer.is_ipv4()
    }
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
    pub fn new(platform: &'static dyn Platform, streams: Arc<Streams>, rules: Rules) -> Arc<Self> {
        Arc::new(Self { platform, streams, rules, refusals: Mutex::default() })
    }

    /// Whether a program of this user may be reached at a port.
    #[must_use]
    pub fn admits_listen(&self, port: u16, uid: u32) -> bool {
        self.rules.network.admits_listen(port) || self.is_attesters(port, uid)
    }

    /// Whether the manifest gives a port to this user, who is the attester.
    #[must_use]
    pub fn is_attesters(&self, port: u16, uid: u32) -> bool {
        self.rules.attester == Some((port, uid))
    }

    /// Listens on the host's side of a port for a program of this user; `queue` is woken when a connection
    /// comes. None without a rule: the program is reached from inside only.
    ///
    /// # Errors
    /// As listen(2), of what the host says: EADDRINUSE, EACCES, ...
    pub fn listen(
        &self,
        place: Place,
        backlog: u32,
        uid: u32,
        queue: &Arc<WaitQueue>,
    ) -> Result<Option<Listener>, Errno> {
        if !self.admits_listen(place.port, uid) {
            self.refuse(Refusal::Listen(place.port));
            return Ok(None);
        }
        let host = self.platform.host();
        let ask = |ip| {
            let address = SocketAddr::new(ip, place.port);
            let is_v6_only = address.is_ipv6() && !place.is_dual;
            host.net_listen(address, backlog, is_v6_only).map_err(answers::listening)
        };
        let stream = match ask(place.ip) {
            // A host without IPv6 serves the other half of what the program means.
            Err(Errno::EAFNOSUPPORT) if place.is_dual => ask(Ipv4Addr::UNSPECIFIED.into()),
            done => done,
        }?;
        Ok(Some(Listener::new(self.adopt(stream, queue)?, self.streams.clone(), place)))
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
        if !self.rules.network.admits_connect(protocol, to) {
            return Err(self.unreachable(protocol, to));
        }
        let is_datagram = protocol == Protocol::Udp;
        let stream = self.platform.host().net_connect(to, is_datagram);
        let stream = stream.map_err(answers::connecting)?;
        Ok(Connection::new(self.adopt(stream, queue)?, to))
    }

    /// A program wants an address that no rule names: counted, and told to the operator once.
    pub fn unreachable(&self, protocol: Protocol, to: SocketAddr) -> Errno {
        self.refuse(Refusal::Connect(protocol, to));
        Errno::ENETUNREACH
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
        for port in &self.rules.network.listen {
            let _ = writeln!(text, "listen {port}");
        }
        if let Some((port, uid)) = self.rules.attester {
            let _ = writeln!(text, "listen {port} attester {uid}");
        }
        for rule in &self.rules.network.connect {
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
