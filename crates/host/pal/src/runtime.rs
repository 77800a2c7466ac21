//! The interface in Rust.

use crate::error::PalError;
use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;

/// Bytes of a TARGETINFO structure.
pub const TARGETINFO_SIZE: usize = 512;
/// Bytes of a REPORT structure.
pub const REPORT_SIZE: usize = 432;

/// An enclave runtime.
///
/// Calls come in this order: [`init`](Self::init) once; then any number of processes, each
/// [`create_process`](Self::create_process) and [`exec`](Self::exec); [`destroy`](Self::destroy) last.
/// `create_process`, `exec`, `kill` and `get_local_report` may run at the same time on several threads.
pub trait EnclaveRuntime: Send + Sync {
    /// Whether what it runs is emulated: protected from nothing. Every output for people repeats it.
    fn is_emulated(&self) -> bool;

    /// Makes the enclave.
    ///
    /// # Errors
    /// The runtime's.
    fn init(&self, attributes: &Attributes<'_>) -> Result<(), PalError>;

    /// Prepares a process; nothing of it runs yet. The first is the container's.
    ///
    /// # Errors
    /// The runtime's.
    fn create_process(&self, process: &Process<'_>) -> Result<ProcessId, PalError>;

    /// Runs a prepared process until it ends.
    ///
    /// # Errors
    /// The runtime's, if it does not run or the enclave ends first.
    fn exec(&self, process: ProcessId) -> Result<WaitStatus, PalError>;

    /// Sends a signal.
    ///
    /// # Errors
    /// The runtime's, or that it has no such call.
    fn kill(&self, target: Target, signal: i32) -> Result<(), PalError>;

    /// A REPORT for the enclave that `targetinfo` names.
    ///
    /// # Errors
    /// The runtime's, or that it has no such call.
    fn get_local_report(
        &self,
        targetinfo: &[u8; TARGETINFO_SIZE],
    ) -> Result<[u8; REPORT_SIZE], PalError>;

    /// Releases everything.
    ///
    /// # Errors
    /// The runtime's.
    fn destroy(&self) -> Result<(), PalError>;
}

/// How to make the enclave.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    /// `enclave.runtime.args`, separated by spaces.
    pub args: &'a CStr,
    /// `enclave.runtime.loglevel`.
    pub log_level: &'a CStr,
    /// An enclave made before, to be taken over (version 3).
    pub pooled: Option<Pooled>,
    /// The container's root directory (version 4).
    pub root: Option<BorrowedFd<'a>>,
    /// Where lines for the operator go (version 4).
    pub log: Option<BorrowedFd<'a>>,
}

impl Default for Attributes<'_> {
    fn default() -> Self {
        Self { args: c"", log_level: c"info", pooled: None, root: None, log: None }
    }
}

/// An enclave that the caller has mapped at `address` through the device descriptor `fd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pooled {
    /// Device descriptor.
    pub fd: i32,
    /// Address of the mapping, not 0.
    pub address: u64,
}

/// A process to run.
#[derive(Clone, Copy, Debug)]
pub struct Process<'a> {
    /// Program.
    pub path: &'a CStr,
    /// Arguments; the first is the program's name.
    pub argv: &'a [CString],
    /// Environment, `NAME=value` each.
    pub env: &'a [CString],
    /// Descriptors 0, 1 and 2, the caller's until [`EnclaveRuntime::exec`] returns.
    pub stdio: [BorrowedFd<'a>; 3],
    /// Working directory (version 4).
    pub cwd: &'a CStr,
    /// User and groups (version 4).
    pub user: User<'a>,
    /// Whether the descriptors are a terminal made for this process (version 4).
    pub has_terminal: bool,
    /// All that the host asks, as JSON, for a runtime that checks it inside the enclave (version 4).
    pub request: Option<&'a CStr>,
}

/// User and groups of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct User<'a> {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Additional groups.
    pub additional_gids: &'a [u32],
}

/// A process, as the runtime numbers it. Up to version 3 a runtime may leave all of them 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId(pub i32);

/// Whom a signal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every process.
    All,
    /// One.
    Process(ProcessId),
}

/// How a process ended, as `wait(2)` gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WaitStatus(pub u32);

impl WaitStatus {
    /// A process that exited.
    #[must_use]
    pub const fn exited(code: u8) -> Self {
        Self((code as u32) << 8)
    }

    /// The exit code, or 128 + the number of the signal that killed it.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self.0 & 0x7f {
            0 => (self.0 >> 8) as u8,
            signal => 128 + signal as u8,
        }
    }
}
