//! `checkpoint`: saves a running container through criu.

use super::Command;
use crate::args::{Args, End, Opt, switch, value};
use crate::failure::{Failure, Outcome};
use crate::global::Globals;
use container::criu::{self, Criu};
use container::{life, state::Directory};
use std::path::PathBuf;

const OPTIONS: [Opt; 20] = [
    value("image-path", None, "directory for the images (./checkpoint)"),
    value("work-path", None, "directory for criu's log (the images')"),
    value("parent-path", None, "earlier images, relative to these, for an incremental checkpoint"),
    switch("leave-running", None, "let the container go on"),
    switch("pre-dump", None, "save memory only, and let it go on"),
    switch("tcp-established", None, "save open TCP connections"),
    switch("tcp-skip-in-flight", None, "leave out connections that are being made"),
    switch("link-remap", None, "save files that are open and removed"),
    switch("ext-unix-sk", None, "save connections to Unix sockets outside"),
    switch("shell-job", None, "save a job of a shell"),
    switch("lazy-pages", None, "serve memory by need, through --page-server"),
    switch("file-locks", None, "save file locks"),
    switch("auto-dedup", None, "drop pages that the parent images have"),
    value("page-server", None, "ADDRESS:PORT of criu's page server"),
    value("status-fd", None, "descriptor on which criu says that it is ready"),
    value("manage-cgroups-mode", None, "soft, full, strict or ignore (ignore)"),
    value("empty-ns", None, "network: leave its contents out"),
    value("network-lock", None, "iptables, nftables or skip"),
    value("lsm-profile", None, "TYPE:NAME, at restore"),
    value("lsm-mount-context", None, "label of mounts, at restore"),
];

pub(crate) const COMMAND: Command = Command {
    name: "checkpoint",
    usage: "[options] ID",
    about: "save a running container (criu)",
    options: &OPTIONS,
    end: End::Never,
    enters_container: false,
    run,
};

fn run(globals: &Globals, args: &Args) -> Outcome {
    let id = args.only_word()?;
    let directory = Directory::open(&globals.root, id)?;
    let state = directory.state()?;
    if state.enclave.is_some() {
        return Err(Failure::new(format!(
            "container {id:?} is an enclave container: its memory cannot be read from outside, so it \
             cannot be saved"
        )));
    }
    let is_memory_only = args.is("pre-dump");
    let is_left = is_memory_only || args.is("leave-running");
    let action = if is_memory_only { "pre-dump" } else { "dump" };
    let criu = criu(globals, args)?;
    // Saving memory ahead has no such option: the container always goes on.
    criu::checkpoint(
        &directory,
        &state,
        &criu,
        action,
        args.is("leave-running") && !is_memory_only,
    )?;
    if !is_left {
        life::delete(&globals.root, id, true)?;
    }
    Ok(0)
}

/// What `checkpoint` and `restore` have in common: runc's names to criu's.
pub(crate) fn criu(globals: &Globals, args: &Args) -> Result<Criu, Failure> {
    let mut passed = Vec::new();
    for name in [
        "tcp-established",
        "tcp-skip-in-flight",
        "link-remap",
        "ext-unix-sk",
        "shell-job",
        "lazy-pages",
        "file-locks",
        "auto-dedup",
    ] {
        if args.is(name) {
            // criu spells this one in three ways over its versions; this one is in all.
            let name = if name == "tcp-skip-in-flight" { "skip-in-flight" } else { name };
            passed.push(format!("--{name}"));
        }
    }
    let path = args.get("parent-path").filter(|p| !p.is_empty());
    passed.extend(path.map(|p| format!("--prev-images-dir={p}")));
    if path.is_some() || args.is("pre-dump") {
        passed.push("--track-mem".into());
    }
    for (ours, theirs) in [
        ("manage-cgroups-mode", "manage-cgroups"),
        ("empty-ns", "empty-ns"),
        ("network-lock", "network-lock"),
        ("status-fd", "status-fd"),
        ("lsm-profile", "lsm-profile"),
        ("lsm-mount-context", "lsm-mount-context"),
    ] {
        let value = args.get(ours).filter(|v| !v.is_empty());
        passed.extend(value.map(|v| format!("--{theirs}={v}")));
    }
    if let Some(server) = args.get("page-server") {
        let bad = || Failure::new(format!("--page-server: expected ADDRESS:PORT, got {server:?}"));
        let (address, port) = server.rsplit_once(':').ok_or_else(bad)?;
        let port: u16 = port.parse().map_err(|_| bad())?;
        passed.extend([
            "--page-server".into(),
            format!("--address={address}"),
            format!("--port={port}"),
        ]);
    }
    let absolute = |name: &str| args.get(name).filter(|p| !p.is_empty()).map(std::path::absolute);
    let images = absolute("image-path").unwrap_or_else(|| std::path::absolute("checkpoint"))?;
    let work: Option<PathBuf> = absolute("work-path").transpose()?;
    Ok(Criu { program: globals.criu.clone(), images, work, passed })
}
