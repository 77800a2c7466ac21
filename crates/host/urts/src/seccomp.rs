//! What a seccomp profile must leave to this process.
//!
//! `init-runelet` applies the container's profile after [`Enclave::load`](crate::Enclave::load); from then on the
//! process needs the system calls below and no others. The workload's own system calls never reach the kernel, so
//! a profile restricts this runtime, not the program inside.

/// System calls that the runtime makes after start, on every driver.
///
/// `openat2` is only ever called with a directory descriptor and `RESOLVE_IN_ROOT`; `ioctl` only with the terminal
/// requests of the host-call ABI and those of [`SYSCALLS_HARDWARE`].
pub const SYSCALLS: &[&str] = &[
    // Memory and threads.
    "brk",
    "clone",
    "clone3",
    "exit",
    "exit_group",
    "futex",
    "gettid",
    "madvise",
    "mmap",
    "mprotect",
    "munmap",
    "prctl",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_getaffinity",
    "sched_yield",
    "set_robust_list",
    "sigaltstack",
    // Time, where the vDSO does not serve it.
    "clock_gettime",
    "clock_nanosleep",
    // Files and side data.
    "close",
    "fcntl",
    "fstat",
    "newfstatat",
    "openat2",
    "pread64",
    // Streams and events.
    "epoll_ctl",
    "epoll_pwait",
    "eventfd2",
    "ioctl",
    "ppoll",
    "preadv2",
    "pwritev2",
    "read",
    "recvfrom",
    "sendto",
    "write",
];

/// What the emulator needs besides: its kick signal, its per-thread registration and the FS and GS bases where the
/// processor does not let user mode set them.
pub const SYSCALLS_EMULATOR: &[&str] = &["arch_prctl", "getpid", "tgkill"];

/// What the hardware driver needs besides: `ioctl` on `/dev/sgx_enclave` and its kick signal.
pub const SYSCALLS_HARDWARE: &[&str] = &["getpid", "ioctl", "tgkill"];

/// What sockets of the host need besides; only of an enclave whose manifest has network rules
/// (`Manifest::has_host_sockets`).
pub const SYSCALLS_NETWORK: &[&str] = &[
    "accept4",
    "bind",
    "connect",
    "getsockname",
    "getsockopt",
    "listen",
    "setsockopt",
    "shutdown",
    "socket",
];

/// The calls of `needed` that `allows` forbids, for a refusal that names them.
pub fn missing<'a>(
    needed: &'a [&'static str],
    allows: impl Fn(&str) -> bool + 'a,
) -> impl Iterator<Item = &'static str> + 'a {
    needed.iter().copied().filter(move |name| !allows(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_calls_are_named() {
        let missing: Vec<_> =
            missing(SYSCALLS, |name| name != "futex" && name != "pread64").collect();
        assert_eq!(missing, ["futex", "pread64"]);
    }
}
