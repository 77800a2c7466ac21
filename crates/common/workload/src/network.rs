//! Network rules: which sockets of the host the programs of an enclave may have.
//!
//! Loopback is inside the enclave, always there, and never asks these rules. Whatever goes through a socket of
//! the host is plaintext to it, and who is at the other end is the host's word: the rules bound what a program
//! can be made to do, they protect nothing that it sends.

use crate::validate::{Invalid, ascending, invalid, quoted};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What programs may listen on and connect to beyond the enclave. Empty: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Destinations, ascending.
    pub connect: Vec<ConnectRule>,
    /// TCP ports that the host opens where a program listens on them, ascending.
    pub listen: Vec<u16>,
}

/// Destinations that a program may connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectRule {
    /// Which hosts.
    pub address: AddressRule,
    /// Which ports.
    pub port: PortRule,
    /// Over what.
    pub protocol: Protocol,
}

/// Which hosts. Its text is `any`, an address, or an address and the length of its prefix (`10.0.0.0/8`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddressRule {
    /// Every host beyond the enclave.
    Any,
    /// Those that share the first `prefix` bits of `base`, whose other bits are zero.
    Net {
        /// Lowest address.
        base: IpAddr,
        /// Bits that count, at most 32 or 128.
        prefix: u8,
    },
}

/// Which ports. Its text is `any` or a number above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PortRule {
    /// Every port.
    Any,
    /// This one.
    Port(u16),
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Network {
    /// Whether there are no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connect.is_empty() && self.listen.is_empty()
    }

    /// Whether the host may be asked to listen on a TCP port.
    #[must_use]
    pub fn admits_listen(&self, port: u16) -> bool {
        self.listen.binary_search(&port).is_ok()
    }

    /// Whether the host may be asked to connect. Never to loopback or the unspecified address, which mean the
    /// enclave itself.
    #[must_use]
    pub fn admits_connect(&self, protocol: Protocol, to: SocketAddr) -> bool {
        let address = to.ip().to_canonical();
        !address.is_loopback()
            && !address.is_unspecified()
            && (self.connect.iter())
                .filter(|rule| rule.protocol == protocol && rule.port.has(to.port()))
                .any(|rule| rule.address.has(address))
    }

    pub(crate) fn validate(&self) -> Result<(), Invalid> {
        for (index, rule) in self.connect.iter().enumerate() {
            let field = format!("network.connect[{index}]");
            if let AddressRule::Net { base, .. } = rule.address
                && base.is_loopback()
            {
                let expected = "an address beyond the enclave, whose loopback needs no rule";
                return Err(invalid(field + ".address", expected, base.to_string()));
            }
            if rule.protocol == Protocol::Udp {
                // Nothing would carry it out.
                return Err(invalid(field + ".protocol", "tcp (udp: not yet)", "udp"));
            }
        }
        ascending("network.connect", "rules", &self.connect, ToString::to_string)?;
        if self.listen.first() == Some(&0) {
            return Err(invalid("network.listen", "ports from 1 to 65535", "0"));
        }
        ascending("network.listen", "ports", &self.listen, u16::to_string)
    }
}

impl AddressRule {
    /// Whether `address` is one of them; an IPv4 address is not in its IPv6 spelling.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        match (*self, address) {
            (Self::Any, _) => true,
            (Self::Net { base: IpAddr::V4(base), prefix }, IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                address.to_bits() & mask == base.to_bits()
            }
            (Self::Net { base: IpAddr::V6(base), prefix }, IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                address.to_bits() & mask == base.to_bits()
            }
            _ => false,
        }
    }

    /// Bits of an address of that family.
    fn width(base: IpAddr) -> u8 {
        if base.is_ipv4() { 32 } else { 128 }
    }
}

impl PortRule {
    /// Whether `port` is one of them.
    #[must_use]
    pub fn has(&self, port: u16) -> bool {
        match self {
            Self::Any => true,
            Self::Port(one) => *one == port,
        }
    }
}

/// Text that is no rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRule {
    expected: &'static str,
    got: String,
}

impl fmt::Display for BadRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, got {}", self.expected, quoted(&self.got))
    }
}

impl core::error::Error for BadRule {}

fn bad(expected: &'static str, got: &str) -> BadRule {
    BadRule { expected, got: got.into() }
}

impl FromStr for AddressRule {
    type Err = BadRule;

