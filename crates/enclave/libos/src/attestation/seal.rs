//! Seal keys by name: what a key is for, as the key request says it to the CPU.

use crate::platform::{SealRequest, SealTo, Versions};
use sha2::{Digest as _, Sha256};
use workload::digest::Hex;

/// Most bytes of a volume id.
pub const MAX_VOLUME_ID: usize = 64;

/// Starts what KEYID is the digest of.
const DOMAIN: &[u8] = b"inclavare-seal-v1\0";

/// The request for a volume's key at the versions of what runs.
#[must_use]
pub fn volume(to: SealTo, volume_id: &[u8]) -> SealRequest {
    let key_id = Sha256::new().chain_update(DOMAIN).chain_update(volume_id).finalize();
    SealRequest { to, key_id: key_id.into(), versions: None }
}

/// The request that a file name stands for: `VOLUME`, or `VOLUME@ISVSVN.CPUSVN` for a key as it was at earlier
/// versions (CPUSVN is 32 hexadecimal digits). None where it is neither.
#[must_use]
pub fn named(to: SealTo, name: &[u8]) -> Option<SealRequest> {
    let name = core::str::from_utf8(name).ok()?;
    let (volume_id, versions) = match name.split_once('@') {
        None => (name, None),
        Some((volume_id, versions)) => (volume_id, Some(parse_versions(versions)?)),
    };
    let is_id = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_plain =
        volume_id.as_bytes().iter().all(is_id) && (1..=MAX_VOLUME_ID).contains(&volume_id.len());
    is_plain.then(|| SealRequest { versions, ..volume(to, volume_id.as_bytes()) })
}

fn parse_versions(text: &str) -> Option<Versions> {
    let (isvsvn, cpusvn) = text.split_once('.')?;
    let number: u16 = isvsvn.parse().ok()?;
    // One spelling each: no sign, no leading zero.
    let is_canonical = isvsvn == alloc::format!("{number}");
    is_canonical.then_some(Versions { isvsvn: number, cpusvn: Hex::<16>::from_hex(cpusvn)?.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_have_keys_of_their_own() {
        let request = |name: &str| named(SealTo::Enclave, name.as_bytes()).unwrap();
        assert_ne!(request("a").key_id, request("b").key_id);
        assert_eq!(request("a"), volume(SealTo::Enclave, b"a"));
        assert_ne!(request("a").key_id, volume(SealTo::Enclave, b"").key_id);
        assert_eq!(request("a").versions, None);
    }

    #[test]
    fn earlier_versions_can_be_named() {
        let name = b"data@7.000102030405060708090a0b0c0d0e0f";
        let request = named(SealTo::Workload, name).unwrap();
        assert_eq!(request.key_id, volume(SealTo::Workload, b"data").key_id);
        let cpusvn = core::array::from_fn(|at| at as u8);
        assert_eq!(request.versions, Some(Versions { isvsvn: 7, cpusvn }));
    }

    #[test]
    fn other_names_are_none() {
        let long = "a".repeat(65);
        for name in [
            "",
            "a b",
            "a\0",
            "\u{e4}",
            &long,
            "a@",
            "a@1",
            "a@01.000102030405060708090a0b0c0d0e0f",
            "a@+1.000102030405060708090a0b0c0d0e0f",
            "a@65536.000102030405060708090a0b0c0d0e0f",
            "a@1.00",
            "a@1.000102030405060708090A0B0C0D0E0F",
            "@1.000102030405060708090a0b0c0d0e0f",
        ] {
            assert_eq!(named(SealTo::Enclave, name.as_bytes()), None, "{name:?}");
        }
        assert_eq!(named(SealTo::Enclave, &[0xff]), None);
    }
}
