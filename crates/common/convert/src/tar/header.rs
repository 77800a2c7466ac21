//! The 512-byte header (POSIX.1-1988 ustar and GNU's variant).

use super::{BLOCK, TarError};

/// A header whose checksum is right.
#[derive(Clone)]
pub(super) struct Header(pub(super) [u8; BLOCK]);

impl Header {
    /// Checks the checksum. `block` is not all zeros.
    pub(super) fn check(block: [u8; BLOCK]) -> Result<Self, TarError> {
        let sums = |byte: &dyn Fn(u8) -> i64| -> i64 {
            let outside = block[..148].iter().chain(&block[156..]);
            outside.map(|&value| byte(value)).sum::<i64>() + 8 * i64::from(b' ')
        };
        let unsigned = sums(&i64::from);
        // Some old programs summed signed characters.
        let signed = sums(&|value| i64::from(value.cast_signed()));
        let got = number("checksum", &block[148..156])?;
        if i64::try_from(got) != Ok(unsigned) && i64::try_from(got) != Ok(signed) {
            return Err(TarError::Checksum { expected: unsigned.cast_unsigned(), got });
        }
        Ok(Self(block))
    }

    pub(super) fn type_flag(&self) -> u8 {
        self.0[156]
    }

    /// The name, with the ustar prefix where there is one.
    pub(super) fn name(&self) -> Vec<u8> {
        let name = text(&self.0[..100]);
        let prefix = text(&self.0[345..500]);
        if !self.is_ustar() || prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    pub(super) fn link_name(&self) -> Vec<u8> {
        text(&self.0[157..257]).to_vec()
    }

    pub(super) fn mode(&self) -> Result<u64, TarError> {
        number("mode", &self.0[100..108])
    }

    pub(super) fn uid(&self) -> Result<u64, TarError> {
        number("uid", &self.0[108..116])
    }

    pub(super) fn gid(&self) -> Result<u64, TarError> {
        number("gid", &self.0[116..124])
    }

    pub(super) fn size(&self) -> Result<u64, TarError> {
        number("size", &self.0[124..136])
    }

    pub(super) fn mtime(&self) -> Result<i64, TarError> {
        signed("mtime", &self.0[136..148])
    }

    pub(super) fn device(&self) -> Result<(u64, u64), TarError> {
        Ok((number("devmajor", &self.0[329..337])?, number("devminor", &self.0[337..345])?))
    }

    /// POSIX ustar, and not GNU's variant, which uses the prefix for other things.
    fn is_ustar(&self) -> bool {
        self.0[257..263] == *b"ustar\0"
    }
}

/// Bytes up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|&byte| byte == 0);
    &field[..end.unwrap_or(field.len())]
}

/// An octal number, or a base-256 one (first bit set).
pub(super) fn number(name: &'static str, field: &[u8]) -> Result<u64, TarError> {
    u64::try_from(signed(name, field)?)
        .map_err(|_| TarError::field(name, "a number that is not negative", field))
}

fn signed(name: &'static str, field: &[u8]) -> Result<i64, TarError> {
    let wrong = || TarError::field(name, "an octal number below 2^63", field);
    if let Some((&first, rest)) = field.split_first()
        && first & 0x80 != 0
    {
        // Two's complement; the first byte's top bit only marks the form.
        let start = i64::from((first << 1).cast_signed() >> 1);
        return rest.iter().try_fold(start, |value, &byte| {
            let shifted = value.checked_mul(256).ok_or_else(wrong)?;
            Ok(shifted | i64::from(byte))
        });
    }
    let digits = text(field).trim_ascii();
    if digits.is_empty() {
        return Ok(0);
    }
    digits.iter().try_fold(0i64, |value, &digit| match digit {
        b'0'..=b'7' => {
            let shifted = value.checked_mul(8).ok_or_else(wrong)?;
            Ok(shifted + i64::from(digit - b'0'))
        }
        _ => Err(wrong()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_both_forms() {
        assert_eq!(number("f", b"0000644\0").unwrap(), 0o644);
        assert_eq!(number("f", b"  12 \0\0\0").unwrap(), 0o12);
        assert_eq!(number("f", b"\0\0\0\0\0\0\0\0").unwrap(), 0);
        assert_eq!(number("f", b"\x80\0\0\0\0\0\x01\x02").unwrap(), 258);
        assert_eq!(number("f", b"777777777777").unwrap(), (1 << 36) - 1);
        assert_eq!(signed("f", b"\xff\xff\xff\xff\xff\xff\xff\xfe").unwrap(), -2);
        for bad in [&b"8"[..], b"12x", b"-1", b"\xff\xff\xff\xff\xff\xff\xff\xff"] {
            assert!(number("f", bad).is_err(), "{bad:?}");
        }
        assert!(number("f", b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").is_err());
    }
}
