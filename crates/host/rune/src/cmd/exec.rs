//! `exec`: one more process in a running container.

use super::Command;
use crate::args::{Args, End, Opt, switch, value};
use crate::enclave;
use crate::failure::{Failure, Outcome};
use crate::global::Globals;
use crate::log::Level;
use crate::runelet::client;
use container::console::{self, Terminal};
use container::spec::{Capabilities, Process, parse_json, read_limited};
use container::state::{Directory, State, Status};
use container::sys::{Fork, exit_now, fork_into};
use container::{ExecOptions, Foreground, Spec, exit_code};
use rustix::fd::AsFd;
use rustix::fs::{Mode, OFlags};
use std::path::{Path, PathBuf};

const OPTIONS: [Opt; 18] = [
    value("pidfd-socket", None, "socket that gets a descriptor of the process"),
    value("console-socket", None, "socket that gets the terminal's master end"),
    value("cwd", None, "working directory"),
    value("env", Some('e'), "environment entry NAME=VALUE"),
    switch("tty", Some('t'), "give it a terminal"),
    value("user", Some('u'), "UID[:GID]"),
    value("additional-gids", Some('g'), "more groups"),
    value("process", Some('p'), "file with the process as config.json has it"),
    switch("detach", Some('d'), "do not wait for it"),
    value("pid-file", None, "file for the process id"),
    value("process-label", None, "SELinux label"),
    value("apparmor", None, "AppArmor profile"),
    switch("no-new-privs", None, "set no_new_privs"),
    value("cap", Some('c'), "capability to add"),
    value("preserve-fds", None, "descriptors to pass besides the standard ones"),
    value("cgroup", None, "group below the container's own"),
    switch("ignore-paused", None, "also in a paused container"),
    switch("no-subreaper", None, "do not take in orphans"),
];

pub(crate) const COMMAND: Command = Command {
    name: "exec",
    usage: "[options] ID COMMAND [ARGUMENTS]",
    about: "run another process in a container",
    options: &OPTIONS,
    end: End::SecondWord,
    enters_container: true,
    run,
};

fn run(globals: &Globals, args: &Args) -> Outcome {
    // A failure to run the command is told from the command's own failure by this code, as with runc.
    run_in(globals, args).map_err(|f| f.with_code(255))
}

fn run_in(globals: &Globals, args: &Args) -> Outcome {
    let id = args.only_word()?;
    let directory = Directory::open(&globals.root, id)?;
    let state = directory.state()?;
    let config = directory.read("config.json")?;
    let spec = Spec::parse(&directory.path().join("config.json"), &config)?;
    let process = process(args, &spec)?;
    if state.enclave.is_some() {
        return in_enclave(args, &directory, &state, &process);
    }
    ordinary(globals, args, &directory, &state, &spec, process)
}

/// A session of the enclave: a child of ours stands for it, so that it has a process id, takes signals and
/// can be detached.
fn in_enclave(args: &Args, directory: &Directory, state: &State, process: &Process) -> Outcome {
    let status = directory.status(state);
    let Some(init) = directory.pidfd(state).filter(|_| status == Status::Running) else {
        let (id, got) = (&state.id, status.name());
        return Err(Failure::new(format!(
            "cannot exec in container {id:?}: expected a running container, it is {got}"
        )));
    };
    let is_detached = args.is("detach");
    let console_socket = args.get("console-socket").filter(|s| !s.is_empty()).map(Path::new);
    // Signals first: none falls between the child and its wait.
    let mut foreground = match is_detached {
        true => None,
        false => Some(Foreground::new(!args.is("no-subreaper"))?),
    };
    let mut execute = enclave::request::execute(process);
    let mut terminal = None;
    let mut proxy = None;
    if process.terminal {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(format!("/proc/{}/root", state.pid), flags, Mode::empty())
            .map_err(std::io::Error::from)?;
        let made = Terminal::open(&root, process.console_size.map(|s| (s.height, s.width)))?;
        match (console_socket, &foreground) {
            (Some(path), _) => made.send(console::connect_socket(path)?)?,
            (None, Some(_)) => {
                let (ours, theirs) = Foreground::console_pair()?;
                made.send(theirs)?;
                proxy = Some(ours);
            }
            (None, None) => {
                return Err(Failure::new("--tty: expected --console-socket with --detach"));
            }
        }
        terminal = Some(made.slave);
    } else {
        execute.stdin = enclave::request::is_connected(rustix::stdio::stdin());
    }
    let connection = container::connect_to(directory, "agent.sock")?;
    drop(init);
    let forked = fork_into(0, None, false).map_err(std::io::Error::from)?;
    let Fork::Parent { pid, pidfd } = forked else {
        let _ = rustix::thread::set_name(c"runelet");
        let _ = rustix::process::setsid();
        let code = match &terminal {
            Some(slave) => {
                let _ = rustix::process::ioctl_tiocsctty(slave);
                client::run(&connection, execute, [slave.as_fd(); 3])
            }
            None => {
                use rustix::stdio::{stderr, stdin, stdout};
                client::run(&connection, execute, [stdin(), stdout(), stderr()])
            }
        };
        exit_now(code)
    };
    drop((connection, terminal));
    if let Some(path) = args.get("pid-file").filter(|s| !s.is_empty()) {
        container::write_pid_file(Path::new(path), pid)?;
    }
    let Some(foreground) = &mut foreground else { return Ok(0) };
    if let Some(proxy) = proxy {
        foreground.attach(&proxy)?;
    }
    Ok(exit_code(foreground.wait(pid, &pidfd)?))
}

