//! The messages, as protobuf (version 2) has them. Field numbers are the daemon's.
//!
//! A request is a [`Request`] with exactly one field set; its answer is a [`Response`] with the field of the
//! same number. Requests that neither side here uses (EPID provisioning, white lists) are not listed: a
//! server answers them as unsupported.

use prost::Message;

/// What a client asks: one of these.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    /// EPID: TARGETINFO of the quoting enclave.
    #[prost(message, optional, tag = "1")]
    pub init_quote: Option<InitQuoteRequest>,
    /// EPID: a quote.
    #[prost(message, optional, tag = "2")]
    pub get_quote: Option<GetQuoteRequest>,
    /// A launch token.
    #[prost(message, optional, tag = "3")]
    pub get_launch_token: Option<GetLaunchTokenRequest>,
    /// TARGETINFO of the quoting enclave.
    #[prost(message, optional, tag = "15")]
    pub init_quote_ex: Option<InitQuoteExRequest>,
    /// How long a quote will be.
    #[prost(message, optional, tag = "16")]
    pub get_quote_size_ex: Option<GetQuoteSizeExRequest>,
    /// A quote.
    #[prost(message, optional, tag = "17")]
    pub get_quote_ex: Option<GetQuoteExRequest>,
    /// Which of several attestation keys the platform would use.
    #[prost(message, optional, tag = "19")]
    pub select_att_key_id: Option<SelectAttKeyIdRequest>,
    /// How many attestation keys there are.
    #[prost(message, optional, tag = "21")]
    pub get_supported_att_key_id_num: Option<GetSupportedAttKeyIdNumRequest>,
    /// Which attestation keys there are.
    #[prost(message, optional, tag = "22")]
    pub get_supported_att_key_ids: Option<GetSupportedAttKeyIdsRequest>,
}

/// What a server answers: the field of the request's number.
#[derive(Clone, PartialEq, Message)]
pub struct Response {
    /// To [`Request::init_quote`].
    #[prost(message, optional, tag = "1")]
    pub init_quote: Option<InitQuoteResponse>,
    /// To [`Request::get_quote`].
    #[prost(message, optional, tag = "2")]
    pub get_quote: Option<GetQuoteResponse>,
    /// To [`Request::get_launch_token`].
    #[prost(message, optional, tag = "3")]
    pub get_launch_token: Option<GetLaunchTokenResponse>,
    /// To [`Request::init_quote_ex`].
    #[prost(message, optional, tag = "15")]
    pub init_quote_ex: Option<InitQuoteExResponse>,
    /// To [`Request::get_quote_size_ex`].
    #[prost(message, optional, tag = "16")]
    pub get_quote_size_ex: Option<GetQuoteSizeExResponse>,
    /// To [`Request::get_quote_ex`].
    #[prost(message, optional, tag = "17")]
    pub get_quote_ex: Option<GetQuoteExResponse>,
    /// To [`Request::select_att_key_id`].
    #[prost(message, optional, tag = "19")]
    pub select_att_key_id: Option<SelectAttKeyIdResponse>,
    /// To a request that the server does not know.
    #[prost(message, optional, tag = "20")]
    pub unsupported: Option<UnsupportedResponse>,
    /// To [`Request::get_supported_att_key_id_num`].
    #[prost(message, optional, tag = "21")]
    pub get_supported_att_key_id_num: Option<GetSupportedAttKeyIdNumResponse>,
    /// To [`Request::get_supported_att_key_ids`].
    #[prost(message, optional, tag = "22")]
    pub get_supported_att_key_ids: Option<GetSupportedAttKeyIdsResponse>,
}

/// See [`Request::init_quote`].
#[derive(Clone, PartialEq, Message)]
pub struct InitQuoteRequest {
    /// How long the client waits, in microseconds.
    #[prost(uint32, optional, tag = "9")]
    pub timeout_us: Option<u32>,
}

/// See [`Request::get_quote`].
#[derive(Clone, PartialEq, Message)]
pub struct GetQuoteRequest {
    /// REPORT, 432 bytes.
    #[prost(bytes = "vec", required, tag = "1")]
    pub report: Vec<u8>,
    /// 0 unlinkable, 1 linkable.
    #[prost(uint32, required, tag = "2")]
    pub quote_type: u32,
    /// Service provider id, 16 bytes.
    #[prost(bytes = "vec", required, tag = "3")]
    pub spid: Vec<u8>,
    /// 16 bytes.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub nonce: Option<Vec<u8>>,
    /// Signature revocation list.
    #[prost(bytes = "vec", optional, tag = "5")]
    pub sig_rl: Option<Vec<u8>>,
    /// Length of the client's buffer in bytes.
    #[prost(uint32, required, tag = "6")]
    pub buf_size: u32,
    /// Whether the quoting enclave's report is wanted too.
    #[prost(bool, optional, tag = "7")]
    pub qe_report: Option<bool>,
    /// How long the client waits, in microseconds.
    #[prost(uint32, optional, tag = "9")]
    pub timeout_us: Option<u32>,
}

