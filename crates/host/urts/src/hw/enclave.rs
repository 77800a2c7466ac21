//! One enclave on SGX hardware: the ioctls and the run contract.

use super::batch::Batch;
use super::call::{self, Call};
use super::interrupt::{self, Seat};
use super::uapi::{self, AddPages, Argument, Create, Init, Modify, Provision, RemovePages, Run};
use super::vdso;
use rustix::fd::AsRawFd;
use sgx::driver::{
    DriverError, Enclave, EntryLeaf, Exit, ModifiedType, PassedRegisters, Protection,
};
use sgx::page::PageType;
use sgx::{AttributeFlags, Secinfo, SecinfoFlags, Secs};
use std::collections::HashMap;
use std::ffi::c_void;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// [0, 64 KiB) is never mapped, as in the emulator.
const START: u64 = 0x10000;
const EEXIT: u32 = 4;

/// An enclave made by [`Hw`](super::Hw).
#[derive(Debug)]
pub struct HwEnclave {
    /// Unmapped before the device is closed.
    mapping: Mapping,
    device: OwnedFd,
    batch: Mutex<Option<Batch>>,
    seats: Mutex<HashMap<u64, Arc<Seat>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// # Safety
/// As [`uapi::ioctl`].
unsafe fn ioctl<A: Argument>(device: &OwnedFd, argument: &mut A) -> Result<(), DriverError> {
    // SAFETY: as the caller promises.
    unsafe { uapi::ioctl(device, argument) }
        .map_err(|errno| DriverError::Os { operation: A::OPERATION, errno })
}

impl HwEnclave {
    pub(super) fn create(
        device: OwnedFd,
        provision: Option<&OwnedFd>,
        secs: &[u8; 4096],
    ) -> Result<Self, DriverError> {
        let fields = Secs::from_bytes(secs);
        let refused = |field, expected, got| DriverError::Refused {
            operation: "ECREATE",
            field,
            expected,
            got,
        };
        if fields.baseaddr != 0 {
            return Err(refused("SECS.BASEADDR", 0, fields.baseaddr));
        }
        if fields.size <= START {
            return Err(refused("SECS.SIZE", 2 * START, fields.size));
        }
        vdso::enter_enclave()?;
        let page = Page(*secs);
        let mut create = Create { src: page.0.as_ptr() as u64 };
        // SAFETY: `src` is a live, aligned page.
        unsafe { ioctl(&device, &mut create)? };
        let mapping = Mapping::new(&device, fields.size)?;
        if fields.attributes.flags.contains(AttributeFlags::PROVISIONKEY) {
            let fd = provision.ok_or(refused("/dev/sgx_provision", 1, 0))?;
            let mut argument = Provision { fd: fd.as_raw_fd() as u64 };
            // SAFETY: it takes a descriptor only.
            unsafe { ioctl(&device, &mut argument)? };
        }
        Ok(Self { mapping, device, batch: Mutex::default(), seats: Mutex::default() })
    }

    /// Adds the pages that wait, and gives them the page-table rights of their SECINFO.
    fn flush(&self, batch: &mut Option<Batch>) -> Result<(), DriverError> {
        let Some(batch) = batch.take() else { return Ok(()) };
        // The kernel wants the source page-aligned.
        let pages: Vec<Page> = batch
            .bytes
            .chunks_exact(4096)
            .map(|chunk| {
                let mut page = Page([0; 4096]);
                page.0.copy_from_slice(chunk);
                page
            })
            .collect();
        let length = batch.bytes.len() as u64;
        let mut done = 0;
        while done < length {
            let mut argument = AddPages {
                src: pages.as_ptr() as u64 + done,
                offset: batch.offset + done,
                length: length - done,
                secinfo: batch.secinfo.as_ptr() as u64,
                flags: if batch.is_measured { uapi::PAGE_MEASURE } else { 0 },
                count: 0,
            };
            // SAFETY: the pages and the SECINFO are live, and `length` is what is left of the pages.
            match unsafe { uapi::ioctl(&self.device, &mut argument) } {
                Ok(()) => {}
                Err(libc::EINTR | libc::EAGAIN) => {}
                Err(errno) => return Err(DriverError::Os { operation: "EADD", errno }),
            }
            done += argument.count;
        }
        let flags = Secinfo::from_bytes(&batch.secinfo).flags;
        let rights = match flags.page_type() {
            Some(PageType::Tcs) => Protection::READ | Protection::WRITE,
            _ => Protection((flags & SecinfoFlags::RWX).bits() as u8),
        };
        self.mprotect(batch.offset..batch.offset + length, rights)
    }

