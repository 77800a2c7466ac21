//! The network of the enclave: loopback, who holds which port, and the way out.
//!
//! Lock order: a socket's state, then these. None is held while a socket is dropped.

use super::datagram::Datagram;
use super::ports::Ports;
use super::stream::Stream;
use crate::fs::outside::{Outside, Rules};
use crate::fs::stream::Streams;
use crate::platform::Platform;
use crate::sync::Mutex;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

/// What all sockets of AF_INET and AF_INET6 share.
pub struct Network {
    platform: &'static dyn Platform,
    pub(super) streams: Family<Stream>,
    pub(super) datagrams: Family<Datagram>,
    outside: Mutex<Arc<Outside>>,
}

/// All sockets of a protocol.
pub(super) struct Family<T> {
    pub(super) ports: Mutex<Ports<T>>,
    all: Mutex<BTreeMap<u64, Weak<T>>>,
}

impl<T> Default for Family<T> {
    fn default() -> Self {
        Self { ports: Mutex::default(), all: Mutex::default() }
    }
}

impl<T> Family<T> {
    pub(super) fn add(&self, id: u64, socket: &Arc<T>) {
        self.all.lock().insert(id, Arc::downgrade(socket));
    }

    pub(super) fn remove(&self, id: u64) {
        self.all.lock().remove(&id);
    }

    /// All of them now.
    pub(super) fn list(&self) -> Vec<Arc<T>> {
        let all: Vec<_> = self.all.lock().values().cloned().collect();
        all.iter().filter_map(Weak::upgrade).collect()
    }
}

impl Network {
    /// A network with nobody on it.
    #[must_use]
    pub fn new(platform: &'static dyn Platform) -> Arc<Self> {
        Arc::new(Self {
            platform,
            streams: Family::default(),
            datagrams: Family::default(),
            outside: Mutex::new(Outside::new(platform, Streams::new(), Rules::default())),
        })
    }

    /// Where the search for a free port begins.
    pub(super) fn random_start(&self) -> u16 {
        let mut bytes = [0; 2];
        self.platform.random(&mut bytes);
        u16::from_le_bytes(bytes)
    }

    /// The way to sockets of the host.
    pub(super) fn outside(&self) -> Arc<Outside> {
        self.outside.lock().clone()
    }

    /// From now on the world beyond loopback is what `outside` admits; before, there is none.
    pub fn attach(&self, outside: Arc<Outside>) {
        *self.outside.lock() = outside;
    }

    /// Text of /proc/inclavare/network: the rules, and how often what was refused.
    #[must_use]
    pub fn text(&self) -> String {
        self.outside().text()
    }
}
