//! Holding a request against the manifest.

use crate::digest::Digest;
use crate::env::is_dangerous;
use crate::manifest::{
    ArgvRule, Availability, EnvRule, ExecRule, InputRule, Inputs, Manifest, MountRule, Signal, User,
};
use crate::request::{Kind, Mount, Refusal, Request, Rlimit};
use crate::validate::quoted;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use serde::Serialize;

/// Starts the text that `config-digest` is taken over, so that it is no other digest.
const CONFIG_DIGEST_DOMAIN: &[u8] = b"inclavare config-digest v1\n";

/// Paths of the inputs.
const HOSTS: &str = "/etc/hosts";
const HOSTNAME: &str = "/etc/hostname";
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Host name where the manifest drops the host's.
const DEFAULT_HOSTNAME: &str = "localhost";

/// File systems that every bundle asks for and the library OS makes itself.
const KERNEL_FILE_SYSTEMS: &[&str] =
    &["proc", "sysfs", "devtmpfs", "devpts", "mqueue", "cgroup", "cgroup2"];

/// What runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Command line.
    pub argv: Vec<String>,
    /// Environment, `NAME=value` each, sorted by name.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// User and groups.
    pub user: User,
    /// Host name.
    pub hostname: String,
    /// Mounts, sorted by destination.
    pub mounts: Vec<AdmittedMount>,
    /// Whether descriptors 0 to 2 are a terminal.
    pub tty: bool,
    /// Whether the host's standard input is read; if not, programs read end of file.
    pub stdin: bool,
    /// Resource limits for the library OS's processes.
    pub rlimits: Vec<Rlimit>,
    /// Files that replace the image's, by path. Untrusted contents.
    pub inputs: BTreeMap<String, String>,
    /// What the host passed and nothing inside sees, for the log.
    pub dropped: Vec<Dropped>,
    /// Digest over what was admitted where the manifest leaves freedom; a claim in the evidence.
    pub config_digest: Digest,
}

/// A mount that exists inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AdmittedMount {
    /// Where.
    pub destination: String,
    /// What.
    pub rule: MountRule,
}

/// Something of the host's that is invisible inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Path of the field, such as `env.HOSTNAME`. No value: it may be a secret that is not for the log.
    pub field: String,
    /// Why.
    pub reason: &'static str,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: dropped, {}", self.field, self.reason)
    }
}

/// Holds `request` against `manifest`.
///
/// Deterministic, and total on any request, one that did not come through [`Request::parse`] included. The
/// manifest must be valid ([`Manifest::parse`]).
///
/// # Errors
/// The first field that the manifest does not allow.
pub fn admit(manifest: &Manifest, request: &Request) -> Result<Admitted, Refusal> {
    request.check()?;
    let mut free = Freedom::default();
    let mut dropped = Vec::new();

    let (stdin_rule, tty_rule) = match request.kind {
        Kind::Init => {
            argv(&manifest.process.argv, &request.argv, &mut free)?;
            (manifest.process.stdin, manifest.process.tty)
        }
        Kind::Exec => {
            let rule = exec_rule(&manifest.exec, &request.argv)?;
            (rule.stdin, rule.tty)
        }
    };
    let env = env(&manifest.process.env, &request.env, &mut free, &mut dropped)?;
    if request.cwd != manifest.process.cwd {
        let expected = quoted(&manifest.process.cwd);
        return Err(Refusal::new("cwd", expected, quoted(&request.cwd)));
    }
    user(&manifest.process.user, &request.user)?;

    if request.tty && tty_rule == Availability::Denied {
        return Err(Refusal::new("tty", "no terminal", "a terminal"));
    }
    free.tty = (tty_rule == Availability::Allowed).then_some(request.tty);
    let stdin = request.has_stdin && stdin_rule == Availability::Allowed;
    free.stdin = (stdin_rule == Availability::Allowed).then_some(stdin);
    if request.has_stdin && !stdin {
        dropped.push(Dropped { field: "stdin".into(), reason: "the manifest closes it" });
    }

    let (mut mounts_in, mut inputs_in) = (Vec::new(), BTreeMap::new());
    let mut hostname = DEFAULT_HOSTNAME.to_string();
    if request.kind == Kind::Init {
        mounts_in = mounts(manifest, request, &mut dropped)?;
        inputs_in = inputs(manifest, request, &mut dropped)?;
        hostname = host_name(&manifest.inputs.hostname, &request.hostname, &mut dropped)?;
    }
    if request.kind == Kind::Init {
        free.left_out = left_out(manifest, &free, &mounts_in, &inputs_in);
    }
    // A listed tmpfs exists inside whatever the host does.
    let is_of_host = |mount: &&AdmittedMount| matches!(mount.rule, MountRule::Host { .. });
    free.mounts = mounts_in.iter().filter(is_of_host).cloned().collect();
    free.hostname = (manifest.inputs.hostname != InputRule::Drop).then(|| hostname.clone());
    free.inputs =
        inputs_in.iter().map(|(path, text)| (path.clone(), Digest::of(text.as_bytes()))).collect();
    free.rlimits.clone_from(&request.rlimits);

    Ok(Admitted {
        argv: request.argv.clone(),
        env,
        cwd: request.cwd.clone(),
        user: manifest.process.user.clone(),
        hostname,
        mounts: mounts_in,
        tty: request.tty,
        stdin,
        rlimits: request.rlimits.clone(),
        inputs: inputs_in,
        dropped,
        config_digest: free.digest(),
    })
}

