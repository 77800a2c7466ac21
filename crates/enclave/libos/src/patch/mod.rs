//! Rewriting of system calls in programs.
//!
//! A SYSCALL inside an enclave is an exception, some 20 to 300 times dearer than a call. Sites in files are
//! found when a page is first filled and turned into a jump to a *trampoline*, which enters the
//! library OS. `0F 05` itself stays where it is: a jump straight to it still traps, correctly. CPUID becomes
//! UD2, of the same length, so that it traps on every driver.
//!
//! Guarantees: a patch never changes what a program computes, as far as its control flow is direct or goes
//! through the start of a function; where that cannot be seen the site is left to trap. Does not
//! guarantee that every site is found: what is missed traps.

mod functions;
mod image;
mod scan;
mod trampoline;

pub use image::{CHUNK_SIZE, Image};
pub use scan::{Action, Site};
pub use trampoline::{Location, Patch, SLOT_SIZE, Trampolines};
