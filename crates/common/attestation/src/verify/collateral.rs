//! Collateral against one trust anchor.

use alloc::vec::Vec;

use super::Holder;
use crate::anchor::TrustAnchor;
use crate::check::{CheckId, Checks, Value};
use crate::collateral::{Collateral, QeIdentity, TcbInfo};
use crate::crypto::{Algorithm, Crypto, Signature};
use crate::time::{Now, Validity};
use crate::x509::{Certificate, Crl, Serial, SignedCrl, chain};

/// Collateral whose every signature holds under one anchor, and whose every date did when it was made.
///
/// Keep it to verify many quotes; each use compares its dates anew.
#[derive(Clone, Debug)]
pub struct VerifiedCollateral {
    parts: Parts,
    /// The checks that no time changes.
    checks: Checks,
    anchor: [u8; 32],
}

impl VerifiedCollateral {
    pub(super) fn new(
        crypto: &impl Crypto,
        anchor: &TrustAnchor,
        collateral: &Collateral,
        now: Now,
    ) -> Result<Self, Checks> {
        let mut checks = Checks::with_room();
        let parts = Parts::examine(crypto, anchor, collateral, &mut checks);
        let mut dates = Checks::new();
        parts.check_dates(anchor, now.seconds, &mut dates);
        if checks.all_hold() && dates.all_hold() {
            return Ok(Self { parts, checks, anchor: *anchor.sha256() });
        }
        checks.append(dates);
        Err(checks)
    }

    /// All checks as they stand at a moment, under an anchor that must be the one it was verified under.
    pub(super) fn checks_at(&self, anchor: &TrustAnchor, seconds: u64) -> Checks {
        let mut checks = Checks::with_room();
        checks.append(self.checks.clone());
        if self.anchor != *anchor.sha256() {
            checks.equal(CheckId::RootIdentity, anchor.sha256(), &self.anchor);
        }
        self.parts.check_dates(anchor, seconds, &mut checks);
        checks
    }

    pub(super) const fn parts(&self) -> &Parts {
        &self.parts
    }

    /// SHA-256 of the DER of the anchor it was verified under.
    #[must_use]
    pub const fn anchor(&self) -> &[u8; 32] {
        &self.anchor
    }

    /// The span in which all of it is current.
    #[must_use]
    pub fn validity(&self) -> Validity {
        let always = Validity { not_before: 0, not_after: u64::MAX };
        self.parts.dates().fold(always, |span, (_, validity)| match validity {
            Some(validity) => span.intersection(validity),
            None => span,
        })
    }

    /// The TCB info.
    #[must_use]
    pub fn tcb_info(&self) -> &TcbInfo {
        self.parts.tcb_info.as_ref().expect("verified collateral is complete")
    }

    /// The QE identity.
    #[must_use]
    pub fn qe_identity(&self) -> &QeIdentity {
        self.parts.qe_identity.as_ref().expect("verified collateral is complete")
    }

    /// The PCK CA's CRL.
    #[must_use]
    pub fn pck_crl(&self) -> &Crl {
        self.parts.pck_crl.as_ref().expect("verified collateral is complete")
    }

    /// The root's CRL.
    #[must_use]
    pub fn root_crl(&self) -> &Crl {
        self.parts.root_crl.as_ref().expect("verified collateral is complete")
    }

    /// DER of the PCK CA's certificate: tells processor from platform CA.
    #[must_use]
    pub fn pck_ca_der(&self) -> &[u8] {
        &self.parts.pck_ca.as_ref().expect("verified collateral is complete").der
    }
}

/// The CA of PCK certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PckCa {
    pub(super) der: Vec<u8>,
    pub(super) holder: Holder,
}

/// What could be read of collateral. Each part is there or a check says why not.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    pub(super) root_crl: Option<Crl>,
    pub(super) pck_ca: Option<PckCa>,
    pub(super) pck_crl: Option<Crl>,
    /// The signer of the TCB info, then that of the QE identity if it is another.
    signers: Vec<Holder>,
    pub(super) tcb_info: Option<TcbInfo>,
    pub(super) qe_identity: Option<QeIdentity>,
}

