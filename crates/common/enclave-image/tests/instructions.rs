//! The enclave program contains only instructions that an enclave on hardware may execute and that the run
//! time expects.
//!
//! The emulator runs the program on an ordinary CPU, which knows no "illegal in an enclave" (Intel SDM Vol. 3D,
//! "Illegal Instructions"): CPUID or SYSCALL in our own code would work there and die on hardware. So the file
//! is disassembled, all of it, and held to a list. The list is of what is allowed: instruction set extensions
//! by name, so that nothing new comes in unseen. It also keeps the promise of the fast system-call path, that
//! the library OS touches no vector state beyond SSE2. One routine, which is chosen where the processor can
//! run it, has a list of its own.

use std::ops::Range;
use std::slice::from_ref;

use iced_x86::{
    Code, CpuidFeature, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind,
    Register,
};

/// Extensions that the program may use.
const FEATURES: &[CpuidFeature] = &[
    CpuidFeature::INTEL8086,
    CpuidFeature::INTEL186,
    CpuidFeature::INTEL286,
    CpuidFeature::INTEL386,
    CpuidFeature::INTEL486,
    CpuidFeature::X64,
    CpuidFeature::CX8,
    CpuidFeature::CMOV,
    CpuidFeature::MULTIBYTENOP,
    CpuidFeature::PAUSE,
    CpuidFeature::SSE,
    CpuidFeature::SSE2,
    // Entry, exit and entropy; every CPU with SGX2 has them.
    CpuidFeature::XSAVE,
    CpuidFeature::FSGSBASE,
    CpuidFeature::RDRAND,
    CpuidFeature::RDSEED,
    CpuidFeature::SGX1,
    // RDTSC: legal in SGX2 enclaves, which is the minimum.
    CpuidFeature::TSC,
];

/// Extensions that SHA-256 by the processor's instructions uses besides. Like SSE2 they leave the upper
/// halves of vector registers alone.
const HASHING: &[CpuidFeature] = &[CpuidFeature::SHA, CpuidFeature::SSSE3, CpuidFeature::SSE4_1];

/// Single instructions outside [`FEATURES`], each with the reason.
const ALLOWED: &[Mnemonic] = &[
    // The compiler's way to write BSF for the baseline: the prefix is ignored where there is no TZCNT, and
    // the operand is never zero.
    Mnemonic::Tzcnt,
];

/// Instructions of the allowed extensions that are illegal in an enclave all the same.
const ILLEGAL: &[Mnemonic] = &[
    Mnemonic::Cpuid,
    Mnemonic::Getsec,
    Mnemonic::Rdpmc,
    Mnemonic::Sgdt,
    Mnemonic::Sidt,
    Mnemonic::Sldt,
    Mnemonic::Str,
    Mnemonic::Smsw,
    Mnemonic::Vmcall,
    Mnemonic::Vmfunc,
    Mnemonic::In,
    Mnemonic::Insb,
    Mnemonic::Insw,
    Mnemonic::Insd,
    Mnemonic::Out,
    Mnemonic::Outsb,
    Mnemonic::Outsw,
    Mnemonic::Outsd,
    Mnemonic::Int,
    Mnemonic::Int1,
    Mnemonic::Into,
    Mnemonic::Iret,
    Mnemonic::Iretd,
    Mnemonic::Iretq,
    Mnemonic::Retf,
    Mnemonic::Syscall,
    Mnemonic::Sysret,
    Mnemonic::Sysretq,
    Mnemonic::Sysenter,
    Mnemonic::Sysexit,
    Mnemonic::Sysexitq,
    Mnemonic::Lss,
    Mnemonic::Lfs,
    Mnemonic::Lgs,
    Mnemonic::Xsetbv,
    Mnemonic::Hlt,
    Mnemonic::Cli,
    Mnemonic::Sti,
];

/// ENCLU with the NOP after it, which the emulator may overwrite with a call.
const ENCLU: [u8; 7] = [0x0f, 0x01, 0xd7, 0x0f, 0x1f, 0x40, 0x00];

