//! `inspect`: what is in a file, without judging it.

mod report;

use crate::args::Inspect;
use crate::failure::Failure;
use crate::{Say, file, ias};
use attestation::hex::Hex;
use attestation::quote::{Body, CertificationData, Quote, QuoteError};
use attestation::x509::{self, Certificate, PckExtension, common_name};
use report::{enclave, report};
pub(crate) use report::{report_body, target_info};
use serde_json::{Value, json};
use sgx::{Report, ReportBody, Targetinfo};

pub(crate) fn run(arguments: &Inspect, say: Say) -> Result<(), Failure> {
    let bytes = file::read(&arguments.file)?;
    let shown = match bytes.len() {
        Report::SIZE => report(&bytes).map_err(|error| error.to_string()),
        Targetinfo::SIZE => target_info(&bytes).map_err(|error| error.to_string()),
        _ if bytes.first() == Some(&b'{') => ias::read(&bytes),
        _ => quote(&bytes).map_err(|error| {
            format!(
                "expected a quote, a REPORT ({} bytes), a TARGETINFO ({} bytes) or an attestation report (JSON), got \
                 another file of {} bytes; as a quote: {error}",
                Report::SIZE,
                Targetinfo::SIZE,
                bytes.len()
            )
        }),
    };
    match shown {
        Ok(shown) => say.result(&shown),
        Err(error) => Err(Failure::Refused(format!("{}: {error}", arguments.file.display()))),
    }
}

/// Whether the quoting enclave calls itself emulated. That it does not proves nothing.
pub(crate) fn is_from_emulator(quote: &[u8]) -> Result<bool, QuoteError> {
    Ok(qe_report(&Quote::parse(quote)?).mrsigner == emulated_platform::MRSIGNER)
}

fn qe_report(quote: &Quote<'_>) -> ReportBody {
    let mut bytes = [0; ReportBody::SIZE];
    bytes.copy_from_slice(quote.signature.qe_report);
    ReportBody::from_bytes(&bytes)
}

fn quote(bytes: &[u8]) -> Result<Value, QuoteError> {
    let quote = Quote::parse(bytes)?;
    let qe = qe_report(&quote);
    let mut value = json!({
        "kind": "quote",
        "emulated": qe.mrsigner == emulated_platform::MRSIGNER,
        "verified": false,
        "version": quote.header.version,
        "qe_vendor_id": hex(&quote.header.qe_vendor_id),
        "user_data": hex(&quote.header.user_data),
        "padding": quote.padding,
    });
    match &quote.body {
        Body::Sgx(body) => value["enclave"] = report_body(body),
        Body::Tdx(report) => {
            value["trust_domain"] = json!({
                "mrtd": hex(&report.mrtd),
                "rtmr": report.rtmr.map(|register| hex(&register)),
                "td_attributes": format!("{:#x}", report.td_attributes),
                "report_data": hex(&report.report_data),
            });
        }
    }
    value["attestation_key"] = hex(&quote.signature.attestation_key).into();
    value["quoting_enclave"] = enclave(&qe);
    match quote.signature.certification {
        CertificationData::PckChain(pem) => value["certificates"] = certificates(pem),
        CertificationData::Other { kind, bytes } => {
            value["certification"] = json!({ "type": kind, "bytes": bytes.len() });
        }
    }
    Ok(value)
}

/// The chain, or why it cannot be read: the rest of a quote is worth showing nevertheless.
fn certificates(pem: &[u8]) -> Value {
    match x509::chain(pem) {
        Ok(chain) => chain.iter().map(|der| certificate(der)).collect(),
        Err(error) => error.to_string().into(),
    }
}

fn certificate(der: &[u8]) -> Value {
    let certificate = match Certificate::parse(der) {
        Ok(certificate) => certificate,
        Err(error) => return json!({ "error": error.to_string() }),
    };
    let mut value = json!({
        "subject": common_name(certificate.subject),
        "issuer": common_name(certificate.issuer),
        "validity": certificate.validity.to_string(),
    });
    if let Ok(pck) = PckExtension::of(&certificate) {
        value["ppid"] = hex(&pck.ppid).into();
        value["fmspc"] = hex(&pck.fmspc).into();
        value["cpusvn"] = hex(&pck.cpusvn).into();
        value["pcesvn"] = pck.pcesvn.into();
        value["platform_instance_id"] = pck.platform_instance_id.map(|id| hex(&id)).into();
    }
    value
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    Hex(bytes).to_string()
}