/// Whether a signal of this Linux number passes from the host to a program.
///
/// # Errors
/// It is not listed. The caller drops the signal and logs the refusal.
pub fn admit_signal(manifest: &Manifest, number: u8) -> Result<Signal, Refusal> {
    let signal = Signal::from_number(number);
    signal.filter(|signal| manifest.signals.contains(signal)).ok_or_else(|| {
        let listed: Vec<String> = manifest.signals.iter().map(ToString::to_string).collect();
        let expected = match listed.as_slice() {
            [] => "no signal".into(),
            _ => format!("one of {}", listed.join(", ")),
        };
        let got = signal.map_or_else(|| number.to_string(), |signal| signal.to_string());
        Refusal::new("signals", expected, got)
    })
}

/// What was admitted where the manifest leaves freedom. Its JSON is what `config-digest` is taken over.
#[derive(Default, Serialize)]
struct Freedom {
    /// What follows a prefix rule's arguments.
    argv: Vec<String>,
    /// Variables whose value the manifest does not fix.
    env: BTreeMap<String, String>,
    tty: Option<bool>,
    stdin: Option<bool>,
    hostname: Option<String>,
    /// Those of the host.
    mounts: Vec<AdmittedMount>,
    inputs: BTreeMap<String, Digest>,
    rlimits: Vec<Rlimit>,
    /// Fields that the manifest leaves open and the host left out: a choice too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<String>,
}

impl Freedom {
    fn digest(&self) -> Digest {
        let mut text = CONFIG_DIGEST_DOMAIN.to_vec();
        text.extend(serde_json::to_vec(self).expect("no failing Serialize"));
        Digest::of(&text)
    }
}

/// What the host might have given and did not.
fn left_out(
    manifest: &Manifest,
    free: &Freedom,
    mounts: &[AdmittedMount],
    inputs: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut fields = Vec::new();
    if matches!(manifest.process.argv, ArgvRule::Prefix { .. }) && free.argv.is_empty() {
        fields.push("argv".into());
    }
    for (name, rule) in &manifest.process.env {
        if !matches!(rule, EnvRule::Exact(_)) && !free.env.contains_key(name) {
            fields.push(format!("env.{name}"));
        }
    }
    for path in manifest.mounts.keys() {
        if !mounts.iter().any(|mount| mount.destination == *path) {
            fields.push(format!("mounts.{path}"));
        }
    }
    let Inputs { hosts, hostname, resolv_conf } = &manifest.inputs;
    for (path, rule) in [(HOSTS, hosts), (HOSTNAME, hostname), (RESOLV_CONF, resolv_conf)] {
        if *rule != InputRule::Drop && !inputs.contains_key(path) {
            fields.push(format!("inputs.{path}"));
        }
    }
    fields
}

fn argv(rule: &ArgvRule, got: &[String], free: &mut Freedom) -> Result<(), Refusal> {
    match rule {
        ArgvRule::Exact(expected) => same_words("argv", expected, got),
        ArgvRule::Prefix { argv, .. } => {
            let head = got.get(..argv.len()).unwrap_or(got);
            same_words("argv", argv, head)?;
            free.argv = got[argv.len()..].to_vec();
            Ok(())
        }
    }
}

