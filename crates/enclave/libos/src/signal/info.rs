//! What a signal tells: `siginfo_t`.

use super::frame::SIGINFO_SIZE;
use super::signo::SIGCHLD;

/// `si_code` values (sigaction(2)).
#[allow(missing_docs)]
pub mod code {
    pub const SI_USER: i32 = 0;
    pub const SI_KERNEL: i32 = 0x80;
    pub const SI_QUEUE: i32 = -1;
    pub const SI_TIMER: i32 = -2;
    pub const SI_TKILL: i32 = -6;
    pub const ILL_ILLOPN: i32 = 2;
    pub const FPE_INTDIV: i32 = 1;
    pub const FPE_FLTINV: i32 = 7;
    pub const SEGV_MAPERR: i32 = 1;
    pub const SEGV_ACCERR: i32 = 2;
    pub const BUS_ADRALN: i32 = 1;
    pub const BUS_ADRERR: i32 = 2;
    pub const TRAP_BRKPT: i32 = 1;
    pub const TRAP_TRACE: i32 = 2;
    pub const CLD_EXITED: i32 = 1;
    pub const CLD_KILLED: i32 = 2;
    pub const CLD_DUMPED: i32 = 3;
    pub const CLD_STOPPED: i32 = 5;
    pub const CLD_CONTINUED: i32 = 6;
}

/// A signal with what it tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Signal number.
    pub signal: u8,
    /// `si_errno`.
    pub errno: i32,
    /// `si_code`.
    pub code: i32,
    /// The rest.
    pub fields: Fields,
}

/// The part of `siginfo_t` that depends on `si_code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fields {
    /// kill, tgkill, sigqueue: who, and the value.
    Sender {
        /// Process.
        pid: u32,
        /// Real user.
        uid: u32,
        /// `si_value`.
        value: u64,
    },
    /// SIGCHLD.
    Child {
        /// Process.
        pid: u32,
        /// Real user.
        uid: u32,
        /// Exit code, or signal.
        status: i32,
    },
    /// SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP.
    Fault {
        /// `si_addr`.
        address: u64,
    },
    /// A POSIX timer.
    Timer {
        /// Kernel's timer id.
        id: i32,
        /// `si_overrun`.
        overrun: i32,
        /// `si_value`.
        value: u64,
    },
}

impl Info {
    /// Sent by a process with kill(2) (`SI_USER`) or tgkill(2) (`SI_TKILL`).
    #[must_use]
    pub const fn sent(signal: u8, code: i32, pid: u32, uid: u32) -> Self {
        Self { signal, errno: 0, code, fields: Fields::Sender { pid, uid, value: 0 } }
    }

    /// Sent by the library OS: a terminal, a limit, a broken pipe, the operator.
    #[must_use]
    pub const fn kernel(signal: u8) -> Self {
        Self::sent(signal, code::SI_KERNEL, 0, 0)
    }

    /// A program's own fault.
    #[must_use]
    pub const fn fault(signal: u8, code: i32, address: u64) -> Self {
        Self { signal, errno: 0, code, fields: Fields::Fault { address } }
    }

    /// A child ended, stopped or continued.
    #[must_use]
    pub const fn child(code: i32, pid: u32, uid: u32, status: i32) -> Self {
        Self { signal: SIGCHLD, errno: 0, code, fields: Fields::Child { pid, uid, status } }
    }

    /// What a program gave rt_sigqueueinfo(2), with the signal that it names there.
    #[must_use]
    pub fn queued(signal: u8, bytes: &[u8; SIGINFO_SIZE]) -> Self {
        let word = |at: usize| {
            i32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let value = u64::from(word(24) as u32) | u64::from(word(28) as u32) << 32;
        let fields = Fields::Sender { pid: word(16) as u32, uid: word(20) as u32, value };
        Self { signal, errno: word(4), code: word(8), fields }
    }

    /// `siginfo_t`, byte for byte (x86-64).
    #[must_use]
    pub fn encode(&self) -> [u8; SIGINFO_SIZE] {
        let mut bytes = [0; SIGINFO_SIZE];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &i32::from(self.signal).to_le_bytes());
        put(4, &self.errno.to_le_bytes());
        put(8, &self.code.to_le_bytes());
        match self.fields {
            Fields::Sender { pid, uid, value } => {
                put(16, &pid.to_le_bytes());
                put(20, &uid.to_le_bytes());
                put(24, &value.to_le_bytes());
            }
            Fields::Child { pid, uid, status } => {
                put(16, &pid.to_le_bytes());
                put(20, &uid.to_le_bytes());
                put(24, &status.to_le_bytes());
            }
            Fields::Fault { address } => put(16, &address.to_le_bytes()),
            Fields::Timer { id, overrun, value } => {
                put(16, &id.to_le_bytes());
                put(20, &overrun.to_le_bytes());
                put(24, &value.to_le_bytes());
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sigqueue_gives_comes_out_unchanged() {
        let info = Info {
            signal: 34,
            errno: 5,
            code: code::SI_QUEUE,
            fields: Fields::Sender { pid: 7, uid: 8, value: 0x1234_5678_9abc_def0 },
        };
        assert_eq!(Info::queued(34, &info.encode()), info);
    }

    #[test]
    fn fields_stand_where_the_c_library_reads_them() {
        let child = Info::child(code::CLD_EXITED, 42, 1000, 3).encode();
        assert_eq!(child[0], 17);
        assert_eq!((child[16], child[20], child[24]), (42, 0xe8, 3));
        let fault = Info::fault(11, code::SEGV_ACCERR, 0xdead_b000).encode();
        assert_eq!(fault[8], 2);
        assert_eq!(fault[16..24], 0xdead_b000_u64.to_le_bytes());
    }
}
