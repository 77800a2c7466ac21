//! What a quoting service answers to one request. No input or output here.

use super::{QuotingService, Refusal};
use crate::att_key_id::{ATT_KEY_ID_SIZE, AttKeyId};
use crate::client::{QE_REPORT_INFO_SIZE, REPORT_SIZE, TARGETINFO_SIZE};
use crate::message::{
    GetLaunchTokenResponse, GetQuoteExRequest, GetQuoteExResponse, GetQuoteResponse,
    GetQuoteSizeExResponse, GetSupportedAttKeyIdNumResponse, GetSupportedAttKeyIdsResponse,
    InitQuoteExRequest, InitQuoteExResponse, InitQuoteResponse, Request, Response,
    SelectAttKeyIdResponse, UnsupportedResponse,
};
use crate::status::Status;
use prost::Message;

/// Header of a list of key ids: structure id, version, number.
const LIST_HEADER: usize = 8;

/// An answer, and why it is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<E> {
    /// What the peer gets.
    pub response: Response,
    /// What it is not told beyond a status, for the service's log.
    pub refusal: Option<Refusal<E>>,
}

/// Answers one message. Total: whatever comes is answered.
pub fn answer<S: QuotingService>(service: &S, message: &[u8]) -> Answer<S::Error> {
    let request = match Request::decode(message) {
        Ok(request) => request,
        Err(error) => return unsupported(Status::UNEXPECTED_ERROR, Refusal::Undecodable(error)),
    };
    match count(&request) {
        1 => one(service, request),
        got => unsupported(Status::UNEXPECTED_ERROR, Refusal::Requests { got }),
    }
}

fn count(request: &Request) -> usize {
    [
        request.init_quote.is_some(),
        request.get_quote.is_some(),
        request.get_launch_token.is_some(),
        request.init_quote_ex.is_some(),
        request.get_quote_size_ex.is_some(),
        request.get_quote_ex.is_some(),
        request.select_att_key_id.is_some(),
        request.get_supported_att_key_id_num.is_some(),
        request.get_supported_att_key_ids.is_some(),
    ]
    .iter()
    .filter(|&&is_set| is_set)
    .count()
}

/// Each arm turns a status into the response that carries it, and so into the answer.
fn one<S: QuotingService>(service: &S, request: Request) -> Answer<S::Error> {
    if let Some(request) = request.init_quote_ex {
        let (body, error, refusal) = parts(init_quote_ex(service, &request));
        let init_quote_ex = Some(InitQuoteExResponse { error, ..body });
        Answer { response: Response { init_quote_ex, ..Response::default() }, refusal }
    } else if let Some(request) = request.get_quote_size_ex {
        let size =
            check_key(service, request.att_key_id.as_deref()).map(|()| GetQuoteSizeExResponse {
                quote_size: Some(service.quote_size()),
                ..GetQuoteSizeExResponse::default()
            });
        let (body, error, refusal) = parts(size);
        let get_quote_size_ex = Some(GetQuoteSizeExResponse { error, ..body });
        Answer { response: Response { get_quote_size_ex, ..Response::default() }, refusal }
    } else if let Some(request) = request.get_quote_ex {
        let (body, error, refusal) = parts(get_quote_ex(service, &request));
        let get_quote_ex = Some(GetQuoteExResponse { error, ..body });
        Answer { response: Response { get_quote_ex, ..Response::default() }, refusal }
    } else if let Some(request) = request.select_att_key_id {
        let selected = select(service, request.att_key_id_list.as_deref());
        let (body, error, refusal) = parts(selected);
        let select_att_key_id = Some(SelectAttKeyIdResponse { error, ..body });
        Answer { response: Response { select_att_key_id, ..Response::default() }, refusal }
    } else if request.get_supported_att_key_id_num.is_some() {
        let number = GetSupportedAttKeyIdNumResponse { error: 0, att_key_id_num: Some(1) };
        let get_supported_att_key_id_num = Some(number);
        let response = Response { get_supported_att_key_id_num, ..Response::default() };
        Answer { response, refusal: None }
    } else if let Some(request) = request.get_supported_att_key_ids {
        let ids = check_buffer("buf_size", ATT_KEY_ID_SIZE, request.buf_size.into()).map(|()| {
            GetSupportedAttKeyIdsResponse {
                att_key_ids: Some(service.key_id().0.to_vec()),
                ..GetSupportedAttKeyIdsResponse::default()
            }
        });
        let (body, error, refusal) = parts(ids);
        let get_supported_att_key_ids = Some(GetSupportedAttKeyIdsResponse { error, ..body });
        Answer { response: Response { get_supported_att_key_ids, ..Response::default() }, refusal }
    } else {
        retired(&request)
    }
}

/// Requests whose service there is none for: EPID, and launch tokens on a platform whose launch control is
/// flexible, where no enclave needs one. Intel's daemon says so by the same status when it is installed
/// without them.
fn retired<E>(request: &Request) -> Answer<E> {
    let error = Status::SERVICE_UNAVAILABLE.0;
    if request.get_launch_token.is_some() {
        let body = GetLaunchTokenResponse { error, token: None };
        let response = Response { get_launch_token: Some(body), ..Response::default() };
        return Answer { response, refusal: Some(Refusal::LaunchToken) };
    }
    let refusal = Some(Refusal::Epid);
    if request.get_quote.is_some() {
        let body = GetQuoteResponse { error, ..GetQuoteResponse::default() };
        let response = Response { get_quote: Some(body), ..Response::default() };
        return Answer { response, refusal };
    }
    let body = InitQuoteResponse { error, ..InitQuoteResponse::default() };
    Answer { response: Response { init_quote: Some(body), ..Response::default() }, refusal }
}

