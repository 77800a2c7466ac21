//! Access to user memory that may fault.
//!
//! Rights of user pages change while other threads use them, and the host can take a page away at any
//! moment, so that no check before an access can promise that it succeeds. These routines are the listed
//! instructions where the exception entry answers a page fault by making the routine return a failure.

use core::arch::naked_asm;
use core::ops::Range;

/// Failure, in RAX.
const FAILED: u64 = 1 << 32;

/// Copies `length` bytes forward; whether all were copied.
///
/// # Safety
/// Both ranges lie in the enclave and do not overlap; one may be absent user memory, the other is the
/// caller's own.
pub(crate) unsafe fn copy(to: *mut u8, from: *const u8, length: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe { raw_copy(to, from, length) != FAILED }
}

/// Fills `length` bytes; whether all were written.
///
/// # Safety
/// As [`copy`].
pub(crate) unsafe fn fill(to: *mut u8, byte: u8, length: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe { raw_fill(to, byte, length) != FAILED }
}

/// Loads a word with acquire ordering.
///
/// # Safety
/// `from` is aligned and lies in the enclave.
pub(crate) unsafe fn load(from: *const u32) -> Option<u32> {
    // SAFETY: the caller's promise.
    u32::try_from(unsafe { raw_load(from) }).ok()
}

/// Compares and exchanges a word; the value found.
///
/// # Safety
/// `at` is aligned and lies in the enclave.
pub(crate) unsafe fn compare_exchange(at: *mut u32, current: u32, new: u32) -> Option<u32> {
    // SAFETY: the caller's promise.
    u32::try_from(unsafe { raw_compare_exchange(at, current, new) }).ok()
}

/// All instructions that may fault.
pub(crate) fn instructions() -> Range<u64> {
    (&raw const __rt_copy) as u64..(&raw const __rt_copy_end) as u64
}

/// Where they continue after a fault.
pub(crate) fn failed() -> u64 {
    // Not a symbol of its own: the compiler takes distinct symbols to have distinct addresses.
    instructions().end
}

unsafe extern "C" {
    static __rt_copy: u8;
    static __rt_copy_end: u8;
    fn raw_copy(to: *mut u8, from: *const u8, length: usize) -> u64;
    fn raw_fill(to: *mut u8, byte: u8, length: usize) -> u64;
    fn raw_load(from: *const u32) -> u64;
    fn raw_compare_exchange(at: *mut u32, current: u32, new: u32) -> u64;
}

/// The routines, in one piece. None of them moves RSP, so that `ret` at the failure label returns to the
/// caller whatever instruction faulted.
#[unsafe(naked)]
unsafe extern "C" fn routines() {
    naked_asm!(
        ".hidden __rt_copy",
        ".hidden __rt_copy_end",
        ".globl __rt_copy, __rt_copy_end",
        ".globl raw_copy, raw_fill, raw_load, raw_compare_exchange",
        ".hidden raw_copy",
        ".hidden raw_fill",
        ".hidden raw_load",
        ".hidden raw_compare_exchange",
        "__rt_copy:",
        "raw_copy:",
        "xor eax, eax",
        "mov rcx, rdx",
        "cmp rdx, 256",
        "jae 4f",
        // Words, then bytes.
        "shr rcx, 3",
        "jz 3f",
        "2:",
        "mov r8, [rsi]",
        "mov [rdi], r8",
        "add rsi, 8",
        "add rdi, 8",
        "dec rcx",
        "jnz 2b",
        "3:",
        "and edx, 7",
        "jz 6f",
        "5:",
        "mov r8b, [rsi]",
        "mov [rdi], r8b",
        "inc rsi",
        "inc rdi",
        "dec edx",
        "jnz 5b",
        "6:",
        "ret",
        "4:",
        "rep movsb",
        "ret",
        // Short ones by a loop: REP takes longer to start than they take.
        "raw_fill:",
        "mov eax, esi",
        "mov rcx, rdx",
        "cmp rdx, 32",
        "jae 8f",
        "test edx, edx",
        "jz 9f",
        "7:",
        "mov [rdi], al",
        "inc rdi",
        "dec edx",
        "jnz 7b",
        "9:",
        "xor eax, eax",
        "ret",
        "8:",
        "rep stosb",
        "xor eax, eax",
        "ret",
        "raw_load:",
        "mov eax, [rdi]",
        "ret",
        "raw_compare_exchange:",
        "mov eax, esi",
        "lock cmpxchg [rdi], edx",
        "ret",
        "__rt_copy_end:",
        "movabs rax, {FAILED}",
        "ret",
        FAILED = const FAILED,
    )
}

/// Keeps [`routines`] in the program: only its labels are referred to.
#[used]
static ROUTINES: unsafe extern "C" fn() = routines;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_every_length_exactly() {
        let from: [u8; 700] = core::array::from_fn(|index| index as u8 ^ 0x5a);
        for length in 0..=600 {
            let mut to = [0xee; 700];
            // SAFETY: both are our own and long enough.
            assert!(unsafe { copy(to.as_mut_ptr(), from[3..].as_ptr(), length) });
            assert_eq!(to[..length], from[3..3 + length]);
            assert!(to[length..].iter().all(|byte| *byte == 0xee), "{length}");
        }
    }

    #[test]
    fn fills_every_length_exactly() {
        for length in 0..=100 {
            let mut to = [0xee; 120];
            // SAFETY: our own and long enough.
            assert!(unsafe { fill(to.as_mut_ptr(), 0x11, length) });
            assert!(to[..length].iter().all(|byte| *byte == 0x11), "{length}");
            assert!(to[length..].iter().all(|byte| *byte == 0xee), "{length}");
        }
    }

    #[test]
    fn fills_and_exchanges() {
        let mut bytes = [1; 20];
        // SAFETY: our own memory, long enough.
        assert!(unsafe { fill(bytes.as_mut_ptr().add(2), 9, 16) });
        assert_eq!((bytes[1], bytes[2], bytes[17], bytes[18]), (1, 9, 9, 1));
        let mut word = u32::MAX;
        // SAFETY: our own aligned word.
        unsafe {
            assert_eq!(load(&word), Some(u32::MAX));
            assert_eq!(compare_exchange(&mut word, 0, 5), Some(u32::MAX));
            assert_eq!(compare_exchange(&mut word, u32::MAX, 5), Some(u32::MAX));
        }
        assert_eq!(word, 5);
    }

    #[test]
    fn every_routine_is_in_the_listed_range() {
        let listed = instructions();
        assert_eq!(listed.start, raw_copy as *const () as u64);
        for routine in
            [raw_fill as *const (), raw_load as *const (), raw_compare_exchange as *const ()]
        {
            assert!(listed.contains(&(routine as u64)));
        }
        assert!(!listed.contains(&failed()));
    }
}
