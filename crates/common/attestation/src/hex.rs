//! Bytes as hexadecimal text.

use alloc::vec::Vec;
use core::fmt;

/// Prints bytes as lower-case hex.
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Text that is not the hex of what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HexError {
    /// Another number of digits.
    Length {
        /// Expected, in digits.
        expected: usize,
        /// What came, in digits.
        got: usize,
    },
    /// An odd number of digits.
    Odd {
        /// What came, in digits.
        got: usize,
    },
    /// A character that is no digit.
    Digit {
        /// Where, in bytes.
        offset: usize,
        /// The byte there.
        got: u8,
    },
}

impl fmt::Display for HexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { expected, got } => {
                write!(f, "expected {expected} hex digits, got {got}")
            }
            Self::Odd { got } => write!(f, "expected an even number of hex digits, got {got}"),
            Self::Digit { offset, got } => {
                write!(f, "expected a hex digit at offset {offset}, got '{}'", got.escape_ascii())
            }
        }
    }
}

impl core::error::Error for HexError {}

fn digit(text: &[u8], offset: usize) -> Result<u8, HexError> {
    match text[offset] {
        digit @ b'0'..=b'9' => Ok(digit - b'0'),
        digit @ b'a'..=b'f' => Ok(digit - b'a' + 10),
        digit @ b'A'..=b'F' => Ok(digit - b'A' + 10),
        got => Err(HexError::Digit { offset, got }),
    }
}

fn byte(text: &[u8], index: usize) -> Result<u8, HexError> {
    Ok(digit(text, 2 * index)? << 4 | digit(text, 2 * index + 1)?)
}

/// Reads exactly `N` bytes, upper or lower case.
///
/// # Errors
///
/// Another length, or a character that is no digit.
pub fn array<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return Err(HexError::Length { expected: 2 * N, got: text.len() });
    }
    let mut bytes = [0; N];
    for (index, out) in bytes.iter_mut().enumerate() {
        *out = byte(text, index)?;
    }
    Ok(bytes)
}

/// Reads any number of bytes, upper or lower case.
///
/// # Errors
///
/// An odd length, or a character that is no digit.
pub fn vec(text: &str) -> Result<Vec<u8>, HexError> {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(2) {
        return Err(HexError::Odd { got: text.len() });
    }
    (0..text.len() / 2).map(|index| byte(text, index)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints_and_nothing_else() {
        assert_eq!(array("00aBff"), Ok([0, 0xab, 0xff]));
        assert_eq!(alloc::format!("{}", Hex(&[0, 0xab, 0xff])), "00abff");
        assert_eq!(array::<2>("00ab0"), Err(HexError::Length { expected: 4, got: 5 }));
        assert_eq!(array::<1>("0g"), Err(HexError::Digit { offset: 1, got: b'g' }));
        assert_eq!(vec("abc"), Err(HexError::Odd { got: 3 }));
        assert_eq!(vec(""), Ok(alloc::vec![]));
    }
}
