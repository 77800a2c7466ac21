//! What the provisioning service answers to one request. No input or output here.

use crate::collateral::{Collateral, CollateralSettings, Issued, hex};
use crate::error::PlatformError;
use crate::pck::PckCa;
use crate::root::Root;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode, Uri};

const BASE: &str = "/sgx/certification/v4/";
const PCK_CRL_CHAIN: HeaderName = HeaderName::from_static("sgx-pck-crl-issuer-chain");
const TCB_INFO_CHAIN: HeaderName = HeaderName::from_static("tcb-info-issuer-chain");
const IDENTITY_CHAIN: HeaderName = HeaderName::from_static("sgx-enclave-identity-issuer-chain");
/// Every answer has it, so that nobody takes the service for Intel's.
const EMULATED: HeaderName = HeaderName::from_static("inclavare-emulated");

/// Why there is no collateral in the answer.
enum Refusal {
    Method {
        got: Method,
    },
    Path {
        got: String,
    },
    Parameter {
        name: &'static str,
        expected: String,
        got: Option<String>,
    },
    /// What is asked for is not about a platform of this service.
    Unknown {
        name: &'static str,
        expected: String,
        got: String,
    },
    Issue(PlatformError),
}

/// What is answered.
struct Content {
    kind: &'static str,
    body: Vec<u8>,
    /// The chain of whoever signed, PEM.
    chain: Option<(HeaderName, String)>,
}

pub(super) fn answer(
    root: &Root,
    settings: &CollateralSettings,
    now: i64,
    method: &Method,
    uri: &Uri,
) -> Response<Full<Bytes>> {
    let (status, content) = match content(root, settings, now, method, uri) {
        Ok(content) => (StatusCode::OK, content),
        Err(refusal) => {
            let body = format!("{refusal}\n").into_bytes();
            (refusal.status(), Content { kind: "text/plain", body, chain: None })
        }
    };
    let mut response = Response::new(Full::new(content.body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content.kind));
    headers.insert(EMULATED, HeaderValue::from_static("true"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET"));
    }
    if let Some((name, chain)) = content.chain {
        let value = HeaderValue::from_str(&percent_encoded(&chain)).expect("printable ASCII");
        headers.insert(name, value);
    }
    response
}

fn content(
    root: &Root,
    settings: &CollateralSettings,
    now: i64,
    method: &Method,
    uri: &Uri,
) -> Result<Content, Refusal> {
    if method != Method::GET {
        return Err(Refusal::Method { got: method.clone() });
    }
    let query = uri.query().unwrap_or_default();
    let issue = |ca| Collateral::issue(root, ca, settings, Issued::at(now)).map_err(Refusal::Issue);
    match uri.path().strip_prefix(BASE) {
        Some("pckcrl") => {
            let ca = ca(query)?;
            let is_der = is_der(query)?;
            let collateral = issue(ca)?;
            let chain = Some((PCK_CRL_CHAIN, collateral.pck_crl_issuer_chain));
            Ok(if is_der {
                Content { kind: "application/pkix-crl", body: collateral.pck_crl, chain }
            } else {
                let body = pem(&collateral.pck_crl).into_bytes();
                Content { kind: "application/x-pem-file", body, chain }
            })
        }
        Some("rootcacrl") => {
            let body = hex(&issue(PckCa::default())?.root_ca_crl).into_bytes();
            Ok(Content { kind: "text/plain", body, chain: None })
        }
        Some("tcb") => {
            check_fmspc(query, &settings.fmspc)?;
            check_evaluation(query, settings.evaluation)?;
            let collateral = issue(PckCa::default())?;
            Ok(Content {
                kind: "application/json",
                body: signed("tcbInfo", &collateral.tcb_info, &collateral.tcb_info_signature),
                chain: Some((TCB_INFO_CHAIN, collateral.tcb_info_issuer_chain)),
            })
        }
        Some("qe/identity") => {
            check_evaluation(query, settings.evaluation)?;
            let collateral = issue(PckCa::default())?;
            let signature = &collateral.qe_identity_signature;
            Ok(Content {
                kind: "application/json",
                body: signed("enclaveIdentity", &collateral.qe_identity, signature),
                chain: Some((IDENTITY_CHAIN, collateral.qe_identity_issuer_chain)),
            })
        }
        _ => Err(Refusal::Path { got: uri.path().to_owned() }),
    }
}

fn ca(query: &str) -> Result<PckCa, Refusal> {
    let got = parameter(query, "ca");
    let all = [PckCa::Processor, PckCa::Platform];
    all.into_iter().find(|ca| got == Some(ca.name())).ok_or_else(|| Refusal::Parameter {
        name: "ca",
        expected: "processor or platform".to_owned(),
        got: got.map(str::to_owned),
    })
}

fn is_der(query: &str) -> Result<bool, Refusal> {
    match parameter(query, "encoding") {
        Some("der") => Ok(true),
        Some("pem") | None => Ok(false),
        got => Err(Refusal::Parameter {
            name: "encoding",
            expected: "der or pem".to_owned(),
            got: got.map(str::to_owned),
        }),
    }
}

fn check_fmspc(query: &str, fmspc: &[u8; 6]) -> Result<(), Refusal> {
    let expected = hex(fmspc);
    match parameter(query, "fmspc") {
        Some(got) if got.eq_ignore_ascii_case(&expected) => Ok(()),
        Some(got) => Err(Refusal::Unknown { name: "fmspc", expected, got: got.to_owned() }),
        None => Err(Refusal::Parameter { name: "fmspc", expected, got: None }),
    }
}

/// There is one set of evaluations. A verifier may ask for it by number; `update` gives the same.
fn check_evaluation(query: &str, evaluation: u32) -> Result<(), Refusal> {
    let name = "tcbEvaluationDataNumber";
    match parameter(query, name) {
        Some(got) if got.parse() != Ok(evaluation) => {
            Err(Refusal::Unknown { name, expected: evaluation.to_string(), got: got.to_owned() })
        }
        _ => Ok(()),
    }
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, v)| v)
}

