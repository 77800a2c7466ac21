//! Asking a PCS (Intel's service) or a PCCS (a cache of it in a data centre), API version 4.
//!
//! | object | request | where its issuer chain stands |
//! |---|---|---|
//! | PCK CRL | `sgx/certification/v4/pckcrl?ca=CA&encoding=der` | header `SGX-PCK-CRL-Issuer-Chain` |
//! | root CRL | `sgx/certification/v4/rootcacrl` | the root itself |
//! | TCB info | `TEE/certification/v4/tcb?fmspc=FMSPC&update=standard` | header `TCB-Info-Issuer-Chain` |
//! | QE identity | `TEE/certification/v4/qe/identity?update=standard` | header `SGX-Enclave-Identity-Issuer-Chain` |
//!
//! `TEE` is `sgx` or `tdx`. Chains are PEM, URL-encoded. Source: Intel, "API Documentation: Intel SGX and Intel
//! TDX Registration and Provisioning", version 4.
//!
//! Nothing that comes back is believed here: every object is signed, and is verified before it is used. So
//! plain HTTP is allowed (a PCCS beside the verifier often has no certificate that the web knows); what an
//! attacker on the way can do is withhold. Sizes and times are bounded, redirections are not followed, and the
//! signed text is kept byte for byte as it came.

use crate::error::FetchError;
use crate::object::{Ca, Object, Tee};
use attestation::collateral::{Signed, SignedMember};
use attestation::hex;
use std::sync::Arc;
use std::time::Duration;
use ureq::http::Response;
use ureq::{Agent, Body};
use workload::digest::Hex;

/// Intel's own service.
pub const INTEL: &str = "https://api.trustedservices.intel.com";

/// Where Intel publishes the root CRL: its service has no `rootcacrl`, which is PCCS's. The address is the
/// distribution point in Intel's root certificate.
const INTEL_ROOT_CRL: &str = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der";

/// Most bytes of an answer: the largest PCK CRL in service has some hundred KiB.
const MOST_BODY: u64 = 4 << 20;
/// Most bytes of the headers, where issuer chains of some 4 KiB stand.
const MOST_HEADERS: usize = 64 << 10;

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For a whole request, so that a server that sends a byte a minute holds nobody up.
    pub request: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), request: Duration::from_secs(30) }
    }
}

/// A service to ask.
#[derive(Clone, Debug)]
pub struct Pcs {
    base: String,
    agent: Agent,
}

impl Pcs {
    /// A service at `url`: `https://host[:port][/path]` or `http://…`, with or without
    /// `/sgx/certification/v4` at its end.
    ///
    /// # Errors
    /// It is no such address.
    pub fn new(url: &str, timeouts: Timeouts) -> Result<Self, FetchError> {
        let base = url.trim_end_matches('/');
        let base = base.strip_suffix("/sgx/certification/v4").unwrap_or(base);
        let is_url = ["https://", "http://"]
            .iter()
            .filter_map(|scheme| base.strip_prefix(scheme))
            .any(|rest| !rest.is_empty() && !rest.contains(['?', '#', '@', ' ']));
        if !is_url {
            return Err(FetchError::Address { url: url.into() });
        }
        let agent = Agent::config_builder()
            .timeout_connect(Some(timeouts.connect))
            .timeout_global(Some(timeouts.request))
            .max_response_header_size(MOST_HEADERS)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("inclavare-collateral/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Self { base: base.into(), agent })
    }

    /// The address, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.base
    }

    /// The CRL of a PCK CA.
    ///
    /// # Errors
    /// The service cannot be reached, has none, or answers something else; so with the other methods.
    pub fn pck_crl(&self, ca: Ca) -> Result<Object, FetchError> {
        let url = self.path(Tee::Sgx, &format!("pckcrl?ca={}&encoding=der", ca.name()));
        let mut response = self.get(&url)?;
        let issuer_chain = chain(&url, &response, "SGX-PCK-CRL-Issuer-Chain")?;
        let crl = crl(&url, &read(&url, &mut response)?)?;
        Ok(Object::Crl { crl, issuer_chain })
    }

