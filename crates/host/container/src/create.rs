//! `create`: from a bundle to a process that waits for `start`.
//!
//! Order, and what a crash of the runtime leaves at each point:
//!
//! 1. the container's directory: `delete --force` removes it;
//! 2. `state.json` with where its cgroups will be, without a process;
//! 3. cgroups and their limits: found through `state.json`;
//! 4. `clone3`: the child ends when the runtime's end of the socket closes. It enters the cgroups;
//! 5. `state.json` again, with the process;
//! 6. what is done to the process from outside: id maps, limits. Then the child, which has set up meanwhile, is told
//!    to finish, and reports; only then `start` is possible.
//!
//! Groups that systemd makes take a process: they come after step 5.

use crate::cgroup::{Cgroups, Doors, Host};
use crate::console;
use crate::error::{Error, Result};
use crate::gate::{self, Gate};
use crate::hooks;
use crate::init::{self, Entry, InitPlan};
use crate::launcher::Launcher;
use crate::plan;
use crate::process::ProcessPlan;
use crate::spec::{NamespaceType, Spec, validate::validate};
use crate::state::{Directory, EnclaveState, HookState, State, Status};
use crate::sync::{Sync, Tag};
use crate::sys::{Fork, fork_into};
use rustix::fd::{AsFd, OwnedFd};
use rustix::process::{Pid, Signal, WaitOptions, pidfd_send_signal, waitpid};
use std::path::{Path, PathBuf};

/// What to create.
#[derive(Debug)]
pub struct Options {
    /// Directory of all containers.
    pub root: PathBuf,
    /// Id.
    pub id: String,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// The configuration, changed where the caller must.
    pub spec: Spec,
    /// Its bytes, kept for `exec`.
    pub config: Vec<u8>,
    /// `--console-socket`.
    pub console_socket: Option<PathBuf>,
    /// A socket for the terminal's master end that the caller already has.
    pub console: Option<OwnedFd>,
    /// `--pid-file`.
    pub pid_file: Option<PathBuf>,
    /// `--no-pivot`.
    pub is_pivot_avoided: bool,
    /// `--no-new-keyring`.
    pub is_keyring_kept: bool,
    /// Descriptors after the standard ones that the program gets.
    pub preserved_fds: u32,
    /// Whether the caller stays and starts the program itself.
    pub is_foreground: bool,
    /// Whether the program may say that it is ready (`NOTIFY_SOCKET` of the caller).
    pub has_notify: bool,
    /// Whether systemd makes the cgroups (`--systemd-cgroup`).
    pub is_systemd: bool,
    /// Whether cgroups that cannot be written are done without (`--rootless`).
    pub is_rootless: bool,
    /// What the first process does.
    pub entry: Entry,
    /// What an ordinary program's first process is until then. Without one the caller has protected its own
    /// file ([`crate::sys::protect_own_file`]).
    pub launcher: Option<Launcher>,
    /// Of an enclave container.
    pub enclave: Option<EnclaveState>,
    /// Checked against the plan before anything is made: an enclave's needs, say.
    pub host: Option<Host>,
}

/// A container that waits for its start.
#[derive(Debug)]
pub struct Created {
    /// Its directory.
    pub directory: Directory,
    /// Its state.
    pub state: State,
    /// Its first process.
    pub pid: Pid,
    /// It again.
    pub pidfd: OwnedFd,
    /// Warnings for the log.
    pub warnings: Vec<String>,
    pub(crate) sync: Sync,
    pub(crate) hooks: crate::spec::Hooks,
}

/// Creates a container.
///
/// # Errors
/// What was refused. Nothing is left behind.
pub fn create(mut options: Options) -> Result<Created> {
    validate(&options.spec)?;
    let directory = Directory::create(&options.root, &options.id)?;
    let mut undo = Undo::default();
    match create_in(&mut options, directory, &mut undo) {
        Ok(created) => Ok(created),
        Err(error) => {
            undo.run();
            Err(error)
        }
    }
}

/// What a failed create takes back.
#[derive(Default)]
struct Undo {
    directory: Option<PathBuf>,
    cgroups: Option<Cgroups>,
    rdt: Option<crate::rdt::Groups>,
    child: Option<(Pid, OwnedFd)>,
}

