//! Everything that runs with the enclave's FS: entry, exit, gates, and the signal entry, in assembly.
//!
//! Entry and ERESUME are function calls from the host ([`enter`], [`resume`]); both return at
//! [`landing`], which is also the address that EENTER gives the enclave in RCX and to which EEXIT must go.
//!
//! In fast mode an ENCLU site is a call to [`gate`]. It finds the thread's [`Block`] in the shadow table
//! by the GS base. EEXIT is done right there; a leaf that works on memory is called as Rust on the host
//! stack. Whatever is not the plain case ends in a `ud2` with the registers put back, so that the SIGILL
//! handler does it exactly: these are the labels that [`Stop`] names.
//!
//! A signal that lands here while the thread is logically in the enclave is not an AEX: there is no
//! instruction boundary of the enclave to save. The handler sets `pending` and the gate looks before it
//! goes back in. Between the look and the enclave the registers can be rebuilt from the block, and the
//! handler does that instead (`is_leaf_tail`, `is_resuming`).

use crate::block::{ARENA, ARENA_BASE, Block, ENCLAVE, EXIT_EEXIT, GateRegisters, HOST, SLOT};
use crate::signal::{on_enclave_signal, on_host_signal};
use crate::tcs::Tcs;
use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::AtomicU64;
use sgx::driver::PassedRegisters;
use sgx::ssa::Gprsgx;

/// Table from the page number of a GS base to the block of the thread that is in on that TCS; 0 for none.
pub(crate) static SHADOW: AtomicU64 = AtomicU64::new(0);
/// Number of entries in the table; 0 while there is no enclave.
pub(crate) static SHADOW_PAGES: AtomicU64 = AtomicU64::new(0);

#[allow(improper_ctypes, reason = "the assembly uses the offsets of repr(C) fields only")]
unsafe extern "C" {
    #[link_name = "sgx_emulator_enter"]
    fn asm_enter(block: *mut Block);
    #[link_name = "sgx_emulator_resume"]
    fn asm_resume(block: *mut Block);
    #[link_name = "sgx_emulator_landing"]
    fn asm_landing();
    #[link_name = "sgx_emulator_gate"]
    fn asm_gate();
    #[link_name = "sgx_emulator_gate_exact"]
    fn asm_gate_exact();
    #[link_name = "sgx_emulator_leaf_exact"]
    fn asm_leaf_exact();
    #[link_name = "sgx_emulator_leaf_pending"]
    fn asm_leaf_pending();
    #[link_name = "sgx_emulator_leaf_tail"]
    fn asm_leaf_tail();
    #[link_name = "sgx_emulator_leaf_tail_end"]
    fn asm_leaf_tail_end();
    #[link_name = "sgx_emulator_eresume"]
    fn asm_eresume();
    #[link_name = "sgx_emulator_eresume_end"]
    fn asm_eresume_end();
    #[link_name = "sgx_emulator_eresume_pending"]
    fn asm_eresume_pending();
    #[link_name = "sgx_emulator_signal"]
    fn asm_signal();
    #[link_name = "sgx_emulator_restorer"]
    fn asm_restorer();
}

/// EENTER by the block's fields; returns when the enclave is left.
///
/// # Safety
/// `block` is the calling thread's, with `tcs` to `gprsgx` set for a TCS that the thread owns, GPRSGX
/// writable, and signal handlers installed.
pub(crate) unsafe fn enter(block: *mut Block) {
    // SAFETY: the caller's promise is the assembly's.
    unsafe { asm_enter(block) }
}

/// ERESUME from the block's `ssa`, `gprsgx` and `iret`; returns when the enclave is left.
///
/// # Safety
/// As [`enter`], and the frame passed [`crate::aex::prepare_resume`].
pub(crate) unsafe fn resume(block: *mut Block) {
    // SAFETY: the caller's promise is the assembly's.
    unsafe { asm_resume(block) }
}

/// The asynchronous exit pointer, and where EEXIT goes.
pub(crate) fn landing() -> u64 {
    asm_landing as *const () as u64
}

/// What the gate page jumps to.
pub(crate) fn gate() -> u64 {
    asm_gate as *const () as u64
}

/// Handler and restorer for `rt_sigaction`.
pub(crate) fn signal_entry() -> (u64, u64) {
    (asm_signal as *const () as u64, asm_restorer as *const () as u64)
}

