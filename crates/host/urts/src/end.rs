//! How an enclave and its sessions end.

use hostcall::BadRequest;
use sgx::driver::DriverError;
use std::fmt;

/// How the enclave ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// The container's first process ended: a wait status as `wait(2)` gives it.
    Exited(u32),
    /// The enclave refused to run or to go on; the line is the enclave's, made printable.
    Refused(String),
    /// The host stopped it.
    Stopped(StopReason),
}

impl ExitStatus {
    /// The exit code of a process that stands for the container, as a shell gives it: the code, or 128 + the
    /// signal number; 125 if the enclave refused or was stopped, as container engines use it for "the
    /// container could not run".
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Exited(status) if status & 0x7f == 0 => (status >> 8) as u8,
            Self::Exited(status) => 128 + (status & 0x7f) as u8,
            Self::Refused(_) | Self::Stopped(_) => 125,
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) if status & 0x7f == 0 => write!(f, "exit code {}", status >> 8),
            Self::Exited(status) => write!(f, "killed by signal {}", status & 0x7f),
            Self::Refused(reason) => write!(f, "refused by the enclave: {reason}"),
            Self::Stopped(reason) => write!(f, "stopped: {reason}"),
        }
    }
}

/// Why the host stopped an enclave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The enclave's request is malformed.
    BadRequest(BadRequest),
    /// The driver failed.
    Driver(DriverError),
    /// The enclave left with a reason that the ABI does not define.
    UnknownExit {
        /// RDI at EEXIT.
        rdi: u64,
    },
    /// The enclave could not handle an exception.
    FatalException {
        /// The exception that the host saw last on the thread, if any: vector, error code, address.
        last: Option<(u16, u16, u64)>,
    },
    /// EENTER or ERESUME itself faulted.
    EntryFault {
        /// TCS address.
        tcs: u64,
        /// Vector.
        vector: u16,
    },
    /// The first thread ended without an exit call.
    FirstThreadEnded,
    /// [`Enclave::stop`](crate::Enclave::stop).
    Asked,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRequest(bad) => write!(f, "bad request of the enclave: {bad}"),
            Self::Driver(error) => write!(f, "the SGX driver failed: {}", driver_message(error)),
            Self::UnknownExit { rdi } => {
                write!(f, "exit reason of the enclave: expected 1 to 4, got {rdi:#x}")
            }
            Self::FatalException { last: None } => {
                f.write_str("the enclave could not handle an exception")
            }
            Self::FatalException { last: Some((vector, code, address)) } => write!(
                f,
                "the enclave could not handle an exception (vector {vector}, error code {code:#x}, \
                 address {address:#x})"
            ),
            Self::EntryFault { tcs, vector } => {
                write!(f, "entry on the TCS at {tcs:#x} faulted with vector {vector}")
            }
            Self::FirstThreadEnded => f.write_str("the first thread ended without an exit status"),
            Self::Asked => f.write_str("asked by the caller"),
        }
    }
}

/// How an exec session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// Its process ended: a wait status.
    Exited(u32),
    /// The enclave refused it; the line is the enclave's, made printable.
    Refused(String),
    /// The enclave ended first.
    EnclaveEnded(ExitStatus),
}

/// One line about a driver's refusal, with the values.
pub(crate) fn driver_message(error: &DriverError) -> String {
    match error {
        DriverError::Refused { operation, field, expected, got } => {
            format!("{operation}: {field}: expected {expected:#x}, got {got:#x}")
        }
        DriverError::Mismatch { operation, field, expected, got } => {
            format!("{operation}: {field}: expected {}, got {}", hex(expected), hex(got))
        }
        DriverError::Os { operation, errno } => {
            format!("{operation}: {}", std::io::Error::from_raw_os_error(*errno))
        }
        DriverError::Leaf { .. } | DriverError::Einit(_) => error.to_string(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::ExitStatus;

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        assert_eq!(ExitStatus::Exited(0).exit_code(), 0);
        assert_eq!(ExitStatus::Exited(0x2a00).exit_code(), 42);
        assert_eq!(ExitStatus::Exited(15).exit_code(), 143);
        assert_eq!(ExitStatus::Exited(0x80 | 11).exit_code(), 139, "with a core dump");
        assert_eq!(ExitStatus::Refused(String::new()).exit_code(), 125);
    }
}
