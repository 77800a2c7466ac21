//! Tests of the whole layer, through its system calls.

mod attestation;
mod calls;
mod differential;
mod inet;
mod inet_differential;
mod outside;
mod random;
mod sockets;
mod system;
mod verified;
