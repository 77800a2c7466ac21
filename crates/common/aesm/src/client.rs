//! A client of the daemon: Intel's, or the emulator's.
//!
//! The daemon takes one request per connection, and so do we.

use crate::att_key_id::{ATT_KEY_ID_SIZE, Algorithm, AttKeyId};
use crate::frame::{FrameError, Timed, read_frame, write_frame};
use crate::message::{
    GetLaunchTokenRequest, GetQuoteExRequest, GetQuoteSizeExRequest,
    GetSupportedAttKeyIdNumRequest, GetSupportedAttKeyIdsRequest, InitQuoteExRequest,
    InitQuoteExResponse, Request, Response, SelectAttKeyIdRequest,
};
use crate::status::Status;
use prost::Message;
use std::io;
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
/// Header, report body and length of the signature data of a quote, in bytes.
const QUOTE_HEAD: usize = 436;
/// More keys than any platform has.
const MAX_KEYS: u32 = 64;

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// Nobody listens.
    Connect {
        /// Where.
        socket: PathBuf,
        /// Why.
        kind: io::ErrorKind,
    },
    /// The request did not go, or the answer did not come.
    Frame(FrameError),
    /// The answer is no protobuf message.
    Decode(prost::DecodeError),
    /// The answer is to another request, or lacks a field.
    Missing {
        /// The field.
        field: &'static str,
    },
    /// The daemon refuses.
    Refused {
        /// The request.
        request: &'static str,
        /// Its reason.
        status: Status,
    },
    /// A field of the answer has another length.
    Length {
        /// The field.
        field: &'static str,
        /// In bytes.
        expected: usize,
        /// In bytes.
        got: usize,
    },
    /// A quote goes on, and not with zeros, after its end.
    Trailing {
        /// Where the first byte is that is not zero.
        offset: usize,
        /// That byte.
        got: u8,
    },
    /// The platform makes no ECDSA P-256 quotes.
    NoEcdsaKey {
        /// The algorithms of the keys it has.
        offered: Vec<Algorithm>,
    },
}

impl core::fmt::Display for ClientError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Connect { socket, kind } => write!(f, "aesm socket {}: {kind}", socket.display()),
            Self::Frame(error) => write!(f, "aesm: {error}"),
            Self::Decode(error) => write!(f, "aesm: {error}"),
            Self::Missing { field } => write!(f, "aesm: the answer has no field {field}"),
            Self::Refused { request, status } => {
                write!(f, "aesm refused {request}: expected status 0 (SUCCESS), got {status}")
            }
            Self::Length { field, expected, got } => {
                write!(f, "aesm: {field}: expected {expected} bytes, got {got}")
            }
            Self::Trailing { offset, got } => {
                write!(f, "aesm: byte at {offset} after the quote: expected 0, got {got:#04x}")
            }
            Self::NoEcdsaKey { offered } => {
                let offered: Vec<u32> = offered.iter().map(|algorithm| algorithm.0).collect();
                write!(
                    f,
                    "aesm: attestation keys: expected one of algorithm 2 (ECDSA P-256), got \
                     algorithms {offered:?}"
                )
            }
        }
    }
}

impl core::error::Error for ClientError {}

