//! What a verifier needs beside a quote: CRLs, TCB information and the quoting enclave's identity, issued by
//! the root's authorities.

mod documents;
mod tcb;

use crate::certificate::{Certified, Validity, date};
use crate::error::PlatformError;
use crate::identity::FMSPC;
use crate::pck::PckCa;
use crate::root::Root;
pub(crate) use documents::hex;
use documents::{Issue, qe_identity, tcb_info};
use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};
use serde::{Serialize, Serializer};
pub use tcb::{ADVISORY, QeLevel, TcbLevel, TcbStatus};

const DAY: i64 = 24 * 60 * 60;
/// How long collateral is good: as long as Intel's.
const LIFETIME: i64 = 30 * DAY;

/// What collateral says; tests change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollateralSettings {
    /// The platforms it is about.
    pub fmspc: [u8; 6],
    /// Best first.
    pub tcb_levels: Vec<TcbLevel>,
    /// Best first.
    pub qe_levels: Vec<QeLevel>,
    /// tcbEvaluationDataNumber of both documents.
    pub evaluation: u32,
    /// Serial numbers of revoked PCK certificates.
    pub revoked_pcks: Vec<Vec<u8>>,
    /// The revoked CAs of PCK certificates.
    pub revoked_cas: Vec<PckCa>,
}

impl Default for CollateralSettings {
    /// The current platform is up to date, older ones are out of date, nothing is revoked.
    fn default() -> Self {
        Self {
            fmspc: FMSPC,
            tcb_levels: tcb::platform_levels(),
            qe_levels: tcb::qe_levels(),
            evaluation: 1,
            revoked_pcks: Vec::new(),
            revoked_cas: Vec::new(),
        }
    }
}

/// When collateral is issued and when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Issued(pub Validity);

impl Issued {
    /// What a service gives out at `now` (Unix seconds): issued once a day, at midnight, at least an hour ago
    /// (so that a clock that is a little behind takes it), and good for 30 days from then.
    #[must_use]
    pub const fn at(now: i64) -> Self {
        let from = (now - 60 * 60).div_euclid(DAY) * DAY;
        Self(Validity { from, until: from + LIFETIME })
    }

    /// Counts the days: a later CRL has a higher number.
    const fn number(self) -> u64 {
        self.0.from.div_euclid(DAY).unsigned_abs()
    }
}

/// Collateral of one platform, in the form that verifiers read: serialized with serde_json this is the JSON
/// of dcap-qvl's `QuoteCollateralV3`, where bytes are hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Collateral {
    /// PEM: CA of the PCK certificates, root.
    pub pck_crl_issuer_chain: String,
    /// DER.
    #[serde(serialize_with = "as_hex")]
    pub root_ca_crl: Vec<u8>,
    /// DER.
    #[serde(serialize_with = "as_hex")]
    pub pck_crl: Vec<u8>,
    /// PEM: signer, root.
    pub tcb_info_issuer_chain: String,
    /// Compact JSON, as signed.
    pub tcb_info: String,
    /// R ‖ S, 64 bytes.
    #[serde(serialize_with = "as_hex")]
    pub tcb_info_signature: Vec<u8>,
    /// PEM: signer, root.
    pub qe_identity_issuer_chain: String,
    /// Compact JSON, as signed.
    pub qe_identity: String,
    /// R ‖ S, 64 bytes.
    #[serde(serialize_with = "as_hex")]
    pub qe_identity_signature: Vec<u8>,
}

impl Collateral {
    /// Issues it for platforms that `ca` certifies.
    ///
    /// # Errors
    /// A date out of range.
    pub fn issue(
        root: &Root,
        ca: PckCa,
        settings: &CollateralSettings,
        issued: Issued,
    ) -> Result<Self, PlatformError> {
        let issue =
            Issue { from: issued.0.from, until: issued.0.until, evaluation: settings.evaluation };
        let tcb_info = tcb_info(&settings.fmspc, &settings.tcb_levels, issue)?;
        let qe_identity = qe_identity(&settings.qe_levels, issue)?;
        let signer_chain = [&*root.tcb_signer.pem, &root.root.pem].concat();
        let revoked_cas = settings.revoked_cas.iter().map(|&ca| root.ca(ca).serial());
        let revoked_pcks = settings.revoked_pcks.iter().map(|serial| serial.clone().into());
        Ok(Self {
            pck_crl_issuer_chain: [&*root.ca(ca).pem, &root.root.pem].concat(),
            root_ca_crl: crl(&root.root, revoked_cas, issued)?,
            pck_crl: crl(root.ca(ca), revoked_pcks, issued)?,
            tcb_info_issuer_chain: signer_chain.clone(),
            tcb_info_signature: root.tcb_signer.key.sign(tcb_info.as_bytes()).to_vec(),
            tcb_info,
            qe_identity_issuer_chain: signer_chain,
            qe_identity_signature: root.tcb_signer.key.sign(qe_identity.as_bytes()).to_vec(),
            qe_identity,
        })
    }
}

fn as_hex<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex(bytes).to_lowercase())
}

/// No issuing distribution point: a CRL of everything that its issuer issues.
fn crl(
    issuer: &Certified,
    revoked: impl Iterator<Item = SerialNumber>,
    issued: Issued,
) -> Result<Vec<u8>, rcgen::Error> {
    let this_update = date(issued.0.from)?;
    let revoked = revoked.map(|serial_number| RevokedCertParams {
        serial_number,
        revocation_time: this_update,
        reason_code: Some(RevocationReason::KeyCompromise),
        invalidity_date: None,
    });
    let list = CertificateRevocationListParams {
        this_update,
        next_update: date(issued.0.until)?,
        crl_number: SerialNumber::from(issued.number()),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Ok(list.signed_by(&issuer.issuer())?.der().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collateral_is_issued_at_midnight_an_hour_or_more_ago() {
        let from = |now| Issued::at(now).0.from;
        assert_eq!(from(10 * DAY), 9 * DAY);
        assert_eq!(from(10 * DAY + 3599), 9 * DAY);
        assert_eq!(from(10 * DAY + 3600), 10 * DAY);
        assert_eq!(from(11 * DAY + 3599), 10 * DAY);
        assert_eq!(Issued::at(10 * DAY).0.until, 39 * DAY);
        assert!(Issued::at(12 * DAY).number() > Issued::at(10 * DAY).number());
    }
}
