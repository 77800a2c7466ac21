//! The driver for SGX hardware: `/dev/sgx_enclave` and the vDSO (Linux 6.0 or newer, for EDMM).
//!
//! **Not yet run on hardware.** Layouts, ioctl numbers, the search of the vDSO and the call sequence are tested
//! as far as a machine without SGX can; the rest is written against `<asm/sgx.h>` and the kernel's documentation.
//!
//! It guarantees what [`sgx::driver`] says, by passing on what the kernel and the CPU do. Exceptions inside are
//! reported by the vDSO as [`Exit::Exception`](sgx::driver::Exit::Exception). Two things come as signals instead,
//! kicks and #BP (which the kernel never reports through the vDSO): their handler enters the interrupted TCS
//! once more, at its exception entry, and if that ends in EEXIT with the resume reason, the interrupted
//! ERESUME goes on; any other EEXIT becomes the result of the interrupted [`enter`](sgx::driver::Enclave::enter).

mod batch;
mod call;
mod enclave;
mod interrupt;
mod uapi;
mod vdso;

pub use enclave::HwEnclave;

use sgx::driver::{Driver, DriverError};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

/// Makes one enclave on SGX hardware.
#[derive(Debug)]
pub struct Hw {
    /// `/dev/sgx_enclave`, freshly opened: each open file is one enclave.
    device: Mutex<Option<OwnedFd>>,
    /// `/dev/sgx_provision`, for an enclave with ATTRIBUTES.PROVISIONKEY.
    provision: Option<OwnedFd>,
}

impl Hw {
    /// Takes an open `/dev/sgx_enclave`, and `/dev/sgx_provision` where the enclave may ask for provisioning keys.
    /// They are opened by the caller, who may do that before it drops its groups.
    #[must_use]
    pub const fn new(device: OwnedFd, provision: Option<OwnedFd>) -> Self {
        Self { device: Mutex::new(Some(device)), provision }
    }
}

impl Driver for Hw {
    type Enclave = HwEnclave;
    const EMULATED: bool = false;

    /// Works once: an open device is one enclave.
    fn create(&self, secs: &[u8; 4096]) -> Result<HwEnclave, DriverError> {
        let device = self.device.lock().unwrap_or_else(PoisonError::into_inner).take();
        let device = device.ok_or(DriverError::Refused {
            operation: "ECREATE",
            field: "enclaves made from one open /dev/sgx_enclave",
            expected: 1,
            got: 2,
        })?;
        HwEnclave::create(device, self.provision.as_ref(), secs)
    }
}
