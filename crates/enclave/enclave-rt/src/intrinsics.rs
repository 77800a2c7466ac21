//! What the compiler calls by name and nobody else provides: memory functions, and the two symbols that the
//! prebuilt `core` and `alloc`, which are compiled for unwinding, refer to.
//!
//! The memory functions are assembly, for the compiler would turn their bodies into calls of themselves.
//! Small sizes dominate (copies of structures and short strings): they are done by at most four overlapping
//! moves; long ones by `rep movsb`, in between by 64-byte steps. SSE only, and DF is clear by convention.

use core::arch::naked_asm;

/// From here on `rep` is faster than a loop.
const REP_FROM: usize = 1024;

/// C's `memcpy`.
///
/// # Safety
/// As in C.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "cmp rdx, 16",
        "jb 4f",
        "cmp rdx, 32",
        "ja 2f",
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + rdx - 16]",
        "movups [rdi], xmm0",
        "movups [rdi + rdx - 16], xmm1",
        "ret",
        "2:",
        "cmp rdx, {REP_FROM}",
        "jae 9f",
        // The last 64 bytes (or, up to 64, both ends) are read before anything is written.
        "cmp rdx, 64",
        "ja 3f",
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + 16]",
        "movups xmm2, [rsi + rdx - 32]",
        "movups xmm3, [rsi + rdx - 16]",
        "movups [rdi], xmm0",
        "movups [rdi + 16], xmm1",
        "movups [rdi + rdx - 32], xmm2",
        "movups [rdi + rdx - 16], xmm3",
        "ret",
        "3:",
        "movups xmm4, [rsi + rdx - 64]",
        "movups xmm5, [rsi + rdx - 48]",
        "movups xmm6, [rsi + rdx - 32]",
        "movups xmm7, [rsi + rdx - 16]",
        "lea r8, [rdi + rdx - 64]",
        "31:",
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + 16]",
        "movups xmm2, [rsi + 32]",
        "movups xmm3, [rsi + 48]",
        "movups [rdi], xmm0",
        "movups [rdi + 16], xmm1",
        "movups [rdi + 32], xmm2",
        "movups [rdi + 48], xmm3",
        "add rsi, 64",
        "add rdi, 64",
        "cmp rdi, r8",
        "jb 31b",
        "movups [r8], xmm4",
        "movups [r8 + 16], xmm5",
        "movups [r8 + 32], xmm6",
        "movups [r8 + 48], xmm7",
        "ret",
        "4:",
        "cmp edx, 8",
        "jb 5f",
        "mov rcx, [rsi]",
        "mov r8, [rsi + rdx - 8]",
        "mov [rdi], rcx",
        "mov [rdi + rdx - 8], r8",
        "ret",
        "5:",
        "cmp edx, 4",
        "jb 6f",
        "mov ecx, [rsi]",
        "mov r8d, [rsi + rdx - 4]",
        "mov [rdi], ecx",
        "mov [rdi + rdx - 4], r8d",
        "ret",
        "6:",
        "test edx, edx",
        "jz 7f",
        "movzx ecx, byte ptr [rsi]",
        "cmp edx, 1",
        "je 8f",
        "movzx r8d, word ptr [rsi + rdx - 2]",
        "mov [rdi + rdx - 2], r8w",
        "8:",
        "mov [rdi], cl",
        "7:",
        "ret",
        "9:",
        "mov rcx, rdx",
        "rep movsb",
        "ret",
        REP_FROM = const REP_FROM,
    )
}

