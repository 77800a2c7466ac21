//! The verbs on a container that exists: start, kill, delete, pause, resume, list.

use crate::cgroup::{self, Cgroups, freezer};
use crate::create::Created;
use crate::error::{Error, Result};
use crate::gate;
use crate::hooks;
use crate::spec::{Hooks, Spec};
use crate::state::{Directory, HookState, State, Status};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, pidfd_send_signal};
use rustix::time::Timespec;
use std::path::Path;

/// How long a killed first process may take to end, in milliseconds.
const DEATH_MS: i64 = 10_000;

fn wrong(state: &State, operation: &'static str, expected: &'static str, got: Status) -> Error {
    Error::Status { id: state.id.clone(), operation, expected, got: got.name() }
}

/// Lets the program of a created container run, then runs `poststart` hooks.
///
/// # Errors
/// The container is not waiting, the program cannot be executed, or a hook failed (then it is killed).
pub fn start(directory: &Directory, state: &State) -> Result<()> {
    match directory.status(state) {
        Status::Created => {}
        other => return Err(wrong(state, "start", "created", other)),
    }
    gate::open(directory)?;
    let bytes = directory.read("config.json")?;
    // A search in the text first: the file is long, and this hook is rare.
    if !bytes.windows(11).any(|w| w == b"\"poststart\"") {
        return Ok(());
    }
    let spec = Spec::parse(&directory.path().join("config.json"), &bytes)?;
    let json = HookState::from(state).json(state.pid, Status::Running);
    hooks::run("poststart", &spec.hooks.poststart, &json).inspect_err(|_| {
        if let Some(pidfd) = directory.pidfd(state) {
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
        }
    })
}

/// Sends a signal to the first process, or to all if `is_all`.
///
/// # Errors
/// The container is not running.
pub fn kill(directory: &Directory, signal: i32, is_all: bool) -> Result<()> {
    let state = directory.state()?;
    // Real-time signals have no name, so the raw number goes through.
    let signal = rustix_signal(signal)?;
    if is_all {
        for pid in crate::members::processes(&state) {
            if let Some(pid) = Pid::from_raw(pid) {
                match kill_process(pid, signal) {
                    Ok(()) | Err(Errno::SRCH) => {}
                    Err(e) => return Err(Error::os("signal", format!("process {pid:?}"))(e)),
                }
            }
        }
        return Ok(());
    }
    let status = directory.status(&state);
    let Some(pidfd) = directory.pidfd(&state) else {
        return Err(wrong(&state, "kill", "running", status));
    };
    pidfd_send_signal(&pidfd, signal).map_err(Error::os("signal", &state.id))?;
    // A frozen process dies only when it thaws.
    if signal == Signal::KILL && status == Status::Paused {
        freezer::thaw(&state.cgroups)?;
    }
    Ok(())
}

fn rustix_signal(number: i32) -> Result<Signal> {
    Signal::from_named_raw(number)
        .or_else(|| crate::sys::signal_from_raw(number))
        .ok_or_else(|| Error::config("signal", "1 to 64", number))
}

/// Removes a container: its cgroups, its directory; then runs `poststop` hooks. A running one is killed
/// first if `is_forced`. A directory without a readable state is removed by force alone; the container's
/// processes are then found by its configuration.
///
/// # Errors
/// The container is running, or something of it cannot be removed.
pub fn delete(root: &Path, id: &str, is_forced: bool) -> Result<()> {
    let directory = match Directory::open(root, id) {
        Err(Error::NotFound { .. }) if is_forced => return Ok(()),
        other => other?,
    };
    let state = match directory.state() {
        Ok(state) => state,
        Err(_) if is_forced => return salvage(directory),
        Err(error) => return Err(error),
    };
    let status = directory.status(&state);
    match status {
        Status::Stopped => {}
        Status::Created | Status::Creating if is_forced || status == Status::Created => {
            end(&directory, &state)?;
        }
        _ if is_forced => {
            if status == Status::Paused {
                let _ = freezer::thaw(&state.cgroups);
            }
            end(&directory, &state)?;
        }
        other => return Err(wrong(&state, "delete", "stopped", other)),
    }
    let hooks =
        directory.read("config.json").ok().filter(|b| b.windows(10).any(|w| w == b"\"poststop\""));
    let path = directory.path().join("config.json");
    dismantle(directory, &state)?;
    if let Some(bytes) = hooks {
        let spec = Spec::parse(&path, &bytes)?;
        stopped(&state, &spec.hooks)?;
    }
    Ok(())
}

