//! The launcher's machine code: a list of system calls, then `execve`.
//!
//! It is data to this program and never runs in it. [`crate::launcher`] puts it into an ELF file of its own,
//! with the list behind it, and says what it is for. What the code does:
//!
//! - makes the calls of the list in order, with their arguments as they stand there;
//! - then `execve(argv[0], argv + 1, envp)` with what it was started with;
//! - after a failure that the list does not let pass, writes the call's text, for `execve` the path, a zero
//!   byte and `errno` in two digits of base 64 (from `'0'`, the lower first) to the descriptor for reports,
//!   and ends with status 1. Where the filter forbids to write, the end is all there is to see.
//!
//! It has no memory but its stack, calls nothing, and reads nothing but the list.

use std::ptr::addr_of;

// In: the stack as `execve` leaves it (System V ABI, AMD64 supplement, "Process Initialization"). Behind the
// code, as `crate::launcher::image` lays it out: the descriptor for reports, then 80 bytes a call: number (-1
// for execve), six arguments, address and length of the text, flags.
//
// rbx: the first stack. r12: the call. r13: the descriptor for reports.
std::arch::global_asm!(
    ".pushsection .rodata.inclavare_launcher, \"a\", @progbits",
    ".balign 8",
    ".globl inclavare_launcher_start",
    ".globl inclavare_launcher_end",
    ".hidden inclavare_launcher_start",
    ".hidden inclavare_launcher_end",
    "inclavare_launcher_start:",
    "    mov rbx, rsp",
    "    lea r12, [rip + inclavare_launcher_end]",
    "    mov r13, [r12]",
    "    add r12, 8",
    "2:  mov rax, [r12]",
    "    test rax, rax",
    "    js 6f",
    "    mov rdi, [r12 + 8]",
    "    mov rsi, [r12 + 16]",
    "    mov rdx, [r12 + 24]",
    "    mov r10, [r12 + 32]",
    "    mov r8, [r12 + 40]",
    "    mov r9, [r12 + 48]",
    "    syscall",
    "    mov rcx, [r12 + 72]",
    "    test rax, rax",
    "    js 4f",
    "    jnz 3f",
    "    test ecx, 8", // the end of a socket
    "    jnz 9f",
    "3:  test ecx, 4", // reports go to the result
    "    jz 5f",
    "    mov r13, rax",
    "    jmp 5f",
    "4:  cmp rax, -4", // EINTR
    "    jne 22f",
    "    test ecx, 1",
    "    jnz 2b",
    "22: test ecx, 2", // may fail
    "    jz 7f",
    "5:  add r12, 80",
    "    jmp 2b",
    "6:  mov rdi, [rbx + 8]",
    "    lea rsi, [rbx + 16]",
    "    mov rcx, [rbx]",
    "    lea rdx, [rbx + rcx * 8 + 16]",
    "    mov eax, 59", // execve
    "    syscall",
    "7:  neg eax",
    "    mov ebp, eax",
    "    sub rsp, 8192", // a path is at most 4096 bytes, a text far less
    "    mov rdi, rsp",
    "    mov rsi, [r12 + 56]",
    "    mov rcx, [r12 + 64]",
    "    rep movsb",
    "    cmp qword ptr [r12], 0",
    "    jns 8f",
    "    mov rsi, [rbx + 8]",
    "77: lodsb",
    "    test al, al",
    "    jz 8f",
    "    stosb",
    "    jmp 77b",
    "8:  mov byte ptr [rdi], 0",
    "    mov eax, ebp",
    "    and eax, 63",
    "    add eax, 48",
    "    mov [rdi + 1], al",
    "    shr ebp, 6",
    "    add ebp, 48",
    "    mov [rdi + 2], bpl",
    "    lea rdx, [rdi + 3]",
    "    mov rsi, rsp",
    "    sub rdx, rsi",
    "    mov edi, r13d",
    "    mov eax, 1", // write
    "    syscall",
    "9:  mov edi, 1",
    "    mov eax, 231", // exit_group
    "    syscall",
    "    ud2", // a filter that forbids even this
    "    .balign 8",
    "inclavare_launcher_end:",
    ".popsection",
);

unsafe extern "C" {
    static inclavare_launcher_start: u8;
    static inclavare_launcher_end: u8;
}

/// The code; its length is a multiple of eight bytes.
pub(crate) fn launcher_code() -> &'static [u8] {
    let (start, end) = (addr_of!(inclavare_launcher_start), addr_of!(inclavare_launcher_end));
    let length = end as usize - start as usize;
    // SAFETY: both labels are in one read-only section of this program, the second after the first, and
    // what lies between is initialised bytes that nothing changes.
    unsafe { std::slice::from_raw_parts(start, length) }
}
