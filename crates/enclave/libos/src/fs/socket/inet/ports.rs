//! Who holds which port of a protocol, by the rules of bind(2), and whom an address leads to.
//!
//! A connection that was accepted holds no port of its own: where its listener is gone, the port is free.
//! (Linux keeps it for a while without SO_REUSEADDR, which is more than a server that starts again wants.)

use crate::errno::Errno;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::ops::RangeInclusive;

/// Ports that are given where nobody names one (net.ipv4.ip_local_port_range).
pub const CHOSEN: RangeInclusive<u16> = 32768..=60999;

/// Ports below need user 0 (net.ipv4.ip_unprivileged_port_start).
pub const UNPRIVILEGED: u16 = 1024;

/// Addresses that a socket is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// One, or all of a family.
    pub ip: IpAddr,
    /// All IPv6 addresses and all IPv4 ones: an IPv6 socket without IPV6_V6ONLY.
    pub is_dual: bool,
}

impl Place {
    fn overlaps(self, other: Self) -> bool {
        match (self.ip, other.ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => a == b || a.is_unspecified() || b.is_unspecified(),
            (IpAddr::V6(a), IpAddr::V6(b)) => a == b || a.is_unspecified() || b.is_unspecified(),
            (IpAddr::V4(_), IpAddr::V6(_)) => other.is_dual,
            (IpAddr::V6(_), IpAddr::V4(_)) => self.is_dual,
        }
    }

    /// How well `ip` is meant by it: the more, the better; None where it is not.
    fn fit(self, ip: IpAddr) -> Option<u8> {
        match (self.ip, ip) {
            (own, ip) if own == ip => Some(3),
            (IpAddr::V4(own), IpAddr::V4(_)) if own.is_unspecified() => Some(2),
            (IpAddr::V6(own), IpAddr::V6(_)) if own.is_unspecified() => Some(2),
            (IpAddr::V6(_), IpAddr::V4(_)) if self.is_dual => Some(1),
            _ => None,
        }
    }
}

/// A socket with a port.
pub struct Holder<T> {
    /// Number of the socket.
    pub id: u64,
    /// It.
    pub socket: Weak<T>,
    /// Its addresses.
    pub place: Place,
    /// SO_REUSEADDR, SO_REUSEPORT and whose it is.
    pub sharing: Sharing,
    /// Whether it takes connections; a datagram socket never does.
    pub is_listening: bool,
    /// Whom alone it hears (a datagram socket that is connected).
    pub remote: Option<SocketAddr>,
}

/// What makes two sockets bear each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sharing {
    /// SO_REUSEADDR.
    pub reuses_address: bool,
    /// SO_REUSEPORT.
    pub reuses_port: bool,
    /// Effective user.
    pub uid: u32,
}

impl<T> Holder<T> {
    fn is_in_the_way(&self, other: &Self) -> bool {
        let (a, b) = (self.sharing, other.sharing);
        let by_address = a.reuses_address && b.reuses_address && !other.is_listening;
        let by_port = a.reuses_port && b.reuses_port && a.uid == b.uid;
        self.id != other.id && self.place.overlaps(other.place) && !by_address && !by_port
    }
}

/// All ports of a protocol.
pub struct Ports<T> {
    held: BTreeMap<u16, Vec<Holder<T>>>,
    /// Turns with every lookup, so that those who share a port take turns.
    turn: usize,
}

impl<T> Default for Ports<T> {
    fn default() -> Self {
        Self { held: BTreeMap::new(), turn: 0 }
    }
}

impl<T> Ports<T> {
    /// Gives a socket a port: the one it wants, or one of [`CHOSEN`] from `start` on that nobody holds.
    ///
    /// # Errors
    /// EADDRINUSE.
    pub fn claim(&mut self, wanted: u16, start: u16, holder: Holder<T>) -> Result<u16, Errno> {
        let port = match wanted {
            0 => self.free_port(start).ok_or(Errno::EADDRINUSE)?,
            port => port,
        };
        let holders = self.held.entry(port).or_default();
        if holders.iter().any(|other| holder.is_in_the_way(other)) {
            return Err(Errno::EADDRINUSE);
        }
        holders.push(holder);
        Ok(port)
    }