fn init_quote_ex<S: QuotingService>(
    service: &S,
    request: &InitQuoteExRequest,
) -> Result<InitQuoteExResponse, Refusal<S::Error>> {
    check_key(service, request.att_key_id.as_deref())?;
    let id = service.public_key_id();
    if !request.b_pub_key_id {
        let pub_key_id_size = Some(id.len() as u64);
        return Ok(InitQuoteExResponse { pub_key_id_size, ..InitQuoteExResponse::default() });
    }
    check_buffer("buf_size", id.len(), request.buf_size.unwrap_or(0))?;
    Ok(InitQuoteExResponse {
        target_info: Some(service.target_info().to_vec()),
        pub_key_id_size: Some(id.len() as u64),
        pub_key_id: Some(id.to_vec()),
        ..InitQuoteExResponse::default()
    })
}

fn get_quote_ex<S: QuotingService>(
    service: &S,
    request: &GetQuoteExRequest,
) -> Result<GetQuoteExResponse, Refusal<S::Error>> {
    check_key(service, request.att_key_id.as_deref())?;
    check_buffer("buf_size", service.quote_size() as usize, request.buf_size.into())?;
    let report: &[u8; REPORT_SIZE] = exactly("report", &request.report)?;
    let info: Option<&[u8; QE_REPORT_INFO_SIZE]> = match &request.qe_report_info {
        Some(info) => Some(exactly("qe_report_info", info)?),
        None => None,
    };
    let quote = service.quote(report).map_err(Refusal::Report)?;
    let qe_report_info = match info {
        Some(info) => Some(with_report(service, info, &quote)?),
        None => None,
    };
    Ok(GetQuoteExResponse { quote: Some(quote), qe_report_info, ..GetQuoteExResponse::default() })
}

/// Fills the place for the quoting enclave's report.
fn with_report<S: QuotingService>(
    service: &S,
    info: &[u8; QE_REPORT_INFO_SIZE],
    quote: &[u8],
) -> Result<Vec<u8>, Refusal<S::Error>> {
    let (mut nonce, mut target) = ([0; 16], [0; TARGETINFO_SIZE]);
    nonce.copy_from_slice(&info[..16]);
    target.copy_from_slice(&info[16..16 + TARGETINFO_SIZE]);
    let report = service.quote_report(&target, &nonce, quote).map_err(Refusal::QeReport)?;
    let mut info = info.to_vec();
    info[16 + TARGETINFO_SIZE..].copy_from_slice(&report);
    Ok(info)
}

fn select<S: QuotingService>(
    service: &S,
    list: Option<&[u8]>,
) -> Result<SelectAttKeyIdResponse, Refusal<S::Error>> {
    let ours = service.key_id();
    if let Some(list) = list.filter(|list| !list.is_empty()) {
        let wrong =
            |expected| Refusal::Length { field: "att_key_id_list", expected, got: list.len() };
        let ids = list.get(LIST_HEADER..).ok_or(wrong(LIST_HEADER))?;
        let (ids, rest) = ids.as_chunks::<ATT_KEY_ID_SIZE>();
        let number = u32::from_le_bytes([list[4], list[5], list[6], list[7]]) as usize;
        if number != ids.len() || !rest.is_empty() {
            let expected = number.saturating_mul(ATT_KEY_ID_SIZE).saturating_add(LIST_HEADER);
            return Err(wrong(expected));
        }
        if !ids.contains(&ours.0) {
            return Err(Refusal::KeyId { got: ids.first().map(|&id| AttKeyId(id).algorithm()) });
        }
    }
    let selected_att_key_id = Some(ours.0.to_vec());
    Ok(SelectAttKeyIdResponse { selected_att_key_id, ..SelectAttKeyIdResponse::default() })
}

/// No key id is the service's own.
fn check_key<S: QuotingService>(service: &S, id: Option<&[u8]>) -> Result<(), Refusal<S::Error>> {
    let Some(id) = id.filter(|id| !id.is_empty()) else { return Ok(()) };
    let id = AttKeyId(*exactly("att_key_id", id)?);
    if id == service.key_id() { Ok(()) } else { Err(Refusal::KeyId { got: Some(id.algorithm()) }) }
}

fn check_buffer<E>(field: &'static str, needed: usize, got: u64) -> Result<(), Refusal<E>> {
    if got >= needed as u64 { Ok(()) } else { Err(Refusal::Buffer { field, needed, got }) }
}

fn exactly<'a, const N: usize, E>(
    field: &'static str,
    bytes: &'a [u8],
) -> Result<&'a [u8; N], Refusal<E>> {
    bytes.try_into().map_err(|_| Refusal::Length { field, expected: N, got: bytes.len() })
}

fn parts<B: Default, E>(result: Result<B, Refusal<E>>) -> (B, u32, Option<Refusal<E>>) {
    match result {
        Ok(body) => (body, Status::SUCCESS.0, None),
        Err(refusal) => (B::default(), refusal.status().0, Some(refusal)),
    }
}

fn unsupported<E>(status: Status, refusal: Refusal<E>) -> Answer<E> {
    let unsupported = Some(UnsupportedResponse { error: status.0 });
    Answer { response: Response { unsupported, ..Response::default() }, refusal: Some(refusal) }
}
