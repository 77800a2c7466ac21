//! The platform's certificate: from the quote, or from a platform seen before.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::Holder;
use super::collateral::{Parts, check_date, check_revocation, constraints, is_anchor, signature};
use crate::anchor::TrustAnchor;
use crate::check::{CheckId, Checks, Value};
use crate::crypto::Crypto;
use crate::quote::CertificationData;
use crate::x509::{Certificate, PckExtension, chain};

/// A PCK certificate, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pck {
    pub(super) holder: Holder,
    pub(super) extension: PckExtension,
}

/// A platform whose certificate chain was verified: its signature needs no second check, its dates and its
/// absence from the CRL do, at each use.
#[derive(Clone, Debug)]
pub struct KnownPlatform {
    /// The certification data, byte for byte: what the entry is for. Moves into the key.
    certification: Vec<u8>,
    ca: Vec<u8>,
    anchor: [u8; 32],
    pck: Pck,
    /// The checks that no time changes.
    checks: Checks,
}

/// Platforms seen before, at most as many as said. Equality is of all certificate bytes, which is stricter
/// than of a digest and needs none.
#[derive(Clone, Debug, Default)]
pub struct KnownPlatforms {
    platforms: BTreeMap<Vec<u8>, KnownPlatform>,
    limit: usize,
}

impl KnownPlatforms {
    pub(super) const NONE: Self = Self { platforms: BTreeMap::new(), limit: 0 };

    /// None yet, and never more than `limit`; each takes about 8 KiB.
    #[must_use]
    pub const fn with_limit(limit: usize) -> Self {
        Self { platforms: BTreeMap::new(), limit }
    }

    /// Adds one. Where the limit is reached, all are forgotten: they are cheap to see again, and no
    /// stranger can keep an entry in place by asking often.
    pub fn insert(&mut self, mut platform: KnownPlatform) {
        if self.limit == 0 {
            return;
        }
        if self.platforms.len() >= self.limit {
            self.platforms.clear();
        }
        self.platforms.insert(core::mem::take(&mut platform.certification), platform);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.platforms.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.platforms.is_empty()
    }

    fn get(&self, certification: &[u8], ca: &[u8], anchor: &TrustAnchor) -> Option<&KnownPlatform> {
        self.platforms
            .get(certification)
            .filter(|known| known.ca == ca && known.anchor == *anchor.sha256())
    }
}

/// The checks on a PCK certificate that wait for it to be read.
const AFTER_CHAIN: [CheckId; 7] = [
    CheckId::RootIdentity,
    CheckId::PckIssuer,
    CheckId::PckSignature,
    CheckId::PckConstraints,
    CheckId::PckExtension,
    CheckId::PckValidity,
    CheckId::PckRevocation,
];

/// Reads and checks the certificate. A platform that was not known and whose checks hold comes back as
/// the second value.
pub(super) fn examine(
    crypto: &impl Crypto,
    anchor: &TrustAnchor,
    certification: CertificationData<'_>,
    parts: &Parts,
    known: &KnownPlatforms,
    seconds: u64,
    checks: &mut Checks,
) -> (Option<Pck>, Option<KnownPlatform>) {
    let expected = CheckId::QuoteCertification.expectation();
    let pem = match certification {
        CertificationData::PckChain(pem) => pem,
        CertificationData::Other { kind, .. } => {
            let got = Value::Number(kind.into());
            checks.add(CheckId::QuoteCertification, false, expected, got);
            checks.not_run(CheckId::PckChain, CheckId::QuoteCertification);
            for id in AFTER_CHAIN {
                checks.not_run(id, CheckId::QuoteCertification);
            }
            return (None, None);
        }
    };
    checks.add(CheckId::QuoteCertification, true, expected, 5u64);

    let ca = parts.pck_ca.as_ref();
    if let Some(known) = ca.and_then(|ca| known.get(pem, &ca.der, anchor)) {
        checks.append(known.checks.clone());
        check_now(&known.pck, parts, seconds, checks);
        return (Some(known.pck.clone()), None);
    }

    let mut lasting = Checks::new();
    let pck = verify(crypto, anchor, pem, parts, &mut lasting);
    let platform = match (&pck, ca) {
        (Some(pck), Some(ca)) if lasting.all_hold() => Some(KnownPlatform {
            certification: pem.to_vec(),
            ca: ca.der.clone(),
            anchor: *anchor.sha256(),
            pck: pck.clone(),
            checks: lasting.clone(),
        }),
        _ => None,
    };
    checks.append(lasting);
    match &pck {
        Some(pck) => check_now(pck, parts, seconds, checks),
        None => {
            checks.not_run(CheckId::PckValidity, CheckId::PckChain);
            checks.not_run(CheckId::PckRevocation, CheckId::PckChain);
        }
    }
    (pck, platform)
}

