//! Sockets of AF_INET and AF_INET6 inside the enclave.
//!
//! There is one interface, lo: 127.0.0.0/8 and ::1. What goes there never leaves the enclave. Every other
//! address is reached through the host where the manifest has a rule ([`outside`](crate::fs::outside)), or is
//! ENETUNREACH, counted in /proc/inclavare/network and told to the operator once.
//!
//! The rooms: [`address`] (what programs write for an address), [`ports`] (who holds which), [`stream`] and
//! [`datagram`] (the sockets), [`carrier`], [`link`] and [`outgoing`] (how a connection's bytes move), [`listener`] (what
//! waits for accept(2)), [`network`] (what all share), [`interface`] and [`listing`] (what is told of it).

pub mod address;
mod base;
mod carrier;
pub mod datagram;
pub mod interface;
mod link;
mod listener;
pub mod listing;
pub mod network;
mod outgoing;
pub mod ports;
mod protocol;
pub mod stream;

use super::{Kind, Socket, own_credentials};
use crate::errno::Errno;
use crate::fs::task::Task;
use address::Family;
use alloc::sync::Arc;
use datagram::Datagram;
use protocol::{IPPROTO_TCP, IPPROTO_UDP};
use stream::Stream;

/// IPPROTO_ICMP, IPPROTO_ICMPV6
const ICMP: [i32; 2] = [1, 58];

/// socket(2) for one of the two families.
///
/// # Errors
/// EPROTONOSUPPORT, ESOCKTNOSUPPORT for what is neither TCP nor UDP; EACCES for ping's datagrams, EPERM for
/// raw packets without privilege.
pub fn open(
    task: &dyn Task,
    family: Family,
    kind: Kind,
    protocol: i32,
) -> Result<Arc<dyn Socket>, Errno> {
    let (network, owner) = (task.network(), own_credentials(task));
    match (kind, protocol) {
        (Kind::Stream, 0 | IPPROTO_TCP) => Ok(Stream::new(network, family, owner)),
        (Kind::Datagram, 0 | IPPROTO_UDP) => Ok(Datagram::new(network, family, owner)),
        // As with an empty net.ipv4.ping_group_range.
        (Kind::Datagram, protocol) if ICMP.contains(&protocol) => Err(Errno::EACCES),
        (Kind::Raw, 1..) if owner.uid != 0 => Err(Errno::EPERM),
        (Kind::SeqPacket, _) => Err(Errno::ESOCKTNOSUPPORT),
        _ => Err(Errno::EPROTONOSUPPORT),
    }
}
