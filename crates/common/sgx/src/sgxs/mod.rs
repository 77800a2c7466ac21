//! SGXS: an enclave as a file (the stream format of fortanix/rust-sgx, `intel-sgx/sgxs`).
//!
//! The stream is the very bytes that MRENCLAVE hashes: the 64-byte record of ECREATE, then for each page
//! the record of EADD and for each 256-byte chunk a record and its bytes. The record's tag says whether the
//! chunk is extended into the measurement (`EEXTEND`) or only loaded (`UNMEASRD`); records of the latter
//! kind are not hashed. Chunks that are absent are zero and not measured.
//!
//! Only *canonical* streams are read and written: one ECREATE first, pages by ascending offset inside
//! ELRANGE, chunks ascending inside their page, nothing reserved set. So a stream has one measurement
//! and one meaning, and a page can appear only once. The reader holds one page at a time, whatever the
//! stream's length, and is total: any bytes give pages or an [`SgxsError`].

mod io;
mod reader;
mod writer;

#[cfg(feature = "std")]
pub use io::Io;
pub use io::{Hashing, Read, Write};
pub use reader::{Reader, fuzz, mrenclave};
pub use writer::Writer;

use crate::measure::CHUNKS;
use crate::page::{PAGE_SIZE, PageType, Secinfo, SecinfoFlags};

/// Tag of a record whose chunk is loaded but not measured.
pub const UNMEASRD: [u8; 8] = *b"UNMEASRD";

/// The parameters of ECREATE that the measurement covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ecreate {
    /// SECS.SSAFRAMESIZE.
    pub ssaframesize_pages: u32,
    /// SECS.SIZE in bytes: a power of two, at least two pages.
    pub size: u64,
}

/// One page with its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// From the ELRANGE base, in bytes.
    pub offset: u64,
    /// SECINFO for EADD.
    pub secinfo: Secinfo,
    /// Bit `i`: chunk `i` is extended into the measurement.
    pub measured: u16,
    /// Bit `i`: chunk `i` is in the stream. The others are zero.
    pub present: u16,
    /// Content.
    pub data: [u8; PAGE_SIZE],
}

impl Page {
    /// Whether all of the page is measured (`true`) or nothing but its place and permissions.
    ///
    /// # Errors
    /// [`SgxsError::PartlyMeasured`]: the Linux driver cannot load such a page.
    pub fn is_measured<E>(&self) -> Result<bool, SgxsError<E>> {
        match self.measured {
            0 => Ok(false),
            u16::MAX => Ok(true),
            mask => Err(SgxsError::PartlyMeasured { page: self.offset, mask }),
        }
    }
}

/// Why a stream is refused, or cannot be written. `E` is the error of reading or writing itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SgxsError<E> {
    /// Reading or writing failed.
    Io(E),
    /// The stream ends inside a record or chunk, or is empty.
    Truncated {
        /// Position of that record or chunk in the stream, in bytes.
        at: u64,
        /// Its length.
        expected: usize,
        /// How much of it there is.
        got: usize,
    },
    /// A record's tag is none of the format's, or one that may not come here.
    Tag {
        /// Position of the record.
        at: u64,
        /// What may come here.
        expected: &'static str,
        /// The tag.
        got: [u8; 8],
    },
    /// A reserved byte of a record is not zero.
    Reserved {
        /// Position of that byte.
        at: u64,
        /// Its value.
        got: u8,
    },
    /// A field has a value that the CPU or the canonical form refuses.
    Field {
        /// Position of the record; 0 when writing.
        at: u64,
        /// Which field.
        field: Field,
        /// The value.
        got: u64,
    },
    /// Some chunks of a page are measured and some are not.
    PartlyMeasured {
        /// Offset of the page.
        page: u64,
        /// Bit `i`: chunk `i` is measured.
        mask: u16,
    },
}

/// A field of a record, with the rule that a value broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// SECS.SIZE: a power of two, at least 8192.
    Size,
    /// SECS.SSAFRAMESIZE: not 0.
    Ssaframesize,
    /// Offset of a page: a multiple of 4096.
    PageAlignment,
    /// Offset of a page: inside ELRANGE.
    PageRange,
    /// Offset of a page: higher than the page before.
    PageOrder,
    /// SECINFO.FLAGS: no state bit, type PT_REG, or PT_TCS without permissions; W only with R.
    SecinfoFlags,
    /// Offset of a chunk: a multiple of 256 inside the current page.
    ChunkRange,
    /// Offset of a chunk: higher than the chunk before.
    ChunkOrder,
}

