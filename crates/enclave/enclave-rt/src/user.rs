//! To user mode and back.
//!
//! [`enter`] loads the user's registers and jumps. A patched system call site comes back through
//! [`syscall_entry`]; everything else comes back through the exception entry, which makes ERESUME continue
//! at [`user_return`]. From setting the phase to User until the jump, [`enter`] changes nothing that the
//! context holds, so that an interruption there is rolled back by forgetting it; from the first instruction
//! of [`syscall_entry`] on, an interruption is rolled forward by noting the kick. Where [`syscall_entry`]
//! goes back to the program itself, it sets the phase when every register is the program's, so that an
//! interruption there is one of the program after its call.

use core::arch::naked_asm;
use core::mem::offset_of;
use core::ops::Range;

use libos::platform::{Answer, Registers, UserContext, XState};
use libos::syscall::Args;

use crate::thread::{
    CONTEXT, FS_LIVE, KICK, MXCSR_REPLACED, PHASE, Thread, USER_FRAME, USER_FS, USER_MXCSR,
    USER_RIP, VECTORS, phase, vectors,
};
use crate::xstate::{MXCSR_CONTROL, MXCSR_DEFAULT};

/// What [`enter`] answers.
pub(crate) mod back {
    /// A patched system call.
    pub(crate) const SYSCALL: u64 = 0;
    /// `Thread::exit` says.
    pub(crate) const EXIT: u64 = 1;
    /// A kick came before user mode was reached; the context is what user mode would have begun with.
    pub(crate) const INTERRUPTED: u64 = 2;
    /// A patched system call that was answered; the context has the result.
    pub(crate) const CALLED: u64 = 3;
}

/// How [`enter`] loads vector registers.
pub(crate) mod load {
    /// The low halves from the context; the rest is in the processor.
    pub(crate) const FAST: u32 = 0;
    /// Everything from the given area, then the low halves from the context.
    pub(crate) const AREA_THEN_XMM: u32 = 1;
    /// Everything from the given area, and exact flags.
    pub(crate) const AREA: u32 = 2;
}

const DF: u32 = 1 << 10;
const NT: u32 = 1 << 14;
const TF: u32 = 1 << 8;
const AC: u32 = 1 << 18;

const fn register(offset: usize) -> usize {
    offset_of!(UserContext, regs) + offset
}

macro_rules! register_offsets {
    ($($name:ident = $field:ident),* $(,)?) => {
        $(const $name: usize = register(offset_of!(Registers, $field));)*
    };
}

register_offsets! {
    RAX = rax, RCX = rcx, RDX = rdx, RBX = rbx, RSP = rsp, RBP = rbp, RSI = rsi, RDI = rdi, R8 = r8, R9 = r9,
    R10 = r10, R11 = r11, R12 = r12, R13 = r13, R14 = r14, R15 = r15, RIP = rip, RFLAGS = rflags, FS = fs_base,
}
const XMM: usize = offset_of!(UserContext, xmm);
const IS_FULL: usize = offset_of!(UserContext, xstate_is_full);

