//! A reader of little-endian structures that cannot run past its end.

use core::fmt;

/// Fewer bytes than a field needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated {
    /// Where the field begins, from the start of the whole.
    pub offset: usize,
    /// Its length in bytes.
    pub needed: usize,
    /// The bytes that were left.
    pub left: usize,
}

impl fmt::Display for Truncated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, needed, left } = self;
        write!(f, "at offset {offset}: expected {needed} bytes, got {left}")
    }
}

impl core::error::Error for Truncated {}

/// Bytes and a position in them.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    /// Where `bytes` begins in the whole, for messages.
    base: usize,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, base: 0, at: 0 }
    }

    /// The next `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Truncated> {
        let rest = &self.bytes[self.at..];
        let (taken, _) = rest.split_at_checked(len).ok_or(Truncated {
            offset: self.offset(),
            needed: len,
            left: rest.len(),
        })?;
        self.at += len;
        Ok(taken)
    }

    /// The next `len` bytes, as a reader that ends with them.
    pub(crate) fn nested(&mut self, len: usize) -> Result<Self, Truncated> {
        let base = self.offset();
        Ok(Self { bytes: self.take(len)?, base, at: 0 })
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Truncated> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Truncated> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Truncated> {
        self.array().map(u64::from_le_bytes)
    }

    /// Bytes that a length before them counts, u16.
    pub(crate) fn counted_u16(&mut self) -> Result<&'a [u8], Truncated> {
        let len = self.u16()?;
        self.take(len.into())
    }

    /// What is left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// The position, from the start of the whole.
    pub(crate) const fn offset(&self) -> usize {
        self.base + self.at
    }
}
