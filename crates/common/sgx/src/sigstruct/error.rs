//! Why a SIGSTRUCT is refused.

use crate::layout::LayoutError;
use crate::leaf::ErrorCode;

/// A SIGSTRUCT, or a part of one, that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigstructError {
    /// Wrong length, or a reserved byte that is not zero.
    Layout(LayoutError),
    /// A field of 16 fixed bytes is another.
    Header {
        /// HEADER or HEADER2.
        field: &'static str,
        /// What it must be.
        expected: [u8; 16],
        /// What came.
        got: [u8; 16],
    },
    /// A number is not the expected one.
    Number {
        /// The field.
        field: &'static str,
        /// What it must be.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// The modulus is not of 3072 bits.
    KeyBits {
        /// Its length in bits.
        got: u32,
    },
    /// SIGNATURE is not less than MODULUS.
    SignatureRange,
    /// Q1 or Q2 is not the quotient.
    Quotient {
        /// Q1 or Q2.
        field: &'static str,
    },
    /// What the signature decrypts to is not PKCS#1 v1.5 padding with SHA-256: another key signed, or the
    /// signature is damaged.
    Padding {
        /// Offset of the first differing byte in the encoded message.
        offset: usize,
        /// What it must be.
        expected: u8,
        /// What came.
        got: u8,
    },
    /// The signature is sound but of other bytes: a signed field was changed.
    Digest {
        /// SHA-256 of the signed bytes.
        expected: [u8; 32],
        /// The digest in the signature.
        got: [u8; 32],
    },
}

impl SigstructError {
    /// What EINIT returns in EAX.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Layout(_) | Self::Header { .. } | Self::Number { .. } => {
                ErrorCode::InvalidSigStruct
            }
            Self::KeyBits { .. }
            | Self::SignatureRange
            | Self::Quotient { .. }
            | Self::Padding { .. }
            | Self::Digest { .. } => ErrorCode::InvalidSignature,
        }
    }
}

impl From<LayoutError> for SigstructError {
    fn from(error: LayoutError) -> Self {
        Self::Layout(error)
    }
}

impl core::fmt::Display for SigstructError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Layout(error) => error.fmt(f),
            Self::Header { field, expected, got } => {
                write!(f, "SIGSTRUCT.{field}: expected {}, got {}", Hex(expected), Hex(got))
            }
            Self::Number { field, expected, got } => {
                write!(f, "SIGSTRUCT.{field}: expected {expected:#x}, got {got:#x}")
            }
            Self::KeyBits { got } => {
                write!(f, "SIGSTRUCT.MODULUS: expected 3072 bits, got {got}")
            }
            Self::SignatureRange => {
                write!(f, "SIGSTRUCT.SIGNATURE: expected less than MODULUS, got more")
            }
            Self::Quotient { field } => {
                write!(f, "SIGSTRUCT.{field}: expected the quotient of SIGNATURE and MODULUS")?;
                write!(f, ", got another value")
            }
            Self::Padding { offset, expected, got } => write!(
                f,
                "SIGSTRUCT.SIGNATURE: not made by the key in MODULUS: byte {offset} of the encoded \
                 message: expected {expected:#04x}, got {got:#04x}"
            ),
            Self::Digest { expected, got } => write!(
                f,
                "SIGSTRUCT.SIGNATURE: signs other content: expected digest {}, got {}",
                Hex(expected),
                Hex(got)
            ),
        }
    }
}

impl core::error::Error for SigstructError {}

/// Bytes in hexadecimal.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl core::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