/// Runs user code from `context` until it leaves user mode; one of [`back`].
///
/// `how` is one of [`load`]; `area` is a loadable state for the components in `xfrm`, read unless `how` is
/// FAST.
///
/// # Safety
/// On an enclave thread. `context.regs` holds a RIP in user space, a canonical FS base and flags that
/// POPFQ may load; `context` stays valid until this returns.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn enter(
    context: *mut UserContext,
    how: u32,
    area: *const XState,
    xfrm: u64,
) -> u64 {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov gs:[{USER_FRAME}], rsp",
        "mov gs:[{CONTEXT}], rdi",
        ".globl __rt_enter_user",
        ".hidden __rt_enter_user",
        "__rt_enter_user:",
        "mov dword ptr gs:[{PHASE}], {USER}",
        "cmp dword ptr gs:[{KICK}], 0",
        "jne 9f",
        "test esi, esi",
        "jz 2f",
        "mov r9, rdx",
        "mov eax, ecx",
        "mov rdx, rcx",
        "shr rdx, 32",
        "xrstor64 [r9]",
        "cmp esi, {AREA}",
        "je 4f",
        "jmp 3f",
        "2:",
        "cmp dword ptr gs:[{MXCSR_REPLACED}], 0",
        "je 3f",
        "ldmxcsr gs:[{USER_MXCSR}]",
        "3:",
        "movaps xmm0, [rdi + {XMM}]",
        "movaps xmm1, [rdi + {XMM} + 0x10]",
        "movaps xmm2, [rdi + {XMM} + 0x20]",
        "movaps xmm3, [rdi + {XMM} + 0x30]",
        "movaps xmm4, [rdi + {XMM} + 0x40]",
        "movaps xmm5, [rdi + {XMM} + 0x50]",
        "movaps xmm6, [rdi + {XMM} + 0x60]",
        "movaps xmm7, [rdi + {XMM} + 0x70]",
        "movaps xmm8, [rdi + {XMM} + 0x80]",
        "movaps xmm9, [rdi + {XMM} + 0x90]",
        "movaps xmm10, [rdi + {XMM} + 0xa0]",
        "movaps xmm11, [rdi + {XMM} + 0xb0]",
        "movaps xmm12, [rdi + {XMM} + 0xc0]",
        "movaps xmm13, [rdi + {XMM} + 0xd0]",
        "movaps xmm14, [rdi + {XMM} + 0xe0]",
        "movaps xmm15, [rdi + {XMM} + 0xf0]",
        "4:",
        "mov rax, [rdi + {FS}]",
        "cmp rax, gs:[{FS_LIVE}]",
        "je 5f",
        "wrfsbase rax",
        "mov gs:[{FS_LIVE}], rax",
        "5:",
        "mov rax, [rdi + {RIP}]",
        "mov gs:[{USER_RIP}], rax",
        "mov r15, [rdi + {R15}]",
        "mov r14, [rdi + {R14}]",
        "mov r13, [rdi + {R13}]",
        "mov r12, [rdi + {R12}]",
        "mov r11, [rdi + {R11}]",
        "mov r10, [rdi + {R10}]",
        "mov r9, [rdi + {R9}]",
        "mov r8, [rdi + {R8}]",
        "mov rbp, [rdi + {RBP}]",
        "mov rbx, [rdi + {RBX}]",
        "mov rdx, [rdi + {RDX}]",
        "mov rcx, [rdi + {RCX}]",
        // A system call leaves the arithmetic flags undefined as far as programs can tell; POPFQ costs more
        // than all the loads above.
        "cmp esi, {AREA}",
        "je 6f",
        "test dword ptr [rdi + {RFLAGS}], {DF_AC}",
        "jz 7f",
        "6:",
        "push qword ptr [rdi + {RFLAGS}]",
        "popfq",
        "7:",
        "mov rax, [rdi + {RAX}]",
        "mov rsi, [rdi + {RSI}]",
        "mov rsp, [rdi + {RSP}]",
        "mov rdi, [rdi + {RDI}]",
        "jmp qword ptr gs:[{USER_RIP}]",
        "9:",
        "mov dword ptr gs:[{PHASE}], {RUNNING}",
        "mov dword ptr gs:[{KICK}], 0",
        "mov eax, {INTERRUPTED}",
        "jmp {user_return}",
        ".globl __rt_enter_user_end",
        ".hidden __rt_enter_user_end",
        "__rt_enter_user_end:",
        USER_FRAME = const USER_FRAME, CONTEXT = const CONTEXT, PHASE = const PHASE, KICK = const KICK,
        USER_RIP = const USER_RIP, FS_LIVE = const FS_LIVE, USER_MXCSR = const USER_MXCSR,
        MXCSR_REPLACED = const MXCSR_REPLACED, USER = const phase::USER, RUNNING = const phase::RUNNING,
        AREA = const load::AREA, INTERRUPTED = const back::INTERRUPTED, DF_AC = const DF | AC,
        XMM = const XMM, FS = const FS, RIP = const RIP, RFLAGS = const RFLAGS,
        RAX = const RAX, RCX = const RCX, RDX = const RDX, RBX = const RBX, RSP = const RSP, RBP = const RBP,
        RSI = const RSI, RDI = const RDI, R8 = const R8, R9 = const R9, R10 = const R10, R11 = const R11,
        R12 = const R12, R13 = const R13, R14 = const R14, R15 = const R15,
        user_return = sym user_return,
    )
}

