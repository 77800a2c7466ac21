//! PEM chains of certificates.

use alloc::vec::Vec;
use core::fmt;

/// The most certificates that a chain may hold: leaf, CA, root.
pub const MAX_CHAIN: usize = 3;

/// The longest PEM text that is read.
const MAX_PEM_BYTES: usize = 64 << 10;

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const END: &[u8] = b"-----END CERTIFICATE-----";

/// Text that is not a chain of certificates in PEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PemError {
    /// Longer than is read.
    TooLong {
        /// What came, in bytes.
        got: usize,
    },
    /// More certificates than [`MAX_CHAIN`].
    TooMany,
    /// No certificate at all.
    Empty,
    /// Something that is neither white space nor a certificate.
    Unexpected {
        /// Where, in bytes.
        offset: usize,
    },
    /// A certificate whose text is not base64 in lines of 64.
    Base64 {
        /// Where it begins, in bytes.
        offset: usize,
    },
    /// Another number of certificates than the one that was wanted.
    NotOne {
        /// How many.
        got: usize,
    },
}

impl fmt::Display for PemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { got } => {
                write!(f, "PEM: expected at most {MAX_PEM_BYTES} bytes, got {got}")
            }
            Self::TooMany => write!(f, "PEM: expected at most {MAX_CHAIN} certificates"),
            Self::Empty => f.write_str("PEM: no certificate"),
            Self::Unexpected { offset } => {
                write!(f, "PEM: expected a certificate at offset {offset}")
            }
            Self::Base64 { offset } => {
                write!(f, "PEM: the certificate at offset {offset} is not base64 in lines of 64")
            }
            Self::NotOne { got } => write!(f, "expected one certificate, got {got}"),
        }
    }
}

impl core::error::Error for PemError {}

/// Reads a chain, in order, each as DER. White space may stand between certificates and after them, and
/// zero bytes at the end, as quoting libraries leave them.
///
/// # Errors
///
/// [`PemError`].
pub fn chain(pem: &[u8]) -> Result<Vec<Vec<u8>>, PemError> {
    if pem.len() > MAX_PEM_BYTES {
        return Err(PemError::TooLong { got: pem.len() });
    }
    let zeros = pem.iter().rev().take_while(|&&byte| byte == 0).count();
    let pem = &pem[..pem.len() - zeros];
    let mut certificates = Vec::new();
    let mut offset = 0;
    loop {
        offset += pem[offset..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let rest = &pem[offset..];
        if rest.is_empty() {
            break;
        }
        if !rest.starts_with(BEGIN) {
            return Err(PemError::Unexpected { offset });
        }
        if certificates.len() == MAX_CHAIN {
            return Err(PemError::TooMany);
        }
        let broken = PemError::Base64 { offset };
        // No base64 has a dash: the first one begins the end.
        let body = rest[BEGIN.len()..].iter().position(|&byte| byte == b'-').ok_or(broken)?;
        let len = BEGIN.len() + body + END.len();
        let certificate = rest.get(..len).ok_or(broken)?;
        let (_, der) = pem_rfc7468::decode_vec(certificate).map_err(|_| broken)?;
        certificates.push(der);
        offset += len;
    }
    if certificates.is_empty() { Err(PemError::Empty) } else { Ok(certificates) }
}

/// The one certificate of a file, DER or PEM, as DER. What is not PEM is given back unlooked at.
///
/// # Errors
///
/// [`PemError`], for PEM.
pub fn one(bytes: Vec<u8>) -> Result<Vec<u8>, PemError> {
    if !bytes.starts_with(b"-----") {
        return Ok(bytes);
    }
    let [only] = <[Vec<u8>; 1]>::try_from(chain(&bytes)?)
        .map_err(|chain| PemError::NotOne { got: chain.len() })?;
    Ok(only)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n";

    #[test]
    fn certificates_are_read_in_order_with_what_libraries_leave_after_them() {
        let other = ONE.replace("AAEC", "AwQF");
        let text = alloc::format!("{ONE}\r\n  {other}\n\0\0");
        assert_eq!(
            chain(text.as_bytes()),
            Ok(alloc::vec![alloc::vec![0, 1, 2], alloc::vec![3, 4, 5]])
        );
    }

    #[test]
    fn one_certificate_is_der_or_pem_and_no_more_than_one() {
        assert_eq!(one(ONE.into()), Ok(alloc::vec![0, 1, 2]));
        // Whether it is a certificate is for the parser of certificates to say.
        assert_eq!(one(b"x".to_vec()), Ok(b"x".to_vec()));
        assert_eq!(one(ONE.repeat(2).into()), Err(PemError::NotOne { got: 2 }));
        assert_eq!(one(b"-----BEGIN".to_vec()), Err(PemError::Unexpected { offset: 0 }));
    }

    #[test]
    fn anything_else_is_refused() {
        for (text, error) in [
            (alloc::string::String::new(), PemError::Empty),
            ("\n\0".into(), PemError::Empty),
            (alloc::format!("x{ONE}"), PemError::Unexpected { offset: 0 }),
            (alloc::format!("{ONE}x"), PemError::Unexpected { offset: ONE.len() }),
            (alloc::format!("{ONE}\0{ONE}"), PemError::Unexpected { offset: ONE.len() }),
            (ONE.repeat(4), PemError::TooMany),
            (ONE.replace("AAEC", "AA-C"), PemError::Base64 { offset: 0 }),
            (ONE.replace("AAEC", "AAE"), PemError::Base64 { offset: 0 }),
            (ONE.replace("END", "FIN"), PemError::Base64 { offset: 0 }),
            (ONE[..40].into(), PemError::Base64 { offset: 0 }),
        ] {
            assert_eq!(chain(text.as_bytes()), Err(error), "{text}");
        }
        assert!(matches!(chain(&[b'-'; MAX_PEM_BYTES + 1]), Err(PemError::TooLong { .. })));
    }
}
