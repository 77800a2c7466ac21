//! init-runelet's side of the agent socket: exec sessions, and reports of the enclave.

use super::frame;
use super::wire::{Attested, Ended, Execute, Request};
use pal::{EnclaveRuntime, PalError, ProcessId, Target};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use workload::manifest::User;
use workload::request::{Kind, Request as WorkloadRequest};

/// Exit code of a session whose enclave ended under it, as of a process killed by SIGKILL.
const ENDED: i32 = 137;

/// Exit code of a session that the enclave refused, as shells use it for "found, but not executable".
pub(crate) const REFUSED: i32 = 126;

/// Stack of a session's threads, in bytes.
const STACK: usize = 256 << 10;

/// Sessions at once; more wait in the socket's queue.
const MAX_SESSIONS: usize = 64;

/// Serves the socket until the process ends.
pub(crate) fn serve(runtime: &Arc<dyn EnclaveRuntime>, listener: OwnedFd) -> std::io::Result<()> {
    let runtime = Arc::clone(runtime);
    spawn("agent", move || {
        let sessions = Arc::new(());
        loop {
            match accept_with(&listener, SocketFlags::CLOEXEC) {
                Ok(connection) => {
                    while Arc::strong_count(&sessions) > MAX_SESSIONS {
                        std::thread::sleep(std::time::Duration::from_millis(10));
                    }
                    let (runtime, session) = (Arc::clone(&runtime), Arc::clone(&sessions));
                    // Without a thread the connection closes, which the client reports.
                    let _ = spawn("session", move || {
                        let answer = run(&runtime, &connection)
                            .unwrap_or_else(|error| Ended { exit_code: REFUSED, error }.to_bytes());
                        let _ = frame::write(&connection, &answer);
                        drop(session);
                    });
                }
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(50)),
            }
        }
    })
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().name(name.into()).stack_size(STACK).spawn(body).map(drop)
}

/// One request, answered.
fn run(runtime: &Arc<dyn EnclaveRuntime>, connection: &OwnedFd) -> Result<Vec<u8>, String> {
    let io = |e: Errno| format!("agent socket: {}", std::io::Error::from(e));
    let bytes = frame::read(connection).map_err(io)?.ok_or("agent socket: no request came")?;
    let execute = match Request::parse(&bytes) {
        Ok(Request::Execute(execute)) => execute,
        Ok(Request::Attest(target)) => return Ok(attest(&**runtime, &target).to_bytes()),
        Ok(Request::Kill(_)) => {
            return Err("agent socket: expected exec or attest, got kill".into());
        }
        Err(error) => return Err(format!("agent socket: {error}")),
    };
    execute_session(runtime, connection, execute).map(|ended| ended.to_bytes())
}

/// A report, for whoever may open the socket: the host, which may ask for one anyway.
fn attest(runtime: &dyn EnclaveRuntime, target: &[u8]) -> Attested {
    let report = match target.try_into() {
        Ok(target) => runtime.get_local_report(target).map_err(|error| error.to_string()),
        Err(_) => Err(format!("targetInfo: expected 512 bytes, got {}", target.len())),
    };
    match report {
        Ok(report) => Attested { error: String::new(), report: report.to_vec() },
        Err(error) => Attested { error, report: Vec::new() },
    }
}

/// One session, from its request to its end.
fn execute_session(
    runtime: &Arc<dyn EnclaveRuntime>,
    connection: &OwnedFd,
    execute: Execute,
) -> Result<Ended, String> {
    let io = |e: Errno| format!("agent socket: {}", std::io::Error::from(e));
    let mut descriptors = Vec::with_capacity(4);
    for _ in 0..4 {
        descriptors.push(frame::receive_descriptor(connection).map_err(io)?);
    }
    let Ok([signals, stdin, stdout, stderr]) = <[OwnedFd; 4]>::try_from(descriptors) else {
        return Err("agent socket: expected four descriptors".into());
    };
    let request = request(execute);
    let streams = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
    let process =
        super::create_process(&**runtime, &request, streams).map_err(|error| error.to_string())?;
    let (target, has_ended) = (Arc::clone(runtime), Arc::new(AtomicBool::new(false)));
    let ended = Arc::clone(&has_ended);
    spawn("session signals", move || forward_signals(&*target, process, &signals, &ended))
        .map_err(|error| error.to_string())?;
    let result = runtime.exec(process);
    has_ended.store(true, Ordering::Release);
    match result {
        Ok(status) => Ok(Ended { exit_code: status.exit_code().into(), error: String::new() }),
        Err(PalError::Ended(line)) => {
            Ok(Ended { exit_code: ENDED, error: format!("the enclave ended: {line}") })
        }
        Err(error) => Ok(Ended { exit_code: REFUSED, error: error.to_string() }),
    }
}

fn request(execute: Execute) -> WorkloadRequest {
    WorkloadRequest {
        kind: Kind::Exec,
        argv: execute.args,
        env: execute.env,
        cwd: execute.cwd,
        user: User { uid: execute.uid, gid: execute.gid, additional_gids: execute.groups },
        hostname: String::new(),
        mounts: Vec::new(),
        tty: execute.tty,
        has_stdin: execute.stdin,
        rlimits: Vec::new(),
        inputs: BTreeMap::new(),
    }
}

/// Passes signals until the session or its client ends. A client that vanishes (its own SIGKILL cannot be
/// passed on) takes its session with it.
fn forward_signals(
    runtime: &dyn EnclaveRuntime,
    process: ProcessId,
    signals: &OwnedFd,
    has_ended: &AtomicBool,
) {
    let target = Target::Process(process);
    loop {
        let frame = frame::read(signals.as_fd());
        // The client ends after its session; a library may give the number to another process.
        if has_ended.load(Ordering::Acquire) {
            return;
        }
        match frame {
            Ok(Some(bytes)) => {
                let Ok(Request::Kill(signal)) = Request::parse(&bytes) else { return };
                if let Err(PalError::NoProcess { .. }) = runtime.kill(target, signal) {
                    return;
                }
            }
            Ok(None) | Err(_) => {
                let _ = runtime.kill(target, libc::SIGKILL);
                return;
            }
        }
    }
}
