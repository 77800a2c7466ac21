//! Claims buffers: what evidence says besides the hardware's own words.
//!
//! Section 5 of `docs/spec/bound-v1.md`. There is one spelling of every claims buffer; any other is refused, so
//! that no two readers take the same bytes for different claims.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

/// Longest claims buffer, in bytes.
pub const MAX_SIZE: usize = 4096;
/// Most claims, of platform and program together.
pub const MAX_CLAIMS: usize = 64;

/// Longest runtime version that the bound device writes, in bytes.
const MAX_RUNTIME_VERSION: usize = 32;

const INSTANCE_ID: &str = "instance-id";
const CONFIG_DIGEST: &str = "config-digest";
const RUNTIME_VERSION: &str = "runtime-version";

/// Names of the platform's claims, which no program's claim may have.
pub const PLATFORM: [&str; 3] = [INSTANCE_ID, CONFIG_DIGEST, RUNTIME_VERSION];

/// A program's own claims.
pub type Custom = BTreeMap<String, Vec<u8>>;

/// What a claims buffer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// New at each start of the workload.
    pub instance_id: [u8; 16],
    /// Digest of what was admitted where the manifest leaves freedom.
    pub config_digest: [u8; 32],
    /// Version of the enclave runtime.
    pub runtime_version: String,
    /// The program's own.
    pub custom: Custom,
}

impl Claims {
    /// The claims buffer. Inside an enclave the bound device writes the first map itself; this is for attesters
    /// without one.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let platform = [
            (INSTANCE_ID, &self.instance_id[..]),
            (CONFIG_DIGEST, &self.config_digest),
            (RUNTIME_VERSION, self.runtime_version.as_bytes()),
        ];
        let mut out = encode_map(platform.into_iter());
        out.extend(encode_custom(&self.custom));
        out
    }

    /// Reads a claims buffer.
    ///
    /// # Errors
    /// It is too long, not in the one encoding, lacks a claim of the platform, or shadows one.
    pub fn decode(buffer: &[u8]) -> Result<Self, ClaimsFault> {
        if buffer.len() > MAX_SIZE {
            return Err(ClaimsFault::TooLong(buffer.len()));
        }
        let mut decoder = Decoder::new(buffer);
        let mut platform = map(&mut decoder)?;
        let custom =
            if decoder.position() < buffer.len() { map(&mut decoder)? } else { Custom::new() };
        if let Some(at) = (decoder.position() < buffer.len()).then(|| decoder.position()) {
            return Err(ClaimsFault::Encoding { at, expected: "the end" });
        }
        refuse_shadows(&custom)?;
        let mut fixed = |name| platform.remove(name).ok_or(ClaimsFault::Missing(name));
        let instance_id = sized(INSTANCE_ID, fixed(INSTANCE_ID)?)?;
        let config_digest = sized(CONFIG_DIGEST, fixed(CONFIG_DIGEST)?)?;
        let runtime_version = String::from_utf8(fixed(RUNTIME_VERSION)?)
            .map_err(|_| ClaimsFault::Value { name: RUNTIME_VERSION, expected: "UTF-8" })?;
        if let Some(name) = platform.into_keys().next() {
            return Err(ClaimsFault::Unknown(name));
        }
        let claims = Self { instance_id, config_digest, runtime_version, custom };
        claims.check_count()?;
        // Order, duplicates, lengths of lengths: whatever is not what we would write.
        let canonical = claims.encode();
        if canonical == buffer {
            Ok(claims)
        } else {
            let at = canonical.iter().zip(buffer).take_while(|(a, b)| a == b).count();
            Err(ClaimsFault::Encoding { at, expected: "deterministic encoding" })
        }
    }

    /// Whether a peer would read a program's own claims, beside the longest of the platform's.
    ///
    /// # Errors
    /// They are too many or too long, or one has the name of a claim of the platform's.
    pub fn check_custom(custom: &Custom) -> Result<(), ClaimsFault> {
        refuse_shadows(custom)?;
        let claims = Self {
            instance_id: [0; 16],
            config_digest: [0; 32],
            runtime_version: " ".repeat(MAX_RUNTIME_VERSION),
            custom: custom.clone(),
        };
        claims.check_count()?;
        let length = claims.encode().len();
        if length > MAX_SIZE { Err(ClaimsFault::TooLong(length)) } else { Ok(()) }
    }

    fn check_count(&self) -> Result<(), ClaimsFault> {
        let count = PLATFORM.len() + self.custom.len();
        if count > MAX_CLAIMS { Err(ClaimsFault::TooMany(count)) } else { Ok(()) }
    }
}