    fn free_port(&self, start: u16) -> Option<u16> {
        let first = *CHOSEN.start();
        let count = CHOSEN.end() - first + 1;
        let mut all = (0..count).map(|step| {
            // Both below 2^16, so that the sum is below 2^32.
            let offset = (u32::from(start) + u32::from(step)) % u32::from(count);
            first + offset as u16
        });
        all.find(|port| !self.held.contains_key(port))
    }

    /// A socket begins to listen at the port that it has.
    ///
    /// # Errors
    /// EADDRINUSE where another one listens there that does not share.
    pub fn listen(&mut self, port: u16, id: u64, sharing: Sharing) -> Result<(), Errno> {
        let Some(holders) = self.held.get_mut(&port) else { return Err(Errno::EINVAL) };
        let index = holders.iter().position(|holder| holder.id == id).ok_or(Errno::EINVAL)?;
        holders[index].sharing = sharing;
        if holders.iter().any(|other| holders[index].is_in_the_way(other)) {
            return Err(Errno::EADDRINUSE);
        }
        holders[index].is_listening = true;
        Ok(())
    }

    /// Changes what is known of a holder.
    pub fn update(&mut self, port: u16, id: u64, change: impl FnOnce(&mut Holder<T>)) {
        let holders = self.held.get_mut(&port);
        if let Some(holder) = holders.and_then(|all| all.iter_mut().find(|one| one.id == id)) {
            change(holder);
        }
    }

    /// A socket gives its port back.
    pub fn release(&mut self, port: u16, id: u64) {
        let Some(holders) = self.held.get_mut(&port) else { return };
        holders.retain(|holder| holder.id != id);
        if holders.is_empty() {
            self.held.remove(&port);
        }
    }