impl Parts {
    pub(super) fn examine(
        crypto: &impl Crypto,
        anchor: &TrustAnchor,
        collateral: &Collateral,
        checks: &mut Checks,
    ) -> Self {
        let mut parts = Self::default();
        parts.root_crl(crypto, anchor, &collateral.root_ca_crl, checks);
        parts.pck_ca(crypto, anchor, &collateral.pck_crl_issuer_chain, checks);
        parts.pck_crl(crypto, &collateral.pck_crl, checks);

        let chain = &collateral.tcb_info_issuer_chain;
        let signer = parts.signer(crypto, anchor, "tcb_info_issuer_chain", chain, checks);
        let tcb_info = TcbInfo::parse(&collateral.tcb_info);
        parts.tcb_info = read(CheckId::TcbInfoFormat, tcb_info, checks);
        let document = (&*collateral.tcb_info, &*collateral.tcb_info_signature);
        signed(crypto, CheckId::TcbInfoSignature, signer.as_ref(), document, checks);

        // Usually one certificate signs both: then its chain needs no second look.
        let chain = &collateral.qe_identity_issuer_chain;
        let other = if *chain == collateral.tcb_info_issuer_chain {
            None
        } else {
            Some(parts.signer(crypto, anchor, "qe_identity_issuer_chain", chain, checks))
        };
        let qe_signer = other.as_ref().unwrap_or(&signer);
        let qe_identity = QeIdentity::parse(&collateral.qe_identity);
        parts.qe_identity = read(CheckId::QeIdentityFormat, qe_identity, checks);
        let document = (&*collateral.qe_identity, &*collateral.qe_identity_signature);
        signed(crypto, CheckId::QeIdentitySignature, qe_signer.as_ref(), document, checks);
        parts.signers = signer.into_iter().chain(other.flatten()).collect();
        parts
    }

    /// Everything that has an end, with the check that compares it.
    fn dates(&self) -> impl Iterator<Item = (CheckId, Option<Validity>)> {
        let crl = |crl: &Option<Crl>| crl.as_ref().map(|crl| crl.validity);
        [
            (CheckId::RootCrlValidity, crl(&self.root_crl)),
            (CheckId::PckCaValidity, self.pck_ca.as_ref().map(|ca| ca.holder.validity)),
            (CheckId::PckCrlValidity, crl(&self.pck_crl)),
            (CheckId::TcbInfoValidity, self.tcb_info.as_ref().map(|info| info.validity)),
            (CheckId::QeIdentityValidity, self.qe_identity.as_ref().map(|id| id.validity)),
            (CheckId::TcbSignerValidity, self.signers.first().map(|signer| signer.validity)),
        ]
        .into_iter()
        .chain(
            self.signers
                .iter()
                .skip(1)
                .map(|signer| (CheckId::TcbSignerValidity, Some(signer.validity))),
        )
    }

    /// Compares all dates with one moment.
    pub(super) fn check_dates(&self, anchor: &TrustAnchor, seconds: u64, checks: &mut Checks) {
        check_date(CheckId::RootValidity, anchor.validity(), seconds, checks);
        for (id, validity) in self.dates() {
            match validity {
                Some(validity) => check_date(id, validity, seconds, checks),
                None => checks.not_run(id, source(id)),
            }
        }
    }

    fn root_crl(
        &mut self,
        crypto: &impl Crypto,
        anchor: &TrustAnchor,
        der: &[u8],
        checks: &mut Checks,
    ) {
        let Some(signed) = read(CheckId::RootCrlFormat, SignedCrl::parse(der), checks) else {
            checks.not_run(CheckId::RootCrlSignature, CheckId::RootCrlFormat);
            checks.not_run(CheckId::RootRevocation, CheckId::RootCrlFormat);
            return;
        };
        let ok = signed.is_signed_by(crypto, anchor.subject(), anchor.key()).is_ok();
        signature(CheckId::RootCrlSignature, ok, checks);
        self.root_crl = Some(signed.crl);
        self.check_revocation(CheckId::RootRevocation, anchor.serial(), checks);
    }