/// A document in its envelope, with its signature.
fn signed(name: &str, document: &str, signature: &[u8]) -> Vec<u8> {
    let signature = hex(signature).to_lowercase();
    format!(r#"{{"{name}":{document},"signature":"{signature}"}}"#).into_bytes()
}

fn pem(crl: &[u8]) -> String {
    let pem = pem::Pem::new("X509 CRL", crl);
    pem::encode_config(&pem, pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF))
}

fn percent_encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if is_plain(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
        encoded
    })
}

impl Refusal {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Path { .. } | Self::Unknown { .. } => StatusCode::NOT_FOUND,
            Self::Parameter { .. } => StatusCode::BAD_REQUEST,
            Self::Issue(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Method { got } => write!(f, "method: expected GET, got {got}"),
            Self::Path { got } => write!(
                f,
                "path: expected {BASE} and one of pckcrl, rootcacrl, tcb, qe/identity, got {got}"
            ),
            Self::Parameter { name, expected, got } => {
                write!(f, "{name}: expected {expected}, got {}", got.as_deref().unwrap_or("none"))
            }
            Self::Unknown { name, expected, got } => {
                write!(f, "{name}: this emulated service has {expected}, asked for {got}")
            }
            Self::Issue(error) => error.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Dates;

    fn ask(method: &Method, uri: &str) -> (StatusCode, Response<Full<Bytes>>) {
        let cpu = sgx::keys::Platform {
            root: [1; 16],
            seal_fuses: [2; 16],
            owner_epoch: [3; 16],
            cpusvn: sgx::report::EMULATED_CPUSVN,
        };
        let root = Root::new(&cpu, Dates::default()).expect("dates are in range");
        let uri = uri.parse().expect("a URI");
        let response = answer(&root, &CollateralSettings::default(), 1_800_000_000, method, &uri);
        (response.status(), response)
    }

    #[test]
    fn every_path_answers_and_says_that_it_is_emulated() {
        for (path, chain) in [
            ("pckcrl?ca=processor&encoding=der", Some(PCK_CRL_CHAIN)),
            ("pckcrl?ca=platform", Some(PCK_CRL_CHAIN)),
            ("rootcacrl", None),
            ("tcb?fmspc=454D554C4154&update=standard", Some(TCB_INFO_CHAIN)),
            ("tcb?fmspc=454d554c4154&tcbEvaluationDataNumber=1", Some(TCB_INFO_CHAIN)),
            ("qe/identity?update=standard", Some(IDENTITY_CHAIN)),
        ] {
            let (status, response) = ask(&Method::GET, &format!("{BASE}{path}"));
            assert_eq!(status, StatusCode::OK, "{path}");
            assert_eq!(response.headers()[EMULATED], "true");
            if let Some(chain) = chain {
                let chain = response.headers()[chain].to_str().expect("ASCII");
                assert!(chain.starts_with("-----BEGIN%20CERTIFICATE-----%0A"), "{chain}");
            }
        }
    }

    #[test]
    fn what_it_does_not_have_is_refused() {
        for (method, path, expected) in [
            (Method::POST, "rootcacrl", StatusCode::METHOD_NOT_ALLOWED),
            (Method::GET, "pckcerts", StatusCode::NOT_FOUND),
            (Method::GET, "", StatusCode::NOT_FOUND),
            (Method::GET, "pckcrl", StatusCode::BAD_REQUEST),
            (Method::GET, "pckcrl?ca=Processor", StatusCode::BAD_REQUEST),
            (Method::GET, "pckcrl?ca=processor&encoding=ber", StatusCode::BAD_REQUEST),
            (Method::GET, "tcb", StatusCode::BAD_REQUEST),
            (Method::GET, "tcb?fmspc=00A067110000", StatusCode::NOT_FOUND),
            (
                Method::GET,
                "tcb?fmspc=454D554C4154&tcbEvaluationDataNumber=2",
                StatusCode::NOT_FOUND,
            ),
            (Method::GET, "qe/identity?tcbEvaluationDataNumber=x", StatusCode::NOT_FOUND),
        ] {
            assert_eq!(ask(&method, &format!("{BASE}{path}")).0, expected, "{method} {path}");
        }
        assert_eq!(ask(&Method::GET, "/rootcacrl").0, StatusCode::NOT_FOUND);
    }
}
