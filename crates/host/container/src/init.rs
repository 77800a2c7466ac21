//! The container's first process, from `clone3` to the program.
//!
//! It runs in a copy of the runtime's memory with everything planned; it makes system calls and little
//! else. What fails is told to the runtime, which undoes the rest. Its end before it is ready takes its
//! mounts and namespaces with it.

use crate::cgroup::Doors;
use crate::console::Terminal;
use crate::error::{Error, Result};
use crate::gate::{Gate, Started};
use crate::hooks;
use crate::launcher::Launcher;
use crate::process::ProcessPlan;
use crate::rootfs::{self, RootPlan};
use crate::seccomp::Filter;
use crate::spec::{Hook, NamespaceType};
use crate::state::{HookState, Status};
use crate::sync::{Sync, Tag};
use crate::sys::{Fork, fork_into, join_session_keyring};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::ThreadNameSpaceType;
use std::ffi::CString;

/// What the first process does once all is set up.
pub enum Entry {
    /// Becomes `process.args`.
    Program,
    /// Goes on in this process, as init-runelet does.
    InProcess(InProcess),
}

/// The code of an in-process entry. Its result is the exit status.
pub type InProcess = Box<dyn FnOnce(Inside) -> i32>;

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Program => "Program",
            Self::InProcess(_) => "InProcess",
        })
    }
}

/// Everything the first process needs, made before the fork.
#[derive(Debug)]
pub(crate) struct InitPlan {
    pub(crate) process: ProcessPlan,
    pub(crate) root: RootPlan,
    /// In the order of joining.
    pub(crate) joined: Vec<(NamespaceType, OwnedFd)>,
    /// `CLONE_NEW*` made by `clone3` already.
    pub(crate) cloned: u64,
    /// `CLONE_NEW*` that this process makes itself.
    pub(crate) unshared: u64,
    pub(crate) has_new_user_namespace: bool,
    /// Of the groups that this process enters by itself.
    pub(crate) doors: Option<Doors>,
    /// Whether it is put into groups from outside.
    pub(crate) is_placed_late: bool,
    pub(crate) time_offsets: String,
    pub(crate) hostname: Option<String>,
    pub(crate) domainname: Option<String>,
    pub(crate) sysctl: Vec<(String, String)>,
    pub(crate) keyring: Option<CString>,
    pub(crate) has_runtime_hooks: bool,
    pub(crate) create_container: Vec<Hook>,
    pub(crate) start_container: Vec<Hook>,
    pub(crate) hook_state: HookState,
    /// This process as the host numbers it, for the state that hooks get; found before `pivot_root`.
    pub(crate) host_pid: i32,
    pub(crate) console: Option<OwnedFd>,
    pub(crate) preserved_fds: u32,
    pub(crate) gate: Gate,
    /// Makes the steps from the wait on, if there is one.
    pub(crate) launcher: Option<Launcher>,
    pub(crate) entry: Entry,
    pub(crate) agent: Option<OwnedFd>,
}

/// An in-process entry's view: it is in the container, as its user, without the rights that the
/// configuration takes away.
#[derive(Debug)]
pub struct Inside {
    /// Arguments of the configuration.
    pub argv: Vec<String>,
    /// Environment of the configuration, with `HOME`.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: std::path::PathBuf,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Whether the standard streams are a terminal of the container.
    pub has_terminal: bool,
    /// The filter, to be installed for all threads ([`crate::sys::FILTER_FLAG_TSYNC`]) when set-up ends.
    pub filter: Option<Filter>,
    /// The listening socket of [`crate::state`]'s `agent.sock`.
    pub agent: Option<OwnedFd>,
    /// The container's root.
    pub root: OwnedFd,
    sync: Sync,
    gate: Gate,
}

/// An entry that is ready and has been told to go on.
#[derive(Debug)]
pub struct Running {
    sync: Option<Sync>,
    started: Started,
}

