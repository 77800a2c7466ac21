//! From the ELF file to pages.

use std::fmt;

/// Bytes of a page.
pub const PAGE_SIZE: u64 = 4096;

/// Longest image: the converter keeps 8 MiB for it.
const MAX_IMAGE: u64 = 8 << 20;

/// EPCM rights of a segment. Never both writable and executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Constants.
    Read,
    /// Code.
    ReadExecute,
    /// Data.
    ReadWrite,
}

/// A run of pages with the same rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Bytes from the image's base, a multiple of [`PAGE_SIZE`].
    pub offset: u64,
    /// Their rights.
    pub rights: Rights,
    /// Their contents, relocated; a multiple of [`PAGE_SIZE`] bytes.
    pub bytes: Vec<u8>,
}

/// The program laid out for one base address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segments {
    /// Bytes from the image's base to the first instruction (OENTRY is this plus the image's offset).
    pub entry: u64,
    /// Ascending, disjoint.
    pub segments: Vec<Segment>,
}

/// What is wrong with an ELF file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// The file ends inside a structure.
    Truncated {
        /// Where the structure starts.
        offset: u64,
        /// Its length.
        length: u64,
    },
    /// A field does not have the value that the link script gives it.
    Field {
        /// Its name in `elf(5)`.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        got: u64,
    },
    /// A relocation that is not R_X86_64_RELATIVE or whose target is outside the segments.
    Relocation {
        /// `r_offset`.
        target: u64,
        /// The low half of `r_info`.
        kind: u32,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { offset, length } => {
                write!(f, "the file ends within the {length} bytes at {offset:#x}")
            }
            Self::Field { field, expected, got } => {
                write!(f, "{field}: expected {expected}, got {got:#x}")
            }
            Self::Relocation { target, kind } => {
                write!(
                    f,
                    "relocation type {kind} at {target:#x}: expected R_X86_64_RELATIVE (8) in a segment"
                )
            }
        }
    }
}

impl std::error::Error for LoadError {}

/// Lays out `elf` for `base`, the linear address at which its offset 0 will lie, with every relocation
/// applied.
///
/// # Errors
/// Anything that the enclave program's link script does not produce: another class, machine or type, a
/// segment that is writable and executable or not page-aligned, overlapping segments, a relocation other
/// than R_X86_64_RELATIVE, an entry point outside the code.
pub fn load(elf: &[u8], base: u64) -> Result<Segments, LoadError> {
    let file = File(elf);
    field("EI_MAG", "0x464c457f", file.u32(0)?.into(), |got| got == 0x464c_457f)?;
    field("EI_CLASS, EI_DATA, EI_VERSION", "0x010102", (file.u32(4)? & 0xff_ffff).into(), |got| {
        got == 0x01_0102
    })?;
    field("e_type", "ET_DYN (3)", file.u16(16)?.into(), |got| got == 3)?;
    field("e_machine", "EM_X86_64 (62)", file.u16(18)?.into(), |got| got == 62)?;
    field("e_phentsize", "56", file.u16(54)?.into(), |got| got == 56)?;
    field("base", "a multiple of 4096", base, |got| got.is_multiple_of(PAGE_SIZE))?;
    let entry = file.u64(24)?;
    let table = file.u64(32)?;
    let count = u64::from(file.u16(56)?);

    let mut segments: Vec<Segment> = Vec::new();
    let mut dynamic = None;
    for index in 0..count {
        let header = table
            .checked_add(index * 56)
            .ok_or(LoadError::Truncated { offset: table, length: 56 })?;
        match file.u32(header)? {
            PT_LOAD => segments.push(segment(file, header, segments.last())?),
            PT_DYNAMIC => dynamic = Some((file.u64(header + 16)?, file.u64(header + 40)?)),
            PT_INTERP => {
                return Err(LoadError::Field {
                    field: "p_type",
                    expected: "no PT_INTERP",
                    got: PT_INTERP.into(),
                });
            }
            _ => {}
        }
    }
    let code = segments.iter().find(|segment| segment.rights == Rights::ReadExecute);
    let is_entry_code = code.is_some_and(|code| {
        entry.checked_sub(code.offset).is_some_and(|at| at < code.bytes.len() as u64)
    });
    field("e_entry", "an address in the code segment", entry, |_| is_entry_code)?;
    if let Some((address, length)) = dynamic {
        relocate(&mut segments, address, length, base)?;
    }
    Ok(Segments { entry, segments })
}

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;

