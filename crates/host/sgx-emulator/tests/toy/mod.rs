//! A toy enclave, in assembly, that does what the test's registers ask, and a host that runs it.
//!
//! RDI at entry is a command (see [`command`]); RSI, RDX, R8, R9 are its operands. Its exception entry does
//! what the thread's GS page says (see [`action`]) and logs there what it saw.
#![allow(dead_code, unreachable_pub, reason = "shared by test binaries, each of which uses a part")]

use core::arch::global_asm;
use sgx::driver::{Driver, Enclave, EntryLeaf, Exit, PassedRegisters, Protection};
use sgx::hash::Portable;
use sgx::measure::Measurement;
use sgx::sign::SigningKey;
use sgx::sigstruct::{Body, Sigstruct};
use sgx::{
    AttributeFlags, Attributes, Miscselect, PageType, Secinfo, SecinfoFlags, Secs, Tcs, Xfrm,
};
use sgx_emulator::{EmulatedEnclave, Emulator, Mode};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Runs a test in both modes.
#[allow(unused_macros, reason = "not every test binary has such tests")]
macro_rules! in_both_modes {
    ($($name:ident),+ $(,)?) => {
        mod fast {
            $(#[test] fn $name() { super::$name(sgx_emulator::Mode::Fast); })+
        }
        mod pure {
            $(#[test] fn $name() { super::$name(sgx_emulator::Mode::Pure); })+
        }
    };
}

/// ELRANGE of the toy.
pub const SIZE: u64 = 64 << 20;
/// Where its code is.
pub const CODE: u64 = SIZE - (8 << 20);
/// A writable, measured data page.
pub const DATA: u64 = CODE + 0x10000;
/// Its first thread slot; the others follow.
pub const SLOTS: u64 = SIZE - (16 << 20);
pub const SLOT: u64 = 0x10000;
/// Where nothing is added: memory for EDMM.
pub const HEAP: u64 = 0x40_0000;
pub const NSSA: u32 = 3;

pub mod command {
    /// Added to a command: first initialise the registers that otherwise are what the host left.
    pub const CLEAN: u64 = 1 << 32;
    /// RSI+RDX comes back in RSI, CSSA in RDX, FS:0 of the page OFSBASE in R8.
    pub const ADD: u64 = 0;
    /// `syscall` number RSI; RAX, RCX, R11 come back in RSI, RDX, R8.
    pub const SYSCALL: u64 = 1;
    pub const INT3: u64 = 2;
    pub const DIVIDE: u64 = 3;
    /// Reads the byte at RSI.
    pub const READ: u64 = 4;
    /// Writes DL to RSI.
    pub const WRITE: u64 = 5;
    /// EACCEPT with SECINFO.FLAGS RSI of page RDX; R8 pages from there on. RAX comes back in RSI, RFLAGS in RDX.
    pub const EACCEPT: u64 = 6;
    /// EMODPE with SECINFO.FLAGS RSI of page RDX.
    pub const EMODPE: u64 = 7;
    /// EACCEPTCOPY with SECINFO.FLAGS RSI to page RDX from R8.
    pub const EACCEPTCOPY: u64 = 8;
    /// Spins until GS:[RELEASE] is not 0.
    pub const SPIN: u64 = 9;
    /// Jumps to RSI.
    pub const JUMP: u64 = 10;
    /// ENCLU leaf RSI with RBX = RDX, RCX = R8, RDX = R9. RAX comes back in RSI.
    pub const ENCLU: u64 = 11;
    /// Copies R8 bytes from RSI to RDX.
    pub const COPY: u64 = 12;
    /// Fills registers with a pattern, then UD2.
    pub const PATTERN: u64 = 13;
    pub const UD2: u64 = 14;
    /// RSI times: `syscall`, which the exception entry skips.
    pub const SYSCALLS: u64 = 15;
    /// RDX times: EACCEPT of the page RSI (pending, RW), write to it, next page.
    pub const ACCEPT_AND_WRITE: u64 = 16;
    /// EEXIT to RSI.
    pub const EXIT_TO: u64 = 17;
    /// Sets DF, AC, and odd MXCSR and x87 control, and leaves.
    pub const DIRTY: u64 = 18;
    /// RSI times: EACCEPT of nothing (a mismatch), counting in GS:[RELEASE].
    pub const SPIN_ENCLU: u64 = 19;
}

pub mod action {
    /// EEXIT with RDI 4, RSI = EXITINFO, RDX = SSA.RIP, R8 = EXINFO.MADDR, R9 = EXINFO.ERRCD.
    pub const REFUSE: u64 = 0;
    /// Adds GS:[SKIP] to SSA.RIP, sets SSA.RAX to GS:[VALUE], asks for ERESUME.
    pub const SKIP: u64 = 1;
    /// EACCEPTs the page in MADDR as pending RW, asks for ERESUME.
    pub const ACCEPT: u64 = 2;
    /// Sets GS:[RELEASE] to 1, asks for ERESUME.
    pub const RELEASE: u64 = 3;
    /// UD2 in the exception entry itself.
    pub const NESTED: u64 = 4;
    /// Adds 1 to GS:[COUNT] (as all do) and asks for ERESUME.
    pub const COUNT: u64 = 5;
    /// UD2 in the exception entry, every time.
    pub const DEEPER: u64 = 6;
}

/// Offsets in the GS page.
pub mod gs {
    pub const ACTION: u64 = 0x10;
    pub const SKIP: u64 = 0x18;
    pub const VALUE: u64 = 0x20;
    pub const RELEASE: u64 = 0x28;
    pub const COUNT: u64 = 0x38;
    pub const EXITINFO: u64 = 0x40;
    pub const MADDR: u64 = 0x48;
    pub const ERRCD: u64 = 0x50;
    pub const RIP: u64 = 0x58;
}

global_asm!(
    ".pushsection .text.toy,\"ax\",@progbits",
    ".macro enclu",
    ".byte 0x0f, 0x01, 0xd7, 0x0f, 0x1f, 0x40, 0x00",
    ".endm",
    ".p2align 12",
    "toy_start:",
    "cld",
    "test rax, rax",
    "jnz toy_exception",
    "lea rsp, [rbx + 0x9000]",
    "push rcx",
    "btr rdi, 32",
    "jnc 98f",
    "mov r10, rdx",
    "mov eax, 0xfffffdff", // not the protection keys
    "mov edx, 0xffffffff",
    "xrstor64 [rip + toy_initial]",
    "mov rdx, r10",
    "xor ebp, ebp",
    "xor r10d, r10d",
    "xor r12d, r12d",
    "xor r13d, r13d",
    "xor r14d, r14d",
    "xor r15d, r15d",
    "98:",
    "cmp rdi, 19",
    "ja 99f",
    "lea rax, [rip + toy_table]",
    "movsxd r10, dword ptr [rax + rdi * 4]",
    "add rax, r10",
    "jmp rax",
    "toy_table:",
    ".long 20f - toy_table",
    ".long 21f - toy_table",
    ".long 22f - toy_table",
    ".long 23f - toy_table",
    ".long 24f - toy_table",
    ".long 25f - toy_table",
    ".long 26f - toy_table",
    ".long 27f - toy_table",
    ".long 28f - toy_table",
    ".long 29f - toy_table",
    ".long 30f - toy_table",
    ".long 31f - toy_table",
    ".long 32f - toy_table",
    ".long 33f - toy_table",
    ".long 34f - toy_table",
    ".long 35f - toy_table",
    ".long 36f - toy_table",
    ".long 37f - toy_table",
    ".long 38f - toy_table",
    ".long 39f - toy_table",
    "99: ud2",
    // ADD
    "20: add rsi, rdx",
    "xor edx, edx",
    "mov r8, fs:[0]",
    "90: mov edi, 1",
    "91: pop rbx",
    "92: mov eax, 4",
    "enclu",
    "ud2",
    // SYSCALL
    ".globl toy_syscall",
    "21: mov eax, esi",
    "xor ecx, ecx",
    "xor r11d, r11d",
    "toy_syscall: syscall",
    "mov rsi, rax",
    "mov rdx, rcx",
    "mov r8, r11",
    "jmp 90b",
    // INT3
    ".globl toy_int3",
    "22: toy_int3: int3",
    "mov rsi, 77",
    "jmp 90b",
    // DIVIDE
    ".globl toy_divide",
    "23: mov eax, 1",
    "xor edx, edx",
    "xor ecx, ecx",
    "toy_divide: div ecx",
    "mov esi, eax",
    "jmp 90b",
    // READ
    ".globl toy_read",
    "24: toy_read: mov al, [rsi]",
    "movzx esi, al",
    "jmp 90b",
    // WRITE
    ".globl toy_write",
    "25: toy_write: mov [rsi], dl",
    "jmp 90b",
    // EACCEPT, r8 pages
    "26: mov r12, rdx",
    "mov r13, r8",
    "call 80f",
    "40: mov rcx, r12",
    "mov eax, 5",
    "enclu",
    "pushfq",
    "pop r14",
    "add r12, 4096",
    "dec r13",
    "jg 40b",
    "mov rsi, rax",
    "mov rdx, r14",
    "jmp 90b",
    // EMODPE
    "27: call 80f",
    "mov rcx, rdx",
    "mov eax, 6",
    "enclu",
    "93: mov rsi, rax",
    "pushfq",
    "pop rdx",
    "jmp 90b",
    // EACCEPTCOPY
    "28: call 80f",
    "mov rcx, rdx",
    "mov rdx, r8",
    "mov eax, 7",
    "enclu",
    "jmp 93b",
    // SPIN
    "29: inc rsi",
    "pause",
    "cmp qword ptr gs:[{release}], 0",
    "je 29b",
    "jmp 90b",
    // JUMP
    "30: jmp rsi",
    // ENCLU
    ".globl toy_enclu",
    "31: mov rax, rsi",
    "mov rbx, rdx",
    "mov rcx, r8",
    "mov rdx, r9",
    "toy_enclu: enclu",
    "mov rsi, rax",
    "jmp 90b",
    // COPY
    "32: mov rdi, rdx",
    "mov rcx, r8",
    "rep movsb",
    "jmp 90b",
    // PATTERN
    ".globl toy_pattern",
    "33: mov r8, 0x0808080808080808",
    "mov r9, 0x0909090909090909",
    "mov r10, 0x1010101010101010",
    "mov r11, 0x1111111111111111",
    "mov r12, 0x1212121212121212",
    "mov r13, 0x1313131313131313",
    "mov r14, 0x1414141414141414",
    "mov r15, 0x1515151515151515",
    "mov rbp, 0x0505050505050505",
    "movq xmm0, r8",
    "movq xmm15, r9",
    "test rsi, rsi",
    "jz 41f",
    "vbroadcastss ymm3, xmm0",
    "41: test rdx, rdx",
    "jz 42f",
    "vpbroadcastd zmm20, xmm0",
    "kxnorw k3, k3, k3",
    "42: fninit",
    "fld1",
    "fldpi",
    "stc",
    "toy_pattern: ud2",
    // What comes back tells whether ERESUME restored everything.
    "setc al",
    "movzx esi, al",
    "movq rdx, xmm15",
    "xor rdx, r9",
    "xor r8, r10",
    "fcompp",
    "fnstsw ax",
    "movzx r9d, ax",
    "fninit",
    "jmp 90b",
    // UD2
    ".globl toy_ud2",
    "34: toy_ud2: ud2",
    "jmp 90b",
    // SYSCALLS
    "35: mov r12, rsi",
    "43: mov eax, 39",
    "syscall",
    "dec r12",
    "jnz 43b",
    "mov rsi, rax",
    "jmp 90b",
    // ACCEPT_AND_WRITE
    "36: mov r12, rsi",
    "mov r13, rdx",
    "mov esi, 0x20b",
    "call 80f",
    "44: mov rcx, r12",
    "mov eax, 5",
    "enclu",
    "test eax, eax",
    "jnz 93b",
    "add r12, 4096",
    "dec r13",
    "jnz 44b",
    "45: sub r12, 4096",
    "mov byte ptr [r12], 1",
    "dec rdx",
    "jnz 45b",
    "jmp 93b",
    // EXIT_TO
    "37: mov rbx, rsi",
    "mov eax, 4",
    "enclu",
    "ud2",
    // DIRTY
    "38: push 0x40602",
    "popfq",
    "mov dword ptr [rsp - 8], 0x7f80",
    "ldmxcsr [rsp - 8]",
    "mov word ptr [rsp - 8], 0x0f7f",
    "fldcw [rsp - 8]",
    "fld1",
    "fld1",
    "jmp 90b",
    // SPIN_ENCLU
    "39: mov r12, rsi",
    "mov esi, 0x20b",
    "call 80f",
    "46: lea rcx, [rbx - 0]",
    "mov eax, 5",
    "lea rcx, [rip + toy_start]",
    "enclu",
    "inc qword ptr gs:[{value}]",
    "dec r12",
    "jnz 46b",
    "mov rsi, rax",
    "jmp 90b",
    // A SECINFO with flags RSI, 64-byte aligned, in the GS page; RBX points to it.
    "80: rdgsbase rbx",
    "add rbx, 0x400",
    "mov [rbx], rsi",
    "ret",
    // Exception entry: RAX = CSSA; SSA[CSSA - 1] is at TCS + CSSA * 4096.
    "toy_exception:",
    "mov r15, rax",
    "shl r15, 12",
    "add r15, rbx",
    "lea rsp, [rbx + 0x7000]",
    "cmp rax, 1",
    "je 50f",
    "sub rsp, 0x800",
    "50: push rcx",
    "inc qword ptr gs:[{count}]",
    "mov esi, [r15 + 0x1000 - 184 + 160]",
    "mov gs:[{exitinfo}], rsi",
    "mov rdx, [r15 + 0x1000 - 184 + 136]",
    "mov gs:[{rip}], rdx",
    "mov r8, [r15 + 0x1000 - 200]",
    "mov gs:[{maddr}], r8",
    "mov r9d, [r15 + 0x1000 - 200 + 8]",
    "mov gs:[{errcd}], r9",
    "mov rax, gs:[{action}]",
    "cmp rax, 1",
    "je 51f",
    "cmp rax, 2",
    "je 52f",
    "cmp rax, 3",
    "je 53f",
    "cmp rax, 4",
    "je 54f",
    "cmp rax, 5",
    "je 55f",
    "cmp rax, 6",
    "jne 56f",
    "ud2",
    "56: mov edi, 4",
    "jmp 91b",
    "51: mov rax, gs:[{skip}]",
    "add [r15 + 0x1000 - 184 + 136], rax",
    "mov rax, gs:[{value}]",
    "mov [r15 + 0x1000 - 184], rax",
    "55: mov edi, 3",
    "jmp 91b",
    "52: mov rcx, r8",
    "mov esi, 0x20b",
    "call 80b",
    "mov eax, 5",
    "enclu",
    "jmp 55b",
    "53: mov qword ptr gs:[{release}], 1",
    "jmp 55b",
    ".globl toy_nested",
    "54: mov qword ptr gs:[{action}], 1",
    "mov qword ptr gs:[{skip}], 2",
    "toy_nested: ud2",
    "jmp 51b",
    ".p2align 6",
    "toy_initial:",
    ".zero 24",
    ".long 0x1f80",
    ".zero 548",
    ".p2align 12",
    "toy_end:",
    ".popsection",
    release = const gs::RELEASE,
    value = const gs::VALUE,
    count = const gs::COUNT,
    exitinfo = const gs::EXITINFO,
    maddr = const gs::MADDR,
    errcd = const gs::ERRCD,
    rip = const gs::RIP,
    action = const gs::ACTION,
    skip = const gs::SKIP,
);

unsafe extern "C" {
    #[link_name = "toy_start"]
    fn toy_start();
    #[link_name = "toy_end"]
    fn toy_end();
    #[link_name = "toy_syscall"]
    fn toy_syscall();
    #[link_name = "toy_int3"]
    fn toy_int3();
    #[link_name = "toy_divide"]
    fn toy_divide();
    #[link_name = "toy_read"]
    fn toy_read();
    #[link_name = "toy_write"]
    fn toy_write();
    #[link_name = "toy_enclu"]
    fn toy_enclu();
    #[link_name = "toy_pattern"]
    fn toy_pattern();
    #[link_name = "toy_ud2"]
    fn toy_ud2();
    #[link_name = "toy_nested"]
    fn toy_nested();
}

/// Linear address in the enclave of a place in its code.
fn inside(label: unsafe extern "C" fn()) -> u64 {
    CODE + (label as *const () as u64 - toy_start as *const () as u64)
}

pub mod at {
    pub fn syscall() -> u64 {
        super::inside(super::toy_syscall)
    }
    pub fn int3() -> u64 {
        super::inside(super::toy_int3)
    }
    pub fn divide() -> u64 {
        super::inside(super::toy_divide)
    }
    pub fn read() -> u64 {
        super::inside(super::toy_read)
    }
    pub fn write() -> u64 {
        super::inside(super::toy_write)
    }
    pub fn enclu() -> u64 {
        super::inside(super::toy_enclu)
    }
    pub fn pattern() -> u64 {
        super::inside(super::toy_pattern)
    }
    pub fn ud2() -> u64 {
        super::inside(super::toy_ud2)
    }
    pub fn nested() -> u64 {
        super::inside(super::toy_nested)
    }
}

fn code() -> &'static [u8] {
    let (start, end) = (toy_start as *const u8, toy_end as *const () as usize);
    // SAFETY: the labels bound one piece of this program's text.
    unsafe { core::slice::from_raw_parts(start, end - start as usize) }
}

/// XFRM of the toy: what this machine has, but AMX.
pub fn xfrm() -> Xfrm {
    let leaf = core::arch::x86_64::__cpuid_count(0xd, 0);
    let xcr0 = Xfrm::from_bits_truncate(u64::from(leaf.eax) | u64::from(leaf.edx) << 32);
    xcr0.difference(Xfrm::TILECFG | Xfrm::TILEDATA)
}

pub fn secs() -> Secs {
    Secs {
        size: SIZE,
        ssaframesize: 1,
        miscselect: Miscselect::EXINFO,
        attributes: Attributes { flags: AttributeFlags::MODE64BIT, xfrm: xfrm() },
        ..Secs::default()
    }
}

pub fn tcs_page(slot: u64) -> Tcs {
    Tcs {
        ossa: slot + 0x1000,
        nssa: NSSA,
        oentry: CODE,
        ofsbase: DATA,
        ogsbase: slot + 0x5000,
        fslimit: 0xffff_ffff,
        gslimit: 0xffff_ffff,
        ..Tcs::default()
    }
}

/// Address of the TCS of a thread slot.
pub const fn tcs(slot: u64) -> u64 {
    SLOTS + slot * SLOT
}

/// Every page of the toy, in order: offset, SECINFO, contents, measured.
pub fn pages(slots: u64) -> Vec<(u64, Secinfo, [u8; 4096], bool)> {
    let (r, w, x) = (SecinfoFlags::R, SecinfoFlags::W, SecinfoFlags::X);
    let mut pages = Vec::new();
    for slot in 0..slots {
        let base = tcs(slot);
        pages.push((base, Secinfo::tcs(), tcs_page(base).to_bytes(), true));
        for page in 1..9 {
            if page != 4 {
                pages.push((base + page * 4096, Secinfo::reg(r | w), [0; 4096], page == 5));
            }
        }
    }
    for (i, chunk) in code().chunks(4096).enumerate() {
        let mut page = [0; 4096];
        page[..chunk.len()].copy_from_slice(chunk);
        pages.push((CODE + i as u64 * 4096, Secinfo::reg(r | x), page, true));
    }
    let mut data = [0; 4096];
    data[..8].copy_from_slice(&0xdada_u64.to_le_bytes());
    pages.push((DATA, Secinfo::reg(r | w), data, true));
    pages
}

/// MRENCLAVE of the toy.
pub fn mrenclave(slots: u64) -> [u8; 32] {
    let mut measurement = Measurement::<Portable>::ecreate(1, SIZE);
    for (offset, secinfo, contents, measured) in pages(slots) {
        measurement.add_page(offset, &secinfo, &contents, measured);
    }
    measurement.finish()
}

/// What a signer of the toy signs.
pub fn body(slots: u64) -> Body {
    Body {
        miscselect: Miscselect::EXINFO,
        miscmask: Miscselect::all(),
        attributes: secs().attributes,
        attributemask: Attributes {
            flags: AttributeFlags::all(),
            xfrm: Xfrm::from_bits_retain(u64::MAX),
        },
        enclavehash: mrenclave(slots),
        isvprodid: 7,
        isvsvn: 3,
        ..Body::default()
    }
}

/// Signs with the `sgx` crate's public test key.
pub fn sign(body: &Body) -> [u8; 1808] {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    let key = KEY.get_or_init(|| {
        SigningKey::from_pem(include_str!("../../../../common/sgx/tests/data/signer.pem"))
            .expect("a sound key")
    });
    key.sign::<Portable>(&Sigstruct::unsigned(body)).expect("signed").to_bytes()
}

/// One enclave at a time per process.
static ONE: Mutex<()> = Mutex::new(());

/// A running toy.
pub struct Toy {
    pub enclave: EmulatedEnclave,
    pub mode: Mode,
    _one: MutexGuard<'static, ()>,
}

pub fn exclusive() -> MutexGuard<'static, ()> {
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Toy {
    pub fn new(mode: Mode, slots: u64) -> Self {
        let one = exclusive();
        Self::build(one, &Emulator::new(mode).with_fresh_secret(), mode, slots)
    }

    /// A toy whose keys come from a file.
    pub fn with_secret(mode: Mode, slots: u64, file: &Path) -> Self {
        let one = exclusive();
        Self::build(one, &Emulator::new(mode).with_secret_file(file), mode, slots)
    }

    fn build(one: MutexGuard<'static, ()>, emulator: &Emulator, mode: Mode, slots: u64) -> Self {
        let enclave = emulator.create(&secs().to_bytes()).expect("ECREATE");
        for (offset, secinfo, contents, measured) in pages(slots) {
            enclave.add_page(offset, &secinfo.to_bytes(), &contents, measured).expect("EADD");
            // As a loader does on hardware, where a TCS must be mapped as data is.
            let rights = match secinfo.flags.page_type() {
                Some(PageType::Tcs) => Protection::READ | Protection::WRITE,
                _ => Protection((secinfo.flags & SecinfoFlags::RWX).bits() as u8),
            };
            enclave.protect(offset..offset + 4096, rights).expect("mprotect");
        }
        enclave.init(&sign(&body(slots))).expect("EINIT");
        Self { enclave, mode, _one: one }
    }

    pub fn enter(&self, tcs: u64, leaf: EntryLeaf, registers: PassedRegisters) -> Exit {
        // SAFETY: the toy's code is in this file.
        unsafe { self.enclave.enter(tcs, leaf, registers) }.expect("the driver works")
    }

    /// Runs a command as a host does that re-enters after every asynchronous exit: until an EEXIT other
    /// than "resume", or a refusal. Gives the last exit and the number of exits before it.
    pub fn run_counted(&self, slot: u64, command: u64, operands: [u64; 4]) -> (Exit, u32) {
        let [rsi, rdx, r8, r9] = operands;
        let registers = PassedRegisters { rdi: command, rsi, rdx, r8, r9 };
        let mut exit = self.enter(tcs(slot), EntryLeaf::Enter, registers);
        for count in 0..1_000_000 {
            exit = match exit {
                Exit::Eexit(PassedRegisters { rdi: 3, .. }) => {
                    self.enter(tcs(slot), EntryLeaf::Resume, PassedRegisters::default())
                }
                Exit::Exception { leaf: 3, .. } | Exit::Interrupted => {
                    self.enter(tcs(slot), EntryLeaf::Enter, PassedRegisters::default())
                }
                other => return (other, count),
            };
        }
        panic!("the enclave never leaves");
    }

    pub fn run(&self, slot: u64, command: u64, operands: [u64; 4]) -> PassedRegisters {
        match self.run_counted(slot, command, operands).0 {
            Exit::Eexit(registers) => registers,
            other => panic!("{other:?}"),
        }
    }

    /// Runs a command and expects its normal end.
    pub fn done(&self, slot: u64, command: u64, operands: [u64; 4]) -> PassedRegisters {
        let registers = self.run(slot, command, operands);
        assert_eq!(registers.rdi, 1, "{registers:x?}");
        registers
    }

    /// Sets a word of the thread's GS page.
    pub fn poke(&self, slot: u64, offset: u64, value: u64) {
        self.write(slot, tcs(slot) + 0x5000 + offset, &value.to_le_bytes());
    }

    pub fn peek(&self, slot: u64, offset: u64) -> u64 {
        let mut bytes = [0; 8];
        self.read(slot, tcs(slot) + 0x5000 + offset, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// Has the enclave copy from its memory.
    pub fn read(&self, slot: u64, address: u64, into: &mut [u8]) {
        let operands = [address, into.as_mut_ptr() as u64, into.len() as u64, 0];
        self.done(slot, command::COPY, operands);
    }

    /// Has the enclave copy into its memory.
    pub fn write(&self, slot: u64, address: u64, from: &[u8]) {
        self.done(slot, command::COPY, [from.as_ptr() as u64, address, from.len() as u64, 0]);
    }

    /// EACCEPT by the enclave; gives its error code.
    pub fn accept(&self, slot: u64, flags: SecinfoFlags, address: u64) -> u64 {
        self.done(slot, command::EACCEPT, [flags.bits(), address, 1, 0]).rsi
    }
}
