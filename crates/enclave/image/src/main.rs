//! The enclave program: the run time and the library OS, linked.
#![no_std]
#![no_main]

#[cfg(feature = "smoke")]
mod smoke;

use libos::platform::Platform;

#[global_allocator]
static ALLOCATOR: enclave_rt::Allocator = enclave_rt::Allocator;

/// What the first thread runs.
#[unsafe(no_mangle)]
fn enclave_main(platform: &'static dyn Platform, manifest: &'static [u8]) -> ! {
    #[cfg(feature = "smoke")]
    smoke::boot(platform, manifest);
    #[cfg(not(feature = "smoke"))]
    libos::boot(platform, manifest)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    enclave_rt::panicked(info)
}