impl Inside {
    /// Says that set-up failed; `create` fails with the message.
    pub fn fail(self, message: &str) -> ! {
        self.sync.send(Tag::Failed, message);
        end(1)
    }

    /// Tells `create` that all is set up, and waits for `start`.
    ///
    /// # Errors
    /// The wait failed.
    pub fn ready(self) -> Result<Running> {
        self.sync.send(Tag::Ready, "");
        let started = self.gate.wait(&self.sync)?;
        let sync = match &started {
            Started::Parent => Some(self.sync),
            Started::Connection(_) => None,
        };
        Ok(Running { sync, started })
    }
}

impl Running {
    /// Tells `start` that the program runs.
    pub fn running(self) {
        // Both ends close, which is the message.
        drop(self.started);
        drop(self.sync);
    }

    /// Tells `start` why it does not.
    pub fn failed(self, message: &str) -> ! {
        match &self.sync {
            Some(sync) => self.started.failed(sync, message),
            None => {
                if let Started::Connection(fd) = &self.started {
                    let _ = rustix::io::write(fd, message.as_bytes());
                }
            }
        }
        end(1)
    }
}

/// Ends this process without running anything of the copied runtime.
pub(crate) fn end(status: i32) -> ! {
    crate::sys::exit_now(status)
}

/// Runs the first process. Never returns.
pub(crate) fn run(mut plan: InitPlan, sync: Sync) -> ! {
    if let Err(error) = set_up(&mut plan, &sync) {
        sync.send(Tag::Failed, &error.to_string());
        end(1);
    }
    if let Entry::InProcess(entry) = std::mem::replace(&mut plan.entry, Entry::Program) {
        run_in_process(plan, sync, entry);
    }
    let program = match plan.process.find_program() {
        Ok(program) => program,
        Err(error) => {
            sync.send(Tag::Failed, &error.to_string());
            end(1);
        }
    };
    if let Some(launcher) = &plan.launcher {
        let process = &mut plan.process;
        let result = process.carry().and_then(|()| ProcessPlan::clean_up(plan.preserved_fds));
        let error = match result {
            Ok(()) => launcher.execute(process, program, &plan.gate, &sync),
            Err(error) => error,
        };
        sync.send(Tag::Failed, &error.to_string());
        end(1);
    }
    sync.send(Tag::Ready, "");
    let started = match plan.gate.wait(&sync) {
        Ok(started) => started,
        Err(_) => end(1),
    };
    let state = plan.hook_state.json(plan.host_pid, Status::Created);
    let result = hooks::run("startContainer", &plan.start_container, &state)
        .and_then(|()| plan.process.seal(&state))
        .and_then(|()| ProcessPlan::clean_up(plan.preserved_fds));
    let error = match result {
        Ok(()) => plan.process.execute(&program),
        Err(error) => error,
    };
    started.failed(&sync, &error.to_string());
    end(1)
}

fn run_in_process(plan: InitPlan, sync: Sync, entry: InProcess) -> ! {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let inside = plan
        .process
        .seal_without_filter()
        .and_then(|()| rustix::fs::open("/", flags, Mode::empty()).map_err(Error::os("open", "/")));
    let root = match inside {
        Ok(root) => root,
        Err(error) => {
            sync.send(Tag::Failed, &error.to_string());
            end(1);
        }
    };
    crate::sys::default_signals();
    let process = plan.process;
    let status = entry(Inside {
        argv: process.argv,
        env: process.env,
        cwd: process.cwd,
        uid: process.uid,
        gid: process.gid,
        has_terminal: process.has_terminal,
        filter: process.filter,
        agent: plan.agent,
        root,
        sync,
        gate: plan.gate,
    });
    end(status)
}