fn refuse_shadows(custom: &Custom) -> Result<(), ClaimsFault> {
    match PLATFORM.into_iter().find(|name| custom.contains_key(*name)) {
        Some(name) => Err(ClaimsFault::Shadows(name)),
        None => Ok(()),
    }
}

/// A program's own claims as they follow the platform's; nothing if there are none.
#[must_use]
pub fn encode_custom(custom: &Custom) -> Vec<u8> {
    if custom.is_empty() {
        return Vec::new();
    }
    encode_map(custom.iter().map(|(name, value)| (name.as_str(), value.as_slice())))
}

fn encode_map<'a>(entries: impl Iterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut entries: Vec<_> = entries.collect();
    // Bytewise by encoded key: a longer key has a larger head.
    entries.sort_by_key(|(name, _)| (name.len(), *name));
    let mut encoder = Encoder::new(Vec::new());
    let written = (|| {
        encoder.map(entries.len() as u64)?;
        for (name, value) in entries {
            encoder.str(name)?.bytes(value)?;
        }
        Ok::<_, minicbor::encode::Error<core::convert::Infallible>>(())
    })();
    written.expect("a vector takes every byte");
    encoder.into_writer()
}

fn map(decoder: &mut Decoder<'_>) -> Result<Custom, ClaimsFault> {
    let bad = |expected| move |at: usize| ClaimsFault::Encoding { at, expected };
    let at = decoder.position();
    let count = decoder.map().ok().flatten().ok_or_else(|| bad("a map of definite length")(at))?;
    if count > MAX_CLAIMS as u64 {
        return Err(ClaimsFault::TooMany(usize::try_from(count).unwrap_or(usize::MAX)));
    }
    let mut entries = Custom::new();
    for _ in 0..count {
        let at = decoder.position();
        let name = decoder.str().map_err(|_| bad("text of definite length")(at))?;
        let at = decoder.position();
        let value = match decoder.datatype() {
            Ok(Type::Bytes) => decoder.bytes().map_err(|_| bad("a byte string")(at))?,
            _ => return Err(bad("a byte string of definite length")(at)),
        };
        if entries.insert(name.into(), value.to_vec()).is_some() {
            return Err(ClaimsFault::Duplicate(name.into()));
        }
    }
    Ok(entries)
}

fn sized<const N: usize>(name: &'static str, value: Vec<u8>) -> Result<[u8; N], ClaimsFault> {
    value.try_into().map_err(|_| ClaimsFault::Value { name, expected: "its fixed length" })
}

/// A claims buffer that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimsFault {
    /// Longer than [`MAX_SIZE`].
    TooLong(usize),
    /// More than [`MAX_CLAIMS`].
    TooMany(usize),
    /// Not the bytes that the specification wants.
    Encoding {
        /// Offset.
        at: usize,
        /// What was expected there.
        expected: &'static str,
    },
    /// A key stands twice.
    Duplicate(String),
    /// A claim of the platform is not there.
    Missing(&'static str),
    /// The platform's map has a claim that this version does not know.
    Unknown(String),
    /// A claim of the platform has another form.
    Value {
        /// Which.
        name: &'static str,
        /// What was expected.
        expected: &'static str,
    },
    /// A program's claim has the name of one that the platform vouches for.
    Shadows(&'static str),
}

impl fmt::Display for ClaimsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(got) => write!(f, "claims: expected at most {MAX_SIZE} bytes, got {got}"),
            Self::TooMany(got) => write!(f, "claims: expected at most {MAX_CLAIMS}, got {got}"),
            Self::Encoding { at, expected } => {
                write!(f, "claims: expected {expected} at byte {at}, got something else")
            }
            Self::Duplicate(name) => {
                write!(f, "claims: expected each key once, got {name:?} twice")
            }
            Self::Missing(name) => write!(f, "claims: expected {name}, got none"),
            Self::Unknown(name) => {
                write!(f, "claims: expected no other platform claim, got {name:?}")
            }
            Self::Value { name, expected } => {
                write!(f, "claims: {name}: expected {expected}, got something else")
            }
            Self::Shadows(name) => {
                write!(f, "claims: expected no claim of the program's named {name}, got one")
            }
        }
    }
}

