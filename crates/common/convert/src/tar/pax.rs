//! PAX extension records: `length key=value\n`.

use super::TarError;
use std::collections::BTreeMap;

/// Records of the `x` header before an entry, over those of the `g` headers so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Pax {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    /// GNU sparse format 0.0 gives its map by repeated keys.
    pub(super) sparse_pairs: Vec<u64>,
}

impl Pax {
    /// Adds the records of a header; an empty value takes a key away.
    pub(super) fn read(&mut self, mut records: &[u8]) -> Result<(), TarError> {
        while !records.is_empty() {
            let (key, value, rest) = record(records)
                .ok_or_else(|| TarError::field("pax record", "\"length key=value\\n\"", records))?;
            match key {
                b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                    self.sparse_pairs.push(decimal("GNU.sparse.offset", value)?);
                }
                _ if value.is_empty() => {
                    self.values.remove(key);
                }
                _ => {
                    self.values.insert(key.to_vec(), value.to_vec());
                }
            }
            records = rest;
        }
        Ok(())
    }

    pub(super) fn get(&self, key: &str) -> Option<&[u8]> {
        self.values.get(key.as_bytes()).map(Vec::as_slice)
    }

    /// A decimal value.
    pub(super) fn number(&self, key: &'static str) -> Result<Option<u64>, TarError> {
        self.get(key).map(|value| decimal(key, value)).transpose()
    }

    /// `mtime`: seconds before the point, rounded down.
    pub(super) fn mtime(&self) -> Result<Option<i64>, TarError> {
        let Some(value) = self.get("mtime") else { return Ok(None) };
        let wrong = || TarError::field("mtime", "seconds since 1970", value);
        let text = std::str::from_utf8(value).map_err(|_| wrong())?;
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let seconds: i64 = whole.parse().map_err(|_| wrong())?;
        let is_below = whole.starts_with('-') && fraction.bytes().any(|digit| digit != b'0');
        Ok(Some(if is_below { seconds.saturating_sub(1) } else { seconds }))
    }

    /// Extended attributes, as GNU tar, bsdtar, Docker and containerd write them.
    pub(super) fn xattrs(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let prefix = b"SCHILY.xattr.";
        let named = self.values.iter().filter_map(|(key, value)| {
            let name = key.strip_prefix(&prefix[..]).filter(|name| !name.is_empty())?;
            Some((name.to_vec(), value.clone()))
        });
        named.collect()
    }
}

/// The first record: key, value and what follows.
fn record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().take(20).position(|&byte| byte == b' ')?;
    let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
    let body = records.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|&byte| byte == b'=')?;
    let (key, value) = (&body[..equals], &body[equals + 1..]);
    (!key.is_empty()).then(|| (key, value, &records[length..]))
}

pub(super) fn decimal(field: &'static str, value: &[u8]) -> Result<u64, TarError> {
    let text = std::str::from_utf8(value).ok();
    text.filter(|text| text.bytes().all(|digit| digit.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| TarError::field(field, "a decimal number below 2^64", value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        let mut pax = Pax::default();
        pax.read(b"12 path=a/b\n22 SCHILY.xattr.u.x=1\n17 mtime=-1.0500\n").unwrap();
        assert_eq!(pax.get("path"), Some(&b"a/b"[..]));
        assert_eq!(pax.xattrs(), [(b"u.x".to_vec(), b"1".to_vec())].into());
        assert_eq!(pax.mtime().unwrap(), Some(-2));
        pax.read(b"8 path=\n").unwrap();
        assert_eq!(pax.get("path"), None);
        for bad in [
            &b"12 path=a/b"[..],
            b"13 path=a/b\n",
            b"0 a=b\n",
            b" a=b\n",
            b"6 =bb\n",
            b"6 abb\n",
            b"99999999999999999999999 a=b\n",
        ] {
            assert!(Pax::default().read(bad).is_err(), "{bad:?}");
        }
    }
}
