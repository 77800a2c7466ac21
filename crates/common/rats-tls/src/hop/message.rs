//! What is said, hop by hop.
//!
//! Names and meanings are upstream's: a verifier asks `{"type":"GETENCLAVEINFO"}`, inclavared greets the container
//! with [`GREETING`] and gets MRENCLAVE, MRSIGNER and a text, and the verifier gets them as JSON. That JSON says
//! neither whether hardware stands behind the two values nor who vouches for it, so that nothing could be decided
//! on it; ours has one member more, `verified`, which upstream's reader passes over.

use attestation::TcbStatus;
use attestation::hex::{self, Hex};
use attestation::relayed::Relayed;
use core::fmt;
use serde::{Deserialize, Serialize};

/// Longest message of any kind, in bytes: upstream's buffer.
pub const MAX_MESSAGE: usize = 512;

/// What a verifier asks for: what runs in the container.
pub const REQUEST: &[u8] = br#"{"type":"GETENCLAVEINFO"}"#;

/// What inclavared says to the container.
pub const GREETING: &[u8] = b"hello from inclavared";

/// Longest text beside all that an answer can say, and of a refusal, which says nothing else; in bytes. With either
/// the answer fits.
const MAX_TEXT: usize = 64;
const MAX_WHY: usize = 400;

const GET: &str = "GETENCLAVEINFO";
/// Upstream has one version, and one id for all answers.
const VERSION: u64 = 1;
const ID: &str = "123456";

/// What inclavared answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What runs in the container.
    Info(EnclaveInfo),
    /// Why that is not said. Upstream closes the connection, or greets.
    Refused(String),
}

/// An enclave, as inclavared says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnclaveInfo {
    /// What it found in the container's evidence.
    pub enclave: Relayed,
    /// The container's own text, for people.
    pub message: String,
}

/// What a container answers to the greeting: 32 bytes each of MRENCLAVE and MRSIGNER, then text in UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// MRENCLAVE, as it says.
    pub mrenclave: [u8; 32],
    /// MRSIGNER, as it says.
    pub mrsigner: [u8; 32],
    /// For people.
    pub text: String,
}

/// Bytes that are no such message. Who sent them is at fault.
#[derive(Debug)]
pub enum MessageFault {
    /// Longer than is read.
    TooLong,
    /// A reply without its two values, in bytes.
    TooShort(usize),
    /// A reply whose text is not UTF-8.
    Text,
    /// Not the JSON of one: a member that is not known, missing, twice or of another type, or more bytes after it.
    Json(serde_json::Error),
    /// A member that has another value than it can have.
    Value {
        /// The member.
        member: &'static str,
        /// What it can be.
        expected: &'static str,
        /// What came, cut.
        got: String,
    },
    /// Not so many bytes in hexadecimal digits.
    Hex {
        /// The member.
        member: &'static str,
        /// What is wrong.
        error: hex::HexError,
    },
}

impl fmt::Display for MessageFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "message: expected at most {MAX_MESSAGE} bytes, got more"),
            Self::TooShort(got) => {
                write!(f, "reply: expected mrenclave and mrsigner in 64 bytes, got {got} bytes")
            }
            Self::Text => f.write_str("reply: expected text in utf-8 after 64 bytes"),
            Self::Json(error) => write!(f, "message: {error}"),
            Self::Value { member, expected, got } => {
                write!(f, "{member}: expected {expected}, got {got:?}")
            }
            Self::Hex { member, error } => write!(f, "{member}: {error}"),
        }
    }
}

