//! The one entry point, and the ways out.
//!
//! Nothing that the host leaves in a register is used before it is made constant: direction flag, alignment
//! check and the other flags, MXCSR, x87 and every extended state component that XFRM enables. Of the
//! general registers the entry takes RAX (CSSA) and RBX (TCS), which EENTER sets, RCX, RSP and RBP, which
//! are only given back at EEXIT, and at a thread's first entry RDI and RSI, which `untrusted` checks. On the
//! way out every register that carries nothing is cleared.
//!
//! What an entry does depends on CSSA and on the thread's own word for what it was doing (`thread::phase`):
//!
//! | CSSA | phase | entry |
//! |---|---|---|
//! | 0 | Fresh, Armed | starts the thread: Running |
//! | 0 | InHostCall | returns from the host call: Running |
//! | 0 | Running, User, Ended | refused (EEXIT reason 4), nothing changes |
//! | 1 | any | the exception entry: `exception` decides by SSA\[0\].EXITINFO and the phase |
//! | 2 | any | the exception entry was interrupted: an exception there is fatal (reason 4), otherwise a kick is noted (reason 3) |
//!
//! The exception entry has a stack of its own and trusts no register of the interrupted code, so that the
//! host gains nothing by interrupting this code at any instruction, the return from a host call included:
//! unless the phase is User it changes nothing but the kick flag.

use core::arch::naked_asm;

use crate::layout::{PAGE, slot};
use crate::thread::{
    self, CALL_FRAME, EXCEPTION_RBP, EXCEPTION_RETURN, EXCEPTION_RSP, HOST_RBP, HOST_RETURN,
    HOST_RSP, KICK, PHASE, phase,
};
use crate::xstate::INITIAL;

/// ENCLU, with the NOP after it that lets the emulator put a call in its place.
#[macro_export]
#[doc(hidden)]
macro_rules! enclu {
    () => {
        ".byte 0x0f, 0x01, 0xd7, 0x0f, 0x1f, 0x40, 0x00"
    };
}

/// Offset of EXITINFO in a page-sized SSA frame.
const EXITINFO: u64 = PAGE - 184 + 160;

/// First instruction of the enclave (TCS.OENTRY).
///
/// # Safety
/// For EENTER only.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(no_mangle))]
#[unsafe(link_section = ".text.enclave_entry")]
pub unsafe extern "C" fn _enclave_entry() {
    naked_asm!(
        "cld",
        "cmp rax, 1",
        "je 5f",
        "ja 7f",

        // CSSA 0. No instruction here needs the stack until RSP is ours.
        "mov r8d, gs:[{PHASE}]",
        "cmp r8d, {IN_HOST_CALL}",
        "je 3f",
        "cmp r8d, {FRESH}",
        "je 2f",
        "cmp r8d, {ARMED}",
        "je 2f",
        // Refused. The stack is still the host's, where EEXIT belongs anyway.
        "mov rbx, rcx",
        "mov edi, 4",
        "xor esi, esi",
        "jmp 8f",

        // First entry: RDI, RSI from the host, the TCS third, the phase fourth.
        "2:",
        "mov dword ptr gs:[{PHASE}], {RUNNING}",
        "mov gs:[{HOST_RETURN}], rcx",
        "mov gs:[{HOST_RSP}], rsp",
        "mov gs:[{HOST_RBP}], rbp",
        "lea rsp, [rbx + {STACK_TOP}]",
        "push 2",
        "popfq",
        "lea r9, [rip + {INITIAL}]",
        "mov eax, -1",
        "mov edx, -1",
        "xrstor64 [r9]",
        "mov rdx, rbx",
        "mov ecx, r8d",
        "xor ebp, ebp",
        "call {start}",
        "ud2",

        // Return from a host call. Until RSP is loaded an interruption finds the phase Running (or still
        // InHostCall) and leaves this thread's state alone.
        "3:",
        "mov dword ptr gs:[{PHASE}], {RUNNING}",
        "mov gs:[{HOST_RETURN}], rcx",
        "mov gs:[{HOST_RSP}], rsp",
        "mov gs:[{HOST_RBP}], rbp",
        "mov rsp, gs:[{CALL_FRAME}]",
        "push 2",
        "popfq",
        "lea r9, [rip + {INITIAL}]",
        "mov eax, -1",
        "mov edx, -1",
        "xrstor64 [r9]",
        // A kick whose sender saw InHostCall must be seen before the next return to user mode.
        "mfence",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",

        // CSSA 1: exception or kick.
        "5:",
        "mov gs:[{EXCEPTION_RETURN}], rcx",
        "mov gs:[{EXCEPTION_RSP}], rsp",
        "mov gs:[{EXCEPTION_RBP}], rbp",
        "lea rsp, [rbx + {EXCEPTION_STACK_TOP}]",
        "push 2",
        "popfq",
        "lea r9, [rip + {INITIAL}]",
        "mov eax, -1",
        "mov edx, -1",
        "xrstor64 [r9]",
        "xor ebp, ebp",
        "mov rdi, rbx",
        "call {exception}",
        "mov rdi, rax",
        "mov rsi, rdx",
        "mov rbx, gs:[{EXCEPTION_RETURN}]",
        "mov rsp, gs:[{EXCEPTION_RSP}]",
        "mov rbp, gs:[{EXCEPTION_RBP}]",
        "jmp 8f",

        // CSSA 2: the exception entry itself was left. EXITINFO of SSA[1] says why.
        "7:",
        "mov dword ptr gs:[{KICK}], 1",
        "mov edi, 3",
        "xor esi, esi",
        "test byte ptr [rbx + {NESTED_VALID}], 0x80",
        "jz 71f",
        "mov edi, 4",
        "71:",
        "mov rbx, rcx",

        // EEXIT: RDI and RSI carry the reason, RBX the target, RSP and RBP are the host's.
        "8:",
        "lea r9, [rip + {INITIAL}]",
        "mov eax, -1",
        "mov edx, -1",
        "xrstor64 [r9]",
        "xor edx, edx",
        "xor r8d, r8d",
        "xor r9d, r9d",
        "xor r10d, r10d",
        "xor r11d, r11d",
        "xor r12d, r12d",
        "xor r13d, r13d",
        "xor r14d, r14d",
        "xor r15d, r15d",
        "xor ecx, ecx",
        "mov eax, 4",
        enclu!(),
        "ud2",
        PHASE = const PHASE,
        KICK = const KICK,
        FRESH = const phase::FRESH,
        ARMED = const phase::ARMED,
        RUNNING = const phase::RUNNING,
        IN_HOST_CALL = const phase::IN_HOST_CALL,
        HOST_RETURN = const HOST_RETURN,
        HOST_RSP = const HOST_RSP,
        HOST_RBP = const HOST_RBP,
        CALL_FRAME = const CALL_FRAME,
        EXCEPTION_RETURN = const EXCEPTION_RETURN,
        EXCEPTION_RSP = const EXCEPTION_RSP,
        EXCEPTION_RBP = const EXCEPTION_RBP,
        STACK_TOP = const slot::STACK_TOP,
        EXCEPTION_STACK_TOP = const slot::EXCEPTION_STACK_TOP,
        NESTED_VALID = const slot::SSA + PAGE + EXITINFO + 3,
        INITIAL = sym INITIAL,
        start = sym crate::start::start,
        exception = sym crate::exception::entry,
    )
}

