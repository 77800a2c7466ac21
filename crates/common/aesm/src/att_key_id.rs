//! Which attestation key: 256 bytes that name the quoting enclave and the algorithm.
//!
//! | offset | length | |
//! |---|---|---|
//! | 0 | 2 | structure id, 0 |
//! | 2 | 2 | structure version, 0 |
//! | 4 | 2 | length of the signer, 32 |
//! | 6 | 48 | MRSIGNER of the quoting enclave, zero-padded |
//! | 54 | 4 | its ISVPRODID |
//! | 58 | 16 | its ISVEXTPRODID |
//! | 74 | 64 | its CONFIGID |
//! | 138 | 16 | its ISVFAMILYID |
//! | 154 | 4 | algorithm |
//! | 158 | 16 | EPID: service provider id |
//! | 174 | 2 | EPID: linkable or not |
//! | 176 | 80 | zero |

/// Length in bytes.
pub const ATT_KEY_ID_SIZE: usize = 256;

/// What kind of key signs quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Algorithm(pub u32);

impl Algorithm {
    /// EPID, which Intel retired in 2025.
    pub const EPID: Self = Self(0);
    /// ECDSA P-256: DCAP quotes.
    pub const ECDSA_P256: Self = Self(2);
    /// ECDSA P-384.
    pub const ECDSA_P384: Self = Self(3);
}

/// An attestation key id.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AttKeyId(pub [u8; ATT_KEY_ID_SIZE]);

impl AttKeyId {
    /// The ECDSA P-256 key of the quoting enclave with this signer and product.
    #[must_use]
    pub fn ecdsa_p256(mrsigner: &[u8; 32], isvprodid: u16) -> Self {
        let mut id = [0; ATT_KEY_ID_SIZE];
        id[4..6].copy_from_slice(&32_u16.to_le_bytes());
        id[6..38].copy_from_slice(mrsigner);
        id[54..56].copy_from_slice(&isvprodid.to_le_bytes());
        id[154..158].copy_from_slice(&Algorithm::ECDSA_P256.0.to_le_bytes());
        Self(id)
    }

    /// Its algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        Algorithm(u32::from_le_bytes([self.0[154], self.0[155], self.0[156], self.0[157]]))
    }
}

impl core::fmt::Debug for AttKeyId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("AttKeyId").field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}