impl Undo {
    fn run(&mut self) {
        if let Some((pid, pidfd)) = self.child.take() {
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
            let _ = rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()));
        }
        if let Some(cgroups) = self.cgroups.take() {
            let _ = crate::cgroup::remove(&cgroups, true);
        }
        if let Some(groups) = self.rdt.take() {
            groups.remove();
        }
        if let Some(directory) = self.directory.take() {
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

fn create_in(options: &mut Options, directory: Directory, undo: &mut Undo) -> Result<Created> {
    undo.directory = Some(directory.path().to_owned());
    if options.has_notify {
        crate::notify::prepare(&directory, &mut options.spec)?;
    }
    let spec = &options.spec;
    let host = match options.host.take() {
        Some(host) => host,
        None => Host::detect()?,
    };
    let cgroups = plan_cgroups(options, &host)?;
    let Some(process) = &spec.process else {
        return Err(Error::config("process", "an object", "none"));
    };
    let has_user_namespace = spec.linux.namespaces.iter().any(|n| n.kind == NamespaceType::User);
    let seccomp = spec.linux.seccomp.as_ref();
    let mut process_plan =
        ProcessPlan::new(process, seccomp, &options.root, has_user_namespace)?
            .with_linux(spec.linux.personality.as_ref(), spec.linux.memory_policy.as_ref())?;
    if options.enclave.is_some() {
        process_plan.keep_host_limits_only();
    }
    let warnings = std::mem::take(&mut process_plan.warnings);
    let console = match (&options.console_socket, options.console.take()) {
        (_, Some(console)) => Some(console),
        (Some(path), None) => Some(console::connect_socket(path)?),
        (None, None) => None,
    };
    if process.terminal && console.is_none() {
        let expected = "--console-socket with it, or a foreground run";
        return Err(Error::config("process.terminal", expected, "none"));
    }
    let mut state = new_state(options, &cgroups)?;
    state.enclave = options.enclave.take();
    if let Some(enclave) = &state.enclave {
        let value = if enclave.emulated { "true" } else { "false" };
        state.annotations.insert("enclave.emulated".into(), value.into());
    }
    let is_in_process = matches!(options.entry, Entry::InProcess(_));
    let gate = if options.is_foreground { Gate::Parent } else { Gate::listen(&directory)? };
    let (ours, theirs) = Sync::pair()?;
    let launcher = options.launcher.take();
    if let Some(launcher) = &launcher {
        process_plan.use_launcher();
        launcher.fill(&process_plan, &gate, &theirs)?;
    }
    let namespaces = plan::Namespaces::new(spec)?;
    let hook_state = HookState::from(&state);
    let mut init = InitPlan {
        root: plan::root(&options.bundle, spec, &host, &cgroups, options.is_pivot_avoided)?,
        process: process_plan,
        time_offsets: plan::time_offsets(spec),
        hostname: spec.hostname.clone().filter(|h| !h.is_empty()),
        domainname: spec.domainname.clone().filter(|h| !h.is_empty()),
        sysctl: spec.linux.sysctl.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        keyring: (!options.is_keyring_kept).then(|| plan::keyring_name(&options.id)),
        has_runtime_hooks: !(spec.hooks.prestart.is_empty()
            && spec.hooks.create_runtime.is_empty()),
        create_container: spec.hooks.create_container.clone(),
        start_container: spec.hooks.start_container.clone(),
        hook_state: hook_state.clone(),
        host_pid: 0,
        console,
        preserved_fds: options.preserved_fds,
        gate,
        launcher,
        entry: std::mem::replace(&mut options.entry, Entry::Program),
        agent: if is_in_process { Some(gate::listen_at(&directory, "agent.sock")?) } else { None },
        joined: namespaces.joined,
        cloned: namespaces.cloned,
        unshared: namespaces.unshared,
        has_new_user_namespace: namespaces.cloned & NamespaceType::User.flag() != 0,
        doors: None,
        is_placed_late: false,
    };
    directory.set_config(&options.config)?;
    directory.set_state(&state)?;
    let resources = &spec.linux.resources;
    if cgroups.unit.is_none() {
        check_rights(&init)?;
        undo.cgroups = Some(cgroups.clone());
        cgroups.make(&host)?;
        cgroups.set(resources, true)?;
        init.doors = Some(Doors::open(&cgroups)?);
    }

    let (forked, is_left_out) = fork(&init)?;
    let (mut pid, mut pidfd) = match forked {
        Fork::Child => {
            drop(ours);
            init.is_placed_late = is_left_out || init.doors.is_none();
            init::run(init, theirs)
        }
        Fork::Parent { pid, pidfd } => (pid, pidfd),
    };
    drop(theirs);
    let has_new_user_namespace = init.has_new_user_namespace;
    let network = match init.joined.iter().find(|(kind, _)| *kind == NamespaceType::Network) {
        Some((_, fd)) if !spec.linux.net_devices.is_empty() => {
            Some(fd.try_clone().map_err(|e| Error::os_io("copy", "a namespace", &e))?)
        }
        _ => None,
    };
    // One that the child makes itself is not there for certain before it says anything.
    let is_network_late = init.unshared & NamespaceType::Network.flag() != 0
        && init.unshared & NamespaceType::Pid.flag() == 0;
    let is_second_child = init.unshared & NamespaceType::Pid.flag() != 0;
    // The listener must close here: a child that dies would leave `start` waiting on our copy.
    let InitPlan { process: process_plan, .. } = init;
    undo.child = Some((pid, pidfd.try_clone().map_err(|e| Error::os_io("copy", "a pidfd", &e))?));
    if is_second_child {
        pid = second_child(&ours)?;
        pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
            .map_err(Error::os("open", "the first process"))?;
        if let Some((first, _)) = undo
            .child
            .replace((pid, pidfd.try_clone().map_err(|e| Error::os_io("copy", "a pidfd", &e))?))
        {
            let _ = rustix::io::retry_on_intr(|| waitpid(Some(first), WaitOptions::empty()));
        }
    }
    let raw = pid.as_raw_nonzero().get();
    state.pid = raw;
    state.start_time = crate::state::process(raw).map_or(0, |(start, _)| start);
    directory.set_state(&state)?;

    if cgroups.unit.is_some() {
        undo.cgroups = Some(cgroups.clone());
        cgroups.start_unit(pid, resources, &options.id)?;
        cgroups.make(&host)?;
        cgroups.set(resources, true)?;
        cgroups.add(pid)?;
    } else if is_left_out {
        cgroups.add_to_unified(pid)?;
    }
    if let (Some(groups), Some(wanted)) = (&state.rdt, &spec.linux.intel_rdt) {
        undo.rdt = Some(groups.clone());
        groups.apply(wanted, pid)?;
    }
    process_plan.limit_from_outside(pid)?;
    if has_new_user_namespace {
        plan::write_id_maps(pid, &spec.linux)?;
        ours.send(Tag::Mapped, "");
    }
    if !spec.linux.net_devices.is_empty() {
        if is_network_late {
            let reason = "not with a network namespace below a joined user namespace";
            let field = "linux.netDevices".into();
            return Err(Error::Unsupported { field, reason: reason.into() });
        }
        let target = match network {
            Some(fd) => fd,
            None => crate::netdev::open_namespace(&format!("/proc/{raw}/ns/net"))
                .map_err(Error::os("open", "the container's network namespace"))?,
        };
        crate::netdev::move_all(&spec.linux.net_devices, &target)?;
    }
    ours.send(Tag::Placed, "");
    drop(process_plan);

    wait_until_ready(&ours, spec, &hook_state, raw)?;
    if !options.is_foreground {
        rustix::fs::renameat(directory.fd(), gate::PENDING, directory.fd(), gate::SOCKET)
            .map_err(Error::os("rename", gate::PENDING))?;
    }
    if let Some(path) = &options.pid_file {
        write_pid_file(path, pid)?;
    }
    let hooks = options.spec.hooks.clone();
    Ok(Created { directory, state, pid, pidfd, warnings, sync: ours, hooks })
}

/// Where the container's groups go.
pub(crate) fn plan_cgroups(options: &Options, host: &Host) -> Result<Cgroups> {
    let path = &options.spec.linux.cgroups_path;
    let cgroups = if options.is_systemd {
        let is_user = options.is_rootless && !rustix::process::geteuid().is_root();
        Cgroups::plan_unit(path, &options.id, is_user)?
    } else {
        Cgroups::plan(host, path, &options.id)?
    };
    Ok(if options.is_rootless { cgroups.writable() } else { cgroups })
}

/// The state of a container that has no process yet.
pub(crate) fn new_state(options: &Options, cgroups: &Cgroups) -> Result<State> {
    let spec = &options.spec;
    Ok(State {
        oci_version: spec.oci_version.clone(),
        id: options.id.clone(),
        bundle: options.bundle.clone(),
        rootfs: plan::root_path(&options.bundle, spec),
        created: crate::time::now(),
        owner: owner(),
        annotations: spec.annotations.clone(),
        cgroups: cgroups.clone(),
        namespaces: spec.linux.namespaces.iter().fold(0, |all, n| all | n.kind.flag()),
        rdt: match &spec.linux.intel_rdt {
            Some(wanted) => Some(crate::rdt::Groups::plan(wanted, &options.id)?),
            None => None,
        },
        ..State::default()
    })
}

/// Writes a pid file whole or not at all.
///
/// # Errors
/// As `open`, `write` and `rename`.
pub fn write_pid_file(path: &Path, pid: Pid) -> Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    let temporary = path.with_file_name(name);
    std::fs::write(&temporary, pid.as_raw_nonzero().to_string())
        .and_then(|()| std::fs::rename(&temporary, path))
        .map_err(|e| Error::os_io("write the pid file", path, &e))
}

