//! A machine inside the machine, for one engine.
//!
//! Own mount, network, pid, ipc, uts and cgroup namespaces; `/run` and `/var/lib` are empty, changes of `/etc` and
//! `/usr/local` are thrown away, the cgroup hierarchies are those of the machine with a group of this host as
//! their root. rune is `/usr/local/bin/rune`.
//! Everything in it dies with it, also when the test is killed.

use fixtures::{Outcome, outcome};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Longest that one command may take, in seconds: a hang is a failure, not a wait for ever.
const PATIENCE: &str = "120";

/// Where programs are, without those of a particular release.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin";

/// Moves a shell into the groups given as arguments before `--`, then becomes what follows.
const ENTER_GROUPS: &str =
    "while [ \"$1\" != -- ]; do echo $$ >\"$1/cgroup.procs\"; shift; done; shift; exec \"$@\"";

/// Moves a shell that came by nsenter into the host's own groups: namespaces alone do not.
const JOIN_GROUPS: &str = "for group in /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/init/cgroup.procs; \
     do [ ! -e \"$group\" ] || echo 0 >\"$group\"; done; exec timeout -k 5 \"$@\"";

/// A machine inside the machine.
#[derive(Debug)]
pub struct Host {
    first: Child,
    pid: u32,
    groups: Vec<PathBuf>,
    path: String,
    /// Logs of daemons; on the machine, so that they can be read afterwards.
    logs: tempfile::TempDir,
}

impl Host {
    /// A host whose programs are sought in `directory` first, if one is given.
    ///
    /// # Errors
    /// What could not be made.
    pub fn new(directory: Option<&Path>) -> Result<Self, String> {
        let hierarchies = hierarchies()?;
        let groups = make_groups(&hierarchies)?;
        let spawned = spawn(&hierarchies, &groups);
        let (first, pid) = spawned.inspect_err(|_| remove_groups(&groups))?;
        let path = directory.map_or_else(|| PATH.to_owned(), |d| format!("{}:{PATH}", d.display()));
        let logs = tempfile::Builder::new().prefix("engines-").tempdir();
        let logs = logs.map_err(|error| format!("make a directory for logs: {error}"))?;
        let host = Self { first, pid, groups, path, logs };
        let rune = fixtures::rune().display().to_string();
        let installed = host.run(&["ln", "-sf", &rune, "/usr/local/bin/rune"]);
        if installed.code == 0 { Ok(host) } else { Err(installed.stderr) }
    }

    /// A path of this host, as the machine reaches it.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.pid))
    }

    /// A command on this host.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        self.command_for(PATIENCE, words)
    }

    fn command_for(&self, patience: &str, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid.to_string()]);
        command.args(["--mount", "--net", "--pid", "--ipc", "--uts", "--cgroup", "--wd=/"]);
        command.args(["sh", "-c", JOIN_GROUPS, "sh", patience]).args(words);
        command.env_clear().env("PATH", &self.path).env("HOME", "/run");
        command
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn run(&self, words: &[&str]) -> Outcome {
        outcome(&mut self.command(words), b"").unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts a daemon and waits until a command that asks it succeeds.
    ///
    /// # Errors
    /// It does not answer within half a minute: with the end of its log.
    pub fn daemon(&self, name: &str, words: &[&str], ask: &[&str]) -> Result<(), String> {
        let log = self.logs.path().join(name);
        let failed = |error| format!("start {name}: {error}");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log);
        let file = file.map_err(failed)?;
        let errors = file.try_clone().map_err(failed)?;
        self.command_for("0", words)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .map_err(failed)?;
        for _ in 0..150 {
            if self.run(ask).code == 0 {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Err(format!("{name} does not answer: {}", self.log(name)))
    }

    /// The last lines of a daemon's log.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.logs.path().join(name)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// Writes the configuration that `docs/engines.md` gives for a file.
    ///
    /// # Errors
    /// It cannot be written.
    ///
    /// # Panics
    /// The page has no such block.
    pub fn configure(&self, file: &str) -> Result<(), String> {
        self.write(file, documented(file))
    }

    /// Writes a file on this host.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &str, text: &str) -> Result<(), String> {
        let script = "mkdir -p \"${1%/*}\" && cat >\"$1\"";
        let mut command = self.command(&["sh", "-c", script, "sh", path]);
        let written = outcome(&mut command, text.as_bytes()).map_err(|error| error.to_string())?;
        if written.code == 0 { Ok(()) } else { Err(format!("write {path}: {}", written.stderr)) }
    }

    /// Fails if a container of rune left something: its state, or a cgroup whose path matches one of these
    /// patterns of `find`.
    ///
    /// # Errors
    /// What is left.
    pub fn expect_nothing_left(&self, groups: &[&str]) -> Result<(), String> {
        // The only one whose files are named so; engines keep theirs under other names.
        let mut left = self.run(&["find", "/run", "-name", "state.json"]).stdout;
        for group in groups {
            left += &self.run(&["find", "/sys/fs/cgroup", "-path", group, "-type", "d"]).stdout;
        }
        if left.is_empty() { Ok(()) } else { Err(format!("left behind: {left}")) }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for log in std::fs::read_dir(self.logs.path()).into_iter().flatten().flatten() {
                let name = log.file_name().to_string_lossy().into_owned();
                eprintln!("the end of the log of {name}:\n{}", self.log(&name));
            }
        }
        // `unshare --kill-child`: the host's first process dies with it, and all others with that one.
        let _ = self.first.kill();
        let _ = self.first.wait();
        remove_groups(&self.groups);
    }
}

