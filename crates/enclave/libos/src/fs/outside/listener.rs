//! A listening socket of the host.

use super::{Connection, Place, adopt, answers};
use crate::errno::Errno;
use crate::fs::endpoint::Endpoint;
use crate::fs::stream::Streams;
use crate::host::{Level, Readiness};
use crate::wait::WaitQueue;
use alloc::format;
use alloc::sync::Arc;
use core::net::SocketAddr;

/// A listening socket of the host, closed when dropped.
pub struct Listener {
    endpoint: Arc<Endpoint>,
    streams: Arc<Streams>,
    place: Place,
}

impl Listener {
    pub(super) fn new(endpoint: Arc<Endpoint>, streams: Arc<Streams>, place: Place) -> Self {
        Self { endpoint, streams, place }
    }

    /// Takes a connection that waits; `queue` becomes the one that hears of what comes over it.
    ///
    /// # Errors
    /// EAGAIN where none waits, after which the listener's queue is woken when one does. ECONNABORTED where
    /// what the host gave is none; the next may be one.
    pub fn accept(&self, queue: Arc<WaitQueue>) -> Result<Connection, Errno> {
        let platform = self.endpoint.platform();
        let host = platform.host();
        let accepted = host.net_accept(self.endpoint.stream()).map_err(answers::accepting);
        let (stream, said) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                self.endpoint.wait_for_more();
                return Err(error);
            }
        };
        self.endpoint.took_one();
        let endpoint = adopt(&self.streams, platform, stream, queue);
        let endpoint = endpoint.map_err(|_| Errno::ECONNABORTED)?;
        let peer = answers::shown(said).filter(|peer| self.place.hears(peer.ip()));
        let Some(peer) = peer else {
            let at = SocketAddr::new(self.place.ip, self.place.port);
            let line =
                format!("peer of the host's socket: expected one that can reach {at}, got {said}");
            host.log(Level::Error, line);
            return Err(Errno::ECONNABORTED);
        };
        Ok(Connection::new(endpoint, peer))
    }

    /// Whether a connection waits.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let over = Readiness::IN.0 | Readiness::ERR.0 | Readiness::HUP.0;
        self.endpoint.poll().0 & over != 0
    }
}
