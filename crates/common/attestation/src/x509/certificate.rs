//! One certificate.

use der::Tag;
use der::asn1::ObjectIdentifier;

use super::read::{Fields, whole};
use super::{PublicKey, Serial, X509Error, oid};
use crate::crypto::{Algorithm, BadSignature, Crypto, Signature};
use crate::time::Validity;

/// The longest certificate that is read. Real ones are below 2 KiB, with an RSA-4096 key too.
const MAX_CERTIFICATE_BYTES: usize = 16 << 10;

/// A certificate, read.
#[derive(Clone, Debug)]
pub struct Certificate<'a> {
    /// All of it.
    pub der: &'a [u8],
    /// The signed part.
    pub tbs: &'a [u8],
    /// Serial number.
    pub serial: Serial,
    /// Issuer, DER of a Name.
    pub issuer: &'a [u8],
    /// Subject, DER of a Name.
    pub subject: &'a [u8],
    /// When it is valid.
    pub validity: Validity,
    /// DER of the SubjectPublicKeyInfo.
    pub spki: &'a [u8],
    /// The key in it.
    pub key: PublicKey<'a>,
    /// How it is signed.
    pub algorithm: Algorithm,
    /// The signature.
    pub signature: &'a [u8],
    /// Whether it may issue; `None` without the extension.
    pub basic_constraints: Option<BasicConstraints>,
    /// What the key may do; `None` without the extension.
    pub key_usage: Option<KeyUsage>,
    extensions: &'a [u8],
}

/// BasicConstraints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BasicConstraints {
    /// Whether it may issue certificates.
    pub ca: bool,
    /// How many CAs may follow it.
    pub path_len: Option<u8>,
}

/// KeyUsage, as far as chains need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUsage {
    /// May sign data.
    pub digital_signature: bool,
    /// May sign certificates.
    pub key_cert_sign: bool,
    /// May sign CRLs.
    pub crl_sign: bool,
}

/// An extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// Which.
    pub oid: ObjectIdentifier,
    /// Whether who does not know it must refuse the certificate.
    pub critical: bool,
    /// The contents of its OCTET STRING.
    pub value: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Reads one certificate and nothing after it.
    ///
    /// # Errors
    ///
    /// [`X509Error`].
    pub fn parse(der: &'a [u8]) -> Result<Self, X509Error> {
        if der.len() > MAX_CERTIFICATE_BYTES {
            return Err(X509Error::TooLong { limit: MAX_CERTIFICATE_BYTES, got: der.len() });
        }
        let mut outer = Fields::of_sequence(der)?;
        let tbs = outer.raw()?;
        let outer_algorithm = outer.raw()?;
        let signature = outer.bits("signature")?;
        outer.finish()?;

        let mut fields = Fields::of_sequence(tbs)?;
        // Version v3 is the integer 2.
        if fields.context(0)? != Some(&[2, 1, 2]) {
            return Err(X509Error::Version);
        }
        let serial = Serial::new(fields.integer()?)?;
        let inner_algorithm = fields.raw()?;
        if inner_algorithm != outer_algorithm {
            return Err(X509Error::AlgorithmMismatch);
        }
        let issuer = fields.raw()?;
        let validity = {
            let mut dates = fields.sequence()?;
            let validity = Validity { not_before: dates.time()?, not_after: dates.time()? };
            dates.finish()?;
            validity
        };
        let subject = fields.raw()?;
        let spki = fields.raw()?;
        let extensions = match fields.context(3)? {
            Some(explicit) => whole(explicit, Tag::Sequence)?,
            None => &[],
        };
        fields.finish()?;

        let mut certificate = Self {
            der,
            tbs,
            serial,
            issuer,
            subject,
            validity,
            spki,
            key: public_key(spki)?,
            algorithm: signature_algorithm(outer_algorithm)?,
            signature,
            basic_constraints: None,
            key_usage: None,
            extensions,
        };
        certificate.read_extensions()?;
        Ok(certificate)
    }

    fn read_extensions(&mut self) -> Result<(), X509Error> {
        let mut seen = alloc::vec::Vec::new();
        let mut fields = Fields::new(self.extensions)?;
        while !fields.is_empty() {
            let extension = extension(&mut fields)?;
            if seen.contains(&extension.oid) {
                return Err(X509Error::Duplicate(extension.oid));
            }
            seen.push(extension.oid);
            match extension.oid {
                oid::BASIC_CONSTRAINTS => {
                    self.basic_constraints = Some(basic_constraints(extension.value)?);
                }
                oid::KEY_USAGE => self.key_usage = Some(key_usage(extension.value)?),
                oid if extension.critical => return Err(X509Error::Critical(oid)),
                _ => {}
            }
        }
        Ok(())
    }

    /// All extensions in order.
    pub fn extensions(&self) -> impl Iterator<Item = Extension<'a>> + use<'a> {
        // Read once by `parse`, so no error is left to meet.
        let mut fields = Fields::new(self.extensions).ok();
        core::iter::from_fn(move || {
            let fields = fields.as_mut().filter(|fields| !fields.is_empty())?;
            extension(fields).ok()
        })
    }

    /// The extension with this identifier.
    #[must_use]
    pub fn extension(&self, oid: ObjectIdentifier) -> Option<Extension<'a>> {
        // Read once by `parse`, so no error is left to meet.
        let mut fields = Fields::new(self.extensions).ok()?;
        while !fields.is_empty() {
            let extension = extension(&mut fields).ok()?;
            if extension.oid == oid {
                return Some(extension);
            }
        }
        None
    }

    /// Checks the signature by this key and that the issuer's name is the one named; nothing else.
    ///
    /// # Errors
    ///
    /// [`BadSignature`], also for another name or another algorithm than the key's.
    pub fn is_signed_by(
        &self,
        crypto: &impl Crypto,
        issuer: &[u8],
        key: PublicKey<'_>,
    ) -> Result<(), BadSignature> {
        if self.issuer != issuer || self.algorithm != key.algorithm {
            return Err(BadSignature);
        }
        crypto.verify(self.algorithm, key.bits, self.tbs, Signature::Der(self.signature))
    }

    /// Whether it may issue certificates and CRLs.
    #[must_use]
    pub fn is_ca(&self) -> bool {
        self.basic_constraints.is_some_and(|constraints| constraints.ca)
            && self.key_usage.is_some_and(|usage| usage.key_cert_sign && usage.crl_sign)
    }

    /// Whether it may sign data and may not issue.
    #[must_use]
    pub fn is_signing_leaf(&self) -> bool {
        !self.basic_constraints.is_some_and(|constraints| constraints.ca)
            && self.key_usage.is_some_and(|usage| {
                usage.digital_signature && !usage.key_cert_sign && !usage.crl_sign
            })
    }
}

