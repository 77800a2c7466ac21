//! Tests of the whole layer, through its system calls.

mod calls;
mod differential;
mod system;
mod verified;