    /// Compares a serial number of the anchor's own certificates with the root CRL.
    fn check_revocation(&self, id: CheckId, serial: &Serial, checks: &mut Checks) {
        match &self.root_crl {
            Some(crl) => check_revocation(id, crl, serial, checks),
            None => checks.not_run(id, CheckId::RootCrlFormat),
        }
    }

    fn pck_ca(
        &mut self,
        crypto: &impl Crypto,
        anchor: &TrustAnchor,
        pem: &str,
        checks: &mut Checks,
    ) {
        let ders = issuer_chain("pck_crl_issuer_chain", pem, anchor, checks);
        let Some((der, certificate)) = ders.as_ref().and_then(|der| {
            let certificate = Certificate::parse(der);
            Some((der, read(CheckId::CollateralChains, certificate, checks)?))
        }) else {
            for id in [CheckId::PckCaSignature, CheckId::PckCaConstraints, CheckId::PckCaRevocation]
            {
                checks.not_run(id, CheckId::CollateralChains);
            }
            return;
        };
        let ok = certificate.is_signed_by(crypto, anchor.subject(), anchor.key()).is_ok();
        signature(CheckId::PckCaSignature, ok, checks);
        constraints(CheckId::PckCaConstraints, certificate.is_ca(), "neither", checks);
        self.check_revocation(CheckId::PckCaRevocation, &certificate.serial, checks);
        self.pck_ca = Some(PckCa { der: der.clone(), holder: Holder::of(&certificate) });
    }

    fn pck_crl(&mut self, crypto: &impl Crypto, der: &[u8], checks: &mut Checks) {
        let Some(signed) = read(CheckId::PckCrlFormat, SignedCrl::parse(der), checks) else {
            checks.not_run(CheckId::PckCrlSignature, CheckId::PckCrlFormat);
            return;
        };
        match &self.pck_ca {
            Some(ca) => {
                let ok = signed.is_signed_by(crypto, &ca.holder.subject, ca.holder.key()).is_ok();
                signature(CheckId::PckCrlSignature, ok, checks);
            }
            None => checks.not_run(CheckId::PckCrlSignature, CheckId::CollateralChains),
        }
        self.pck_crl = Some(signed.crl);
    }

    /// The certificate that signs TCB info or QE identity: issued by the anchor itself.
    fn signer(
        &self,
        crypto: &impl Crypto,
        anchor: &TrustAnchor,
        name: &'static str,
        pem: &str,
        checks: &mut Checks,
    ) -> Option<Holder> {
        let der = issuer_chain(name, pem, anchor, checks);
        let certificate = der
            .as_ref()
            .and_then(|der| read(CheckId::CollateralChains, Certificate::parse(der), checks));
        let Some(certificate) = certificate else {
            for id in [
                CheckId::TcbSignerSignature,
                CheckId::TcbSignerConstraints,
                CheckId::TcbSignerRevocation,
            ] {
                checks.not_run(id, CheckId::CollateralChains);
            }
            return None;
        };
        let ok = certificate.is_signed_by(crypto, anchor.subject(), anchor.key()).is_ok();
        signature(CheckId::TcbSignerSignature, ok, checks);
        let ok = certificate.is_signing_leaf();
        constraints(CheckId::TcbSignerConstraints, ok, "another kind of certificate", checks);
        self.check_revocation(CheckId::TcbSignerRevocation, &certificate.serial, checks);
        Some(Holder::of(&certificate))
    }
}

/// The check that failed where this one has nothing to look at.
const fn source(id: CheckId) -> CheckId {
    match id {
        CheckId::RootCrlValidity => CheckId::RootCrlFormat,
        CheckId::PckCrlValidity => CheckId::PckCrlFormat,
        CheckId::TcbInfoValidity => CheckId::TcbInfoFormat,
        CheckId::QeIdentityValidity => CheckId::QeIdentityFormat,
        _ => CheckId::CollateralChains,
    }
}

