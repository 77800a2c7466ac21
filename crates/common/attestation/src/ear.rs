//! EAR tokens: what another verifier says of an attester, as a JWT.
//!
//! draft-ietf-rats-ear in a JWT (RFC 7519) signed with ES256 by one pinned key. Two spellings of the claims
//! are in use and both are read; a token in both at once is refused, since two readers would obey
//! different halves of it.
//!
//! A [`Token`] exists only where every check holds. Nothing in the token says which key verifies it: the
//! `jwk` header, if there is one, must be the pinned key, and headers that point to keys elsewhere are
//! refused. So are tokens without an end, tokens for another audience, and every submodule that is not
//! affirmed. Revocation of the pinned key is the caller's matter, as is a nonce in [`Token::payload`].

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde_json::{Map, Value as Json};

use crate::check::{CheckId, Checks, Value};
use crate::crypto::{Algorithm, Crypto, Signature};
use crate::time::Now;

mod claims;
mod json;
mod tier;

pub use claims::{Claims, ClaimsError, Spelling, Submod, VerifierId};
pub use tier::Tier;

/// The longest token that is read: evidence may be annotated in it.
pub const MAX_TOKEN_BYTES: usize = 1 << 20;

/// Headers that name or point to a key. None of them may decide which key is right.
const KEY_HEADERS: [&str; 4] = ["jku", "x5u", "x5c", "x5t"];

/// A key on P-256, as an uncompressed point.
pub type P256Key = [u8; 65];

/// What a token must be to be believed.
#[derive(Clone, Debug)]
pub struct TokenPolicy {
    /// The one key that signs tokens.
    pub key: P256Key,
    /// Who we are, if we have a name: then `aud` must have it. Without one, a token for somebody is refused.
    pub audience: Option<String>,
    /// The developer of the verifier, if only one will do.
    pub developer: Option<String>,
    /// Parts of the attester that must be there. An empty list stands for at least one, whatever its name.
    pub submods: Vec<String>,
    /// Whether a warning is good enough.
    pub allow_warning: bool,
    /// The oldest `iat` that is taken, in seconds before now; nothing: only `exp` counts.
    pub max_age: Option<u64>,
    /// By how many seconds the clock of the verifier may be ahead of ours.
    pub leeway: u64,
}

impl TokenPolicy {
    /// The strictest: this key, no audience, nothing but affirmed, both clocks the same.
    #[must_use]
    pub const fn new(key: P256Key) -> Self {
        Self {
            key,
            audience: None,
            developer: None,
            submods: Vec::new(),
            allow_warning: false,
            max_age: None,
            leeway: 0,
        }
    }

    const fn accepts(&self, tier: Tier) -> bool {
        matches!(tier, Tier::Affirming) || self.allow_warning && matches!(tier, Tier::Warning)
    }
}

/// A token that was verified and that its policy accepts.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// What it says of the attester.
    pub claims: Claims,
    /// `iat`, Unix seconds.
    pub issued: u64,
    /// `exp`, Unix seconds.
    pub expires: u64,
    /// All claims as they came: annotated evidence, nonces, extensions.
    pub payload: Map<String, Json>,
}

/// Every check, and the token if all hold.
#[derive(Clone, Debug)]
pub struct TokenVerdict {
    /// What was looked at.
    pub checks: Checks,
    /// The token.
    pub token: Option<Token>,
}

/// Verifies a token.
#[must_use]
pub fn verify(token: &str, policy: &TokenPolicy, now: Now, crypto: &impl Crypto) -> TokenVerdict {
    let mut checks = Checks::new();
    let token = match Parts::read(token) {
        Ok(parts) => {
            checks.add(CheckId::TokenFormat, true, CheckId::TokenFormat.expectation(), "one");
            check_header(&mut checks, &parts.header, policy);
            check_signature(&mut checks, &parts, policy, crypto);
            check_audience(&mut checks, &parts.payload, policy);
            let times = check_validity(&mut checks, &parts.payload, policy, now);
            let claims = check_claims(&mut checks, &parts.payload, policy);
            times.zip(claims).map(|((issued, expires), claims)| Token {
                claims,
                issued,
                expires,
                payload: parts.payload,
            })
        }
        Err(error) => {
            let expected = CheckId::TokenFormat.expectation();
            checks.add(CheckId::TokenFormat, false, expected, Value::display(&error));
            for id in [
                CheckId::TokenAlgorithm,
                CheckId::TokenKey,
                CheckId::TokenSignature,
                CheckId::TokenAudience,
                CheckId::TokenValidity,
                CheckId::TokenClaims,
                CheckId::TokenVerifier,
                CheckId::TokenSubmods,
                CheckId::TokenStatus,
            ] {
                checks.not_run(id, CheckId::TokenFormat);
            }
            None
        }
    };
    let token = if checks.all_hold() { token } else { None };
    TokenVerdict { checks, token }
}