/// C's `memmove`.
///
/// # Safety
/// As in C.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    naked_asm!(
        // Forward is right unless the destination starts inside the source.
        "mov rax, rdi",
        "mov rcx, rdi",
        "sub rcx, rsi",
        "cmp rcx, rdx",
        "jae {memcpy}",
        // Up to 64 bytes memcpy reads everything before it writes, except in the 2 and 3 byte case.
        "cmp rdx, 64",
        "ja 2f",
        "cmp rdx, 4",
        "jae {memcpy}",
        "test edx, edx",
        "jz 9f",
        "1:",
        "movzx ecx, byte ptr [rsi + rdx - 1]",
        "mov [rdi + rdx - 1], cl",
        "dec rdx",
        "jnz 1b",
        "9:",
        "ret",
        // Backward by 64, the first 64 bytes last from registers.
        "2:",
        "movups xmm4, [rsi]",
        "movups xmm5, [rsi + 16]",
        "movups xmm6, [rsi + 32]",
        "movups xmm7, [rsi + 48]",
        "3:",
        "movups xmm0, [rsi + rdx - 16]",
        "movups xmm1, [rsi + rdx - 32]",
        "movups xmm2, [rsi + rdx - 48]",
        "movups xmm3, [rsi + rdx - 64]",
        "movups [rdi + rdx - 16], xmm0",
        "movups [rdi + rdx - 32], xmm1",
        "movups [rdi + rdx - 48], xmm2",
        "movups [rdi + rdx - 64], xmm3",
        "sub rdx, 64",
        "cmp rdx, 64",
        "ja 3b",
        "movups [rdi], xmm4",
        "movups [rdi + 16], xmm5",
        "movups [rdi + 32], xmm6",
        "movups [rdi + 48], xmm7",
        "ret",
        memcpy = sym memcpy,
    )
}

/// C's `memset`.
///
/// # Safety
/// As in C.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
    naked_asm!(
        "mov r9, rdi",
        "movzx eax, sil",
        "cmp rdx, {REP_FROM}",
        "jae 9f",
        "movabs rcx, 0x0101010101010101",
        "imul rax, rcx",
        "cmp rdx, 16",
        "jb 4f",
        "movq xmm0, rax",
        "punpcklqdq xmm0, xmm0",
        "lea r8, [rdi + rdx - 16]",
        "2:",
        "cmp rdi, r8",
        "jae 3f",
        "movups [rdi], xmm0",
        "add rdi, 16",
        "jmp 2b",
        "3:",
        "movups [r8], xmm0",
        "mov rax, r9",
        "ret",
        "4:",
        "cmp edx, 8",
        "jb 5f",
        "mov [rdi], rax",
        "mov [rdi + rdx - 8], rax",
        "mov rax, r9",
        "ret",
        "5:",
        "cmp edx, 4",
        "jb 6f",
        "mov [rdi], eax",
        "mov [rdi + rdx - 4], eax",
        "mov rax, r9",
        "ret",
        "6:",
        "test edx, edx",
        "jz 7f",
        "mov [rdi], al",
        "cmp edx, 1",
        "je 7f",
        "mov [rdi + rdx - 2], ax",
        "7:",
        "mov rax, r9",
        "ret",
        "9:",
        "mov rcx, rdx",
        "rep stosb",
        "mov rax, r9",
        "ret",
        REP_FROM = const REP_FROM,
    )
}

/// C's `memcmp`. Not constant time.
///
/// # Safety
/// As in C.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, length: usize) -> i32 {
    naked_asm!(
        "cmp rdx, 8",
        "jb 3f",
        "lea r8, [rdx - 8]",
        "xor ecx, ecx",
        "2:",
        "mov rax, [rdi + rcx]",
        "mov r9, [rsi + rcx]",
        "cmp rax, r9",
        "jne 8f",
        "add rcx, 8",
        "cmp rcx, r8",
        "jbe 2b",
        // The last eight bytes, some of them for the second time.
        "mov rax, [rdi + r8]",
        "mov r9, [rsi + r8]",
        "cmp rax, r9",
        "jne 8f",
        "xor eax, eax",
        "ret",
        "8:",
        "bswap rax",
        "bswap r9",
        "cmp rax, r9",
        "sbb eax, eax",
        "or eax, 1",
        "ret",
        "3:",
        "xor ecx, ecx",
        "4:",
        "cmp rcx, rdx",
        "jae 9f",
        "movzx eax, byte ptr [rdi + rcx]",
        "movzx r9d, byte ptr [rsi + rcx]",
        "inc rcx",
        "sub eax, r9d",
        "jz 4b",
        "ret",
        "9:",
        "xor eax, eax",
        "ret",
    )
}

/// C's `bcmp`.
///
/// # Safety
/// As in C.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, length: usize) -> i32 {
    naked_asm!("jmp {memcmp}", memcmp = sym memcmp)
}

