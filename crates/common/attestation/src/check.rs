//! One check, and the list of all of them: what a verifier looked at, what it expected, what came.
//!
//! A verifier of ours does not stop at the first failure, so that a refusal is complete: an outdated TCB
//! never hides a wrong measurement. A check that could not run, because what it reads was missing or
//! unreadable, is listed as failed and names the check that stood in its way.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

use serde::{Serialize, Serializer};

mod id;

pub use id::CheckId;

/// A value in a check: typed, without an allocation in the usual case, printed only when asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing came, or nothing can be said.
    None,
    /// A number.
    Number(u64),
    /// At most 64 bytes, printed as lower-case hex.
    Bytes(InlineBytes),
    /// Unix seconds.
    Time(u64),
    /// Words.
    Text(Cow<'static, str>),
    /// The check did not run; this one failed before it.
    NotRun(CheckId),
}

/// Up to 64 bytes, in place.
#[derive(Clone, PartialEq, Eq)]
pub struct InlineBytes {
    bytes: [u8; 64],
    len: u8,
}

impl InlineBytes {
    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for InlineBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&crate::hex::Hex(self.as_slice()), f)
    }
}

impl Value {
    /// Bytes as a value; of more than 64, the first 64.
    #[must_use]
    pub fn bytes(bytes: &[u8]) -> Self {
        let len = bytes.len().min(64);
        let mut inline = InlineBytes { bytes: [0; 64], len: len as u8 };
        inline.bytes[..len].copy_from_slice(&bytes[..len]);
        Self::Bytes(inline)
    }

    /// Anything printable as a value; allocates.
    #[must_use]
    pub fn display(value: &impl fmt::Display) -> Self {
        Self::Text(Cow::Owned(alloc::format!("{value}")))
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<alloc::string::String> for Value {
    fn from(text: alloc::string::String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::bytes(bytes)
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(bytes: &[u8; N]) -> Self {
        Self::bytes(bytes)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Bytes(bytes) => fmt::Display::fmt(&crate::hex::Hex(bytes.as_slice()), f),
            Self::Time(seconds) => fmt::Display::fmt(&crate::time::Rfc3339(*seconds), f),
            Self::Text(text) => f.write_str(text),
            Self::NotRun(id) => write!(f, "not run: {id} failed"),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Which.
    pub id: CheckId,
    /// Whether it holds.
    pub ok: bool,
    /// What it takes to hold.
    pub expected: Value,
    /// What came.
    pub got: Value,
    /// What to do about a failure; empty where it holds.
    pub action: &'static str,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.ok { "ok" } else { "failed" };
        write!(f, "{}: {verdict}: expected {}, got {}", self.id, self.expected, self.got)
    }
}

/// All checks of one verification, in the order they ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Checks(Vec<Check>);

impl Checks {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// None yet, with room for as many as a verification of a quote makes.
    pub(crate) fn with_room() -> Self {
        Self(Vec::with_capacity(64))
    }

    /// Lists a check and returns whether it holds.
    pub fn add(
        &mut self,
        id: CheckId,
        ok: bool,
        expected: impl Into<Value>,
        got: impl Into<Value>,
    ) -> bool {
        let action = if ok { "" } else { id.action() };
        self.0.push(Check { id, ok, expected: expected.into(), got: got.into(), action });
        ok
    }

    /// Lists a check that two byte strings are equal.
    pub fn equal(&mut self, id: CheckId, expected: &[u8], got: &[u8]) -> bool {
        self.add(id, expected == got, expected, got)
    }

    /// Lists a check that could not run because another failed.
    pub fn not_run(&mut self, id: CheckId, because: CheckId) {
        self.add(id, false, id.expectation(), Value::NotRun(because));
    }

    /// Takes over the checks of another list.
    pub fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Whether there is at least one check and every check holds: an empty list proves nothing.
    #[must_use]
    pub fn all_hold(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|check| check.ok)
    }

    /// The checks in order.
    pub fn iter(&self) -> core::slice::Iter<'_, Check> {
        self.0.iter()
    }

    /// The failed checks in order.
    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        self.0.iter().filter(|check| !check.ok)
    }

    /// The first check of this kind.
    #[must_use]
    pub fn find(&self, id: CheckId) -> Option<&Check> {
        self.0.iter().find(|check| check.id == id)
    }

    /// Whether a check of this kind was made and every one of this kind holds.
    #[must_use]
    pub fn holds(&self, id: CheckId) -> bool {
        let mut of_kind = self.0.iter().filter(|check| check.id == id).peekable();
        of_kind.peek().is_some() && of_kind.all(|check| check.ok)
    }
}

impl<'a> IntoIterator for &'a Checks {
    type Item = &'a Check;
    type IntoIter = core::slice::Iter<'a, Check>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_proves_nothing() {
        assert!(!Checks::new().all_hold());
        assert!(!Checks::new().holds(CheckId::QuoteFormat));
    }

    #[test]
    fn a_check_that_did_not_run_has_failed() {
        let mut checks = Checks::new();
        assert!(checks.add(CheckId::QuoteVersion, true, 3u64, 3u64));
        assert!(checks.all_hold());
        checks.not_run(CheckId::QuoteSignature, CheckId::QuoteFormat);
        assert!(!checks.all_hold());
        let failed: Vec<_> = checks.failed().collect();
        assert_eq!(failed.len(), 1);
        assert_eq!(alloc::format!("{}", failed[0].got), "not run: quote.format failed");
        assert!(!failed[0].action.is_empty());
    }

    #[test]
    fn values_print_as_people_read_them() {
        for (value, text) in [
            (Value::Number(7), "7"),
            (Value::bytes(&[0xab, 1]), "ab01"),
            (Value::Time(1_752_919_277), "2025-07-19T10:01:17Z"),
            (Value::None, "none"),
        ] {
            assert_eq!(alloc::format!("{value}"), text);
        }
    }
}
