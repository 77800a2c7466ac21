//! The ENCLU leaves that work on memory (EEXIT is in [`crate::aex`] and [`crate::gates`]).
//!
//! [`execute`] is what both the trap path and the gates call. It works on the enclave's memory as the CPU
//! would: operands are checked, an inaccessible one is #PF, a malformed one #GP.

mod edmm;
mod keys;

use crate::aex;
use crate::block::Block;
use crate::enclave::Shared;
use crate::space::{Access, PageFault};
use sgx::Enclu;

/// RBX, RCX and RDX at ENCLU.
#[derive(Clone, Copy)]
pub(crate) struct Operands {
    pub(crate) rbx: u64,
    pub(crate) rcx: u64,
    pub(crate) rdx: u64,
}

/// A leaf that completed.
pub(crate) struct Done {
    /// The error code that the leaf returns in EAX, 0 for success; `None` if it leaves RAX and the flags.
    pub(crate) result: Option<u32>,
}

/// A leaf that faulted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    GeneralProtection,
    Page(PageFault),
}

impl From<PageFault> for Fault {
    fn from(fault: PageFault) -> Self {
        Self::Page(fault)
    }
}

/// RFLAGS after a leaf with a result: ZF says error, the other arithmetic flags are clear.
pub(crate) const fn flags_after(flags: u64, result: u32) -> u64 {
    const ARITHMETIC: u64 = 0x8d5;
    const ZERO: u64 = 1 << 6;
    flags & !ARITHMETIC | if result == 0 { 0 } else { ZERO }
}

/// Executes a leaf for enclave code.
pub(crate) fn execute(shared: &Shared, leaf: u32, operands: Operands) -> Result<Done, Fault> {
    match Enclu::from_number(leaf) {
        Some(Enclu::Ereport) => keys::ereport(shared, operands),
        Some(Enclu::Egetkey) => keys::egetkey(shared, operands),
        Some(Enclu::Eaccept) => edmm::eaccept(shared, operands),
        Some(Enclu::Emodpe) => edmm::emodpe(shared, operands),
        Some(Enclu::Eacceptcopy) => edmm::eacceptcopy(shared, operands),
        // EEXIT is not handled here; EENTER and ERESUME are refused in enclave mode; EDECCSSA is not
        // enumerated by this CPU.
        Some(Enclu::Eexit | Enclu::Eenter | Enclu::Eresume | Enclu::Edeccssa) | None => {
            Err(Fault::GeneralProtection)
        }
    }
}

/// Called by the leaf gate with the registers in the block. Gives 1 when done, 0 to have it done again
/// exactly, by trap.
///
/// # Safety
/// `block` is the calling thread's, which is in the enclave.
pub(crate) unsafe extern "C" fn gate_leaf(block: *mut Block) -> u32 {
    // SAFETY: as the caller promises.
    let (shared, gate) = unsafe { (aex::context(block).0, &mut (*block).gate) };
    let operands = Operands { rbx: gate.rbx, rcx: gate.rcx, rdx: gate.rdx };
    let Ok(done) = execute(shared, gate.rax as u32, operands) else { return 0 };
    if let Some(result) = done.result {
        gate.rax = result.into();
        gate.rflags = flags_after(gate.rflags, result);
    }
    1
}

/// Checks an operand: aligned and wholly in ELRANGE, or #GP; accessible, or #PF.
fn operand(
    shared: &Shared,
    address: u64,
    length: u64,
    alignment: u64,
    access: Access,
) -> Result<(), Fault> {
    let end = address.checked_add(length).ok_or(Fault::GeneralProtection)?;
    if !address.is_multiple_of(alignment) || end > shared.space.size() {
        return Err(Fault::GeneralProtection);
    }
    shared.space.touch(address, length, access)?;
    Ok(())
}

/// Reads an operand.
fn read<const N: usize>(shared: &Shared, address: u64, alignment: u64) -> Result<[u8; N], Fault> {
    operand(shared, address, N as u64, alignment, Access::Read)?;
    let mut bytes = [0; N];
    // SAFETY: the range was checked to be mapped readable enclave memory, where no Rust object lies;
    // enclave threads may change it meanwhile, so it is copied once, by raw pointer.
    unsafe { core::ptr::copy_nonoverlapping(address as *const u8, bytes.as_mut_ptr(), N) };
    Ok(bytes)
}

/// Writes an output.
fn write(shared: &Shared, address: u64, alignment: u64, bytes: &[u8]) -> Result<(), Fault> {
    operand(shared, address, bytes.len() as u64, alignment, Access::Write)?;
    // SAFETY: the range was checked to be mapped writable enclave memory, where no Rust object lies.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) };
    Ok(())
}
