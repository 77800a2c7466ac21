//! `restore`: makes a container again from what `checkpoint` saved.

use super::{Command, checkpoint, create};
use crate::args::{Args, End, Opt, switch, value};
use crate::failure::{Failure, Outcome};
use crate::global::Globals;
use container::{Foreground, criu, exit_code, life};
use rustix::process::Pid;

const OPTIONS: [Opt; 20] = [
    value("bundle", Some('b'), "directory of config.json (the current one)"),
    value("image-path", None, "directory of the images (./checkpoint)"),
    value("work-path", None, "directory for criu's log (the images')"),
    value("pid-file", None, "file for the process id"),
    switch("detach", Some('d'), "do not wait for the container"),
    switch("no-subreaper", None, "do not take in orphans of the container"),
    switch("no-pivot", None, "taken, and without effect: criu makes the root"),
    switch("tcp-established", None, "restore open TCP connections"),
    switch("tcp-close", None, "close connections that were open"),
    switch("link-remap", None, "as at the checkpoint"),
    switch("ext-unix-sk", None, "as at the checkpoint"),
    switch("shell-job", None, "as at the checkpoint"),
    switch("lazy-pages", None, "get memory by need"),
    switch("file-locks", None, "as at the checkpoint"),
    switch("auto-dedup", None, "free pages of the images as they are restored"),
    value("manage-cgroups-mode", None, "soft, full, strict or ignore (ignore)"),
    value("empty-ns", None, "network: leave its contents out"),
    value("network-lock", None, "iptables, nftables or skip"),
    value("lsm-profile", None, "TYPE:NAME"),
    value("lsm-mount-context", None, "label of mounts"),
];

pub(crate) const COMMAND: Command = Command {
    name: "restore",
    usage: "[options] ID",
    about: "make a container again from a checkpoint (criu)",
    options: &OPTIONS,
    end: End::Never,
    enters_container: true,
    run,
};

fn run(globals: &Globals, args: &Args) -> Outcome {
    let options = create::options(globals, args, true, None)?;
    if options.enclave.is_some() {
        return Err(Failure::new("an enclave container cannot be restored: it cannot be saved"));
    }
    let mut criu = checkpoint::criu(globals, args)?;
    if args.is("tcp-close") {
        criu.passed.push("--tcp-close".into());
    }
    let id = options.id.clone();
    let is_detached = args.is("detach");
    // criu leaves the container to whoever takes in orphans; in the foreground that is this process.
    let mut foreground = match is_detached {
        true => None,
        false => Some(Foreground::new(true)?),
    };
    let (directory, state) = criu::restore(options, &criu)?;
    let Some(foreground) = &mut foreground else { return Ok(0) };
    let outcome = match (directory.pidfd(&state), Pid::from_raw(state.pid)) {
        (Some(pidfd), Some(pid)) => foreground.wait(pid, &pidfd).map_err(Failure::from),
        _ => Err(Failure::new("the container ended while it was restored")),
    };
    life::delete(&globals.root, &id, true)?;
    Ok(exit_code(outcome?))
}