    /// Who gets what comes for `to` from `from`, among those that `is_wanted`: the one that names the
    /// address best; of several, each in turn.
    pub fn find(
        &mut self,
        to: SocketAddr,
        from: SocketAddr,
        is_wanted: impl Fn(&Holder<T>) -> bool,
    ) -> Option<Arc<T>> {
        self.turn = self.turn.wrapping_add(1);
        let fit = |holder: &Holder<T>| {
            let hears = match holder.remote {
                None => 0,
                Some(remote) if remote == from => 4,
                Some(_) => return None,
            };
            holder.place.fit(to.ip()).filter(|_| is_wanted(holder)).map(|fit| fit + hears)
        };
        let holders = self.held.get(&to.port())?;
        let best = holders.iter().filter_map(fit).max()?;
        let mut equal: Vec<_> = holders.iter().filter(|one| fit(one) == Some(best)).collect();
        let start = self.turn % equal.len();
        equal.rotate_left(start);
        equal.into_iter().find_map(|holder| holder.socket.upgrade())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Sharing = Sharing { reuses_address: true, reuses_port: true, uid: 0 };
    const ADDRESS: Sharing = Sharing { reuses_address: true, reuses_port: false, uid: 0 };
    const NONE: Sharing = Sharing { reuses_address: false, reuses_port: false, uid: 0 };

    fn holder(socket: &Arc<u64>, ip: &str, is_dual: bool, sharing: Sharing) -> Holder<u64> {
        Holder {
            id: **socket,
            socket: Arc::downgrade(socket),
            place: Place { ip: ip.parse().unwrap(), is_dual },
            sharing,
            is_listening: false,
            remote: None,
        }
    }

    /// Whether the second of two holders of one port is let in.
    fn bears(first: (&str, bool, Sharing), second: (&str, bool, Sharing)) -> bool {
        let (a, b) = (Arc::new(1), Arc::new(2));
        let mut ports = Ports::default();
        ports.claim(80, 0, holder(&a, first.0, first.1, first.2)).unwrap();
        ports.claim(80, 0, holder(&b, second.0, second.1, second.2)).is_ok()
    }

    #[test]
    fn addresses_that_overlap_are_in_the_way_of_each_other() {
        assert!(!bears(("127.0.0.1", false, NONE), ("127.0.0.1", false, NONE)));
        assert!(bears(("127.0.0.1", false, NONE), ("127.0.0.2", false, NONE)));
        assert!(!bears(("0.0.0.0", false, NONE), ("127.0.0.2", false, NONE)));
        assert!(!bears(("::", true, NONE), ("127.0.0.1", false, NONE)));
        assert!(bears(("::", false, NONE), ("0.0.0.0", false, NONE)));
        assert!(bears(("::1", false, NONE), ("0.0.0.0", false, NONE)));
        assert!(!bears(("::1", false, NONE), ("::", true, NONE)));
        assert!(bears(("0.0.0.0", false, ADDRESS), ("0.0.0.0", false, BOTH)));
        assert!(!bears(("0.0.0.0", false, ADDRESS), ("0.0.0.0", false, NONE)));
        let other = Sharing { uid: 1, ..BOTH };
        let port_only = Sharing { reuses_address: false, ..BOTH };
        assert!(bears(("0.0.0.0", false, port_only), ("0.0.0.0", false, port_only)));
        assert!(!bears(("0.0.0.0", false, port_only), ("0.0.0.0", false, other)), "another user");
    }

    #[test]
    fn one_of_two_that_share_an_address_listens() {
        let (a, b) = (Arc::new(1), Arc::new(2));
        let mut ports = Ports::default();
        for socket in [&a, &b] {
            ports.claim(80, 0, holder(socket, "0.0.0.0", false, ADDRESS)).unwrap();
        }
        assert_eq!(ports.listen(80, 1, ADDRESS), Ok(()));
        assert_eq!(ports.listen(80, 2, ADDRESS), Err(Errno::EADDRINUSE));
        let late = Arc::new(3);
        let claimed = ports.claim(80, 0, holder(&late, "0.0.0.0", false, ADDRESS));
        assert_eq!(claimed, Err(Errno::EADDRINUSE), "the other one listens");
        ports.release(80, 1);
        assert_eq!(ports.listen(80, 2, ADDRESS), Ok(()));
    }

    #[test]
    fn the_best_fit_gets_it_and_equals_take_turns() {
        let sockets: Vec<_> = (0..4).map(Arc::new).collect();
        let mut ports = Ports::default();
        for (socket, ip) in sockets.iter().zip(["0.0.0.0", "0.0.0.0", "127.0.0.1", "::"]) {
            ports.claim(80, 0, holder(socket, ip, ip == "::", BOTH)).unwrap();
        }
        let mut find = |to: &str| {
            let to = to.parse().unwrap();
            ports.find(to, "127.0.0.1:1".parse().unwrap(), |_| true).map(|found| *found)
        };
        assert_eq!(find("127.0.0.1:80"), Some(2));
        assert_eq!(find("[::1]:80"), Some(3));
        assert_eq!(find("127.0.0.1:81"), None);
        let turns = [find("127.0.0.2:80"), find("127.0.0.2:80")];
        assert!(turns.contains(&Some(0)) && turns.contains(&Some(1)), "{turns:?}");
        ports.update(80, 0, |one| one.remote = Some("127.0.0.1:1".parse().unwrap()));
        let found =
            ports.find("127.0.0.1:80".parse().unwrap(), "127.0.0.1:1".parse().unwrap(), |_| true);
        assert_eq!(found.as_deref(), Some(&0), "who is connected to the sender");
    }

    #[test]
    fn a_chosen_port_is_free_and_in_range_until_none_is_left() {
        let socket = Arc::new(1);
        let mut ports = Ports::default();
        let count = CHOSEN.count();
        for start in 0..count {
            let port = ports.claim(0, start as u16, holder(&socket, "0.0.0.0", false, NONE));
            assert!(CHOSEN.contains(&port.unwrap()));
        }
        let more = ports.claim(0, 7, holder(&socket, "0.0.0.0", false, NONE));
        assert_eq!(more, Err(Errno::EADDRINUSE));
        ports.release(40000, 1);
        assert_eq!(ports.claim(0, 7, holder(&socket, "0.0.0.0", false, NONE)), Ok(40000));
    }
}