/// The first certificate of a chain of two, whose second must be the anchor.
fn issuer_chain(
    name: &'static str,
    pem: &str,
    anchor: &TrustAnchor,
    checks: &mut Checks,
) -> Option<Vec<u8>> {
    let expected = CheckId::CollateralChains.expectation();
    let ders = match chain(pem.as_bytes()) {
        Ok(ders) => ders,
        Err(error) => {
            let got = alloc::format!("{name}: {error}");
            checks.add(CheckId::CollateralChains, false, expected, got);
            checks.not_run(CheckId::RootIdentity, CheckId::CollateralChains);
            return None;
        }
    };
    let Ok([first, root]) = <[Vec<u8>; 2]>::try_from(ders) else {
        let got = alloc::format!("{name}: another number of certificates");
        checks.add(CheckId::CollateralChains, false, expected, got);
        checks.not_run(CheckId::RootIdentity, CheckId::CollateralChains);
        return None;
    };
    checks.add(CheckId::CollateralChains, true, expected, name);
    is_anchor(&root, name, anchor, checks);
    Some(first)
}

/// Checks that the certificate that ends a chain is the anchor, byte for byte.
pub(super) fn is_anchor(
    der: &[u8],
    place: &'static str,
    anchor: &TrustAnchor,
    checks: &mut Checks,
) -> bool {
    if der == anchor.der() {
        return checks.add(CheckId::RootIdentity, true, anchor.sha256(), place);
    }
    let name = Certificate::parse(der)
        .ok()
        .and_then(|root| crate::x509::common_name(root.subject).map(alloc::string::String::from));
    let got = alloc::format!("{place}: {}", name.as_deref().unwrap_or("another certificate"));
    checks.add(CheckId::RootIdentity, false, anchor.sha256(), got)
}

/// Lists whether something could be read.
fn read<T, E: core::fmt::Display>(
    id: CheckId,
    result: Result<T, E>,
    checks: &mut Checks,
) -> Option<T> {
    match result {
        Ok(read) => {
            checks.add(id, true, id.expectation(), "as expected");
            Some(read)
        }
        Err(error) => {
            checks.add(id, false, id.expectation(), Value::display(&error));
            None
        }
    }
}

/// Lists the outcome of a signature check.
pub(super) fn signature(id: CheckId, ok: bool, checks: &mut Checks) -> bool {
    checks.add(id, ok, id.expectation(), if ok { "as expected" } else { "another signature" })
}

pub(super) fn constraints(id: CheckId, ok: bool, otherwise: &'static str, checks: &mut Checks) {
    checks.add(id, ok, id.expectation(), if ok { "as expected" } else { otherwise });
}

pub(super) fn check_date(id: CheckId, validity: Validity, seconds: u64, checks: &mut Checks) {
    // Whichever bound was passed is the one that a reader wants to see.
    let late = seconds > validity.not_after;
    let bound = if late { validity.not_after } else { validity.not_before };
    let ok = validity.contains(seconds);
    let expected = match (ok, late) {
        (true, _) => Value::Time(validity.not_after),
        (false, true) => Value::from(alloc::format!("until {}", crate::time::Rfc3339(bound))),
        (false, false) => Value::from(alloc::format!("from {}", crate::time::Rfc3339(bound))),
    };
    checks.add(id, ok, expected, Value::Time(seconds));
}

pub(super) fn check_revocation(id: CheckId, crl: &Crl, serial: &Serial, checks: &mut Checks) {
    let ok = !crl.revokes(serial);
    checks.add(id, ok, id.expectation(), Value::bytes(serial.as_bytes()));
}

fn signed(
    crypto: &impl Crypto,
    id: CheckId,
    signer: Option<&Holder>,
    (document, signature_bytes): (&str, &[u8]),
    checks: &mut Checks,
) {
    let Some(signer) = signer else {
        checks.not_run(id, CheckId::CollateralChains);
        return;
    };
    let ok = signer.algorithm == Algorithm::EcdsaP256Sha256
        && crypto
            .verify(
                Algorithm::EcdsaP256Sha256,
                &signer.key,
                document.as_bytes(),
                Signature::Fixed(signature_bytes),
            )
            .is_ok();
    signature(id, ok, checks);
}
