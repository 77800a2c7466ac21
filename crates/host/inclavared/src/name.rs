//! Names of containers, as SNI carries them.

use core::fmt;
use core::str::FromStr;

/// Longest name, in bytes.
pub const MAX_NAME: usize = 253;

/// Longest label between dots, in bytes.
const MAX_LABEL: usize = 63;

/// A container's name: labels of letters, digits, `-` and `_`, joined by dots, as TLS clients can put into SNI.
/// Case does not matter there, so it is kept in lower case. It cannot be a path, nor be read as an IP address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

/// Text that is no name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameError {
    got: String,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let got = self.got.escape_debug();
        write!(f, "container name: expected labels of letters, digits, - and _, got \"{got:.80}\"")
    }
}

impl core::error::Error for NameError {}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let is_sound = text.len() <= MAX_NAME
            && text.split('.').all(is_label)
            && !text.rsplit('.').next().is_some_and(is_number);
        if is_sound {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        Err(NameError { got: text.to_owned() })
    }
}

fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// A name that ends so is an IPv4 address to a TLS client.
fn is_number(label: &str) -> bool {
    label.bytes().all(|byte| byte.is_ascii_digit())
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_tls_clients_can_ask_for() {
        let names = ["web", "Web-1.example", "a_b", "0x1.a1", &"a".repeat(63), "1.a"];
        for text in names {
            let name = text.parse::<Name>().unwrap();
            assert_eq!(name.to_string(), text.to_ascii_lowercase());
            // rustls agrees.
            assert!(rustls::pki_types::DnsName::try_from(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn no_name_is_a_path_or_an_address() {
        let long = "a.".repeat(127) + "a";
        let names = ["", ".", "..", "a/b", "a..b", ".a", "a.", "-a", "a-", "a b", "a\0", "ä"];
        let more = ["127.0.0.1", "1", &"a".repeat(64), &long[..], "::1"];
        for text in names.iter().chain(&more) {
            let error = text.parse::<Name>().unwrap_err().to_string();
            assert!(error.starts_with("container name: expected"), "{error}");
        }
    }

    #[test]
    fn case_does_not_matter() {
        assert_eq!("WEB".parse::<Name>(), "web".parse::<Name>());
    }
}