    fn mprotect(&self, pages: Range<u64>, rights: Protection) -> Result<(), DriverError> {
        if pages.start < START || pages.end > self.mapping.size || pages.start >= pages.end {
            return Err(DriverError::Refused {
                operation: "mprotect",
                field: "range",
                expected: self.mapping.size,
                got: pages.end,
            });
        }
        // SAFETY: the range is this enclave's mapping, where no Rust object lies.
        let result = unsafe {
            libc::mprotect(
                pages.start as *mut c_void,
                (pages.end - pages.start) as usize,
                i32::from(rights.0),
            )
        };
        if result == 0 { Ok(()) } else { Err(uapi::os("mprotect")) }
    }

    /// EMODPR or EMODT of a range, going on where the kernel stopped.
    fn modify(
        &self,
        number: u32,
        operation: &'static str,
        pages: Range<u64>,
        value: u64,
    ) -> Result<(), DriverError> {
        let mut start = pages.start;
        while start < pages.end {
            let length = pages.end - start;
            let mut argument = Modify { offset: start, length, value, result: 0, count: 0 };
            let outcome = uapi::modify(&self.device, number, &mut argument);
            start += argument.count;
            match outcome {
                Ok(()) | Err(libc::EINTR | libc::EAGAIN) => {}
                Err(_) if argument.result != 0 => {
                    return Err(DriverError::Leaf { operation, code: argument.result as u32 });
                }
                Err(errno) => return Err(DriverError::Os { operation, errno }),
            }
        }
        Ok(())
    }

    fn seat(&self, tcs: u64) -> Arc<Seat> {
        Arc::clone(lock(&self.seats).entry(tcs).or_default())
    }
}

/// A page at a page's alignment.
#[repr(C, align(4096))]
struct Page([u8; 4096]);

impl Enclave for HwEnclave {
    fn add_page(
        &self,
        offset: u64,
        secinfo: &[u8; 64],
        source: &[u8; 4096],
        measured: bool,
    ) -> Result<(), DriverError> {
        let mut batch = lock(&self.batch);
        if let Some(open) = &mut *batch
            && open.extend(offset, secinfo, measured, source)
        {
            return Ok(());
        }
        self.flush(&mut batch)?;
        *batch = Some(Batch::new(offset, secinfo, measured, source));
        Ok(())
    }

    fn init(&self, sigstruct: &[u8; 1808]) -> Result<(), DriverError> {
        self.flush(&mut lock(&self.batch))?;
        let mut page = Page([0; 4096]);
        page.0[..sigstruct.len()].copy_from_slice(sigstruct);
        let mut argument = Init { sigstruct: page.0.as_ptr() as u64 };
        // SAFETY: the SIGSTRUCT is live and aligned. The kernel says EPERM for whatever EINIT refuses.
        unsafe { ioctl(&self.device, &mut argument) }
    }

    fn protect(&self, pages: Range<u64>, protection: Protection) -> Result<(), DriverError> {
        self.flush(&mut lock(&self.batch))?;
        self.mprotect(pages, protection)
    }

    fn restrict(&self, pages: Range<u64>, permissions: Protection) -> Result<(), DriverError> {
        self.modify(uapi::RESTRICT_PERMISSIONS, "EMODPR", pages, permissions.0.into())
    }

    fn modify_type(&self, pages: Range<u64>, page_type: ModifiedType) -> Result<(), DriverError> {
        self.modify(uapi::MODIFY_TYPES, "EMODT", pages, page_type as u64)
    }

    fn remove(&self, pages: Range<u64>) -> Result<(), DriverError> {
        let mut start = pages.start;
        while start < pages.end {
            let mut argument = RemovePages { offset: start, length: pages.end - start, count: 0 };
            // SAFETY: it takes no memory.
            let outcome = unsafe { uapi::ioctl(&self.device, &mut argument) };
            start += argument.count;
            match outcome {
                Ok(()) | Err(libc::EINTR | libc::EAGAIN) => {}
                Err(errno) => return Err(DriverError::Os { operation: "EREMOVE", errno }),
            }
        }
        Ok(())
    }

