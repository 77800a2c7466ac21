//! Addresses of AF_INET and AF_INET6: `struct sockaddr_in` and `sockaddr_in6`, and which of them are here.
//!
//! Inside, an address is the shortest that means it: `::ffff:127.0.0.1` of an IPv6 socket is 127.0.0.1, and
//! becomes the long form again where such a socket shows it.

use super::super::AF_UNSPEC;
use crate::errno::Errno;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// Bytes of `struct sockaddr_in`.
const LENGTH_4: usize = 16;
/// Least that Linux takes for an IPv6 address: without `sin6_scope_id` (RFC 2133).
const LENGTH_6: usize = 24;

/// An address family of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
#[allow(missing_docs)]
pub enum Family {
    V4 = AF_INET,
    V6 = AF_INET6,
}

impl Family {
    /// By AF_*.
    #[must_use]
    pub fn of(domain: u16) -> Option<Self> {
        match domain {
            AF_INET => Some(Self::V4),
            AF_INET6 => Some(Self::V6),
            _ => None,
        }
    }

    /// The address that means all.
    #[must_use]
    pub fn any(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Self::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    /// Reads an address that a socket of this family is given. A port is at its place in every one.
    ///
    /// # Errors
    /// EINVAL for too few bytes, EAFNOSUPPORT for another family.
    pub fn decode(self, raw: &[u8]) -> Result<SocketAddr, Errno> {
        let family = family_of(raw)?;
        match self {
            Self::V4 if raw.len() < LENGTH_4 => Err(Errno::EINVAL),
            Self::V6 if raw.len() < LENGTH_6 => Err(Errno::EINVAL),
            Self::V4 if family == AF_INET => Ok(decode_4(raw)),
            Self::V6 if family == AF_INET6 => Ok(decode_6(raw)),
            _ => Err(Errno::EAFNOSUPPORT),
        }
    }

    /// As [`decode`](Self::decode) for bind(2): an IPv4 socket takes AF_UNSPEC with the address 0, too.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_own(self, raw: &[u8]) -> Result<SocketAddr, Errno> {
        let is_old = self == Self::V4 && raw.len() >= LENGTH_4 && family_of(raw)? == AF_UNSPEC;
        match decode_4_if(is_old, raw) {
            Some(address) if address.ip().is_unspecified() => Ok(address),
            _ => self.decode(raw),
        }
    }

    /// As [`decode`](Self::decode) for a datagram: an IPv6 socket takes IPv4 addresses, an IPv4 one those
    /// without a family.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_datagram(self, raw: &[u8]) -> Result<SocketAddr, Errno> {
        let family = family_of(raw)?;
        let is_4 = raw.len() >= LENGTH_4
            && match self {
                Self::V4 => family == AF_UNSPEC,
                Self::V6 => family == AF_INET,
            };
        decode_4_if(is_4, raw).map_or_else(|| self.decode(raw), Ok)
    }

    /// An address as a socket of this family shows it.
    #[must_use]
    pub fn encode(self, address: SocketAddr) -> Vec<u8> {
        let mut raw = Vec::from((self as u16).to_le_bytes());
        raw.extend(address.port().to_be_bytes());
        match (self, address.ip()) {
            (Self::V4, IpAddr::V4(ip)) => {
                raw.extend(ip.octets());
                raw.extend([0; 8]);
            }
            (Self::V4, IpAddr::V6(_)) => raw.extend([0; 12]),
            (Self::V6, ip) => {
                raw.extend([0; 4]);
                raw.extend(long(ip).octets());
                raw.extend([0; 4]);
            }
        }
        raw
    }
}

/// The family that an address says it is of.
///
/// # Errors
/// EINVAL without one.
pub fn family_of(raw: &[u8]) -> Result<u16, Errno> {
    raw.first_chunk::<2>().map(|family| u16::from_le_bytes(*family)).ok_or(Errno::EINVAL)
}

/// An address as 16 bytes: IPv4 ones are mapped.
#[must_use]
pub fn long(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// Whether an address is of this enclave: loopback, or all of them.
#[must_use]
pub fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified()
}

/// The address that bytes to `remote` come from where the socket is bound to none.
#[must_use]
pub fn source(remote: IpAddr) -> IpAddr {
    match remote {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

/// The address that bytes from `own` to `remote` really go to: all addresses means loopback, or of an IPv4
/// socket with an address that one.
#[must_use]
pub fn target(own: IpAddr, remote: IpAddr) -> IpAddr {
    match (own, remote) {
        (_, remote) if !remote.is_unspecified() => remote,
        (IpAddr::V4(own), IpAddr::V4(_)) => own.into(),
        _ => source(remote),
    }
}

fn decode_4_if(is_wanted: bool, raw: &[u8]) -> Option<SocketAddr> {
    is_wanted.then(|| decode_4(raw))
}

fn port(raw: &[u8]) -> u16 {
    u16::from_be_bytes([raw[2], raw[3]])
}

/// `raw` has at least [`LENGTH_4`] bytes.
fn decode_4(raw: &[u8]) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(raw[4], raw[5], raw[6], raw[7]).into(), port(raw))
}

/// `raw` has at least [`LENGTH_6`] bytes.
fn decode_6(raw: &[u8]) -> SocketAddr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&raw[8..24]);
    SocketAddr::new(Ipv6Addr::from(octets).to_canonical(), port(raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_read_as_it_is_shown() {
        for text in ["127.0.0.1:80", "0.0.0.0:0", "10.1.2.3:65535"] {
            let raw = Family::V4.encode(address(text));
            assert_eq!((raw.len(), Family::V4.decode(&raw)), (16, Ok(address(text))));
            let raw = Family::V6.encode(address(text));
            assert_eq!((raw.len(), Family::V6.decode(&raw)), (28, Ok(address(text))), "mapped");
        }
        for text in ["[::1]:80", "[::]:0", "[fe80::1]:7"] {
            let raw = Family::V6.encode(address(text));
            assert_eq!(Family::V6.decode(&raw), Ok(address(text)));
            assert_eq!(Family::V6.decode(&raw[..24]), Ok(address(text)));
            assert_eq!(Family::V6.decode(&raw[..23]), Err(Errno::EINVAL));
            assert_eq!(Family::V4.decode(&raw), Err(Errno::EAFNOSUPPORT));
        }
    }

    #[test]
    fn bytes_that_are_no_address_are_refused() {
        assert_eq!(Family::V4.decode(&[]), Err(Errno::EINVAL));
        assert_eq!(Family::V4.decode(&[2]), Err(Errno::EINVAL));
        assert_eq!(Family::V4.decode(&[2, 0, 0, 80]), Err(Errno::EINVAL));
        assert_eq!(Family::V4.decode(&[1; 16]), Err(Errno::EAFNOSUPPORT));
        let unspecified = [0; 16];
        assert_eq!(Family::V4.decode(&unspecified), Err(Errno::EAFNOSUPPORT));
        assert_eq!(Family::V4.decode_own(&unspecified), Ok(address("0.0.0.0:0")));
        let mut other = [0; 16];
        other[4] = 127;
        assert_eq!(Family::V4.decode_own(&other), Err(Errno::EAFNOSUPPORT));
        assert_eq!(Family::V4.decode_datagram(&other), Ok(address("127.0.0.0:0")));
        let plain = Family::V4.encode(address("127.0.0.1:9"));
        assert_eq!(Family::V6.decode_datagram(&plain), Ok(address("127.0.0.1:9")));
        assert_eq!(Family::V6.decode(&plain), Err(Errno::EINVAL));
    }
}