/// Where a gate gave up on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// All registers are as at the site; the return address is on the stack.
    Gate,
    /// The registers of the site are in the block, RIP there is the return address.
    Leaf,
    /// A leaf is done and an interrupt is pending; the block holds the registers to go on with.
    LeafPending,
    /// An interrupt is pending before an ERESUME whose frame is untouched.
    ResumePending,
}

/// Which of the gates' `ud2` stands at `rip`.
pub(crate) fn stop_at(rip: u64) -> Option<Stop> {
    [
        (asm_gate_exact as *const () as u64, Stop::Gate),
        (asm_leaf_exact as *const () as u64, Stop::Leaf),
        (asm_leaf_pending as *const () as u64, Stop::LeafPending),
        (asm_eresume_pending as *const () as u64, Stop::ResumePending),
    ]
    .into_iter()
    .find_map(|(address, stop)| (address == rip).then_some(stop))
}

/// Whether a leaf is done at `rip` and the block holds the registers that the enclave goes on with.
pub(crate) fn is_leaf_tail(rip: u64) -> bool {
    (asm_leaf_tail as *const () as u64..asm_leaf_tail_end as *const () as u64).contains(&rip)
}

/// Whether `rip` is in an ERESUME, which only reads its SSA frame.
pub(crate) fn is_resuming(rip: u64) -> bool {
    (asm_eresume as *const () as u64..asm_eresume_end as *const () as u64).contains(&rip)
}

const PASSED: usize = offset_of!(Block, passed);
const GATE: usize = offset_of!(Block, gate);

