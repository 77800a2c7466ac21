//! Keys that sign: fixed RSA-4096 ones, and elliptic-curve ones made on the spot.

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING,
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair, RSA_PSS_SHA384,
    RsaKeyPair,
};

use crate::der;

const RSA: [u64; 7] = [1, 2, 840, 113_549, 1, 1, 1];
const RSA_PSS: [u64; 7] = [1, 2, 840, 113_549, 1, 1, 10];
const MGF1: [u64; 7] = [1, 2, 840, 113_549, 1, 1, 8];
const SHA384: [u64; 9] = [2, 16, 840, 1, 101, 3, 4, 2, 2];
const EC: [u64; 6] = [1, 2, 840, 10045, 2, 1];
const P256: [u64; 7] = [1, 2, 840, 10045, 3, 1, 7];
const P384: [u64; 5] = [1, 3, 132, 0, 34];
const ECDSA_SHA256: [u64; 7] = [1, 2, 840, 10045, 4, 3, 2];

/// What a key is used for here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
}

/// A private key.
pub struct Key(Kind);

enum Kind {
    Rsa(Box<RsaKeyPair>),
    Ec { pkcs8: Vec<u8>, curve: Curve, public: Vec<u8> },
}

impl Key {
    /// The fixed key of AMD's root.
    #[must_use]
    pub fn ark() -> Self {
        Self::rsa(include_bytes!("../keys/ark.pk8"))
    }

    /// The fixed key that signs VCEKs.
    #[must_use]
    pub fn ask() -> Self {
        Self::rsa(include_bytes!("../keys/ask.pk8"))
    }

    /// The fixed key that signs VLEKs.
    #[must_use]
    pub fn asvk() -> Self {
        Self::rsa(include_bytes!("../keys/asvk.pk8"))
    }

    /// The fixed key of another root.
    #[must_use]
    pub fn other_ark() -> Self {
        Self::rsa(include_bytes!("../keys/other-ark.pk8"))
    }

    /// A new key on P-256.
    #[must_use]
    pub fn p256() -> Self {
        Self::ec(Curve::P256)
    }

    /// A new key on P-384.
    #[must_use]
    pub fn p384() -> Self {
        Self::ec(Curve::P384)
    }

    fn rsa(pkcs8: &[u8]) -> Self {
        Self(Kind::Rsa(Box::new(RsaKeyPair::from_pkcs8(pkcs8).expect("the file is a key"))))
    }

    fn ec(curve: Curve) -> Self {
        let (algorithm, random) = (fixed(curve), SystemRandom::new());
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("the system has randomness");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random)
            .expect("it was just written");
        let public = pair.public_key().as_ref().to_vec();
        Self(Kind::Ec { pkcs8: pkcs8.as_ref().to_vec(), curve, public })
    }

    /// Public key: an uncompressed point, or a DER RSAPublicKey.
    #[must_use]
    pub fn public(&self) -> &[u8] {
        match &self.0 {
            Kind::Rsa(pair) => pair.public_key().as_ref(),
            Kind::Ec { public, .. } => public,
        }
    }

    /// SubjectPublicKeyInfo.
    #[must_use]
    pub fn spki(&self) -> Vec<u8> {
        let algorithm = match &self.0 {
            Kind::Rsa(_) => der::sequence(&[der::oid(&RSA), der::tlv(0x05, &[])]),
            Kind::Ec { curve: Curve::P256, .. } => der::sequence(&[der::oid(&EC), der::oid(&P256)]),
            Kind::Ec { curve: Curve::P384, .. } => der::sequence(&[der::oid(&EC), der::oid(&P384)]),
        };
        der::sequence(&[algorithm, der::bit_string(self.public())])
    }

    /// AlgorithmIdentifier of certificates that it signs. AMD's certificates spell out the default trailer.
    #[must_use]
    pub fn certificate_algorithm(&self) -> Vec<u8> {
        match &self.0 {
            Kind::Rsa(_) => {
                let hash = der::sequence(&[der::oid(&SHA384), der::tlv(0x05, &[])]);
                let mask = der::sequence(&[der::oid(&MGF1), hash.clone()]);
                let parameters = der::sequence(&[
                    der::explicit(0, &hash),
                    der::explicit(1, &mask),
                    der::explicit(2, &der::number(48)),
                    der::explicit(3, &der::number(1)),
                ]);
                der::sequence(&[der::oid(&RSA_PSS), parameters])
            }
            Kind::Ec { .. } => der::sequence(&[der::oid(&ECDSA_SHA256)]),
        }
    }

    /// Signs as certificates are signed: RSA-PSS with SHA-384, or ECDSA on P-256 in DER.
    #[must_use]
    pub fn sign_certificate(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.0 {
            Kind::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PSS_SHA384, &random, message, &mut signature).expect("4096 bits");
                signature
            }
            Kind::Ec { pkcs8, curve, .. } => {
                assert!(*curve == Curve::P256, "no certificate here is signed on P-384");
                sign(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8, message)
            }
        }
    }

    /// Signs as reports, quotes and tokens are signed: r then s, big-endian.
    ///
    /// # Panics
    /// For an RSA key.
    #[must_use]
    pub fn sign_fixed(&self, message: &[u8]) -> Vec<u8> {
        match &self.0 {
            Kind::Rsa(_) => panic!("an RSA key signs certificates only"),
            Kind::Ec { pkcs8, curve, .. } => sign(fixed(*curve), pkcs8, message),
        }
    }
}

fn fixed(curve: Curve) -> &'static EcdsaSigningAlgorithm {
    match curve {
        Curve::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
        Curve::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
    }
}

fn sign(algorithm: &'static EcdsaSigningAlgorithm, pkcs8: &[u8], message: &[u8]) -> Vec<u8> {
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8, &random).expect("made by this module");
    pair.sign(&random, message).expect("the system has randomness").as_ref().to_vec()
}
