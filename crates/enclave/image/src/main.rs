//! The enclave program.
#![no_std]
#![no_main]

use core::arch::naked_asm;

/// First instruction of the enclave.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.enclave_entry")]
unsafe extern "C" fn _enclave_entry() {
    naked_asm!(
        "mov rbx, rcx",
        "mov edi, 4",
        "mov eax, 4",
        ".byte 0x0f, 0x01, 0xd7, 0x0f, 0x1f, 0x40, 0x00",
        "ud2"
    )
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
