//! Certificate revocation lists.

use alloc::vec::Vec;

use der::Tag;

use super::certificate::signature_algorithm;
use super::read::{Fields, whole};
use super::{PublicKey, X509Error, oid};
use crate::crypto::{Algorithm, BadSignature, Crypto, Signature};
use crate::time::Validity;

/// The longest CRL that is read: room for about 50,000 revoked platforms.
pub(crate) const MAX_CRL_BYTES: usize = 2 << 20;

/// A serial number: at most 20 bytes, as RFC 5280 allows, without the sign byte that DER may prepend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial {
    bytes: [u8; 20],
    len: u8,
}

impl Serial {
    /// From the contents of an INTEGER.
    pub(super) fn new(integer: &[u8]) -> Result<Self, X509Error> {
        let digits = match integer {
            [0, rest @ ..] if !rest.is_empty() => rest,
            all => all,
        };
        if digits.is_empty() || digits.len() > 20 {
            return Err(X509Error::Serial { got: digits.len() });
        }
        let mut bytes = [0; 20];
        bytes[..digits.len()].copy_from_slice(digits);
        Ok(Self { bytes, len: digits.len() as u8 })
    }

    /// Its bytes, big-endian.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// A CRL, read: what it revokes is a sorted list of its own, so it can be kept without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crl {
    /// CRL number, big-endian, at most 20 bytes.
    pub number: Serial,
    /// From this update to the next.
    pub validity: Validity,
    revoked: Vec<Serial>,
}

/// A CRL and the signature over it.
#[derive(Clone, Debug)]
pub struct SignedCrl<'a> {
    /// What it says.
    pub crl: Crl,
    /// Issuer, DER of a Name.
    pub issuer: &'a [u8],
    tbs: &'a [u8],
    algorithm: Algorithm,
    signature: &'a [u8],
}

impl Crl {
    /// Whether it lists this serial number.
    #[must_use]
    pub fn revokes(&self, serial: &Serial) -> bool {
        self.revoked.binary_search(serial).is_ok()
    }

    /// How many it lists.
    #[must_use]
    pub fn len(&self) -> usize {
        self.revoked.len()
    }

    /// Whether it lists none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.revoked.is_empty()
    }
}

impl<'a> SignedCrl<'a> {
    /// Reads a CRL and nothing after it.
    ///
    /// # Errors
    ///
    /// [`X509Error`].
    pub fn parse(der: &'a [u8]) -> Result<Self, X509Error> {
        if der.len() > MAX_CRL_BYTES {
            return Err(X509Error::TooLong { limit: MAX_CRL_BYTES, got: der.len() });
        }
        let mut outer = Fields::of_sequence(der)?;
        let tbs = outer.raw()?;
        let outer_algorithm = outer.raw()?;
        let signature = outer.bits("signature")?;
        outer.finish()?;

        let mut fields = Fields::of_sequence(tbs)?;
        // Version v2 is the integer 1.
        if fields.optional(Tag::Integer)? != Some(&[1]) {
            return Err(X509Error::Version);
        }
        if fields.raw()? != outer_algorithm {
            return Err(X509Error::AlgorithmMismatch);
        }
        let issuer = fields.raw()?;
        let not_before = fields.time()?;
        if !fields.next_is(Tag::UtcTime) && !fields.next_is(Tag::GeneralizedTime) {
            return Err(X509Error::Missing("nextUpdate"));
        }
        let not_after = fields.time()?;
        let mut revoked = match fields.optional(Tag::Sequence)? {
            Some(list) => revoked(list)?,
            None => Vec::new(),
        };
        revoked.sort_unstable();
        let extensions = fields.context(0)?.ok_or(X509Error::Missing("CRL number"))?;
        fields.finish()?;
        Ok(Self {
            crl: Crl {
                number: crl_number(whole(extensions, Tag::Sequence)?)?,
                validity: Validity { not_before, not_after },
                revoked,
            },
            issuer,
            tbs,
            algorithm: signature_algorithm(outer_algorithm)?,
            signature,
        })
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
}

fn revoked(list: &[u8]) -> Result<Vec<Serial>, X509Error> {
    let mut fields = Fields::new(list)?;
    let mut serials = Vec::new();
    while !fields.is_empty() {
        let mut entry = fields.sequence()?;
        serials.push(Serial::new(entry.integer()?)?);
        entry.time()?;
        // Why it was revoked does not matter, unless a critical extension changes what is listed.
        if let Some(extensions) = entry.optional(Tag::Sequence)? {
            each_extension(extensions, |oid, critical, _| {
                if critical { Err(X509Error::Critical(oid)) } else { Ok(()) }
            })?;
        }
        entry.finish()?;
    }
    Ok(serials)
}

fn crl_number(extensions: &[u8]) -> Result<Serial, X509Error> {
    let mut number = None;
    each_extension(extensions, |oid, critical, value| {
        match oid {
            oid::CRL_NUMBER if number.is_some() => return Err(X509Error::Duplicate(oid)),
            oid::CRL_NUMBER => number = Some(Serial::new(whole(value, Tag::Integer)?)?),
            oid::AUTHORITY_KEY_IDENTIFIER => {}
            // Says that the list covers only a part of the certificates.
            oid::ISSUING_DISTRIBUTION_POINT => return Err(X509Error::Critical(oid)),
            oid if critical => return Err(X509Error::Critical(oid)),
            _ => {}
        }
        Ok(())
    })?;
    number.ok_or(X509Error::Missing("CRL number"))
}

fn each_extension<'a>(
    extensions: &'a [u8],
    mut visit: impl FnMut(der::asn1::ObjectIdentifier, bool, &'a [u8]) -> Result<(), X509Error>,
) -> Result<(), X509Error> {
    let mut fields = Fields::new(extensions)?;
    while !fields.is_empty() {
        let extension = super::certificate::extension(&mut fields)?;
        visit(extension.oid, extension.critical, extension.value)?;
    }
    Ok(())
}
