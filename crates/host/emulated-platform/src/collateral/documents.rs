//! The two signed documents, in the order of fields that Intel's have.
//!
//! The signature is over compact JSON: verifiers take the document out of its envelope and write it again
//! without spaces, in the order it came.
//!
//! Source: Intel SGX and TDX Provisioning Certification Service API, version 4: TCB Info V3, Enclave
//! Identity V2.

use super::tcb::{QeLevel, TcbLevel};
use crate::identity::{self, MRSIGNER, QE_ISVPRODID};
use crate::platform::PCEID;
use serde::Serialize;
use time::OffsetDateTime;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TcbInfo<'a> {
    id: &'static str,
    version: u8,
    issue_date: String,
    next_update: String,
    fmspc: String,
    pce_id: String,
    tcb_type: u8,
    tcb_evaluation_data_number: u32,
    tcb_levels: Vec<Level<'a, PlatformTcb>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QeIdentity<'a> {
    id: &'static str,
    version: u8,
    issue_date: String,
    next_update: String,
    tcb_evaluation_data_number: u32,
    miscselect: String,
    miscselect_mask: String,
    attributes: String,
    attributes_mask: String,
    mrsigner: String,
    isvprodid: u16,
    tcb_levels: Vec<Level<'a, QeTcb>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Level<'a, T> {
    tcb: T,
    tcb_date: String,
    tcb_status: &'static str,
    #[serde(rename = "advisoryIDs", skip_serializing_if = "<[String]>::is_empty")]
    advisories: &'a [String],
}

#[derive(Serialize)]
struct PlatformTcb {
    sgxtcbcomponents: [Component; 16],
    pcesvn: u16,
}

#[derive(Serialize)]
struct Component {
    svn: u8,
}

#[derive(Serialize)]
struct QeTcb {
    isvsvn: u16,
}

/// What both documents begin with.
#[derive(Clone, Copy)]
pub(super) struct Issue {
    /// Unix seconds.
    pub(super) from: i64,
    /// Unix seconds.
    pub(super) until: i64,
    pub(super) evaluation: u32,
}

/// TCB information of all platforms with this FMSPC.
pub(super) fn tcb_info(
    fmspc: &[u8; 6],
    levels: &[TcbLevel],
    issue: Issue,
) -> Result<String, rcgen::Error> {
    let levels = levels.iter().map(|level| {
        Ok::<_, rcgen::Error>(Level {
            tcb: PlatformTcb {
                sgxtcbcomponents: level.cpusvn.map(|svn| Component { svn }),
                pcesvn: level.pcesvn,
            },
            tcb_date: timestamp(level.date)?,
            tcb_status: level.status.name(),
            advisories: &level.advisories,
        })
    });
    Ok(compact(&TcbInfo {
        id: "SGX",
        version: 3,
        issue_date: timestamp(issue.from)?,
        next_update: timestamp(issue.until)?,
        fmspc: hex(fmspc),
        pce_id: hex(&PCEID),
        tcb_type: 0,
        tcb_evaluation_data_number: issue.evaluation,
        tcb_levels: levels.collect::<Result<_, _>>()?,
    }))
}

/// Identity of the quoting enclave. MODE64BIT and XFRM may be any, as with Intel's.
pub(super) fn qe_identity(levels: &[QeLevel], issue: Issue) -> Result<String, rcgen::Error> {
    let qe = identity::quoting_enclave(0);
    let mut attributes = qe.attributes.to_bytes();
    let mut mask = [0xff; 16];
    mask[0] = 0xfb;
    mask[8..].fill(0);
    for (attribute, mask) in attributes.iter_mut().zip(mask) {
        *attribute &= mask;
    }
    let levels = levels.iter().map(|level| {
        Ok::<_, rcgen::Error>(Level {
            tcb: QeTcb { isvsvn: level.isvsvn },
            tcb_date: timestamp(level.date)?,
            tcb_status: level.status.name(),
            advisories: &level.advisories,
        })
    });
    Ok(compact(&QeIdentity {
        id: "QE",
        version: 2,
        issue_date: timestamp(issue.from)?,
        next_update: timestamp(issue.until)?,
        tcb_evaluation_data_number: issue.evaluation,
        miscselect: hex(&[0; 4]),
        miscselect_mask: hex(&[0xff; 4]),
        attributes: hex(&attributes),
        attributes_mask: hex(&mask),
        mrsigner: hex(&MRSIGNER),
        isvprodid: QE_ISVPRODID,
        tcb_levels: levels.collect::<Result<_, _>>()?,
    }))
}

/// Upper case, as Intel writes it.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn compact(document: &impl Serialize) -> String {
    serde_json::to_string(document).expect("strings and numbers are JSON")
}

/// RFC 3339, UTC, whole seconds.
fn timestamp(seconds: i64) -> Result<String, rcgen::Error> {
    let date: OffsetDateTime = crate::certificate::date(seconds)?;
    Ok(format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        date.hour(),
        date.minute(),
        date.second()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_utc() {
        assert_eq!(timestamp(1_735_689_600).as_deref(), Ok("2025-01-01T00:00:00Z"));
        assert_eq!(timestamp(1_709_210_096).as_deref(), Ok("2024-02-29T12:34:56Z"));
        assert!(timestamp(i64::MAX).is_err());
    }

    #[test]
    fn documents_are_compact_and_in_order() {
        let issue = Issue { from: 0, until: 1, evaluation: 5 };
        let info = tcb_info(b"EMULAT", &super::super::tcb::platform_levels(), issue).expect("made");
        assert!(info.starts_with(concat!(
            r#"{"id":"SGX","version":3,"issueDate":"1970-01-01T00:00:00Z","#,
            r#""nextUpdate":"1970-01-01T00:00:01Z","fmspc":"454D554C4154","pceId":"0000","tcbType":0,"#,
            r#""tcbEvaluationDataNumber":5,"tcbLevels":[{"tcb":{"sgxtcbcomponents":[{"svn":69},"#,
        )));
        let identity = qe_identity(&super::super::tcb::qe_levels(), issue).expect("made");
        assert!(identity.contains(concat!(
            r#""miscselect":"00000000","miscselectMask":"FFFFFFFF","#,
            r#""attributes":"11000000000000000000000000000000","#,
            r#""attributesMask":"FBFFFFFFFFFFFFFF0000000000000000","mrsigner":"454D554C41544544"#,
        )));
    }
}
