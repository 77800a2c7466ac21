//! What enclaves run on here: SGX hardware where its device opens, else the emulator, which every state and
//! log then says.

use super::devices;
use crate::failure::Failure;
use pal::EnclaveRuntime;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};
use sgx_emulator::{Emulator, Mode as EmulatorMode};
use std::sync::Arc;
use urts::{BuiltIn, Hw, Options, Pack};

/// Set to `fast` or `pure`, it runs enclaves on the emulator in that mode, whatever the machine has.
const MODE: &str = "RUNE_EMULATOR_MODE";

/// A maker of enclaves, opened with the caller's rights: init-runelet may have lost them, and is in a root
/// without the files.
#[derive(Debug)]
pub(crate) enum Machine {
    /// The kernel's driver.
    Hardware(Hw),
    /// This program.
    Emulated(Emulator),
}

impl Machine {
    /// What this machine has.
    ///
    /// # Errors
    /// The emulator's secret cannot be read, or [`MODE`] is neither.
    pub(crate) fn choose() -> Result<Self, Failure> {
        let forced = match std::env::var(MODE).as_deref() {
            Err(_) | Ok("") => None,
            Ok("fast") => Some(EmulatorMode::Fast),
            Ok("pure") => Some(EmulatorMode::Pure),
            Ok(other) => {
                return Err(Failure::new(format!("{MODE}: expected fast or pure, got {other:?}")));
            }
        };
        if forced.is_none() && devices::has_hardware() {
            let rw = |path| open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
            if let Ok(device) = rw("/dev/sgx_enclave") {
                let provision: Option<OwnedFd> = rw("/dev/sgx_provision").ok();
                return Ok(Self::Hardware(Hw::new(device, provision)));
            }
        }
        Emulator::new(forced.unwrap_or_default())
            .with_secret_read()
            .map(Self::Emulated)
            .map_err(|error| Failure::new(format!("emulator: {error}")))
    }

    /// Whether no hardware protects what it makes.
    pub(crate) const fn is_emulated(&self) -> bool {
        matches!(self, Self::Emulated(_))
    }

    /// Our enclave runtime over it.
    pub(crate) fn runtime(
        self,
        pack: Pack,
        root: OwnedFd,
        options: Options,
    ) -> Arc<dyn EnclaveRuntime> {
        match self {
            Self::Hardware(driver) => Arc::new(BuiltIn::new(driver, pack, root, options)),
            Self::Emulated(driver) => Arc::new(BuiltIn::new(driver, pack, root, options)),
        }
    }
}
