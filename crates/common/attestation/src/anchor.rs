//! The one certificate that a verification trusts, and whose hardware it stands for.

use alloc::vec::Vec;
use core::fmt;

use crate::crypto::{Algorithm, Crypto};
use crate::time::Validity;
use crate::x509::{Certificate, PublicKey, Serial, X509Error, common_name};

/// Roots of hardware vendors: SHA-256 of the DER. Only these stand for hardware; whatever hangs from any
/// other anchor is emulated, whatever it calls itself.
const VENDOR_ROOTS: &[(Vendor, [u8; 32])] = &[
    (
        Vendor::Intel,
        // Intel SGX Root CA, 2018-05-21 to 2049-12-31.
        [
            0x44, 0xa0, 0x19, 0x6b, 0x2b, 0x99, 0xf8, 0x89, 0xb8, 0xe1, 0x49, 0xe9, 0x5b, 0x80,
            0x7a, 0x35, 0x0e, 0x74, 0x24, 0x96, 0x43, 0x99, 0xe8, 0x85, 0xa7, 0xcb, 0xb8, 0xcc,
            0xfa, 0xb6, 0x74, 0xd3,
        ],
    ),
    (
        Vendor::Amd,
        // ARK-Milan, 2020-10-22 to 2045-10-22.
        [
            0x69, 0xd0, 0x63, 0xb4, 0x53, 0x44, 0xd2, 0x6a, 0x2e, 0x94, 0xe1, 0xf4, 0x21, 0x0d,
            0xe4, 0x9e, 0xf5, 0x55, 0x30, 0x82, 0x87, 0xd4, 0xc1, 0x74, 0x44, 0x5c, 0x95, 0x63,
            0x9a, 0x54, 0x0b, 0xcd,
        ],
    ),
    (
        Vendor::Amd,
        // ARK-Genoa, 2022-01-26 to 2047-01-26.
        [
            0x4c, 0x65, 0x98, 0xd1, 0x9c, 0x18, 0x71, 0x9c, 0x5d, 0xfd, 0x4a, 0x7d, 0x33, 0x5f,
            0x67, 0x4e, 0x5b, 0xfe, 0x1d, 0x8f, 0x80, 0x0c, 0xea, 0x2c, 0xf2, 0x70, 0xc1, 0x0d,
            0x10, 0x3d, 0xb2, 0xf1,
        ],
    ),
    (
        Vendor::Amd,
        // ARK-Turin, 2023-05-15 to 2048-05-15.
        [
            0x1f, 0x08, 0x41, 0x61, 0xa4, 0x4b, 0xb6, 0xd9, 0x37, 0x78, 0xa9, 0x04, 0x87, 0x7d,
            0x48, 0x19, 0xca, 0xfa, 0x5d, 0x05, 0xef, 0x41, 0x93, 0xb2, 0xde, 0xd9, 0xdd, 0x9c,
            0x73, 0xdd, 0x3f, 0x6a,
        ],
    ),
];

/// Who makes the hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// Intel: SGX and TDX.
    Intel,
    /// AMD: SEV-SNP.
    Amd,
}

impl Vendor {
    /// The vendor whose root has this SHA-256 of its DER; `None` for every other root.
    #[must_use]
    pub fn of_root(sha256: &[u8; 32]) -> Option<Self> {
        VENDOR_ROOTS.iter().find(|(_, root)| root == sha256).map(|(vendor, _)| *vendor)
    }
}

/// A trust anchor: a self-issued certificate that the caller trusts.
///
/// A verification has exactly one; certificates, CRLs and collateral that end anywhere else are refused,
/// trusted elsewhere or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustAnchor {
    der: Vec<u8>,
    sha256: [u8; 32],
    subject: Vec<u8>,
    serial: Serial,
    key_algorithm: Algorithm,
    key: Vec<u8>,
    validity: Validity,
    vendor: Option<Vendor>,
}

/// Bytes that cannot be an anchor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnchorError {
    /// Not a certificate that is read.
    Certificate(X509Error),
    /// Issued by another, so an intermediate certificate and no root.
    NotSelfIssued,
    /// Not allowed to issue certificates and CRLs.
    NotCa,
    /// Not signed by its own key.
    Signature,
}

impl fmt::Display for AnchorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(error) => write!(f, "trust anchor: {error}"),
            Self::NotSelfIssued => {
                f.write_str("trust anchor: expected a root, got a certificate issued by another")
            }
            Self::NotCa => f.write_str("trust anchor: not allowed to issue certificates and CRLs"),
            Self::Signature => f.write_str("trust anchor: not signed by its own key"),
        }
    }
}

impl core::error::Error for AnchorError {}

impl TrustAnchor {
    /// Takes a root certificate, DER.
    ///
    /// # Errors
    ///
    /// [`AnchorError`].
    pub fn from_der(der: &[u8], crypto: &impl Crypto) -> Result<Self, AnchorError> {
        let certificate = Certificate::parse(der).map_err(AnchorError::Certificate)?;
        if certificate.issuer != certificate.subject {
            return Err(AnchorError::NotSelfIssued);
        }
        if !certificate.is_ca() {
            return Err(AnchorError::NotCa);
        }
        certificate
            .is_signed_by(crypto, certificate.subject, certificate.key)
            .map_err(|_| AnchorError::Signature)?;
        let sha256 = crypto.sha256(der);
        let vendor = Vendor::of_root(&sha256);
        Ok(Self {
            der: der.to_vec(),
            sha256,
            subject: certificate.subject.to_vec(),
            serial: certificate.serial,
            key_algorithm: certificate.key.algorithm,
            key: certificate.key.bits.to_vec(),
            validity: certificate.validity,
            vendor,
        })
    }

    /// The certificate.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of the certificate's DER: what policies name.
    #[must_use]
    pub const fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// The vendor whose hardware hangs from this root; `None` for every other root, an emulator's among
    /// them.
    #[must_use]
    pub const fn vendor(&self) -> Option<Vendor> {
        self.vendor
    }

    /// Whether evidence under this anchor is emulated: it is, unless the anchor is a vendor's root.
    #[must_use]
    pub const fn is_emulated(&self) -> bool {
        self.vendor.is_none()
    }

    /// Its common name, for people.
    #[must_use]
    pub fn name(&self) -> &str {
        common_name(&self.subject).unwrap_or("unnamed")
    }

    pub(crate) fn subject(&self) -> &[u8] {
        &self.subject
    }

    pub(crate) fn key(&self) -> PublicKey<'_> {
        PublicKey { algorithm: self.key_algorithm, bits: &self.key }
    }

    pub(crate) const fn serial(&self) -> &Serial {
        &self.serial
    }

    pub(crate) const fn validity(&self) -> Validity {
        self.validity
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::RustCrypto;

    const INTEL: &[u8] = include_bytes!("../tests/vectors/collateral/intel-sgx-root-ca.der");

    #[test]
    fn intels_root_stands_for_hardware() {
        let anchor = TrustAnchor::from_der(INTEL, &RustCrypto).expect("a root");
        assert_eq!(anchor.vendor(), Some(Vendor::Intel));
        assert!(!anchor.is_emulated());
        assert_eq!(anchor.name(), "Intel SGX Root CA");
    }

    #[test]
    fn a_changed_root_is_no_anchor() {
        for at in 0..INTEL.len() {
            let mut der = INTEL.to_vec();
            der[at] ^= 1;
            assert!(TrustAnchor::from_der(&der, &RustCrypto).is_err(), "byte {at}");
        }
    }
}
