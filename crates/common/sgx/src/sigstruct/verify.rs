//! What EINIT checks of a SIGSTRUCT by itself: its form and its signature.

use super::rsa3072::Number;
use super::{EXPONENT, HEADER, HEADER2, RSA_SIZE, Sigstruct, SigstructError, VENDOR_INTEL};
use crate::hash::Sha256;

/// What precedes the digest in the encoded message, most significant byte first: 00 01, 330 bytes ff, 00 and
/// the DER of a SHA-256 DigestInfo (RFC 8017, EMSA-PKCS1-v1_5). EGETKEY uses it too.
pub(crate) const PADDING: [u8; RSA_SIZE - 32] = {
    let mut padding = [0xff; RSA_SIZE - 32];
    (padding[0], padding[1]) = (0, 1);
    let (mut i, start) = (0, RSA_SIZE - 32 - DIGEST_INFO.len());
    while i < DIGEST_INFO.len() {
        padding[start + i] = DIGEST_INFO[i];
        i += 1;
    }
    padding
};

/// The separator 00, and the DER of a DigestInfo up to the SHA-256 digest.
pub(crate) const DIGEST_INFO: [u8; 20] = [
    0x00, 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
    0x05, 0x00, 0x04, 0x20,
];

impl Sigstruct {
    /// Parses outside bytes, and verifies them as EINIT does before it looks at the enclave.
    ///
    /// # Errors
    /// Length or reserved bytes, form, or signature.
    pub fn parse_verified<H: Sha256>(bytes: &[u8]) -> Result<Self, SigstructError> {
        let sigstruct = Self::parse(bytes)?;
        sigstruct.verify::<H>()?;
        Ok(sigstruct)
    }

    /// Form and signature.
    ///
    /// # Errors
    /// As [`check_form`](Self::check_form) and [`check_signature`](Self::check_signature).
    pub fn verify<H: Sha256>(&self) -> Result<(), SigstructError> {
        self.check_form()?;
        self.check_signature::<H>()
    }

    /// HEADER, VENDOR, HEADER2 and EXPONENT are what EINIT takes.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check_form(&self) -> Result<(), SigstructError> {
        for (field, expected, got) in
            [("HEADER", HEADER, self.header), ("HEADER2", HEADER2, self.header2)]
        {
            if got != expected {
                return Err(SigstructError::Header { field, expected, got });
            }
        }
        if self.vendor != 0 && self.vendor != VENDOR_INTEL {
            let got = u64::from(self.vendor);
            return Err(SigstructError::Number { field: "VENDOR", expected: 0, got });
        }
        if self.exponent != EXPONENT {
            let (expected, got) = (u64::from(EXPONENT), u64::from(self.exponent));
            return Err(SigstructError::Number { field: "EXPONENT", expected, got });
        }
        Ok(())
    }

    /// The signature is by the key in MODULUS and of the signed bytes, and Q1 and Q2 are its quotients.
    ///
    /// # Errors
    /// The first step that fails.
    pub fn check_signature<H: Sha256>(&self) -> Result<(), SigstructError> {
        let modulus = Number::from_le_bytes(&self.modulus);
        let signature = Number::from_le_bytes(&self.signature);
        if signature >= modulus {
            return Err(SigstructError::SignatureRange);
        }
        let square = signature
            .multiply(&signature)
            .remainder(&Number::from_le_bytes(&self.q1), &modulus)
            .ok_or(SigstructError::Quotient { field: "Q1" })?;
        let message = signature
            .multiply(&square)
            .remainder(&Number::from_le_bytes(&self.q2), &modulus)
            .ok_or(SigstructError::Quotient { field: "Q2" })?;
        check_message(&message, H::digest(&self.signed_bytes()))
    }
}

/// The encoded message is PKCS#1 v1.5 padding and this digest.
pub(super) fn check_message(message: &Number, expected: [u8; 32]) -> Result<(), SigstructError> {
    let mut message = message.to_le_bytes();
    message.reverse();
    let (padding, digest) = message.split_at(PADDING.len());
    for (offset, (&got, expected)) in padding.iter().zip(PADDING).enumerate() {
        if got != expected {
            return Err(SigstructError::Padding { offset, expected, got });
        }
    }
    let got: [u8; 32] = digest.try_into().expect("384 - 352 bytes");
    if got == expected { Ok(()) } else { Err(SigstructError::Digest { expected, got }) }
}

/// For fuzzing: parses and verifies `bytes`; what parses must come back as the same bytes.
///
/// # Panics
/// If that does not hold.
pub fn fuzz(bytes: &[u8]) {
    if let Ok(sigstruct) = Sigstruct::parse(bytes) {
        assert_eq!(sigstruct.to_bytes(), bytes, "a parsed SIGSTRUCT is written otherwise");
        let _ = sigstruct.verify::<crate::hash::Portable>();
        let material = sigstruct.signed_bytes();
        if let Ok(unsigned) = Sigstruct::from_signed_bytes(&material) {
            assert_eq!(unsigned.body(), sigstruct.body(), "signing material lost a field");
        }
    }
}
