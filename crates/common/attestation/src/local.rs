//! Local reports: an enclave proves itself to another on the same CPU (`sgx_la`).
//!
//! A REPORT has a MAC under the *target's* report key, which only the target can get, by EGETKEY. So who
//! verifies must be the enclave that the report was made for, or the emulator in its place: [`ReportKeys`].
//! No certificate and no collateral is involved, and nothing is proved to anybody outside of that CPU;
//! who can ask for the key can also forge reports.
//!
//! Which enclave it is, is the policy's to judge, as for quotes.

use core::fmt;

use sgx::report::EMULATED_CPUSVN;
use sgx::{AttributeFlags, LayoutError, Report, ReportBody};

use crate::check::{CheckId, Checks, Value};
use crate::claims::{Claims, Measurement, Platform, Tee};
use crate::expected::ExpectedReportData;
use crate::policy::{self, Policy, ReferenceValues};
use crate::time::Now;
use crate::verdict::{Decision, Verdict};

/// Bytes of a REPORT.
pub const REPORT_LEN: usize = 432;

/// Gives the MAC that a report for *us* must have.
///
/// Inside an enclave: EGETKEY for the report key with this KEYID, then AES-128-CMAC over the body. The
/// emulator's tests have the CPU's secret and derive it.
pub trait ReportKeys {
    /// AES-128-CMAC of `body` under our report key with `keyid`.
    ///
    /// # Errors
    /// [`NoKey`] where EGETKEY refuses.
    fn report_mac(&self, keyid: &[u8; 32], body: &ReportBody) -> Result<[u8; 16], NoKey>;
}

/// EGETKEY refused the report key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoKey;

/// Why bytes are not a REPORT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalError {
    /// Another length.
    Length {
        /// What came, in bytes.
        got: usize,
    },
    /// A reserved byte is not zero.
    Reserved(LayoutError),
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { got } => {
                write!(f, "local report: expected {REPORT_LEN} bytes, got {got}")
            }
            Self::Reserved(error) => write!(f, "local report: {error}"),
        }
    }
}

impl core::error::Error for LocalError {}

/// What a local report says, and every check of it.
///
/// `is_emulated` is for the caller to know: an emulated CPU and a real one make the same bytes. A report whose
/// CPUSVN says that it was emulated is, whatever the caller believes.
#[must_use]
pub fn verify(
    report: &[u8],
    keys: &impl ReportKeys,
    is_emulated: bool,
    policy: &Policy,
    references: &ReferenceValues,
    expected: &ExpectedReportData,
    now: Now,
) -> Verdict {
    let mut checks = Checks::with_room();
    let claims = match parse(report) {
        Ok(report) => {
            let id = CheckId::LocalFormat;
            checks.add(id, true, id.expectation(), "one");
            check_mac(&mut checks, &report, keys);
            Some(to_claims(&report.body, is_emulated))
        }
        Err(error) => {
            let id = CheckId::LocalFormat;
            checks.add(id, false, id.expectation(), Value::display(&error));
            checks.not_run(CheckId::LocalMac, id);
            None
        }
    };
    let emulated = claims.as_ref().map_or(is_emulated, |claims| claims.emulated);
    policy::appraise(policy, references, None, claims.as_ref(), expected, now, &mut checks);
    Verdict::new(Decision::Accepted, emulated, claims, now, checks)
}

fn to_claims(body: &ReportBody, is_emulated: bool) -> Claims {
    Claims {
        tee: Tee::SgxLocal,
        emulated: is_emulated || body.cpusvn == EMULATED_CPUSVN,
        measurement: Measurement::Sgx {
            mrenclave: body.mrenclave,
            mrsigner: body.mrsigner,
            isvprodid: body.isvprodid,
            isvsvn: body.isvsvn,
        },
        debug: body.attributes.flags.contains(AttributeFlags::DEBUG),
        report_data: body.reportdata,
        tcb: None,
        platform: Platform::default(),
        snp: None,
    }
}

/// Reads a REPORT and nothing after it.
///
/// # Errors
/// Another length, or a reserved byte that is not zero.
pub fn parse(bytes: &[u8]) -> Result<Report, LocalError> {
    let bytes: &[u8; REPORT_LEN] =
        bytes.try_into().map_err(|_| LocalError::Length { got: bytes.len() })?;
    // A structure checks its own reserved bytes, not those of a structure in it.
    ReportBody::parse(&bytes[..ReportBody::SIZE]).map_err(LocalError::Reserved)?;
    Report::parse(bytes).map_err(LocalError::Reserved)
}

/// Lists whether the report is one for us, by its MAC.
fn check_mac(checks: &mut Checks, report: &Report, keys: &impl ReportKeys) {
    let (holds, got): (bool, Value) = match keys.report_mac(&report.keyid, &report.body) {
        Ok(mac) if is_equal(&mac, &report.mac) => (true, "one for this enclave".into()),
        // The right MAC is a secret: whoever reads a refusal must not learn it.
        Ok(_) => (false, "another".into()),
        Err(NoKey) => (false, "no report key: EGETKEY refused".into()),
    };
    checks.add(CheckId::LocalMac, holds, CheckId::LocalMac.expectation(), got);
}

/// Without a branch that depends on where they differ.
fn is_equal(a: &[u8; 16], b: &[u8; 16]) -> bool {
    let difference = a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b));
    core::hint::black_box(difference) == 0
}
