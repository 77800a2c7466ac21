//! Options before the verb.

use crate::args::{Args, Opt, Usage, switch, value};
use crate::log::{Format, Level, Log};
use std::path::PathBuf;

/// As runc has them; `--criu` is for `checkpoint`.
pub(crate) const OPTIONS: [Opt; 9] = [
    switch("debug", None, "log more"),
    value("log", None, "file for log lines (standard error)"),
    value("log-format", None, "text or json (text)"),
    value("log-level", None, "trace, debug, info, warning, error (info)"),
    value("root", None, "directory of container state (/run/rune)"),
    value("criu", None, "path of criu"),
    switch("systemd-cgroup", None, "cgroups by systemd"),
    value("rootless", None, "true, false or auto (auto)"),
    switch("version", Some('v'), "print versions"),
];

/// Settings for all verbs.
#[derive(Debug)]
pub(crate) struct Globals {
    /// Directory of all containers.
    pub(crate) root: PathBuf,
    /// Where lines go.
    pub(crate) log: Log,
    /// `--criu`.
    pub(crate) criu: PathBuf,
    /// `--systemd-cgroup`.
    pub(crate) is_systemd: bool,
    rootless: Option<bool>,
}

impl Globals {
    /// From the parsed options and the environment.
    pub(crate) fn new(args: &Args) -> Result<Self, Usage> {
        let bad = |option: &str, expected, got: &str| Usage::Bad {
            option: option.into(),
            expected,
            got: got.into(),
        };
        let format = match args.get("log-format") {
            None | Some("text" | "") => Format::Text,
            Some("json") => Format::Json,
            Some(other) => return Err(bad("--log-format", "text or json", other)),
        };
        let level = match args.get("log-level") {
            Some(name) => Level::parse(name).ok_or_else(|| {
                bad("--log-level", "trace, debug, info, warning, error, fatal, panic or off", name)
            })?,
            None if args.is("debug") => Level::Debug,
            None => Level::Info,
        };
        let rootless = match args.get("rootless") {
            None | Some("auto") => None,
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(other) => return Err(bad("--rootless", "true, false or auto", other)),
        };
        let root = match args.get("root").filter(|r| !r.is_empty()) {
            Some(root) => std::path::absolute(root).unwrap_or_else(|_| root.into()),
            None => default_root(),
        };
        let file =
            args.get("log").filter(|f| !f.is_empty() && *f != "/dev/stderr").map(PathBuf::from);
        let log = Log { file, format, level };
        let criu = args.get("criu").filter(|c| !c.is_empty()).unwrap_or("criu").into();
        Ok(Self { root, log, criu, is_systemd: args.is("systemd-cgroup"), rootless })
    }

    /// `--rootless`: whether cgroups that cannot be written are done without.
    pub(crate) fn is_rootless(&self) -> bool {
        self.rootless
            .unwrap_or_else(|| !rustix::process::geteuid().is_root() || is_in_user_namespace())
    }
}

/// Whether some ids are not mapped here: then root is not the machine's root.
fn is_in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let mut fields = map.split_ascii_whitespace();
    fields.nth(2).is_some_and(|size| size != "4294967295") || fields.next().is_some()
}

fn default_root() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return "/run/rune".into();
    }
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(directory) => PathBuf::from(directory).join("rune"),
        None => "/run/rune".into(),
    }
}
