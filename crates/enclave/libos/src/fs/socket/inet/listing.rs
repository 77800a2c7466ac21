//! Sockets and the interface as /proc/net shows them.

use super::address::{Family, long};
use super::network::Network;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::net::{IpAddr, SocketAddr};
use workload::manifest::Protocol;

/// A socket's line.
pub(super) struct Row {
    pub(super) family: Family,
    pub(super) own: SocketAddr,
    pub(super) remote: SocketAddr,
    /// State as TCP numbers them: 1 established, 2 SYN sent, 7 closed, 10 listening.
    pub(super) code: u8,
    /// Bytes that were not sent yet, and that were not read yet.
    pub(super) queues: (usize, usize),
    pub(super) uid: u32,
    pub(super) inode: u64,
}

/// Text of /proc/net/tcp, tcp6, udp or udp6.
#[must_use]
pub fn sockets(network: &Network, protocol: Protocol, family: Family) -> String {
    let mut rows: Vec<Row> = match protocol {
        Protocol::Tcp => network.streams.list().iter().map(|socket| socket.row()).collect(),
        Protocol::Udp => network.datagrams.list().iter().map(|socket| socket.row()).collect(),
    };
    // A socket without a port is in no list of Linux's.
    rows.retain(|row| row.family == family && row.own.port() != 0);
    rows.sort_by_key(|row| (row.code != 10, row.inode));
    let mut out = String::from(match family {
        Family::V4 => {
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
        }
        Family::V6 => {
            "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
        }
    });
    out.push('\n');
    for (number, row) in rows.iter().enumerate() {
        let (own, remote) = (shown(family, row.own), shown(family, row.remote));
        let (sent, unread) = row.queues;
        let line = format!(
            "{number:4}: {own} {remote} {:02X} {sent:08X}:{unread:08X} 00:00000000 00000000 {:5} \
             {:8} {} 1 0000000000000000 100 0 0 10 0",
            row.code, row.uid, 0, row.inode
        );
        let _ = writeln!(out, "{line:<149}");
    }
    out
}

/// Words of the address as the processor reads them, then the port.
fn shown(family: Family, address: SocketAddr) -> String {
    let octets = match (family, address.ip()) {
        (Family::V4, IpAddr::V4(ip)) => Vec::from(ip.octets()),
        (Family::V4, IpAddr::V6(_)) => Vec::from([0; 4]),
        (Family::V6, ip) => Vec::from(long(ip).octets()),
    };
    let mut out = String::new();
    for word in octets.chunks_exact(4) {
        let _ = write!(out, "{:08X}", u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    }
    let _ = write!(out, ":{:04X}", address.port());
    out
}

/// Text of /proc/net/dev. No bytes are counted.
pub const DEVICES: &str = "Inter-|   Receive                                                |  Transmit\n \
face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0\n";

/// Text of /proc/net/if_inet6: ::1, interface 1, 128 bits, scope host, permanent.
pub const ADDRESSES_6: &str = "00000000000000000000000000000001 01 80 10 80       lo\n";

/// Text of /proc/net/route: there is none beyond loopback.
pub const ROUTES: &str =
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
