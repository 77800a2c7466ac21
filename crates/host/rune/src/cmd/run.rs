//! `run`: create, start, and in the foreground wait and delete.

use super::{Command, create};
use crate::args::{Args, End, Opt, switch, value};
use crate::enclave::at_start;
use crate::failure::{Failure, Outcome};
use crate::global::Globals;
use crate::log::Level;
use container::{Created, Foreground, Notify, exit_code, life};

const OPTIONS: [Opt; 10] = [
    value("pidfd-socket", None, "socket that gets a descriptor of the first process"),
    value("bundle", Some('b'), "directory of config.json (the current one)"),
    value("console-socket", None, "socket that gets the terminal's master end"),
    value("pid-file", None, "file for the process id"),
    switch("no-pivot", None, "do not pivot_root: for a root on a ramdisk"),
    switch("no-new-keyring", None, "keep the session keyring"),
    value("preserve-fds", None, "descriptors to pass besides standard ones and $LISTEN_FDS"),
    switch("detach", Some('d'), "do not wait for the container"),
    switch("no-subreaper", None, "do not take in orphans of the container"),
    switch("keep", None, "do not delete the container after its end"),
];

pub(crate) const COMMAND: Command = Command {
    name: "run",
    usage: "[options] ID",
    about: "create and start a container",
    options: &OPTIONS,
    end: End::Never,
    enters_container: false, // `create::options` sees to it
    run,
};

fn run(globals: &Globals, args: &Args) -> Outcome {
    if args.is("detach") {
        return detached(globals, args);
    }
    let mut options = create::options(globals, args, true, None)?;
    // Signals are held back from before the container is made: none falls between.
    let mut foreground = Foreground::new(!args.is("no-subreaper"))?;
    let has_terminal = options.spec.process.as_ref().is_some_and(|p| p.terminal);
    let mut proxied = None;
    if has_terminal && options.console_socket.is_none() {
        let (ours, theirs) = Foreground::console_pair()?;
        options.console = Some(theirs);
        proxied = Some(ours);
    }
    let socket = create::pidfd_socket(args)?;
    let created = container::create(options)?;
    for warning in &created.warnings {
        globals.log.line(Level::Warning, warning);
    }
    let outcome = (|| {
        if let Some(ours) = &proxied {
            foreground.attach(ours)?;
        }
        create::send_pidfd(socket.as_ref(), &created.pidfd)?;
        foreground.pass_readiness(notify(&created)?);
        created.start()?;
        at_start::check(&created.directory, &created.state)?;
        Ok::<_, Failure>(foreground.wait(created.pid, &created.pidfd)?)
    })();
    drop(foreground);
    if !(args.is("keep") && outcome.is_ok()) {
        life::delete_created(created)?;
    }
    Ok(exit_code(outcome?))
}

fn detached(globals: &Globals, args: &Args) -> Outcome {
    let options = create::options(globals, args, true, None)?;
    let id = options.id.clone();
    let socket = create::pidfd_socket(args)?;
    let created = container::create(options)?;
    for warning in &created.warnings {
        globals.log.line(Level::Warning, warning);
    }
    let outcome = (|| {
        create::send_pidfd(socket.as_ref(), &created.pidfd)?;
        let notify = notify(&created)?;
        created.start()?;
        at_start::check(&created.directory, &created.state)?;
        match notify {
            Some(notify) => Ok::<_, Failure>(notify.wait(&created.pidfd)?),
            None => Ok(()),
        }
    })();
    if let Err(error) = outcome {
        drop(created);
        let _ = life::delete(&globals.root, &id, true);
        return Err(error);
    }
    Ok(0)
}

fn notify(created: &Created) -> Result<Option<Notify>, Failure> {
    let Some(manager) = create::manager() else { return Ok(None) };
    Ok(Notify::listen(&created.directory, &manager, created.state.pid)?)
}
