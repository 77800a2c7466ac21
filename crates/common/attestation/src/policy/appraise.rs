//! Claims against a policy: every rule is checked and listed.

use alloc::string::String;
use alloc::vec::Vec;

use super::{ConfigRule, NOTHING_FREE, Policy, ReferenceValues, TeeRule};
use crate::anchor::TrustAnchor;
use crate::check::{CheckId, Checks, Value};
use crate::claims::{Claims, Measurement, Tee};
use crate::expected::ExpectedReportData;
use crate::snp;
use crate::time::Now;

/// What is expected where the policy does not say.
const UNSAID: &str = "a start that the manifest fixes wholly, for the policy has no config_digest";

/// Origin, kind and patch level: what can be said without knowing what should run there.
pub(crate) fn authenticate(
    policy: &Policy,
    anchor: Option<&TrustAnchor>,
    claims: Option<&Claims>,
    checks: &mut Checks,
) {
    if let Some(root) = anchor.map(TrustAnchor::sha256) {
        let named = policy.roots.contains(root);
        checks.add(CheckId::PolicyRoot, named, CheckId::PolicyRoot.expectation(), root);
    }
    let Some(claims) = claims else {
        let because = unreadable(checks);
        let levels = match because {
            CheckId::SnpFormat | CheckId::SnpKeyFormat => &snp::policy::CHECKS[..],
            CheckId::LocalFormat => &[],
            _ => &[CheckId::PolicyTcbStatus, CheckId::PolicyAdvisories, CheckId::PolicyMinTcbEval],
        };
        for id in [CheckId::PolicyTee, CheckId::PolicyDebug, CheckId::PolicyPlatform] {
            checks.not_run(id, because);
        }
        levels.iter().for_each(|id| checks.not_run(*id, because));
        return;
    };
    tee(policy, claims, checks);
    let (expected, got) = (policy.allow_debug, claims.debug);
    checks.add(CheckId::PolicyDebug, expected || !got, word(expected), word(got));
    match (claims.tee, &claims.snp) {
        // AMD has no statuses, local reports no patch level at all.
        (Tee::Snp, Some(claims)) => snp::policy::appraise(&policy.snp_platform, claims, checks),
        (Tee::SgxLocal, _) => {}
        _ => tcb(policy, claims, checks),
    }
    platform(policy, claims, checks);
}

/// What can be said without knowing whose the evidence is: that, and what runs there.
pub(crate) fn identify(
    policy: &Policy,
    references: &ReferenceValues,
    anchor: Option<&TrustAnchor>,
    claims: Option<&Claims>,
    now: Now,
    checks: &mut Checks,
) {
    authenticate(policy, anchor, claims, checks);
    match claims {
        Some(claims) => measurement(policy, references, claims, now, checks),
        None => checks.not_run(CheckId::PolicyMeasurement, unreadable(checks)),
    }
}

/// All of the policy, and the binding.
pub(crate) fn appraise(
    policy: &Policy,
    references: &ReferenceValues,
    anchor: Option<&TrustAnchor>,
    claims: Option<&Claims>,
    expected: &ExpectedReportData,
    now: Now,
    checks: &mut Checks,
) {
    identify(policy, references, anchor, claims, now, checks);
    let Some(claims) = claims else {
        let because = unreadable(checks);
        for id in [CheckId::PolicyConfigDigest, CheckId::ReportData] {
            checks.not_run(id, because);
        }
        return;
    };
    match &policy.config_digest {
        ConfigRule::Unsaid => {
            let ok = expected.config_digest().is_none_or(|digest| *digest == NOTHING_FREE);
            checks.add(CheckId::PolicyConfigDigest, ok, UNSAID, digest(expected));
        }
        ConfigRule::Any => {
            checks.add(CheckId::PolicyConfigDigest, true, "any", digest(expected));
        }
        ConfigRule::OneOf(digests) => {
            let ok = expected.config_digest().is_some_and(|digest| digests.contains(digest));
            let want = one_or("a digest that the policy names", digests);
            checks.add(CheckId::PolicyConfigDigest, ok, want, digest(expected));
        }
    }
    checks.equal(CheckId::ReportData, expected.bytes(), &claims.report_data);
}