/// Where trampolines jump: RCX is the address after the system call, the other registers are the user's.
///
/// Most calls are answered here, by [`answer`], and the program goes on: the registers that compiled code
/// may change are kept on the stack (as the call's arguments) and in the context, all others are where they
/// were, FS base and the upper halves of vector registers included, and calls and returns stay paired for
/// the processor's return predictor. Where there is more to do than an answer the context is completed and
/// [`enter`] returns.
///
/// # Safety
/// In user mode only.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn syscall_entry() {
    naked_asm!(
        ".globl __rt_syscall_entry",
        ".hidden __rt_syscall_entry",
        "__rt_syscall_entry:",
        "mov r11, gs:[{CONTEXT}]",
        "mov [r11 + {RSP}], rsp",
        "mov [r11 + {RAX}], rax",
        "mov [r11 + {RIP}], rcx",
        "movaps [r11 + {XMM}], xmm0",
        "movaps [r11 + {XMM} + 0x10], xmm1",
        "movaps [r11 + {XMM} + 0x20], xmm2",
        "movaps [r11 + {XMM} + 0x30], xmm3",
        "movaps [r11 + {XMM} + 0x40], xmm4",
        "movaps [r11 + {XMM} + 0x50], xmm5",
        "movaps [r11 + {XMM} + 0x60], xmm6",
        "movaps [r11 + {XMM} + 0x70], xmm7",
        "movaps [r11 + {XMM} + 0x80], xmm8",
        "movaps [r11 + {XMM} + 0x90], xmm9",
        "movaps [r11 + {XMM} + 0xa0], xmm10",
        "movaps [r11 + {XMM} + 0xb0], xmm11",
        "movaps [r11 + {XMM} + 0xc0], xmm12",
        "movaps [r11 + {XMM} + 0xd0], xmm13",
        "movaps [r11 + {XMM} + 0xe0], xmm14",
        "movaps [r11 + {XMM} + 0xf0], xmm15",
        "stmxcsr gs:[{USER_MXCSR}]",
        "mov dword ptr gs:[{VECTORS}], {LIVE}",
        "mov byte ptr [r11 + {IS_FULL}], 0",
        "mov dword ptr gs:[{MXCSR_REPLACED}], 0",
        // What is not in the context yet is in its register; from here on this is the library OS.
        "mov dword ptr gs:[{PHASE}], {RUNNING}",
        ".globl __rt_syscall_entry_end",
        ".hidden __rt_syscall_entry_end",
        "__rt_syscall_entry_end:",
        "mov rsp, gs:[{USER_FRAME}]",
        "pushfq",
        // In the order of the arguments: `answer` gets a pointer to them.
        "push r9",
        "push r8",
        "push r10",
        "push rdx",
        "push rsi",
        "push rdi",
        "mov edx, [rsp + 48]",
        "mov ecx, gs:[{USER_MXCSR}]",
        "and ecx, {MXCSR_CONTROL}",
        "test edx, {ODD_FLAGS}",
        "jnz 3f",
        "cmp ecx, {MXCSR_DEFAULT}",
        "jne 3f",
        "mov rdi, rax",
        "mov rsi, rsp",
        "call {answer}",
        "mov rcx, gs:[{CONTEXT}]",
        "cmp eax, {STAY}",
        "jne 5f",
        "cmp dword ptr gs:[{VECTORS}], {LIVE}",
        "jne 4f",
        "movaps xmm0, [rcx + {XMM}]",
        "movaps xmm1, [rcx + {XMM} + 0x10]",
        "movaps xmm2, [rcx + {XMM} + 0x20]",
        "movaps xmm3, [rcx + {XMM} + 0x30]",
        "movaps xmm4, [rcx + {XMM} + 0x40]",
        "movaps xmm5, [rcx + {XMM} + 0x50]",
        "movaps xmm6, [rcx + {XMM} + 0x60]",
        "movaps xmm7, [rcx + {XMM} + 0x70]",
        "movaps xmm8, [rcx + {XMM} + 0x80]",
        "movaps xmm9, [rcx + {XMM} + 0x90]",
        "movaps xmm10, [rcx + {XMM} + 0xa0]",
        "movaps xmm11, [rcx + {XMM} + 0xb0]",
        "movaps xmm12, [rcx + {XMM} + 0xc0]",
        "movaps xmm13, [rcx + {XMM} + 0xd0]",
        "movaps xmm14, [rcx + {XMM} + 0xe0]",
        "movaps xmm15, [rcx + {XMM} + 0xf0]",
        "mov rax, rdx",
        "pop rdi",
        "pop rsi",
        "pop rdx",
        "pop r10",
        "pop r8",
        "pop r9",
        "pop r11",
        "mov rsp, [rcx + {RSP}]",
        "mov rcx, [rcx + {RIP}]",
        // Every register is the user's but RIP, which is in RCX.
        ".globl __rt_returning",
        ".hidden __rt_returning",
        "__rt_returning:",
        "mov dword ptr gs:[{PHASE}], {USER}",
        "cmp dword ptr gs:[{KICK}], 0",
        "jne 2f",
        "jmp rcx",
        "2:",
        "mov dword ptr gs:[{PHASE}], {RUNNING}",
        ".globl __rt_returning_end",
        ".hidden __rt_returning_end",
        "__rt_returning_end:",
        "mov dword ptr gs:[{KICK}], 0",
        "mov rsp, gs:[{USER_FRAME}]",
        "mov rcx, gs:[{CONTEXT}]",
        "mov [rcx + {RAX}], rax",
        "mov eax, {INTERRUPTED}",
        "jmp 7f",
        // A flag or a rounding mode that the library OS must not run with.
        "3:",
        "push 2",
        "popfq",
        "mov rdx, rax",
        "xor eax, eax",
        "cmp ecx, {MXCSR_DEFAULT}",
        "mov rcx, gs:[{CONTEXT}]",
        "je 5f",
        "ldmxcsr [rip + {DEFAULT}]",
        "mov dword ptr gs:[{MXCSR_REPLACED}], 1",
        "jmp 5f",
        // A host call was made since: the registers are to be loaded by `enter`.
        "4:",
        "mov eax, {CALLED}",
        "5:",
        "mov [rcx + {RAX}], rdx",
        "pop rdi",
        "pop rsi",
        "pop rdx",
        "pop r10",
        "pop r8",
        "pop r9",
        "pop r11",
        // RCX is the context, EAX what `enter` answers.
        "7:",
        "mov [rcx + {R11}], r11",
        "mov [rcx + {RFLAGS}], r11",
        "mov [rcx + {RDX}], rdx",
        "mov [rcx + {RBX}], rbx",
        "mov [rcx + {RBP}], rbp",
        "mov [rcx + {RSI}], rsi",
        "mov [rcx + {RDI}], rdi",
        "mov [rcx + {R8}], r8",
        "mov [rcx + {R9}], r9",
        "mov [rcx + {R10}], r10",
        "mov [rcx + {R12}], r12",
        "mov [rcx + {R13}], r13",
        "mov [rcx + {R14}], r14",
        "mov [rcx + {R15}], r15",
        "mov rdx, [rcx + {RIP}]",
        "mov [rcx + {RCX}], rdx",
        "cmp dword ptr gs:[{VECTORS}], {LIVE}",
        "jne 8f",
        "rdfsbase rdx",
        "mov [rcx + {FS}], rdx",
        "mov gs:[{FS_LIVE}], rdx",
        "jmp {user_return}",
        "8:",
        "mov rdx, gs:[{USER_FS}]",
        "mov [rcx + {FS}], rdx",
        "jmp {user_return}",
        USER_FRAME = const USER_FRAME, CONTEXT = const CONTEXT, PHASE = const PHASE, KICK = const KICK,
        VECTORS = const VECTORS, FS_LIVE = const FS_LIVE, USER_FS = const USER_FS,
        USER_MXCSR = const USER_MXCSR, MXCSR_REPLACED = const MXCSR_REPLACED,
        RUNNING = const phase::RUNNING, USER = const phase::USER, LIVE = const vectors::LIVE,
        INTERRUPTED = const back::INTERRUPTED, CALLED = const back::CALLED, STAY = const STAY,
        ODD_FLAGS = const AC | NT | TF | DF, MXCSR_CONTROL = const MXCSR_CONTROL,
        MXCSR_DEFAULT = const MXCSR_DEFAULT, DEFAULT = sym MXCSR, IS_FULL = const IS_FULL,
        XMM = const XMM, FS = const FS, RIP = const RIP, RFLAGS = const RFLAGS,
        RAX = const RAX, RCX = const RCX, RDX = const RDX, RBX = const RBX, RSP = const RSP, RBP = const RBP,
        RSI = const RSI, RDI = const RDI, R8 = const R8, R9 = const R9, R10 = const R10, R11 = const R11,
        R12 = const R12, R13 = const R13, R14 = const R14, R15 = const R15,
        answer = sym answer, user_return = sym user_return,
    )
}

