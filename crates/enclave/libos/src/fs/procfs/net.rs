//! /proc/PID/net: the network of the enclave, the same for every process.

use crate::fs::context::Caller;
use crate::fs::pseudo::{Entry, Names, made, text};
use crate::fs::socket::inet::address::Family;
use crate::fs::socket::inet::listing;
use crate::fs::socket::inet::network::Network;
use crate::fs::stat::FileType;
use alloc::sync::Arc;
use alloc::vec::Vec;
use workload::manifest::Protocol;

pub(super) struct Net(pub(super) Arc<Network>);

type Maker = fn(&Arc<Network>) -> Entry;

const FILES: &[(&str, Maker)] = &[
    ("dev", |_| text(listing::DEVICES)),
    ("if_inet6", |_| text(listing::ADDRESSES_6)),
    ("route", |_| text(listing::ROUTES)),
    ("tcp", |network| sockets(network, Protocol::Tcp, Family::V4)),
    ("tcp6", |network| sockets(network, Protocol::Tcp, Family::V6)),
    ("udp", |network| sockets(network, Protocol::Udp, Family::V4)),
    ("udp6", |network| sockets(network, Protocol::Udp, Family::V6)),
];

fn sockets(network: &Arc<Network>, protocol: Protocol, family: Family) -> Entry {
    let network = network.clone();
    made(move || listing::sockets(&network, protocol, family))
}

impl Names for Net {
    fn find(&self, _caller: &Caller, name: &[u8]) -> Option<Entry> {
        let (_, make) = FILES.iter().find(|(known, _)| known.as_bytes() == name)?;
        Some(make(&self.0))
    }

    fn list(&self, _caller: &Caller) -> Vec<(Vec<u8>, FileType)> {
        FILES.iter().map(|(name, _)| (Vec::from(*name), FileType::Regular)).collect()
    }
}
