//! Signals: what they are as data, how they are sent and delivered, and the system calls.

pub mod action;
pub mod deliver;
pub mod frame;
pub mod info;
pub mod queue;
pub mod send;
pub mod set;
pub mod syscalls;

pub use action::{Action, Actions, DefaultAction, Disposition};
pub use info::Info;
pub use queue::Pending;
pub use set::Set;

/// Signal numbers (signal(7), x86-64).
#[allow(missing_docs)]
pub mod signo {
    pub const SIGHUP: u8 = 1;
    pub const SIGINT: u8 = 2;
    pub const SIGQUIT: u8 = 3;
    pub const SIGILL: u8 = 4;
    pub const SIGTRAP: u8 = 5;
    pub const SIGABRT: u8 = 6;
    pub const SIGBUS: u8 = 7;
    pub const SIGFPE: u8 = 8;
    pub const SIGKILL: u8 = 9;
    pub const SIGUSR1: u8 = 10;
    pub const SIGSEGV: u8 = 11;
    pub const SIGUSR2: u8 = 12;
    pub const SIGPIPE: u8 = 13;
    pub const SIGALRM: u8 = 14;
    pub const SIGTERM: u8 = 15;
    pub const SIGSTKFLT: u8 = 16;
    pub const SIGCHLD: u8 = 17;
    pub const SIGCONT: u8 = 18;
    pub const SIGSTOP: u8 = 19;
    pub const SIGTSTP: u8 = 20;
    pub const SIGTTIN: u8 = 21;
    pub const SIGTTOU: u8 = 22;
    pub const SIGURG: u8 = 23;
    pub const SIGXCPU: u8 = 24;
    pub const SIGXFSZ: u8 = 25;
    pub const SIGVTALRM: u8 = 26;
    pub const SIGPROF: u8 = 27;
    pub const SIGWINCH: u8 = 28;
    pub const SIGIO: u8 = 29;
    pub const SIGPWR: u8 = 30;
    pub const SIGSYS: u8 = 31;
    /// First real-time signal, as the kernel counts.
    pub const SIGRTMIN: u8 = 32;
    /// Last signal.
    pub const SIGRTMAX: u8 = 64;
}

/// `number` as a signal: 1 to 64.
#[must_use]
pub fn valid(number: u64) -> Option<u8> {
    u8::try_from(number).ok().filter(|signal| (1..=signo::SIGRTMAX).contains(signal))
}
