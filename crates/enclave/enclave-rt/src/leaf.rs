//! The ENCLU leaves that enclave code executes, other than EEXIT.

use sgx::page::SecinfoFlags;
use sgx::{Aligned, Enclu, Keyrequest, PageType, Report, Secinfo, Targetinfo};
use zeroize::{Zeroize, Zeroizing};

use crate::enclu;

/// Accepts a page that the host augmented: zeroed, readable and writable.
///
/// # Errors
/// The leaf's error code: the page is not what EAUG makes.
pub(crate) fn accept_new(page: u64) -> Result<(), u32> {
    accept(page, Secinfo::reg(SecinfoFlags::R | SecinfoFlags::W | SecinfoFlags::PENDING))
}

/// Accepts the change of a page's type by EMODT.
///
/// # Errors
/// The leaf's error code: the page's type is not the one asked for.
pub(crate) fn accept_type(page: u64, page_type: PageType) -> Result<(), u32> {
    accept(page, Secinfo { flags: SecinfoFlags::MODIFIED.with_page_type(page_type) })
}

/// EMODPE: gives a page every right in the EPCM.
pub(crate) fn extend_to_rwx(page: u64) {
    let secinfo = Aligned(Secinfo::reg(SecinfoFlags::RWX).to_bytes());
    // SAFETY: a page of this enclave whose contents belong to no Rust object that relies on its rights;
    // SECINFO is aligned. EMODPE faults if the page is not there, and changes no memory.
    unsafe { execute(Enclu::Emodpe, (&raw const secinfo) as u64, page, 0) };
}

/// EREPORT for no particular target: this enclave's own identity and attributes.
pub(crate) fn own_report() -> Report {
    report(&Targetinfo::default(), &[0; 64])
}

/// EREPORT.
pub(crate) fn report(target: &Targetinfo, data: &[u8; 64]) -> Report {
    let target = Aligned(target.to_bytes());
    let data = Aligned(*data);
    let mut report = Aligned([0_u8; 512]);
    // SAFETY: the three operands have the alignment (512, 128, 512) and length that EREPORT needs, and the
    // output is ours alone.
    unsafe {
        execute(
            Enclu::Ereport,
            (&raw const target) as u64,
            (&raw const data) as u64,
            (&raw mut report) as u64,
        );
    }
    let mut bytes = [0; Report::SIZE];
    bytes.copy_from_slice(&report.0[..Report::SIZE]);
    Report::from_bytes(&bytes)
}

/// EGETKEY.
///
/// # Errors
/// The leaf's error code.
pub(crate) fn get_key(request: &Keyrequest) -> Result<Zeroizing<[u8; 16]>, u32> {
    let request = Aligned(request.to_bytes());
    let mut key = Aligned([0_u8; 16]);
    // SAFETY: both operands have the alignment (512, 16) and length that EGETKEY needs, the request's reserved
    // bytes are zero by construction, and the output is ours alone.
    let code =
        unsafe { execute(Enclu::Egetkey, (&raw const request) as u64, (&raw mut key) as u64, 0) };
    let taken = Zeroizing::new(key.0);
    key.0.zeroize();
    if code == 0 { Ok(taken) } else { Err(code) }
}

fn accept(page: u64, secinfo: Secinfo) -> Result<(), u32> {
    let secinfo = Aligned(secinfo.to_bytes());
    // SAFETY: SECINFO is aligned; EACCEPT changes no memory, only the EPCM entry of a page that nobody uses
    // yet (or any more).
    match unsafe { execute(Enclu::Eaccept, (&raw const secinfo) as u64, page, 0) } {
        0 => Ok(()),
        code => Err(code),
    }
}

/// Executes a leaf; gives EAX.
///
/// # Safety
/// The operands are what the leaf takes.
#[inline(never)]
unsafe fn execute(leaf: Enclu, rbx: u64, rcx: u64, rdx: u64) -> u32 {
    let mut eax = leaf as u32;
    // SAFETY: the caller's promise. The block is not `nostack`: in the emulator's fast mode the instruction
    // is a call, which writes below RSP.
    unsafe {
        core::arch::asm!(
            "xchg rbx, {rbx}",
            enclu!(),
            "xchg rbx, {rbx}",
            rbx = inout(reg) rbx => _,
            inout("eax") eax,
            inout("rcx") rcx => _,
            inout("rdx") rdx => _,
        );
    }
    if leaf == Enclu::Emodpe || leaf == Enclu::Ereport {
        eax = 0;
    }
    eax
}
