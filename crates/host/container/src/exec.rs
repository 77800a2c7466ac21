//! `exec`: one more process in a running container.

use crate::cgroup::freezer;
use crate::console::{self, Terminal};
use crate::error::{Error, Result};
use crate::init::{become_root, end, join_all};
use crate::process::ProcessPlan;
use crate::spec::{NamespaceType, Process, Spec};
use crate::state::{Directory, HookState, State, Status};
use crate::sync::{Sync, Tag};
use crate::sys::{Fork, fork_into};
use crate::tuning::cpu_list;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, WaitOptions, pidfd_send_signal, waitpid};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::path::PathBuf;

/// What to run.
#[derive(Debug)]
pub struct ExecOptions {
    /// The process; capabilities and the rest filled in by the caller from the container's own.
    pub process: Process,
    /// `--console-socket`.
    pub console_socket: Option<PathBuf>,
    /// A socket for the terminal that the caller already has.
    pub console: Option<OwnedFd>,
    /// `--pid-file`.
    pub pid_file: Option<PathBuf>,
    /// Descriptors after the standard ones that the program gets.
    pub preserved_fds: u32,
    /// `--ignore-paused`.
    pub is_pause_ignored: bool,
    /// `--cgroup`: a group below the container's own.
    pub sub_cgroup: Option<PathBuf>,
}

/// A process that runs in a container.
#[derive(Debug)]
pub struct Executed {
    /// Its number on the host.
    pub pid: Pid,
    /// It again.
    pub pidfd: OwnedFd,
    /// Warnings for the log.
    pub warnings: Vec<String>,
}

/// Runs a process in a container.
///
/// # Errors
/// What was refused; then no process is left.
pub fn exec(
    directory: &Directory,
    state: &State,
    spec: &Spec,
    mut options: ExecOptions,
) -> Result<Executed> {
    match directory.status(state) {
        Status::Running | Status::Created => {}
        Status::Paused if options.is_pause_ignored => {}
        other => {
            return Err(Error::Status {
                id: state.id.clone(),
                operation: "exec in",
                expected: "running",
                got: other.name(),
            });
        }
    }
    let Some(target) = directory.pidfd(state) else {
        return Err(Error::Status {
            id: state.id.clone(),
            operation: "exec in",
            expected: "running",
            got: Status::Stopped.name(),
        });
    };
    let has_user_namespace = state.namespaces & NamespaceType::User.flag() != 0;
    let seccomp = spec.linux.seccomp.as_ref();
    let root = directory.path().parent().unwrap_or(directory.path());
    let mut process = ProcessPlan::new(&options.process, seccomp, root, has_user_namespace)?
        .with_linux(spec.linux.personality.as_ref(), spec.linux.memory_policy.as_ref())?;
    let warnings = std::mem::take(&mut process.warnings);
    let affinity = options.process.exec_cpu_affinity.clone().unwrap_or_default();
    let [initial, last] = [("initial", &affinity.initial), ("final", &affinity.final_)]
        .map(|(name, text)| cpu_list(&format!("process.execCPUAffinity.{name}"), text));
    let (initial, last) = (initial?, last?);
    let set_affinity = |pid, cpus: &Option<CpuSet>| match cpus {
        Some(cpus) => sched_setaffinity(Some(pid), cpus)
            .map_err(Error::os("apply", "process.execCPUAffinity")),
        None => Ok(()),
    };
    let console = match (&options.console_socket, options.console.take()) {
        (_, Some(console)) => Some(console),
        (Some(path), None) => Some(console::connect_socket(path)?),
        (None, None) => None,
    };
    if options.process.terminal && console.is_none() {
        let expected = "--console-socket with it, or a foreground exec";
        return Err(Error::config("process.terminal", expected, "none"));
    }
    let (ours, theirs) = Sync::pair()?;
    let is_user_first = is_user_first(state.namespaces);
    let forked = if is_user_first {
        fork_into(0, None, false).map_err(Error::os("clone3", "the process"))?
    } else {
        fork_in(&target, state.namespaces)?
    };
    let (mut pid, mut pidfd) = match forked {
        Fork::Child => {
            drop(ours);
            let mut left = state.namespaces & !NamespaceType::Pid.flag();
            if is_user_first {
                enter_user_first(&target, state.namespaces, &theirs);
                left = 0;
            }
            run(process, state, (&target, left), console, options.preserved_fds, &theirs)
        }
        Fork::Parent { pid, pidfd } => (pid, pidfd),
    };
    drop((theirs, console));
    if is_user_first {
        let second = crate::create::second_child(&ours);
        let _ = rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()));
        pid = second?;
        pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
            .map_err(Error::os("open", "the process"))?;
    }
    let result = (|| {
        let mut cgroups = state.cgroups.clone();
        if let Some(below) = &options.sub_cgroup {
            for (_, directory) in &mut cgroups.v1 {
                directory.push(below);
            }
            if let Some(directory) = &mut cgroups.unified {
                directory.push(below);
            }
        }
        set_affinity(pid, &initial)?;
        cgroups.add(pid)?;
        if let Some(groups) = &state.rdt {
            groups.add(pid)?;
        }
        set_affinity(pid, &last)?;
        process.limit_from_outside(pid)?;
        if freezer::is_frozen(&state.cgroups) && !options.is_pause_ignored {
            return Err(Error::Status {
                id: state.id.clone(),
                operation: "exec in",
                expected: "running",
                got: Status::Paused.name(),
            });
        }
        ours.send(Tag::Placed, "");
        match ours.receive() {
            None => {}
            Some((_, message)) => return Err(Error::Init { message }),
        }
        match &options.pid_file {
            Some(path) => crate::create::write_pid_file(path, pid),
            None => Ok(()),
        }
    })();
    if let Err(error) = result {
        let _ = pidfd_send_signal(&pidfd, Signal::KILL);
        let _ = rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()));
        return Err(error);
    }
    Ok(Executed { pid, pidfd, warnings })
}

