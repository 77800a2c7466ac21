//! What the host may say of its sockets: an error number that the operation can have, an address that a peer
//! can have. Anything else becomes something that can be, and no program sees what no kernel gives.

use crate::errno::Errno;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Shown in place of the host's loopback: 192.0.0.8, the IPv4 dummy address (RFC 7600), and 100::1, of the
/// prefix that is discarded (RFC 6666). Programs trust a peer on loopback, which must be inside.
const NOBODY_4: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);
const NOBODY_6: Ipv6Addr = Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1);

/// The address of a peer or of this side as programs see it; None where no connection can have it.
pub(super) fn shown(address: SocketAddr) -> Option<SocketAddr> {
    let ip = match address.ip().to_canonical() {
        IpAddr::V4(ip) if ip.is_loopback() => NOBODY_4.into(),
        IpAddr::V6(ip) if ip.is_loopback() => NOBODY_6.into(),
        IpAddr::V4(ip) if ip.is_broadcast() => return None,
        ip if ip.is_unspecified() || ip.is_multicast() => return None,
        ip => ip,
    };
    (address.port() != 0).then(|| SocketAddr::new(ip, address.port()))
}

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident: $($known:ident)+, else $other:ident;)+) => {$(
        $(#[$doc])*
        pub(super) fn $name(said: Errno) -> Errno {
            match said {
                // Whose descriptors ran out is the host's affair: a program is told of the system's.
                Errno::EMFILE => Errno::ENFILE,
                Errno::ENOMEM => Errno::ENOBUFS,
                Errno::ENFILE | Errno::ENOBUFS $(| Errno::$known)+ => said,
                _ => Errno::$other,
            }
        }
    )+};
}

errors! {
    /// Of bind(2) and listen(2).
    listening: EACCES EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT, else ENETDOWN;
    /// Of accept(2). Servers go on after ECONNABORTED.
    accepting: EAGAIN ECONNABORTED, else ECONNABORTED;
    /// Of connect(2), and what SO_ERROR says of one.
    connecting: ECONNREFUSED ETIMEDOUT EHOSTUNREACH ENETUNREACH ECONNRESET EADDRNOTAVAIL EACCES
        EAFNOSUPPORT, else ENETDOWN;
    /// Of receiving.
    receiving: EAGAIN ECONNRESET ETIMEDOUT ECONNREFUSED EHOSTUNREACH, else ECONNRESET;
    /// Of sending.
    sending: EAGAIN EPIPE ECONNRESET ETIMEDOUT ECONNREFUSED EHOSTUNREACH ENETUNREACH EMSGSIZE,
        else ECONNRESET;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn see(text: &str) -> Option<std::string::String> {
        use std::string::ToString;
        shown(text.parse().unwrap()).map(|address| address.to_string())
    }

    #[test]
    fn no_peer_of_the_host_is_on_loopback() {
        for (said, seen) in [
            ("127.0.0.1:7", "192.0.0.8:7"),
            ("127.255.0.9:7", "192.0.0.8:7"),
            ("[::ffff:127.0.0.1]:7", "192.0.0.8:7"),
            ("[::1]:7", "[100::1]:7"),
            ("[::ffff:10.0.0.1]:7", "10.0.0.1:7"),
            ("10.0.0.1:65535", "10.0.0.1:65535"),
            ("[2001:db8::1]:1", "[2001:db8::1]:1"),
        ] {
            assert_eq!(see(said).as_deref(), Some(seen), "{said}");
        }
    }

    #[test]
    fn addresses_that_nobody_can_have_are_none() {
        for said in [
            "10.0.0.1:0",
            "0.0.0.0:7",
            "[::]:7",
            "[::ffff:0.0.0.0]:7",
            "255.255.255.255:7",
            "224.0.0.1:7",
            "[ff02::1]:7",
        ] {
            assert_eq!(see(said), None, "{said}");
        }
    }

    /// Whatever the host says, a program gets one of the few error numbers that the call is known for.
    #[test]
    fn every_error_number_becomes_a_plausible_one() {
        let all = (1..=133).map(Errno::from_host).chain([Errno::ERESTARTSYS]);
        for said in all {
            for (got, worst) in [
                (listening(said), Errno::ENETDOWN),
                (accepting(said), Errno::ECONNABORTED),
                (connecting(said), Errno::ENETDOWN),
                (receiving(said), Errno::ECONNRESET),
                (sending(said), Errno::ECONNRESET),
            ] {
                assert!(
                    got == said || got == worst || matches!(got, Errno::ENFILE | Errno::ENOBUFS)
                );
                assert_ne!(got, Errno::ERESTARTSYS);
                assert_ne!(got, Errno::EINTR);
            }
        }
        assert_eq!(accepting(Errno::EMFILE), Errno::ENFILE);
        assert_eq!(receiving(Errno::EFAULT), Errno::ECONNRESET);
        assert_eq!(connecting(Errno::EAGAIN), Errno::ENETDOWN);
    }
}