fn field(
    name: &'static str,
    expected: &'static str,
    got: u64,
    is_right: impl FnOnce(u64) -> bool,
) -> Result<(), LoadError> {
    if is_right(got) { Ok(()) } else { Err(LoadError::Field { field: name, expected, got }) }
}

fn segment(file: File<'_>, header: u64, previous: Option<&Segment>) -> Result<Segment, LoadError> {
    let flags = file.u32(header + 4)?;
    let rights = match flags {
        4 => Rights::Read,
        5 => Rights::ReadExecute,
        6 => Rights::ReadWrite,
        _ => {
            return Err(LoadError::Field {
                field: "p_flags",
                expected: "R (4), RX (5) or RW (6)",
                got: flags.into(),
            });
        }
    };
    let offset = file.u64(header + 16)?;
    field("p_vaddr", "a multiple of 4096 below 8 MiB", offset, |got| {
        got.is_multiple_of(PAGE_SIZE) && got < MAX_IMAGE
    })?;
    let end = previous.map_or(0, |previous| previous.offset + previous.bytes.len() as u64);
    field("p_vaddr", "at or after the end of the segment before it", offset, |got| got >= end)?;
    let length = file.u64(header + 32)?;
    let in_memory = file.u64(header + 40)?;
    field("p_memsz", "at most 8 MiB with p_vaddr", in_memory, |got| got <= MAX_IMAGE - offset)?;
    field("p_filesz", "at most p_memsz", length, |got| got <= in_memory)?;
    let mut bytes = file.bytes(file.u64(header + 8)?, length)?.to_vec();
    bytes.resize(in_memory.next_multiple_of(PAGE_SIZE) as usize, 0);
    Ok(Segment { offset, rights, bytes })
}

const DT_RELA: u64 = 7;
const DT_RELASZ: u64 = 8;
const DT_RELAENT: u64 = 9;
/// Tables that would need a dynamic linker: NEEDED, REL, JMPREL, RELR.
const DT_REFUSED: [u64; 4] = [1, 17, 23, 36];

fn relocate(
    segments: &mut [Segment],
    dynamic: u64,
    length: u64,
    base: u64,
) -> Result<(), LoadError> {
    let (mut table, mut table_length) = (0, 0);
    for at in (0..length / 16).map(|index| dynamic.wrapping_add(index * 16)) {
        let value = read_u64(segments, at.wrapping_add(8))?;
        match read_u64(segments, at)? {
            0 => break,
            DT_RELA => table = value,
            DT_RELASZ => table_length = value,
            DT_RELAENT => field("DT_RELAENT", "24", value, |got| got == 24)?,
            tag if DT_REFUSED.contains(&tag) => {
                return Err(LoadError::Field {
                    field: "d_tag",
                    expected: "no NEEDED, REL, JMPREL or RELR",
                    got: tag,
                });
            }
            _ => {}
        }
    }
    field("DT_RELASZ", "a multiple of 24, at most 8 MiB", table_length, |got| {
        got.is_multiple_of(24) && got <= MAX_IMAGE
    })?;
    for at in (0..table_length / 24).map(|index| table.wrapping_add(index * 24)) {
        let target = read_u64(segments, at)?;
        let kind = read_u64(segments, at.wrapping_add(8))?;
        let addend = read_u64(segments, at.wrapping_add(16))?;
        let refusal = LoadError::Relocation { target, kind: kind as u32 };
        if kind != R_X86_64_RELATIVE {
            return Err(refusal);
        }
        let place = slice(segments, target).ok_or(refusal)?;
        place.copy_from_slice(&base.wrapping_add(addend).to_le_bytes());
    }
    Ok(())
}

