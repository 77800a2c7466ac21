//! A verdict as JSON tells it.

use crate::failure::Failure;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// A verdict. A file may say anything, so it is checked to agree with itself before it is shown.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Told {
    pub(crate) verdict: Word,
    pub(crate) emulated: bool,
    pub(crate) tee: Option<String>,
    pub(crate) tcb_status: Option<String>,
    pub(crate) advisories: Vec<String>,
    pub(crate) measurement: Option<Members>,
    pub(crate) platform: Option<Members>,
    pub(crate) time_source: String,
    #[serde(default)]
    pub(crate) time: Option<u64>,
    pub(crate) checks: Vec<Check>,
    /// Of a running container: which session it was.
    #[serde(default)]
    pub(crate) session: Option<Members>,
    /// Of a running container: what it says of itself.
    #[serde(default)]
    pub(crate) claims: Option<Members>,
}

/// The word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Word {
    Accepted,
    Authentic,
    Refused,
}

/// One check.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Check {
    pub(crate) id: String,
    pub(crate) ok: bool,
    pub(crate) expected: String,
    pub(crate) got: String,
    pub(crate) action: String,
}

/// The members of an object, in the order in which the verifier wrote them: the telling ones come first.
#[derive(Debug)]
pub(crate) struct Members(pub(crate) Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// JSON that is no verdict.
#[derive(Debug)]
pub(crate) enum ToldError {
    /// Not the JSON of one.
    Json(serde_json::Error),
    /// The word and the checks do not agree.
    Contradiction { word: Word, failed: usize, checks: usize },
}

impl fmt::Display for ToldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => {
                write!(f, "expected a verdict of shelter verify --json, got: {error}")
            }
            Self::Contradiction { word, failed, checks } => write!(
                f,
                "expected a verdict that agrees with its checks, got {} with {failed} of {checks} checks failed",
                word.name()
            ),
        }
    }
}

impl Word {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Authentic => "authentic",
            Self::Refused => "refused",
        }
    }
}

impl Told {
    /// What a verdict tells, and the JSON that tells it, one line: what people and programs read is the same.
    ///
    /// # Errors
    /// It cannot be told.
    pub(crate) fn of(verdict: &impl serde::Serialize) -> Result<(Self, String), Failure> {
        let json = serde_json::to_string(verdict).map_err(Failure::undecided)?;
        let told = Self::parse(json.as_bytes()).map_err(Failure::undecided)?;
        Ok((told, json))
    }

    pub(crate) fn parse(json: &[u8]) -> Result<Self, ToldError> {
        let told: Self = serde_json::from_slice(json).map_err(ToldError::Json)?;
        let failed = told.checks.iter().filter(|check| !check.ok).count();
        let is_refused = told.checks.is_empty() || failed > 0;
        // One that was refused for want of claims may have no failed check.
        if is_refused && told.verdict != Word::Refused {
            let (word, checks) = (told.verdict, told.checks.len());
            return Err(ToldError::Contradiction { word, failed, checks });
        }
        Ok(told)
    }

    /// Whether what runs there was looked at too. Says nothing of what came of it: the checks do.
    pub(crate) fn is_identified(&self) -> bool {
        self.checks.iter().any(|check| check.id == "policy.measurement")
    }

    /// How the command ends that said it.
    pub(crate) fn end(&self) -> Result<(), Failure> {
        match self.verdict {
            Word::Accepted | Word::Authentic => Ok(()),
            Word::Refused => Err(Failure::Said),
        }
    }
}

impl Members {
    /// The text of a member.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(other, _)| other == name)?;
        value.as_str()
    }
}

impl Check {
    /// The check that stood in its way, where it did not run.
    pub(crate) fn not_run(&self) -> Option<&str> {
        self.got.strip_prefix("not run: ").filter(|_| !self.ok)
    }
}