/// Everything in `code` that the list does not allow; `hashing` is where [`HASHING`] is allowed as well.
fn offences(code: &[u8], address: u64, hashing: &[Range<u64>]) -> Vec<String> {
    let mut offences = Vec::new();
    for instruction in Decoder::with_ip(64, code, address, DecoderOptions::NONE) {
        if let Some(reason) = offence(&instruction, code, address, hashing) {
            let at = instruction.ip();
            offences.push(format!("{at:#x}: {:?}: {reason}", instruction.code()));
        }
    }
    offences
}

fn offence(
    instruction: &Instruction,
    code: &[u8],
    address: u64,
    hashing: &[Range<u64>],
) -> Option<&'static str> {
    if instruction.is_invalid() {
        return Some("no instruction: data among the code cannot be checked");
    }
    let mnemonic = instruction.mnemonic();
    if ILLEGAL.contains(&mnemonic) || instruction.is_privileged() {
        return Some("illegal in an enclave");
    }
    let is_far = matches!(
        instruction.code(),
        Code::Jmp_m1616
            | Code::Jmp_m1632
            | Code::Jmp_m1664
            | Code::Call_m1616
            | Code::Call_m1632
            | Code::Call_m1664
    );
    if is_far || instruction.flow_control() == FlowControl::XbeginXabortXend {
        return Some("far transfers and transactions are illegal in an enclave");
    }
    let writes_segment = mnemonic != Mnemonic::Push
        && instruction.op0_kind() == OpKind::Register
        && instruction.op0_register().is_segment_register();
    if writes_segment {
        return Some("loading a segment register is illegal in an enclave");
    }
    if instruction.segment_prefix() == Register::FS {
        return Some("FS is the program's: the library OS has no thread-local storage there");
    }
    let is_hashing = hashing.iter().any(|range| range.contains(&instruction.ip()));
    let is_allowed = instruction
        .cpuid_features()
        .iter()
        .all(|feature| FEATURES.contains(feature) || is_hashing && HASHING.contains(feature));
    if !is_allowed && !ALLOWED.contains(&mnemonic) {
        return Some("an instruction set extension that is not on the list");
    }
    if mnemonic == Mnemonic::Enclu {
        let at = (instruction.ip() - address) as usize;
        if code.get(at..at + ENCLU.len()) != Some(&ENCLU) {
            return Some("ENCLU without the 4-byte NOP after it");
        }
    }
    None
}

/// Address and size of a symbol (ELF-64 Object File Format, "Symbol Table").
fn symbol(elf: &[u8], name: &str) -> Range<u64> {
    let number = |at: usize, length: usize| {
        let mut bytes = [0; 8];
        bytes[..length].copy_from_slice(&elf[at..at + length]);
        u64::from_le_bytes(bytes)
    };
    let section = |index: u64| (number(0x28, 8) + index * number(0x3a, 2)) as usize;
    let tables = (0..number(0x3c, 2)).map(section).filter(|at| number(at + 4, 4) == 2);
    for table in tables {
        let (start, size) = (number(table + 0x18, 8), number(table + 0x20, 8));
        let names = number(section(number(table + 0x28, 4)) + 0x18, 8);
        for at in (start as usize..(start + size) as usize).step_by(24) {
            let found = &elf[(names + number(at, 4)) as usize..];
            if found.starts_with(name.as_bytes()) && found[name.len()] == 0 {
                let address = number(at + 8, 8);
                return address..address + number(at + 16, 8);
            }
        }
    }
    panic!("the program has no symbol {name}")
}

fn text(elf: &[u8]) -> (u64, Vec<u8>) {
    let loaded = enclave_image::load(elf, 0).expect("our own program");
    let mut code =
        loaded.segments.into_iter().filter(|s| s.rights == enclave_image::Rights::ReadExecute);
    let segment = code.next().expect("it has code");
    assert!(code.next().is_none(), "one code segment");
    // The rest of the last page is zeros, which are not code.
    let length = segment.bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    (segment.offset, segment.bytes[..length].to_vec())
}

