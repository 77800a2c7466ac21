//! A client of the daemon: Intel's, or the emulator's.
//!
//! The daemon takes one request per connection, and so do we.

mod error;
mod reply;

use crate::att_key_id::{ATT_KEY_ID_SIZE, Algorithm, AttKeyId};
use crate::frame::{Timed, write_frame};
use crate::message::{
    GetLaunchTokenRequest, GetQuoteExRequest, GetQuoteSizeExRequest,
    GetSupportedAttKeyIdNumRequest, GetSupportedAttKeyIdsRequest, InitQuoteExRequest, Request,
    Response, SelectAttKeyIdRequest,
};
use crate::status::Status;
pub use error::ClientError;
use prost::Message;
pub use reply::fuzz;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where Intel's daemon listens.
pub const DEFAULT_SOCKET: &str = "/var/run/aesmd/aesm.socket";
/// How long a request may take: as long as the daemon's own clients wait for a platform to be provisioned.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Length of TARGETINFO in bytes.
pub const TARGETINFO_SIZE: usize = 512;
/// Length of REPORT in bytes.
pub const REPORT_SIZE: usize = 432;
/// Length of EINITTOKEN in bytes.
pub const EINITTOKEN_SIZE: usize = 304;
/// Nonce, TARGETINFO, REPORT, in bytes.
pub(crate) const QE_REPORT_INFO_SIZE: usize = 16 + TARGETINFO_SIZE + REPORT_SIZE;

/// A quote and what came with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuoteAndReport {
    /// The quote, without padding.
    pub quote: Vec<u8>,
    /// The quoting enclave's own report.
    pub qe_report: [u8; REPORT_SIZE],
}

/// Asks the daemon behind one socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    timeout: Duration,
}