impl core::error::Error for ClaimsFault {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    fn claims() -> Claims {
        Claims {
            instance_id: [2; 16],
            config_digest: [1; 32],
            runtime_version: "0.1.0".into(),
            custom: [("b".to_string(), vec![1]), ("aa".to_string(), vec![])].into(),
        }
    }

    #[test]
    fn claims_round_trip() {
        for claims in [claims(), Claims { custom: Custom::new(), ..claims() }] {
            assert_eq!(Claims::decode(&claims.encode()), Ok(claims));
        }
    }

    #[test]
    fn a_programs_claims_are_checked_before_they_are_sent() {
        let custom = |name: &str, length| Custom::from([(name.to_string(), vec![0; length])]);
        assert_eq!(Claims::check_custom(&custom("a", 3000)), Ok(()));
        let long = Claims::check_custom(&custom("a", 4000));
        assert!(matches!(long, Err(ClaimsFault::TooLong(_))), "{long:?}");
        let shadow = Claims::check_custom(&custom("config-digest", 32));
        assert_eq!(shadow, Err(ClaimsFault::Shadows("config-digest")));
        let many = (0..62).map(|index| (index.to_string(), vec![])).collect();
        assert_eq!(Claims::check_custom(&many), Err(ClaimsFault::TooMany(65)));
    }

    #[test]
    fn another_spelling_is_refused() {
        let good = claims().encode();
        for cut in 0..good.len() {
            let whole_first_map = Claims { custom: Custom::new(), ..claims() }.encode().len();
            assert!(
                Claims::decode(&good[..cut]).is_err() || cut == whole_first_map,
                "cut at {cut}"
            );
        }
        let refused = |bytes: &[u8]| Claims::decode(bytes).unwrap_err().to_string();
        let mut trailing = good.clone();
        trailing.push(0xa0);
        assert_eq!(
            refused(&trailing),
            format!("claims: expected the end at byte {}, got something else", good.len())
        );
        // An empty second map is no spelling of "no claims of its own".
        let mut empty = Claims { custom: Custom::new(), ..claims() }.encode();
        empty.push(0xa0);
        assert!(refused(&empty).contains("deterministic encoding"), "{}", refused(&empty));
        let mut indefinite = good.clone();
        indefinite[0] = 0xbf;
        assert!(refused(&indefinite).contains("definite length"));
    }

    #[test]
    fn keys_twice_or_shadowing_are_refused() {
        let platform = Claims { custom: Custom::new(), ..claims() }.encode();
        let with = |second: &[u8]| {
            let bytes = [&platform[..], second].concat();
            Claims::decode(&bytes).unwrap_err()
        };
        assert_eq!(with(b"\xa2\x61b\x41\x01\x61b\x41\x01"), ClaimsFault::Duplicate("b".into()));
        assert!(matches!(with(b"\xa2\x62aa\x40\x61b\x41\x01"), ClaimsFault::Encoding { .. }));
        assert!(matches!(with(b"\xa1\x61b\x58\x01\x01"), ClaimsFault::Encoding { .. }));
        assert!(matches!(with(b"\xa1\x61b\x01"), ClaimsFault::Encoding { .. }));
        let shadow = [&b"\xa1\x6binstance-id\x50"[..], &[0; 16]].concat();
        assert_eq!(with(&shadow), ClaimsFault::Shadows(INSTANCE_ID));
        assert_eq!(with(b"\xb9\xff\xff"), ClaimsFault::TooMany(0xffff));
        assert_eq!(Claims::decode(&vec![0; 4097]), Err(ClaimsFault::TooLong(4097)));
        assert_eq!(Claims::decode(b"\xa0"), Err(ClaimsFault::Missing(INSTANCE_ID)));
    }
}