pub(super) fn extension<'a>(fields: &mut Fields<'a>) -> Result<Extension<'a>, X509Error> {
    let mut fields = fields.sequence()?;
    let oid = fields.oid()?;
    let critical = match fields.optional(Tag::Boolean)? {
        None => false,
        // DER writes no default and true as all ones.
        Some([0xff]) => true,
        Some(_) => return Err(X509Error::Field { name: "critical" }),
    };
    let value = fields.value(Tag::OctetString)?;
    fields.finish()?;
    Ok(Extension { oid, critical, value })
}

fn basic_constraints(value: &[u8]) -> Result<BasicConstraints, X509Error> {
    let mut fields = Fields::of_sequence(value)?;
    let ca = match fields.optional(Tag::Boolean)? {
        None => false,
        Some([0xff]) => true,
        Some(_) => return Err(X509Error::Field { name: "cA" }),
    };
    let path_len = match fields.optional(Tag::Integer)? {
        None => None,
        Some(&[len]) if ca && len < 0x80 => Some(len),
        Some(_) => return Err(X509Error::Field { name: "pathLenConstraint" }),
    };
    fields.finish()?;
    Ok(BasicConstraints { ca, path_len })
}

fn key_usage(value: &[u8]) -> Result<KeyUsage, X509Error> {
    let value = whole(value, Tag::BitString)?;
    // Unused bits, then the bits from the most significant one: 0 digitalSignature, 5 keyCertSign,
    // 6 cRLSign.
    let [0..=7, bits @ ..] = value else {
        return Err(X509Error::Field { name: "keyUsage" });
    };
    let bits = bits.first().copied().unwrap_or(0);
    Ok(KeyUsage {
        digital_signature: bits & 0x80 != 0,
        key_cert_sign: bits & 0x04 != 0,
        crl_sign: bits & 0x02 != 0,
    })
}

fn public_key(spki: &[u8]) -> Result<PublicKey<'_>, X509Error> {
    let mut fields = Fields::of_sequence(spki)?;
    let mut algorithm = fields.sequence()?;
    let bits = fields.bits("subjectPublicKey")?;
    fields.finish()?;
    let kind = algorithm.oid()?;
    let algorithm = match kind {
        oid::RSA => Algorithm::RsaPssSha384,
        oid::EC_PUBLIC_KEY => match algorithm.oid()? {
            oid::P256 => Algorithm::EcdsaP256Sha256,
            oid::P384 => Algorithm::EcdsaP384Sha384,
            curve => return Err(X509Error::Algorithm(curve)),
        },
        other => return Err(X509Error::Algorithm(other)),
    };
    Ok(PublicKey { algorithm, bits })
}

pub(super) fn signature_algorithm(identifier: &[u8]) -> Result<Algorithm, X509Error> {
    let mut fields = Fields::of_sequence(identifier)?;
    match fields.oid()? {
        oid::ECDSA_SHA256 => Ok(Algorithm::EcdsaP256Sha256),
        oid::ECDSA_SHA384 => Ok(Algorithm::EcdsaP384Sha384),
        // The parameters name hash and salt; the backend checks with SHA-384 and 48 bytes whatever they
        // say, so other parameters fail there.
        oid::RSA_PSS => Ok(Algorithm::RsaPssSha384),
        other => Err(X509Error::Algorithm(other)),
    }
}

/// The common name in a Name, for people.
#[must_use]
pub fn common_name(name: &[u8]) -> Option<&str> {
    let mut names = Fields::of_sequence(name).ok()?;
    while !names.is_empty() {
        let mut set = names.set().ok()?;
        while !set.is_empty() {
            let mut attribute = set.sequence().ok()?;
            if attribute.oid().ok()? != oid::COMMON_NAME {
                continue;
            }
            for tag in [Tag::Utf8String, Tag::PrintableString] {
                if let Ok(Some(value)) = attribute.optional(tag) {
                    return core::str::from_utf8(value).ok();
                }
            }
        }
    }
    None
}