fn set_up(plan: &mut InitPlan, sync: &Sync) -> Result<()> {
    if let Some(doors) = plan.doors.take() {
        doors.enter()?;
    }
    join(plan, sync)?;
    if plan.has_new_user_namespace {
        sync.expect(Tag::Mapped);
    }
    if plan.has_new_user_namespace || plan.joined.iter().any(|(k, _)| *k == NamespaceType::User) {
        become_root()?;
    }
    let _ = rustix::process::setsid();
    if let Some(name) = &plan.keyring {
        match join_session_keyring(name) {
            // A kernel without keyrings, a filter against them, or a full quota: nothing to protect.
            Ok(()) | Err(Errno::NOSYS | Errno::PERM | Errno::DQUOT) => {}
            Err(e) => return Err(Error::os("join", "a new session keyring")(e)),
        }
    }
    if !plan.time_offsets.is_empty() {
        crate::tuning::write_file("/proc/self/timens_offsets", &plan.time_offsets)
            .map_err(Error::os("apply", "linux.timeOffsets"))?;
    }
    if plan.unshared & NamespaceType::Time.flag() != 0 {
        enter_time_namespace()?;
    }
    if (plan.cloned | plan.unshared) & NamespaceType::Network.flag() != 0 {
        crate::netdev::bring_up_loopback()?;
    }
    // Before pivot_root /proc is the host's own, so no path of the container is involved; the network,
    // IPC and UTS namespaces that these files show are this process's.
    for (key, value) in &plan.sysctl {
        let path = format!("/proc/sys/{}", sysctl_path(key));
        crate::tuning::write_file(path, value)
            .map_err(Error::os("apply", format!("linux.sysctl[{key:?}]")))?;
    }
    // A cgroup namespace shows the group in which it was made, and mounts of type cgroup are in it.
    let needs_groups = plan.is_placed_late
        && (plan.unshared & NamespaceType::Cgroup.flag() != 0 || plan.root.cgroup.is_some());
    let mut is_placed = false;
    let mut wait_until_placed = || {
        if !std::mem::replace(&mut is_placed, true) {
            sync.expect(Tag::Placed);
        }
    };
    if needs_groups {
        wait_until_placed();
    }
    if plan.unshared & NamespaceType::Cgroup.flag() != 0 {
        unshare(NamespaceType::Cgroup.flag())?;
    }
    plan.process.open_labels()?;
    rustix::process::umask(rustix::fs::Mode::empty());
    // Opened in the new mount namespace: a mount of another one cannot be bound.
    let null = rootfs::devices::open_null()?;
    // Where hooks start, which the mounts change.
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    let home = (!plan.create_container.is_empty())
        .then(|| rustix::fs::open(".", flags, rustix::fs::Mode::empty()));
    let root = rootfs::prepare(&mut plan.root)?;
    if plan.has_runtime_hooks {
        // Messages come in this order.
        wait_until_placed();
        sync.send(Tag::Hooks, "");
        sync.expect(Tag::HooksDone);
    }
    if !(plan.create_container.is_empty() && plan.start_container.is_empty())
        || plan.process.has_listener()
    {
        plan.host_pid = host_pid();
        let state = plan.hook_state.json(plan.host_pid, Status::Creating);
        if let Some(home) = home {
            let enter = home.and_then(rustix::process::fchdir);
            enter.map_err(Error::os("return to", "the working directory"))?;
        }
        hooks::run("createContainer", &plan.create_container, &state)?;
    }
    let terminal = if plan.process.has_terminal {
        let terminal = Terminal::open(root.fd(), plan.process.console_size)?;
        terminal.bind_console(&root)?;
        Some(terminal)
    } else {
        None
    };
    rootfs::enter(&plan.root, root, &null)?;
    if let Some(name) = &plan.hostname {
        rustix::system::sethostname(name.as_bytes()).map_err(Error::os("set", "hostname"))?;
    }
    if let Some(name) = &plan.domainname {
        rustix::system::setdomainname(name.as_bytes()).map_err(Error::os("set", "domainname"))?;
    }
    // Its limits are in force before anything of the container runs.
    wait_until_placed();
    if let (Some(terminal), Some(socket)) = (&terminal, &plan.console) {
        terminal.send(socket)?;
        terminal.adopt()?;
    }
    drop(terminal);
    plan.console = None;
    plan.process.settle()?;
    plan.process.drop_rights()
}