    unsafe fn enter(
        &self,
        tcs: u64,
        leaf: EntryLeaf,
        registers: PassedRegisters,
    ) -> Result<Exit, DriverError> {
        interrupt::set_up_thread()?;
        let function = vdso::enter_enclave()?;
        let mut registers = registers;
        if leaf == EntryLeaf::Resume {
            // ERESUME takes all registers from the SSA frame; see `interrupt`.
            registers.r9 = interrupt::FIRST_RESUME;
        }
        // SAFETY: every field may be zero.
        let mut run: Run = unsafe { std::mem::zeroed() };
        run.tcs = tcs;
        let mut call =
            Call { function, run: &raw mut run, registers, leaf: leaf as u32, result: 0 };
        let seat = self.seat(tcs);
        // SAFETY: the caller is willing to run the enclave; the function is the vDSO's.
        let ((), ended) = interrupt::visiting(&seat, tcs, || unsafe { call::enter(&raw mut call) });
        if let Some(registers) = ended {
            return Ok(Exit::Eexit(registers));
        }
        match call.result {
            0 if run.function == EEXIT => Ok(Exit::Eexit(call.registers)),
            // 5.11 and later return 0 for an exception, earlier drafts of the interface EFAULT.
            result if result == 0 || result == -libc::EFAULT => Ok(Exit::Exception {
                leaf: run.function,
                vector: run.exception_vector,
                error_code: run.exception_error_code,
                address: run.exception_addr & !0xfff,
            }),
            result => Err(DriverError::Os { operation: "EENTER", errno: -result }),
        }
    }

    fn kick(&self, tcs: u64) {
        // The caller's reason is visible before the thread is looked for.
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        let seat = lock(&self.seats).get(&tcs).cloned();
        if let Some(seat) = seat {
            seat.kick();
        }
    }
}

/// The enclave's mapping, [`START`] to the end of ELRANGE.
#[derive(Debug)]
struct Mapping {
    /// End of ELRANGE, which starts at 0.
    size: u64,
}

impl Mapping {
    /// Maps ELRANGE with all rights: pages that are not added keep them, added ones are protected in `flush`.
    fn new(device: &OwnedFd, size: u64) -> Result<Self, DriverError> {
        // SAFETY: MAP_FIXED_NOREPLACE maps nothing over an existing mapping.
        let mapped = unsafe {
            libc::mmap(
                START as *mut c_void,
                (size - START) as usize,
                libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
                libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE,
                device.as_raw_fd(),
                0,
            )
        };
        if mapped as u64 == START { Ok(Self { size }) } else { Err(uapi::os("mmap of ELRANGE")) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `new` mapped the range; entering borrows the enclave, so no thread is in.
        unsafe { libc::munmap(START as *mut c_void, (self.size - START) as usize) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hw;
    use sgx::driver::Driver;

    fn secs(size: u64, baseaddr: u64) -> [u8; 4096] {
        Secs { size, baseaddr, ..Secs::default() }.to_bytes()
    }

    fn not_a_device() -> OwnedFd {
        std::fs::File::open("/dev/null").expect("/dev/null").into()
    }

    #[test]
    fn what_is_no_enclave_device_is_refused_and_nothing_is_mapped() {
        let hw = Hw::new(not_a_device(), None);
        let refused = hw.create(&secs(1 << 26, 0)).map(|_| ());
        // A kernel without SGX has no vDSO function; with one, the ioctl fails.
        assert!(
            matches!(
                refused,
                Err(DriverError::Refused { operation: "EENTER", .. }
                    | DriverError::Os { operation: "ECREATE", errno: libc::ENOTTY })
            ),
            "{refused:?}"
        );
        let again = hw.create(&secs(1 << 26, 0)).map(|_| ());
        assert!(matches!(again, Err(DriverError::Refused { got: 2, .. })), "{again:?}");
    }

    #[test]
    fn a_secs_that_this_driver_cannot_map_is_refused() {
        for (secs, expected) in
            [(secs(1 << 26, 1 << 26), "SECS.BASEADDR"), (secs(START, 0), "SECS.SIZE")]
        {
            let refused = Hw::new(not_a_device(), None).create(&secs).map(|_| ());
            assert!(
                matches!(refused, Err(DriverError::Refused { field, .. }) if field == expected),
                "{refused:?}"
            );
        }
    }
}
