//! How many connections there may be, in all and from one source.

use crate::refusal::Refusal;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who is counted as one: an IPv4 address, or an IPv6 network of 64 bits, which is what one machine is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(IpAddr);

impl From<SocketAddr> for Source {
    fn from(address: SocketAddr) -> Self {
        match address.ip().to_canonical() {
            IpAddr::V4(address) => Self(address.into()),
            IpAddr::V6(address) => {
                let network = u128::from(address) >> 64 << 64;
                Self(Ipv6Addr::from(network).into())
            }
        }
    }
}

/// Counts connections. Those without a source, from Unix sockets and vsock, count in all only.
#[derive(Debug)]
pub struct Limits {
    all: usize,
    each: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    /// Only sources that have connections.
    each: HashMap<Source, usize>,
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub struct Place {
    limits: Arc<Limits>,
    source: Option<Source>,
}

impl Limits {
    /// At most `all`, and `each` from one source.
    #[must_use]
    pub fn new(all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { all, each, open: Mutex::default() })
    }

    /// Counts a connection.
    ///
    /// # Errors
    /// There are as many as there may be.
    pub fn enter(self: &Arc<Self>, source: Option<Source>) -> Result<Place, Refusal> {
        let mut open = self.open();
        if open.all >= self.all {
            return Err(Refusal::limit("connections", self.all));
        }
        if let Some(source) = source {
            let count = open.each.entry(source).or_default();
            if *count >= self.each {
                return Err(Refusal::limit("connections of one source", self.each));
            }
            *count += 1;
        }
        open.all += 1;
        Ok(Place { limits: self.clone(), source })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.limits.open();
        open.all -= 1;
        let Some(source) = self.source else { return };
        if let Some(count) = open.each.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                open.each.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: &str) -> Option<Source> {
        Some(Source::from(address.parse::<SocketAddr>().unwrap()))
    }

    #[test]
    fn places_are_given_back() {
        let limits = Limits::new(3, 2);
        let (a, b) = (source("10.0.0.1:1"), source("10.0.0.2:1"));
        let first = limits.enter(a).unwrap();
        let _second = limits.enter(a).unwrap();
        assert_eq!(limits.enter(a).unwrap_err().field, "connections of one source");
        let _third = limits.enter(b).unwrap();
        assert_eq!(
            limits.enter(None).unwrap_err().to_string(),
            "connections: expected at most 3, got 4"
        );
        drop(first);
        let last = limits.enter(a).unwrap();
        drop((_second, _third, last));
        let open = limits.open();
        assert_eq!((open.all, open.each.len()), (0, 0));
    }

    #[test]
    fn one_machine_is_one_source() {
        assert_eq!(source("[2001:db8::1]:1"), source("[2001:db8::ffff:2]:9"));
        assert_ne!(source("[2001:db8:0:1::1]:1"), source("[2001:db8::1]:1"));
        assert_eq!(source("[::ffff:10.0.0.1]:1"), source("10.0.0.1:2"));
        assert_ne!(source("10.0.0.1:1"), source("10.0.0.2:1"));
    }
}