/// What time changes.
fn check_now(pck: &Pck, parts: &Parts, seconds: u64, checks: &mut Checks) {
    check_date(CheckId::PckValidity, pck.holder.validity, seconds, checks);
    match &parts.pck_crl {
        Some(crl) => check_revocation(CheckId::PckRevocation, crl, &pck.holder.serial, checks),
        None => checks.not_run(CheckId::PckRevocation, CheckId::PckCrlFormat),
    }
}

/// What no time changes.
fn verify(
    crypto: &impl Crypto,
    anchor: &TrustAnchor,
    pem: &[u8],
    parts: &Parts,
    checks: &mut Checks,
) -> Option<Pck> {
    let expected = CheckId::PckChain.expectation();
    let ders = chain(pem).map_err(|error| Value::display(&error)).and_then(|ders| {
        let count = ders.len() as u64;
        <[Vec<u8>; 3]>::try_from(ders).map_err(|_| Value::Number(count))
    });
    let parsed = match &ders {
        Ok(ders) => Certificate::parse(&ders[0])
            .map(|leaf| (ders, leaf))
            .map_err(|error| Value::display(&error)),
        Err(got) => Err(got.clone()),
    };
    let ([_, ca, root], leaf) = match parsed {
        Ok(parsed) => parsed,
        Err(got) => {
            checks.add(CheckId::PckChain, false, expected, got);
            for id in &AFTER_CHAIN[..5] {
                checks.not_run(*id, CheckId::PckChain);
            }
            return None;
        }
    };
    checks.add(CheckId::PckChain, true, expected, 3u64);
    is_anchor(root, "quote", anchor, checks);
    match &parts.pck_ca {
        Some(known) => {
            let name = |name| {
                crate::x509::common_name(name).map_or(Value::None, |name| Value::display(&name))
            };
            // Byte for byte: then the CA's own checks are this chain's too.
            let ok = *ca == known.der && leaf.issuer == known.holder.subject;
            let expected = name(&known.holder.subject);
            checks.add(CheckId::PckIssuer, ok, expected, name(leaf.issuer));
            let ok = leaf.is_signed_by(crypto, &known.holder.subject, known.holder.key()).is_ok();
            signature(CheckId::PckSignature, ok, checks);
        }
        None => {
            checks.not_run(CheckId::PckIssuer, CheckId::CollateralChains);
            checks.not_run(CheckId::PckSignature, CheckId::CollateralChains);
        }
    }
    let ok = leaf.is_signing_leaf();
    constraints(CheckId::PckConstraints, ok, "another kind of certificate", checks);
    let expected = CheckId::PckExtension.expectation();
    match PckExtension::of(&leaf) {
        Ok(extension) => {
            checks.add(CheckId::PckExtension, true, expected, "as expected");
            Some(Pck { holder: Holder::of(&leaf), extension })
        }
        Err(error) => {
            checks.add(CheckId::PckExtension, false, expected, Value::display(&error));
            None
        }
    }
}
