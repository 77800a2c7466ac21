//! Programs as files: ELF64 for x86-64, statically or dynamically linked.

mod bytes;
mod parse;

pub use bytes::{Bytes, FileBytes};
pub use parse::{ElfError, Kind, Program, Segment, parse};
