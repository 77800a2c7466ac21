//! Thread control structures, from when a page becomes PT_TCS until it is removed.
//!
//! The contents live here and not in the page: no enclave code may read or write a TCS, and the host page
//! is PROT_NONE.

use crate::space::PAGE;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32};
use sgx::TcsFlags;

/// A TCS of the running enclave. Offsets in it are absolute addresses, as ELRANGE starts at 0.
#[repr(C)]
pub(crate) struct Tcs {
    /// 1 while a logical processor is in.
    pub(crate) busy: AtomicU32,
    /// Thread id of that processor, for kicks; 0 for none.
    pub(crate) owner: AtomicI32,
    /// Current SSA frame.
    pub(crate) cssa: AtomicU32,
    pub(crate) nssa: u32,
    pub(crate) address: u64,
    pub(crate) ossa: u64,
    pub(crate) oentry: u64,
    pub(crate) ofsbase: u64,
    pub(crate) ogsbase: u64,
    /// False once the page is trimmed; entering is refused from then on.
    pub(crate) is_live: AtomicBool,
    /// Whether no other TCS has its GS base in the same page, so that a gate can find the thread by it.
    pub(crate) has_own_gs_page: AtomicBool,
}

/// Why a page cannot be a TCS: the field, what it must be, what it is.
pub(crate) struct BadTcs(pub(crate) &'static str, pub(crate) u64, pub(crate) u64);

impl Tcs {
    /// Checks the contents of a page as EADD does.
    pub(crate) fn parse(address: u64, bytes: &[u8; 4096], size: u64) -> Result<Self, BadTcs> {
        let source = sgx::Tcs::parse(bytes).map_err(|error| match error {
            sgx::LayoutError::Reserved { got, .. } => BadTcs("TCS reserved byte", 0, got.into()),
            sgx::LayoutError::Length { expected, got, .. } => {
                BadTcs("TCS length", expected as u64, got as u64)
            }
        })?;
        let known = TcsFlags::DBGOPTIN.bits();
        let zero = [
            ("TCS.STATE", source.state),
            ("TCS.FLAGS", source.flags.bits() & !known),
            ("TCS.CSSA", source.cssa.into()),
            ("TCS.AEP", source.aep),
            ("TCS.OSSA low bits", source.ossa % PAGE),
        ];
        if let Some((field, got)) = zero.into_iter().find(|&(_, got)| got != 0) {
            return Err(BadTcs(field, 0, got));
        }
        let inside = [
            ("TCS.OSSA", source.ossa),
            ("TCS.OENTRY", source.oentry),
            ("TCS.OFSBASE", source.ofsbase),
            ("TCS.OGSBASE", source.ogsbase),
        ];
        if let Some((field, got)) = inside.into_iter().find(|&(_, got)| got >= size) {
            return Err(BadTcs(field, size - 1, got));
        }
        Ok(Self {
            busy: AtomicU32::new(0),
            owner: AtomicI32::new(0),
            cssa: AtomicU32::new(0),
            nssa: source.nssa,
            address,
            ossa: source.ossa,
            oentry: source.oentry,
            ofsbase: source.ofsbase,
            ogsbase: source.ogsbase,
            is_live: AtomicBool::new(true),
            has_own_gs_page: AtomicBool::new(true),
        })
    }
}
