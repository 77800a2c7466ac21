//! Where a container, or the relay before it, listens.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A place to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `tcp:HOST:PORT`.
    Tcp {
        /// A name or a number; IPv6 without brackets.
        host: String,
        /// 1 to 65535.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// What is no such place.
#[derive(Debug, PartialEq, Eq)]
pub enum AddressError {
    /// Neither `tcp:` nor `unix:` in front.
    Scheme {
        /// All of it.
        got: String,
    },
    /// `tcp:` without a host and a port from 1 to 65535 after it.
    Tcp {
        /// What comes after it.
        got: String,
    },
    /// `unix:` without a path after it.
    Unix,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme { got } => write!(f, "expected tcp:HOST:PORT or unix:PATH, got {got:?}"),
            Self::Tcp { got } => write!(f, "expected tcp:HOST:PORT, got {got:?} after tcp:"),
            Self::Unix => f.write_str("expected unix:PATH, got nothing after unix:"),
        }
    }
}

impl std::error::Error for AddressError {}

impl Address {
    /// Whether a word is meant as an address, right or wrong, and not as a file.
    #[must_use]
    pub fn is_meant(word: &str) -> bool {
        ["tcp:", "unix:", "vsock:"].iter().any(|scheme| word.starts_with(scheme))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        // Upstream writes two slashes; `unix:///run/x` is the path /run/x either way.
        if let Some(rest) = text.strip_prefix("unix:") {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            return if path.is_empty() {
                Err(AddressError::Unix)
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        let Some(rest) = text.strip_prefix("tcp:") else {
            return Err(AddressError::Scheme { got: text.into() });
        };
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let bad = || AddressError::Tcp { got: rest.into() };
        let (host, port) = rest.rsplit_once(':').ok_or_else(bad)?;
        let port: u16 = port.parse().ok().filter(|port| *port != 0).ok_or_else(bad)?;
        let is_bracketed = host.starts_with('[') && host.ends_with(']');
        let host = if is_bracketed { &host[1..host.len() - 1] } else { host };
        // A colon outside brackets: a piece of an IPv6 address would pass for the port. The rest: a URL is meant, or
        // a word too many.
        let is_odd = |it: char| it.is_whitespace() || it.is_control() || "/[]".contains(it);
        if host.is_empty() || (host.contains(':') && !is_bracketed) || host.contains(is_odd) {
            return Err(bad());
        }
        Ok(Self::Tcp { host: host.into(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp:[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp:{host}:{port}"),
            // Two slashes in front would be taken for upstream's.
            Self::Unix(path) if path.as_os_str().as_encoded_bytes().starts_with(b"//") => {
                write!(f, "unix://{}", path.display())
            }
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_spellings() {
        let tcp = |host: &str, port| Ok(Address::Tcp { host: host.into(), port });
        for (text, expected) in [
            ("tcp:host:8443", tcp("host", 8443)),
            ("tcp://10.0.0.1:1", tcp("10.0.0.1", 1)),
            ("tcp:[::1]:443", tcp("::1", 443)),
            ("unix:/run/a.sock", Ok(Address::Unix("/run/a.sock".into()))),
            ("unix:///run/a.sock", Ok(Address::Unix("/run/a.sock".into()))),
            ("unix:a.sock", Ok(Address::Unix("a.sock".into()))),
            ("unix:", Err(AddressError::Unix)),
            ("host:8443", Err(AddressError::Scheme { got: "host:8443".into() })),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
        for bad in ["tcp:", "tcp:host", "tcp::1", "tcp:::1:443", "tcp:host:0", "tcp:host:65536"] {
            assert!(matches!(bad.parse::<Address>(), Err(AddressError::Tcp { .. })), "{bad}");
        }
    }

    #[test]
    fn an_address_prints_as_it_is_read() {
        for text in ["tcp:host:8443", "tcp:[::1]:443", "unix:/run/a.sock", "unix:////run/a.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_host_with_slashes_or_blanks_is_not_looked_up() {
        for bad in ["tcp:///host:1", "tcp:host/path:1", "tcp:a b:1", "tcp:a\n:1", "tcp:[[::1]]:1"] {
            assert!(matches!(bad.parse::<Address>(), Err(AddressError::Tcp { .. })), "{bad}");
        }
    }
}
