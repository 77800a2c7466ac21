//! `shelter`: decides off the host whether evidence is to be trusted.
#![forbid(unsafe_code)]

fn main() {}