/// C's `strlen`, which `core` asks for.
///
/// # Safety
/// As in C.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn strlen(text: *const u8) -> usize {
    naked_asm!(
        "xor eax, eax",
        "2:",
        "cmp byte ptr [rdi + rax], 0",
        "je 3f",
        "inc rax",
        "jmp 2b",
        "3:",
        "ret",
    )
}

/// Referred to by prebuilt code that unwinding would reach; panics abort here, so nothing does.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    panic!("nothing unwinds in the enclave")
}

/// As [`_Unwind_Resume`].
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() -> ! {
    panic!("nothing unwinds in the enclave")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn bytes() -> Vec<u8> {
        (0..3000_u32).map(|index| (index * 7 + index / 256) as u8).collect()
    }

    fn lengths() -> impl Iterator<Item = usize> {
        (0..=300).chain([511, 512, 1000, 1023, 1024, 1025, 1999])
    }

    #[test]
    fn memcpy_copies_exactly() {
        let from = bytes();
        for length in lengths() {
            for shift in [0, 1, 7, 15] {
                let mut to = std::vec![0xee; 2100];
                // SAFETY: both are long enough.
                let result =
                    unsafe { memcpy(to.as_mut_ptr().add(16), from.as_ptr().add(shift), length) };
                assert_eq!(result, to.as_mut_ptr().wrapping_add(16));
                assert_eq!(to[16..16 + length], from[shift..shift + length], "{length} {shift}");
                assert!(to[..16].iter().chain(&to[16 + length..]).all(|byte| *byte == 0xee));
            }
        }
    }

    #[test]
    fn memmove_is_right_for_every_overlap() {
        for length in lengths().filter(|length| *length <= 1100) {
            for (from, to) in
                [(64, 65), (65, 64), (64, 80), (80, 64), (64, 127), (127, 64), (64, 64)]
            {
                let mut buffer = bytes();
                let mut expected = buffer.clone();
                expected.copy_within(from..from + length, to);
                // SAFETY: both ranges lie in the buffer.
                unsafe { memmove(buffer.as_mut_ptr().add(to), buffer.as_ptr().add(from), length) };
                assert!(buffer == expected, "{length} from {from} to {to}");
            }
        }
    }

    #[test]
    fn memset_sets_exactly() {
        for length in lengths() {
            let mut to = std::vec![0xee; 2100];
            // SAFETY: long enough.
            let result = unsafe { memset(to.as_mut_ptr().add(3), 0x1a5, length) };
            assert_eq!(result, to.as_mut_ptr().wrapping_add(3));
            assert!(to[3..3 + length].iter().all(|byte| *byte == 0xa5), "{length}");
            assert!(to[..3].iter().chain(&to[3 + length..]).all(|byte| *byte == 0xee), "{length}");
        }
    }

    #[test]
    fn memcmp_orders_as_bytes() {
        let left = bytes();
        for length in lengths() {
            let mut right = left.clone();
            // SAFETY: both are long enough.
            let compare = |right: &[u8]| unsafe { memcmp(left.as_ptr(), right.as_ptr(), length) };
            assert_eq!(compare(&right), 0);
            right[length] ^= 0xff;
            assert_eq!(compare(&right), 0, "a byte after the end");
            // SAFETY: as above.
            assert_eq!(unsafe { bcmp(left.as_ptr(), right.as_ptr(), length) }, 0);
            right[length] ^= 0xff;
            for at in (0..length).step_by(1 + length / 40) {
                for change in [1, 0x80, 0xff] {
                    right[at] ^= change;
                    let expected = left[at].cmp(&right[at]);
                    assert_eq!(compare(&right).cmp(&0), expected, "{length} at {at}");
                    right[at] ^= change;
                }
            }
        }
    }

    #[test]
    fn strlen_counts() {
        // SAFETY: terminated.
        assert_eq!(unsafe { strlen(c"enclave".as_ptr().cast()) }, 7);
        // SAFETY: terminated.
        assert_eq!(unsafe { strlen(c"".as_ptr().cast()) }, 0);
    }
}