/// What [`answer`] gives when the program goes on at once; else one of [`back`].
const STAY: u64 = 0x100;

/// RAX and RDX.
#[repr(C)]
struct Outcome {
    what: u64,
    rax: u64,
}

/// Asks the library OS for the answer to a system call.
extern "C" fn answer(number: u64, args: &Args) -> Outcome {
    let thread = Thread::current();
    thread.host_faults.set(0);
    let declined = Outcome { what: back::SYSCALL, rax: number };
    // SAFETY: between `enter` and its return the context is valid, and only this thread reaches it.
    let rip = unsafe { (*thread.context.get()).regs.rip };
    let (Some(calls), true) = (thread.calls.get(), thread.user.get().contains(rip)) else {
        return declined;
    };
    // SAFETY: `run_user` sets it for as long as it borrows the trait object.
    match unsafe { calls.as_ref() }.call(number, args) {
        Answer::Stay(rax) => Outcome { what: STAY, rax },
        Answer::Leave(rax) => Outcome { what: back::CALLED, rax },
        Answer::Decline => declined,
    }
}

static MXCSR: u32 = MXCSR_DEFAULT;

/// Returns from [`enter`] with RAX, RSP being `Thread::user_frame`.
///
/// # Safety
/// For the code above and for ERESUME after the exception entry.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn user_return() {
    naked_asm!("pop r15", "pop r14", "pop r13", "pop r12", "pop rbx", "pop rbp", "ret")
}

