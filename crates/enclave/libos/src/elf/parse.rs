//! The ELF header and program headers (System V ABI, AMD64 supplement 1.0), totally parsed.
//!
//! Guarantees: every segment's file range lies in the file, its memory range does not wrap and does not
//! overlap another's, and offset and address agree modulo the page. What is not understood is refused.

use super::bytes::Bytes;
use crate::errno::Errno;
use crate::platform::Access;
use alloc::vec::Vec;
use core::ops::Range;

const HEADER_SIZE: usize = 64;
const PROGRAM_HEADER_SIZE: usize = 56;
/// Linux takes at most a page of program headers.
const MAX_PROGRAM_HEADERS: usize = 4096 / PROGRAM_HEADER_SIZE;
const MAX_INTERPRETER: u64 = 4096;
/// Highest address a segment may end at: user space of 4-level paging.
const ADDRESS_LIMIT: u64 = 1 << 47;
const PAGE: u64 = 4096;

/// Position of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ET_EXEC: its addresses are absolute.
    Fixed,
    /// ET_DYN: its addresses are relative to where it is loaded.
    Relocatable,
}

/// A PT_LOAD segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Virtual address, not page-aligned.
    pub address: u64,
    /// Bytes in memory; those past `file_size` are zero.
    pub memory_size: u64,
    /// Offset in the file; equal to `address` modulo the page.
    pub offset: u64,
    /// Bytes in the file.
    pub file_size: u64,
    /// Rights.
    pub access: Access,
}

impl Segment {
    /// The pages that it occupies.
    #[must_use]
    pub fn pages(&self) -> Range<u64> {
        (self.address & !(PAGE - 1))..(self.address + self.memory_size).next_multiple_of(PAGE)
    }
}

/// What an ELF file says of how to run it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Position.
    pub kind: Kind,
    /// Entry point, as the segments' addresses.
    pub entry: u64,
    /// PT_LOAD segments in ascending address, not empty.
    pub segments: Vec<Segment>,
    /// Path of the interpreter, without its NUL.
    pub interpreter: Option<Vec<u8>>,
    /// Address of the program headers in memory (AT_PHDR), if a segment holds them.
    pub program_headers: Option<u64>,
    /// Number of program headers (AT_PHNUM).
    pub program_header_count: u16,
    /// Address of the exception-frame header (PT_GNU_EH_FRAME).
    pub eh_frame_header: Option<u64>,
    /// Whether PT_GNU_STACK asks for an executable stack, or is absent.
    pub is_stack_executable: bool,
}

impl Program {
    /// All pages from the first segment's to the last's.
    #[must_use]
    pub fn span(&self) -> Range<u64> {
        let first = self.segments.first().map_or(0, |segment| segment.pages().start);
        let last = self.segments.last().map_or(0, |segment| segment.pages().end);
        first..last
    }
}

/// Why a file is not a program we run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElfError {
    /// It does not begin as an ELF file.
    NotElf,
    /// A header field has a value that is not supported or contradicts another.
    Field {
        /// Its name in the ABI.
        name: &'static str,
        /// What came.
        got: u64,
    },
    /// The file ends before what its headers promise.
    Truncated {
        /// Bytes that are needed.
        expected: u64,
        /// Bytes that there are.
        got: u64,
    },
    /// It could not be read.
    Io(Errno),
}

impl From<ElfError> for Errno {
    fn from(error: ElfError) -> Self {
        match error {
            ElfError::Io(errno) => errno,
            _ => Self::ENOEXEC,
        }
    }
}

