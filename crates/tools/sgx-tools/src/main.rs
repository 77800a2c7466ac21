//! `sgx-tools`: what the architectural enclaves offer, as commands.
#![forbid(unsafe_code)]

fn main() {}