/// What stood in the way of reading the evidence.
fn unreadable(checks: &Checks) -> CheckId {
    let formats = [CheckId::SnpFormat, CheckId::SnpKeyFormat, CheckId::LocalFormat];
    let failed = |id: &CheckId| checks.find(*id).is_some_and(|check| !check.ok);
    formats.into_iter().find(failed).unwrap_or(CheckId::QuoteFormat)
}

fn word(debug: bool) -> &'static str {
    if debug { "debug" } else { "no debug" }
}

fn digest(expected: &ExpectedReportData) -> Value {
    expected.config_digest().map_or(Value::None, Value::from)
}

/// The one value of a list, or words where there are none or several.
fn one_or<const N: usize>(words: &'static str, list: &[[u8; N]]) -> Value {
    match list {
        [one] => Value::from(one),
        _ => Value::from(words),
    }
}

fn tee(policy: &Policy, claims: &Claims, checks: &mut Checks) {
    let allowed = |rule: &TeeRule| {
        let kind = match rule {
            TeeRule::Emulated => return claims.emulated,
            TeeRule::Hardware => return !claims.emulated,
            TeeRule::Sgx => matches!(claims.tee, Tee::Sgx | Tee::SgxLocal),
            TeeRule::Tdx => claims.tee == Tee::Tdx,
            TeeRule::Snp => claims.tee == Tee::Snp,
        };
        kind && !claims.emulated
    };
    let names: Vec<_> = policy.tee.iter().map(|rule| rule.name()).collect();
    let got = match (claims.emulated, claims.tee) {
        (false, tee) => tee.name(),
        (true, Tee::Sgx) => "emulated sgx",
        (true, Tee::Tdx) => "emulated tdx",
        (true, Tee::Snp) => "emulated snp",
        (true, Tee::SgxLocal) => "emulated sgx_la",
    };
    let expected = match names.as_slice() {
        [one] => Value::from(*one),
        several => Value::from(several.join(" or ")),
    };
    checks.add(CheckId::PolicyTee, policy.tee.iter().any(allowed), expected, got);
}

impl TeeRule {
    /// As policies spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hardware => "hardware",
            Self::Sgx => "sgx",
            Self::Tdx => "tdx",
            Self::Snp => "snp",
            Self::Emulated => "emulated",
        }
    }
}

fn tcb(policy: &Policy, claims: &Claims, checks: &mut Checks) {
    let expected = match policy.tcb_status.as_slice() {
        [one] => Value::from(one.name()),
        several => {
            let names: Vec<_> = several.iter().map(|status| status.name()).collect();
            Value::from(names.join(" or "))
        }
    };
    let Some(tcb) = &claims.tcb else {
        checks.add(CheckId::PolicyTcbStatus, false, expected, Value::NotRun(CheckId::TcbLevel));
        checks.not_run(CheckId::PolicyAdvisories, CheckId::TcbLevel);
        checks.not_run(CheckId::PolicyMinTcbEval, CheckId::TcbLevel);
        return;
    };
    let ok = policy.tcb_status.contains(&tcb.status);
    checks.add(CheckId::PolicyTcbStatus, ok, expected, tcb.status.name());
    let denied: Vec<&str> = tcb
        .advisories
        .iter()
        .filter(|id| policy.advisories_deny.contains(*id))
        .map(String::as_str)
        .collect();
    let got = if denied.is_empty() { Value::None } else { Value::from(denied.join(" ")) };
    let expectation = CheckId::PolicyAdvisories.expectation();
    checks.add(CheckId::PolicyAdvisories, denied.is_empty(), expectation, got);
    let (least, number) = (policy.min_tcb_eval, tcb.evaluation_data_number);
    checks.add(CheckId::PolicyMinTcbEval, number >= least, u64::from(least), u64::from(number));
}

