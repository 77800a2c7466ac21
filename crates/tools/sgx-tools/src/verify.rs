//! `verify-quote`: a verdict, with every check behind it.

use crate::args::VerifyQuote;
use crate::failure::Failure;
use crate::quote_type::warn_unused;
use crate::{Say, file};
use attestation::{
    Collateral, Decision, ExpectedReportData, Now, Policy, ReferenceValues, TrustAnchor, Verdict,
    Verifier, crypto, x509,
};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) fn run(arguments: &VerifyQuote, say: Say) -> Result<(), Failure> {
    arguments.quote_type.expect_ecdsa()?;
    warn_unused("spid", arguments.spid.as_ref());
    warn_unused("subscription-key", arguments.subscription_key.as_ref());
    let quote = file::read(&arguments.quote)?;
    let collateral =
        Collateral::from_json(&file::read(&arguments.collateral)?).map_err(Failure::undone)?;
    let policy = String::from_utf8(file::read(&arguments.policy)?).map_err(Failure::undone)?;
    let policy = Policy::from_toml(&policy).map_err(Failure::undone)?;
    let expected = arguments.report_data.as_deref().map(ExpectedReportData::from_hex);
    let expected = expected.transpose().map_err(Failure::undone)?;

    let crypto = crypto::Default::default();
    let root = root(&arguments.root)?;
    let anchor = TrustAnchor::from_der(&root, &crypto).map_err(Failure::undone)?;
    let verifier = Verifier::new(crypto, anchor);
    let examination = verifier.examine(&quote, &collateral, now(arguments.at)?);
    let verdict = match expected {
        Some(expected) => examination.appraise(&policy, &ReferenceValues::default(), &expected),
        None => examination.authenticate(&policy),
    };
    show(&verdict, say)?;
    if verdict.verdict == Decision::Refused { Err(Failure::Verdict) } else { Ok(()) }
}

/// One root certificate, PEM or DER.
pub(crate) fn root(path: &Path) -> Result<Vec<u8>, Failure> {
    x509::one(file::read(path)?)
        .map_err(|error| Failure::Undone(format!("{}: {error}", path.display())))
}

fn now(at: Option<u64>) -> Result<Now, Failure> {
    match at {
        Some(seconds) => Ok(Now::given(seconds)),
        None => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map(|since| Now::host(since.as_secs()))
            .map_err(Failure::undone),
    }
}

/// All of it as JSON; for people without the checks that hold.
fn show(verdict: &Verdict, say: Say) -> Result<(), Failure> {
    let mut value = serde_json::to_value(verdict).map_err(Failure::undone)?;
    if !say.is_json
        && let Some(checks) = value.get_mut("checks").and_then(serde_json::Value::as_array_mut)
    {
        let all = checks.len();
        checks.retain(|check| check["ok"] == false);
        let hold = format!("{} of {all} hold", all - checks.len());
        let failed = std::mem::take(checks);
        value["checks"] = hold.into();
        if !failed.is_empty() {
            value["failed"] = failed.into();
        }
    }
    say.result(&value)
}
