//! init-runelet: the first process of an enclave container. It never becomes another program: it loads the
//! enclave, runs it, passes signals, streams, the terminal's size and exec sessions to it, and ends with the
//! program's exit code.
//!
//! Order: signals are blocked; the enclave is loaded, which makes service threads; the container's seccomp
//! profile is installed for all threads; `create` is told; after `start` the enclave runs. The profile
//! therefore restricts everything that happens after `create`.

mod agent;
pub(crate) mod client;
mod frame;
pub mod wire;

use crate::enclave::Launch;
use container::Inside;
use container::sys::{FILTER_FLAG_TSYNC, SignalFd, exit_now, install_filter};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::sync::Arc;
use urts::{Enclave, ExitStatus};

/// Runs an enclave container's first process. Its result is the exit status.
pub(crate) fn run(mut inside: Inside, launch: Launch) -> i32 {
    let _ = rustix::thread::set_name(c"init-runelet");
    let signals = match SignalFd::block_all() {
        Ok(signals) => signals,
        Err(e) => inside.fail(&format!("block signals: {}", std::io::Error::from(e))),
    };
    let root = match inside.root.try_clone() {
        Ok(root) => root,
        Err(e) => inside.fail(&format!("copy the root's descriptor: {e}")),
    };
    let options = urts::Options {
        max_threads: launch.threads,
        log: launch.log.clone(),
        ..urts::Options::default()
    };
    let enclave = match Enclave::load(&launch.driver, launch.pack, root, options) {
        Ok(enclave) => Arc::new(enclave),
        Err(error) => inside.fail(&format!("load the enclave: {error}")),
    };
    if let Some(listener) = inside.agent.take() {
        if let Err(error) = agent::serve(&enclave, listener) {
            inside.fail(&format!("start the agent: {error}"));
        }
    }
    let target = Arc::clone(&enclave);
    let forwarder = std::thread::Builder::new()
        .name("signals".into())
        .stack_size(128 << 10)
        .spawn(move || forward(&target, &signals));
    if let Err(error) = forwarder {
        inside.fail(&format!("start the signal thread: {error}"));
    }
    if let Some(filter) = inside.filter.take() {
        // The listener of a notifying profile would be this process's own; `prepare` refuses those.
        if let Err(e) = install_filter(&filter.program, filter.flags | FILTER_FLAG_TSYNC) {
            inside.fail(&format!("install linux.seccomp: {}", std::io::Error::from(e)));
        }
    }
    let streams = match streams() {
        Ok(streams) => streams,
        Err(e) => inside.fail(&format!("copy the standard streams: {}", std::io::Error::from(e))),
    };
    let mut request = launch.request;
    request.has_stdin |= crate::enclave::request::is_connected(rustix::stdio::stdin());
    let running = match inside.ready() {
        Ok(running) => running,
        Err(_) => return 1,
    };
    if let Err(error) = enclave.start(request.to_json(), streams) {
        running.failed(&format!("start the enclave: {error}"));
    }
    running.running();
    let status = enclave.wait();
    if !matches!(status, ExitStatus::Exited(_)) {
        eprintln!("rune: {status}");
    }
    // At once: threads may be inside the enclave.
    exit_now(status.exit_code().into())
}

fn streams() -> Result<[OwnedFd; 3], Errno> {
    let copy = |fd: rustix::fd::BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, 3);
    Ok([
        copy(rustix::stdio::stdin())?,
        copy(rustix::stdio::stdout())?,
        copy(rustix::stdio::stderr())?,
    ])
}

/// Passes signals to the container's first program. As process 1 it also collects orphans.
fn forward(enclave: &Enclave, signals: &SignalFd) {
    loop {
        let mut fds = [PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
        while let Ok(Some(info)) = signals.next() {
            match info.signal {
                libc::SIGCHLD => {
                    while let Ok(Some(_)) =
                        rustix::process::wait(rustix::process::WaitOptions::NOHANG)
                    {
                    }
                }
                libc::SIGPIPE | libc::SIGURG => {}
                signal => {
                    if signal == libc::SIGWINCH {
                        let _ = enclave.window_size(0);
                    }
                    if let Ok(signal) = u8::try_from(signal) {
                        let _ = enclave.signal(0, signal);
                    }
                }
            }
        }
    }
}
