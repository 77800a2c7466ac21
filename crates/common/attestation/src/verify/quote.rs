//! A quote, from its bytes to claims.

use super::collateral::{Parts, signature};
use super::pck::{self, KnownPlatform, KnownPlatforms};
use super::{qe, tcb, tdx};
use crate::anchor::TrustAnchor;
use crate::check::{CheckId, Checks, Value};
use crate::claims::{Claims, Measurement, Platform, Tcb, Tee};
use crate::crypto::{Algorithm, Crypto, Signature};
use crate::quote::{Body, INTEL_QE_VENDOR, Quote, QuoteError, QuoteTee};

pub(super) struct Found {
    pub(super) claims: Option<Claims>,
    pub(super) platform: Option<KnownPlatform>,
}

/// What follows from a quote that can be read.
const AFTER_PARSE: &[CheckId] = &[
    CheckId::QuoteVendor,
    CheckId::QuoteCertification,
    CheckId::PckChain,
    CheckId::PckIssuer,
    CheckId::PckSignature,
    CheckId::PckConstraints,
    CheckId::PckExtension,
    CheckId::PckValidity,
    CheckId::PckRevocation,
    CheckId::QeReportSignature,
    CheckId::QeReportData,
    CheckId::QuoteSignature,
    CheckId::QeIdentityId,
    CheckId::QeMrsigner,
    CheckId::QeIsvprodid,
    CheckId::QeMiscselect,
    CheckId::QeAttributes,
    CheckId::QeTcb,
    CheckId::TcbInfoId,
    CheckId::TcbInfoFmspc,
    CheckId::TcbInfoPceid,
    CheckId::TcbLevel,
    CheckId::TcbRevoked,
];

pub(super) fn examine(
    crypto: &impl Crypto,
    anchor: &TrustAnchor,
    bytes: &[u8],
    parts: &Parts,
    known: &KnownPlatforms,
    seconds: u64,
    checks: &mut Checks,
) -> Found {
    let Some(quote) = parse(bytes, checks) else {
        return Found { claims: None, platform: None };
    };
    checks.equal(CheckId::QuoteVendor, &INTEL_QE_VENDOR, &quote.header.qe_vendor_id);
    let data = &quote.signature;
    let (pck, platform) =
        pck::examine(crypto, anchor, data.certification, parts, known, seconds, checks);
    let qe_report = qe::examine(crypto, data, pck.as_ref(), checks);
    signed(crypto, &quote, checks);
    let tee = quote.header.tee;
    let identity = parts.qe_identity.as_ref();
    let qe_level = qe_report.and_then(|report| qe::matches(&report, tee, identity, checks));
    let info = parts.tcb_info.as_ref();
    let tcb = tcb::examine(&quote.body, tee, pck.as_ref(), info, identity.zip(qe_level), checks);
    if let Body::Tdx(report) = &quote.body {
        tdx::attributes(report, checks);
    }
    Found { claims: Some(claims(&quote, anchor, pck.as_ref(), tcb)), platform }
}

fn parse<'a>(bytes: &'a [u8], checks: &mut Checks) -> Option<Quote<'a>> {
    let error = match Quote::parse(bytes) {
        Ok(quote) => {
            let id = CheckId::QuoteFormat;
            checks.add(id, true, id.expectation(), "as expected");
            let padding = alloc::format!("{} zero bytes", quote.padding);
            checks.add(CheckId::QuoteTrailing, true, "zero bytes only", padding);
            let id = CheckId::QuoteVersion;
            checks.add(id, true, id.expectation(), u64::from(quote.header.version));
            let tee = match quote.header.tee {
                QuoteTee::Sgx => "SGX",
                QuoteTee::Tdx => "TDX",
            };
            checks.add(CheckId::QuoteTee, true, CheckId::QuoteTee.expectation(), tee);
            let kind = u64::from(quote.header.attestation_key_type);
            let id = CheckId::QuoteKeyType;
            checks.add(id, true, id.expectation(), kind);
            return Some(quote);
        }
        Err(error) => error,
    };
    let id = match error {
        QuoteError::Version { .. } => CheckId::QuoteVersion,
        QuoteError::Tee { .. } => CheckId::QuoteTee,
        QuoteError::KeyType { .. } => CheckId::QuoteKeyType,
        QuoteError::Trailing { .. } => CheckId::QuoteTrailing,
        _ => CheckId::QuoteFormat,
    };
    checks.add(id, false, id.expectation(), Value::display(&error));
    for after in AFTER_PARSE {
        checks.not_run(*after, id);
    }
    None
}

fn signed(crypto: &impl Crypto, quote: &Quote<'_>, checks: &mut Checks) {
    let mut key = [4; 65];
    key[1..].copy_from_slice(&quote.signature.attestation_key);
    let ok = crypto
        .verify(
            Algorithm::EcdsaP256Sha256,
            &key,
            quote.signed,
            Signature::Fixed(&quote.signature.signature),
        )
        .is_ok();
    signature(CheckId::QuoteSignature, ok, checks);
}

fn claims(
    quote: &Quote<'_>,
    anchor: &TrustAnchor,
    pck: Option<&pck::Pck>,
    tcb: Option<Tcb>,
) -> Claims {
    let (tee, measurement, debug) = match &quote.body {
        Body::Sgx(report) => (
            Tee::Sgx,
            Measurement::Sgx {
                mrenclave: report.mrenclave,
                mrsigner: report.mrsigner,
                isvprodid: report.isvprodid,
                isvsvn: report.isvsvn,
            },
            report.attributes.flags.contains(sgx::AttributeFlags::DEBUG),
        ),
        Body::Tdx(report) => (
            Tee::Tdx,
            Measurement::Tdx {
                mrtd: report.mrtd,
                rtmr: report.rtmr,
                mrconfigid: report.mrconfigid,
                mrowner: report.mrowner,
                mrownerconfig: report.mrownerconfig,
            },
            tdx::is_debug(report),
        ),
    };
    let extension = pck.map(|pck| &pck.extension);
    Claims {
        snp: None,
        tee,
        emulated: anchor.is_emulated(),
        measurement,
        debug,
        report_data: *quote.report_data(),
        tcb,
        platform: Platform {
            ppid: extension.map(|extension| extension.ppid),
            platform_instance_id: extension.and_then(|extension| extension.platform_instance_id),
            chip_id: None,
            fmspc: extension.map(|extension| extension.fmspc),
        },
    }
}