const R_X86_64_RELATIVE: u64 = 8;

/// The eight bytes at an address of the image.
fn slice(segments: &mut [Segment], address: u64) -> Option<&mut [u8]> {
    segments.iter_mut().find_map(|segment| {
        let at = usize::try_from(address.checked_sub(segment.offset)?).ok()?;
        segment.bytes.get_mut(at..at.checked_add(8)?)
    })
}

fn read_u64(segments: &mut [Segment], address: u64) -> Result<u64, LoadError> {
    let bytes =
        slice(segments, address).ok_or(LoadError::Truncated { offset: address, length: 8 })?;
    Ok(u64::from_le_bytes(bytes.try_into().expect("slice gives eight bytes")))
}

/// Checked reads of the file.
#[derive(Clone, Copy)]
struct File<'a>(&'a [u8]);

impl<'a> File<'a> {
    fn bytes(self, offset: u64, length: u64) -> Result<&'a [u8], LoadError> {
        let range = usize::try_from(offset)
            .ok()
            .zip(offset.checked_add(length).and_then(|end| usize::try_from(end).ok()));
        range
            .and_then(|(start, end)| self.0.get(start..end))
            .ok_or(LoadError::Truncated { offset, length })
    }

    fn array<const N: usize>(self, offset: u64) -> Result<[u8; N], LoadError> {
        Ok(self.bytes(offset, N as u64)?.try_into().expect("bytes gives as many as asked for"))
    }

    fn u16(self, offset: u64) -> Result<u16, LoadError> {
        self.array(offset).map(u16::from_le_bytes)
    }

    fn u32(self, offset: u64) -> Result<u32, LoadError> {
        self.array(offset).map(u32::from_le_bytes)
    }

    fn u64(self, offset: u64) -> Result<u64, LoadError> {
        self.array(offset).map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 0xf_ff80_0000;

    #[test]
    fn the_program_loads_and_its_entry_is_code() {
        let loaded = load(crate::ELF, BASE).expect("our own program");
        let code =
            loaded.segments.iter().find(|s| s.rights == Rights::ReadExecute).expect("has code");
        assert!(loaded.entry >= code.offset);
        assert!(loaded.segments.iter().all(|s| (s.bytes.len() as u64).is_multiple_of(PAGE_SIZE)));
    }

    #[test]
    fn relocations_follow_the_base() {
        let (low, high) =
            (load(crate::ELF, 0).expect("loads"), load(crate::ELF, BASE).expect("loads"));
        for (low, high) in low.segments.iter().zip(&high.segments) {
            for (at, (low, high)) in low.bytes.chunks(8).zip(high.bytes.chunks(8)).enumerate() {
                let value = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight"));
                assert!(low == high || value(high) - value(low) == BASE, "at {:#x}", at * 8);
            }
            assert!(
                low.rights != Rights::ReadExecute || low.bytes == high.bytes,
                "code needs no relocation"
            );
        }
    }

    #[test]
    fn truncated_and_flipped_files_are_refused_or_load_without_panic() {
        for length in (0..crate::ELF.len().min(8192)).step_by(7) {
            let _ = load(&crate::ELF[..length], BASE);
        }
        assert!(load(&crate::ELF[..100], BASE).is_err());
        let mut bytes = crate::ELF.to_vec();
        for at in 0..512 {
            for value in [0, 0x7f, 0xff] {
                let saved = core::mem::replace(&mut bytes[at], value);
                let _ = load(&bytes, BASE);
                bytes[at] = saved;
            }
        }
    }

    #[test]
    fn a_writable_and_executable_segment_is_refused() {
        let mut bytes = crate::ELF.to_vec();
        let header = u64::from_le_bytes(bytes[32..40].try_into().expect("eight")) as usize;
        bytes[header + 4] = 7;
        let refusal =
            LoadError::Field { field: "p_flags", expected: "R (4), RX (5) or RW (6)", got: 7 };
        assert_eq!(load(&bytes, BASE), Err(refusal));
    }
}