/// See [`Request::get_launch_token`].
#[derive(Clone, PartialEq, Message)]
pub struct GetLaunchTokenRequest {
    /// SIGSTRUCT.ENCLAVEHASH, 32 bytes.
    #[prost(bytes = "vec", required, tag = "1")]
    pub enclavehash: Vec<u8>,
    /// SIGSTRUCT.MODULUS, 384 bytes.
    #[prost(bytes = "vec", required, tag = "2")]
    pub modulus: Vec<u8>,
    /// ATTRIBUTES, 16 bytes.
    #[prost(bytes = "vec", required, tag = "3")]
    pub attributes: Vec<u8>,
    /// How long the client waits, in microseconds.
    #[prost(uint32, optional, tag = "9")]
    pub timeout_us: Option<u32>,
}

/// See [`Request::init_quote_ex`].
#[derive(Clone, PartialEq, Message)]
pub struct InitQuoteExRequest {
    /// An attestation key id, 256 bytes; none is the server's default.
    #[prost(bytes = "vec", optional, tag = "1")]
    pub att_key_id: Option<Vec<u8>>,
    /// Whether the answer is the public key id and TARGETINFO, or only how long the former is.
    #[prost(bool, required, tag = "3")]
    pub b_pub_key_id: bool,
    /// Length of the client's buffer for the public key id.
    #[prost(uint64, optional, tag = "4")]
    pub buf_size: Option<u64>,
    /// How long the client waits, in microseconds.
    #[prost(uint32, optional, tag = "9")]
    pub timeout_us: Option<u32>,
}

/// See [`Request::get_quote_size_ex`].
#[derive(Clone, PartialEq, Message)]
pub struct GetQuoteSizeExRequest {
    /// An attestation key id, 256 bytes.
    #[prost(bytes = "vec", optional, tag = "1")]
    pub att_key_id: Option<Vec<u8>>,
    /// How long the client waits, in microseconds.
    #[prost(uint32, optional, tag = "9")]
    pub timeout_us: Option<u32>,
}

/// See [`Request::get_quote_ex`].
#[derive(Clone, PartialEq, Message)]
pub struct GetQuoteExRequest {
    /// REPORT, 432 bytes.
    #[prost(bytes = "vec", required, tag = "1")]
    pub report: Vec<u8>,
    /// An attestation key id, 256 bytes.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub att_key_id: Option<Vec<u8>>,
    /// Nonce (16), TARGETINFO (512), room for a REPORT (432): the quoting enclave's own report is wanted too.
    #[prost(bytes = "vec", optional, tag = "3")]
    pub qe_report_info: Option<Vec<u8>>,
    /// Length of the client's buffer in bytes.
    #[prost(uint32, required, tag = "4")]
    pub buf_size: u32,
    /// How long the client waits, in microseconds.
    #[prost(uint32, optional, tag = "9")]
    pub timeout_us: Option<u32>,
}

/// See [`Request::select_att_key_id`].
#[derive(Clone, PartialEq, Message)]
pub struct SelectAttKeyIdRequest {
    /// Those the client can use; none is any.
    #[prost(bytes = "vec", optional, tag = "1")]
    pub att_key_id_list: Option<Vec<u8>>,
    /// How long the client waits, in microseconds. The number is another one than everywhere else.
    #[prost(uint32, optional, tag = "2")]
    pub timeout_us: Option<u32>,
}

/// See [`Request::get_supported_att_key_id_num`].
#[derive(Clone, PartialEq, Message)]
pub struct GetSupportedAttKeyIdNumRequest {
    /// How long the client waits, in microseconds.
    #[prost(uint32, optional, tag = "9")]
    pub timeout_us: Option<u32>,
}

