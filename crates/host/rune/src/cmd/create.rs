//! `create`: sets a container up and leaves it waiting for `start`.

use super::Command;
use crate::args::{Args, End, Opt, switch, value};
use crate::enclave::{self, Settings};
use crate::failure::{Failure, Outcome};
use crate::global::Globals;
use crate::log::Level;
use container::{Entry, Launcher, Options, Spec, console, life};
use rustix::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

pub(crate) const OPTIONS: [Opt; 7] = [
    value("pidfd-socket", None, "socket that gets a descriptor of the first process"),
    value("bundle", Some('b'), "directory of config.json (the current one)"),
    value("console-socket", None, "socket that gets the terminal's master end"),
    value("pid-file", None, "file for the process id"),
    switch("no-pivot", None, "do not pivot_root: for a root on a ramdisk"),
    switch("no-new-keyring", None, "keep the session keyring"),
    value("preserve-fds", None, "descriptors to pass besides standard ones and $LISTEN_FDS"),
];

pub(crate) const COMMAND: Command = Command {
    name: "create",
    usage: "[options] ID",
    about: "create a container",
    options: &OPTIONS,
    end: End::Never,
    enters_container: false, // `options` sees to it
    run,
};

fn run(globals: &Globals, args: &Args) -> Outcome {
    let options = options(globals, args, false, None)?;
    let (socket, id) = (pidfd_socket(args)?, options.id.clone());
    let created = container::create(options)?;
    if let Err(error) = send_pidfd(socket.as_ref(), &created.pidfd) {
        let _ = life::delete(&globals.root, &id, true);
        return Err(error);
    }
    for warning in &created.warnings {
        globals.log.line(Level::Warning, warning);
    }
    Ok(0)
}

/// What `create` and `run` have in common. Protects this program's file from the container: with a launcher
/// where one serves, else by starting again, so that nothing that matters may be done before.
pub(crate) fn options(
    globals: &Globals,
    args: &Args,
    is_foreground: bool,
    console: Option<OwnedFd>,
) -> Result<Options, Failure> {
    let id = args.only_word()?.to_owned();
    let bundle = std::path::absolute(args.get("bundle").unwrap_or("."))?;
    let (spec, config) = Spec::load(&bundle.join("config.json"))?;
    let launcher = if Settings::are_in(&spec) { None } else { Launcher::prepare(&spec) };
    if launcher.is_none() {
        container::sys::protect_own_file();
    }
    let mut options = Options {
        root: globals.root.clone(),
        id,
        bundle,
        spec,
        config,
        console_socket: args.get("console-socket").filter(|s| !s.is_empty()).map(PathBuf::from),
        console,
        pid_file: args.get("pid-file").filter(|s| !s.is_empty()).map(PathBuf::from),
        is_pivot_avoided: args.is("no-pivot"),
        is_keyring_kept: args.is("no-new-keyring"),
        preserved_fds: args.number("preserve-fds")?.unwrap_or(0),
        is_foreground,
        has_notify: manager().is_some(),
        is_systemd: globals.is_systemd,
        is_rootless: globals.is_rootless(),
        entry: Entry::Program,
        launcher,
        enclave: None,
        host: None,
    };
    pass_listen_fds(&mut options)?;
    enclave::prepare(globals, &mut options)?;
    Ok(options)
}

/// The socket of whoever waits for the program's readiness.
pub(crate) fn manager() -> Option<PathBuf> {
    std::env::var_os("NOTIFY_SOCKET").filter(|s| !s.is_empty()).map(PathBuf::from)
}

/// Connects to `--pidfd-socket`, before the container has a say in what the path means.
pub(crate) fn pidfd_socket(args: &Args) -> Result<Option<OwnedFd>, Failure> {
    let path = args.get("pidfd-socket").filter(|s| !s.is_empty());
    Ok(path.map(|p| console::connect_socket(std::path::Path::new(p))).transpose()?)
}

/// Sends a process's descriptor to whoever asked for it.
pub(crate) fn send_pidfd(socket: Option<&OwnedFd>, pidfd: &OwnedFd) -> Result<(), Failure> {
    let Some(socket) = socket else { return Ok(()) };
    console::send_fds(socket.as_fd(), b"pidfd", &[pidfd.as_fd()])
        .map_err(|e| Failure::new(format!("--pidfd-socket: {}", std::io::Error::from(e))))
}

/// Socket activation: descriptors from 3 on, counted in the environment, and the program is process 1.
fn pass_listen_fds(options: &mut Options) -> Result<(), Failure> {
    let Ok(text) = std::env::var("LISTEN_FDS") else { return Ok(()) };
    let count: u32 = text
        .parse()
        .map_err(|_| Failure::new(format!("LISTEN_FDS: expected a number, got {text:?}")))?;
    options.preserved_fds += count;
    if let Some(process) = &mut options.spec.process {
        process.env.push(format!("LISTEN_FDS={count}"));
        process.env.push("LISTEN_PID=1".into());
    }
    Ok(())
}