fn ordinary(
    globals: &Globals,
    args: &Args,
    directory: &Directory,
    state: &State,
    spec: &Spec,
    process: Process,
) -> Outcome {
    let is_detached = args.is("detach");
    let console_socket = args.get("console-socket").filter(|s| !s.is_empty()).map(PathBuf::from);
    let is_proxied = process.terminal && console_socket.is_none() && !is_detached;
    let mut foreground =
        if is_detached { None } else { Some(Foreground::new(!args.is("no-subreaper"))?) };
    let pair = if is_proxied { Some(Foreground::console_pair()?) } else { None };
    let (ours, theirs) = pair.map_or((None, None), |(a, b)| (Some(a), Some(b)));
    let options = ExecOptions {
        process,
        console_socket,
        console: theirs,
        pid_file: args.get("pid-file").filter(|s| !s.is_empty()).map(PathBuf::from),
        preserved_fds: args.number("preserve-fds")?.unwrap_or(0),
        is_pause_ignored: args.is("ignore-paused"),
        sub_cgroup: args.get("cgroup").map(PathBuf::from),
    };
    let socket = super::create::pidfd_socket(args)?;
    let executed = container::exec(directory, state, spec, options)?;
    super::create::send_pidfd(socket.as_ref(), &executed.pidfd)?;
    for warning in &executed.warnings {
        globals.log.line(Level::Warning, warning);
    }
    let Some(foreground) = &mut foreground else { return Ok(0) };
    if let Some(ours) = ours {
        foreground.attach(&ours)?;
    }
    Ok(exit_code(foreground.wait(executed.pid, &executed.pidfd)?))
}

/// The process: from a file, or the container's own changed by options.
pub(crate) fn process(args: &Args, spec: &Spec) -> Result<Process, Failure> {
    let own = spec.process.clone().unwrap_or_default();
    let mut process = match args.get("process") {
        Some(file) => {
            let file = Path::new(file);
            parse_json::<Process>(file, &read_limited(file)?)?
        }
        None => {
            if args.rest.is_empty() {
                return Err(Failure::new("expected a command or --process, got neither"));
            }
            let mut process = own;
            process.args = args.rest.clone();
            process.terminal = false;
            process.oom_score_adj = None;
            process
        }
    };
    if args.is("tty") {
        process.terminal = true;
    }
    if let Some(cwd) = args.get("cwd") {
        process.cwd = cwd.into();
    }
    if let Some(label) = args.get("process-label") {
        process.selinux_label = label.into();
    }
    if let Some(profile) = args.get("apparmor") {
        process.apparmor_profile = profile.into();
    }
    if args.is("no-new-privs") {
        process.no_new_privileges = true;
    }
    if let Some(user) = args.get("user") {
        let bad = || Failure::new(format!("--user: expected UID[:GID], got {user:?}"));
        let (uid, gid) = match user.split_once(':') {
            Some((uid, gid)) => (uid, Some(gid)),
            None => (user, None),
        };
        process.user.uid = uid.parse().map_err(|_| bad())?;
        if let Some(gid) = gid {
            process.user.gid = gid.parse().map_err(|_| bad())?;
        }
    }
    for group in args.all("additional-gids") {
        for one in group.split(',') {
            let gid = one.parse().map_err(|_| {
                Failure::new(format!("--additional-gids: expected a number, got {one:?}"))
            })?;
            process.user.additional_gids.push(gid);
        }
    }
    process.env.extend(args.all("env").map(str::to_owned));
    let added: Vec<String> = args.all("cap").map(str::to_owned).collect();
    if !added.is_empty() {
        let caps = process.capabilities.get_or_insert_with(Capabilities::default);
        for set in [&mut caps.bounding, &mut caps.effective, &mut caps.permitted] {
            set.extend(added.iter().cloned());
        }
    }
    Ok(process)
}
