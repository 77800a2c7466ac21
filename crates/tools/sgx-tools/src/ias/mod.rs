//! `get-ias-report`: reports of Intel's attestation service, which it gave for EPID quotes until 2025.
//!
//! Stored ones can still be read, and checked against the signature and certificates that came in the headers of
//! the answer, under a CA that the caller names. `verified` says which: and even so, what the service once said
//! of a platform is no reason to trust it now.
//!
//! Source: Intel, "Attestation Service for SGX (IAS): API Documentation", version 4, "Attestation
//! Verification Report".

mod signature;

use crate::args::GetIasReport;
use crate::failure::Failure;
use crate::inspect::report_body;
use crate::quote_type::QuoteType;
use crate::{Say, file, verify};
use base64ct::{Base64, Encoding};
use serde::Deserialize;
use serde_json::{Value, json};
use sgx::ReportBody;

/// Up to the length of the signature, which the service leaves out.
const QUOTE_BODY: usize = 432;

/// The members that say something; the service added others over time.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IasReport {
    id: String,
    timestamp: String,
    version: u64,
    isv_enclave_quote_status: String,
    isv_enclave_quote_body: String,
    #[serde(default, rename = "advisoryIDs")]
    advisory_ids: Vec<String>,
    #[serde(default)]
    nonce: Option<String>,
}

pub(crate) fn run(arguments: &GetIasReport, say: Say) -> Result<(), Failure> {
    if arguments.quote_type == Some(QuoteType::Ecdsa) {
        return Err(Failure::Refused(
            "quote-type: expected epidUnlinkable or epidLinkable, which the service reported on, got \
             ecdsa: use verify-quote"
                .to_owned(),
        ));
    }
    let bytes = file::read(&arguments.report)?;
    let mut shown = read(&bytes)
        .map_err(|error| Failure::Refused(format!("{}: {error}", arguments.report.display())))?;
    // All three or none: the command line sees to it.
    if let (Some(signature), Some(certificates), Some(root)) =
        (&arguments.signature, &arguments.certificates, &arguments.root)
    {
        let (signature, certificates) = (file::read(signature)?, file::read(certificates)?);
        let timestamp = shown["timestamp"].as_str().unwrap_or_default();
        let root = verify::root(root)?;
        signature::check(&bytes, timestamp, &signature, &certificates, &root)
            .map_err(Failure::refused)?;
        shown["verified"] = true.into();
    }
    say.result(&shown)
}

/// What a stored report says.
pub(crate) fn read(bytes: &[u8]) -> Result<Value, String> {
    let report: IasReport = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let body = Base64::decode_vec(&report.isv_enclave_quote_body)
        .map_err(|error| format!("isvEnclaveQuoteBody: {error}"))?;
    let got = body.len();
    let body: [u8; QUOTE_BODY] = body
        .try_into()
        .map_err(|_| format!("isvEnclaveQuoteBody: expected {QUOTE_BODY} bytes, got {got}"))?;
    let mut enclave = [0; ReportBody::SIZE];
    enclave.copy_from_slice(&body[QUOTE_BODY - ReportBody::SIZE..]);
    Ok(json!({
        "kind": "ias report",
        "verified": false,
        "note": "EPID is retired by Intel: this says what its service once said",
        "id": report.id,
        "timestamp": report.timestamp,
        "version": report.version,
        "quote_version": u16::from_le_bytes([body[0], body[1]]),
        "linkable": u16::from_le_bytes([body[2], body[3]]) & 1 != 0,
        "status": report.isv_enclave_quote_status,
        "advisories": report.advisory_ids,
        "nonce": report.nonce,
        "enclave": report_body(&ReportBody::from_bytes(&enclave)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(body: &[u8]) -> Vec<u8> {
        let report = json!({
            "id": "66484602060454922488320076477903784063",
            "timestamp": "2020-03-20T10:07:26.711023",
            "version": 4,
            "isvEnclaveQuoteStatus": "GROUP_OUT_OF_DATE",
            "advisoryIDs": ["INTEL-SA-00219"],
            "isvEnclaveQuoteBody": Base64::encode_string(body),
            "platformInfoBlob": "1502006504000100",
        });
        report.to_string().into_bytes()
    }

    #[test]
    fn a_stored_report_is_shown_and_not_believed() {
        let mut body = vec![0; QUOTE_BODY];
        body[0] = 2;
        body[2] = 1;
        body[48 + 64..][..32].fill(0xaa);
        let shown = read(&stored(&body)).expect("a report");
        assert_eq!(shown["verified"], false);
        assert_eq!(shown["linkable"], true);
        assert_eq!(shown["status"], "GROUP_OUT_OF_DATE");
        assert_eq!(shown["enclave"]["mrenclave"], "aa".repeat(32));
    }

    #[test]
    fn what_is_no_report_is_refused_by_field() {
        let refusal = read(&stored(&[0; 431])).expect_err("short");
        assert_eq!(refusal, "isvEnclaveQuoteBody: expected 432 bytes, got 431");
        assert!(read(b"{}").expect_err("empty").contains("missing field `id`"));
        assert!(read(b"{").is_err());
    }
}
