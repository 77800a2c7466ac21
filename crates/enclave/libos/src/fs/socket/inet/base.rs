//! What sockets of streams and of datagrams have in common: options, addresses, and the port they hold.

use super::super::options::{Options, so};
use super::super::{Peer, next_id};
use super::address::{Family, is_local, source, target};
use super::network::{Family as Sockets, Network};
use super::ports::{Holder, Place, Sharing, UNPRIVILEGED};
use super::protocol::{IPPROTO_IPV6, IPV6_V6ONLY, MEMBERSHIPS};
use crate::errno::Errno;
use crate::fs::socket::options::{Integer, SOL_SOCKET};
use crate::fs::task::Task;
use crate::wait::WaitQueue;
use alloc::sync::{Arc, Weak};
use core::net::{IpAddr, SocketAddr};

/// Identity, options and family of a socket.
pub(super) struct Base {
    pub(super) network: Arc<Network>,
    pub(super) family: Family,
    pub(super) options: Options,
    pub(super) queue: Arc<WaitQueue>,
    pub(super) id: u64,
    pub(super) owner: Peer,
}

/// The port that a socket holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) place: Place,
    pub(super) port: u16,
    /// Nobody named it: it goes with the connection.
    pub(super) is_chosen: bool,
}

impl Bound {
    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.place.ip, self.port)
    }

    /// Where bytes to `remote`, inside the enclave, come from and really go.
    ///
    /// # Errors
    /// EAFNOSUPPORT, ENETUNREACH for an IPv6 socket that is bound to an address of the other kind.
    pub(super) fn path(&self, remote: SocketAddr) -> Result<(SocketAddr, SocketAddr), Errno> {
        let own = self.place.ip;
        let own = if own.is_unspecified() { source(remote.ip()) } else { own };
        let target = target(own, remote.ip());
        match (own, target) {
            (IpAddr::V4(_), IpAddr::V6(_)) => Err(Errno::EAFNOSUPPORT),
            (IpAddr::V6(_), IpAddr::V4(_)) => Err(Errno::ENETUNREACH),
            _ => Ok((SocketAddr::new(own, self.port), SocketAddr::new(target, remote.port()))),
        }
    }
}

impl Base {
    pub(super) fn new(network: Arc<Network>, family: Family, owner: Peer) -> Self {
        Self::with_options(network, family, owner, Options::default())
    }

    pub(super) fn with_options(
        network: Arc<Network>,
        family: Family,
        owner: Peer,
        options: Options,
    ) -> Self {
        Self { network, family, options, queue: Arc::default(), id: next_id(), owner }
    }

    fn is_v6_only(&self) -> bool {
        self.options.set_value(IPPROTO_IPV6, IPV6_V6ONLY) == Some(1)
    }

    fn place(&self, ip: IpAddr) -> Place {
        let is_any = ip.is_unspecified() && ip.is_ipv6();
        Place { ip, is_dual: is_any && !self.is_v6_only() }
    }

    pub(super) fn sharing(&self) -> Sharing {
        Sharing {
            reuses_address: self.options.is_set(so::REUSEADDR),
            reuses_port: self.options.is_set(so::REUSEPORT),
            uid: self.owner.uid,
        }
    }

    /// The address that bind(2) is given, if the program may have it: loopback's, or one of which
    /// `is_admitted` says so.
    ///
    /// # Errors
    /// EAFNOSUPPORT, EINVAL, EADDRNOTAVAIL, EACCES.
    pub(super) fn wanted(
        &self,
        task: &dyn Task,
        raw: &[u8],
        is_admitted: impl FnOnce(SocketAddr) -> bool,
    ) -> Result<SocketAddr, Errno> {
        let wanted = self.family.decode_own(raw)?;
        if self.is_v6_only() && wanted.is_ipv4() {
            return Err(Errno::EINVAL);
        }
        if !is_local(wanted.ip()) && !is_admitted(wanted) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let uid = task.credentials().euid;
        // The attester is not user 0, and the manifest may give it port 443.
        let is_privileged = || uid == 0 || self.network.outside().is_attesters(wanted.port(), uid);
        if (1..UNPRIVILEGED).contains(&wanted.port()) && !is_privileged() {
            return Err(Errno::EACCES);
        }
        Ok(wanted)
    }

    /// Checks an address that bytes are to go to.
    ///
    /// # Errors
    /// ENETUNREACH for an IPv4 address of a socket that is IPv6 only.
    pub(super) fn reachable(&self, remote: SocketAddr) -> Result<SocketAddr, Errno> {
        match remote.is_ipv4() && self.is_v6_only() {
            true => Err(Errno::ENETUNREACH),
            false => Ok(remote),
        }
    }

    /// Takes a port; any if `port` is 0.
    ///
    /// # Errors
    /// EADDRINUSE.
    pub(super) fn claim<T>(
        &self,
        sockets: &Sockets<T>,
        this: &Weak<T>,
        ip: IpAddr,
        port: u16,
        is_chosen: bool,
    ) -> Result<Bound, Errno> {
        let place = self.place(ip);
        let holder = Holder {
            id: self.id,
            socket: this.clone(),
            place,
            sharing: self.sharing(),
            is_listening: false,
            remote: None,
        };
        let start = if port == 0 { self.network.random_start() } else { 0 };
        let port = sockets.ports.lock().claim(port, start, holder)?;
        Ok(Bound { place, port, is_chosen })
    }

    /// Value of an option whose value is an `int`.
    ///
    /// # Errors
    /// ENOPROTOOPT.
    pub(super) fn integer(&self, known: &[Integer], level: i32, name: i32) -> Result<i32, Errno> {
        self.options.integer(known, level, name).ok_or(Errno::ENOPROTOOPT)
    }

    /// Sets an option; `is_bound` says whether the socket has its address already.
    ///
    /// # Errors
    /// ENOPROTOOPT, EINVAL; ENODEV, EADDRNOTAVAIL for a group of receivers: loopback has none.
    pub(super) fn set_option(
        &self,
        known: &[Integer],
        (level, name): (i32, i32),
        value: &[u8],
        is_bound: bool,
    ) -> Result<(), Errno> {
        if level == IPPROTO_IPV6 && self.family == Family::V4 {
            return Err(Errno::ENOPROTOOPT);
        }
        if (level, name) == (IPPROTO_IPV6, IPV6_V6ONLY) && is_bound {
            return Err(Errno::EINVAL);
        }
        if let Some((.., joins)) = MEMBERSHIPS.iter().find(|one| (one.0, one.1) == (level, name)) {
            return Err(if *joins { Errno::ENODEV } else { Errno::EADDRNOTAVAIL });
        }
        // SO_BINDTODEVICE
        if (level, name) == (SOL_SOCKET, 25) {
            let device = value.split(|byte| *byte == 0).next().unwrap_or_default();
            return if matches!(device, b"" | b"lo") { Ok(()) } else { Err(Errno::ENODEV) };
        }
        self.options.set_integer(known, level, name, value)
    }
}
