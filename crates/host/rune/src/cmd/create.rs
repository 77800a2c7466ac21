//! `create`: sets a container up and leaves it waiting for `start`.

use super::Command;
use crate::args::{Args, End, Opt, switch, value};
use crate::enclave;
use crate::failure::{Failure, Outcome};
use crate::global::Globals;
use crate::log::Level;
use container::{Entry, Options, Spec};
use rustix::fd::OwnedFd;
use std::path::PathBuf;

pub(crate) const OPTIONS: [Opt; 6] = [
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
    enters_container: true,
    run,
};

fn run(globals: &Globals, args: &Args) -> Outcome {
    let options = options(globals, args, false, None)?;
    let created = container::create(options)?;
    for warning in &created.warnings {
        globals.log.line(Level::Warning, warning);
    }
    Ok(0)
}

/// What `create` and `run` have in common.
pub(crate) fn options(
    globals: &Globals,
    args: &Args,
    is_foreground: bool,
    console: Option<OwnedFd>,
) -> Result<Options, Failure> {
    let id = args.only_word()?.to_owned();
    let bundle = std::path::absolute(args.get("bundle").unwrap_or("."))?;
    let (spec, config) = Spec::load(&bundle.join("config.json"))?;
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
        is_systemd: globals.is_systemd,
        is_rootless: globals.is_rootless,
        entry: Entry::Program,
        enclave: None,
        host: None,
    };
    pass_listen_fds(&mut options)?;
    enclave::prepare(globals, &mut options)?;
    Ok(options)
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
