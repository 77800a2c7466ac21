//! User memory, reached only through a handle (process, address, length).
//!
//! An access checks the process's mappings and their permissions (EFAULT, never a fault in the library
//! OS), fills pages that were never touched, and goes to the resident page or to the saved copy of a
//! process that is not in memory. It is resolved anew at every access, so that a handle stays valid
//! over waits, whatever moved meanwhile. An access that fails half way has changed the bytes before
//! the failure, as on Linux.

use crate::errno::Errno;
use crate::fs::file::{Sink, Source};
use crate::mm::Mm;
use alloc::vec::Vec;

/// Longest single transfer, as Linux's MAX_RW_COUNT.
pub const MAX_TRANSFER: usize = 0x7fff_f000;

/// Memory of a process: [`Mm`], and a buffer in the tests of the file layer.
pub trait UserMemory {
    /// Copies user memory into `into`.
    ///
    /// # Errors
    /// EFAULT where the range is not mapped readable; EIO where file pages fail verification.
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Errno>;
    /// Copies `from` into user memory.
    ///
    /// # Errors
    /// EFAULT where the range is not mapped writable.
    fn write(&self, address: u64, from: &[u8]) -> Result<(), Errno>;
    /// Fills user memory.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn fill(&self, address: u64, length: u64, byte: u8) -> Result<(), Errno>;
}

impl UserMemory for Mm {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Errno> {
        Self::read(self, address, into)
    }

    fn write(&self, address: u64, from: &[u8]) -> Result<(), Errno> {
        Self::write(self, address, from)
    }

    fn fill(&self, address: u64, length: u64, byte: u8) -> Result<(), Errno> {
        Self::fill(self, address, length, byte)
    }
}

/// A stretch of user memory: a system call's buffer. As a [`Sink`] or [`Source`] it is consumed from
/// its start.
#[derive(Clone)]
pub struct UserBuf<'a> {
    mm: &'a dyn UserMemory,
    address: u64,
    length: usize,
}

impl<'a> UserBuf<'a> {
    /// A handle. Nothing is checked before it is used; `length` is cut to [`MAX_TRANSFER`].
    #[must_use]
    pub fn new(mm: &'a dyn UserMemory, address: u64, length: u64) -> Self {
        let length = usize::try_from(length).unwrap_or(MAX_TRANSFER).min(MAX_TRANSFER);
        Self { mm, address, length }
    }

    /// Its start.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Bytes left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether no bytes are left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    fn advance(&mut self, count: usize) {
        self.address = self.address.wrapping_add(count as u64);
        self.length -= count;
    }

    fn take_length(&self, wanted: usize) -> Result<usize, Errno> {
        if wanted > self.length { Err(Errno::EFAULT) } else { Ok(wanted) }
    }
}

impl Sink for UserBuf<'_> {
    fn remaining(&self) -> usize {
        self.length
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        let count = self.take_length(bytes.len())?;
        self.mm.write(self.address, bytes)?;
        self.advance(count);
        Ok(())
    }

    fn put_zeros(&mut self, count: usize) -> Result<(), Errno> {
        let count = self.take_length(count)?;
        self.mm.fill(self.address, count as u64, 0)?;
        self.advance(count);
        Ok(())
    }
}

impl Source for UserBuf<'_> {
    fn remaining(&self) -> usize {
        self.length
    }

    fn peek(&self, into: &mut [u8]) -> Result<(), Errno> {
        self.take_length(into.len())?;
        self.mm.read(self.address, into)
    }

    fn skip(&mut self, count: usize) {
        self.advance(count.min(self.length));
    }
}

/// The buffers of readv(2) and its like, in order.
pub struct UserVec<'a> {
    parts: Vec<UserBuf<'a>>,
    next: usize,
    remaining: usize,
}

/// Most parts of a vector (IOV_MAX).
pub const MAX_PARTS: u64 = 1024;

impl<'a> UserVec<'a> {
    /// Reads `count` `struct iovec` at `address`.
    ///
    /// # Errors
    /// EINVAL for too many parts or a total above `isize::MAX`, EFAULT.
    pub fn new(mm: &'a dyn UserMemory, address: u64, count: u64) -> Result<Self, Errno> {
        if count > MAX_PARTS {
            return Err(Errno::EINVAL);
        }
        let mut parts = Vec::with_capacity(count as usize);
        let mut total = 0u64;
        for index in 0..count {
            let mut raw = [0; 16];
            mm.read(address.wrapping_add(index * 16), &mut raw)?;
            let (base, length) = raw.split_at(8);
            let base = u64::from_le_bytes(base.try_into().expect("8 of 16 bytes"));
            let length = u64::from_le_bytes(length.try_into().expect("8 of 16 bytes"));
            total = total.checked_add(length).ok_or(Errno::EINVAL)?;
            if i64::try_from(total).is_err() {
                return Err(Errno::EINVAL);
            }
            let room = MAX_TRANSFER as u64 - (total - length).min(MAX_TRANSFER as u64);
            parts.push(UserBuf::new(mm, base, length.min(room)));
        }
        let remaining = parts.iter().map(UserBuf::len).sum();
        Ok(Self { parts, next: 0, remaining })
    }

    /// Bytes left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.remaining
    }

    /// Whether no bytes are left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remaining == 0
    }

    /// The next part with bytes left.
    fn part(&mut self) -> Option<&mut UserBuf<'a>> {
        while self.parts.get(self.next).is_some_and(UserBuf::is_empty) {
            self.next += 1;
        }
        self.parts.get_mut(self.next)
    }
}

impl Sink for UserVec<'_> {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            let part = self.part().ok_or(Errno::EFAULT)?;
            let count = part.len().min(bytes.len());
            part.put(&bytes[..count])?;
            self.remaining -= count;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    fn put_zeros(&mut self, mut count: usize) -> Result<(), Errno> {
        while count > 0 {
            let part = self.part().ok_or(Errno::EFAULT)?;
            let step = part.len().min(count);
            part.put_zeros(step)?;
            self.remaining -= step;
            count -= step;
        }
        Ok(())
    }
}

impl Source for UserVec<'_> {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn peek(&self, mut into: &mut [u8]) -> Result<(), Errno> {
        for part in &self.parts[self.next..] {
            let (now, rest) = into.split_at_mut(part.len().min(into.len()));
            // A part of no bytes may point anywhere.
            if !now.is_empty() {
                part.peek(now)?;
            }
            into = rest;
        }
        if into.is_empty() { Ok(()) } else { Err(Errno::EFAULT) }
    }

    fn skip(&mut self, mut count: usize) {
        while count > 0 {
            let Some(part) = self.part() else { return };
            let step = part.len().min(count);
            part.skip(step);
            self.remaining -= step;
            count -= step;
        }
    }
}
