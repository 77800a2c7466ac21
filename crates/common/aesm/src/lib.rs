//! The protocol of Intel's architectural enclave service manager (aesmd): messages, framing, client, server.
//!
//! A program asks it for what only architectural enclaves can give: the quoting enclave's TARGETINFO, quotes,
//! and launch tokens. The [`Client`] speaks with Intel's daemon and with the emulator's quoting service.
//!
//! Only DCAP (ECDSA) quotes: Intel retired EPID in 2025. Neither side trusts the other: lengths are bounded,
//! every message has a deadline, and the client checks the form of what it gets. Whether a quote is genuine
//! is for a verifier to say, not for this crate.
#![forbid(unsafe_code)]

mod att_key_id;
mod client;
mod frame;
pub mod message;
pub mod server;
mod status;

pub use att_key_id::{ATT_KEY_ID_SIZE, Algorithm, AttKeyId};
pub use client::{
    Client, ClientError, DEFAULT_SOCKET, EINITTOKEN_SIZE, QuoteAndReport, REPORT_SIZE,
    TARGETINFO_SIZE, fuzz as fuzz_reply,
};
pub use frame::{FrameError, MAX_FRAME, read_frame, write_frame};
pub use prost::Message;
pub use status::Status;