/// Leaves for the host call in the thread's block and returns when the host has re-entered.
///
/// # Safety
/// On an enclave thread with no user vector state in the processor that is still wanted
/// (`xstate::before_host_call`).
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn leave_for_call() {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov gs:[{CALL_FRAME}], rsp",
        "mov edi, 1",
        "mov esi, {IN_HOST_CALL}",
        "jmp {leave}",
        CALL_FRAME = const CALL_FRAME,
        IN_HOST_CALL = const phase::IN_HOST_CALL,
        leave = sym leave,
    )
}

/// Ends the thread. Its slot may be armed again from the moment the phase is Ended: what follows touches
/// neither its page nor its stack.
///
/// # Safety
/// On an enclave thread that holds nothing on its stack that others use.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn end_thread() -> ! {
    naked_asm!(
        "mov edi, 2",
        "mov esi, {ENDED}",
        "jmp {leave}",
        ENDED = const phase::ENDED,
        leave = sym leave,
    )
}

/// Stops the enclave: leaves with reason 4 and refuses every later entry of this thread.
///
/// # Safety
/// On an enclave thread.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn stop() -> ! {
    naked_asm!(
        "mov edi, 4",
        "mov esi, {ENDED}",
        "jmp {leave}",
        ENDED = const phase::ENDED,
        leave = sym leave,
    )
}

/// EEXIT with reason RDI, after setting the phase to ESI.
#[unsafe(naked)]
unsafe extern "C" fn leave() {
    naked_asm!(
        "mov rbx, gs:[{HOST_RETURN}]",
        "mov rsp, gs:[{HOST_RSP}]",
        "mov rbp, gs:[{HOST_RBP}]",
        "lea r9, [rip + {INITIAL}]",
        "mov eax, -1",
        "mov edx, -1",
        "xrstor64 [r9]",
        "xor edx, edx",
        "xor ecx, ecx",
        "xor r8d, r8d",
        "xor r9d, r9d",
        "xor r10d, r10d",
        "xor r11d, r11d",
        "xor r12d, r12d",
        "xor r13d, r13d",
        "xor r14d, r14d",
        "xor r15d, r15d",
        "mov dword ptr gs:[{PHASE}], esi",
        "xor esi, esi",
        "mov eax, 4",
        enclu!(),
        "ud2",
        PHASE = const PHASE,
        HOST_RETURN = const HOST_RETURN,
        HOST_RSP = const HOST_RSP,
        HOST_RBP = const HOST_RBP,
        INITIAL = sym INITIAL,
    )
}

const _: () = assert!(thread::THIS == 0, "the page's own address is its first word");