/// Removes a foreground container by what its maker knows of it: nothing is read again.
///
/// # Errors
/// As [`delete`].
pub fn delete_created(created: Created) -> Result<()> {
    let Created { directory, state, hooks, .. } = created;
    end(&directory, &state)?;
    dismantle(directory, &state)?;
    stopped(&state, &hooks)
}

/// Removes what was made for a container whose first process has ended.
fn dismantle(directory: Directory, state: &State) -> Result<()> {
    // Without a pid namespace of its own the container's other processes outlive the first.
    cgroup::remove(&state.cgroups, true)?;
    if let Some(groups) = &state.rdt {
        groups.remove();
    }
    directory.remove()
}

fn stopped(state: &State, hooks: &Hooks) -> Result<()> {
    if hooks.poststop.is_empty() {
        return Ok(());
    }
    let json = HookState::from(state).json(0, Status::Stopped);
    hooks::run("poststop", &hooks.poststop, &json)
}

/// Removes a container whose state cannot be read.
fn salvage(directory: Directory) -> Result<()> {
    // Never written: no cgroup was made yet, and the first process ended with the runtime that made it.
    if !directory.has("state.json") {
        return directory.remove();
    }
    // Damaged later, as we write it whole or not at all. What is in the groups that the configuration asks
    // for is the container's; those of systemd's units are named in the state alone.
    let path = directory.path().join("config.json");
    let spec = directory.read("config.json").and_then(|bytes| Spec::parse(&path, &bytes));
    if let Ok(spec) = spec {
        let host = cgroup::Host::detect()?;
        if let Ok(cgroups) = Cgroups::plan(&host, &spec.linux.cgroups_path, directory.id()) {
            cgroup::remove(&cgroups, true)?;
        }
    }
    directory.remove()
}

/// Kills the first process and waits for its end, without sleeping in steps.
fn end(directory: &Directory, state: &State) -> Result<()> {
    let Some(pidfd) = directory.pidfd(state) else { return Ok(()) };
    match pidfd_send_signal(&pidfd, Signal::KILL) {
        Ok(()) => {}
        Err(Errno::SRCH) => return Ok(()),
        Err(e) => return Err(Error::os("kill", &state.id)(e)),
    }
    wait_for_end(&pidfd, DEATH_MS).map_err(Error::os("wait for the end of", &state.id))
}

/// Waits until a process has ended.
fn wait_for_end(pidfd: &OwnedFd, milliseconds: i64) -> std::result::Result<(), Errno> {
    let timeout =
        Timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 };
    let mut fds = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
    match rustix::io::retry_on_intr(|| poll(&mut fds, Some(&timeout)))? {
        0 => Err(Errno::TIMEDOUT),
        _ => Ok(()),
    }
}

/// Stops all processes of a running container.
///
/// # Errors
/// It is not running, or has no freezer.
pub fn pause(directory: &Directory) -> Result<()> {
    let state = directory.state()?;
    match directory.status(&state) {
        Status::Running | Status::Created => freezer::freeze(&state.cgroups),
        other => Err(wrong(&state, "pause", "running", other)),
    }
}

/// Lets a paused container go on.
///
/// # Errors
/// It is not paused.
pub fn resume(directory: &Directory) -> Result<()> {
    let state = directory.state()?;
    match directory.status(&state) {
        Status::Paused => freezer::thaw(&state.cgroups),
        other => Err(wrong(&state, "resume", "paused", other)),
    }
}

/// All containers with readable states, by id.
///
/// # Errors
/// The directory of containers cannot be read. A missing one is empty.
pub fn list(root: &Path) -> Result<Vec<(State, Status)>> {
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::os_io("read", root, &e)),
    };
    let mut out = Vec::new();
    for entry in entries.filter_map(std::result::Result::ok) {
        let name = entry.file_name();
        let Some(id) = name.to_str() else { continue };
        // Removed meanwhile, or not a container.
        let Ok(directory) = Directory::open(root, id) else { continue };
        if let Ok(state) = directory.state() {
            let status = directory.status(&state);
            out.push((state, status));
        }
    }
    out.sort_by(|a, b| a.0.id.cmp(&b.0.id));
    Ok(out)
}