// Requirements on the enclave stack at a patched site: 24 bytes below RSP are free and writable (the site
// is emitted by assembly that does not claim `nostack`).
//
// `lookup` turns the GS base in a register into the block, or jumps to the given label with the register
// destroyed.
global_asm!(
    ".macro sgx_emulator_lookup reg, reg32, unknown",
    "rdgsbase \\reg",
    "test \\reg32, 0xfff",
    "jnz \\unknown",
    "shr \\reg, 12",
    "cmp \\reg, qword ptr [rip + {shadow_pages}]",
    "jae \\unknown",
    "shl \\reg, 3",
    "add \\reg, qword ptr [rip + {shadow}]",
    "mov \\reg, qword ptr [\\reg]",
    "test \\reg, \\reg",
    "jz \\unknown",
    ".endm",
    ".pushsection .text.sgx_emulator_gates,\"ax\",@progbits",
    ".p2align 6",
    // ---- enter(rdi = block)
    ".globl sgx_emulator_enter",
    ".hidden sgx_emulator_enter",
    "sgx_emulator_enter:",
    "push rbp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "sub rsp, 8",
    "stmxcsr [rdi + {mxcsr}]",
    "fnstcw [rdi + {fcw}]",
    "mov [rdi + {host_rsp}], rsp",
    "mov dword ptr [rdi + {state}], {in_enclave}",
    "mov rax, [rdi + {gprsgx}]",
    "mov [rax + {ursp}], rsp",
    "mov [rax + {urbp}], rbp",
    "mov rax, [rdi + {entry_fs}]",
    "wrfsbase rax",
    "mov rax, [rdi + {entry_gs}]",
    "wrgsbase rax",
    "lea rcx, [rip + sgx_emulator_landing]",
    "mov rbx, [rdi + {tcs_address}]",
    "mov rax, [rdi + {cssa}]",
    "mov r11, [rdi + {entry}]",
    "mov rsi, [rdi + {entry_flags}]",
    "test rsi, rsi",
    "jz 1f",
    "push rsi",
    "popfq",
    "1:",
    "mov rsi, [rdi + {passed} + {p_rsi}]",
    "mov rdx, [rdi + {passed} + {p_rdx}]",
    "mov r8, [rdi + {passed} + {p_r8}]",
    "mov r9, [rdi + {passed} + {p_r9}]",
    "mov rdi, [rdi + {passed} + {p_rdi}]",
    "jmp r11",
    // ---- resume(rdi = block)
    ".p2align 4",
    ".globl sgx_emulator_resume",
    ".hidden sgx_emulator_resume",
    "sgx_emulator_resume:",
    "push rbp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "sub rsp, 8",
    "stmxcsr [rdi + {mxcsr}]",
    "fnstcw [rdi + {fcw}]",
    "mov [rdi + {host_rsp}], rsp",
    "mov dword ptr [rdi + {state}], {in_enclave}",
    "mov rax, [rdi + {gprsgx}]",
    "mov [rax + {ursp}], rsp",
    "mov [rax + {urbp}], rbp",
    // ---- eresume(rdi = block); reads the frame only, so that it may be abandoned anywhere
    ".globl sgx_emulator_eresume",
    ".hidden sgx_emulator_eresume",
    "sgx_emulator_eresume:",
    "cmp dword ptr [rdi + {pending}], 0",
    "jne sgx_emulator_eresume_pending",
    "mov eax, [rdi + {xfrm}]",
    "mov edx, [rdi + {xfrm} + 4]",
    "mov rbx, [rdi + {ssa}]",
    "xrstor64 [rbx]",
    "mov rbx, [rdi + {gprsgx}]",
    "mov rax, [rbx + {g_fsbase}]",
    "wrfsbase rax",
    "mov rax, [rbx + {g_gsbase}]",
    "wrgsbase rax",
    "lea rsp, [rdi + {iret}]",
    "mov rax, [rbx + 0]",
    "mov rcx, [rbx + 8]",
    "mov rdx, [rbx + 16]",
    "mov rbp, [rbx + 40]",
    "mov rsi, [rbx + 48]",
    "mov rdi, [rbx + 56]",
    "mov r8, [rbx + 64]",
    "mov r9, [rbx + 72]",
    "mov r10, [rbx + 80]",
    "mov r11, [rbx + 88]",
    "mov r12, [rbx + 96]",
    "mov r13, [rbx + 104]",
    "mov r14, [rbx + 112]",
    "mov r15, [rbx + 120]",
    "mov rbx, [rbx + 24]",
    "iretq",
    ".globl sgx_emulator_eresume_end",
    ".hidden sgx_emulator_eresume_end",
    "sgx_emulator_eresume_end:",
    ".globl sgx_emulator_eresume_pending",
    ".hidden sgx_emulator_eresume_pending",
    "sgx_emulator_eresume_pending:",
    "ud2",
    // ---- gate: called from an ENCLU site
    ".p2align 6",
    ".globl sgx_emulator_gate",
    ".hidden sgx_emulator_gate",
    "sgx_emulator_gate:",
    "pushfq",
    "cmp eax, 4",
    "jne 2f",
    // EEXIT. RCX is an output of it and free; RAX is 4.
    "test dword ptr [rsp], 0x40000", // RFLAGS.AC must not reach the host
    "jnz 9f",
    "sgx_emulator_lookup rcx, ecx, 9f",
    "lea rax, [rip + sgx_emulator_landing]",
    "cmp rbx, rax",
    "jne 8f",
    "cmp dword ptr [rcx + {depth}], 0",
    "jne 4f",
    "3:",
    "mov [rcx + {passed} + {p_rdi}], rdi",
    "mov [rcx + {passed} + {p_rsi}], rsi",
    "mov [rcx + {passed} + {p_rdx}], rdx",
    "mov [rcx + {passed} + {p_r8}], r8",
    "mov [rcx + {passed} + {p_r9}], r9",
    "mov rsp, [rcx + {host_rsp}]",
    "mov rax, [rcx + {host_fs}]",
    "wrfsbase rax",
    "mov rax, [rcx + {host_gs}]",
    "wrgsbase rax",
    "mov dword ptr [rcx + {exit}], {exit_eexit}",
    "mov dword ptr [rcx + {state}], {in_host}",
    "mov rax, [rcx + {tcs}]",
    "mov dword ptr [rax + {owner}], 0",
    "mov dword ptr [rax + {busy}], 0",
    // ---- landing: rcx = block, rsp = host_rsp
    ".globl sgx_emulator_landing",
    ".hidden sgx_emulator_landing",
    "sgx_emulator_landing:",
    "fnclex",
    "emms",
    "fldcw [rcx + {fcw}]",
    "ldmxcsr [rcx + {mxcsr}]",
    "cld",
    "add rsp, 8",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
    "ret",
    // EEXIT of an exception entry that fast mode made: reason 3 resumes at once.
    "4:",
    "cmp rdi, {resume_reason}",
    "jne 3b",
    "mov rbx, rcx",
    "mov rsp, [rcx + {host_rsp}]",
    "mov rax, [rcx + {host_fs}]",
    "wrfsbase rax",
    "ldmxcsr [rcx + {mxcsr}]",
    "cld",
    "mov rdi, rcx",
    "call {resume_nested}",
    "mov rdi, rbx",
    "test eax, eax",
    "jnz sgx_emulator_eresume",
    "mov rcx, rbx",
    "mov rax, [rcx + {host_gs}]",
    "wrgsbase rax",
    "mov dword ptr [rcx + {state}], {in_host}",
    "mov rax, [rcx + {tcs}]",
    "mov dword ptr [rax + {owner}], 0",
    "mov dword ptr [rax + {busy}], 0",
    "jmp sgx_emulator_landing",
    // Not the plain case: undo and trap.
    "8:",
    "mov eax, 4",
    "9:",
    "popfq",
    ".globl sgx_emulator_gate_exact",
    ".hidden sgx_emulator_gate_exact",
    "sgx_emulator_gate_exact:",
    "ud2",
    // ---- the leaves that work on memory: EREPORT 0, EGETKEY 1, EACCEPT 5, EMODPE 6, EACCEPTCOPY 7
    "2:",
    "cmp eax, 7",
    "ja 9b",
    "cmp eax, 2",
    "je 9b",
    "cmp eax, 3",
    "je 9b",
    "push rax",
    "sgx_emulator_lookup rax, eax, 7f",
    "mov [rax + {gate} + 8], rcx",
    "mov [rax + {gate} + 16], rdx",
    "mov [rax + {gate} + 24], rbx",
    "mov [rax + {gate} + 40], rbp",
    "mov [rax + {gate} + 48], rsi",
    "mov [rax + {gate} + 56], rdi",
    "mov [rax + {gate} + 64], r8",
    "mov [rax + {gate} + 72], r9",
    "mov [rax + {gate} + 80], r10",
    "mov [rax + {gate} + 88], r11",
    "mov [rax + {gate} + 96], r12",
    "mov [rax + {gate} + 104], r13",
    "mov [rax + {gate} + 112], r14",
    "mov [rax + {gate} + 120], r15",
    "pop qword ptr [rax + {gate} + 0]",
    "pop qword ptr [rax + {gate} + {r_rflags}]",
    "pop qword ptr [rax + {gate} + {r_rip}]",
    "mov [rax + {gate} + 32], rsp",
    "mov rbx, rax",
    "rdfsbase rax",
    "mov [rbx + {gate_fs}], rax",
    "mov rsp, [rbx + {host_rsp}]",
    "mov rax, [rbx + {host_fs}]",
    "wrfsbase rax",
    "push 2",
    "popfq",
    "mov eax, [rbx + {components}]",
    "mov edx, [rbx + {components} + 4]",
    "xsave64 [rbx + {xsave}]",
    "mov rdi, rbx",
    "call {gate_leaf}",
    "mov r12d, eax",
    "mov eax, [rbx + {components}]",
    "mov edx, [rbx + {components} + 4]",
    "xrstor64 [rbx + {xsave}]",
    "test r12d, r12d",
    "jz sgx_emulator_leaf_exact",
    ".globl sgx_emulator_leaf_tail",
    ".hidden sgx_emulator_leaf_tail",
    "sgx_emulator_leaf_tail:",
    "cmp dword ptr [rbx + {pending}], 0",
    "jne sgx_emulator_leaf_pending",
    "mov rax, [rbx + {gate_fs}]",
    "wrfsbase rax",
    "mov rsp, [rbx + {gate} + 32]",
    "push qword ptr [rbx + {gate} + {r_rip}]",
    "push qword ptr [rbx + {gate} + {r_rflags}]",
    "mov rax, [rbx + {gate} + 0]",
    "mov rcx, [rbx + {gate} + 8]",
    "mov rdx, [rbx + {gate} + 16]",
    "mov rbp, [rbx + {gate} + 40]",
    "mov rsi, [rbx + {gate} + 48]",
    "mov rdi, [rbx + {gate} + 56]",
    "mov r8, [rbx + {gate} + 64]",
    "mov r9, [rbx + {gate} + 72]",
    "mov r10, [rbx + {gate} + 80]",
    "mov r11, [rbx + {gate} + 88]",
    "mov r12, [rbx + {gate} + 96]",
    "mov r13, [rbx + {gate} + 104]",
    "mov r14, [rbx + {gate} + 112]",
    "mov r15, [rbx + {gate} + 120]",
    "mov rbx, [rbx + {gate} + 24]",
    "popfq",
    "ret",
    ".globl sgx_emulator_leaf_tail_end",
    ".hidden sgx_emulator_leaf_tail_end",
    "sgx_emulator_leaf_tail_end:",
    ".globl sgx_emulator_leaf_pending",
    ".hidden sgx_emulator_leaf_pending",
    "sgx_emulator_leaf_pending:",
    "ud2",
    ".globl sgx_emulator_leaf_exact",
    ".hidden sgx_emulator_leaf_exact",
    "sgx_emulator_leaf_exact:",
    "ud2",
    "7:",
    "pop rax",
    "jmp 9b",
    // ---- signal(edi = number, rsi = siginfo, rdx = ucontext)
    ".p2align 4",
    ".globl sgx_emulator_signal",
    ".hidden sgx_emulator_signal",
    "sgx_emulator_signal:",
    "mov rcx, rsp",
    "sub rcx, qword ptr [rip + {arena_base}]",
    "cmp rcx, {arena}",
    "jae {on_host_signal}",
    "mov rcx, rsp",
    "and rcx, {slot_mask}",
    "cmp dword ptr [rcx + {state}], {in_host}",
    "je {on_host_signal}",
    "rdfsbase rax",
    "mov [rcx + {signal_fs}], rax",
    "rdgsbase rax",
    "mov [rcx + {signal_gs}], rax",
    "mov rax, [rcx + {host_fs}]",
    "wrfsbase rax",
    "mov rax, [rcx + {host_gs}]",
    "wrgsbase rax",
    "push rbx",
    "mov rbx, rcx",
    "push 2",
    "popfq",
    "call {on_enclave_signal}",
    "mov rax, [rbx + {signal_fs}]",
    "wrfsbase rax",
    "mov rax, [rbx + {signal_gs}]",
    "wrgsbase rax",
    "pop rbx",
    "ret",
    ".p2align 4",
    ".globl sgx_emulator_restorer",
    ".hidden sgx_emulator_restorer",
    "sgx_emulator_restorer:",
    "mov eax, 15", // rt_sigreturn
    "syscall",
    "ud2",
    ".popsection",
    shadow = sym SHADOW,
    shadow_pages = sym SHADOW_PAGES,
    arena_base = sym ARENA_BASE,
    arena = const ARENA,
    slot_mask = const -(SLOT as isize),
    in_enclave = const ENCLAVE,
    in_host = const HOST,
    exit_eexit = const EXIT_EEXIT,
    resume_reason = const crate::RESUME_REASON,
    state = const offset_of!(Block, state),
    pending = const offset_of!(Block, pending),
    depth = const offset_of!(Block, depth),
    exit = const offset_of!(Block, exit),
    host_fs = const offset_of!(Block, host_fs),
    host_gs = const offset_of!(Block, host_gs),
    signal_fs = const offset_of!(Block, signal_fs),
    signal_gs = const offset_of!(Block, signal_gs),
    gate_fs = const offset_of!(Block, gate_fs),
    host_rsp = const offset_of!(Block, host_rsp),
    mxcsr = const offset_of!(Block, mxcsr),
    fcw = const offset_of!(Block, fcw),
    tcs = const offset_of!(Block, tcs),
    tcs_address = const offset_of!(Block, tcs_address),
    entry = const offset_of!(Block, entry),
    entry_fs = const offset_of!(Block, entry_fs),
    entry_gs = const offset_of!(Block, entry_gs),
    entry_flags = const offset_of!(Block, entry_flags),
    cssa = const offset_of!(Block, cssa),
    ssa = const offset_of!(Block, ssa),
    gprsgx = const offset_of!(Block, gprsgx),
    xfrm = const offset_of!(Block, xfrm),
    components = const offset_of!(Block, host_components),
    iret = const offset_of!(Block, iret),
    xsave = const offset_of!(Block, xsave),
    passed = const PASSED,
    p_rdi = const offset_of!(PassedRegisters, rdi),
    p_rsi = const offset_of!(PassedRegisters, rsi),
    p_rdx = const offset_of!(PassedRegisters, rdx),
    p_r8 = const offset_of!(PassedRegisters, r8),
    p_r9 = const offset_of!(PassedRegisters, r9),
    gate = const GATE,
    r_rflags = const offset_of!(GateRegisters, rflags),
    r_rip = const offset_of!(GateRegisters, rip),
    ursp = const Gprsgx::offset("ursp"),
    urbp = const Gprsgx::offset("urbp"),
    g_fsbase = const Gprsgx::offset("fsbase"),
    g_gsbase = const Gprsgx::offset("gsbase"),
    owner = const offset_of!(Tcs, owner),
    busy = const offset_of!(Tcs, busy),
    resume_nested = sym crate::aex::resume_nested,
    gate_leaf = sym crate::leaf::gate_leaf,
    on_host_signal = sym on_host_signal,
    on_enclave_signal = sym on_enclave_signal,
);
