//! Collateral that was verified, with the document it came from; and the way between a document and its objects.

use crate::error::CacheError;
use crate::index::{Edition, Name};
use crate::object::{Ca, Object, Tee, Wanted};
use attestation::collateral::{Collateral, TcbInfoId};
use attestation::verify::VerifiedCollateral;
use attestation::x509::{Certificate, Crl, Serial, common_name};
use workload::digest::Hex;

/// Verified collateral.
#[derive(Clone, Debug)]
pub struct Current {
    /// What verifies quotes.
    pub verified: VerifiedCollateral,
    /// The document: what `export` writes.
    pub document: Collateral,
    /// Which quotes it is for.
    pub wanted: Wanted,
    /// When the oldest of its objects came, in seconds since 1970.
    pub fetched: u64,
}

impl Current {
    /// Names what was verified.
    ///
    /// # Errors
    /// The CA's name is neither of the two, or a CRL number has more than 64 bits.
    pub(crate) fn new(
        verified: VerifiedCollateral,
        document: Collateral,
        fetched: u64,
    ) -> Result<Self, CacheError> {
        let info = verified.tcb_info();
        let tee = match info.id {
            TcbInfoId::Sgx => Tee::Sgx,
            TcbInfoId::Tdx => Tee::Tdx,
        };
        let ca = Certificate::parse(verified.pck_ca_der()).ok().and_then(|certificate| {
            Ca::of_name(common_name(certificate.subject).unwrap_or_default())
        });
        let wanted = Wanted { tee, fmspc: info.fmspc, ca: ca.ok_or(CacheError::CaName)? };
        let current = Self { verified, document, wanted, fetched };
        for serial in [current.verified.root_crl().number, current.verified.pck_crl().number] {
            number(&serial).ok_or(CacheError::CrlNumber)?;
        }
        Ok(current)
    }

    /// Whether all of it is current.
    #[must_use]
    pub fn is_valid_at(&self, seconds: u64) -> bool {
        self.verified.validity().contains(seconds)
    }

    /// The editions of its objects, in the order of [`names`].
    pub(crate) fn editions(&self) -> [Edition; 4] {
        let crl = |crl: &Crl| Edition {
            issued: crl.validity.not_before,
            number: number(&crl.number).unwrap_or(u64::MAX),
            next_update: crl.validity.not_after,
        };
        let (info, identity) = (self.verified.tcb_info(), self.verified.qe_identity());
        [
            crl(self.verified.root_crl()),
            crl(self.verified.pck_crl()),
            Edition {
                issued: info.validity.not_before,
                number: info.tcb_evaluation_data_number.into(),
                next_update: info.validity.not_after,
            },
            Edition {
                issued: identity.validity.not_before,
                number: identity.tcb_evaluation_data_number.into(),
                next_update: identity.validity.not_after,
            },
        ]
    }
}

/// A CRL number; `None` beyond 64 bits, which no issuer reaches by counting.
fn number(serial: &Serial) -> Option<u64> {
    let bytes = serial.as_bytes();
    let mut number = [0; 8];
    number.get_mut(8_usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    Some(u64::from_be_bytes(number))
}

/// The names of the objects that a quote needs.
pub(crate) fn names(wanted: &Wanted) -> [Name; 4] {
    let Wanted { tee, fmspc, ca } = *wanted;
    [
        Name::RootCrl,
        Name::PckCrl { ca },
        Name::TcbInfo { tee, fmspc: Hex(fmspc) },
        Name::QeIdentity { tee },
    ]
}

/// Takes a document apart, in the order of [`names`].
pub(crate) fn objects(document: &Collateral) -> [Object; 4] {
    let document = document.clone();
    [
        Object::Crl { crl: document.root_ca_crl, issuer_chain: String::new() },
        Object::Crl { crl: document.pck_crl, issuer_chain: document.pck_crl_issuer_chain },
        Object::Signed {
            body: document.tcb_info,
            signature: document.tcb_info_signature,
            issuer_chain: document.tcb_info_issuer_chain,
        },
        Object::Signed {
            body: document.qe_identity,
            signature: document.qe_identity_signature,
            issuer_chain: document.qe_identity_issuer_chain,
        },
    ]
}

/// Puts a document together. `None` where an object is of another kind than its name says, which only a store
/// that was tampered with gives.
pub(crate) fn document(objects: [Object; 4]) -> Option<Collateral> {
    let [
        Object::Crl { crl: root_ca_crl, .. },
        Object::Crl { crl: pck_crl, issuer_chain: pck_crl_issuer_chain },
        Object::Signed {
            body: tcb_info,
            signature: tcb_info_signature,
            issuer_chain: tcb_info_issuer_chain,
        },
        Object::Signed {
            body: qe_identity,
            signature: qe_identity_signature,
            issuer_chain: qe_identity_issuer_chain,
        },
    ] = objects
    else {
        return None;
    };
    Some(Collateral {
        pck_crl_issuer_chain,
        root_ca_crl,
        pck_crl,
        tcb_info_issuer_chain,
        tcb_info,
        tcb_info_signature,
        qe_identity_issuer_chain,
        qe_identity,
        qe_identity_signature,
        pck_certificate_chain: None,
    })
}
