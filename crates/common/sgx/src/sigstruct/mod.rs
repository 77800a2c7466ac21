//! SIGSTRUCT: who signed which enclave, and what it may be started as.
//!
//! Its life: a [`Body`] says what is signed; [`Sigstruct::unsigned`] gives the *signing material*, 256 bytes
//! ([`Sigstruct::signed_bytes`]), which a key signs here ([`crate::sign`]) or elsewhere; [`assemble`] makes
//! the whole of material, public key and signature, with the quotients q1 and q2 that let a CPU verify it
//! without dividing; [`Sigstruct::verify`] does what EINIT does with it. All but signing is `no_std`.
//!
//! RSA here works on public values only and is not constant-time.

mod assemble;
mod error;
mod rsa3072;
mod verify;

pub use assemble::{PublicKey, assemble};
pub(crate) use error::Hex;
pub use error::SigstructError;
#[cfg(feature = "sign")]
pub(crate) use verify::DIGEST_INFO;
#[cfg(feature = "keys")]
pub(crate) use verify::PADDING;
pub use verify::fuzz;

use crate::attributes::{Attributes, Miscselect};
use crate::hash::Sha256;
use crate::layout::layout;

/// Bytes of modulus, signature, q1 and q2.
pub const RSA_SIZE: usize = 384;
/// Bytes that the signature covers: `[0, 128)` and `[900, 1028)` of SIGSTRUCT.
pub const SIGNED_SIZE: usize = 256;

/// What HEADER must be.
pub const HEADER: [u8; 16] = [6, 0, 0, 0, 0xe1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0];
/// What HEADER2 must be.
pub const HEADER2: [u8; 16] = [1, 1, 0, 0, 0x60, 0, 0, 0, 0x60, 0, 0, 0, 1, 0, 0, 0];
/// VENDOR of Intel's own enclaves; 0 for all others.
pub const VENDOR_INTEL: u32 = 0x8086;
/// What EXPONENT must be.
pub const EXPONENT: u32 = 3;

layout! {
    /// SIGSTRUCT (SDM Vol. 3D, "Enclave Signature Structure"). 4096-byte aligned as an operand of EINIT.
    pub struct Sigstruct: 1808 {
        /// [`HEADER`].
        header: [u8; 16] = 0,
        /// 0 or [`VENDOR_INTEL`].
        vendor: u32 = 16,
        /// Day of signing in binary-coded decimals: 0x20261120.
        date: u32 = 20,
        /// [`HEADER2`].
        header2: [u8; 16] = 24,
        /// Free for software.
        swdefined: u32 = 40,
        /// Modulus of the signer's key, little-endian.
        modulus: [u8; 384] = 128,
        /// [`EXPONENT`].
        exponent: u32 = 512,
        /// RSASSA-PKCS1-v1_5 with SHA-256, little-endian.
        signature: [u8; 384] = 516,
        /// MISCSELECT, as far as `miscmask` demands it.
        miscselect: Miscselect = 900,
        /// Which bits of MISCSELECT are demanded.
        miscmask: Miscselect = 904,
        /// CET attributes, as far as the mask demands them.
        cet_attributes: u8 = 908,
        /// Which CET attributes are demanded.
        cet_attributes_mask: u8 = 909,
        /// Product family (KSS).
        isvfamilyid: [u8; 16] = 912,
        /// ATTRIBUTES, as far as `attributemask` demands them.
        attributes: Attributes = 928,
        /// Which bits of ATTRIBUTES are demanded.
        attributemask: Attributes = 944,
        /// MRENCLAVE.
        enclavehash: [u8; 32] = 960,
        /// Extended product id (KSS).
        isvextprodid: [u8; 16] = 1008,
        /// Product.
        isvprodid: u16 = 1024,
        /// Security version.
        isvsvn: u16 = 1026,
        /// `floor(signature² / modulus)`, little-endian.
        q1: [u8; 384] = 1040,
        /// `floor((signature³ - q1 * signature * modulus) / modulus)`, little-endian.
        q2: [u8; 384] = 1424,
    }
}

