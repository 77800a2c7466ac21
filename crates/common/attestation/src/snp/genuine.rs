//! Whether a report is genuine: the chain from AMD's root to the report, and whether they speak of the same
//! chip and TCB. What a policy makes of it is [`super::policy`]'s.
//!
//! ARK (the anchor) signs ASK or ASVK and the CRL; ASK signs VCEKs, ASVK signs VLEKs; the endorsement key signs
//! the report. ASK and ASVK differ only by name, so the names are checked: an ASVK could otherwise
//! vouch for a chip. Endorsement keys have no revocation of their own (AMD gives all of them serial
//! number 0): AMD revokes the authority between, or raises the TCB, which policies answer with a floor.

use alloc::string::String;

use super::extensions::{EndorsementKey, Owner};
use super::product::Product;
use super::report::{Report, SigningKey};
use super::tcb::Tcb;
use crate::anchor::TrustAnchor;
use crate::check::{CheckId, Checks, Value};
use crate::crypto::{Algorithm, Crypto, Signature};
use crate::time::{Now, Validity};
use crate::x509::{Certificate, PublicKey, SignedCrl, common_name};

/// What vouches for a report, DER each. AMD's key distribution service has them; hosts may give them along
/// ([`super::table`]).
#[derive(Clone, Copy, Debug)]
pub struct Endorsements<'a> {
    /// VCEK or VLEK.
    pub key: &'a [u8],
    /// ASK or ASVK.
    pub authority: &'a [u8],
    /// The root's list of revoked authorities.
    pub crl: &'a [u8],
}

/// A report and what its certificate says of who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnpClaims {
    /// The report.
    pub report: Report,
    /// The product, by certificate.
    pub product: Product,
    /// cspID of a VLEK; `None` for a VCEK.
    pub csp_id: Option<String>,
}

impl SnpClaims {
    /// Takes a TCB version of the report apart.
    #[must_use]
    pub const fn tcb(&self, bytes: [u8; 8]) -> Tcb {
        Tcb::from_bytes(bytes, self.product)
    }
}

/// Checks everything; what could be read is returned whether or not the checks hold.
pub(crate) fn examine(
    report: &[u8],
    endorsements: &Endorsements<'_>,
    anchor: &TrustAnchor,
    now: Now,
    crypto: &impl Crypto,
    checks: &mut Checks,
) -> Option<SnpClaims> {
    let report = match Report::parse(report) {
        Ok(report) => {
            checks.add(CheckId::SnpFormat, true, expectation(CheckId::SnpFormat), "one");
            Some(report)
        }
        Err(error) => {
            refuse(checks, CheckId::SnpFormat, Value::display(&error));
            None
        }
    };
    within(checks, CheckId::RootValidity, anchor.validity(), now);
    let crl = check_crl(checks, endorsements.crl, anchor, now, crypto);
    let authority = check_authority(checks, endorsements.authority, anchor, crl, now, crypto);
    let key = check_key(checks, endorsements.key, authority.as_ref(), anchor, now, crypto);
    let (Some(report), Some(key)) = (&report, &key) else {
        let because = if report.is_none() { CheckId::SnpFormat } else { CheckId::SnpKeyFormat };
        for id in [
            CheckId::SnpSigningKey,
            CheckId::SnpSignature,
            CheckId::SnpProduct,
            CheckId::SnpTcb,
            CheckId::SnpChip,
        ] {
            checks.not_run(id, because);
        }
        return None;
    };
    check_report(checks, report, key, crypto);
    Some(SnpClaims {
        report: report.clone(),
        product: key.extensions.product,
        csp_id: match key.extensions.owner {
            Owner::Provider { csp_id } => Some(csp_id.into()),
            Owner::Chip { .. } => None,
        },
    })
}

