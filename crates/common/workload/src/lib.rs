//! workload
#![no_std]
