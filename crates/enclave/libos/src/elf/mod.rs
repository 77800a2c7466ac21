//! Programs as files: ELF64 for x86-64, statically or dynamically linked.

mod bytes;
mod load;
mod parse;
mod script;
mod stack;

pub use bytes::{Bytes, FileBytes};
pub use load::{Executable, Launch, Start, load};
pub use parse::{ElfError, Kind, Program, Segment, parse};
pub use script::{HEAD_SIZE as SCRIPT_HEAD_SIZE, Script, script};