/// What a signer decides; all of it is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// MRENCLAVE of the enclave.
    pub enclavehash: [u8; 32],
    /// Attributes it starts with, where the mask is set.
    pub attributes: Attributes,
    /// Which attributes are fixed.
    pub attributemask: Attributes,
    /// MISCSELECT it starts with, where the mask is set.
    pub miscselect: Miscselect,
    /// Which bits of MISCSELECT are fixed.
    pub miscmask: Miscselect,
    /// Product.
    pub isvprodid: u16,
    /// Security version.
    pub isvsvn: u16,
    /// Extended product id; not zero only with ATTRIBUTES.KSS.
    pub isvextprodid: [u8; 16],
    /// Product family; not zero only with ATTRIBUTES.KSS.
    pub isvfamilyid: [u8; 16],
    /// Day of signing in binary-coded decimals.
    pub date: u32,
    /// Free for software.
    pub swdefined: u32,
}

impl Sigstruct {
    /// The structure with all signed fields set, and the others zero but EXPONENT.
    #[must_use]
    pub fn unsigned(body: &Body) -> Self {
        Self {
            header: HEADER,
            header2: HEADER2,
            date: body.date,
            swdefined: body.swdefined,
            exponent: EXPONENT,
            miscselect: body.miscselect,
            miscmask: body.miscmask,
            isvfamilyid: body.isvfamilyid,
            attributes: body.attributes,
            attributemask: body.attributemask,
            enclavehash: body.enclavehash,
            isvextprodid: body.isvextprodid,
            isvprodid: body.isvprodid,
            isvsvn: body.isvsvn,
            ..Self::default()
        }
    }

    /// The signing material: the bytes that the signature covers.
    #[must_use]
    pub fn signed_bytes(&self) -> [u8; SIGNED_SIZE] {
        let bytes = self.to_bytes();
        let mut signed = [0; SIGNED_SIZE];
        signed[..128].copy_from_slice(&bytes[..128]);
        signed[128..].copy_from_slice(&bytes[900..1028]);
        signed
    }

    /// Reads signing material.
    ///
    /// # Errors
    /// Another length, a reserved byte that is not zero, or another header or vendor than EINIT takes.
    pub fn from_signed_bytes(signed: &[u8]) -> Result<Self, SigstructError> {
        let signed: &[u8; SIGNED_SIZE] =
            signed.try_into().map_err(|_| crate::LayoutError::Length {
                structure: "signing material",
                expected: SIGNED_SIZE,
                got: signed.len(),
            })?;
        let mut bytes = [0; Self::SIZE];
        bytes[..128].copy_from_slice(&signed[..128]);
        bytes[900..1028].copy_from_slice(&signed[128..]);
        let sigstruct = Self { exponent: EXPONENT, ..Self::parse(&bytes)? };
        sigstruct.check_form()?;
        Ok(sigstruct)
    }

    /// What is signed.
    #[must_use]
    pub fn body(&self) -> Body {
        Body {
            enclavehash: self.enclavehash,
            attributes: self.attributes,
            attributemask: self.attributemask,
            miscselect: self.miscselect,
            miscmask: self.miscmask,
            isvprodid: self.isvprodid,
            isvsvn: self.isvsvn,
            isvextprodid: self.isvextprodid,
            isvfamilyid: self.isvfamilyid,
            date: self.date,
            swdefined: self.swdefined,
        }
    }

    /// MRSIGNER: SHA-256 of the modulus as it lies here.
    #[must_use]
    pub fn mrsigner<H: Sha256>(&self) -> [u8; 32] {
        H::digest(&self.modulus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> Body {
        Body {
            enclavehash: [1; 32],
            attributes: Attributes::from_bytes(&[2; 16]),
            attributemask: Attributes::from_bytes(&[3; 16]),
            miscselect: Miscselect::from_bits_retain(4),
            miscmask: Miscselect::from_bits_retain(5),
            isvprodid: 6,
            isvsvn: 7,
            isvextprodid: [8; 16],
            isvfamilyid: [9; 16],
            date: 0x2026_1120,
            swdefined: 10,
        }
    }

    #[test]
    fn signing_material_holds_the_whole_body() {
        let material = Sigstruct::unsigned(&body()).signed_bytes();
        let read = Sigstruct::from_signed_bytes(&material).unwrap();
        assert_eq!(read.body(), body());
        assert_eq!(read, Sigstruct::unsigned(&body()));
    }

    #[test]
    fn material_of_another_length_or_form_is_refused() {
        let material = Sigstruct::unsigned(&body()).signed_bytes();
        assert!(Sigstruct::from_signed_bytes(&material[..255]).is_err());
        for at in [0, 16, 24, 44, 127, 138, 222] {
            let mut changed = material;
            changed[at] ^= 0xff;
            assert!(Sigstruct::from_signed_bytes(&changed).is_err(), "{at}");
        }
    }
}
