//! The network of the enclave: loopback, who holds which port, and what was refused.
//!
//! Lock order: a socket's state, then these. None is held while a socket is dropped.

use super::datagram::Datagram;
use super::ports::Ports;
use super::stream::Stream;
use crate::errno::Errno;
use crate::host::Level;
use crate::platform::Platform;
use crate::sync::Mutex;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::net::SocketAddr;

/// Addresses that are remembered with a count of their own.
const MAX_REFUSED: usize = 64;

/// What all sockets of AF_INET and AF_INET6 share.
pub struct Network {
    platform: &'static dyn Platform,
    pub(super) streams: Family<Stream>,
    pub(super) datagrams: Family<Datagram>,
    refused: Mutex<Refused>,
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

/// Addresses beyond loopback that programs wanted.
#[derive(Default)]
struct Refused {
    counts: BTreeMap<SocketAddr, u64>,
    /// Wishes for addresses that are not in `counts`.
    others: u64,
}

impl Network {
    /// A network with nobody on it.
    #[must_use]
    pub fn new(platform: &'static dyn Platform) -> Arc<Self> {
        Arc::new(Self {
            platform,
            streams: Family::default(),
            datagrams: Family::default(),
            refused: Mutex::default(),
        })
    }

    /// Where the search for a free port begins.
    pub(super) fn random_start(&self) -> u16 {
        let mut bytes = [0; 2];
        self.platform.random(&mut bytes);
        u16::from_le_bytes(bytes)
    }

    /// A program wants an address that is not here: counted, and told to the operator once.
    pub(super) fn unreachable(&self, protocol: &str, to: SocketAddr) -> Errno {
        let is_first = {
            let mut refused = self.refused.lock();
            let has_room = refused.counts.len() < MAX_REFUSED;
            if let Some(count) = refused.counts.get_mut(&to) {
                *count += 1;
            } else if has_room {
                refused.counts.insert(to, 1);
            } else {
                refused.others += 1;
            }
            refused.counts.get(&to) == Some(&1)
        };
        if is_first {
            let line = alloc::format!(
                "network: {protocol} to {to}: expected an address of loopback (ENETUNREACH)"
            );
            self.platform.host().log(Level::Warn, line);
        }
        Errno::ENETUNREACH
    }

    /// Text of /proc/inclavare/network: what was refused, and how often.
    #[must_use]
    pub fn refused(&self) -> String {
        let refused = self.refused.lock();
        let mut text = String::new();
        for (address, count) in &refused.counts {
            let _ = writeln!(text, "unreachable {address} {count}");
        }
        if refused.others > 0 {
            let _ = writeln!(text, "unreachable others {}", refused.others);
        }
        text
    }
}
