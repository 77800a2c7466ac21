//! The claims of a token, read into types: either spelling, never both.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde_json::{Map, Value};

use super::tier::Tier;

/// How a token spells the claims of EAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// Dots and hyphens, as crate ear 0.5 and trustee do: `ear.status`.
    Dotted,
    /// Underscores, as draft-ietf-rats-ear-04 and crate ear 0.6 do: `ear_status`.
    Underscored,
}

impl Spelling {
    const fn name(self, dotted: &'static str, underscored: &'static str) -> &'static str {
        match self {
            Self::Dotted => dotted,
            Self::Underscored => underscored,
        }
    }
}

impl fmt::Display for Spelling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name("ear.status", "ear_status"))
    }
}

/// What a verifier says of a part of the attester.
#[derive(Clone, Debug, PartialEq)]
pub struct Submod {
    /// Its name: `cpu0`, `gpu0`.
    pub name: String,
    /// The verdict.
    pub status: Tier,
    /// The trustworthiness vector: names and values.
    pub claims: Vec<(String, i8)>,
    /// Which policies made the verdict.
    pub policy_ids: Vec<String>,
}

/// Who made the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierId {
    /// Whose program it is.
    pub developer: String,
    /// Which one.
    pub build: String,
}

/// What a token says of the attester.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    /// How it is spelled.
    pub spelling: Spelling,
    /// `eat_profile`.
    pub profile: Option<String>,
    /// The verdict on all parts together, which the newer draft has.
    pub status: Option<Tier>,
    /// Who made it.
    pub verifier: VerifierId,
    /// By name.
    pub submods: Vec<Submod>,
}

/// Why claims are not those of an EAR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimsError {
    /// Claims in both spellings.
    Mixed {
        /// One of the first.
        dotted: String,
        /// One of the second.
        underscored: String,
    },
    /// Claims in neither spelling.
    NoSpelling,
    /// A claim is not there, or not of its type.
    Claim {
        /// Its path.
        path: String,
        /// What it should be.
        expected: &'static str,
    },
}

impl fmt::Display for ClaimsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mixed { dotted, underscored } => {
                write!(f, "claims in two spellings: '{dotted}' and '{underscored}'")
            }
            Self::NoSpelling => f.write_str("no claim of EAR in either spelling"),
            Self::Claim { path, expected } => write!(f, "{path}: expected {expected}"),
        }
    }
}

impl core::error::Error for ClaimsError {}

type Object = Map<String, Value>;

impl Claims {
    /// Reads the claims of an EAR.
    ///
    /// # Errors
    /// Two spellings or none, a claim missing or of another type.
    pub(super) fn read(token: &Object) -> Result<Self, ClaimsError> {
        let submods = match token.get("submods") {
            Some(Value::Object(submods)) if !submods.is_empty() => submods,
            _ => return Err(wrong("submods", "an object of at least one part")),
        };
        let spelling = spelling(token, submods)?;
        let verifier_id = spelling.name("ear.verifier-id", "ear_verifier_id");
        let verifier = token
            .get(verifier_id)
            .and_then(|id| {
                let text = |name| id.get(name)?.as_str().map(String::from);
                Some(VerifierId { developer: text("developer")?, build: text("build")? })
            })
            .ok_or(wrong(verifier_id, "an object of developer and build"))?;
        let status = match token.get("ear_status") {
            None => None,
            Some(status) => {
                Some(Tier::from_json(status).ok_or(wrong("ear_status", "a trustworthiness tier"))?)
            }
        };
        let profile = match token.get("eat_profile") {
            None => None,
            Some(Value::String(profile)) => Some(profile.clone()),
            Some(_) => return Err(wrong("eat_profile", "a string")),
        };
        let submods: Result<_, _> =
            submods.iter().map(|(name, value)| submod(spelling, name, value)).collect();
        Ok(Self { spelling, profile, status, verifier, submods: submods? })
    }
}

/// The one spelling of the claims beside the submods and in them.
fn spelling(token: &Object, submods: &Object) -> Result<Spelling, ClaimsError> {
    let inner = submods.values().filter_map(Value::as_object).flat_map(Object::keys);
    let mut dotted = None;
    let mut underscored = None;
    for key in token.keys().chain(inner) {
        if key.starts_with("ear.") {
            dotted.get_or_insert(key);
        } else if key.starts_with("ear_") {
            underscored.get_or_insert(key);
        }
    }
    match (dotted, underscored) {
        (Some(_), None) => Ok(Spelling::Dotted),
        (None, Some(_)) => Ok(Spelling::Underscored),
        (None, None) => Err(ClaimsError::NoSpelling),
        (Some(dotted), Some(underscored)) => {
            Err(ClaimsError::Mixed { dotted: dotted.clone(), underscored: underscored.clone() })
        }
    }
}

fn submod(spelling: Spelling, name: &str, value: &Value) -> Result<Submod, ClaimsError> {
    let at = |claim: &str| alloc::format!("submods.{name}.{claim}");
    let object =
        value.as_object().ok_or_else(|| wrong(alloc::format!("submods.{name}"), "an object"))?;
    let status_name = spelling.name("ear.status", "ear_status");
    let status = object
        .get(status_name)
        .and_then(Tier::from_json)
        .ok_or_else(|| wrong(at(status_name), "a trustworthiness tier"))?;
    let vector = spelling.name("ear.trustworthiness-vector", "ear_trustworthiness_vector");
    let claims = match object.get(vector) {
        None => Vec::new(),
        Some(value) => trust_vector(value)
            .ok_or_else(|| wrong(at(vector), "an object of numbers from -128 to 127"))?,
    };
    Ok(Submod { name: name.into(), status, claims, policy_ids: policy_ids(spelling, object, at)? })
}

fn trust_vector(value: &Value) -> Option<Vec<(String, i8)>> {
    let claim = |(name, value): (&String, &Value)| {
        Some((name.clone(), i8::try_from(value.as_i64()?).ok()?))
    };
    value.as_object()?.iter().map(claim).collect()
}

fn policy_ids(
    spelling: Spelling,
    object: &Object,
    at: impl Fn(&str) -> String,
) -> Result<Vec<String>, ClaimsError> {
    let name = spelling.name("ear.appraisal-policy-id", "ear_appraisal_policy_ids");
    match (spelling, object.get(name)) {
        (_, None) => Ok(Vec::new()),
        (Spelling::Dotted, Some(Value::String(id))) => Ok(Vec::from([id.clone()])),
        (Spelling::Underscored, Some(Value::Array(ids))) => {
            let ids: Option<_> = ids.iter().map(|id| id.as_str().map(String::from)).collect();
            ids.ok_or_else(|| wrong(at(name), "an array of strings"))
        }
        (Spelling::Dotted, Some(_)) => Err(wrong(at(name), "a string")),
        (Spelling::Underscored, Some(_)) => Err(wrong(at(name), "an array of strings")),
    }
}

fn wrong(path: impl Into<String>, expected: &'static str) -> ClaimsError {
    ClaimsError::Claim { path: path.into(), expected }
}
