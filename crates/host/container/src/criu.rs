//! Checkpoint and restore, by the program `criu`.
//!
//! criu saves processes and what belongs to them. What comes from outside is named at the checkpoint and
//! given again at the restore: mounts of host directories, masks, cgroup mounts, a joined network namespace
//! and the standard streams. Their list is `rune.json` beside criu's images. A restored container gets new
//! cgroups with the configuration's limits; criu starts in them, so its children are in them at any moment.
//!
//! Not covered: terminals, and namespaces other than the network's that are joined by path.

use crate::cgroup::{Cgroups, Host};
use crate::create::Options;
use crate::error::{Error, Result};
use crate::rootfs::mounts::{attach, propagation_flags};
use crate::spec::{NamespaceType, Spec, parse_json, read_limited, validate::validate};
use crate::state::{Directory, State, Status};
use crate::sys::{CStringArray, Fork, execute, exit_now, fork_into};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{OpenTreeFlags, mount_change, open_tree};
use rustix::process::{Pid, WaitOptions, waitpid};
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How criu names a joined network namespace.
const NETWORK: &str = "rune-network";
const LIST: &str = "rune.json";

/// Where criu is and what it is told besides.
#[derive(Clone, Debug)]
pub struct Criu {
    /// Its program, searched in `PATH` if it has no slash.
    pub program: PathBuf,
    /// `--image-path`.
    pub images: PathBuf,
    /// `--work-path`: where its log goes; the images' directory if there is none.
    pub work: Option<PathBuf>,
    /// Its own options that go through as they are.
    pub passed: Vec<String>,
}

/// What a checkpoint holds besides criu's images.
#[derive(Debug, Default, Serialize, Deserialize)]
struct List {
    mounts: Vec<External>,
    /// criu's names of what descriptors 0 to 2 are: pipes, and files of the host. Empty for others.
    streams: Vec<String>,
    has_network: bool,
}

/// A mount from outside.
#[derive(Debug, Serialize, Deserialize)]
struct External {
    /// In the container.
    destination: PathBuf,
    /// First controller of a v1 hierarchy, `unified`, or none for another kind of mount.
    cgroup: Option<String>,
}

/// Saves a running container. It ends unless `is_left_running`; removing it is the caller's.
///
/// # Errors
/// The container is not running, has what cannot be saved, or criu's own words.
pub fn checkpoint(
    directory: &Directory,
    state: &State,
    criu: &Criu,
    action: &'static str,
    is_left_running: bool,
) -> Result<()> {
    match directory.status(state) {
        Status::Running | Status::Paused => {}
        other => {
            return Err(Error::Status {
                id: state.id.clone(),
                operation: "checkpoint",
                expected: "running",
                got: other.name(),
            });
        }
    }
    let config = directory.read("config.json")?;
    let spec = Spec::parse(&directory.path().join("config.json"), &config)?;
    let list = List::of(state, &spec)?;
    std::fs::create_dir_all(&criu.images).map_err(|e| Error::os_io("make", &criu.images, &e))?;
    let file = criu.images.join(LIST);
    let text = serde_json::to_vec(&list).unwrap_or_default();
    std::fs::write(&file, text).map_err(|e| Error::os_io("write", &file, &e))?;
    let mut args = criu.arguments(action, "dump.log");
    args.extend(["--tree".into(), state.pid.to_string()]);
    if is_left_running {
        args.push("--leave-running".into());
    }
    if let Some(freezer) = state.cgroups.controller("freezer") {
        args.extend(["--freeze-cgroup".into(), freezer.display().to_string()]);
    }
    for mount in &list.mounts {
        let destination = mount.destination.display();
        args.extend(["--external".into(), format!("mnt[{destination}]:{destination}")]);
    }
    for name in list.streams.iter().filter(|s| s.starts_with("file[")) {
        args.extend(["--external".into(), name.clone()]);
    }
    if list.has_network {
        use std::os::unix::fs::MetadataExt;
        let path = format!("/proc/{}/ns/net", state.pid);
        let inode = std::fs::metadata(&path).map_err(|e| Error::os_io("stat", path, &e))?.ino();
        args.extend(["--external".into(), format!("net[{inode}]:{NETWORK}")]);
    }
    let (program, args) = criu.command(args)?;
    match fork_into(0, None, false).map_err(Error::os("clone3", "criu"))? {
        Fork::Child => {
            let _ = execute(&program, &args, &environment());
            exit_now(127)
        }
        Fork::Parent { pid, .. } => criu.finish(pid, action, "dump.log"),
    }
}

