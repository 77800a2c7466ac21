//! A SIGSTRUCT from signing material, public key and detached signature ("catsig").

use super::rsa3072::Number;
use super::verify::check_message;
use super::{EXPONENT, RSA_SIZE, Sigstruct, SigstructError};
use crate::hash::Sha256;

/// A signer's public key: 3072 bits, exponent 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// Little-endian.
    modulus: [u8; RSA_SIZE],
}

impl PublicKey {
    /// From a modulus, most significant byte first with or without leading zeros, and the exponent.
    ///
    /// # Errors
    /// A modulus that is not of 3072 bits; an exponent other than 3.
    pub fn new(modulus: &[u8], exponent: u64) -> Result<Self, SigstructError> {
        if exponent != u64::from(EXPONENT) {
            let expected = EXPONENT.into();
            return Err(SigstructError::Number { field: "EXPONENT", expected, got: exponent });
        }
        let zeros = modulus.iter().take_while(|&&byte| byte == 0).count();
        let modulus = &modulus[zeros..];
        let bits = modulus.first().map_or(0, |top| {
            u32::try_from(modulus.len()).map_or(u32::MAX, |bytes| bytes.saturating_mul(8))
                - top.leading_zeros()
        });
        let mut modulus: [u8; RSA_SIZE] = match modulus.try_into() {
            Ok(modulus) if bits == 3072 => modulus,
            _ => return Err(SigstructError::KeyBits { got: bits }),
        };
        modulus.reverse();
        Ok(Self { modulus })
    }

    /// The modulus as SIGSTRUCT holds it, little-endian.
    #[must_use]
    pub fn modulus(&self) -> &[u8; RSA_SIZE] {
        &self.modulus
    }

    /// MRSIGNER of what this key signs.
    #[must_use]
    pub fn mrsigner<H: Sha256>(&self) -> [u8; 32] {
        H::digest(&self.modulus)
    }
}

/// Puts a signature made elsewhere into `unsigned`, with the quotients that EINIT needs. `signature` is most
/// significant byte first, as every tool writes it; fields of `unsigned` that are not signed are replaced.
///
/// # Errors
/// The signature is not of these bytes by this key: nothing is made that EINIT would refuse.
pub fn assemble<H: Sha256>(
    unsigned: &Sigstruct,
    key: &PublicKey,
    signature: &[u8; RSA_SIZE],
) -> Result<Sigstruct, SigstructError> {
    let mut signature = *signature;
    signature.reverse();
    let (n, s) = (Number::from_le_bytes(&key.modulus), Number::from_le_bytes(&signature));
    if s >= n {
        return Err(SigstructError::SignatureRange);
    }
    // Both products are below modulus², so the quotients fit.
    let (q1, square) = s.multiply(&s).divide(&n).ok_or(SigstructError::SignatureRange)?;
    let (q2, message) = s.multiply(&square).divide(&n).ok_or(SigstructError::SignatureRange)?;
    check_message(&message, H::digest(&unsigned.signed_bytes()))?;
    let signed = Sigstruct {
        modulus: key.modulus,
        exponent: EXPONENT,
        signature,
        q1: q1.to_le_bytes(),
        q2: q2.to_le_bytes(),
        ..*unsigned
    };
    signed.verify::<H>()?;
    Ok(signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_3072_bits_and_exponent_3_make_a_key() {
        let mut modulus = [0x80; RSA_SIZE];
        assert!(PublicKey::new(&modulus, 3).is_ok());
        let refusal = SigstructError::Number { field: "EXPONENT", expected: 3, got: 65537 };
        assert_eq!(PublicKey::new(&modulus, 65537), Err(refusal));
        let mut padded = [0; RSA_SIZE + 1];
        padded[1..].copy_from_slice(&modulus);
        assert_eq!(PublicKey::new(&padded, 3), PublicKey::new(&modulus, 3));
        modulus[0] = 0x7f;
        assert_eq!(PublicKey::new(&modulus, 3), Err(SigstructError::KeyBits { got: 3071 }));
        assert_eq!(PublicKey::new(&[0x80; 256], 3), Err(SigstructError::KeyBits { got: 2048 }));
        assert_eq!(PublicKey::new(&[], 3), Err(SigstructError::KeyBits { got: 0 }));
        assert_eq!(PublicKey::new(&[1; 385], 3), Err(SigstructError::KeyBits { got: 3073 }));
    }
}