/// The root's CRL, if it can be believed.
fn check_crl<'a>(
    checks: &mut Checks,
    der: &'a [u8],
    anchor: &TrustAnchor,
    now: Now,
    crypto: &impl Crypto,
) -> Option<SignedCrl<'a>> {
    let crl = match SignedCrl::parse(der) {
        Ok(crl) => crl,
        Err(error) => {
            refuse(checks, CheckId::RootCrlFormat, Value::display(&error));
            for id in [CheckId::RootCrlSignature, CheckId::RootCrlValidity, CheckId::RootRevocation]
            {
                checks.not_run(id, CheckId::RootCrlFormat);
            }
            return None;
        }
    };
    checks.add(CheckId::RootCrlFormat, true, expectation(CheckId::RootCrlFormat), "one");
    let signed = crl.is_signed_by(crypto, anchor.subject(), anchor.key()).is_ok();
    let got = by(signed, name(crl.issuer));
    checks.add(CheckId::RootCrlSignature, signed, expectation(CheckId::RootCrlSignature), got);
    within(checks, CheckId::RootCrlValidity, crl.crl.validity, now);
    if !signed {
        checks.not_run(CheckId::RootRevocation, CheckId::RootCrlSignature);
        return None;
    }
    let revoked = crl.crl.revokes(anchor.serial());
    let serial = Value::bytes(anchor.serial().as_bytes());
    checks.add(CheckId::RootRevocation, !revoked, expectation(CheckId::RootRevocation), serial);
    Some(crl)
}

/// ASK or ASVK.
struct Authority<'a> {
    certificate: Certificate<'a>,
}

fn check_authority<'a>(
    checks: &mut Checks,
    der: &'a [u8],
    anchor: &TrustAnchor,
    crl: Option<SignedCrl<'_>>,
    now: Now,
    crypto: &impl Crypto,
) -> Option<Authority<'a>> {
    let certificate = match Certificate::parse(der) {
        Ok(certificate) => certificate,
        Err(error) => {
            refuse(checks, CheckId::SnpAuthorityFormat, Value::display(&error));
            for id in [
                CheckId::SnpAuthoritySignature,
                CheckId::SnpAuthorityConstraints,
                CheckId::SnpAuthorityValidity,
                CheckId::SnpAuthorityRevocation,
            ] {
                checks.not_run(id, CheckId::SnpAuthorityFormat);
            }
            return None;
        }
    };
    let id = CheckId::SnpAuthorityFormat;
    checks.add(id, true, expectation(id), name(certificate.subject));
    let signed = certificate.is_signed_by(crypto, anchor.subject(), anchor.key()).is_ok();
    let id = CheckId::SnpAuthoritySignature;
    checks.add(id, signed, expectation(id), by(signed, name(certificate.issuer)));
    // AMD lets it sign certificates and not CRLs.
    let may_issue = certificate.basic_constraints.is_some_and(|constraints| constraints.ca)
        && certificate.key_usage.is_some_and(|usage| usage.key_cert_sign)
        && certificate.key.algorithm == Algorithm::RsaPssSha384;
    let id = CheckId::SnpAuthorityConstraints;
    checks.add(id, may_issue, expectation(id), if may_issue { "one" } else { "another" });
    within(checks, CheckId::SnpAuthorityValidity, certificate.validity, now);
    let id = CheckId::SnpAuthorityRevocation;
    match crl {
        Some(crl) => {
            let revoked = crl.crl.revokes(&certificate.serial);
            checks.add(id, !revoked, expectation(id), Value::bytes(certificate.serial.as_bytes()));
        }
        None => checks.not_run(id, CheckId::RootCrlSignature),
    }
    Some(Authority { certificate })
}

/// VCEK or VLEK.
struct Key<'a> {
    public: PublicKey<'a>,
    extensions: EndorsementKey<'a>,
}

