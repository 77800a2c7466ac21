//! Settings of the host process: signals and memory.

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::mem::MaybeUninit;
use std::thread::JoinHandle;

/// Host stack of a service thread. The enclave has stacks of its own.
const STACK_SIZE: usize = 256 * 1024;

/// Starts a thread that takes no asynchronous signal: those are for the program that embeds this crate. A driver
/// unblocks its own kick signal on the threads that enter the enclave. Synchronous ones stay unblocked, since the
/// emulator delivers the enclave's exceptions by them.
pub(crate) fn spawn_masked(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, Errno> {
    let before = block_asynchronous();
    let result = std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK_SIZE)
        .spawn(body)
        .map_err(|error| error.raw_os_error().map_or(Errno::AGAIN, Errno::from_raw_os_error));
    // SAFETY: `before` is the mask that the kernel filled in; the old mask is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut()) };
    result
}

/// Blocks every asynchronous signal on the calling thread and gives the mask from before; a new thread inherits
/// the mask, so that there is no moment in which it takes one.
fn block_asynchronous() -> libc::sigset_t {
    let mut block = MaybeUninit::uninit();
    let mut before = MaybeUninit::uninit();
    // SAFETY: sigfillset initialises `block`; the numbers are valid signals; pthread_sigmask reads `block` and
    // initialises `before`, and cannot fail with SIG_BLOCK.
    unsafe {
        libc::sigfillset(block.as_mut_ptr());
        for synchronous in
            [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS]
        {
            libc::sigdelset(block.as_mut_ptr(), synchronous);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, block.as_ptr(), before.as_mut_ptr());
        before.assume_init()
    }
}

/// Bounds the C library's memory arenas. Otherwise it reserves 64 MiB for each of many threads that hardly allocate,
/// and looks into sysfs for the number of processors when it makes them, which a seccomp profile may forbid.
pub(crate) fn bound_arenas() {
    // SAFETY: takes numbers; the call is thread-safe.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

/// Raises the soft limit of descriptors to the hard one: each connection of the enclave is one, and the soft limit is
/// for programs that use select(2), which this is none of.
pub(crate) fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it may not, connections end with the old one, as EMFILE.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Makes writes to a closed pipe answer EPIPE instead of killing the process, unless it has its own handler.
pub(crate) fn ignore_sigpipe() {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: sigaction fills `action` when it succeeds, and it does for a valid signal; SIG_IGN is a valid
    // handler.
    unsafe {
        if libc::sigaction(libc::SIGPIPE, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_DFL
        {
            libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        }
    }
}