impl List {
    fn of(state: &State, spec: &Spec) -> Result<Self> {
        let mut out = Self::default();
        for (index, namespace) in spec.linux.namespaces.iter().enumerate() {
            match (namespace.kind, namespace.path.as_os_str().is_empty()) {
                (_, true) => {}
                (NamespaceType::Network, false) => out.has_network = true,
                (kind, false) => {
                    let field = format!("linux.namespaces[{index}].path");
                    let reason = format!("a joined {} namespace cannot be saved", kind.name());
                    return Err(Error::Unsupported { field, reason });
                }
            }
        }
        let path = format!("/proc/{}/mountinfo", state.pid);
        let info = std::fs::read_to_string(&path).map_err(|e| Error::os_io("read", path, &e))?;
        out.mounts = externals(&info);
        out.streams = (0..3).map(|n| stream(state.pid, n, &info).unwrap_or_default()).collect();
        Ok(out)
    }
}

/// criu's name of a stream that comes from outside.
fn stream(pid: i32, number: u32, mounts: &str) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let path = format!("/proc/{pid}/fd/{number}");
    let link = std::fs::read_link(&path).ok()?.display().to_string();
    if link.starts_with("pipe:") {
        return Some(link);
    }
    let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).ok()?;
    let mount = info.lines().find_map(|l| l.strip_prefix("mnt_id:"))?.trim();
    let is_inside = mounts.lines().any(|l| l.split(' ').next() == Some(mount));
    if is_inside || !link.starts_with('/') {
        return None;
    }
    let (mount, inode) = (mount.parse::<u32>().ok()?, std::fs::metadata(&path).ok()?.ino());
    Some(format!("file[{mount:x}:{inode:x}]"))
}

/// The mounts whose contents are not those of another mount of the container.
fn externals(info: &str) -> Vec<External> {
    struct Line<'a> {
        device: &'a str,
        root: &'a Path,
        point: &'a Path,
        kind: &'a str,
        options: &'a str,
    }
    let lines: Vec<Line<'_>> = info
        .lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut left = left.split(' ').skip(2);
            let mut right = right.split(' ');
            Some(Line {
                device: left.next()?,
                root: Path::new(left.next()?),
                point: Path::new(left.next()?),
                kind: right.next()?,
                options: right.nth(1)?,
            })
        })
        .collect();
    let mut out = Vec::new();
    for line in &lines {
        let cgroup = match line.kind {
            "cgroup2" => Some("unified".to_owned()),
            "cgroup" => line
                .options
                .split(',')
                .find(|o| !matches!(*o, "rw" | "ro" | "xattr" | "clone_children"))
                .map(str::to_owned),
            _ => None,
        };
        let is_whole = line.root == Path::new("/") && cgroup.is_none();
        let is_part = |other: &Line<'_>| {
            !std::ptr::eq(other, line)
                && other.device == line.device
                && line.root.starts_with(other.root)
                && (other.root != line.root || other.point == Path::new("/"))
        };
        if line.point == Path::new("/") || is_whole || lines.iter().any(is_part) {
            continue;
        }
        out.push(External { destination: line.point.to_owned(), cgroup });
    }
    out
}

/// Restores a container from a checkpoint. It runs when this returns.
///
/// # Errors
/// What was refused, or criu's own words. Nothing is left behind.
pub fn restore(options: Options, criu: &Criu) -> Result<(Directory, State)> {
    validate(&options.spec)?;
    let file = criu.images.join(LIST);
    let list: List = parse_json(&file, &read_limited(&file)?)?;
    let directory = Directory::create(&options.root, &options.id)?;
    let path = directory.path().to_owned();
    let host = Host::detect()?;
    let mut cgroups = Cgroups::default();
    restore_in(&options, criu, &list, directory, &host, &mut cgroups).inspect_err(|_| {
        let _ = crate::cgroup::remove(&cgroups, true);
        let _ = std::fs::remove_dir_all(&path);
    })
}

