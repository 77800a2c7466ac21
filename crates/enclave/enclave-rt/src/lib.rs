//! The enclave run time: what lies between the CPU and the library OS.
//!
//! It owns the entry point and the thread states, the exception entry, host calls, pages, threads, clocks
//! and entropy, and implements [`libos::platform::Platform`] over them, so that the library OS needs no
//! `unsafe`. All of it assumes a host that is hostile at every step: what the host decides (when a thread is
//! entered, interrupted or resumed, with which registers, what a call answers, which pages are there) is
//! checked here or has no effect.
//!
//! The image crate links this with the library OS and defines `enclave_main`, which the first thread runs.
//!
//! | Module | What |
//! |---|---|
//! | `entry` | first instructions, last instructions |
//! | `start` | a thread's first entry; self-checks |
//! | `thread` | the page behind GS |
//! | `user`, `xstate` | to user mode and back; vector state |
//! | `exception` | what an asynchronous exit means |
//! | `usercopy`, `pages`, `memory` | user memory |
//! | `heap` | the library OS's heap |
//! | `threads` | slots, start, park, kick |
//! | `host`, `untrusted` | host calls; addresses that the host gave |
//! | `leaf` | ENCLU |
//! | `attest` | reports, seal keys |
//! | `clock`, `random`, `chacha` | time and entropy |
//! | `runtime` | the platform |
//! | `intrinsics` | memcpy and its like, for the linker |
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod attest;
mod chacha;
mod clock;
mod entry;
mod exception;
mod heap;
mod host;
mod intrinsics;
mod layout;
mod leaf;
mod memory;
mod pages;
mod random;
mod runtime;
mod sha256;
mod start;
mod thread;
mod threads;
mod untrusted;
mod user;
mod usercopy;
mod xstate;

pub use entry::_enclave_entry;

use core::alloc::{GlobalAlloc, Layout};

/// The library OS's heap, as the image's global allocator.
pub struct Allocator;

// SAFETY: hands every request to the one heap, which keeps the contract.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { start::HEAP.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { start::HEAP.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { start::HEAP.realloc(block, layout, new_size) }
    }
}

/// What the image's panic handler does: says why to the operator and stops the enclave.
pub fn panicked(info: &core::panic::PanicInfo<'_>) -> ! {
    host::refuse(format_args!("{info}"))
}