fn platform(policy: &Policy, claims: &Claims, checks: &mut Checks) {
    let (ok, expected) = match &policy.platforms {
        None => (true, Value::from("any genuine platform")),
        Some(ids) => {
            let expected = match ids.as_slice() {
                [one] => Value::bytes(one),
                _ => Value::from(CheckId::PolicyPlatform.expectation()),
            };
            (ids.iter().any(|id| claims.platform.is(id)), expected)
        }
    };
    // Always named: one leaked provisioning key forges any machine, so a reader must see which it was.
    let got = claims.platform.id().map_or(Value::None, Value::bytes);
    checks.add(CheckId::PolicyPlatform, ok, expected, got);
}

fn measurement(
    policy: &Policy,
    references: &ReferenceValues,
    claims: &Claims,
    now: Now,
    checks: &mut Checks,
) {
    // What an enclave may be by its contents: a refusal shows it where there is one.
    let mut by_contents: Vec<&[u8]> = policy.mrenclave.iter().map(<[u8; 32]>::as_slice).collect();
    let mut referenced = false;
    let measured: &[u8] = match &claims.measurement {
        Measurement::Sgx { mrenclave, .. } => mrenclave,
        Measurement::Tdx { mrtd, .. } => mrtd,
        Measurement::Snp { measurement, .. } => measurement,
    };
    for name in &policy.references {
        let mut known = false;
        for value in references.at(name, now.seconds) {
            known = true;
            referenced |= value.measurement == measured;
            by_contents.push(&value.measurement);
        }
        let got = if known { name.clone() } else { alloc::format!("{name}: none that counts") };
        checks.add(CheckId::PolicyReference, known, CheckId::PolicyReference.expectation(), got);
    }
    let (named, expected) = match &claims.measurement {
        Measurement::Sgx { mrenclave, mrsigner, isvprodid, isvsvn } => {
            let by_signer = policy.mrsigner.iter().any(|rule| {
                rule.mrsigner == *mrsigner
                    && rule.isvprodid == *isvprodid
                    && rule.min_isvsvn <= *isvsvn
            });
            let named = policy.mrenclave.contains(mrenclave) || by_signer;
            let words = CheckId::PolicyMeasurement.expectation();
            let expected = match (by_contents.as_slice(), policy.mrsigner.as_slice()) {
                ([one], []) => Value::bytes(one),
                ([], [rule]) => Value::from(alloc::format!(
                    "mrsigner {} isvprodid {} isvsvn at least {}",
                    crate::hex::Hex(&rule.mrsigner),
                    rule.isvprodid,
                    rule.min_isvsvn
                )),
                _ => Value::from(words),
            };
            (named, expected)
        }
        Measurement::Tdx { mrtd, rtmr, .. } => {
            let named = policy.tdx.iter().any(|rule| {
                rule.mrtd == *mrtd
                    && rule.rtmr.iter().zip(rtmr).all(|(want, got)| want.is_none_or(|w| w == *got))
            });
            (named, Value::from(CheckId::PolicyMeasurement.expectation()))
        }
        Measurement::Snp { measurement, host_data, guest_svn, .. } => {
            let named = policy.snp.iter().any(|rule| {
                rule.measurement == *measurement
                    && rule.host_data.is_none_or(|want| want == *host_data)
                    && rule.min_guest_svn <= *guest_svn
            });
            (named, Value::from(CheckId::PolicyMeasurement.expectation()))
        }
    };
    let got = match (&claims.measurement, by_contents.is_empty()) {
        (Measurement::Sgx { mrsigner, isvprodid, isvsvn, .. }, true)
            if !policy.mrsigner.is_empty() =>
        {
            Value::from(alloc::format!(
                "mrsigner {} isvprodid {isvprodid} isvsvn {isvsvn}",
                crate::hex::Hex(mrsigner)
            ))
        }
        _ => Value::bytes(measured),
    };
    checks.add(CheckId::PolicyMeasurement, named || referenced, expected, got);
}
