//! Answers of a daemon, which may say anything: read, and checked for their form.

use super::{ClientError, EINITTOKEN_SIZE, QE_REPORT_INFO_SIZE, TARGETINFO_SIZE};
use crate::att_key_id::{ATT_KEY_ID_SIZE, AttKeyId};
use crate::frame::read_frame;
use crate::message::Response;
use crate::status::Status;
use prost::Message;
use std::io::Read;

/// Header, report body and length of the signature data of a quote, in bytes.
const QUOTE_HEAD: usize = 436;
/// More keys than any platform has.
const MAX_KEYS: u32 = 64;

/// Reads one answer.
pub(super) fn read(stream: &mut impl Read) -> Result<Response, ClientError> {
    Response::decode(&read_frame(stream)?[..]).map_err(ClientError::Decode)
}

pub(super) fn launch_token(answer: Response) -> Result<[u8; EINITTOKEN_SIZE], ClientError> {
    let answer = there("getLicTokenRes", answer.get_launch_token)?;
    check("GetLaunchToken", answer.error)?;
    exactly("token", answer.token)
}

/// A daemon that cannot select says so, and may still list.
pub(super) fn selected_key(answer: Response) -> Result<AttKeyId, ClientError> {
    let answer = there("selectAttKeyIDRes", answer.select_att_key_id)?;
    check("SelectAttKeyID", answer.error)?;
    exactly("selected_att_key_id", answer.selected_att_key_id).map(AttKeyId)
}

/// At most 64.
pub(super) fn number_of_keys(answer: Response) -> Result<u32, ClientError> {
    let answer = there("getSupportedAttKeyIDNumRes", answer.get_supported_att_key_id_num)?;
    check("GetSupportedAttKeyIDNum", answer.error)?;
    match there("att_key_id_num", answer.att_key_id_num)? {
        number @ 0..=MAX_KEYS => Ok(number),
        got => Err(ClientError::Keys { limit: MAX_KEYS, got }),
    }
}

pub(super) fn keys(answer: Response, number: u32) -> Result<Vec<AttKeyId>, ClientError> {
    let answer = there("getSupportedAttKeyIDsRes", answer.get_supported_att_key_ids)?;
    check("GetSupportedAttKeyIDs", answer.error)?;
    let ids = there("att_key_ids", answer.att_key_ids)?;
    let expected = number as usize * ATT_KEY_ID_SIZE;
    if ids.len() != expected {
        return Err(ClientError::Length { field: "att_key_ids", expected, got: ids.len() });
    }
    let (ids, _) = ids.as_chunks();
    Ok(ids.iter().map(|&id| AttKeyId(id)).collect())
}

pub(super) fn public_key_id_size(answer: Response) -> Result<u64, ClientError> {
    let answer = there("initQuoteExRes", answer.init_quote_ex)?;
    check("InitQuoteEx", answer.error)?;
    there("pub_key_id_size", answer.pub_key_id_size)
}

pub(super) fn target_info(answer: Response) -> Result<[u8; TARGETINFO_SIZE], ClientError> {
    let answer = there("initQuoteExRes", answer.init_quote_ex)?;
    check("InitQuoteEx", answer.error)?;
    exactly("target_info", answer.target_info)
}

pub(super) fn quote_size(answer: Response) -> Result<u32, ClientError> {
    let answer = there("getQuoteSizeExRes", answer.get_quote_size_ex)?;
    check("GetQuoteSizeEx", answer.error)?;
    there("quote_size", answer.quote_size)
}

/// A quote without padding, and the quoting enclave's report information if it came.
pub(super) fn quote(
    answer: Response,
) -> Result<(Vec<u8>, Option<[u8; QE_REPORT_INFO_SIZE]>), ClientError> {
    let answer = there("getQuoteExRes", answer.get_quote_ex)?;
    check("GetQuoteEx", answer.error)?;
    let info = answer.qe_report_info.map(|info| exactly("qe_report_info", Some(info)));
    Ok((without_padding(there("quote", answer.quote)?)?, info.transpose()?))
}

/// Reads bytes from a stream as each answer there is. Returns whether they are an answer to anything.
pub fn fuzz(bytes: &[u8]) -> bool {
    let Ok(answer) = read(&mut &bytes[..]) else { return false };
    let quote = quote(answer.clone());
    if let Ok((quote, _)) = &quote {
        let length = quote.len() - QUOTE_HEAD;
        assert_eq!(quote[432..436], (length as u32).to_le_bytes(), "as long as it says");
    }
    let number = number_of_keys(answer.clone());
    let keys = keys(answer.clone(), number.clone().unwrap_or(1));
    quote.is_ok()
        | number.is_ok()
        | keys.is_ok()
        | launch_token(answer.clone()).is_ok()
        | selected_key(answer.clone()).is_ok()
        | public_key_id_size(answer.clone()).is_ok()
        | target_info(answer.clone()).is_ok()
        | quote_size(answer).is_ok()
}

fn there<T>(field: &'static str, value: Option<T>) -> Result<T, ClientError> {
    value.ok_or(ClientError::Missing { field })
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
    let bytes = there(field, bytes)?;
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