    fn from_str(text: &str) -> Result<Self, BadRule> {
        if text == "any" {
            return Ok(Self::Any);
        }
        let expected = "any, an address, or an address and its prefix such as 10.0.0.0/8";
        let (base, prefix) = match text.split_once('/') {
            Some((base, prefix)) => (base, Some(prefix)),
            None => (text, None),
        };
        let base: IpAddr = base.parse().map_err(|_| bad(expected, text))?;
        if base.to_canonical() != base {
            return Err(bad("an IPv4 address in its own spelling", text));
        }
        let width = Self::width(base);
        let prefix = match prefix {
            None => width,
            Some(digits) => digits.parse().map_err(|_| bad(expected, text))?,
        };
        if prefix > width {
            return Err(bad("a prefix of at most 32 bits, or 128 for IPv6", text));
        }
        let rule = Self::Net { base, prefix };
        // The base of a prefix is its own lowest address, or the text would say more than is meant.
        if rule.has(base) { Ok(rule) } else { Err(bad("zero bits behind the prefix", text)) }
    }
}

impl fmt::Display for AddressRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Any => f.write_str("any"),
            Self::Net { base, prefix } if prefix == Self::width(base) => base.fmt(f),
            Self::Net { base, prefix } => write!(f, "{base}/{prefix}"),
        }
    }
}

impl FromStr for PortRule {
    type Err = BadRule;

    fn from_str(text: &str) -> Result<Self, BadRule> {
        match text.parse() {
            _ if text == "any" => Ok(Self::Any),
            Ok(port @ 1..) => Ok(Self::Port(port)),
            _ => Err(bad("any or a port from 1 to 65535", text)),
        }
    }
}

impl fmt::Display for PortRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Port(port) => port.fmt(f),
        }
    }
}

/// `ADDRESS:PORT`, an IPv6 address in brackets, `udp:` in front for UDP.
impl FromStr for ConnectRule {
    type Err = BadRule;

    fn from_str(text: &str) -> Result<Self, BadRule> {
        let expected =
            "address:port such as 10.0.0.5:5432, [2001:db8::/32]:443, any:443 or udp:10.0.0.53:53";
        let (protocol, rest) = match text.strip_prefix("udp:") {
            Some(rest) => (Protocol::Udp, rest),
            None => (Protocol::Tcp, text.strip_prefix("tcp:").unwrap_or(text)),
        };
        let (address, port) = rest.rsplit_once(':').ok_or_else(|| bad(expected, text))?;
        let bare = address.strip_prefix('[').and_then(|inside| inside.strip_suffix(']'));
        let address: AddressRule = bare.unwrap_or(address).parse()?;
        let is_v6 = matches!(address, AddressRule::Net { base: IpAddr::V6(_), .. });
        if is_v6 != bare.is_some() {
            return Err(bad(expected, text));
        }
        Ok(Self { address, port: port.parse()?, protocol })
    }
}

impl fmt::Display for ConnectRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.protocol == Protocol::Udp {
            f.write_str("udp:")?;
        }
        match self.address {
            AddressRule::Net { base: IpAddr::V6(_), .. } => write!(f, "[{}]", self.address)?,
            _ => self.address.fmt(f)?,
        }
        write!(f, ":{}", self.port)
    }
}

impl Serialize for AddressRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AddressRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for PortRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => serializer.serialize_str("any"),
            Self::Port(port) => serializer.serialize_u16(*port),
        }
    }
}

