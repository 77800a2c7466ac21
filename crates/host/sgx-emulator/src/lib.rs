//! SGX in user space: an implementation of the driver boundary without SGX hardware.
//!
//! [`Emulator`] loads the enclave file that hardware loads, measures it the same, refuses what hardware
//! refuses, and runs its code natively in this process: entry, exit, asynchronous exits, state save areas,
//! exceptions and dynamic memory behave as the manual says (Intel SDM Vol. 3D). `docs/emulator.md` lists
//! what it enforces and what it cannot.
//!
//! It protects nothing from the host. Everything that reports about an emulated enclave says so.
//!
//! One enclave per process at a time: ELRANGE starts at 0. The process must be position-independent, on
//! x86-64 Linux 5.11 or newer (Syscall User Dispatch) with FSGSBASE and XSAVE.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod aex;
mod block;
mod enclave;
mod epcm;
mod gates;
mod leaf;
mod patch;
mod rights;
mod secret;
mod secs;
mod shadow;
mod signal;
mod space;
mod tcs;
mod thread;
mod xstate;

pub use enclave::EmulatedEnclave;
pub use secret::{DEFAULT_SECRET_FILE, SecretOrigin};
use secret::{Secret, Source};
use sgx::driver::{Driver, DriverError};
use sgx::keys::Platform;
use std::path::PathBuf;

/// How faithfully the paths in and out of the enclave are taken. What the enclave sees in its registers and
/// SSA frames is the same in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// ENCLU sites are turned into calls after EINIT. After an exception or a kick, the driver enters the
    /// TCS again itself (with RDI, RSI, RDX, R8, R9 zero, at the next CSSA) instead of returning
    /// [`Exit::Exception`](sgx::driver::Exit::Exception) or
    /// [`Exit::Interrupted`](sgx::driver::Exit::Interrupted); when that entry ends in EEXIT with RDI =
    /// [`RESUME_REASON`] it executes ERESUME, and any other EEXIT returns to the caller with CSSA as it
    /// is. Where CSSA has reached NSSA the caller gets the exit as in pure mode.
    #[default]
    Fast,
    /// Nothing is changed: every ENCLU traps, and every asynchronous exit returns to the caller.
    Pure,
}

/// RDI at the EEXIT of an exception entry that asks for ERESUME (see [`Mode::Fast`]).
pub const RESUME_REASON: u64 = 3;

/// Makes emulated enclaves.
#[derive(Clone, Debug)]
pub struct Emulator {
    mode: Mode,
    source: Source,
}

impl Emulator {
    /// An emulator whose keys come from this host's secret, [`DEFAULT_SECRET_FILE`].
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Self { mode, source: Source::File(DEFAULT_SECRET_FILE.into()) }
    }

    /// Takes the secret from this file, which is made (with mode 0600) if it does not exist. Where it cannot
    /// be made, keys end with the enclave; [`EmulatedEnclave::secret_origin`] tells.
    #[must_use]
    pub fn with_secret_file(self, path: impl Into<PathBuf>) -> Self {
        Self { source: Source::File(path.into()), ..self }
    }

    /// Reads the secret now, for a process that will be in a container, without the file, when it makes its
    /// enclave.
    ///
    /// # Errors
    /// A file that is damaged or that others may read.
    pub fn with_secret_read(self) -> Result<Self, DriverError> {
        let secret = Secret::load(&self.source)?;
        Ok(Self { source: Source::Read(secret), ..self })
    }

    /// The keys of the CPU that this emulator is, and where they come from: for a quoting service, which
    /// must verify the reports of its enclaves.
    ///
    /// They are those of its enclaves only if the secret is a file or was read
    /// ([`with_secret_read`](Self::with_secret_read)).
    ///
    /// # Errors
    /// A file that is damaged or that others may read.
    pub fn platform(&self) -> Result<(Platform, SecretOrigin), DriverError> {
        let secret = Secret::load(&self.source)?;
        Ok((secret.platform, secret.origin))
    }

    /// Makes a new secret for each enclave, in memory.
    #[must_use]
    pub fn with_fresh_secret(self) -> Self {
        Self { source: Source::Memory, ..self }
    }
}

impl Driver for Emulator {
    type Enclave = EmulatedEnclave;
    const EMULATED: bool = true;

    fn create(&self, secs: &[u8; 4096]) -> Result<EmulatedEnclave, DriverError> {
        EmulatedEnclave::create(secs, self.mode, Secret::load(&self.source)?)
    }
}
