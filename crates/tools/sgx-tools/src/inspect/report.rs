//! REPORT and TARGETINFO, field by field.

use super::hex;
use serde_json::{Value, json};
use sgx::report::EMULATED_CPUSVN;
use sgx::{AttributeFlags, Attributes, LayoutError, Report, ReportBody, Targetinfo};

/// A report, 432 bytes. Its MAC is for its target alone to check.
pub(super) fn report(bytes: &[u8]) -> Result<Value, LayoutError> {
    let report = Report::parse(bytes)?;
    Ok(json!({
        "kind": "report",
        "emulated": report.body.cpusvn == EMULATED_CPUSVN,
        "verified": false,
        "enclave": report_body(&report.body),
        "keyid": hex(&report.keyid),
    }))
}

/// Target information, 512 bytes.
pub(crate) fn target_info(bytes: &[u8]) -> Result<Value, LayoutError> {
    let target = Targetinfo::parse(bytes)?;
    Ok(json!({
        "kind": "targetinfo",
        "emulated": target.measurement == emulated_platform::QE_MRENCLAVE,
        "mrenclave": hex(&target.measurement),
        "attributes": attributes(target.attributes),
        "miscselect": format!("{:#x}", target.miscselect.bits()),
        "configid": hex(&target.configid),
        "configsvn": target.configsvn,
    }))
}

/// What the report of an enclave says about it, and what the enclave says.
pub(crate) fn report_body(body: &ReportBody) -> Value {
    let mut value = enclave(body);
    value["configid"] = hex(&body.configid).into();
    value["configsvn"] = body.configsvn.into();
    value["isvextprodid"] = hex(&body.isvextprodid).into();
    value["isvfamilyid"] = hex(&body.isvfamilyid).into();
    value["report_data"] = hex(&body.reportdata).into();
    value
}

/// Which enclave it is.
pub(super) fn enclave(body: &ReportBody) -> Value {
    json!({
        "mrenclave": hex(&body.mrenclave),
        "mrsigner": hex(&body.mrsigner),
        "isvprodid": body.isvprodid,
        "isvsvn": body.isvsvn,
        "debug": body.attributes.flags.contains(AttributeFlags::DEBUG),
        "attributes": attributes(body.attributes),
        "miscselect": format!("{:#x}", body.miscselect.bits()),
        "cpusvn": hex(&body.cpusvn),
    })
}

fn attributes(attributes: Attributes) -> String {
    hex(&attributes.to_bytes())
}
