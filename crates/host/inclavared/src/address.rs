//! Where to listen, and where a container's attester listens.

use core::fmt;
use core::str::FromStr;
use socket2::SockAddr;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A stream socket's address. Host names are not taken: resolving one would make routing depend on DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `tcp:IP:PORT`, or `IP:PORT`.
    Tcp(SocketAddr),
    /// `unix:PATH`, or a path with a slash in it.
    Unix(PathBuf),
    /// `vsock:CID:PORT`.
    Vsock {
        /// The machine; 2 is the host.
        cid: u32,
        /// Its port.
        port: u32,
    },
}

/// Text that is no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError {
    got: String,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let got = &self.got;
        write!(f, "address: expected IP:PORT, unix:PATH or vsock:CID:PORT, got {got:?}")
    }
}

impl core::error::Error for AddressError {}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        parse(text).ok_or_else(|| AddressError { got: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<Address> {
    if let Some(path) = text.strip_prefix("unix:") {
        return (!path.is_empty()).then(|| Address::Unix(path.into()));
    }
    if let Some(rest) = text.strip_prefix("vsock:") {
        let (cid, port) = rest.split_once(':')?;
        return Some(Address::Vsock { cid: cid.parse().ok()?, port: port.parse().ok()? });
    }
    if let Ok(address) = text.strip_prefix("tcp:").unwrap_or(text).parse() {
        return Some(Address::Tcp(address));
    }
    // A slash tells a path from a misspelt IP:PORT.
    text.contains('/').then(|| Address::Unix(text.into()))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp:{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Vsock { cid, port } => write!(f, "vsock:{cid}:{port}"),
        }
    }
}

impl Address {
    /// As the kernel takes it.
    ///
    /// # Errors
    /// The path is longer than `sun_path`, 108 bytes.
    pub fn to_socket(&self) -> io::Result<SockAddr> {
        match self {
            Self::Tcp(address) => Ok((*address).into()),
            Self::Unix(path) => SockAddr::unix(path),
            Self::Vsock { cid, port } => Ok(SockAddr::vsock(*cid, *port)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_read_again() {
        for text in ["tcp:127.0.0.1:8443", "tcp:[::1]:1", "unix:/run/a.sock", "vsock:3:8443"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("0.0.0.0:1".parse::<Address>().unwrap().to_string(), "tcp:0.0.0.0:1");
        assert_eq!("/run/a".parse::<Address>().unwrap(), Address::Unix("/run/a".into()));
    }

    #[test]
    fn what_is_no_address_is_not_taken_for_a_path() {
        for text in ["", "127.0.0.1", "localhost:8443", "unix:", "vsock:3", "vsock:x:1", "tcp:1"] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.starts_with("address: expected IP:PORT"), "{error}");
        }
    }

    /// It was shown as the insides of an iterator over its characters.
    #[test]
    fn an_address_that_is_none_is_shown_as_it_came() {
        assert_eq!(
            "localhost:1\u{1b}".parse::<Address>().unwrap_err().to_string(),
            "address: expected IP:PORT, unix:PATH or vsock:CID:PORT, got \"localhost:1\\u{1b}\""
        );
    }

    #[test]
    fn a_path_that_the_kernel_cannot_take_is_an_error() {
        assert!(Address::Unix("x".repeat(200).into()).to_socket().is_err());
    }
}