/// Why text is not a token.
#[derive(Debug)]
pub enum TokenError {
    /// Longer than is read.
    TooLong {
        /// What came, in bytes.
        got: usize,
    },
    /// Not three parts with dots between.
    Parts {
        /// How many there are.
        got: usize,
    },
    /// A part is not base64url without padding.
    Base64 {
        /// Which.
        part: &'static str,
    },
    /// A part is not a JSON object, or has a key twice.
    Json {
        /// Which.
        part: &'static str,
        /// What is wrong.
        error: serde_json::Error,
    },
    /// A part is JSON and no object.
    NoObject {
        /// Which.
        part: &'static str,
    },
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { got } => {
                write!(f, "expected at most {MAX_TOKEN_BYTES} bytes, got {got}")
            }
            Self::Parts { got } => write!(f, "expected three parts, got {got}"),
            Self::Base64 { part } => write!(f, "{part}: not base64url without padding"),
            Self::Json { part, error } => write!(f, "{part}: {error}"),
            Self::NoObject { part } => write!(f, "{part}: expected an object"),
        }
    }
}

impl core::error::Error for TokenError {}

struct Parts<'a> {
    /// Header and payload as they are signed.
    signed: &'a str,
    header: Map<String, Json>,
    payload: Map<String, Json>,
    signature: Vec<u8>,
}

impl<'a> Parts<'a> {
    fn read(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong { got: token.len() });
        }
        let wrong = || TokenError::Parts { got: token.split('.').count() };
        let (signed, signature) = token.rsplit_once('.').ok_or_else(wrong)?;
        let (header, payload) = signed.split_once('.').ok_or_else(wrong)?;
        if payload.contains('.') {
            return Err(wrong());
        }
        Ok(Self {
            signed,
            header: object("header", header)?,
            payload: object("payload", payload)?,
            signature: decode("signature", signature)?,
        })
    }
}

fn decode(part: &'static str, text: &str) -> Result<Vec<u8>, TokenError> {
    Base64UrlUnpadded::decode_vec(text).map_err(|_| TokenError::Base64 { part })
}

fn object(part: &'static str, text: &str) -> Result<Map<String, Json>, TokenError> {
    match json::parse(&decode(part, text)?) {
        Ok(Json::Object(object)) => Ok(object),
        Ok(_) => Err(TokenError::NoObject { part }),
        Err(error) => Err(TokenError::Json { part, error }),
    }
}

fn check_header(checks: &mut Checks, header: &Map<String, Json>, policy: &TokenPolicy) {
    let algorithm = header.get("alg");
    let is_es256 = algorithm.and_then(Json::as_str) == Some("ES256");
    checks.add(CheckId::TokenAlgorithm, is_es256, "ES256", printed(algorithm));

    let expected = CheckId::TokenKey.expectation();
    // RFC 7515 section 4.1.11: what `crit` names must be understood, and we understand no extension.
    let foreign = KEY_HEADERS.into_iter().chain(["crit"]).find(|name| header.contains_key(*name));
    let (holds, got) = match (foreign, header.get("jwk")) {
        (Some(name), _) => (false, name.into()),
        (None, None) => (true, "no key in the header".into()),
        (None, Some(jwk)) => match jwk_point(jwk) {
            Some(point) => (point == policy.key, Value::bytes(&point[1..])),
            None => (false, "a jwk that is no key on P-256".into()),
        },
    };
    checks.add(CheckId::TokenKey, holds, expected, got);
}

/// RFC 7518 section 6.2.1: coordinates of full length.
fn jwk_point(jwk: &Json) -> Option<P256Key> {
    let member = |name| jwk.get(name)?.as_str();
    if member("kty")? != "EC" || member("crv")? != "P-256" {
        return None;
    }
    let mut point = [4; 65];
    for (coordinate, name) in point[1..].chunks_exact_mut(32).zip(["x", "y"]) {
        let bytes = Base64UrlUnpadded::decode_vec(member(name)?).ok()?;
        coordinate.copy_from_slice(<&[u8; 32]>::try_from(bytes.as_slice()).ok()?);
    }
    Some(point)
}

fn check_signature(
    checks: &mut Checks,
    parts: &Parts<'_>,
    policy: &TokenPolicy,
    crypto: &impl Crypto,
) {
    // Whatever `alg` says: there is one algorithm for the pinned key.
    let holds = crypto
        .verify(
            Algorithm::EcdsaP256Sha256,
            &policy.key,
            parts.signed.as_bytes(),
            Signature::Fixed(&parts.signature),
        )
        .is_ok();
    let got = if holds { "signed by it" } else { "not signed by it" };
    checks.add(CheckId::TokenSignature, holds, CheckId::TokenSignature.expectation(), got);
}