/// Joins and makes namespaces that `clone3` did not.
fn join(plan: &mut InitPlan, sync: &Sync) -> Result<()> {
    for (kind, fd) in &plan.joined {
        // The runtime joined the pid namespace before the fork: it takes effect for children only.
        if *kind == NamespaceType::Pid {
            continue;
        }
        rustix::thread::move_into_link_name_space(fd.as_fd(), None)
            .map_err(Error::os("join the namespace of type", kind.name()))?;
    }
    let later = NamespaceType::Cgroup.flag();
    let now = plan.unshared & !later;
    let pid = NamespaceType::Pid.flag();
    if now & pid != 0 {
        // Below a joined user namespace: made by it, so from within it, and for a child.
        match fork_into(now, None, true).map_err(Error::os("clone3", "the first process"))? {
            Fork::Child => return Ok(()),
            Fork::Parent { pid, .. } => {
                sync.send(Tag::Pid, &pid.as_raw_nonzero().to_string());
                end(0);
            }
        }
    }
    if now != 0 { unshare(now) } else { Ok(()) }
}

fn unshare(flags: u64) -> Result<()> {
    crate::sys::unshare(flags).map_err(Error::os("unshare", "namespaces"))
}

/// A new time namespace is for children, and for a program executed only since Linux 6.3.
fn enter_time_namespace() -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open("/proc/self/ns/time_for_children", flags, Mode::empty())
        .and_then(|namespace| rustix::thread::move_into_link_name_space(namespace.as_fd(), None))
        .map_err(Error::os("join the namespace of type", NamespaceType::Time.name()))
}

/// Root of the user namespace, which sets up the container.
pub(crate) fn become_root() -> Result<()> {
    use rustix::fs::{Gid, Uid};
    let (uid, gid) = (Uid::ROOT, Gid::ROOT);
    rustix::thread::set_thread_res_gid(gid, gid, gid)
        .map_err(Error::os("become", "group 0 of the user namespace (linux.gidMappings)"))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
        .map_err(Error::os("become", "user 0 of the user namespace (linux.uidMappings)"))
}

/// Joins namespaces of a process, for `exec`.
pub(crate) fn join_all(pidfd: &OwnedFd, namespaces: u64) -> Result<()> {
    let flags = ThreadNameSpaceType::from_bits_retain(namespaces as u32);
    rustix::thread::move_into_thread_name_spaces(pidfd.as_fd(), flags)
        .map_err(Error::os("join", "the container's namespaces"))
}

/// `net.ipv4.ip_forward` is a path with dots; a key that already has slashes may have dots in names.
fn sysctl_path(key: &str) -> String {
    match (key.find('.'), key.find('/')) {
        (Some(dot), Some(slash)) if slash < dot => key.to_owned(),
        (Some(_), _) => key.replace('/', "\0").replace('.', "/").replace('\0', "."),
        _ => key.to_owned(),
    }
}

/// This process in the pid namespace of the host's `/proc`, which is still mounted.
fn host_pid() -> i32 {
    let link = rustix::fs::readlink("/proc/self", Vec::new()).unwrap_or_default();
    link.to_str().ok().and_then(|t| t.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sysctl_keys_become_paths() {
        assert_eq!(sysctl_path("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
        assert_eq!(sysctl_path("net/ipv4/conf/eth0.1/x"), "net/ipv4/conf/eth0.1/x");
        assert_eq!(sysctl_path("net.ipv4.conf.eth0/1.x"), "net/ipv4/conf/eth0.1/x");
    }
}