/// Refuses what [`fork`] cannot but refuse, before limits of groups are refused for the same reason.
fn check_rights(init: &InitPlan) -> Result<()> {
    let has_admin = crate::caps::bit("CAP_SYS_ADMIN")
        .is_none_or(|bit| crate::caps::available().is_ok_and(|set| set & (1 << bit) != 0));
    if init.cloned == 0 || init.has_new_user_namespace || has_admin {
        return Ok(());
    }
    Err(not_made(rustix::io::Errno::PERM))
}

fn not_made(errno: rustix::io::Errno) -> Error {
    let (field, advice) = ("linux.namespaces", "add one of type user");
    let operation = "make the first process with";
    crate::caps::refused(operation, "CAP_SYS_ADMIN", field, advice)(errno)
}

/// One `clone3`, into the v2 group, and inside a joined pid namespace where there is one. Says whether the process
/// is to be put into the v2 group from outside, because it could not be made in it.
fn fork(init: &InitPlan) -> Result<(Fork, bool)> {
    let group = init.doors.as_ref().and_then(Doors::unified);
    let clone3 = || {
        // What is refused for another reason is refused again without the group.
        match group.map(|group| fork_into(init.cloned, Some(group), false)) {
            Some(Ok(forked)) => Ok((forked, false)),
            _ => Ok((fork_into(init.cloned, None, false)?, group.is_some())),
        }
    };
    let joined_pid = init.joined.iter().find(|(k, _)| *k == NamespaceType::Pid);
    let Some((_, target)) = joined_pid else {
        let forked = clone3();
        if init.has_new_user_namespace {
            return forked.map_err(Error::os("clone3", "the first process"));
        }
        return forked.map_err(not_made);
    };
    // Joining a pid namespace is for children only; afterwards ours are to be born at home again.
    let failed = |operation| Error::os(operation, "the pid namespace");
    let open = |path| {
        use rustix::fs::{Mode, OFlags};
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    };
    let home = open("/proc/self/ns/pid").map_err(failed("open"))?;
    rustix::thread::move_into_link_name_space(target.as_fd(), None).map_err(failed("join"))?;
    let forked = clone3().map_err(Error::os("clone3", "the first process"));
    if !matches!(forked, Ok((Fork::Child, _))) {
        rustix::thread::move_into_link_name_space(home.as_fd(), None).map_err(failed("leave"))?;
    }
    forked
}

