//! What stands behind a quote, for people: certificates, quoting enclave, collateral.
//!
//! All of it is read again for show; what was checked, and with what result, is among the checks.

use super::html::Html;
use crate::live::Material;
use attestation::collateral::{QeIdentity, TcbInfo};
use attestation::hex::Hex;
use attestation::quote::{CertificationData, Quote};
use attestation::time::{Rfc3339, Validity};
use attestation::x509::{self, Certificate, PckExtension, SgxType, SignedCrl};
use workload::digest::Digest;

/// The quote's own parts.
pub(super) fn quote(html: &mut Html, material: &Material, is_emulated: bool) {
    let Ok(quote) = Quote::parse(&material.evidence) else {
        html.markup("<p>The evidence cannot be read as a quote.</p>\n");
        return;
    };
    html.markup("<h3>Certificates, from the platform to the root</h3>\n");
    match quote.signature.certification {
        CertificationData::PckChain(pem) => match x509::chain(pem) {
            Ok(chain) => certificates(html, &chain, is_emulated),
            Err(error) => {
                html.element("<p>", &error.to_string(), "</p>\n");
            }
        },
        CertificationData::Other { kind, .. } => {
            let text = format!("none: certification data of type {kind}");
            html.element("<p>", &text, "</p>\n");
        }
    }
    html.markup("<h3>Quote</h3>\n<dl>\n");
    html.fact("format", &format!("version {}, ECDSA P-256", quote.header.version));
    html.fact("length", &format!("{} bytes", material.evidence.len()));
    html.fact("SHA-256 of header and report", &Digest::of(quote.signed).to_string());
    if let Some(report_data) = &material.report_data {
        html.fact("report data asked for", &Hex(report_data).to_string());
    }
    html.markup("</dl>\n");
}

fn certificates(html: &mut Html, chain: &[Vec<u8>], is_emulated: bool) {
    html.markup("<table><thead><tr><th>Certificate</th><th>Issued by</th><th>Valid</th><th>SHA-256</th></tr></thead><tbody>\n");
    for der in chain {
        let Ok(certificate) = Certificate::parse(der) else { continue };
        let name = |name| x509::common_name(name).unwrap_or("without a name").to_owned();
        html.element("<tr><td data-name=\"certificate\">", &name(certificate.subject), "</td>");
        html.element("<td data-name=\"issued by\">", &name(certificate.issuer), "</td>");
        html.markup("<td data-name=\"valid\">");
        html.value(&dates(certificate.validity));
        html.markup("</td><td data-name=\"SHA-256\">");
        html.code(&Digest::of(der).to_string()).markup("</td></tr>\n");
    }
    html.markup("</tbody></table>\n");
    let leaf = chain.first().and_then(|der| Certificate::parse(der).ok());
    let Some(pck) = leaf.and_then(|leaf| PckExtension::of(&leaf).ok()) else { return };
    html.markup("<h3>Platform, as its certificate says</h3>\n<dl>\n");
    html.fact("processor (PPID)", &Hex(&pck.ppid).to_string());
    if let Some(id) = &pck.platform_instance_id {
        html.fact("platform instance id", &Hex(id).to_string());
    }
    html.fact("model (FMSPC)", &Hex(&pck.fmspc).to_string().to_uppercase());
    html.fact("CPUSVN", &Hex(&pck.cpusvn).to_string());
    html.fact("PCESVN", &pck.pcesvn.to_string());
    let memory = match pck.sgx_type {
        SgxType::Standard => "encrypted, with protection against replay",
        SgxType::Scalable => "encrypted",
        SgxType::ScalableWithIntegrity => "encrypted, with integrity",
    };
    if is_emulated {
        // The certificate must say one of them: there is no word in it for none.
        html.fact(
            "memory",
            &format!("open to its host: emulated (the certificate's word: {memory})"),
        );
    } else {
        html.fact("memory", memory);
    }
    html.markup("</dl>\n");
}

/// What the issuer says of the platform, and until when.
pub(super) fn collateral(html: &mut Html, material: &Material) {
    let Some(collateral) = &material.collateral else {
        html.markup("<p>None was used.</p>\n");
        return;
    };
    html.markup("<dl>\n");
    if let Ok(info) = TcbInfo::parse(&collateral.tcb_info) {
        html.fact("TCB info", &signed(info.validity, info.tcb_evaluation_data_number));
    }
    if let Ok(identity) = QeIdentity::parse(&collateral.qe_identity) {
        let number = identity.tcb_evaluation_data_number;
        html.fact("quoting enclave's identity", &signed(identity.validity, number));
        html.fact("quoting enclave's signer", &Hex(&identity.mrsigner).to_string());
    }
    for (name, der) in
        [("root's CRL", &collateral.root_ca_crl), ("PCK CA's CRL", &collateral.pck_crl)]
    {
        let text = match SignedCrl::parse(der) {
            Ok(signed) => format!("{} revoked, {}", signed.crl.len(), dates(signed.crl.validity)),
            Err(error) => error.to_string(),
        };
        html.fact(name, &text);
    }
    html.fact("SHA-256 of the bundle", &Digest::of(collateral.to_json().as_bytes()).to_string());
    html.markup("</dl>\n");
}

fn signed(validity: Validity, number: u32) -> String {
    format!("evaluation {number}, {}", dates(validity))
}

fn dates(validity: Validity) -> String {
    format!("{} to {}", Rfc3339(validity.not_before), Rfc3339(validity.not_after))
}