/// The first fenced block of `docs/engines.md` after a word in backquotes, such as a file's path.
pub(crate) fn documented(word: &str) -> &'static str {
    let page = include_str!("../../../docs/engines.md");
    let named = page.split_once(&format!("`{word}`"));
    let fenced = named.and_then(|(_, rest)| rest.split_once("```")?.1.split_once('\n'));
    let inside = fenced.and_then(|(_, rest)| rest.split_once("```"));
    inside.map(|(inside, _)| inside).unwrap_or_else(|| panic!("docs/engines.md: {word}"))
}

/// A cgroup hierarchy of the machine.
struct Hierarchy {
    mount: PathBuf,
    /// How it is mounted.
    mount_command: String,
}

fn hierarchies() -> Result<Vec<Hierarchy>, String> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").map_err(|e| e.to_string())?;
    let mut found = Vec::new();
    for line in text.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let mut right = right.split(' ');
        let (kind, options) = (right.next().unwrap_or_default(), right.nth(1).unwrap_or_default());
        let Some(mount) = left.split(' ').nth(4) else { continue };
        let mount_command = match kind {
            "cgroup2" => format!("mount -t cgroup2 cgroup2 {mount}"),
            "cgroup" => {
                let wanted: Vec<&str> = options
                    .split(',')
                    .filter(|o| !matches!(*o, "rw" | "ro" | "xattr" | "clone_children"))
                    .filter(|o| !o.starts_with("release_agent="))
                    .collect();
                let none = if wanted.iter().any(|o| o.starts_with("name=")) { "none," } else { "" };
                format!("mount -t cgroup -o {none}{} cgroup {mount}", wanted.join(","))
            }
            _ => continue,
        };
        found.push(Hierarchy { mount: mount.into(), mount_command });
    }
    Ok(found)
}

fn make_groups(hierarchies: &[Hierarchy]) -> Result<Vec<PathBuf>, String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("engines-{}-{number}", std::process::id());
    let mut groups = Vec::new();
    for hierarchy in hierarchies {
        let group = hierarchy.mount.join(&name);
        let made = std::fs::create_dir(&group).and_then(|()| inherit_cpuset(&group));
        groups.push(group);
        if let Err(error) = made {
            remove_groups(&groups);
            return Err(format!("make a group in {}: {error}", hierarchy.mount.display()));
        }
    }
    Ok(groups)
}

/// A new v1 cpuset is empty, and no process may join it.
fn inherit_cpuset(group: &Path) -> std::io::Result<()> {
    if !group.join("cpuset.cpus").exists() || group.join("cgroup.controllers").exists() {
        return Ok(());
    }
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let value = std::fs::read(group.join("..").join(file))?;
        std::fs::write(group.join(file), value)?;
    }
    std::fs::write(group.join("cgroup.clone_children"), "1")
}

/// Groups go only when their processes are gone, which takes the kernel a moment.
fn remove_groups(groups: &[PathBuf]) {
    for group in groups {
        for _ in 0..100 {
            let mut below = Command::new("find");
            below.arg(group).args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"]);
            let _ = below.stderr(Stdio::null()).status();
            if !group.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Gives `unshare` and the first process of the host.
fn spawn(hierarchies: &[Hierarchy], groups: &[PathBuf]) -> Result<(Child, u32), String> {
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "sh", "-c", ENTER_GROUPS, "sh"])
        .args(groups)
        .args(["--", "unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--cgroup"])
        .args(["--fork", "--kill-child", "--mount-proc", "sh", "-c", &script(hierarchies)])
        .env_clear()
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("start a host: {error}"))?;
    let mut line = String::new();
    if let Some(output) = &mut child.stdout {
        let _ = BufReader::new(output).read_line(&mut line);
    }
    let first = child.id();
    let children = std::fs::read_to_string(format!("/proc/{first}/task/{first}/children"));
    let pid = children.ok().and_then(|text| text.split_whitespace().next()?.parse().ok());
    match pid {
        Some(pid) if line == "ready\n" => Ok((child, pid)),
        _ => {
            let _ = child.kill();
            let output = child.wait_with_output().map_err(|error| error.to_string())?;
            Err(format!("a host was not made: {}", String::from_utf8_lossy(&output.stderr)))
        }
    }
}

/// What the first process does. At its end it collects orphans, as an init must.
fn script(hierarchies: &[Hierarchy]) -> String {
    let mut lines = vec!["set -e".to_owned(), "mount --make-rprivate /".to_owned()];
    for Hierarchy { mount, mount_command } in hierarchies {
        lines.push(format!("umount -l {}", mount.display()));
        lines.push(mount_command.clone());
    }
    lines.push(
        "for d in /run /var/lib; do mount -t tmpfs -o mode=755 engines $d; done\n\
         mkdir -p /run/lock\n\
         for d in etc usr/local; do\n\
           mkdir -p /run/over/$d/upper /run/over/$d/work\n\
           over=upperdir=/run/over/$d/upper,workdir=/run/over/$d/work\n\
           mount -t overlay -o lowerdir=/$d,$over over /$d\n\
         done\n\
         if [ -e /sys/fs/cgroup/cgroup.controllers ]; then\n\
           mkdir /sys/fs/cgroup/init\n\
           for p in $(cat /sys/fs/cgroup/cgroup.procs); do echo $p >/sys/fs/cgroup/init/cgroup.procs; done\n\
           for c in $(cat /sys/fs/cgroup/cgroup.controllers); do\n\
             echo +$c >/sys/fs/cgroup/cgroup.subtree_control; done\n\
         fi\n\
         mount --make-rshared /\n\
         ip link set lo up\n\
         hostname engines\n\
         echo ready\n\
         while :; do sleep 3600 & wait; done"
            .to_owned(),
    );
    lines.join("\n")
}
