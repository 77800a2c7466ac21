//! init-runelet: the first process of an enclave container. It never becomes another program: it drives an
//! enclave runtime (`pal::EnclaveRuntime`: ours or a library), passes signals, streams, the terminal's size and
//! exec sessions to it, and ends with the
//! program's exit code.
//!
//! Order: signals are blocked; the enclave is loaded, which makes service threads; the container's seccomp
//! profile is installed for all threads; `create` is told; after `start` the enclave runs. The profile
//! therefore restricts everything that happens after `create`.

mod agent;
pub(crate) mod client;
mod frame;
pub mod wire;

use crate::enclave::{Launch, Runtime};
use container::Inside;
use container::sys::{FILTER_FLAG_TSYNC, SignalFd, exit_now, install_filter};
use pal::{Attributes, EnclaveRuntime, PalError, Process, ProcessId, Target, User};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use std::ffi::CString;
use std::sync::Arc;
use workload::request::Request;

/// Exit code of a container whose enclave refused or ended: what engines use for "could not run".
const FAILED: i32 = 125;

/// Runs an enclave container's first process. Its result is the exit status.
pub(crate) fn run(mut inside: Inside, launch: Launch) -> i32 {
    let _ = rustix::thread::set_name(c"init-runelet");
    let signals = match SignalFd::block_all() {
        Ok(signals) => signals,
        Err(e) => inside.fail(&format!("block signals: {}", std::io::Error::from(e))),
    };
    let runtime: Arc<dyn EnclaveRuntime> = match launch.runtime {
        Runtime::BuiltIn { pack, machine, options } => match inside.root.try_clone() {
            Ok(root) => machine.runtime(pack, root, options),
            Err(e) => inside.fail(&format!("copy the root's descriptor: {e}")),
        },
        Runtime::Library(library) => Arc::new(library),
    };
    let attributes = Attributes {
        args: &launch.args,
        log_level: &launch.log_level,
        pooled: None,
        root: Some(inside.root.as_fd()),
        log: Some(rustix::stdio::stderr()),
    };
    if let Err(error) = runtime.init(&attributes) {
        inside.fail(&format!("load the enclave: {error}"));
    }
    if let Some(listener) = inside.agent.take()
        && let Err(error) = agent::serve(&runtime, listener)
    {
        inside.fail(&format!("start the agent: {error}"));
    }
    let target = Arc::clone(&runtime);
    let forwarder = std::thread::Builder::new()
        .name("signals".into())
        .stack_size(128 << 10)
        .spawn(move || forward(&*target, &signals));
    if let Err(error) = forwarder {
        inside.fail(&format!("start the signal thread: {error}"));
    }
    if let Some(filter) = inside.filter.take() {
        // The listener of a notifying profile would be this process's own; `prepare` refuses those.
        if let Err(e) = install_filter(&filter.program, filter.flags | FILTER_FLAG_TSYNC) {
            inside.fail(&format!("install linux.seccomp: {}", std::io::Error::from(e)));
        }
    }
    let mut request = launch.request;
    request.has_stdin |= crate::enclave::request::is_connected(rustix::stdio::stdin());
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    // Before `create` is told, so that a signal after it finds the process.
    let process = match create_process(&*runtime, &request, streams) {
        Ok(process) => process,
        Err(error) => inside.fail(&format!("create the process: {error}")),
    };
    let running = match inside.ready() {
        Ok(running) => running,
        Err(_) => return 1,
    };
    running.running();
    let code = match runtime.exec(process) {
        Ok(status) => status.exit_code().into(),
        Err(error) => {
            eprintln!("rune: {error}");
            FAILED
        }
    };
    // At once: threads may be inside the enclave.
    exit_now(code)
}

/// Prepares a process of the enclave.
fn create_process(
    runtime: &dyn EnclaveRuntime,
    request: &Request,
    stdio: [BorrowedFd<'_>; 3],
) -> Result<ProcessId, PalError> {
    let strings = |field, strings: &[String]| {
        let strings: Result<_, _> =
            strings.iter().map(|text| CString::new(text.as_str())).collect();
        strings.map_err(|_| PalError::Argument { field })
    };
    let argv: Vec<CString> = strings("argv", &request.argv)?;
    let env: Vec<CString> = strings("env", &request.env)?;
    let cwd = CString::new(request.cwd.as_str());
    let json = CString::new(request.to_json());
    runtime.create_process(&Process {
        path: argv.first().ok_or(PalError::Argument { field: "argv" })?,
        argv: &argv,
        env: &env,
        stdio,
        cwd: &cwd.map_err(|_| PalError::Argument { field: "cwd" })?,
        user: User {
            uid: request.user.uid,
            gid: request.user.gid,
            additional_gids: &request.user.additional_gids,
        },
        has_terminal: request.tty,
        request: Some(&json.map_err(|_| PalError::Argument { field: "request" })?),
    })
}

/// Passes signals to the container's first program. As process 1 it also collects orphans.
fn forward(runtime: &dyn EnclaveRuntime, signals: &SignalFd) {
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
                    let _ = runtime.kill(Target::All, signal);
                }
            }
        }
    }
}
