//! Loading a library in a child process first.
//!
//! A library's constructors run at load time and may do anything: upstream's skeleton PAL calls `exit(1)` in its own
//! when the machine has no SGX device. In PID 1 of a container that would end the container without a word.

use crate::abi::GetVersion;
use crate::error::ProbeError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// What the child found, before the bytes of a message.
const LOADED: u8 = 1;
const REFUSED: u8 = 2;

/// Loads `path` in a child process, asks its version there, and gives that. The child is killed after `timeout`.
///
/// The caller forks: on the emulator this must come before the enclave is made, as all of a PAL's loading does.
pub(crate) fn probe(path: &CStr, timeout: Duration) -> Result<i32, ProbeError> {
    let (reader, writer) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(ProbeError::Os)?;
    // SAFETY: the child calls only the dynamic loader, the library and write(2), and leaves by _exit, so no
    // destructor or buffer of the parent runs twice. glibc re-initialises the locks of malloc and of the dynamic
    // loader in the child.
    let child = unsafe { libc::fork() };
    match child {
        -1 => Err(ProbeError::Os(crate::library::last_errno())),
        0 => {
            report(path, &writer);
            // SAFETY: ends the child without running anything else.
            unsafe { libc::_exit(0) }
        }
        child => {
            drop(writer);
            let child = Pid::from_raw(child).expect("fork gives a positive number");
            wait(child, &reader, timeout)
        }
    }
}

/// In the child: loads, asks, and writes the answer.
fn report(path: &CStr, writer: &OwnedFd) {
    // The Rust runtime's handlers, made for stack overflow, would swallow a raised signal.
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: SIG_DFL is a valid handler for a valid signal.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let mut answer = Vec::new();
    match crate::library::open(path) {
        Ok(handle) => {
            answer.push(LOADED);
            let symbol = crate::library::symbol(handle, c"pal_get_version");
            let version = symbol.map_or(1, |symbol| {
                // SAFETY: the ABI gives this symbol this type.
                let get_version = unsafe { std::mem::transmute::<*mut _, GetVersion>(symbol) };
                // SAFETY: the function takes nothing.
                unsafe { get_version() }
            });
            answer.extend(version.to_le_bytes());
        }
        Err(message) => {
            answer.push(REFUSED);
            answer.extend(message.as_bytes());
        }
    }
    // SAFETY: the kernel reads `answer` and nothing else. A pipe takes this much at once.
    unsafe {
        libc::write(writer.as_raw_fd(), answer.as_ptr().cast(), answer.len().min(4096));
    }
}

/// In the parent: reads the answer, or says what became of the child.
fn wait(child: Pid, reader: &OwnedFd, timeout: Duration) -> Result<i32, ProbeError> {
    let deadline = Instant::now() + timeout;
    let mut answer = Vec::new();
    let is_late = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break true;
        }
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let mut fds = [PollFd::from_borrowed_fd(reader.as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&left)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => {
                let mut piece = [0; 4096];
                match rustix::io::read(reader, &mut piece) {
                    Ok(0) => break false,
                    Ok(length) => answer.extend_from_slice(&piece[..length]),
                    Err(Errno::INTR) => {}
                    Err(_) => break true,
                }
            }
            Err(_) => break true,
        }
    };
    // A child that has closed its end may still run a destructor for ever.
    if is_late || answer.is_empty() && !is_gone_soon(child, deadline) {
        let _ = kill_process(child, Signal::KILL);
        let _ = waitpid(Some(child), WaitOptions::empty());
        return Err(ProbeError::TimedOut { after_ms: timeout.as_millis() as u64 });
    }
    let status = waitpid(Some(child), WaitOptions::empty()).ok().flatten();
    match answer.split_first() {
        Some((&LOADED, version)) => {
            let version = version.try_into().map_err(|_| ProbeError::Os(Errno::PROTO))?;
            Ok(i32::from_le_bytes(version))
        }
        Some((_, message)) => {
            Err(ProbeError::Dlopen(String::from_utf8_lossy(message).into_owned()))
        }
        None => Err(match status {
            Some((_, status)) => match (status.exit_status(), status.terminating_signal()) {
                (_, Some(signal)) => ProbeError::Killed { signal },
                (code, None) => ProbeError::Exited { code: code.unwrap_or(-1) },
            },
            None => ProbeError::Os(Errno::CHILD),
        }),
    }
}

/// Whether the child ends before the deadline; it is left to be waited for.
fn is_gone_soon(child: Pid, deadline: Instant) -> bool {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    loop {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        match waitid(WaitId::Pid(child), options) {
            Ok(Some(_)) | Err(Errno::CHILD) => return true,
            _ if Instant::now() >= deadline => return false,
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// The name by which the dynamic loader finds an open file.
pub(crate) fn descriptor_path(file: &OwnedFd) -> CString {
    CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("no zero byte in a number")
}
