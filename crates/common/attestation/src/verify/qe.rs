//! The quoting enclave: certified by the platform, and the one that the QE identity names.

use sgx::{AttributeFlags, ReportBody};

use super::collateral::signature;
use super::pck::Pck;
use super::tcb::Level;
use crate::check::{CheckId, Checks, Value};
use crate::collateral::{QeIdentity, QeIdentityId};
use crate::crypto::{Algorithm, Crypto, Signature};
use crate::quote::{QuoteTee, SignatureData};

/// Checks who vouches for the attestation key.
pub(super) fn examine(
    crypto: &impl Crypto,
    data: &SignatureData<'_>,
    pck: Option<&Pck>,
    checks: &mut Checks,
) -> Option<ReportBody> {
    match pck {
        Some(pck) => {
            let ok = pck.holder.algorithm == Algorithm::EcdsaP256Sha256
                && crypto
                    .verify(
                        Algorithm::EcdsaP256Sha256,
                        &pck.holder.key,
                        data.qe_report,
                        Signature::Fixed(&data.qe_report_signature),
                    )
                    .is_ok();
            signature(CheckId::QeReportSignature, ok, checks);
        }
        None => checks.not_run(CheckId::QeReportSignature, CheckId::PckChain),
    }
    let report = ReportBody::from_bytes(data.qe_report.first_chunk()?);
    let mut hashed = alloc::vec::Vec::with_capacity(64 + data.qe_auth_data.len());
    hashed.extend(data.attestation_key);
    hashed.extend(data.qe_auth_data);
    let mut expected = [0; 64];
    expected[..32].copy_from_slice(&crypto.sha256(&hashed));
    checks.equal(CheckId::QeReportData, &expected, &report.reportdata);
    Some(report)
}

/// Compares it with the QE identity, and returns its patch level.
pub(super) fn matches<'a>(
    report: &ReportBody,
    tee: QuoteTee,
    identity: Option<&'a QeIdentity>,
    checks: &mut Checks,
) -> Option<Level<'a>> {
    let Some(identity) = identity else {
        for id in [
            CheckId::QeIdentityId,
            CheckId::QeMrsigner,
            CheckId::QeIsvprodid,
            CheckId::QeMiscselect,
            CheckId::QeAttributes,
            CheckId::QeTcb,
        ] {
            checks.not_run(id, CheckId::QeIdentityFormat);
        }
        return None;
    };
    let expected = match tee {
        QuoteTee::Sgx => QeIdentityId::Qe,
        QuoteTee::Tdx => QeIdentityId::TdQe,
    };
    let got = identity.id;
    checks.add(CheckId::QeIdentityId, got == expected, expected.name(), got.name());
    checks.equal(CheckId::QeMrsigner, &identity.mrsigner, &report.mrsigner);
    let (expected, got) = (identity.isvprodid, report.isvprodid);
    checks.add(CheckId::QeIsvprodid, expected == got, u64::from(expected), u64::from(got));
    let mask = identity.miscselect_mask;
    let (expected, got) = (identity.miscselect & mask, report.miscselect.bits() & mask);
    checks.equal(CheckId::QeMiscselect, &expected.to_le_bytes(), &got.to_le_bytes());
    let mask = u128::from_le_bytes(identity.attributes_mask);
    let expected = u128::from_le_bytes(identity.attributes) & mask;
    let got = u128::from_le_bytes(report.attributes.to_bytes());
    // A debug build's memory is open to the host, whatever the mask leaves out.
    let is_debug = report.attributes.flags.contains(AttributeFlags::DEBUG);
    checks.add(
        CheckId::QeAttributes,
        expected == got & mask && !is_debug,
        &expected.to_le_bytes(),
        &got.to_le_bytes(),
    );
    let level = identity.levels.iter().find(|level| level.isvsvn <= report.isvsvn);
    let got = Value::Number(report.isvsvn.into());
    let least = identity.levels.last().map_or(Value::None, |level| {
        Value::from(alloc::format!("isvsvn at least {}", level.isvsvn))
    });
    checks.add(CheckId::QeTcb, level.is_some(), least, got);
    level.map(|level| Level {
        status: level.status,
        advisories: &level.advisories,
        date: level.date,
    })
}
