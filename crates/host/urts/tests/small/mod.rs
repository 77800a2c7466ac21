//! A small real enclave, in assembly, that makes host calls. It runs on any driver; the tests run it on the emulator
//! before and beside the library OS, and measure the runtime without the library OS's own cost.
//!
//! Each thread slot is 64 KiB: TCS, three SSA pages, the GS page, a gap, a stack page. The GS page holds which routine
//! the thread runs and its operands.
#![allow(dead_code, reason = "each test file uses a part of it")]

use core::arch::global_asm;
use sgx::hash::Portable;
use sgx::sgxs::{Ecreate, Io, Page, Writer};
use sgx::sign::SigningKey;
use sgx::sigstruct::{Body, Sigstruct};
use sgx::{AttributeFlags, Attributes, Miscselect, PAGE_SIZE, Secinfo, SecinfoFlags, Tcs, Xfrm};

const SIZE: u64 = 64 << 20;
const SLOTS: u64 = SIZE - (16 << 20);
const CODE: u64 = SIZE - (8 << 20);
const DATA: u64 = CODE + 0x10000;

/// The TCS of a slot.
pub(crate) const fn tcs(slot: u64) -> u64 {
    SLOTS + slot * 0x10000
}

/// What a thread does.
#[derive(Clone, Copy)]
pub(crate) enum Routine {
    /// `count` times call `number` with one argument, then exit with status 0.
    Calls { count: u64, number: u64, argument: u64 },
    /// `count` times start slot 1 and wait for it, then exit; the status is the mean of the TSC ticks from just before
    /// the call to the first instruction of the started thread.
    Spawns { count: u64 },
    /// What slot 1 does for `Spawns`.
    Spawned,
    /// SYSCALL, which traps, `count` times, then exit with status 0.
    Traps { count: u64 },
    /// Spins in user code until kicked, then exits with status 0x700.
    Spin,
    /// `count` times wake the peer slot and park until woken; slot 0 exits at its end.
    PingPong { count: u64, peer: u64 },
}

impl Routine {
    fn gs_page(self) -> [u8; PAGE_SIZE] {
        let words = match self {
            Self::Calls { count, number, argument } => [0, count, number, argument],
            Self::Spawns { count } => [1, count, tcs(1), 0],
            Self::Spawned => [2, 0, tcs(0), 0],
            Self::Traps { count } => [3, count, 0, 0],
            Self::Spin => [4, 0, 0, 0],
            Self::PingPong { count, peer } => [5, count, tcs(peer), 0],
        };
        let mut page = [0; PAGE_SIZE];
        for (chunk, word) in page.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        page
    }
}

/// `enclave.sgxs` and `enclave.sig` of an enclave with these threads.
pub(crate) fn build(routines: &[Routine]) -> (Vec<u8>, Vec<u8>) {
    let (r, w, x) = (SecinfoFlags::R, SecinfoFlags::W, SecinfoFlags::X);
    let mut stream = Vec::new();
    let mut writer =
        Writer::new(Io(&mut stream), Ecreate { ssaframesize_pages: 1, size: SIZE }).unwrap();
    let mut add = |offset, secinfo, data, is_measured| {
        let measured = if is_measured { u16::MAX } else { 0 };
        writer.page(&Page { offset, secinfo, measured, present: measured, data }).unwrap();
    };
    for (slot, routine) in (0..).zip(routines) {
        let base = tcs(slot);
        let page = Tcs {
            ossa: base + 0x1000,
            nssa: 3,
            oentry: CODE,
            ofsbase: base + 0x4000,
            ogsbase: base + 0x4000,
            fslimit: u32::MAX,
            gslimit: u32::MAX,
            ..Tcs::default()
        };
        add(base, Secinfo::tcs(), page.to_bytes(), true);
        for ssa in 1..4 {
            add(base + ssa * 0x1000, Secinfo::reg(r | w), [0; PAGE_SIZE], false);
        }
        add(base + 0x4000, Secinfo::reg(r | w), routine.gs_page(), true);
        add(base + 0x6000, Secinfo::reg(r | w), [0; PAGE_SIZE], false);
    }
    for (index, chunk) in (0..).zip(code().chunks(PAGE_SIZE)) {
        let mut data = [0; PAGE_SIZE];
        data[..chunk.len()].copy_from_slice(chunk);
        add(CODE + index * 4096, Secinfo::reg(r | x), data, true);
    }
    add(DATA, Secinfo::reg(r | w), [0; PAGE_SIZE], true);

    let enclavehash = sgx::sgxs::mrenclave::<Portable, _>(&stream[..]).unwrap();
    let attributes = Attributes { flags: AttributeFlags::MODE64BIT, xfrm: Xfrm::LEGACY };
    let body = Body {
        enclavehash,
        attributes,
        // State components are free, so that the loader chooses them.
        attributemask: Attributes { flags: AttributeFlags::all(), xfrm: Xfrm::LEGACY },
        miscselect: Miscselect::EXINFO,
        miscmask: Miscselect::all(),
        ..Body::default()
    };
    let key = include_str!("../../../../common/sgx/tests/data/signer.pem");
    let key = SigningKey::from_pem(key).unwrap();
    let signed = key.sign::<Portable>(&Sigstruct::unsigned(&body)).unwrap();
    (stream, signed.to_bytes().to_vec())
}

