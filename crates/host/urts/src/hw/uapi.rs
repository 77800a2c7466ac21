//! Structures and ioctl numbers of `<asm/sgx.h>`, and the ioctl call.

use rustix::fd::AsRawFd;
use sgx::driver::DriverError;
use std::os::fd::OwnedFd;

/// `SGX_PAGE_MEASURE`.
pub(super) const PAGE_MEASURE: u64 = 1;

/// `struct sgx_enclave_create`.
#[repr(C)]
pub(super) struct Create {
    pub(super) src: u64,
}

/// `struct sgx_enclave_add_pages`.
#[repr(C)]
pub(super) struct AddPages {
    pub(super) src: u64,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) secinfo: u64,
    pub(super) flags: u64,
    pub(super) count: u64,
}

/// `struct sgx_enclave_init`.
#[repr(C)]
pub(super) struct Init {
    pub(super) sigstruct: u64,
}

/// `struct sgx_enclave_provision`.
#[repr(C)]
pub(super) struct Provision {
    pub(super) fd: u64,
}

/// `struct sgx_enclave_restrict_permissions`, and `struct sgx_enclave_modify_types`, which has the page type in the
/// place of the permissions.
#[repr(C)]
pub(super) struct Modify {
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) value: u64,
    pub(super) result: u64,
    pub(super) count: u64,
}

/// `struct sgx_enclave_remove_pages`.
#[repr(C)]
pub(super) struct RemovePages {
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) count: u64,
}

/// `struct sgx_enclave_run`.
#[repr(C)]
pub(super) struct Run {
    pub(super) tcs: u64,
    pub(super) function: u32,
    pub(super) exception_vector: u16,
    pub(super) exception_error_code: u16,
    pub(super) exception_addr: u64,
    pub(super) user_handler: u64,
    pub(super) user_data: u64,
    pub(super) reserved: [u8; 216],
}

const WRITE: u32 = 1;
const READ_WRITE: u32 = 3;

/// `_IOW`/`_IOWR` with the magic of SGX (`<asm-generic/ioctl.h>`).
const fn number(direction: u32, command: u32, size: usize) -> u32 {
    direction << 30 | (size as u32) << 16 | 0xa4 << 8 | command
}

/// An argument of an SGX ioctl.
///
/// # Safety
/// `NUMBER` is the ioctl that takes this structure and no more memory than its fields point to.
pub(super) unsafe trait Argument {
    /// The ioctl number.
    const NUMBER: u32;
    /// The SGX instruction it executes, for messages.
    const OPERATION: &'static str;
}

macro_rules! argument {
    ($type:ty, $direction:expr, $command:literal, $operation:literal) => {
        // SAFETY: the number and the structure are those of <asm/sgx.h>.
        unsafe impl Argument for $type {
            const NUMBER: u32 = number($direction, $command, size_of::<$type>());
            const OPERATION: &'static str = $operation;
        }
    };
}
argument!(Create, WRITE, 0, "ECREATE");
argument!(AddPages, READ_WRITE, 1, "EADD");
argument!(Init, WRITE, 2, "EINIT");
argument!(Provision, WRITE, 3, "SGX_IOC_ENCLAVE_PROVISION");
argument!(RemovePages, READ_WRITE, 7, "EREMOVE");

/// `SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS`.
pub(super) const RESTRICT_PERMISSIONS: u32 = number(READ_WRITE, 5, size_of::<Modify>());
/// `SGX_IOC_ENCLAVE_MODIFY_TYPES`.
pub(super) const MODIFY_TYPES: u32 = number(READ_WRITE, 6, size_of::<Modify>());

/// Executes the ioctl; the error is `errno`.
///
/// # Safety
/// The addresses in `argument` are of memory that is live and as long as the ioctl takes it to be.
pub(super) unsafe fn ioctl<A: Argument>(device: &OwnedFd, argument: &mut A) -> Result<(), i32> {
    // SAFETY: the caller's promise, and that of `Argument`.
    unsafe { raw(device, A::NUMBER, std::ptr::from_mut(argument).cast()) }
}

/// Executes one of the two ioctls that take a [`Modify`], which points to no memory.
pub(super) fn modify(device: &OwnedFd, number: u32, argument: &mut Modify) -> Result<(), i32> {
    assert!(matches!(number, RESTRICT_PERMISSIONS | MODIFY_TYPES));
    // SAFETY: both numbers take this structure.
    unsafe { raw(device, number, std::ptr::from_mut(argument).cast()) }
}

/// # Safety
/// `argument` is what `number` takes.
unsafe fn raw(device: &OwnedFd, number: u32, argument: *mut libc::c_void) -> Result<(), i32> {
    // SAFETY: as the caller promises.
    match unsafe { libc::ioctl(device.as_raw_fd(), number as libc::Ioctl, argument) } {
        0 => Ok(()),
        _ => Err(errno()),
    }
}

/// `errno` of the call that failed just before.
pub(super) fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

/// The error of a system call that failed just before.
pub(super) fn os(operation: &'static str) -> DriverError {
    DriverError::Os { operation, errno: errno() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    /// Against what a C compiler makes of <asm/sgx.h> (Linux 6.1).
    #[test]
    fn numbers_are_the_kernels() {
        assert_eq!(Create::NUMBER, 0x4008_a400);
        assert_eq!(AddPages::NUMBER, 0xc030_a401);
        assert_eq!(Init::NUMBER, 0x4008_a402);
        assert_eq!(Provision::NUMBER, 0x4008_a403);
        assert_eq!(RESTRICT_PERMISSIONS, 0xc028_a405);
        assert_eq!(MODIFY_TYPES, 0xc028_a406);
        assert_eq!(RemovePages::NUMBER, 0xc018_a407);
    }

    #[test]
    fn structures_are_the_kernels() {
        assert_eq!(offset_of!(AddPages, secinfo), 24);
        assert_eq!(offset_of!(AddPages, count), 40);
        assert_eq!(offset_of!(Modify, result), 24);
        assert_eq!(offset_of!(RemovePages, count), 16);
        assert_eq!(size_of::<Run>(), 256);
        assert_eq!(offset_of!(Run, function), 8);
        assert_eq!(offset_of!(Run, exception_vector), 12);
        assert_eq!(offset_of!(Run, exception_error_code), 14);
        assert_eq!(offset_of!(Run, exception_addr), 16);
        assert_eq!(offset_of!(Run, user_handler), 24);
    }
}
