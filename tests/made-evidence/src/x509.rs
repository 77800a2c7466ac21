//! Certificates and revocation lists, each field as the test wants it.

use crate::der;
use crate::key::Key;

/// An extension: identifier, critical, value.
pub type Extension = (Vec<u64>, bool, Vec<u8>);

/// A certificate to be.
#[derive(Clone)]
pub struct Certificate<'a> {
    /// Common name of the subject.
    pub subject: &'a str,
    /// Common name of the issuer.
    pub issuer: &'a str,
    /// Serial number.
    pub serial: u64,
    /// First and last Unix second.
    pub validity: (u64, u64),
    /// SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
    /// Extensions in order.
    pub extensions: Vec<Extension>,
}

impl Certificate<'_> {
    /// DER, signed.
    #[must_use]
    pub fn sign(&self, key: &Key) -> Vec<u8> {
        let extensions: Vec<Vec<u8>> = self.extensions.iter().map(extension).collect();
        let body = der::sequence(&[
            der::explicit(0, &der::number(2)),
            der::number(self.serial),
            key.certificate_algorithm(),
            der::name(self.issuer),
            der::sequence(&[der::time(self.validity.0), der::time(self.validity.1)]),
            der::name(self.subject),
            self.spki.clone(),
            der::explicit(3, &der::sequence(&extensions)),
        ]);
        signed(body, key)
    }
}

/// A revocation list to be.
#[derive(Clone)]
pub struct Crl<'a> {
    /// Common name of the issuer.
    pub issuer: &'a str,
    /// thisUpdate and nextUpdate, Unix seconds.
    pub updates: (u64, u64),
    /// Serial numbers revoked.
    pub revoked: Vec<u64>,
    /// CRL number.
    pub number: u64,
}

impl Crl<'_> {
    /// DER, signed.
    #[must_use]
    pub fn sign(&self, key: &Key) -> Vec<u8> {
        let entry = |&serial| der::sequence(&[der::number(serial), der::time(self.updates.0)]);
        let revoked: Vec<Vec<u8>> = self.revoked.iter().map(entry).collect();
        let number = extension(&(vec![2, 5, 29, 20], false, der::number(self.number)));
        let mut body = vec![
            der::number(1),
            key.certificate_algorithm(),
            der::name(self.issuer),
            der::time(self.updates.0),
            der::time(self.updates.1),
        ];
        if !revoked.is_empty() {
            body.push(der::sequence(&revoked));
        }
        body.push(der::explicit(0, &der::sequence(&[number])));
        signed(der::sequence(&body), key)
    }
}

/// Extensions of an authority: basicConstraints, and keyUsage of certificates and CRLs.
#[must_use]
pub fn authority(path_length: u64) -> Vec<Extension> {
    let constraints = der::sequence(&[der::boolean(true), der::number(path_length)]);
    vec![
        (vec![2, 5, 29, 19], true, constraints),
        (vec![2, 5, 29, 15], true, der::tlv(0x03, &[1, 0x06])),
    ]
}

fn extension((id, critical, value): &Extension) -> Vec<u8> {
    let mut items = vec![der::oid(id)];
    if *critical {
        items.push(der::boolean(true));
    }
    items.push(der::octet_string(value));
    der::sequence(&items)
}

fn signed(body: Vec<u8>, key: &Key) -> Vec<u8> {
    let signature = der::bit_string(&key.sign_certificate(&body));
    der::sequence(&[body, key.certificate_algorithm(), signature])
}