impl Client {
    /// A client of the daemon that listens on this socket.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), timeout: DEFAULT_TIMEOUT }
    }

    /// How long one request may take, connecting, sending and receiving together.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What an enclave must make its report for to have it quoted by this platform's ECDSA quoting enclave.
    ///
    /// # Errors
    /// No daemon, no such key, a refusal, a malformed answer.
    pub fn target_info(&self) -> Result<[u8; TARGETINFO_SIZE], ClientError> {
        self.init_quote(&self.ecdsa_key()?)
    }

    /// An ECDSA quote of a report made for [`target_info`](Self::target_info).
    ///
    /// # Errors
    /// As above.
    pub fn quote(&self, report: &[u8; REPORT_SIZE]) -> Result<Vec<u8>, ClientError> {
        self.get_quote(report, None).map(|(quote, _)| quote)
    }

    /// A quote, with the quoting enclave's report for `target`, whose report data are SHA-256(`nonce` ‖
    /// quote): so that an enclave can tell that a quoting enclave of its own platform answered.
    ///
    /// # Errors
    /// As above.
    pub fn quote_and_report(
        &self,
        report: &[u8; REPORT_SIZE],
        target: &[u8; TARGETINFO_SIZE],
        nonce: &[u8; 16],
    ) -> Result<QuoteAndReport, ClientError> {
        let info = [&nonce[..], target, &[0; REPORT_SIZE]].concat();
        let (quote, info) = self.get_quote(report, Some(info))?;
        let info = info.ok_or(ClientError::Missing { field: "qe_report_info" })?;
        let mut qe_report = [0; REPORT_SIZE];
        qe_report.copy_from_slice(&info[QE_REPORT_INFO_SIZE - REPORT_SIZE..]);
        Ok(QuoteAndReport { quote, qe_report })
    }

    /// A launch token (EINITTOKEN) for the enclave with this ENCLAVEHASH, MODULUS and ATTRIBUTES. Only CPUs
    /// without flexible launch control take one.
    ///
    /// # Errors
    /// As above.
    pub fn launch_token(
        &self,
        enclavehash: &[u8; 32],
        modulus: &[u8; 384],
        attributes: &[u8; 16],
    ) -> Result<[u8; EINITTOKEN_SIZE], ClientError> {
        let request = GetLaunchTokenRequest {
            enclavehash: enclavehash.to_vec(),
            modulus: modulus.to_vec(),
            attributes: attributes.to_vec(),
            timeout_us: self.timeout_us(),
        };
        let request = Request { get_launch_token: Some(request), ..Request::default() };
        reply::launch_token(self.ask(&request)?)
    }

    /// The id of the platform's ECDSA P-256 key: its default if that is one, otherwise the first it lists.
    ///
    /// # Errors
    /// As above.
    pub fn ecdsa_key(&self) -> Result<AttKeyId, ClientError> {
        let request =
            SelectAttKeyIdRequest { att_key_id_list: None, timeout_us: self.timeout_us() };
        let request = Request { select_att_key_id: Some(request), ..Request::default() };
        if let Ok(key) = reply::selected_key(self.ask(&request)?)
            && key.algorithm() == Algorithm::ECDSA_P256
        {
            return Ok(key);
        }
        let keys = self.supported_keys()?;
        let is_ecdsa = |key: &&AttKeyId| key.algorithm() == Algorithm::ECDSA_P256;
        keys.iter().find(is_ecdsa).copied().ok_or_else(|| ClientError::NoEcdsaKey {
            offered: keys.iter().map(AttKeyId::algorithm).collect(),
        })
    }

    /// The ids of all keys of the platform.
    ///
    /// # Errors
    /// As above.
    pub fn supported_keys(&self) -> Result<Vec<AttKeyId>, ClientError> {
        let request = GetSupportedAttKeyIdNumRequest { timeout_us: self.timeout_us() };
        let request = Request { get_supported_att_key_id_num: Some(request), ..Request::default() };
        let number = reply::number_of_keys(self.ask(&request)?)?;
        let request = GetSupportedAttKeyIdsRequest {
            buf_size: number * ATT_KEY_ID_SIZE as u32,
            timeout_us: self.timeout_us(),
        };
        let request = Request { get_supported_att_key_ids: Some(request), ..Request::default() };
        reply::keys(self.ask(&request)?, number)
    }

    /// Two requests: how long the public key id is, then the target information.
    fn init_quote(&self, key: &AttKeyId) -> Result<[u8; TARGETINFO_SIZE], ClientError> {
        let ask = |buf_size: Option<u64>| {
            let request = InitQuoteExRequest {
                att_key_id: Some(key.0.to_vec()),
                b_pub_key_id: buf_size.is_some(),
                buf_size,
                timeout_us: self.timeout_us(),
            };
            self.ask(&Request { init_quote_ex: Some(request), ..Request::default() })
        };
        let size = reply::public_key_id_size(ask(None)?)?;
        reply::target_info(ask(Some(size))?)
    }

    /// A daemon that was restarted since it gave its target information must be asked for it again.
    fn get_quote(
        &self,
        report: &[u8; REPORT_SIZE],
        qe_report_info: Option<Vec<u8>>,
    ) -> Result<(Vec<u8>, Option<[u8; QE_REPORT_INFO_SIZE]>), ClientError> {
        let key = self.ecdsa_key()?;
        let attempt = || {
            let buf_size = self.quote_size(&key)?;
            self.get_quote_once(&key, report, qe_report_info.clone(), buf_size)
        };
        match attempt() {
            Err(ClientError::Refused { status: Status::ATT_KEY_NOT_INITIALIZED, .. }) => {
                self.init_quote(&key)?;
                attempt()
            }
            other => other,
        }
    }

    fn quote_size(&self, key: &AttKeyId) -> Result<u32, ClientError> {
        let request = GetQuoteSizeExRequest {
            att_key_id: Some(key.0.to_vec()),
            timeout_us: self.timeout_us(),
        };
        let request = Request { get_quote_size_ex: Some(request), ..Request::default() };
        reply::quote_size(self.ask(&request)?)
    }

    fn get_quote_once(
        &self,
        key: &AttKeyId,
        report: &[u8; REPORT_SIZE],
        qe_report_info: Option<Vec<u8>>,
        buf_size: u32,
    ) -> Result<(Vec<u8>, Option<[u8; QE_REPORT_INFO_SIZE]>), ClientError> {
        let request = GetQuoteExRequest {
            report: report.to_vec(),
            att_key_id: Some(key.0.to_vec()),
            qe_report_info,
            buf_size,
            timeout_us: self.timeout_us(),
        };
        let request = Request { get_quote_ex: Some(request), ..Request::default() };
        reply::quote(self.ask(&request)?)
    }

    fn ask(&self, request: &Request) -> Result<Response, ClientError> {
        let mut stream = Timed::connect(&self.socket, self.timeout).map_err(|error| {
            ClientError::Connect { socket: self.socket.clone(), kind: error.kind() }
        })?;
        write_frame(&mut stream, &request.encode_to_vec())?;
        reply::read(&mut stream)
    }

    fn timeout_us(&self) -> Option<u32> {
        Some(u32::try_from(self.timeout.as_micros()).unwrap_or(u32::MAX))
    }
}