/// Without root's rights a pid namespace can only be joined from within the user namespace that owns it.
fn is_user_first(namespaces: u64) -> bool {
    let (user, pid) = (NamespaceType::User.flag(), NamespaceType::Pid.flag());
    !rustix::process::geteuid().is_root() && namespaces & user != 0 && namespaces & pid != 0
}

/// In a first child: joins everything, then makes the child that is in the pid namespace, too, and ends.
/// Returns in that second child.
fn enter_user_first(target: &OwnedFd, namespaces: u64, sync: &Sync) {
    let forked = join_all(target, namespaces)
        .and_then(|()| fork_into(0, None, true).map_err(Error::os("clone3", "the process")));
    match forked {
        Ok(Fork::Child) => {}
        Ok(Fork::Parent { pid, .. }) => {
            sync.send(Tag::Pid, &pid.as_raw_nonzero().to_string());
            end(0)
        }
        Err(error) => {
            sync.send(Tag::Failed, &error.to_string());
            end(1)
        }
    }
}

/// A child in the container's pid namespace; the other namespaces it joins itself.
fn fork_in(target: &OwnedFd, namespaces: u64) -> Result<Fork> {
    let pid = NamespaceType::Pid.flag();
    let fork = || fork_into(0, None, false).map_err(Error::os("clone3", "the process"));
    if namespaces & pid == 0 {
        return fork();
    }
    let home =
        rustix::fs::open("/proc/self/ns/pid", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(Error::os("open", "/proc/self/ns/pid"))?;
    join_all(target, pid)?;
    let forked = fork();
    if !matches!(forked, Ok(Fork::Child)) {
        rustix::thread::move_into_link_name_space(home.as_fd(), None)
            .map_err(Error::os("leave", "the pid namespace"))?;
    }
    forked
}

fn run(
    mut process: ProcessPlan,
    state: &State,
    (target, left): (&OwnedFd, u64),
    console: Option<OwnedFd>,
    preserved_fds: u32,
    sync: &Sync,
) -> ! {
    let mut set_up = || -> Result<std::ffi::CString> {
        process.open_labels()?;
        // A cgroup namespace is joined like any other: the process is placed before anything runs.
        if left != 0 {
            join_all(target, left)?;
        }
        if state.namespaces & NamespaceType::User.flag() != 0 {
            become_root()?;
        }
        let _ = rustix::process::setsid();
        sync.expect(Tag::Placed);
        rustix::process::chdir("/").map_err(Error::os("enter", "/"))?;
        if let Some(socket) = &console {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root =
                rustix::fs::open("/", flags, Mode::empty()).map_err(Error::os("open", "/"))?;
            let terminal = Terminal::open(&root, process.console_size)?;
            terminal.send(socket)?;
            terminal.adopt()?;
        }
        process.settle()?;
        process.drop_rights()?;
        let program = process.find_program()?;
        let host_pid = rustix::process::getpid().as_raw_nonzero().get();
        process.seal(&HookState::from(state).json(host_pid, Status::Running))?;
        ProcessPlan::clean_up(preserved_fds)?;
        Ok(program)
    };
    let error = match set_up() {
        Ok(program) => process.execute(&program),
        Err(error) => error,
    };
    sync.send(Tag::Failed, &error.to_string());
    end(1)
}
