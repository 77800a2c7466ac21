//! The untrusted runtime: loads an enclave and serves it.
//!
//! [`Enclave`] is the handle: it loads a [`Pack`] through any [`sgx::driver::Driver`], starts it, passes signals
//! and exec requests in and gives the exit status out. Below it lie a pool of host threads (one per TCS in
//! use), the run loop that carries out the entry and exit contract of the `hostcall` crate, and the services:
//! files of the container's root, side data of the pack, streams, events, memory and threads.
//!
//! Guaranteed: a request of the enclave is checked before it is served; a malformed one ends the enclave with
//! the field named. The enclave never reaches a file outside the root it was given, nor a descriptor it was not
//! given. Not guaranteed: anything to the enclave. The enclave does not trust this code, and what this code
//! says is verified inside.
//!
//! The process must not fork after [`Enclave::load`] and is best position-independent: on the emulator the
//! enclave lies in this process's low addresses.
//!
//! Lock order: sessions, then streams, then events; the thread table and the log are leaves. No lock is held
//! while the enclave runs.
#![warn(missing_docs)]

mod block;
mod builtin;
mod end;
mod handle;
mod hw;
mod interrupt;
mod load;
mod log;
mod pack;
mod parker;
mod pool;
mod process;
mod run;
pub mod seccomp;
mod service;

pub use builtin::BuiltIn;
pub use end::{ExitStatus, SessionEnd, StopReason};
pub use handle::{Enclave, HandleError, LoadError, Options};
pub use hw::{Hw, HwEnclave};
pub use load::SgxsError;
pub use log::{Level, Log};
pub use pack::{Pack, PackError};
pub use service::quotes::QuoteService;