pub(crate) fn second_child(sync: &Sync) -> Result<Pid> {
    match sync.receive() {
        Some((Tag::Pid, text)) => text
            .parse()
            .ok()
            .and_then(Pid::from_raw)
            .ok_or(Error::InitDied { stage: "being forked" }),
        Some((Tag::Failed, message)) => Err(Error::Init { message }),
        _ => Err(Error::InitDied { stage: "joining namespaces" }),
    }
}

fn wait_until_ready(sync: &Sync, spec: &Spec, hook_state: &HookState, pid: i32) -> Result<()> {
    loop {
        match sync.receive() {
            Some((Tag::Ready, _)) => return Ok(()),
            Some((Tag::Hooks, _)) => {
                let state = hook_state.json(pid, Status::Creating);
                hooks::run("prestart", &spec.hooks.prestart, &state)?;
                hooks::run("createRuntime", &spec.hooks.create_runtime, &state)?;
                sync.send(Tag::HooksDone, "");
            }
            Some((Tag::Failed, message)) => return Err(Error::Init { message }),
            Some(_) => {}
            None => return Err(Error::InitDied { stage: "setting up the container" }),
        }
    }
}

/// The user's name, or number.
fn owner() -> String {
    let uid = rustix::process::geteuid().as_raw();
    if uid == 0 {
        return "root".into();
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    found.unwrap_or_else(|| uid.to_string())
}

impl Created {
    /// Starts the program of a foreground container and runs `poststart` hooks.
    ///
    /// # Errors
    /// The program could not be executed, or a hook failed; then the container is killed.
    pub fn start(&self) -> Result<()> {
        self.sync.send(Tag::Go, "");
        match self.sync.receive() {
            // The end of the socket is `execve`.
            None => {}
            Some((_, message)) => return Err(Error::Init { message }),
        }
        let hook_state = HookState::from(&self.state);
        let json = hook_state.json(self.state.pid, Status::Running);
        hooks::run("poststart", &self.hooks.poststart, &json).inspect_err(|_| {
            let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        })
    }
}
