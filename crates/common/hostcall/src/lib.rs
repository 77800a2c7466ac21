//! hostcall
#![no_std]