fn code() -> &'static [u8] {
    let (start, end) = (small_start as *const u8, small_end as *const u8);
    // SAFETY: the labels bound one block of code in this program, which is never written.
    unsafe { core::slice::from_raw_parts(start, end.offset_from(start) as usize) }
}

unsafe extern "C" {
    fn small_start();
    fn small_end();
}

// GS page: 0x00 routine, 0x08 count, 0x10 operand, 0x18 operand; own: 0x40 block, 0x48 where to go on, 0x50 EEXIT
// target, 0x58 stack, 0x60 sequence, 0x68 kicked.
global_asm!(
    ".pushsection .text.small,\"ax\",@progbits",
    ".macro small_enclu",
    ".byte 0x0f, 0x01, 0xd7, 0x0f, 0x1f, 0x40, 0x00",
    ".endm",
    ".p2align 12",
    ".globl small_start",
    "small_start:",
    "cld",
    "test rax, rax",
    "jnz 60f",
    "mov gs:[0x50], rcx",
    "mov rax, gs:[0x48]",
    "test rax, rax",
    "jnz 10f",
    "lea rsp, [rbx + 0x7000]",
    "mov gs:[0x40], rdi",
    "mov rax, gs:[0]",
    "cmp rax, 1",
    "jb 20f",
    "je 30f",
    "cmp rax, 3",
    "jb 40f",
    "je 50f",
    "cmp rax, 5",
    "jb 55f",
    "jmp 58f",
    "10: mov rsp, gs:[0x58]",
    "jmp rax",
    // A host call: EDI number, RSI argument. Gives the status in RAX. Keeps RBX, RBP, R12-R15.
    "15: mov rax, gs:[0x40]",
    "mov rcx, gs:[0x60]",
    "inc rcx",
    "mov gs:[0x60], rcx",
    "mov [rax + 0x10], rcx",
    "mov rcx, 0x100000000",
    "or rcx, rdi",
    "mov [rax + 0x18], rcx",
    "mov [rax + 0x20], rsi",
    "xor ecx, ecx",
    "mov [rax + 0x28], rcx",
    "mov [rax + 0x30], rcx",
    "mov [rax + 0x38], rcx",
    "mov [rax + 0x40], rcx",
    "mov [rax + 0x48], rcx",
    "mov [rax + 0x50], rcx",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov gs:[0x58], rsp",
    "lea rcx, [rip + 16f]",
    "mov gs:[0x48], rcx",
    "mov edi, 1",
    "17: mov rbx, gs:[0x50]",
    "mov eax, 4",
    "small_enclu",
    "ud2",
    "16: pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "mov rax, gs:[0x40]",
    "mov rcx, [rax + 0x58]",
    "cmp rcx, gs:[0x60]",
    "je 18f",
    "ud2",
    "18: mov rax, [rax + 0x60]",
    "ret",
    // The thread's end: the next entry is a first one.
    "19: xor eax, eax",
    "mov gs:[0x48], rax",
    "mov gs:[0x60], rax",
    "mov edi, 2",
    "jmp 17b",
    // Calls
    "20: mov r12, gs:[0x08]",
    "21: mov edi, gs:[0x10]",
    "mov rsi, gs:[0x18]",
    "call 15b",
    "dec r12",
    "jnz 21b",
    "22: xor esi, esi",
    "23: mov edi, 3",
    "call 15b",
    "ud2",
    // Spawns
    "30: mov r12, gs:[0x08]",
    "xor r13d, r13d",
    "lea r14, [rip + small_start + {data}]",
    "31: rdtsc",
    "shl rdx, 32",
    "or rax, rdx",
    "mov [r14 + 8], rax",
    "mov edi, 64",
    "mov rsi, gs:[0x10]",
    "call 15b",
    "test rax, rax",
    "jnz 31b",
    "inc r13",
    "32: cmp [r14], r13",
    "je 33f",
    "mov edi, 65",
    "mov rsi, -1",
    "call 15b",
    "jmp 32b",
    "33: dec r12",
    "jnz 31b",
    "mov rax, [r14 + 16]",
    "xor edx, edx",
    "div qword ptr gs:[0x08]",
    "mov esi, eax",
    "jmp 23b",
    // Spawned
    "40: rdtsc",
    "shl rdx, 32",
    "or rax, rdx",
    "lea r14, [rip + small_start + {data}]",
    "sub rax, [r14 + 8]",
    "add [r14 + 16], rax",
    "lock inc qword ptr [r14]",
    "mov edi, 66",
    "mov rsi, gs:[0x10]",
    "call 15b",
    "jmp 19b",
    // Traps
    "50: mov r12, gs:[0x08]",
    "51: mov eax, 39",
    "syscall",
    "dec r12",
    "jnz 51b",
    "jmp 22b",
    // Spin
    "55: pause",
    "cmp qword ptr gs:[0x68], 0",
    "je 55b",
    "mov esi, 0x700",
    "jmp 23b",
    // PingPong: a turn is a wake-up and a park; slot 0 ends the enclave.
    "58: mov r12, gs:[0x08]",
    "lea r14, [rip + small_start + {data}]",
    "mov rax, gs:[0x10]",
    "cmp rax, {first}",
    "sete r13b",
    "movzx r13d, r13b",
    "test r13, r13",
    "jnz 59f",
    "mov edi, 64",
    "mov rsi, gs:[0x10]",
    "call 15b",
    "59: mov rax, [r14]",
    "and eax, 1",
    "cmp rax, r13",
    "je 61f",
    "mov edi, 65",
    "mov rsi, -1",
    "call 15b",
    "jmp 59b",
    "61: lock inc qword ptr [r14]",
    "mov edi, 66",
    "mov rsi, gs:[0x10]",
    "call 15b",
    "dec r12",
    "jnz 59b",
    "test r13, r13",
    "jz 22b",
    "62: mov edi, 65",
    "mov rsi, -1",
    "call 15b",
    "jmp 62b",
    // Exception entry, CSSA 1: SSA[0] is at TCS + 0x1000, GPRSGX at its end. A trapped SYSCALL is skipped; an
    // interruption (EXITINFO not valid) sets the flag.
    "60: mov gs:[0x50], rcx",
    "cmp rax, 1",
    "jne 66f",
    "mov eax, [rbx + 0x2000 - 184 + 160]",
    "test eax, eax",
    "jns 65f",
    "add qword ptr [rbx + 0x2000 - 184 + 136], 2",
    "jmp 64f",
    "65: mov qword ptr gs:[0x68], 1",
    "64: mov edi, 3",
    "jmp 17b",
    "66: mov edi, 4",
    "jmp 17b",
    ".p2align 12",
    ".globl small_end",
    "small_end:",
    ".popsection",
    data = const DATA - CODE,
    first = const tcs(0),
);