/// Compares lists of words and names the first one that differs.
fn same_words(field: &str, expected: &[String], got: &[String]) -> Result<(), Refusal> {
    let longest = expected.len().max(got.len());
    for index in 0..longest {
        let (want, have) = (expected.get(index), got.get(index));
        if want != have {
            let show = |word: Option<&String>| word.map_or("nothing".into(), |word| quoted(word));
            return Err(Refusal::new(format!("{field}[{index}]"), show(want), show(have)));
        }
    }
    Ok(())
}

fn exec_rule<'a>(rules: &'a [ExecRule], argv: &[String]) -> Result<&'a ExecRule, Refusal> {
    rules.iter().find(|rule| rule.argv == argv).ok_or_else(|| {
        let expected = match rules {
            [] => "no exec".into(),
            [rule] => format!("the listed command {}", words(&rule.argv)),
            _ => format!("one of the {} listed commands", rules.len()),
        };
        Refusal::new("exec.argv", expected, words(argv))
    })
}

fn words(argv: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = argv.iter().take(SHOWN).map(|word| quoted(word)).collect();
    let more = if argv.len() > SHOWN { ", ..." } else { "" };
    format!("[{}{more}]", shown.join(", "))
}

/// Accepts, drops or refuses each entry; gives the environment inside.
fn env(
    rules: &BTreeMap<String, EnvRule>,
    entries: &[String],
    free: &mut Freedom,
    dropped: &mut Vec<Dropped>,
) -> Result<Vec<String>, Refusal> {
    let mut inside: BTreeMap<&str, &str> = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        let Some((name, value)) = entry.split_once('=').filter(|pair| !pair.0.is_empty()) else {
            return Err(Refusal::new(format!("env[{index}]"), "NAME=value", quoted(entry)));
        };
        let field = || format!("env.{name}");
        let Some(rule) = rules.get(name) else {
            if is_dangerous(name) {
                return Err(Refusal::new(field(), "not set", quoted(value)));
            }
            dropped.push(Dropped { field: field(), reason: "the manifest does not list it" });
            continue;
        };
        if inside.insert(name, value).is_some() {
            return Err(Refusal::new(field(), "one value", "several"));
        }
        env_value(rule, value)
            .map_err(|expected| Refusal::new(field(), expected, quoted(value)))?;
        if !matches!(rule, EnvRule::Exact(_)) {
            free.env.insert(name.into(), value.into());
        }
    }
    for (name, rule) in rules {
        if let EnvRule::Exact(value) = rule {
            inside.insert(name, value);
        }
    }
    Ok(inside.iter().map(|(name, value)| format!("{name}={value}")).collect())
}

/// Checks a value; on failure says what is expected.
fn env_value(rule: &EnvRule, value: &str) -> Result<(), String> {
    match rule {
        EnvRule::Exact(expected) if value != expected => Err(quoted(expected)),
        EnvRule::Prefix(prefix) if !value.starts_with(prefix.as_str()) => {
            Err(format!("a value that starts with {}", quoted(prefix)))
        }
        EnvRule::OneOf(values) if !values.iter().any(|listed| listed == value) => {
            Err(format!("one of {}", words(values)))
        }
        _ => Ok(()),
    }
}

fn user(expected: &User, got: &User) -> Result<(), Refusal> {
    if got.uid != expected.uid {
        let (want, have) = (expected.uid.to_string(), got.uid.to_string());
        return Err(Refusal::new("user.uid", want, have));
    }
    if got.gid != expected.gid {
        let (want, have) = (expected.gid.to_string(), got.gid.to_string());
        return Err(Refusal::new("user.gid", want, have));
    }
    // Engines differ in which of a user's groups they look up, and the manifest's are used in any case: only
    // one that the manifest does not have is a difference.
    let is_known = |gid: &u32| *gid == expected.gid || expected.additional_gids.contains(gid);
    if let Some(gid) = got.additional_gids.iter().find(|gid| !is_known(gid)) {
        let want = format!("any of {:?}", expected.additional_gids);
        return Err(Refusal::new("user.additional_gids", want, gid.to_string()));
    }
    Ok(())
}

