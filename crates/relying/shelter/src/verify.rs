//! `shelter verify`: a verdict on evidence, from files or with fetched collateral.
//!
//! Everything is read before anything is judged: what cannot be read, or not as what it should be, ends with exit
//! code 2 and the file named, and no verdict is printed. A verdict is printed in every other case.

use crate::args::Verify;
use crate::evidence;
use crate::explain::{self, Told};
use crate::failure::Failure;
use crate::files::{self, in_file};
use crate::source;
use attestation::policy::{MAX_POLICY_BYTES, Policy};
use attestation::time::Now;
use attestation::{ExpectedReportData, ReferenceValues, TrustAnchor, Verdict};

/// Most bytes of a file of reference values.
const MOST_REFERENCES: u64 = 4 << 20;

pub(crate) fn run(arguments: &Verify) -> Result<(), Failure> {
    let expected = expected(arguments)?;
    let anchor = source::anchor(&arguments.root)?;
    let policy = policy(arguments, &anchor)?;
    let references = references(arguments)?;
    let now = arguments.at.map_or_else(source::host_time, Now::given);
    let verdict = evidence::examine(arguments, anchor, now, |examination| match &expected {
        Some(expected) => examination.appraise(&policy, &references, expected),
        None => examination.authenticate(&policy),
    })?;
    report(&verdict, arguments)
}

/// Prints the verdict. Text and JSON are made from the same bytes.
fn report(verdict: &Verdict, arguments: &Verify) -> Result<(), Failure> {
    let json = serde_json::to_string(verdict).map_err(Failure::undecided)?;
    let told = Told::parse(json.as_bytes()).map_err(Failure::undecided)?;
    if arguments.json {
        println!("{json}");
    } else {
        explain::print(&told, arguments.all);
    }
    told.end()
}

/// What the evidence must be bound to; `None` only where the caller said that it asks for less.
fn expected(arguments: &Verify) -> Result<Option<ExpectedReportData>, Failure> {
    match (&arguments.report_data, arguments.authenticate_only) {
        (Some(hex), false) => {
            let expected = ExpectedReportData::from_hex(hex);
            expected.map(Some).map_err(|error| Failure::Undecided(format!("--report-data: {error}")))
        }
        (None, true) => Ok(None),
        _ => Err(Failure::Undecided(
            "expected --report-data, to which evidence must be bound, or --authenticate-only, got neither: evidence \
             that is bound to nothing may be anybody's"
                .into(),
        )),
    }
}

/// The policy of the file. To authenticate, the strict one under the given root is enough.
fn policy(arguments: &Verify, anchor: &TrustAnchor) -> Result<Policy, Failure> {
    match &arguments.policy {
        Some(path) => {
            let text = files::read_text(path, MAX_POLICY_BYTES as u64)?;
            Policy::from_toml(&text).map_err(in_file(path))
        }
        None if arguments.authenticate_only => Ok(Policy::strict(*anchor.sha256())),
        None => Err(Failure::Undecided("expected --policy FILE, got none".into())),
    }
}

fn references(arguments: &Verify) -> Result<ReferenceValues, Failure> {
    match &arguments.references {
        Some(path) => {
            let text = files::read_text(path, MOST_REFERENCES)?;
            ReferenceValues::from_toml(&text).map_err(in_file(path))
        }
        None => Ok(ReferenceValues::default()),
    }
}