unsafe extern "C" {
    static __rt_enter_user: u8;
    static __rt_enter_user_end: u8;
    static __rt_syscall_entry: u8;
    static __rt_syscall_entry_end: u8;
    static __rt_returning: u8;
    static __rt_returning_end: u8;
}

/// Keeps the code that the labels above are in, where nothing but them is referred to (unit tests).
#[used]
static WINDOWS: (EnterFn, unsafe extern "C" fn()) = (enter, syscall_entry);

type EnterFn = unsafe extern "C" fn(*mut UserContext, u32, *const XState, u64) -> u64;

/// The instructions of [`enter`] that run with the phase User (or set it, or take it back).
pub(crate) fn entering() -> Range<u64> {
    address(&raw const __rt_enter_user)..address(&raw const __rt_enter_user_end)
}

/// The first instructions of [`syscall_entry`], which run with the phase User.
pub(crate) fn leaving() -> Range<u64> {
    address(&raw const __rt_syscall_entry)..address(&raw const __rt_syscall_entry_end)
}

/// Its last ones, which do so again: the registers are the program's, with RIP in RCX.
pub(crate) fn returning() -> Range<u64> {
    address(&raw const __rt_returning)..address(&raw const __rt_returning_end)
}

fn address(symbol: *const u8) -> u64 {
    symbol as u64
}

/// Flags that a program may have: arithmetic, direction, alignment check, CPUID toggle. TF is left out: a
/// trap after POPFQ would be a trap in the run time.
pub(crate) const USER_FLAGS: u64 = 0x24_0cd5;
/// Flags that are always set as a program sees them: the reserved bit 1, and IF.
pub(crate) const FIXED_FLAGS: u64 = 0x202;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_windows_are_not_empty_and_do_not_overlap() {
        let windows = [entering(), leaving(), returning()];
        for (index, window) in windows.iter().enumerate() {
            assert!(window.start < window.end);
            let others = windows.iter().enumerate().filter(|(other, _)| *other != index);
            for (_, other) in others {
                assert!(window.end <= other.start || other.end <= window.start);
            }
        }
        let leaving = leaving();
        let entry = syscall_entry as *const () as u64;
        assert_eq!(leaving.start, entry, "the window opens with the first instruction");
    }

    #[test]
    fn a_program_cannot_set_privileged_or_trapping_flags() {
        for (name, bit) in
            [("TF", 8), ("IOPL", 12), ("IOPL", 13), ("NT", 14), ("RF", 16), ("VM", 17)]
        {
            assert_eq!(USER_FLAGS >> bit & 1, 0, "{name}");
        }
        for (name, bit) in
            [("CF", 0), ("ZF", 6), ("SF", 7), ("DF", 10), ("OF", 11), ("AC", 18), ("ID", 21)]
        {
            assert_eq!(USER_FLAGS >> bit & 1, 1, "{name}");
        }
    }
}
