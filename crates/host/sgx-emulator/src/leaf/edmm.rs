//! EACCEPT, EMODPE, EACCEPTCOPY (SDM Vol. 3D, operation of each).

use super::{Done, Fault, Operands, read};
use crate::enclave::Shared;
use crate::epcm::Entry;
use crate::space::{Access, PAGE, PageFault, Resolution, error_code};
use core::sync::atomic::Ordering;
use sgx::driver::Protection;
use sgx::{ErrorCode, PageType, Secinfo, SecinfoFlags};

const OK: Done = Done { result: Some(0) };
const MISMATCH: Done = Done { result: Some(ErrorCode::PageAttributesMismatch as u32) };

/// Reads and checks a SECINFO operand.
fn secinfo(shared: &Shared, address: u64) -> Result<SecinfoFlags, Fault> {
    let bytes: [u8; 64] = read(shared, address, 64)?;
    let secinfo = Secinfo::parse(&bytes).map_err(|_| Fault::GeneralProtection)?;
    let known = SecinfoFlags::all();
    if !secinfo.flags.difference(known).is_empty() {
        return Err(Fault::GeneralProtection);
    }
    Ok(secinfo.flags)
}

fn permissions(flags: SecinfoFlags) -> Protection {
    Protection((flags & SecinfoFlags::RWX).bits() as u8)
}

/// Checks the linear address of an EPC page operand; gives its page number.
fn page(shared: &Shared, address: u64) -> Result<u64, Fault> {
    if !address.is_multiple_of(PAGE) || address >= shared.space.size() {
        return Err(Fault::GeneralProtection);
    }
    Ok(address / PAGE)
}

/// #PF because the EPCM forbids the use of a page.
const fn forbidden(address: u64, write: bool) -> Fault {
    let write = if write { error_code::WRITE } else { 0 };
    let error_code = error_code::PRESENT | error_code::USER | error_code::SGX | write;
    Fault::Page(PageFault { address, error_code })
}

/// The EPCM entry of an operand. The page-table walk of the instruction faults where the page is absent,
/// the kernel augments it, and the instruction is done again: all that is here.
fn walk(shared: &Shared, address: u64) -> Result<(crate::space::Locked<'_>, Entry), Fault> {
    let number = page(shared, address)?;
    let mut space = shared.space.lock();
    if !space.rights(number).contains(Protection::READ) || !space.entry(number).is_valid() {
        match space.resolve(address, Access::Read) {
            Resolution::Fault(fault) if fault.error_code & error_code::SGX == 0 => {
                return Err(fault.into());
            }
            Resolution::Retry | Resolution::Fault(_) => {}
        }
    }
    let entry = space.entry(number);
    Ok((space, entry))
}

pub(super) fn eaccept(shared: &Shared, operands: Operands) -> Result<Done, Fault> {
    let flags = secinfo(shared, operands.rbx)?;
    let states = SecinfoFlags::PENDING | SecinfoFlags::MODIFIED | SecinfoFlags::PR;
    let is_legal = match flags.page_type() {
        Some(PageType::Reg) => true,
        Some(PageType::Tcs | PageType::Trim) => flags & states == SecinfoFlags::MODIFIED,
        _ => false,
    };
    if !is_legal {
        return Err(Fault::GeneralProtection);
    }
    let (space, entry) = walk(shared, operands.rcx)?;
    if ![PageType::Reg, PageType::Tcs, PageType::Trim].iter().any(|&t| entry.is(t)) {
        return Err(forbidden(operands.rcx, false));
    }
    let matches = entry.rwx() == permissions(flags)
        && entry.is_pending() == flags.contains(SecinfoFlags::PENDING)
        && entry.is_modified() == flags.contains(SecinfoFlags::MODIFIED)
        && entry.is_restricted() == flags.contains(SecinfoFlags::PR)
        && u64::from(entry.type_number()) == (flags & SecinfoFlags::PAGE_TYPE).bits() >> 8;
    if !matches {
        return Ok(MISMATCH);
    }
    let number = operands.rcx / PAGE;
    if entry.is(PageType::Tcs) {
        drop(space);
        // The contents were fixed by EMODT; a page that cannot be a TCS is #GP and stays modified.
        shared.accept_tcs(operands.rcx).map_err(|_| Fault::GeneralProtection)?;
        let space = shared.space.lock();
        space.set_entry(number, space.entry(number).with_modified(false));
        return Ok(OK);
    }
    space.set_entry(number, entry.with_pending(false).with_modified(false).with_restricted(false));
    // A single page is mapped now, which costs less than the fault that would map it. The pages that follow
    // one after the other are mapped all together, by the first fault in them.
    let continues = shared.last_accepted.swap(number, Ordering::Relaxed).wrapping_add(1) == number;
    if entry.is_pending() && !continues {
        // If the kernel has no memory for it, the fault will tell.
        let _ = space.map_run(number);
    }
    Ok(OK)
}

pub(super) fn emodpe(shared: &Shared, operands: Operands) -> Result<Done, Fault> {
    let flags = secinfo(shared, operands.rbx)?;
    if flags.contains(SecinfoFlags::W) && !flags.contains(SecinfoFlags::R) {
        return Err(Fault::GeneralProtection);
    }
    let (space, entry) = walk(shared, operands.rcx)?;
    if !entry.is(PageType::Reg) || entry.is_pending() || entry.is_modified() {
        return Err(forbidden(operands.rcx, false));
    }
    let rwx = entry.rwx() | permissions(flags);
    if rwx.contains(Protection::WRITE) && !rwx.contains(Protection::READ) {
        return Err(Fault::GeneralProtection);
    }
    space.set_entry(operands.rcx / PAGE, entry.with_rwx(rwx));
    Ok(Done { result: None })
}

pub(super) fn eacceptcopy(shared: &Shared, operands: Operands) -> Result<Done, Fault> {
    let flags = secinfo(shared, operands.rbx)?;
    let plain = flags.difference(SecinfoFlags::RWX | SecinfoFlags::PAGE_TYPE).is_empty();
    let is_legal = flags.page_type() == Some(PageType::Reg)
        && plain
        && (flags.contains(SecinfoFlags::R) || !flags.contains(SecinfoFlags::W));
    if !is_legal {
        return Err(Fault::GeneralProtection);
    }
    let source: [u8; 4096] = read(shared, operands.rdx, PAGE)?;
    let (space, entry) = walk(shared, operands.rcx)?;
    if !entry.is(PageType::Reg) {
        return Err(forbidden(operands.rcx, true));
    }
    let rw = Protection::READ | Protection::WRITE;
    if !entry.is_pending() || entry.is_modified() || entry.rwx() != rw {
        return Ok(MISMATCH);
    }
    // Accepted and writable for the copy, which no other thread can see begin: the page was pending.
    let number = operands.rcx / PAGE;
    let accepted = entry.with_pending(false).with_rwx(permissions(flags));
    space.set_entry(number, accepted);
    space.fill_page(number, &source).map_err(|_| forbidden(operands.rcx, true))?;
    Ok(OK)
}