/// Parses the headers of a program or an interpreter.
///
/// # Errors
/// What is wrong, by field.
pub fn parse(file: &(impl Bytes + ?Sized)) -> Result<Program, ElfError> {
    let mut header = [0; HEADER_SIZE];
    exact(file, 0, &mut header)?;
    if header[..4] != *b"\x7fELF" {
        return Err(ElfError::NotElf);
    }
    expect("EI_CLASS", u64::from(header[4]), 2)?;
    expect("EI_DATA", u64::from(header[5]), 1)?;
    expect("e_machine", u64::from(u16_at(&header, 18)), 62)?;
    expect("e_phentsize", u64::from(u16_at(&header, 54)), PROGRAM_HEADER_SIZE as u64)?;
    let kind = match u16_at(&header, 16) {
        2 => Kind::Fixed,
        3 => Kind::Relocatable,
        other => return Err(field("e_type", u64::from(other))),
    };
    let count = u16_at(&header, 56);
    if count == 0 || usize::from(count) > MAX_PROGRAM_HEADERS {
        return Err(field("e_phnum", u64::from(count)));
    }
    let headers_at = u64_at(&header, 32);
    let mut headers = alloc::vec![0; usize::from(count) * PROGRAM_HEADER_SIZE];
    exact(file, headers_at, &mut headers)?;

    let mut program = Program {
        kind,
        entry: u64_at(&header, 24),
        segments: Vec::new(),
        interpreter: None,
        program_headers: None,
        program_header_count: count,
        eh_frame_header: None,
        is_stack_executable: true,
    };
    for entry in headers.chunks_exact(PROGRAM_HEADER_SIZE) {
        match u32_at(entry, 0) {
            PT_LOAD => {
                if let Some(segment) = segment(entry, file.len())? {
                    program.segments.push(segment);
                }
            }
            PT_INTERP if program.interpreter.is_none() => {
                program.interpreter = Some(interpreter(file, entry)?);
            }
            PT_GNU_EH_FRAME => program.eh_frame_header = Some(u64_at(entry, 16)),
            PT_GNU_STACK => program.is_stack_executable = u32_at(entry, 4) & PF_X != 0,
            _ => {}
        }
    }
    check_order(&program.segments)?;
    if !program.span().contains(&program.entry) {
        return Err(field("e_entry", program.entry));
    }
    program.program_headers = program
        .segments
        .iter()
        .find(|segment| {
            headers_at >= segment.offset
                && headers_at - segment.offset + headers.len() as u64 <= segment.file_size
        })
        .map(|segment| segment.address + (headers_at - segment.offset));
    Ok(program)
}

const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
const PT_GNU_STACK: u32 = 0x6474_e551;
const PF_X: u32 = 1;
const PF_W: u32 = 2;
const PF_R: u32 = 4;

/// A PT_LOAD entry; None if it occupies nothing.
fn segment(entry: &[u8], file_size: u64) -> Result<Option<Segment>, ElfError> {
    let flags = u32_at(entry, 4);
    let segment = Segment {
        offset: u64_at(entry, 8),
        address: u64_at(entry, 16),
        file_size: u64_at(entry, 32),
        memory_size: u64_at(entry, 40),
        access: Access {
            read: flags & PF_R != 0,
            write: flags & PF_W != 0,
            execute: flags & PF_X != 0,
        },
    };
    if segment.memory_size == 0 {
        return Ok(None);
    }
    if segment.file_size > segment.memory_size {
        return Err(field("p_filesz", segment.file_size));
    }
    if segment.address % PAGE != segment.offset % PAGE {
        return Err(field("p_offset", segment.offset));
    }
    match segment.address.checked_add(segment.memory_size) {
        Some(end) if end <= ADDRESS_LIMIT => {}
        _ => return Err(field("p_memsz", segment.memory_size)),
    }
    match segment.offset.checked_add(segment.file_size) {
        Some(end) if end <= file_size => Ok(Some(segment)),
        Some(end) => Err(ElfError::Truncated { expected: end, got: file_size }),
        None => Err(field("p_offset", segment.offset)),
    }
}