    /// The root's CRL. `Object::Crl`'s chain is empty: its issuer is the anchor.
    ///
    /// # Errors
    /// As [`pck_crl`](Self::pck_crl).
    pub fn root_crl(&self) -> Result<Object, FetchError> {
        let url = if self.base == INTEL {
            INTEL_ROOT_CRL.to_string()
        } else {
            self.path(Tee::Sgx, "rootcacrl")
        };
        let mut response = self.get(&url)?;
        let crl = crl(&url, &read(&url, &mut response)?)?;
        Ok(Object::Crl { crl, issuer_chain: String::new() })
    }

    /// The TCB levels of a kind of platform.
    ///
    /// # Errors
    /// As [`pck_crl`](Self::pck_crl).
    pub fn tcb_info(&self, tee: Tee, fmspc: [u8; 6]) -> Result<Object, FetchError> {
        let fmspc = Hex(fmspc).to_string().to_uppercase();
        let url = self.path(tee, &format!("tcb?fmspc={fmspc}&update=standard"));
        let mut response = self.get(&url)?;
        let issuer_chain = chain(&url, &response, "TCB-Info-Issuer-Chain")?;
        let body = read(&url, &mut response)?;
        signed(&url, SignedMember::TcbInfo, body, issuer_chain)
    }

    /// The identity of the quoting enclave.
    ///
    /// # Errors
    /// As [`pck_crl`](Self::pck_crl).
    pub fn qe_identity(&self, tee: Tee) -> Result<Object, FetchError> {
        let url = self.path(tee, "qe/identity?update=standard");
        let mut response = self.get(&url)?;
        let issuer_chain = chain(&url, &response, "SGX-Enclave-Identity-Issuer-Chain")?;
        let body = read(&url, &mut response)?;
        signed(&url, SignedMember::EnclaveIdentity, body, issuer_chain)
    }

    fn path(&self, tee: Tee, rest: &str) -> String {
        format!("{}/{}/certification/v4/{rest}", self.base, tee.name())
    }

    fn get(&self, url: &str) -> Result<Response<Body>, FetchError> {
        let response = self.agent.get(url).call();
        let response = response.map_err(|error| FetchError::transport(url, error))?;
        match response.status().as_u16() {
            200 => Ok(response),
            status => Err(FetchError::Status { url: url.into(), status }),
        }
    }
}

fn read(url: &str, response: &mut Response<Body>) -> Result<Vec<u8>, FetchError> {
    let body = response.body_mut().with_config().limit(MOST_BODY).read_to_vec();
    body.map_err(|error| match error {
        ureq::Error::BodyExceedsLimit(_) => {
            FetchError::TooLarge { url: url.into(), most: MOST_BODY }
        }
        other => FetchError::transport(url, other),
    })
}

/// The PEM chain in a header.
fn chain(url: &str, response: &Response<Body>, name: &'static str) -> Result<String, FetchError> {
    let wrong = |got: &'static str| FetchError::Header { url: url.into(), name, got };
    let value = response.headers().get(name).ok_or_else(|| wrong("no such header"))?;
    let decoded = percent_encoding::percent_decode(value.as_bytes()).decode_utf8();
    let decoded = decoded.map_err(|_| wrong("bytes that are no text"))?;
    if !decoded.trim_start().starts_with("-----BEGIN CERTIFICATE-----") {
        return Err(wrong("something else"));
    }
    Ok(decoded.into_owned())
}

/// A CRL, which some services send as DER and some as hexadecimal text of it.
fn crl(url: &str, body: &[u8]) -> Result<Vec<u8>, FetchError> {
    const SEQUENCE: u8 = 0x30;
    let text = std::str::from_utf8(body).ok().map(str::trim);
    if let Some(der) = text.and_then(|text| hex::vec(text).ok())
        && der.first() == Some(&SEQUENCE)
    {
        return Ok(der);
    }
    if body.first() == Some(&SEQUENCE) {
        return Ok(body.to_vec());
    }
    Err(FetchError::Body { url: url.into(), expected: "a CRL: DER, or its hexadecimal text" })
}

/// A document and its signature, out of the envelope that they come in.
fn signed(
    url: &str,
    member: SignedMember,
    body: Vec<u8>,
    issuer_chain: String,
) -> Result<Object, FetchError> {
    let wrong = |error| FetchError::Json { url: url.into(), error: Arc::new(error) };
    let text = String::from_utf8(body)
        .map_err(|_| FetchError::Body { url: url.into(), expected: "text" })?;
    let Signed { document, signature } = Signed::parse(&text, member).map_err(wrong)?;
    Ok(Object::Signed { body: document, signature, issuer_chain })
}