impl<'de> Deserialize<'de> for PortRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Port;
        impl de::Visitor<'_> for Port {
            type Value = PortRule;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"any\" or a port from 1 to 65535")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<PortRule, E> {
                let is_any = text == "any";
                is_any
                    .then_some(PortRule::Any)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
            fn visit_u64<E: de::Error>(self, port: u64) -> Result<PortRule, E> {
                match u16::try_from(port) {
                    Ok(port @ 1..) => Ok(PortRule::Port(port)),
                    _ => Err(E::invalid_value(de::Unexpected::Unsigned(port), &self)),
                }
            }
        }
        deserializer.deserialize_any(Port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn rule(text: &str) -> ConnectRule {
        text.parse().unwrap()
    }

    #[test]
    fn rules_have_one_spelling() {
        for text in [
            "any:443",
            "any:any",
            "10.0.0.5:5432",
            "10.0.0.0/8:any",
            "0.0.0.0/0:80",
            "[::/0]:80",
            "[2001:db8::1]:443",
            "[2001:db8::/32]:443",
            "udp:10.0.0.53:53",
        ] {
            assert_eq!(rule(text).to_string(), text);
            let json = serde_json::to_string(&rule(text)).unwrap();
            assert_eq!(serde_json::from_str::<ConnectRule>(&json).unwrap(), rule(text), "{json}");
        }
        assert_eq!(rule("10.0.0.5/32:1"), rule("10.0.0.5:1"));
        assert_eq!(rule("tcp:any:1"), rule("any:1"));
        assert_eq!(
            serde_json::to_string(&rule("10.0.0.0/8:any")).unwrap(),
            r#"{"address":"10.0.0.0/8","port":"any","protocol":"tcp"}"#
        );
    }

    #[test]
    fn what_is_no_rule_is_refused_with_what_was_expected() {
        for (text, words) in [
            ("", "address:port"),
            ("example.org:443", "an address"),
            ("10.0.0.5", "address:port"),
            ("10.0.0.5:0", "a port from 1 to 65535"),
            ("10.0.0.5:65536", "a port from 1 to 65535"),
            ("10.0.0.5:http", "a port from 1 to 65535"),
            ("10.0.0.5/8:80", "zero bits behind the prefix"),
            ("10.0.0.0/33:80", "at most 32 bits"),
            ("[10.0.0.5]:80", "address:port"),
            ("2001:db8::1:80", "address:port"),
            ("[2001:db8::/129]:80", "or 128 for IPv6"),
            ("[::ffff:10.0.0.5]:80", "its own spelling"),
            ("sctp:any:80", "an address"),
        ] {
            let error = text.parse::<ConnectRule>().unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn connections_are_admitted_by_address_port_and_protocol() {
        let network = Network {
            connect: vec![
                rule("10.1.0.0/16:any"),
                rule("192.0.2.7:80"),
                rule("[2001:db8::/32]:443"),
            ],
            listen: vec![80, 443],
        };
        assert_eq!(network.validate(), Ok(()));
        let admits = |to: &str| network.admits_connect(Protocol::Tcp, to.parse().unwrap());
        for to in
            ["10.1.255.255:1", "192.0.2.7:80", "[2001:db8:ffff::1]:443", "[::ffff:192.0.2.7]:80"]
        {
            assert!(admits(to), "{to}");
        }
        for to in
            ["10.2.0.0:1", "192.0.2.7:81", "192.0.2.8:80", "[2001:db9::1]:443", "127.0.0.1:80"]
        {
            assert!(!admits(to), "{to}");
        }
        assert!(!network.admits_connect(Protocol::Udp, "10.1.0.1:53".parse().unwrap()));
        assert!(network.admits_listen(80) && !network.admits_listen(81));
        assert!(!Network::default().admits_listen(0));
    }

    #[test]
    fn any_is_everywhere_but_here() {
        let network = Network { connect: vec![rule("any:any")], listen: vec![] };
        let admits = |to: &str| network.admits_connect(Protocol::Tcp, to.parse().unwrap());
        assert!(admits("198.51.100.1:9") && admits("[2001:db8::1]:9"));
        for to in
            ["127.0.0.1:9", "127.8.9.1:9", "[::1]:9", "[::ffff:127.0.0.1]:9", "0.0.0.0:9", "[::]:9"]
        {
            assert!(!admits(to), "{to}");
        }
    }

    #[test]
    fn rules_that_mean_nothing_or_are_out_of_order_are_refused() {
        let refused = |connect: &[&str], listen: &[u16]| {
            let connect = connect.iter().map(|text| rule(text)).collect();
            Network { connect, listen: listen.into() }.validate().unwrap_err().to_string()
        };
        for (got, want) in [
            (
                refused(&["any:1", "127.0.0.1:80"], &[]),
                "network.connect[1].address: expected an address beyond the enclave, whose loopback needs no \
                 rule, got 127.0.0.1",
            ),
            (
                refused(&["udp:10.0.0.53:53"], &[]),
                "network.connect[0].protocol: expected tcp (udp: not yet), got udp",
            ),
            (
                refused(&["10.0.0.5:80", "any:1"], &[]),
                "network.connect: expected ascending rules, got 10.0.0.5:80 before any:1",
            ),
            (
                refused(&["any:1", "any:1"], &[]),
                "network.connect: expected ascending rules, got any:1 before any:1",
            ),
            (refused(&[], &[0]), "network.listen: expected ports from 1 to 65535, got 0"),
            (refused(&[], &[80, 80]), "network.listen: expected ascending ports, got 80 before 80"),
        ] {
            assert_eq!(got, want);
        }
    }
}
