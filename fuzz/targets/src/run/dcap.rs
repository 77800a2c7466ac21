//! What a verifier of SGX and TDX evidence reads: quotes, certificates, CRLs, collateral, policies.

use attestation::collateral::{Collateral, QeIdentity, Signed, SignedMember, TcbInfo};
use attestation::crypto::RustCrypto;
use attestation::policy::{Policy, ReferenceValues};
use attestation::quote::{Body, Quote};
use attestation::x509::{Certificate, PckExtension, SignedCrl, chain, common_name};
use attestation::{TcbStatus, TrustAnchor};

/// Quotes. What is signed begins the bytes, and every byte is accounted for.
pub fn quote(bytes: &[u8]) {
    let Ok(quote) = Quote::parse(bytes) else { return };
    assert_eq!(quote.signed, &bytes[..quote.signed.len()]);
    let length_at = quote.signed.len();
    let length = bytes[length_at..length_at + 4].try_into().expect("four bytes");
    let end = length_at + 4 + u32::from_le_bytes(length) as usize;
    assert_eq!(end + quote.padding, bytes.len());
    assert!(bytes[end..].iter().all(|&byte| byte == 0));
    assert_eq!(quote.signature.qe_report.len(), 384);
    match quote.body {
        Body::Sgx(_) => assert_eq!(quote.signed.len(), 48 + 384),
        Body::Tdx(report) => assert!(quote.signed.len() >= 48 + 584 && report.rtmr.len() == 4),
    }
}

/// Certificates, one of them as a trust anchor, and PEM chains.
pub fn certificate(bytes: &[u8]) {
    if let Ok(certificate) = Certificate::parse(bytes) {
        assert!(!(certificate.is_ca() && certificate.is_signing_leaf()));
        let _ = common_name(certificate.subject);
        let _ = PckExtension::of(&certificate);
        // Self-issued by name alone is not enough; the signature decides.
        if let Ok(anchor) = TrustAnchor::from_der(bytes, &RustCrypto) {
            assert_eq!(anchor.der(), bytes);
        }
    }
    if let Ok(certificates) = chain(bytes) {
        assert!((1..=attestation::x509::MAX_CHAIN).contains(&certificates.len()));
    }
}

/// The contents of Intel's extension in a PCK certificate.
pub fn pck_extension(bytes: &[u8]) {
    let _ = PckExtension::parse(bytes);
}

/// CRLs. What is listed is revoked.
pub fn crl(bytes: &[u8]) {
    if let Ok(signed) = SignedCrl::parse(bytes) {
        // An entry takes more than ten bytes.
        assert!(signed.crl.len() <= bytes.len() / 10);
        assert!(!signed.crl.number.as_bytes().is_empty());
    }
}

/// TCB info. Levels come out best first, and no level has a status that only combining gives.
pub fn tcb_info(bytes: &[u8]) {
    let Ok(info) = core::str::from_utf8(bytes)
        .map_err(drop)
        .and_then(|text| TcbInfo::parse(text).map_err(drop))
    else {
        return;
    };
    let order = |level: &attestation::collateral::TcbLevel| {
        (level.sgx_components, level.pcesvn, level.tdx_components)
    };
    assert!(info.levels.windows(2).all(|pair| order(&pair[0]) >= order(&pair[1])));
    let combined = [TcbStatus::TDRelaunchAdvised, TcbStatus::TDRelaunchAdvisedConfigurationNeeded];
    assert!(info.levels.iter().all(|level| !combined.contains(&level.status)));
}

/// QE identity.
pub fn qe_identity(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    if let Ok(identity) = QeIdentity::parse(text) {
        assert!(identity.levels.windows(2).all(|pair| pair[0].isvsvn >= pair[1].isvsvn));
    }
}

/// The collateral document, and the envelope in which its signed parts come. What is read is written back
/// the same.
pub fn collateral(bytes: &[u8]) {
    if let Ok(collateral) = Collateral::from_json(bytes) {
        let again = Collateral::from_json(collateral.to_json().as_bytes()).expect("as written");
        assert_eq!(again, collateral);
    }
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    for member in [SignedMember::TcbInfo, SignedMember::EnclaveIdentity] {
        if let Ok(signed) = Signed::parse(text, member) {
            assert!(text.contains(&signed.document), "cut out byte for byte");
        }
    }
}

/// Policies and reference values. None trusts nothing, and none takes a revoked platform.
pub fn policy(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    if let Ok(policy) = Policy::from_toml(text) {
        assert!(!policy.roots.is_empty() && !policy.tee.is_empty());
        assert!(!policy.tcb_status.is_empty());
        assert!(!policy.tcb_status.contains(&TcbStatus::Revoked));
        assert!(policy.platforms.is_none_or(|platforms| !platforms.is_empty()));
    }
    let _ = ReferenceValues::from_toml(text);
}

/// Whether it is text of this kind.
fn is_text(bytes: &[u8], accepts: impl Fn(&str) -> bool) -> bool {
    core::str::from_utf8(bytes).is_ok_and(accepts)
}

pub(crate) fn is_tcb_info(bytes: &[u8]) -> bool {
    is_text(bytes, |text| TcbInfo::parse(text).is_ok())
}

pub(crate) fn is_qe_identity(bytes: &[u8]) -> bool {
    is_text(bytes, |text| QeIdentity::parse(text).is_ok())
}

pub(crate) fn is_certificate(bytes: &[u8]) -> bool {
    Certificate::parse(bytes).is_ok() || chain(bytes).is_ok()
}

pub(crate) fn is_collateral(bytes: &[u8]) -> bool {
    let is_signed = |member| is_text(bytes, |text| Signed::parse(text, member).is_ok());
    Collateral::from_json(bytes).is_ok()
        || is_signed(SignedMember::TcbInfo)
        || is_signed(SignedMember::EnclaveIdentity)
}

pub(crate) fn is_policy(bytes: &[u8]) -> bool {
    is_text(bytes, |text| Policy::from_toml(text).is_ok())
        || is_text(bytes, |text| ReferenceValues::from_toml(text).is_ok())
}
