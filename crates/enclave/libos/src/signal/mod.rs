//! Signals.

pub mod frame;