fn check_audience(checks: &mut Checks, payload: &Map<String, Json>, policy: &TokenPolicy) {
    let audience = payload.get("aud");
    let names = |name: &str| match audience {
        Some(Json::String(one)) => one == name,
        Some(Json::Array(many)) => many.iter().any(|one| one.as_str() == Some(name)),
        _ => false,
    };
    let (holds, expected) = match &policy.audience {
        Some(name) => (names(name), Value::from(name.clone())),
        None => (audience.is_none(), Value::None),
    };
    checks.add(CheckId::TokenAudience, holds, expected, printed(audience));
}

/// `iat` and `exp`, where both can be read.
fn check_validity(
    checks: &mut Checks,
    payload: &Map<String, Json>,
    policy: &TokenPolicy,
    now: Now,
) -> Option<(u64, u64)> {
    let expected = CheckId::TokenValidity.expectation();
    let mut refuse = |got: Value| {
        checks.add(CheckId::TokenValidity, false, expected, got);
        None
    };
    let time = |name| payload.get(name).and_then(Json::as_u64);
    let (Some(issued), Some(expires)) = (time("iat"), time("exp")) else {
        return refuse("no iat or no exp in whole seconds".into());
    };
    let latest = now.seconds.saturating_add(policy.leeway);
    if payload.contains_key("nbf") && time("nbf").is_none_or(|start| start > latest) {
        return refuse("nbf in the future".into());
    }
    if issued > latest || now.seconds >= expires || expires < issued {
        return refuse(alloc::format!("{issued} to {expires} at {}", now.seconds).into());
    }
    if policy.max_age.is_some_and(|age| now.seconds.saturating_sub(issued) > age) {
        return refuse(
            alloc::format!("issued at {issued}, too long before {}", now.seconds).into(),
        );
    }
    checks.add(CheckId::TokenValidity, true, expected, Value::Time(expires));
    Some((issued, expires))
}

fn check_claims(
    checks: &mut Checks,
    payload: &Map<String, Json>,
    policy: &TokenPolicy,
) -> Option<Claims> {
    let expected = CheckId::TokenClaims.expectation();
    let claims = match Claims::read(payload) {
        Ok(claims) => claims,
        Err(error) => {
            checks.add(CheckId::TokenClaims, false, expected, Value::display(&error));
            for id in [CheckId::TokenVerifier, CheckId::TokenSubmods, CheckId::TokenStatus] {
                checks.not_run(id, CheckId::TokenClaims);
            }
            return None;
        }
    };
    checks.add(CheckId::TokenClaims, true, expected, Value::display(&claims.spelling));

    let developer = &claims.verifier.developer;
    let holds = policy.developer.as_ref().is_none_or(|wanted| wanted == developer);
    let wanted = policy.developer.clone().map_or("any".into(), Value::from);
    checks.add(CheckId::TokenVerifier, holds, wanted, developer.clone());

    let has = |name: &&String| claims.submods.iter().any(|submod| submod.name == **name);
    let missing = policy.submods.iter().find(|name| !has(name));
    let got: Value = missing.map_or("all".into(), |name| alloc::format!("no '{name}'").into());
    let expected: Value = if policy.submods.is_empty() {
        "at least one".into()
    } else {
        policy.submods.join(", ").into()
    };
    checks.add(CheckId::TokenSubmods, missing.is_none(), expected, got);

    if let Some(status) = claims.status {
        check_status(checks, policy, "all together", status);
    }
    for submod in &claims.submods {
        check_status(checks, policy, &submod.name, submod.status);
        for (claim, value) in &submod.claims {
            // Zero says nothing, and the status has taken that into account. 1 and -1 are a verifier that
            // could not tell.
            if *value != 0 {
                let name = alloc::format!("{}.{claim}", submod.name);
                check_status(checks, policy, &name, Tier::of(*value));
            }
        }
    }
    Some(claims)
}

fn check_status(checks: &mut Checks, policy: &TokenPolicy, of: &str, status: Tier) {
    let expected = if policy.allow_warning { "affirming or warning" } else { "affirming" };
    let got = alloc::format!("{of}: {status}");
    checks.add(CheckId::TokenStatus, policy.accepts(status), expected, got);
}

/// A JSON value in a check: short, and on one line.
fn printed(value: Option<&Json>) -> Value {
    match value {
        None => Value::None,
        Some(Json::String(text)) if text.len() <= 128 => text.clone().into(),
        Some(Json::Array(items)) if items.len() <= 4 => Value::display(&Json::from(items.clone())),
        Some(_) => "something else".into(),
    }
}
