//! The certificate table that a host hands its guest with an extended report.
//!
//! AMD document 56421, "SEV-ES Guest-Hypervisor Communication Block Standardization", table "Certificate
//! Data": entries of GUID (16 bytes), offset and length (4 bytes each, little-endian, from the start of the
//! table), up to an entry of zeros. The host makes it: nothing in it is trusted, it only saves a download.

use core::fmt;

/// Bytes of one entry.
const ENTRY: usize = 24;
/// Entries that are read: AMD has five kinds, hosts may add theirs.
const MAX_ENTRIES: usize = 32;

/// AMD's GUIDs, as they lie in memory (the first three groups little-endian).
const ARK: [u8; 16] = guid(0xc0b406a4, 0xa803, 0x4952, 0x97433fb6014cd0ae);
const ASK: [u8; 16] = guid(0x4ab7b379, 0xbbac, 0x4fe4, 0xa02f05aef327c782);
const VCEK: [u8; 16] = guid(0x63da758d, 0xe664, 0x4564, 0xadc5f4b93be8accd);
const VLEK: [u8; 16] = guid(0xa8074bc2, 0xa25a, 0x483e, 0xaae639c045a0b8a1);
const CRL: [u8; 16] = guid(0x92f81bc3, 0x5811, 0x4d3d, 0x97ffd19f88dc67ea);

/// What a table has, DER as the host put it there, unverified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CertificateTable<'a> {
    /// AMD's root key. Never trusted from here.
    pub ark: Option<&'a [u8]>,
    /// The key below it, ASK or ASVK.
    pub ask: Option<&'a [u8]>,
    /// The chip's endorsement key.
    pub vcek: Option<&'a [u8]>,
    /// The provider's endorsement key.
    pub vlek: Option<&'a [u8]>,
    /// A list of revoked certificates.
    pub crl: Option<&'a [u8]>,
}

/// Why bytes are not a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableError {
    /// No entry of zeros ends it, or there are more than 32 before it.
    Unterminated,
    /// An entry reaches beyond the end.
    OutOfBounds {
        /// Where it begins.
        offset: u32,
        /// How long it is.
        length: u32,
    },
    /// Two entries of one kind.
    Duplicate {
        /// Which.
        name: &'static str,
    },
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unterminated => {
                write!(f, "certificate table: expected at most {MAX_ENTRIES} entries, then zeros")
            }
            Self::OutOfBounds { offset, length } => {
                write!(f, "certificate table: {length} bytes at {offset} lie outside")
            }
            Self::Duplicate { name } => write!(f, "certificate table: two entries of {name}"),
        }
    }
}

impl core::error::Error for TableError {}

impl<'a> CertificateTable<'a> {
    /// Reads a table. No bytes at all, which is what a host without certificates gives, is an empty one.
    ///
    /// # Errors
    /// No end, an entry that lies outside, two of a kind.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, TableError> {
        let mut table = Self::default();
        if bytes.is_empty() {
            return Ok(table);
        }
        for entry in bytes.chunks_exact(ENTRY).take(MAX_ENTRIES + 1) {
            let (id, place) = entry.split_at(16);
            let (offset, length) = place.split_at(4);
            let [offset, length] = [offset, length]
                .map(|field| u32::from_le_bytes(field.try_into().expect("split at 4 of 8")));
            if entry.iter().all(|&byte| byte == 0) {
                return Ok(table);
            }
            let data = usize::try_from(offset)
                .ok()
                .zip(usize::try_from(length).ok())
                .and_then(|(start, length)| bytes.get(start..start.checked_add(length)?))
                .ok_or(TableError::OutOfBounds { offset, length })?;
            let (slot, name) = match <[u8; 16]>::try_from(id).expect("split at 16") {
                ARK => (&mut table.ark, "ARK"),
                ASK => (&mut table.ask, "ASK"),
                VCEK => (&mut table.vcek, "VCEK"),
                VLEK => (&mut table.vlek, "VLEK"),
                CRL => (&mut table.crl, "CRL"),
                _ => continue,
            };
            if slot.replace(data).is_some() {
                return Err(TableError::Duplicate { name });
            }
        }
        Err(TableError::Unterminated)
    }
}

/// A GUID in text form has its last eight bytes in order, and its first three numbers turned around.
const fn guid(first: u32, second: u16, third: u16, rest: u64) -> [u8; 16] {
    let [a, b, c, d] = first.to_le_bytes();
    let [e, f] = second.to_le_bytes();
    let [g, h] = third.to_le_bytes();
    let [i, j, k, l, m, n, o, p] = rest.to_be_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn entry(id: [u8; 16], offset: u32, length: u32) -> Vec<u8> {
        [&id[..], &offset.to_le_bytes(), &length.to_le_bytes()].concat()
    }

    #[test]
    fn entries_are_found_by_their_guid() {
        let mut bytes =
            [entry(VCEK, 96, 2), entry([9; 16], 0, 1), entry(ASK, 98, 1), [0; 24].to_vec()]
                .concat();
        bytes.extend([1, 2, 3]);
        let table = CertificateTable::parse(&bytes).unwrap();
        assert_eq!((table.vcek, table.ask), (Some(&[1, 2][..]), Some(&[3][..])));
        assert_eq!((table.ark, table.vlek, table.crl), (None, None, None));
        assert_eq!(CertificateTable::parse(&[]), Ok(CertificateTable::default()));
    }

    #[test]
    fn a_guid_lies_as_the_kernel_writes_it() {
        assert_eq!(VCEK[..8], [0x8d, 0x75, 0xda, 0x63, 0x64, 0xe6, 0x64, 0x45]);
        assert_eq!(VCEK[8..], [0xad, 0xc5, 0xf4, 0xb9, 0x3b, 0xe8, 0xac, 0xcd]);
    }

    #[test]
    fn what_lies_outside_is_refused() {
        for (offset, length) in [(48, 1), (0, 49), (u32::MAX, u32::MAX), (49, 0)] {
            let bytes = [entry(VCEK, offset, length), [0; 24].to_vec()].concat();
            assert_eq!(
                CertificateTable::parse(&bytes),
                Err(TableError::OutOfBounds { offset, length })
            );
        }
    }

    #[test]
    fn a_table_ends_and_has_one_of_each() {
        let twice = [entry(ARK, 0, 1), entry(ARK, 0, 1), [0; 24].to_vec()].concat();
        assert_eq!(CertificateTable::parse(&twice), Err(TableError::Duplicate { name: "ARK" }));
        assert_eq!(CertificateTable::parse(&entry(ARK, 0, 1)), Err(TableError::Unterminated));
        assert_eq!(CertificateTable::parse(&[0; 23]), Err(TableError::Unterminated));
        let endless = entry([9; 16], 0, 1).repeat(MAX_ENTRIES + 1);
        let ended = [endless, [0; 24].to_vec()].concat();
        assert_eq!(CertificateTable::parse(&ended), Err(TableError::Unterminated));
    }
}
