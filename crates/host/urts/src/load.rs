//! From a pack to an initialised enclave.

use crate::handle::LoadError;
use crate::pack::Pack;
use rustix::io::Errno;
use sgx::driver::{Driver, Enclave, Protection};
use sgx::page::{PAGE_SIZE, PageType, SecinfoFlags};
use sgx::sgxs::{Io, Page, Reader};
use sgx::{AttributeFlags, Attributes, Miscselect, Secs, Xfrm};
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::fd::OwnedFd;

/// What is wrong with a page stream.
pub type SgxsError = sgx::sgxs::SgxsError<std::io::Error>;

/// Bytes of a SIGSTRUCT.
const SIGSTRUCT: usize = 1808;

/// Creates the enclave, adds its pages, sets their page-table rights and initialises it. Gives the TCS at the
/// lowest address.
pub(crate) fn load<D: Driver>(driver: &D, pack: &Pack) -> Result<(D::Enclave, u64), LoadError> {
    let sigstruct = read_sigstruct(&pack.sigstruct)?;
    let stream = clone_fd(&pack.sgxs).map_err(|error| LoadError::Sgxs(SgxsError::Io(error)))?;
    let mut pages = Reader::new(Io(BufReader::with_capacity(1 << 18, stream)))?;
    let ecreate = pages.ecreate();
    let secs = secs(ecreate.size, ecreate.ssaframesize_pages, &sigstruct);
    let enclave = driver.create(&secs.to_bytes()).map_err(LoadError::Driver)?;

    let mut first_tcs = None;
    let mut run = Run::default();
    while let Some(page) = pages.next_page()? {
        let is_measured = page.is_measured()?;
        enclave
            .add_page(page.offset, &page.secinfo.to_bytes(), &page.data, is_measured)
            .map_err(LoadError::Driver)?;
        if page.secinfo.flags.page_type() == Some(PageType::Tcs) {
            first_tcs.get_or_insert(page.offset);
        }
        if let Some(ended) = run.extend(&page) {
            ended.apply(&enclave)?;
        }
    }
    run.apply(&enclave)?;
    enclave.init(&sigstruct).map_err(LoadError::Driver)?;
    Ok((enclave, first_tcs.ok_or(LoadError::NoTcs)?))
}

impl From<SgxsError> for LoadError {
    fn from(error: SgxsError) -> Self {
        Self::Sgxs(error)
    }
}

/// Pages with the same page-table rights, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Run {
    start: u64,
    end: u64,
    rights: u8,
}

impl Run {
    /// Adds a page; gives the run that ended before it, if one did.
    fn extend(&mut self, page: &Page) -> Option<Self> {
        let rights = rights(page.secinfo.flags);
        if self.end == page.offset && self.rights == rights && self.start < self.end {
            self.end += PAGE_SIZE as u64;
            return None;
        }
        let start = page.offset;
        std::mem::replace(self, Self { start, end: start + PAGE_SIZE as u64, rights }).non_empty()
    }

    fn non_empty(self) -> Option<Self> {
        (self.start < self.end).then_some(self)
    }

    fn apply(&self, enclave: &impl Enclave) -> Result<(), LoadError> {
        if self.start == self.end {
            return Ok(());
        }
        enclave.protect(self.start..self.end, Protection(self.rights)).map_err(LoadError::Driver)
    }
}

/// Page-table rights for the EPCM permissions of a page. A TCS has none in the EPCM, but the kernel wants it
/// readable and writable, as the processor changes it.
fn rights(flags: SecinfoFlags) -> u8 {
    if flags.page_type() == Some(PageType::Tcs) {
        return (Protection::READ | Protection::WRITE).0;
    }
    (flags & SecinfoFlags::RWX).bits() as u8
}

/// The SECS that the signer allows: its attributes, with the state components that this processor has where the
/// signer left them free.
fn secs(size: u64, ssaframesize: u32, sigstruct: &[u8; SIGSTRUCT]) -> Secs {
    // SIGSTRUCT (SDM Vol. 3D, "Enclave Signature Structure"): MISCSELECT at 900, ATTRIBUTES at 928,
    // ATTRIBUTEMASK at 944.
    let miscselect = u32::from_le_bytes(part(sigstruct, 900));
    let signed = Attributes::from_bytes(&part(sigstruct, 928));
    let mask = Attributes::from_bytes(&part(sigstruct, 944));
    let free = processor_xfrm().difference(mask.xfrm);
    let attributes = Attributes {
        // INIT is EINIT's to set.
        flags: signed.flags.difference(AttributeFlags::INIT),
        xfrm: signed.xfrm.intersection(mask.xfrm).union(free).union(Xfrm::LEGACY),
    };
    Secs {
        size,
        baseaddr: 0,
        ssaframesize,
        miscselect: Miscselect::from_bits_retain(miscselect),
        attributes,
        ..Secs::from_bytes(&[0; 4096])
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

fn part<const N: usize>(bytes: &[u8; SIGSTRUCT], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[at..at + N]);
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use sgx::Secinfo;

    fn page(offset: u64, secinfo: Secinfo) -> Page {
        Page { offset, secinfo, measured: 0, present: 0, data: [0; PAGE_SIZE] }
    }

    #[test]
    fn runs_of_equal_rights_join() {
        let rw = Secinfo::reg(SecinfoFlags::R | SecinfoFlags::W);
        let rx = Secinfo::reg(SecinfoFlags::R | SecinfoFlags::X);
        let mut run = Run::default();
        assert_eq!(run.extend(&page(0x1000, Secinfo::tcs())), None);
        assert_eq!(run.extend(&page(0x2000, rw)), None, "a TCS is mapped as data is");
        let ended = run.extend(&page(0x4000, rw));
        assert_eq!(ended, Some(Run { start: 0x1000, end: 0x3000, rights: 3 }));
        let ended = run.extend(&page(0x5000, rx));
        assert_eq!(ended, Some(Run { start: 0x4000, end: 0x5000, rights: 3 }));
        assert_eq!(run, Run { start: 0x5000, end: 0x6000, rights: 5 });
    }

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
