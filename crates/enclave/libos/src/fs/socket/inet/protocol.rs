//! Options of the protocols: which there are, and what they are before anybody sets them.

use super::super::options::{Integer, SOL_SOCKET, Values, integer, so};
use super::address::Family;

pub(super) const IPPROTO_IP: i32 = 0;
pub(super) const IPPROTO_TCP: i32 = 6;
pub(super) const IPPROTO_UDP: i32 = 17;
pub(super) const IPPROTO_IPV6: i32 = 41;

pub(super) const IPV6_V6ONLY: i32 = 26;
pub(super) const TCP_INFO: i32 = 11;
pub(super) const TCP_CONGESTION: i32 = 13;

/// IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP; IPV6_ADD_MEMBERSHIP, IPV6_DROP_MEMBERSHIP.
pub(super) const MEMBERSHIPS: [(i32, i32, bool); 4] = [
    (IPPROTO_IP, 35, true),
    (IPPROTO_IP, 36, false),
    (IPPROTO_IPV6, 20, true),
    (IPPROTO_IPV6, 21, false),
];

const TTL: Values = Values::Range(-1, 255);
const SECONDS: Values = Values::Range(1, 32_767);
const COUNT: Values = Values::Range(1, 127);
const NUMBER: Values = Values::Range(0, i32::MAX);

macro_rules! with_ip {
    ($($own:expr,)*) => {
        &[
            $($own,)*
            // IP_TOS, IP_TTL, IP_MTU_DISCOVER, IP_RECVERR, IP_MTU, IP_FREEBIND, IP_BIND_ADDRESS_NO_PORT,
            // IP_MULTICAST_TTL, IP_MULTICAST_LOOP
            integer(IPPROTO_IP, 1, 0, Values::Range(0, 255)),
            integer(IPPROTO_IP, 2, 64, TTL),
            integer(IPPROTO_IP, 10, 1, Values::Range(0, 5)),
            integer(IPPROTO_IP, 11, 0, Values::Flag),
            integer(IPPROTO_IP, 14, 65_536, Values::Fixed),
            integer(IPPROTO_IP, 15, 0, Values::Flag),
            integer(IPPROTO_IP, 24, 0, Values::Flag),
            integer(IPPROTO_IP, 33, 1, TTL),
            integer(IPPROTO_IP, 34, 1, Values::Flag),
        ]
    };
}

macro_rules! with_ipv6 {
    ($($own:expr,)*) => {
        with_ip![
            $($own,)*
            // IPV6_UNICAST_HOPS, IPV6_MULTICAST_HOPS, IPV6_MULTICAST_LOOP, IPV6_MTU_DISCOVER, IPV6_MTU,
            // IPV6_RECVERR, IPV6_DONTFRAG, IPV6_TCLASS, IPV6_AUTOFLOWLABEL, IPV6_FREEBIND
            integer(IPPROTO_IPV6, IPV6_V6ONLY, 0, Values::Flag),
            integer(IPPROTO_IPV6, 16, 64, TTL),
            integer(IPPROTO_IPV6, 18, 1, TTL),
            integer(IPPROTO_IPV6, 19, 1, Values::Flag),
            integer(IPPROTO_IPV6, 23, 1, Values::Range(0, 5)),
            integer(IPPROTO_IPV6, 24, 65_536, Values::Fixed),
            integer(IPPROTO_IPV6, 25, 0, Values::Flag),
            integer(IPPROTO_IPV6, 62, 0, Values::Flag),
            integer(IPPROTO_IPV6, 67, 0, Values::Range(-1, 255)),
            integer(IPPROTO_IPV6, 70, 1, Values::Flag),
            integer(IPPROTO_IPV6, 78, 0, Values::Flag),
        ]
    };
}

macro_rules! tcp {
    ($with:ident) => {
        $with![
            integer(SOL_SOCKET, so::RCVBUF, 131_072, NUMBER),
            integer(SOL_SOCKET, so::SNDBUF, 16_384, NUMBER),
            // SO_RCVLOWAT: a read never waits for more than a byte.
            integer(SOL_SOCKET, 18, 1, Values::Range(0, 1)),
            // TCP_NODELAY, TCP_MAXSEG, TCP_CORK, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, TCP_SYNCNT
            integer(IPPROTO_TCP, 1, 0, Values::Flag),
            integer(IPPROTO_TCP, 2, 65_483, Values::Range(88, 65_535)),
            integer(IPPROTO_TCP, 3, 0, Values::Flag),
            integer(IPPROTO_TCP, 4, 7200, SECONDS),
            integer(IPPROTO_TCP, 5, 75, SECONDS),
            integer(IPPROTO_TCP, 6, 9, COUNT),
            integer(IPPROTO_TCP, 7, 6, COUNT),
            // TCP_LINGER2, TCP_DEFER_ACCEPT, TCP_WINDOW_CLAMP, TCP_QUICKACK, TCP_USER_TIMEOUT,
            // TCP_FASTOPEN, TCP_NOTSENT_LOWAT
            integer(IPPROTO_TCP, 8, 60, Values::Range(-1, 120)),
            integer(IPPROTO_TCP, 9, 0, NUMBER),
            integer(IPPROTO_TCP, 10, 0, NUMBER),
            integer(IPPROTO_TCP, 12, 1, Values::Flag),
            integer(IPPROTO_TCP, 18, 0, NUMBER),
            integer(IPPROTO_TCP, 23, 0, NUMBER),
            integer(IPPROTO_TCP, 25, 0, NUMBER),
        ]
    };
}

macro_rules! udp {
    ($with:ident) => {
        $with![
            // UDP_CORK reads only: datagrams are sent as they come.
            integer(IPPROTO_UDP, 1, 0, Values::Fixed),
        ]
    };
}

/// Options of a stream socket.
pub(super) fn of_stream(family: Family) -> &'static [Integer] {
    const V4: &[Integer] = tcp!(with_ip);
    const V6: &[Integer] = tcp!(with_ipv6);
    match family {
        Family::V4 => V4,
        Family::V6 => V6,
    }
}

/// Options of a datagram socket.
pub(super) fn of_datagram(family: Family) -> &'static [Integer] {
    const V4: &[Integer] = udp!(with_ip);
    const V6: &[Integer] = udp!(with_ipv6);
    match family {
        Family::V4 => V4,
        Family::V6 => V6,
    }
}
