//! A machine-checked model of the attested session (`docs/spec/bound-v1.md`).
//!
//! A breadth-first search visits every state that a few honest endpoints and an intruder can reach. The
//! intruder is the network: it decides who is connected to whom, ends sessions itself under any key whose
//! private half it has, chooses its nonces freely, keeps every quote it was ever sent, and may have what a
//! [`Leaks`] gives it. Cryptography is perfect, TLS 1.3 is taken at its word: two ends of one session, and
//! nobody else, share its exporter values, and who presents a key has its private half.
//!
//! The goal is [`AGREEMENT`]: whoever accepts evidence in a session talks, in that very session, to the
//! enclave that the evidence names. [`CAN_ACCEPT`] shows that the search is not vacuous.
//!
//! What it does not show: anything about more endpoints than a scenario has, about parsing, or about time.
#![forbid(unsafe_code)]

mod intruder;
mod protocol;
mod scenario;
mod term;

pub use protocol::{AGREEMENT, Act, CAN_ACCEPT, State};
pub use scenario::{Endpoint, Leaks, Level, Scenario};
pub use term::{Binder, Key, Nonce, Party, Quote, ReportData, SessionId, Side, Transcript};