fn mounts(
    manifest: &Manifest,
    request: &Request,
    dropped: &mut Vec<Dropped>,
) -> Result<Vec<AdmittedMount>, Refusal> {
    let mut inside = BTreeMap::new();
    for mount in &request.mounts {
        // An engine may write a trailing slash; any other unusual spelling is simply not listed.
        let destination = match mount.destination.trim_end_matches('/') {
            "" => "/",
            trimmed => trimmed,
        };
        let field = || format!("mounts.{destination}");
        let Some(rule) = manifest.mounts.get(destination) else {
            let is_of_the_kernel = KERNEL_FILE_SYSTEMS.contains(&mount.kind.as_str());
            let reason = if is_of_the_kernel {
                "the library os has its own"
            } else {
                "the manifest does not list it"
            };
            dropped.push(Dropped { field: field(), reason });
            continue;
        };
        mount_fits(rule, mount).map_err(|(expected, got)| Refusal::new(field(), expected, got))?;
        if inside.insert(destination.to_string(), rule.clone()).is_some() {
            return Err(Refusal::new(field(), "one mount", "several"));
        }
    }
    // Enclave memory needs no help of the host, so a listed tmpfs exists whether it is asked for or not.
    for (destination, rule) in &manifest.mounts {
        if matches!(rule, MountRule::Tmpfs { .. }) {
            inside.insert(destination.clone(), rule.clone());
        }
    }
    Ok(inside.into_iter().map(|(destination, rule)| AdmittedMount { destination, rule }).collect())
}

/// Checks a mount at a listed destination; on failure says what is expected and what came.
fn mount_fits(rule: &MountRule, mount: &Mount) -> Result<(), (&'static str, String)> {
    let has = |option: &str| mount.options.iter().any(|given| given == option);
    let is_bind = mount.kind == "bind" || has("bind") || has("rbind");
    match rule {
        MountRule::Tmpfs { .. } if is_bind || mount.kind != "tmpfs" => {
            let got = if is_bind { "a bind mount".into() } else { quoted(&mount.kind) };
            Err(("a tmpfs", got))
        }
        MountRule::Host { .. } if !is_bind => Err(("a bind mount", quoted(&mount.kind))),
        // Host files are read-only inside where the rule says so, whatever the host's own option. A host
        // that passes `ro` where the rule allows writing would make the program fail: say it now.
        MountRule::Host { read_only: false } if has("ro") => {
            Err(("a writable bind mount", "a read-only one".into()))
        }
        _ => Ok(()),
    }
}

fn inputs(
    manifest: &Manifest,
    request: &Request,
    dropped: &mut Vec<Dropped>,
) -> Result<BTreeMap<String, String>, Refusal> {
    let mut inside = BTreeMap::new();
    for (path, text) in &request.inputs {
        let rule = match path.as_str() {
            HOSTS => &manifest.inputs.hosts,
            HOSTNAME => &manifest.inputs.hostname,
            RESOLV_CONF => &manifest.inputs.resolv_conf,
            _ => {
                let expected = format!("one of {HOSTS}, {HOSTNAME}, {RESOLV_CONF}");
                return Err(Refusal::new("inputs", expected, quoted(path)));
            }
        };
        // One rule covers the name and the file, which ends in a newline.
        let judged = if path == HOSTNAME { text.trim_end() } else { text };
        if input(rule, &format!("inputs.{path}"), judged, dropped)? {
            inside.insert(path.clone(), text.clone());
        }
    }
    Ok(inside)
}

/// Applies an input's rule: whether it is taken.
fn input(
    rule: &InputRule,
    field: &str,
    text: &str,
    dropped: &mut Vec<Dropped>,
) -> Result<bool, Refusal> {
    match rule {
        InputRule::Accept => Ok(true),
        InputRule::Drop => {
            dropped.push(Dropped { field: field.into(), reason: "the manifest drops it" });
            Ok(false)
        }
        InputRule::Exact(expected) => {
            let got = Digest::of(text.as_bytes());
            if got == *expected {
                return Ok(true);
            }
            let (expected, got) = (format!("sha256 {expected}"), format!("sha256 {got}"));
            Err(Refusal::new(field, expected, got))
        }
    }
}

fn host_name(rule: &InputRule, name: &str, dropped: &mut Vec<Dropped>) -> Result<String, Refusal> {
    if name.is_empty() || !input(rule, "hostname", name, dropped)? {
        return Ok(DEFAULT_HOSTNAME.into());
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if name.len() > 64 || !name.bytes().all(is_plain) {
        let expected = "at most 64 letters, digits, \"-\", \".\" and \"_\"";
        return Err(Refusal::new("hostname", expected, quoted(name)));
    }
    Ok(name.into())
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
