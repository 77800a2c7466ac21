//! The library OS's own claims: what a quote cannot say by MRENCLAVE alone.
//!
//! A CBOR map (RFC 8949, core deterministic encoding) from text to byte strings. It is the first item of every
//! claims buffer; what follows it is the program's own. So no program can leave the truth out.

use alloc::vec::Vec;

/// Version of the runtime, as the manifest names it.
pub const RUNTIME_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Bytes of an instance id.
pub const INSTANCE_ID_SIZE: usize = 16;

const MAP: u8 = 5 << 5;
const BYTES: u8 = 2 << 5;
const TEXT: u8 = 3 << 5;

/// Encodes the claims.
///
/// `config_digest` covers what was admitted where the manifest leaves freedom; `instance_id` is random and new
/// at each start.
#[must_use]
pub fn encode(config_digest: &[u8; 32], instance_id: &[u8; INSTANCE_ID_SIZE]) -> Vec<u8> {
    map(config_digest, instance_id, RUNTIME_VERSION.as_bytes())
}

fn map(config_digest: &[u8], instance_id: &[u8], runtime_version: &[u8]) -> Vec<u8> {
    // Ascending by encoded key, as deterministic encoding wants it: here, by length.
    let entries: [(&str, &[u8]); 3] = [
        ("instance-id", instance_id),
        ("config-digest", config_digest),
        ("runtime-version", runtime_version),
    ];
    let mut out = Vec::new();
    head(MAP, entries.len(), &mut out);
    for (name, value) in entries {
        head(TEXT, name.len(), &mut out);
        out.extend_from_slice(name.as_bytes());
        head(BYTES, value.len(), &mut out);
        out.extend_from_slice(value);
    }
    out
}

/// The head of an item whose count is below 256.
fn head(major: u8, count: usize, out: &mut Vec<u8>) {
    match count {
        0..24 => out.push(major | count as u8),
        _ => out.extend([major | 24, count as u8]),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The claims of another enclave.
    pub(crate) fn encode_of(config: &[u8], instance: &[u8], version: &[u8]) -> Vec<u8> {
        map(config, instance, version)
    }

    #[test]
    fn the_encoding_is_the_specified_one() {
        let mut expected = b"\xa3\x6binstance-id\x50".to_vec();
        expected.extend([2; 16]);
        expected.extend(b"\x6dconfig-digest\x58\x20");
        expected.extend([1; 32]);
        expected.extend(b"\x6fruntime-version");
        expected.push(0x40 | RUNTIME_VERSION.len() as u8);
        expected.extend(RUNTIME_VERSION.as_bytes());
        assert_eq!(encode(&[1; 32], &[2; 16]), expected);
    }
}