#[test]
fn the_program_has_only_allowed_instructions() {
    let (address, code) = text(enclave_image::ELF);
    let elf = enclave_image::ELF;
    let probe = symbol(elf, "__rt_probe").start..symbol(elf, "__rt_probe_end").start;
    let hashing = [symbol(elf, "__rt_sha256_compress"), probe];
    assert!(hashing.iter().all(|range| !range.is_empty()), "{hashing:x?}");
    let offences = offences(&code, address, &hashing);
    assert!(offences.is_empty(), "{} offences:\n{}", offences.len(), offences.join("\n"));
    let enclus = code.windows(3).filter(|bytes| *bytes == &ENCLU[..3]).count();
    assert!(enclus > 0, "an enclave program leaves by ENCLU");
}

/// Every rule has teeth.
#[test]
fn each_kind_of_offence_is_found() {
    let cases: &[(&str, &[u8])] = &[
        ("cpuid", &[0x0f, 0xa2]),
        ("syscall", &[0x0f, 0x05]),
        ("sysenter", &[0x0f, 0x34]),
        ("int 0x80", &[0xcd, 0x80]),
        ("int1", &[0xf1]),
        ("iretq", &[0x48, 0xcf]),
        ("in", &[0xec]),
        ("out", &[0xee]),
        ("insb", &[0x6c]),
        ("rdpmc", &[0x0f, 0x33]),
        ("vmcall", &[0x0f, 0x01, 0xc1]),
        ("xsetbv", &[0x0f, 0x01, 0xd1]),
        ("hlt", &[0xf4]),
        ("mov cr0, rax", &[0x0f, 0x22, 0xc0]),
        ("wrmsr", &[0x0f, 0x30]),
        ("sgdt", &[0x0f, 0x01, 0x00]),
        ("retf", &[0xcb]),
        ("far jmp", &[0x48, 0xff, 0x28]),
        ("far call", &[0x48, 0xff, 0x18]),
        ("mov ds, eax", &[0x8e, 0xd8]),
        ("pop fs", &[0x0f, 0xa1]),
        ("mov rax, fs:[0]", &[0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0]),
        ("fninit", &[0xdb, 0xe3]),
        ("vzeroupper", &[0xc5, 0xf8, 0x77]),
        ("pshufb", &[0x66, 0x0f, 0x38, 0x00, 0xc1]),
        ("sha256rnds2", &[0x0f, 0x38, 0xcb, 0xc1]),
        ("popcnt", &[0xf3, 0x0f, 0xb8, 0xc0]),
        ("xbegin", &[0xc7, 0xf8, 0, 0, 0, 0]),
        ("enclu, no NOP", &[0x0f, 0x01, 0xd7, 0x90, 0x90, 0x90, 0x90]),
        ("invalid", &[0x06]),
    ];
    for (name, code) in cases {
        assert!(!offences(code, 0x1000, &[]).is_empty(), "{name}");
    }
    let elsewhere = offences(&[0x0f, 0x38, 0xcb, 0xc1], 0x1000, from_ref(&(0x1001..0x2000)));
    assert!(!elsewhere.is_empty(), "sha256rnds2 outside the routine for it");
    let too_new = offences(&[0xc5, 0xf8, 0x77], 0x1000, from_ref(&(0x1000..0x2000)));
    assert!(!too_new.is_empty(), "vzeroupper in the routine for hashing");
}

#[test]
fn what_the_run_time_needs_is_allowed() {
    let cases: &[(&str, &[u8])] = &[
        ("enclu", &ENCLU),
        ("xrstor64", &[0x49, 0x0f, 0xae, 0x29]),
        ("rdfsbase", &[0xf3, 0x48, 0x0f, 0xae, 0xc0]),
        ("mov eax, gs:[0x10]", &[0x65, 0x8b, 0x04, 0x25, 0x10, 0, 0, 0]),
        ("rdseed", &[0x48, 0x0f, 0xc7, 0xf8]),
        ("rdtsc", &[0x0f, 0x31]),
        ("movups", &[0x0f, 0x10, 0x06]),
        ("int3, between functions", &[0xcc]),
    ];
    for (name, code) in cases {
        assert_eq!(offences(code, 0x1000, &[]), [""; 0], "{name}");
    }
    let rounds = [0x0f, 0x38, 0xcb, 0xc1];
    assert_eq!(
        offences(&rounds, 0x1000, from_ref(&(0x1000..0x1004))),
        [""; 0],
        "in the routine for it"
    );
}
