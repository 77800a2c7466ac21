//! From a pack to an initialised enclave.

use crate::handle::LoadError;
use crate::pack::Pack;
use rustix::io::Errno;
use sgx::driver::{Driver, Enclave, Protection};
use sgx::page::{PAGE_SIZE, PageType, SecinfoFlags};
use sgx::sgxs::{Io, Reader};
use sgx::sigstruct::Sigstruct;
use sgx::{AttributeFlags, Attributes, Secs, Xfrm};
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::fd::OwnedFd;

/// What is wrong with a page stream.
pub type SgxsError = sgx::sgxs::SgxsError<std::io::Error>;

/// Bytes of a SIGSTRUCT.
const SIGSTRUCT: usize = Sigstruct::SIZE;

/// Creates the enclave, adds its pages, initialises it and sets the pages' page-table rights. Gives the TCS at the
/// lowest address.
pub(crate) fn load<D: Driver>(driver: &D, pack: &Pack) -> Result<(D::Enclave, u64), LoadError> {
    let sigstruct = read_sigstruct(&pack.sigstruct)?;
    let stream = clone_fd(&pack.sgxs).map_err(|error| LoadError::Sgxs(SgxsError::Io(error)))?;
    let mut pages = Reader::new(Io(BufReader::with_capacity(1 << 18, stream)))?;
    let ecreate = pages.ecreate();
    let secs = secs(ecreate.size, ecreate.ssaframesize_pages, &sigstruct);
    let enclave = driver.create(&secs.to_bytes()).map_err(LoadError::Driver)?;

    let mut first_tcs = None;
    let mut runs: Vec<Run> = Vec::new();
    while let Some(page) = pages.next_page()? {
        let is_measured = page.is_measured()?;
        enclave
            .add_page(page.offset, &page.secinfo.to_bytes(), &page.data, is_measured)
            .map_err(LoadError::Driver)?;
        if page.secinfo.flags.page_type() == Some(PageType::Tcs) {
            first_tcs.get_or_insert(page.offset);
        }
        let rights = rights(page.secinfo.flags);
        match runs.last_mut() {
            Some(run) if run.end == page.offset && run.rights == rights => {
                run.end += PAGE_SIZE as u64;
            }
            _ => runs.push(Run { start: page.offset, end: page.offset + PAGE_SIZE as u64, rights }),
        }
    }
    enclave.init(&sigstruct).map_err(LoadError::Driver)?;
    for Run { start, end, rights } in runs {
        enclave.protect(start..end, rights).map_err(LoadError::Driver)?;
    }
    Ok((enclave, first_tcs.ok_or(LoadError::NoTcs)?))
}

impl From<SgxsError> for LoadError {
    fn from(error: SgxsError) -> Self {
        Self::Sgxs(error)
    }
}

/// Pages with the same page-table rights, one after the other.
struct Run {
    start: u64,
    end: u64,
    rights: Protection,
}

/// Page-table rights for the EPCM permissions of a page. A TCS has none in the EPCM, but the kernel wants it
/// readable and writable, as the processor changes it.
fn rights(flags: SecinfoFlags) -> Protection {
    if flags.page_type() == Some(PageType::Tcs) {
        return Protection::READ | Protection::WRITE;
    }
    Protection((flags & SecinfoFlags::RWX).bits() as u8)
}

/// The SECS that the signer allows: its attributes, with the state components that this processor has where the
/// signer left them free.
fn secs(size: u64, ssaframesize: u32, sigstruct: &[u8; SIGSTRUCT]) -> Secs {
    let signed = Sigstruct::from_bytes(sigstruct);
    let mask = signed.attributemask;
    let free = processor_xfrm().difference(mask.xfrm);
    let attributes = Attributes {
        // INIT is EINIT's to set.
        flags: signed.attributes.flags.difference(AttributeFlags::INIT),
        xfrm: signed.attributes.xfrm.intersection(mask.xfrm).union(free).union(Xfrm::LEGACY),
    };
    Secs {
        size,
        baseaddr: 0,
        ssaframesize,
        miscselect: signed.miscselect,
        attributes,
        ..Secs::default()
    }
}

/// State components of this processor that the enclave's SSA frames have room for: x87 to AVX-512 and PKRU.
fn processor_xfrm() -> Xfrm {
    let room = Xfrm::LEGACY | Xfrm::AVX | Xfrm::AVX512 | Xfrm::PKRU;
    Xfrm::from_bits_retain(xcr0()).intersection(room)
}

fn xcr0() -> u64 {
    if !std::arch::is_x86_feature_detected!("xsave") {
        return Xfrm::LEGACY.bits();
    }
    let (low, high): (u32, u32);
    // SAFETY: XGETBV with ECX = 0 is allowed when CPUID reports XSAVE and the kernel has enabled it
    // (OSXSAVE), which the detection above checks; it changes EAX and EDX only.
    unsafe {
        core::arch::asm!(
            "xgetbv", in("ecx") 0, out("eax") low, out("edx") high,
            options(nomem, nostack, preserves_flags),
        );
    }
    u64::from(high) << 32 | u64::from(low)
}

fn read_sigstruct(fd: &OwnedFd) -> Result<[u8; SIGSTRUCT], LoadError> {
    let failed = |errno| LoadError::Sigstruct { got: Err(errno) };
    let length = rustix::fs::fstat(fd).map_err(failed)?.st_size as u64;
    if length != SIGSTRUCT as u64 {
        return Err(LoadError::Sigstruct { got: Ok(length) });
    }
    let mut bytes = [0; SIGSTRUCT];
    let mut file = clone_fd(fd).map_err(|error| failed(errno_of(&error)))?;
    file.read_exact(&mut bytes).map_err(|error| failed(errno_of(&error)))?;
    Ok(bytes)
}

fn errno_of(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}

/// The file again, from its start.
fn clone_fd(fd: &OwnedFd) -> std::io::Result<File> {
    use std::io::Seek;
    let mut file = File::from(fd.try_clone()?);
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sgx::Miscselect;

    #[test]
    fn the_signer_binds_attributes_and_the_processor_fills_what_is_free() {
        let mut sigstruct = [0; SIGSTRUCT];
        sigstruct[900] = 1;
        sigstruct[928] = 0x05; // INIT, MODE64BIT
        sigstruct[936] = 0x07; // x87, SSE, AVX
        sigstruct[944..952].fill(0xff);
        sigstruct[952..960].fill(0xff);
        let bound = secs(0x10000, 2, &sigstruct);
        assert_eq!((bound.size, bound.ssaframesize, bound.baseaddr), (0x10000, 2, 0));
        assert_eq!(bound.miscselect, Miscselect::EXINFO);
        assert_eq!(bound.attributes.flags, AttributeFlags::MODE64BIT);
        assert_eq!(bound.attributes.xfrm.bits(), 7);

        sigstruct[952..960].fill(0);
        sigstruct[952] = 0x03;
        let free = secs(0x10000, 2, &sigstruct);
        assert_eq!(free.attributes.xfrm, processor_xfrm() | Xfrm::LEGACY);
        assert!(free.attributes.xfrm.is_consistent());
    }
}
