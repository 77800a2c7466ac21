//! The border: what C passes, as types that only C can make.
//!
//! A pointer that arrives is one of these types, with a private member: safe Rust has no value of them, so every
//! value came through a call of the interface, whose header says what the caller promises of it. On that promise,
//! and on checks of what can be checked (null, lengths, terminators), everything unsafe of the crate happens here.

use crate::abi::{Claim, EnclaveConf, Evidence, NAME_SIZE, RatsConf};
use crate::error::{Error, SizeRule};
use core::ffi::{c_char, c_int, c_void};
use std::os::fd::{BorrowedFd, OwnedFd};

/// Types of which every pattern of bits is a value.
///
/// # Safety
/// That must be so.
unsafe trait Plain: Copy {}
// SAFETY: numbers, arrays of numbers and raw pointers have no invalid patterns.
unsafe impl Plain for usize {}
// SAFETY: as above; what C calls `bool` or an enumeration is a number here.
unsafe impl Plain for RatsConf {}
// SAFETY: as above.
unsafe impl Plain for EnclaveConf {}

/// A structure to read.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct In<T>(*const T);

#[allow(private_bounds, reason = "C passes the types that the header names, and no others")]
impl<T: Plain> In<T> {
    pub(crate) fn get(self, field: &'static str) -> Result<T, Error> {
        if self.0.is_null() {
            return Err(Error::Null(field));
        }
        // SAFETY: not null, so by the header's promise it points to a readable `T`; alignment is not needed, and
        // every pattern is a value.
        Ok(unsafe { self.0.read_unaligned() })
    }
}

/// A number to write, or to read and write.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Out(*mut usize);

impl Out {
    pub(crate) fn get(self, field: &'static str) -> Result<usize, Error> {
        In(self.0.cast_const()).get(field)
    }

    pub(crate) fn put(self, field: &'static str, value: usize) -> Result<(), Error> {
        if self.0.is_null() {
            return Err(Error::Null(field));
        }
        // SAFETY: not null, so by the header's promise it points to a writable pointer-sized number.
        unsafe { self.0.write_unaligned(value) };
        Ok(())
    }
}

/// Text with a terminator.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Text(*const c_char);

impl Text {
    /// Its bytes, without the terminator. No byte after the terminator or after `most` is looked at.
    pub(crate) fn bytes(self, field: &'static str, most: usize) -> Result<Vec<u8>, Error> {
        if self.0.is_null() {
            return Err(Error::Null(field));
        }
        let mut bytes = Vec::new();
        for at in 0..=most {
            // SAFETY: not null, and no byte before this one was the terminator, so by the header's promise the
            // text goes on here.
            let byte = unsafe { self.0.add(at).read() };
            if byte == 0 {
                return Ok(bytes);
            }
            bytes.push(byte.cast_unsigned());
        }
        Err(Error::Text { field, expected: "a terminator after at most 4096 bytes" })
    }

    pub(crate) fn utf8(self, field: &'static str, most: usize) -> Result<String, Error> {
        let bytes = self.bytes(field, most)?;
        String::from_utf8(bytes).map_err(|_| Error::Text { field, expected: "UTF-8" })
    }
}

/// Text in an array of a structure, which may end anywhere in it.
pub(crate) fn name<'a>(
    field: &'static str,
    array: &'a [c_char; NAME_SIZE],
) -> Result<&'a str, Error> {
    // SAFETY: `c_char` and `u8` have the same size, and every pattern is a value of both.
    let bytes: &'a [u8; NAME_SIZE] = unsafe { &*core::ptr::from_ref(array).cast() };
    let end = bytes.iter().position(|byte| *byte == 0);
    let end = end.ok_or(Error::Text { field, expected: "a terminator in its 32 bytes" })?;
    str::from_utf8(&bytes[..end]).map_err(|_| Error::Text { field, expected: "UTF-8" })
}

/// A buffer. Its length comes beside it.
#[derive(Debug)]
#[repr(transparent)]
pub struct Buffer(*mut c_void);

impl Buffer {
    /// To read. Nobody else may write to it meanwhile, says the header.
    pub(crate) fn slice(&self, field: &'static str, length: usize) -> Result<&[u8], Error> {
        check_length(field, length)?;
        if length == 0 {
            return Ok(&[]);
        }
        if self.0.is_null() {
            return Err(Error::Null(field));
        }
        // SAFETY: not null, no longer than any object is, and by the header's promise `length` readable bytes
        // that nobody writes to during the call.
        Ok(unsafe { core::slice::from_raw_parts(self.0.cast(), length) })
    }

    /// To write.
    pub(crate) fn slice_mut(
        &mut self,
        field: &'static str,
        length: usize,
    ) -> Result<&mut [u8], Error> {
        check_length(field, length)?;
        if length == 0 {
            return Ok(&mut []);
        }
        if self.0.is_null() {
            return Err(Error::Null(field));
        }
        // SAFETY: not null, no longer than any object is, and by the header's promise `length` bytes that are
        // writable and nobody else's during the call. They are only written to, by a receiving session.
        Ok(unsafe { core::slice::from_raw_parts_mut(self.0.cast(), length) })
    }
}

fn check_length(field: &'static str, length: usize) -> Result<(), Error> {
    let most = isize::MAX.unsigned_abs();
    if length <= most {
        return Ok(());
    }
    Err(Error::Size { field, expected: SizeRule::AtMost(most), got: length })
}

/// The claims that a configuration points to.
pub(crate) fn claims(list: *const Claim, count: usize) -> Result<Vec<(String, Vec<u8>)>, Error> {
    /// More than a claims buffer has room for.
    const MOST: usize = rats_tls::claims::MAX_CLAIMS;
    const MOST_BYTES: usize = rats_tls::claims::MAX_SIZE;
    if count > MOST {
        let field = "custom_claims_length";
        return Err(Error::Size { field, expected: SizeRule::AtMost(MOST), got: count });
    }
    if count > 0 && list.is_null() {
        return Err(Error::Null("custom_claims"));
    }
    let claim = |index| {
        // SAFETY: not null, so by the header's promise it points to `count` claims; they are packed.
        let Claim { name, value, value_size } = unsafe { list.add(index).read_unaligned() };
        let name = Text(name.cast_const()).utf8("custom_claims.name", MOST_BYTES)?;
        if value_size > MOST_BYTES {
            let field = "custom_claims.value_size";
            return Err(Error::Size {
                field,
                expected: SizeRule::AtMost(MOST_BYTES),
                got: value_size,
            });
        }
        let value = Buffer(value.cast());
        let value = value.slice("custom_claims.value", value_size)?.to_vec();
        Ok((name, value))
    };
    (0..count).map(claim).collect()
}

/// A descriptor of the caller's, as one of our own.
pub(crate) fn duplicate(fd: c_int) -> std::io::Result<OwnedFd> {
    if fd < 0 {
        return Err(rustix::io::Errno::BADF.into());
    }
    // SAFETY: not -1. That it is open is checked by the duplication, which is all that is done with it.
    unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()
}

/// The program's own look at evidence, `int (*)(void *)`.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Callback(Option<unsafe extern "C" fn(*mut c_void) -> c_int>);

impl Callback {
    pub(crate) const fn is_null(self) -> bool {
        self.0.is_none()
    }

    /// Whether it accepts.
    pub(crate) fn accepts(self, evidence: &mut Evidence) -> bool {
        let Some(function) = self.0 else { return false };
        // SAFETY: not null, so by the header's promise a function of this type; the structure lives for the call.
        unsafe { function(core::ptr::from_mut(evidence).cast()) != 0 }
    }
}