fn restore_in(
    options: &Options,
    criu: &Criu,
    list: &List,
    directory: Directory,
    host: &Host,
    made: &mut Cgroups,
) -> Result<(Directory, State)> {
    let spec = &options.spec;
    let cgroups = crate::create::plan_cgroups(options, host)?;
    let mut state = crate::create::new_state(options, &cgroups)?;
    directory.set_config(&options.config)?;
    directory.set_state(&state)?;
    let root = state.rootfs.clone();
    let pid_file = directory.path().join("criu.pid");
    let mut args = criu.arguments("restore", "restore.log");
    args.extend(["--restore-detached".into(), "--root".into(), root.display().to_string()]);
    args.extend(["--pidfile".into(), pid_file.display().to_string()]);
    for mount in &list.mounts {
        let source = source_of(mount, options, &cgroups)?;
        let destination = mount.destination.display();
        args.extend(["--external".into(), format!("mnt[{destination}]:{}", source.display())]);
    }
    let mut kept: Vec<OwnedFd> = Vec::new();
    if list.has_network {
        let namespace = spec.linux.namespaces.iter().find(|n| n.kind == NamespaceType::Network);
        let path = namespace.map(|n| n.path.clone()).unwrap_or_default();
        let fd = rustix::fs::open(&path, OFlags::RDONLY, Mode::empty())
            .map_err(Error::os("open the network namespace", &path))?;
        args.extend(["--inherit-fd".into(), format!("fd[{}]:{NETWORK}", fd.as_raw_fd())]);
        kept.push(fd);
    }
    for (number, name) in list.streams.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        args.extend(["--inherit-fd".into(), format!("fd[{number}]:{name}")]);
    }
    let (program, args) = criu.command(args)?;
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(Error::os("make", "a pipe"))?;
    let pid = match fork_into(NamespaceType::Mount.flag(), None, false)
        .map_err(Error::os("clone3", "criu"))?
    {
        Fork::Child => {
            drop(write);
            let is_placed = matches!(rustix::io::read(&read, &mut [0u8; 1]), Ok(1));
            if is_placed && make_mount(&root).is_ok() {
                let _ = execute(&program, &args, &environment());
            }
            exit_now(127)
        }
        Fork::Parent { pid, .. } => pid,
    };
    drop((read, kept));
    *made = cgroups.clone();
    cgroups.start_unit(pid, &spec.linux.resources, &options.id)?;
    cgroups.make(host)?;
    cgroups.set(&spec.linux.resources, true)?;
    cgroups.add(pid)?;
    let _ = rustix::io::write(&write, b"x");
    criu.finish(pid, "restore", "restore.log")?;
    let text =
        std::fs::read_to_string(&pid_file).map_err(|e| Error::os_io("read", &pid_file, &e))?;
    let _ = std::fs::remove_file(&pid_file);
    let raw: i32 = text.trim().parse().unwrap_or(0);
    let pid = Pid::from_raw(raw).ok_or(Error::InitDied { stage: "being restored" })?;
    state.pid = raw;
    state.start_time = crate::state::process(raw).map_or(0, |(start, _)| start);
    directory.set_state(&state)?;
    if let Some(path) = &options.pid_file {
        crate::create::write_pid_file(path, pid)?;
    }
    Ok((directory, state))
}