fn interpreter(file: &(impl Bytes + ?Sized), entry: &[u8]) -> Result<Vec<u8>, ElfError> {
    let (offset, size) = (u64_at(entry, 8), u64_at(entry, 32));
    if !(2..=MAX_INTERPRETER).contains(&size) {
        return Err(field("p_filesz", size));
    }
    let mut path = alloc::vec![0; size as usize];
    exact(file, offset, &mut path)?;
    if path.pop() != Some(0) || path.contains(&0) {
        return Err(field("PT_INTERP", offset));
    }
    Ok(path)
}

/// Segments ascend and share no page unless with equal rights; there is at least one.
fn check_order(segments: &[Segment]) -> Result<(), ElfError> {
    if segments.is_empty() {
        return Err(field("PT_LOAD", 0));
    }
    for pair in segments.windows(2) {
        if pair[1].address < pair[0].address + pair[0].memory_size {
            return Err(field("p_vaddr", pair[1].address));
        }
    }
    Ok(())
}

fn exact(file: &(impl Bytes + ?Sized), offset: u64, into: &mut [u8]) -> Result<(), ElfError> {
    let wanted = into.len();
    let got = file.read_at(offset, into).map_err(ElfError::Io)?;
    if got == wanted {
        return Ok(());
    }
    Err(ElfError::Truncated { expected: offset.saturating_add(wanted as u64), got: file.len() })
}

const fn field(name: &'static str, got: u64) -> ElfError {
    ElfError::Field { name, got }
}

fn expect(name: &'static str, got: u64, expected: u64) -> Result<(), ElfError> {
    if got == expected { Ok(()) } else { Err(field(name, got)) }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busybox() -> Vec<u8> {
        std::fs::read("/bin/busybox").expect("busybox-static is installed")
    }

    fn patched(at: usize, bytes: &[u8]) -> Result<Program, ElfError> {
        let mut file = busybox();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        parse(&file[..])
    }

    #[test]
    fn static_busybox_is_fixed_at_4_mib() {
        let program = parse(&busybox()[..]).unwrap();
        assert_eq!(program.kind, Kind::Fixed);
        assert_eq!(program.span().start, 0x40_0000);
        assert_eq!(program.interpreter, None);
        assert_eq!(program.program_headers, Some(0x40_0040));
        assert!(!program.is_stack_executable);
    }

    #[test]
    fn bash_is_relocatable_and_names_its_interpreter() {
        let program = parse(&std::fs::read("/bin/bash").unwrap()[..]).unwrap();
        assert_eq!(program.kind, Kind::Relocatable);
        assert_eq!(program.interpreter.as_deref(), Some(&b"/lib64/ld-linux-x86-64.so.2"[..]));
        assert_eq!(program.segments.len(), 4);
    }

    #[test]
    fn wrong_fields_are_named() {
        assert_eq!(patched(0, b"#!/b"), Err(ElfError::NotElf));
        assert_eq!(patched(4, &[1]), Err(field("EI_CLASS", 1)));
        assert_eq!(patched(18, &[3, 0]), Err(field("e_machine", 3)));
        assert_eq!(patched(56, &[0, 0]), Err(field("e_phnum", 0)));
        assert_eq!(patched(24, &[0; 8]), Err(field("e_entry", 0)));
        // The first program header is a PT_LOAD at offset 64.
        assert_eq!(patched(64 + 8, &[1]), Err(field("p_offset", 1)));
        assert_eq!(patched(64 + 40, &[0xff; 8]), Err(field("p_memsz", u64::MAX)));
    }

    #[test]
    fn every_truncation_is_refused_or_harmless() {
        let file = busybox();
        for length in [0, 1, 63, 64, 200, 0x1000, 0x18_4000, file.len() / 2] {
            assert!(parse(&file[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn mutated_headers_never_panic() {
        let original = busybox();
        let head = &original[..0x2b0];
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            let mut file = head.to_vec();
            for _ in 0..3 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (state >> 33) as usize % file.len();
                file[at] = (state >> 24) as u8;
            }
            let _ = parse(&file[..]);
        }
    }
}
