//! Which bytes of a program are which function, out of `.eh_frame` (Linux Standard Base 5.0, Core,
//! section on exception frames).
//!
//! Total: a malformed table gives fewer functions, never a panic; what it misses is left to trap.

use super::image::FileMap;
use crate::elf::Bytes;
use alloc::vec::Vec;

/// Larger tables are not read.
const MAX_TABLE: u64 = 64 << 20;

/// A function's bytes, as link-time addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Function {
    pub(super) start: u64,
    pub(super) end: u64,
}

/// Functions in ascending order, without overlap.
pub(super) fn functions(file: &(impl Bytes + ?Sized), map: &FileMap) -> Vec<Function> {
    let mut found = match eh_frame(file, map) {
        Some(table) => parse(&table.bytes, table.address),
        None => Vec::new(),
    };
    found.sort_unstable();
    found.dedup_by(|next, kept| next.start < kept.end);
    found
}

struct Section {
    address: u64,
    bytes: Vec<u8>,
}

/// The `.eh_frame` section by its section header, or by the pointer in PT_GNU_EH_FRAME.
fn eh_frame(file: &(impl Bytes + ?Sized), map: &FileMap) -> Option<Section> {
    let (offset, size, address) = by_section(file).or_else(|| by_header(file, map))?;
    let size = size.min(file.len().checked_sub(offset)?);
    if size > MAX_TABLE {
        return None;
    }
    let mut bytes = alloc::vec![0; size as usize];
    let got = file.read_at(offset, &mut bytes).ok()?;
    bytes.truncate(got);
    Some(Section { address, bytes })
}

fn by_section(file: &(impl Bytes + ?Sized)) -> Option<(u64, u64, u64)> {
    let mut header = [0; 64];
    read(file, 0, &mut header)?;
    let (at, size) = (u64_at(&header, 40)?, u64::from(u16_at(&header, 58)?));
    let (count, names) = (u16_at(&header, 60)?, u16_at(&header, 62)?);
    if size != 64 || count == 0 || names >= count {
        return None;
    }
    let mut table = alloc::vec![0; usize::from(count) * 64];
    read(file, at, &mut table)?;
    let entry = |index: u16| table.get(usize::from(index) * 64..).map(|bytes| &bytes[..64]);
    let names_at = u64_at(entry(names)?, 24)?;
    (0..count).find_map(|index| {
        let section = entry(index)?;
        let mut name = [0; 10];
        read(file, names_at.checked_add(u64::from(u32_at(section, 0)?))?, &mut name)?;
        (name == *b".eh_frame\0").then_some(())?;
        Some((u64_at(section, 24)?, u64_at(section, 32)?, u64_at(section, 16)?))
    })
}

fn by_header(file: &(impl Bytes + ?Sized), map: &FileMap) -> Option<(u64, u64, u64)> {
    const DW_EH_PE_PCREL_SDATA4: u8 = 0x1b;
    let header_at = map.eh_frame_header?;
    let mut header = [0; 8];
    read(file, map.offset_of(header_at)?, &mut header)?;
    if header[0] != 1 || header[1] != DW_EH_PE_PCREL_SDATA4 {
        return None;
    }
    let pointer = i64::from(u32_at(&header, 4)? as i32);
    let address = header_at.checked_add(4)?.checked_add_signed(pointer)?;
    let segment_end = map.end_of(address)?;
    Some((map.offset_of(address)?, segment_end - address, address))
}

/// All FDEs of a table that lies at `address`.
fn parse(table: &[u8], address: u64) -> Vec<Function> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(length) = u32_at(table, at).filter(|length| (4..0xffff_fff0).contains(length)) {
        let body = at + 4;
        let Some(record) = table.get(body..body + length as usize) else { break };
        let id = u32_at(record, 0).unwrap_or(0) as usize;
        if id != 0
            && let Some(cie) = body.checked_sub(id)
            && let Some(encoding) = pointer_encoding(table, cie)
            && let Some(function) = fde(record, address.wrapping_add(body as u64 + 4), encoding)
        {
            found.push(function);
        }
        at = body + length as usize;
    }
    found
}

/// The range of an FDE whose first pointer lies at `address`.
fn fde(record: &[u8], address: u64, encoding: u8) -> Option<Function> {
    const PCREL: u8 = 0x10;
    let (start, length, is_relative) = match encoding & 0x0f {
        // udata4, sdata4
        0x03 | 0x0b => (i64::from(u32_at(record, 4)? as i32), u64::from(u32_at(record, 8)?), true),
        // absptr, udata8, sdata8
        0x00 | 0x04 | 0x0c => (u64_at(record, 4)? as i64, u64_at(record, 12)?, false),
        _ => return None,
    };
    let start = match encoding & 0x70 {
        PCREL => address.wrapping_add_signed(start),
        0 if is_relative => u64::from(start as u32),
        0 => start as u64,
        _ => return None,
    };
    let end = start.checked_add(length)?;
    (length > 0).then_some(Function { start, end })
}

/// The pointer encoding that the CIE at `at` (its length field) gives its FDEs.
fn pointer_encoding(table: &[u8], at: usize) -> Option<u8> {
    let length = u32_at(table, at)? as usize;
    let record = table.get(at + 4..(at + 4).checked_add(length)?)?;
    if u32_at(record, 0)? != 0 {
        return None;
    }
    let names_end = 5 + record.get(5..)?.iter().position(|&byte| byte == 0)?;
    let names = &record[5..names_end];
    let mut rest = record.get(names_end + 1..)?;
    skip_leb128(&mut rest)?; // code alignment
    skip_leb128(&mut rest)?; // data alignment
    skip_leb128(&mut rest)?; // return register (a byte in version 1, the same for small values)
    if names.first() != Some(&b'z') {
        return names.is_empty().then_some(0);
    }
    skip_leb128(&mut rest)?;
    for name in &names[1..] {
        match name {
            b'R' => return rest.first().copied(),
            b'L' => rest = rest.get(1..)?,
            b'P' => {
                let size = match rest.first()? & 0x0f {
                    0x02 | 0x0a => 2,
                    0x03 | 0x0b => 4,
                    0x00 | 0x04 | 0x0c => 8,
                    _ => return None,
                };
                rest = rest.get(1 + size..)?;
            }
            b'S' | b'B' => {}
            _ => return None,
        }
    }
    Some(0)
}

fn skip_leb128(bytes: &mut &[u8]) -> Option<()> {
    let end = bytes.iter().take(10).position(|byte| byte & 0x80 == 0)?;
    *bytes = &bytes[end + 1..];
    Some(())
}

fn read(file: &(impl Bytes + ?Sized), offset: u64, into: &mut [u8]) -> Option<()> {
    let wanted = into.len();
    (file.read_at(offset, into).ok()? == wanted).then_some(())
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}