/// criu wants the root to be a mount; it is one in a mount namespace that goes with criu.
fn make_mount(root: &Path) -> std::result::Result<(), rustix::io::Errno> {
    mount_change("/", propagation_flags(libc::MS_PRIVATE | libc::MS_REC))?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(CWD, root, flags)?;
    let target = rustix::fs::open(root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    attach(&tree, &target)
}

/// What is mounted again where a checkpoint has a mount from outside.
fn source_of(mount: &External, options: &Options, cgroups: &Cgroups) -> Result<PathBuf> {
    if let Some(name) = &mount.cgroup {
        let found = match name.as_str() {
            "unified" => cgroups.unified.as_deref(),
            name => cgroups.controller(name),
        };
        return found.map(Path::to_owned).ok_or_else(|| Error::Unsupported {
            field: format!("mounts ({})", mount.destination.display()),
            reason: format!(
                "the checkpoint has a {name} cgroup hierarchy, which this host has not"
            ),
        });
    }
    let mut bound = options.spec.mounts.iter().rev();
    if let Some(found) = bound.find(|m| m.destination == mount.destination) {
        return Ok(options.bundle.join(&found.source));
    }
    if options.spec.linux.masked_paths.contains(&mount.destination) {
        return Ok("/dev/null".into());
    }
    let in_dev = mount.destination.strip_prefix("/dev").ok();
    if in_dev.is_some() {
        // A device that is bound because it cannot be made.
        return Ok(mount.destination.clone());
    }
    let expected = format!("a mount on {}, as the checkpoint has", mount.destination.display());
    Err(Error::config("mounts", expected, "none"))
}

impl Criu {
    fn arguments(&self, action: &str, log: &str) -> Vec<String> {
        let mut args = vec![
            "criu".to_owned(),
            action.to_owned(),
            "--images-dir".into(),
            self.images.display().to_string(),
            "--log-file".into(),
            log.into(),
            "-v4".into(),
        ];
        if let Some(work) = &self.work {
            args.extend(["--work-dir".into(), work.display().to_string()]);
        }
        if !self.passed.iter().any(|o| o.starts_with("--manage-cgroups")) {
            // The groups are ours to make.
            args.push("--manage-cgroups=ignore".into());
        }
        args.extend(self.passed.iter().cloned());
        args
    }

    fn command(&self, args: Vec<String>) -> Result<(CString, CStringArray)> {
        let missing = || Error::Os {
            operation: "find the program (package criu, or --criu)",
            subject: self.program.display().to_string(),
            errno: libc::ENOENT,
        };
        let is_path = self.program.as_os_str().as_bytes().contains(&b'/');
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = if is_path {
            self.program.exists().then(|| self.program.clone())
        } else {
            std::env::split_paths(&path).map(|d| d.join(&self.program)).find(|p| p.exists())
        };
        let program = found.ok_or_else(missing)?;
        let program = CString::new(program.as_os_str().as_bytes()).map_err(|_| missing())?;
        let args = CStringArray::new(args)
            .map_err(|_| Error::config("a path of criu", "no NUL byte", "one"))?;
        Ok((program, args))
    }

    /// Waits for criu; its failure is told in its own words.
    fn finish(&self, pid: Pid, action: &str, log: &str) -> Result<()> {
        let status = rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()))
            .map_err(Error::os("wait for", "criu"))?;
        if status.is_some_and(|(_, s)| s.exit_status() == Some(0)) {
            return Ok(());
        }
        let log = self.work.as_ref().unwrap_or(&self.images).join(log);
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        // The first one is the cause, but for a limit that criu can do without.
        let mut errors = text.lines().filter(|l| l.contains("Error (") && !l.contains("RLIMIT_"));
        let error = errors.next().unwrap_or("no word of it");
        Err(Error::Criu { action: action.to_owned(), log, said: error.trim().to_owned() })
    }
}

/// criu looks for helpers, such as `iptables`, in `PATH`.
fn environment() -> CStringArray {
    let path = std::env::var("PATH").unwrap_or_default();
    CStringArray::new([format!("PATH={path}")]).unwrap_or_else(|_| CStringArray::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_is_found() {
        let info = "\
1 0 254:0 /b/rootfs / rw - ext4 /dev/vda rw
2 1 0:50 / /proc rw - proc proc rw
3 1 0:51 / /dev rw - tmpfs tmpfs rw
4 1 254:0 /data /mnt rw - ext4 /dev/vda rw
5 2 0:6 /null /proc/keys rw - devtmpfs devtmpfs rw
6 2 0:50 /sys /proc/sys ro - proc proc rw
7 1 254:0 /b/rootfs/etc /again rw - ext4 /dev/vda rw
8 1 0:30 /x /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids
9 1 0:31 / /sys/fs/cgroup/unified ro - cgroup2 cgroup rw
nonsense";
        let found: Vec<_> = externals(info)
            .into_iter()
            .map(|e| (e.destination.display().to_string(), e.cgroup))
            .collect();
        assert_eq!(
            found,
            [
                ("/mnt".to_owned(), None),
                ("/proc/keys".into(), None),
                ("/sys/fs/cgroup/pids".into(), Some("pids".into())),
                ("/sys/fs/cgroup/unified".into(), Some("unified".into())),
            ]
        );
    }
}