impl core::error::Error for MessageFault {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRequest {
    r#type: String,
}

#[derive(Deserialize, Serialize)]
#[serde(tag = "msgtype", deny_unknown_fields)]
enum WireAnswer {
    #[serde(rename = "ENCLAVEINFO")]
    Info {
        id: String,
        version: u64,
        mrenclave: String,
        mrsigner: String,
        message: String,
        verified: WireVerified,
    },
    #[serde(rename = "REFUSED")]
    Refused { id: String, version: u64, message: String },
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WireVerified {
    isvprodid: u16,
    isvsvn: u16,
    debug: bool,
    tcb_status: TcbStatus,
    root: String,
}

/// Whether a request is whole: nothing delimits it but its braces.
///
/// # Errors
/// It will be none, whatever follows.
pub fn is_request(bytes: &[u8]) -> Result<bool, MessageFault> {
    let is_full = bytes.len() >= MAX_MESSAGE;
    match serde_json::from_slice(bytes) {
        _ if bytes.len() > MAX_MESSAGE => Err(MessageFault::TooLong),
        Ok(WireRequest { r#type }) => equal("type", GET, &r#type).map(|()| true),
        Err(error) if error.is_eof() && is_full => Err(MessageFault::TooLong),
        Err(error) if error.is_eof() => Ok(false),
        Err(error) => Err(MessageFault::Json(error)),
    }
}

impl Answer {
    /// Reads all that came.
    ///
    /// # Errors
    /// [`MessageFault`].
    pub fn read(bytes: &[u8]) -> Result<Self, MessageFault> {
        if bytes.len() > MAX_MESSAGE {
            return Err(MessageFault::TooLong);
        }
        match serde_json::from_slice(bytes).map_err(MessageFault::Json)? {
            WireAnswer::Info { id, version, mrenclave, mrsigner, message, verified } => {
                check(&id, version)?;
                let WireVerified { isvprodid, isvsvn, debug, tcb_status, root } = verified;
                let enclave = Relayed {
                    mrenclave: digits("mrenclave", &mrenclave)?,
                    mrsigner: digits("mrsigner", &mrsigner)?,
                    isvprodid,
                    isvsvn,
                    debug,
                    tcb_status,
                    root: digits("root", &root)?,
                };
                Ok(Self::Info(EnclaveInfo { enclave, message }))
            }
            WireAnswer::Refused { id, version, message } => {
                check(&id, version)?;
                Ok(Self::Refused(message))
            }
        }
    }

    /// As it is sent: at most [`MAX_MESSAGE`] bytes, for which a text that is too long is cut.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let (id, version) = (ID.to_owned(), VERSION);
        let wire = match self {
            Self::Refused(why) => WireAnswer::Refused { id, version, message: plain(why, MAX_WHY) },
            Self::Info(EnclaveInfo { enclave, message }) => WireAnswer::Info {
                id,
                version,
                mrenclave: Hex(&enclave.mrenclave).to_string(),
                mrsigner: Hex(&enclave.mrsigner).to_string(),
                message: plain(message, MAX_TEXT),
                verified: WireVerified {
                    isvprodid: enclave.isvprodid,
                    isvsvn: enclave.isvsvn,
                    debug: enclave.debug,
                    tcb_status: enclave.tcb_status,
                    root: Hex(&enclave.root).to_string(),
                },
            },
        };
        serde_json::to_vec(&wire).expect("strings and numbers are JSON")
    }
}

impl Reply {
    /// Reads all that came.
    ///
    /// # Errors
    /// [`MessageFault`].
    pub fn read(bytes: &[u8]) -> Result<Self, MessageFault> {
        if bytes.len() > MAX_MESSAGE {
            return Err(MessageFault::TooLong);
        }
        let short = MessageFault::TooShort(bytes.len());
        let Some((mrenclave, rest)) = bytes.split_first_chunk() else { return Err(short) };
        let Some((mrsigner, text)) = rest.split_first_chunk() else { return Err(short) };
        let text = core::str::from_utf8(text).map_err(|_| MessageFault::Text)?.to_owned();
        Ok(Self { mrenclave: *mrenclave, mrsigner: *mrsigner, text })
    }

    /// As it is sent.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [&self.mrenclave[..], &self.mrsigner, self.text.as_bytes()].concat()
    }
}

fn check(id: &str, version: u64) -> Result<(), MessageFault> {
    equal("id", ID, id)?;
    if version == VERSION {
        return Ok(());
    }
    Err(MessageFault::Value { member: "version", expected: "1", got: version.to_string() })
}

fn equal(member: &'static str, expected: &'static str, got: &str) -> Result<(), MessageFault> {
    if got == expected {
        return Ok(());
    }
    Err(MessageFault::Value { member, expected, got: got.chars().take(32).collect() })
}

fn digits(member: &'static str, text: &str) -> Result<[u8; 32], MessageFault> {
    hex::array(text).map_err(|error| MessageFault::Hex { member, error })
}

/// Text that takes as many bytes in JSON as here: what JSON escapes becomes a blank.
fn plain(text: &str, most: usize) -> String {
    let is_plain = |it: char| it.is_ascii() && !it.is_ascii_control() && !matches!(it, '"' | '\\');
    text.chars().take(most).map(|it| if is_plain(it) { it } else { ' ' }).collect()
}

/// Any bytes as JSON: what is read as an answer is written, and read again as the same.
#[doc(hidden)]
pub fn fuzz_json(bytes: &[u8]) -> bool {
    let is_request = matches!(is_request(bytes), Ok(true));
    let Ok(answer) = Answer::read(bytes) else { return is_request };
    let written = answer.to_json();
    assert!(written.len() <= MAX_MESSAGE, "{} bytes", written.len());
    let again = Answer::read(&written).expect("our own");
    assert_eq!(again.to_json(), written);
    if let (Answer::Info(one), Answer::Info(other)) = (answer, again) {
        assert_eq!(one.enclave, other.enclave);
    }
    true
}

/// Any bytes as a container's reply.
#[doc(hidden)]
pub fn fuzz_reply(bytes: &[u8]) -> bool {
    let Ok(reply) = Reply::read(bytes) else { return false };
    assert_eq!(reply.encode(), bytes);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> EnclaveInfo {
        let enclave = Relayed {
            mrenclave: [0x11; 32],
            mrsigner: [0x22; 32],
            isvprodid: u16::MAX,
            isvsvn: u16::MAX,
            debug: false,
            tcb_status: TcbStatus::TDRelaunchAdvisedConfigurationNeeded,
            root: [0xff; 32],
        };
        EnclaveInfo { enclave, message: "Hello".into() }
    }

    #[test]
    fn a_request_is_read_as_it_comes() {
        for end in 0..REQUEST.len() {
            assert!(matches!(is_request(&REQUEST[..end]), Ok(false)), "{end}");
        }
        assert!(is_request(REQUEST).unwrap());
        let long = [&b"{\"type\":\""[..], &[b'x'; 600]].concat();
        assert!(!is_request(&long[..511]).unwrap());
        for end in [512, 513] {
            let said = is_request(&long[..end]).unwrap_err().to_string();
            assert_eq!(said, "message: expected at most 512 bytes, got more");
        }
    }

    #[test]
    fn what_is_no_request_is_refused_by_name() {
        for (bytes, part) in [
            (&br#"{"type":"GETSECRET"}"#[..], "type: expected GETENCLAVEINFO, got \"GETSECRET\""),
            (br#"{"type":"GETENCLAVEINFO","more":1}"#, "unknown field `more`"),
            (br#"{"type":"GETENCLAVEINFO","type":"X"}"#, "duplicate field `type`"),
            (br#"{"type":"GETENCLAVEINFO"} x"#, "trailing characters"),
            (br#"{"type":1}"#, "invalid type: integer `1`"),
            (b"{}", "missing field `type`"),
            (b"hello from a stranger", "expected value"),
            (&[b'['; 500], "message: "),
            (b"\xff", "expected value"),
        ] {
            let said = is_request(bytes).unwrap_err().to_string();
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn an_answer_is_read_by_its_members() {
        let answer = Answer::Info(info());
        let json = String::from_utf8(answer.to_json()).unwrap();
        assert_eq!(Answer::read(json.as_bytes()).unwrap(), answer);
        let refused = Answer::Refused("no".into());
        assert_eq!(Answer::read(&refused.to_json()).unwrap(), refused);
        let mrsigner = "22".repeat(32);
        for (from, to, part) in [
            ("\"version\":1", "\"version\":2", "version: expected 1, got \"2\""),
            ("\"version\":1", "\"version\":\"1\"", "invalid type: string"),
            ("ENCLAVEINFO", "HELLO", "unknown variant `HELLO`"),
            (&mrsigner[..], "22", "mrsigner: "),
            ("\"mrenclave\"", "\"other\"", "unknown field `other`"),
            ("\"debug\"", "\"other\"", "unknown field `other`"),
            ("123456", "1", "id: expected 123456, got \"1\""),
            ("\"version\":1", "\"version\":1,\"more\":[]", "unknown field `more`"),
            ("\"version\":1", "\"version\":1,\"version\":1", "duplicate field `version`"),
            ("\"debug\":false", "\"debug\":0", "invalid type: integer `0`"),
            ("\"isvsvn\":65535", "\"isvsvn\":65536", "invalid value: integer `65536`"),
        ] {
            let changed = json.replacen(from, to, 1);
            assert_ne!(changed, json, "{from}");
            let said = Answer::read(changed.as_bytes()).unwrap_err().to_string();
            assert!(said.contains(part), "{part}: {said}");
        }
        let said = Answer::read(&[json.as_bytes(), &[b' '; 512]].concat()).unwrap_err();
        assert_eq!(said.to_string(), "message: expected at most 512 bytes, got more");
    }

    /// What upstream's inclavared answers says nothing that could be decided on.
    #[test]
    fn upstreams_answer_is_refused_for_what_it_lacks() {
        let (mrenclave, mrsigner) = ("11".repeat(32), "22".repeat(32));
        let text = format!(
            r#"{{"id":"123456","msgtype":"ENCLAVEINFO","version":1,"mrenclave":"{mrenclave}","mrsigner":"{mrsigner}","message":"Hello\n"}}"#
        );
        let said = Answer::read(text.as_bytes()).unwrap_err().to_string();
        assert!(said.contains("missing field `verified`"), "{said}");
    }

    /// Upstream's reader has room for so much.
    #[test]
    fn the_longest_answer_fits() {
        let message = "\"é\n".repeat(500);
        let answer = Answer::Info(EnclaveInfo { message: message.clone(), ..info() }).to_json();
        assert!(answer.len() <= MAX_MESSAGE, "{} bytes", answer.len());
        let Answer::Info(read) = Answer::read(&answer).unwrap() else { panic!("expected info") };
        assert_eq!((read.enclave, read.message.len()), (info().enclave, MAX_TEXT));
        let refused = Answer::Refused(message).to_json();
        assert!(refused.len() <= MAX_MESSAGE, "{} bytes", refused.len());
        assert!(Answer::read(&refused).is_ok());
    }

    #[test]
    fn a_reply_has_two_values_and_text() {
        let reply =
            Reply { mrenclave: [1; 32], mrsigner: [2; 32], text: "Hello and welcome\n".into() };
        let bytes = reply.encode();
        assert_eq!(Reply::read(&bytes).unwrap(), reply);
        assert_eq!(Reply::read(&bytes[..64]).unwrap().text, "");
        for (bytes, part) in [
            (&bytes[..63], "reply: expected mrenclave and mrsigner in 64 bytes, got 63 bytes"),
            (b"", "got 0 bytes"),
            (&[0xff; 65], "reply: expected text in utf-8"),
            (&[b'x'; 513], "message: expected at most 512 bytes, got more"),
        ] {
            let said = Reply::read(bytes).unwrap_err().to_string();
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}