fn check_key<'a>(
    checks: &mut Checks,
    der: &'a [u8],
    authority: Option<&Authority<'_>>,
    anchor: &TrustAnchor,
    now: Now,
    crypto: &impl Crypto,
) -> Option<Key<'a>> {
    let read = Certificate::parse(der).map_err(|error| Value::display(&error));
    let read = read.and_then(|certificate| {
        let extensions = certificate.extensions().map(|extension| (extension.oid, extension.value));
        match EndorsementKey::parse(extensions) {
            Ok(extensions) => Ok((certificate, extensions)),
            Err(error) => Err(Value::display(&error)),
        }
    });
    let (certificate, extensions) = match read {
        Ok(read) => read,
        Err(got) => {
            refuse(checks, CheckId::SnpKeyFormat, got);
            for id in [
                CheckId::SnpKeySignature,
                CheckId::SnpKeyIssuer,
                CheckId::SnpKeyConstraints,
                CheckId::SnpKeyValidity,
            ] {
                checks.not_run(id, CheckId::SnpKeyFormat);
            }
            return None;
        }
    };
    let kind = extensions.kind();
    checks.add(CheckId::SnpKeyFormat, true, expectation(CheckId::SnpKeyFormat), kind_name(kind));

    let id = CheckId::SnpKeySignature;
    match authority {
        Some(Authority { certificate: issuer }) => {
            let signed = certificate.is_signed_by(crypto, issuer.subject, issuer.key).is_ok();
            checks.add(id, signed, expectation(id), by(signed, name(certificate.issuer)));
        }
        None => checks.not_run(id, CheckId::SnpAuthorityFormat),
    }
    let product = extensions.product.name();
    let (subject, prefix) = match kind {
        SigningKey::Vlek => ("SEV-VLEK", "SEV-VLEK-"),
        SigningKey::Vcek | SigningKey::None => ("SEV-VCEK", "SEV-"),
    };
    let expected = alloc::format!("{subject} by {prefix}{product} by ARK-{product}");
    let [own, issuer] = [certificate.subject, certificate.issuer].map(name);
    let got = alloc::format!("{own} by {issuer} by {}", anchor.name());
    checks.add(CheckId::SnpKeyIssuer, expected == got, expected, got);

    let is_leaf = !certificate.basic_constraints.is_some_and(|constraints| constraints.ca)
        && certificate.key.algorithm == Algorithm::EcdsaP384Sha384;
    let id = CheckId::SnpKeyConstraints;
    checks.add(id, is_leaf, expectation(id), if is_leaf { "one" } else { "another" });
    within(checks, CheckId::SnpKeyValidity, certificate.validity, now);
    Some(Key { public: certificate.key, extensions })
}

fn check_report(checks: &mut Checks, report: &Report, key: &Key<'_>, crypto: &impl Crypto) {
    let kind = key.extensions.kind();
    let id = CheckId::SnpSigningKey;
    if report.is_chip_key_masked() {
        refuse(checks, id, "MASK_CHIP_KEY: the host keeps the chip's key from the guest".into());
    } else {
        let holds = report.signing_key() == kind;
        checks.add(id, holds, kind_name(kind), kind_name(report.signing_key()));
    }
    let signed = key.public.algorithm == Algorithm::EcdsaP384Sha384
        && crypto
            .verify(
                Algorithm::EcdsaP384Sha384,
                key.public.bits,
                report.signed(),
                Signature::Fixed(&report.signature()),
            )
            .is_ok();
    let id = CheckId::SnpSignature;
    checks.add(
        id,
        signed,
        expectation(id),
        if signed { "signed by it" } else { "not signed by it" },
    );

    let product = key.extensions.product;
    let (holds, got): (bool, Value) = match report.product() {
        // A report of version 2 does not say. That the certificate fits the root was checked.
        None => (true, "a report without CPUID".into()),
        Some(Ok(reported)) => (reported == product, reported.name().into()),
        Some(Err((family, model))) => {
            (false, alloc::format!("unknown: family {family:#x} model {model:#x}").into())
        }
    };
    checks.add(CheckId::SnpProduct, holds, product.name(), got);

    let reported = Tcb::from_bytes(report.reported_tcb(), product);
    let expected = key.extensions.tcb;
    checks.add(
        CheckId::SnpTcb,
        reported == expected,
        Value::display(&expected),
        Value::display(&reported),
    );
    match key.extensions.owner {
        Owner::Chip { hardware_id } => {
            checks.equal(CheckId::SnpChip, &hardware_id, report.chip_id());
        }
        Owner::Provider { csp_id } => {
            let expected = alloc::format!("any chip of {csp_id}");
            checks.add(CheckId::SnpChip, true, expected, report.chip_id());
        }
    }
}

const fn expectation(id: CheckId) -> &'static str {
    id.expectation()
}

fn refuse(checks: &mut Checks, id: CheckId, got: Value) {
    checks.add(id, false, id.expectation(), got);
}

fn within(checks: &mut Checks, id: CheckId, validity: Validity, now: Now) {
    checks.add(
        id,
        validity.contains(now.seconds),
        Value::display(&validity),
        Value::Time(now.seconds),
    );
}

/// The name of an issuer or subject, for people and for the names that AMD gives roles.
fn name(name: &[u8]) -> String {
    common_name(name).unwrap_or("unnamed").into()
}

fn by(signed: bool, name: String) -> Value {
    if signed { name.into() } else { alloc::format!("issued by {name}, not signed by it").into() }
}

const fn kind_name(kind: SigningKey) -> &'static str {
    match kind {
        SigningKey::Vcek => "VCEK",
        SigningKey::Vlek => "VLEK",
        SigningKey::None => "none",
    }
}