/// See [`Request::get_supported_att_key_ids`].
#[derive(Clone, PartialEq, Message)]
pub struct GetSupportedAttKeyIdsRequest {
    /// Length of the client's buffer in bytes.
    #[prost(uint32, required, tag = "1")]
    pub buf_size: u32,
    /// How long the client waits, in microseconds.
    #[prost(uint32, optional, tag = "9")]
    pub timeout_us: Option<u32>,
}

/// See [`Response::init_quote`].
#[derive(Clone, PartialEq, Message)]
pub struct InitQuoteResponse {
    /// A [`Status`](crate::Status).
    #[prost(uint32, required, tag = "1", default = "1")]
    pub error: u32,
    /// TARGETINFO, 512 bytes.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub targetinfo: Option<Vec<u8>>,
    /// EPID group id.
    #[prost(bytes = "vec", optional, tag = "3")]
    pub gid: Option<Vec<u8>>,
}

/// See [`Response::get_quote`].
#[derive(Clone, PartialEq, Message)]
pub struct GetQuoteResponse {
    /// A [`Status`](crate::Status).
    #[prost(uint32, required, tag = "1", default = "1")]
    pub error: u32,
    /// The quote.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub quote: Option<Vec<u8>>,
    /// REPORT of the quoting enclave.
    #[prost(bytes = "vec", optional, tag = "3")]
    pub qe_report: Option<Vec<u8>>,
}

/// See [`Response::get_launch_token`].
#[derive(Clone, PartialEq, Message)]
pub struct GetLaunchTokenResponse {
    /// A [`Status`](crate::Status).
    #[prost(uint32, required, tag = "1", default = "1")]
    pub error: u32,
    /// EINITTOKEN, 304 bytes.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub token: Option<Vec<u8>>,
}

/// See [`Response::init_quote_ex`].
#[derive(Clone, PartialEq, Message)]
pub struct InitQuoteExResponse {
    /// A [`Status`](crate::Status).
    #[prost(uint32, required, tag = "1", default = "1")]
    pub error: u32,
    /// TARGETINFO, 512 bytes.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub target_info: Option<Vec<u8>>,
    /// Length of the public key id in bytes.
    #[prost(uint64, optional, tag = "3")]
    pub pub_key_id_size: Option<u64>,
    /// Which public key will sign.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub pub_key_id: Option<Vec<u8>>,
}

/// See [`Response::get_quote_size_ex`].
#[derive(Clone, PartialEq, Message)]
pub struct GetQuoteSizeExResponse {
    /// A [`Status`](crate::Status).
    #[prost(uint32, required, tag = "1", default = "1")]
    pub error: u32,
    /// Length in bytes.
    #[prost(uint32, optional, tag = "2")]
    pub quote_size: Option<u32>,
}

/// See [`Response::get_quote_ex`].
#[derive(Clone, PartialEq, Message)]
pub struct GetQuoteExResponse {
    /// A [`Status`](crate::Status).
    #[prost(uint32, required, tag = "1", default = "1")]
    pub error: u32,
    /// The quote.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub quote: Option<Vec<u8>>,
    /// As in the request, with the report.
    #[prost(bytes = "vec", optional, tag = "3")]
    pub qe_report_info: Option<Vec<u8>>,
}

/// See [`Response::select_att_key_id`].
#[derive(Clone, PartialEq, Message)]
pub struct SelectAttKeyIdResponse {
    /// A [`Status`](crate::Status).
    #[prost(uint32, required, tag = "1", default = "1")]
    pub error: u32,
    /// 256 bytes.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub selected_att_key_id: Option<Vec<u8>>,
}

/// See [`Response::unsupported`].
#[derive(Clone, PartialEq, Message)]
pub struct UnsupportedResponse {
    /// A [`Status`](crate::Status).
    #[prost(uint32, required, tag = "1", default = "1")]
    pub error: u32,
}

/// See [`Response::get_supported_att_key_id_num`].
#[derive(Clone, PartialEq, Message)]
pub struct GetSupportedAttKeyIdNumResponse {
    /// A [`Status`](crate::Status).
    #[prost(uint32, required, tag = "1", default = "1")]
    pub error: u32,
    /// How many.
    #[prost(uint32, optional, tag = "2")]
    pub att_key_id_num: Option<u32>,
}

/// See [`Response::get_supported_att_key_ids`].
#[derive(Clone, PartialEq, Message)]
pub struct GetSupportedAttKeyIdsResponse {
    /// A [`Status`](crate::Status).
    #[prost(uint32, required, tag = "1", default = "1")]
    pub error: u32,
    /// 256 bytes each.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub att_key_ids: Option<Vec<u8>>,
}