impl Field {
    /// What is expected, for people.
    #[must_use]
    pub const fn rule(self) -> &'static str {
        match self {
            Self::Size => "SIZE: expected a power of two of at least 0x2000",
            Self::Ssaframesize => "SSAFRAMESIZE: expected at least 1",
            Self::PageAlignment => "page offset: expected a multiple of 0x1000",
            Self::PageRange => "page offset: expected one inside ELRANGE",
            Self::PageOrder => "page offset: expected one above the page before",
            Self::SecinfoFlags => {
                "SECINFO.FLAGS: expected PT_REG, W only with R, or PT_TCS without permissions"
            }
            Self::ChunkRange => "chunk offset: expected a multiple of 0x100 inside the page",
            Self::ChunkOrder => "chunk offset: expected one above the chunk before",
        }
    }
}

impl<E: core::fmt::Display> core::fmt::Display for SgxsError<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Truncated { at, expected, got } => {
                write!(
                    f,
                    "sgxs stream ends at byte {at}: expected {expected} more bytes, got {got}"
                )
            }
            Self::Tag { at, expected, got } => {
                write!(f, "sgxs record at byte {at}: expected {expected}, got tag \"")?;
                write!(f, "{}\"", got.escape_ascii())
            }
            Self::Reserved { at, got } => {
                write!(f, "sgxs reserved byte {at}: expected 0, got {got:#04x}")
            }
            Self::Field { at, field, got } => {
                write!(f, "sgxs record at byte {at}: {}, got {got:#x}", field.rule())
            }
            Self::PartlyMeasured { page, mask } => write!(
                f,
                "sgxs page at {page:#x}: expected all or no chunks measured, got mask {mask:#06x}"
            ),
        }
    }
}

impl<E: core::error::Error> core::error::Error for SgxsError<E> {}

impl<E> SgxsError<E> {
    fn field(at: u64, field: Field, got: u64) -> Self {
        Self::Field { at, field, got }
    }
}

/// The rules for ECREATE that reader and writer share.
fn check_ecreate<E>(at: u64, ecreate: &Ecreate) -> Result<(), SgxsError<E>> {
    if !ecreate.size.is_power_of_two() || ecreate.size < 2 * PAGE_SIZE as u64 {
        return Err(SgxsError::field(at, Field::Size, ecreate.size));
    }
    if ecreate.ssaframesize_pages == 0 {
        return Err(SgxsError::field(at, Field::Ssaframesize, 0));
    }
    Ok(())
}

/// The rules for EADD that reader and writer share. `next` is the lowest offset that may come.
fn check_eadd<E>(
    at: u64,
    ecreate: &Ecreate,
    next: u64,
    offset: u64,
    secinfo: &Secinfo,
) -> Result<(), SgxsError<E>> {
    if !offset.is_multiple_of(PAGE_SIZE as u64) {
        return Err(SgxsError::field(at, Field::PageAlignment, offset));
    }
    if offset >= ecreate.size {
        return Err(SgxsError::field(at, Field::PageRange, offset));
    }
    if offset < next {
        return Err(SgxsError::field(at, Field::PageOrder, offset));
    }
    if !is_addable(secinfo.flags) {
        return Err(SgxsError::field(at, Field::SecinfoFlags, secinfo.flags.bits()));
    }
    Ok(())
}

/// Whether EADD takes these flags. Permissions on a TCS, which the CPU ignores, are refused too: tools that
/// hash the stream as it lies would get another measurement than the CPU.
fn is_addable(flags: SecinfoFlags) -> bool {
    let permissions = flags & SecinfoFlags::RWX;
    let others = flags.difference(SecinfoFlags::RWX | SecinfoFlags::PAGE_TYPE);
    others.is_empty()
        && match flags.page_type() {
            Some(PageType::Tcs) => permissions.is_empty(),
            Some(PageType::Reg) => {
                permissions.contains(SecinfoFlags::R) || !permissions.contains(SecinfoFlags::W)
            }
            _ => false,
        }
}

const _: () = assert!(CHUNKS == u16::BITS as usize, "a chunk mask is a u16");
