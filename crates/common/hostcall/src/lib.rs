//! The call ABI between an enclave and the host process that contains it.
//!
//! The two sides distrust each other. They share one *block* of untrusted memory per thread; its format is
//! specified field by field in this crate's `README.md`, and this crate holds both halves, so that they
//! cannot drift apart: [`Request`] is the typed form of a call, [`enclave::Caller`] writes it into the block
//! and checks what comes back, [`host::Server`] decodes it and writes the reply.
//!
//! Guaranteed: decoding is total on both sides (any bytes give a value or a typed error, never a panic); every
//! word of the block is read once and the copy is used; a length that passes a decoder fits the block and
//! what was asked. Not guaranteed: that the *contents* of a reply are true. Who uses them verifies them.
#![no_std]

mod address;
pub mod enclave;
pub mod event;
pub mod fuzz;
pub mod host;
mod layout;
mod memory;
mod plausible;
mod request;

pub use address::{address_of, address_words};
pub use event::Event;
pub use layout::{
    BLOCK_SIZE, DATA_OFFSET, DATA_SIZE, ExitReason, MAGIC, MAX_REQUEST, NO_DEADLINE, REPORT_SIZE,
    TARGETINFO_SIZE, VERSION,
};
pub use memory::{Memory, RawBlock, SliceBlock};
pub use plausible::READINESS;
pub use request::{BadRequest, Half, Protection, Request, SideData, TypeChange, Wire};