impl From<FrameError> for ClientError {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

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
        let info: [u8; QE_REPORT_INFO_SIZE] = exactly("qe_report_info", info)?;
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
        let answer = self.ask(&request)?.get_launch_token;
        let answer = answer.ok_or(ClientError::Missing { field: "getLicTokenRes" })?;
        check("GetLaunchToken", answer.error)?;
        exactly("token", answer.token)
    }

    /// The id of the platform's ECDSA P-256 key: its default if that is one, otherwise the first it lists.
    ///
    /// # Errors
    /// As above.
    pub fn ecdsa_key(&self) -> Result<AttKeyId, ClientError> {
        let request =
            SelectAttKeyIdRequest { att_key_id_list: None, timeout_us: self.timeout_us() };
        let request = Request { select_att_key_id: Some(request), ..Request::default() };
        // A daemon that cannot select may still list.
        if let Some(answer) = self.ask(&request)?.select_att_key_id
            && answer.error == Status::SUCCESS.0
            && let Ok(id) = exactly("selected_att_key_id", answer.selected_att_key_id)
            && AttKeyId(id).algorithm() == Algorithm::ECDSA_P256
        {
            return Ok(AttKeyId(id));
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
        let answer = self.ask(&request)?.get_supported_att_key_id_num;
        let answer = answer.ok_or(ClientError::Missing { field: "getSupportedAttKeyIDNumRes" })?;
        check("GetSupportedAttKeyIDNum", answer.error)?;
        let number =
            answer.att_key_id_num.ok_or(ClientError::Missing { field: "att_key_id_num" })?;
        let expected = number.min(MAX_KEYS) as usize * ATT_KEY_ID_SIZE;

        let request = GetSupportedAttKeyIdsRequest {
            buf_size: expected as u32,
            timeout_us: self.timeout_us(),
        };
        let request = Request { get_supported_att_key_ids: Some(request), ..Request::default() };
        let answer = self.ask(&request)?.get_supported_att_key_ids;
        let answer = answer.ok_or(ClientError::Missing { field: "getSupportedAttKeyIDsRes" })?;
        check("GetSupportedAttKeyIDs", answer.error)?;
        let ids = answer.att_key_ids.ok_or(ClientError::Missing { field: "att_key_ids" })?;
        if ids.len() != expected {
            return Err(ClientError::Length { field: "att_key_ids", expected, got: ids.len() });
        }
        let (ids, _) = ids.as_chunks();
        Ok(ids.iter().map(|&id| AttKeyId(id)).collect())
    }

    /// Two requests: how long the public key id is, then the target information.
    fn init_quote(&self, key: &AttKeyId) -> Result<[u8; TARGETINFO_SIZE], ClientError> {
        let ask = |buf_size: Option<u64>| -> Result<InitQuoteExResponse, ClientError> {
            let request = InitQuoteExRequest {
                att_key_id: Some(key.0.to_vec()),
                b_pub_key_id: buf_size.is_some(),
                buf_size,
                timeout_us: self.timeout_us(),
            };
            let request = Request { init_quote_ex: Some(request), ..Request::default() };
            let answer = self.ask(&request)?.init_quote_ex;
            let answer = answer.ok_or(ClientError::Missing { field: "initQuoteExRes" })?;
            check("InitQuoteEx", answer.error)?;
            Ok(answer)
        };
        let size = ask(None)?.pub_key_id_size;
        let size = size.ok_or(ClientError::Missing { field: "pub_key_id_size" })?;
        exactly("target_info", ask(Some(size))?.target_info)
    }

    /// A daemon that was restarted since it gave its target information must be asked for it again.
    fn get_quote(
        &self,
        report: &[u8; REPORT_SIZE],
        qe_report_info: Option<Vec<u8>>,
    ) -> Result<(Vec<u8>, Option<Vec<u8>>), ClientError> {
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
        let answer = self.ask(&request)?.get_quote_size_ex;
        let answer = answer.ok_or(ClientError::Missing { field: "getQuoteSizeExRes" })?;
        check("GetQuoteSizeEx", answer.error)?;
        answer.quote_size.ok_or(ClientError::Missing { field: "quote_size" })
    }

    fn get_quote_once(
        &self,
        key: &AttKeyId,
        report: &[u8; REPORT_SIZE],
        qe_report_info: Option<Vec<u8>>,
        buf_size: u32,
    ) -> Result<(Vec<u8>, Option<Vec<u8>>), ClientError> {
        let request = GetQuoteExRequest {
            report: report.to_vec(),
            att_key_id: Some(key.0.to_vec()),
            qe_report_info,
            buf_size,
            timeout_us: self.timeout_us(),
        };
        let request = Request { get_quote_ex: Some(request), ..Request::default() };
        let answer = self.ask(&request)?.get_quote_ex;
        let answer = answer.ok_or(ClientError::Missing { field: "getQuoteExRes" })?;
        check("GetQuoteEx", answer.error)?;
        let quote = answer.quote.ok_or(ClientError::Missing { field: "quote" })?;
        Ok((without_padding(quote)?, answer.qe_report_info))
    }

    fn ask(&self, request: &Request) -> Result<Response, ClientError> {
        let mut stream = Timed::connect(&self.socket, self.timeout).map_err(|error| {
            ClientError::Connect { socket: self.socket.clone(), kind: error.kind() }
        })?;
        write_frame(&mut stream, &request.encode_to_vec())?;
        Response::decode(&read_frame(&mut stream)?[..]).map_err(ClientError::Decode)
    }

    fn timeout_us(&self) -> Option<u32> {
        Some(u32::try_from(self.timeout.as_micros()).unwrap_or(u32::MAX))
    }
}

fn check(request: &'static str, error: u32) -> Result<(), ClientError> {
    match Status(error) {
        Status::SUCCESS => Ok(()),
        status => Err(ClientError::Refused { request, status }),
    }
}

fn exactly<const N: usize>(
    field: &'static str,
    bytes: Option<Vec<u8>>,
) -> Result<[u8; N], ClientError> {
    let bytes = bytes.ok_or(ClientError::Missing { field })?;
    let got = bytes.len();
    bytes.try_into().map_err(|_| ClientError::Length { field, expected: N, got })
}

/// The daemon fills the client's buffer: zeros after the quote's declared end are no part of it.
fn without_padding(mut quote: Vec<u8>) -> Result<Vec<u8>, ClientError> {
    let short = |expected, got| ClientError::Length { field: "quote", expected, got };
    let head = quote.get(..QUOTE_HEAD).ok_or(short(QUOTE_HEAD, quote.len()))?;
    let length = u32::from_le_bytes([head[432], head[433], head[434], head[435]]) as usize;
    let end = QUOTE_HEAD.saturating_add(length);
    let padding = quote.get(end..).ok_or(short(end, quote.len()))?;
    if let Some(at) = padding.iter().position(|&byte| byte != 0) {
        return Err(ClientError::Trailing { offset: end + at, got: padding[at] });
    }
    quote.truncate(end);
    Ok(quote)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_after_a_quote_are_dropped_and_nothing_else() {
        let mut quote = vec![7; QUOTE_HEAD + 3];
        quote[432..436].copy_from_slice(&3_u32.to_le_bytes());
        let padded = [&quote[..], &[0; 70]].concat();
        assert_eq!(without_padding(padded.clone()), Ok(quote.clone()));
        assert_eq!(without_padding(quote.clone()), Ok(quote.clone()));

        let mut dirty = padded;
        dirty[QUOTE_HEAD + 5] = 1;
        let refusal = ClientError::Trailing { offset: QUOTE_HEAD + 5, got: 1 };
        assert_eq!(without_padding(dirty), Err(refusal));

        let got = QUOTE_HEAD + 2;
        quote.truncate(got);
        let refusal = ClientError::Length { field: "quote", expected: got + 1, got };
        assert_eq!(without_padding(quote.clone()), Err(refusal));
        quote.truncate(435);
        let refusal = ClientError::Length { field: "quote", expected: QUOTE_HEAD, got: 435 };
        assert_eq!(without_padding(quote), Err(refusal));
    }
}
