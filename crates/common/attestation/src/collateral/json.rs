//! JSON that two readers cannot understand differently.
//!
//! Of two equal keys, one JSON reader takes the first value, another the last. Signed documents must not
//! depend on that, so a key that comes twice in one object is refused, known or not.

use alloc::vec::Vec;
use core::fmt;

/// How deep signed documents may nest.
const MAX_DEPTH: usize = 16;

/// How many keys an object of theirs may have.
const MAX_KEYS: usize = 64;

/// A signed JSON document that is not what it should be.
#[derive(Debug)]
pub enum JsonError {
    /// Larger than is read.
    TooLong {
        /// The most that is read.
        limit: usize,
        /// What came, in bytes.
        got: usize,
    },
    /// A key that comes twice in one object.
    DuplicateKey {
        /// Where the second one begins, in bytes.
        offset: usize,
    },
    /// A key with a backslash: equal keys could be spelled differently.
    EscapedKey {
        /// Where it begins, in bytes.
        offset: usize,
    },
    /// Nested deeper than any known document.
    TooDeep {
        /// Where, in bytes.
        offset: usize,
    },
    /// An object of more keys than any known document has.
    TooManyKeys {
        /// Where the first key too many begins, in bytes.
        offset: usize,
    },
    /// Not JSON, or not of the document's form: the error names line, column and field.
    Form(serde_json::Error),
    /// A field whose value is not of its form or length.
    Field {
        /// Its name.
        name: &'static str,
    },
    /// A version of the document that is not known.
    Version {
        /// What came.
        got: u32,
    },
}

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        Self::Form(error)
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { limit, got } => write!(f, "expected at most {limit} bytes, got {got}"),
            Self::DuplicateKey { offset } => write!(f, "the key at offset {offset} comes twice"),
            Self::EscapedKey { offset } => write!(f, "the key at offset {offset} has a backslash"),
            Self::TooDeep { offset } => write!(f, "nested too deep at offset {offset}"),
            Self::TooManyKeys { offset } => {
                write!(f, "more than {MAX_KEYS} keys in an object, at offset {offset}")
            }
            Self::Form(error) => write!(f, "{error}"),
            Self::Field { name } => write!(f, "{name} is not of its form or length"),
            Self::Version { got } => write!(f, "version {got} is not known"),
        }
    }
}

impl core::error::Error for JsonError {}

/// Refuses text in which a key comes twice in one object. The text need not be JSON: what is not, is left
/// for a parser to refuse.
pub(crate) fn refuse_duplicate_keys(text: &str) -> Result<(), JsonError> {
    let bytes = text.as_bytes();
    // The keys of every open object; an array has none.
    let mut open: Vec<Vec<&[u8]>> = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => {
                if open.len() == MAX_DEPTH {
                    return Err(JsonError::TooDeep { offset: at });
                }
                open.push(Vec::new());
            }
            b'}' | b']' => {
                open.pop();
            }
            b'"' => {
                let (string, end) = string(bytes, at + 1);
                if is_key(bytes, end) {
                    if string.contains(&b'\\') {
                        return Err(JsonError::EscapedKey { offset: at });
                    }
                    if let Some(keys) = open.last_mut() {
                        if keys.contains(&string) {
                            return Err(JsonError::DuplicateKey { offset: at });
                        }
                        if keys.len() == MAX_KEYS {
                            return Err(JsonError::TooManyKeys { offset: at });
                        }
                        keys.push(string);
                    }
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// The contents of the string that begins at `start`, and where the text goes on after its end.
fn string(bytes: &[u8], start: usize) -> (&[u8], usize) {
    let mut at = start;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return (&bytes[start..at], at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    (&bytes[start..], bytes.len())
}

/// Whether a colon follows: then the string before was a key.
fn is_key(bytes: &[u8], after: usize) -> bool {
    bytes[after..].iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_comes_twice_is_refused_at_any_depth() {
        for text in
            [r#"{"a":1,"a":2}"#, r#"{"a":[{"b":1 , "b" :2}]}"#, r#"{"x":{"y":"a\"b","z":1},"x":2}"#]
        {
            let error = refuse_duplicate_keys(text).expect_err(text);
            assert!(matches!(error, JsonError::DuplicateKey { .. }), "{text}: {error}");
        }
    }

    #[test]
    fn equal_keys_of_different_objects_are_fine() {
        for text in [r#"{"a":{"a":1},"b":[{"a":1},{"a":2}]}"#, r#"["a","a"]"#, "", "{", "\"\\"] {
            refuse_duplicate_keys(text).expect(text);
        }
    }

    #[test]
    fn keys_that_hide_behind_escapes_and_deep_nesting_are_refused() {
        assert!(matches!(
            refuse_duplicate_keys(r#"{"a":1,"\u0061":2}"#),
            Err(JsonError::EscapedKey { offset: 7 })
        ));
        let wide: alloc::string::String =
            (0..100_000).map(|key| alloc::format!("\"{key}\":0,")).collect();
        assert!(matches!(
            refuse_duplicate_keys(&alloc::format!("{{{wide}")),
            Err(JsonError::TooManyKeys { .. })
        ));
        let deep = "[".repeat(100_000);
        assert!(matches!(refuse_duplicate_keys(&deep), Err(JsonError::TooDeep { offset: 16 })));
    }
}
