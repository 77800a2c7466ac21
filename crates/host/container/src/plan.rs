//! From the configuration to plans: everything that can be decided before the fork is.

use crate::cgroup::{Cgroups, Host};
use crate::error::{Error, Result};
use crate::rootfs::{CgroupMount, MountPlan, Node, RootPlan, options};
use crate::spec::{IdMapping, Linux, NamespaceType, Spec};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;
use std::ffi::CString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Who makes or joins which namespace.
#[derive(Debug)]
pub(crate) struct Namespaces {
    pub(crate) joined: Vec<(NamespaceType, OwnedFd)>,
    pub(crate) cloned: u64,
    pub(crate) unshared: u64,
}

impl Namespaces {
    /// # Errors
    /// A path that is no such namespace.
    pub(crate) fn new(spec: &Spec) -> Result<Self> {
        let mut out = Self { joined: Vec::new(), cloned: 0, unshared: 0 };
        for kind in NamespaceType::ALL {
            let Some(index) = spec.linux.namespaces.iter().position(|n| n.kind == kind) else {
                continue;
            };
            let path = &spec.linux.namespaces[index].path;
            if path.as_os_str().is_empty() {
                match kind {
                    // Both show something of this moment: the group one is in, the clocks' offsets.
                    NamespaceType::Cgroup | NamespaceType::Time => out.unshared |= kind.flag(),
                    _ => out.cloned |= kind.flag(),
                }
                continue;
            }
            let field = format!("linux.namespaces[{index}].path {}", path.display());
            let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .map_err(Error::os("open", &field))?;
            out.joined.push((kind, fd));
        }
        // Namespaces below a joined user namespace are made by it: the child joins first.
        if out.joined.iter().any(|(k, _)| *k == NamespaceType::User) {
            out.unshared |= out.cloned;
            out.cloned = 0;
        }
        Ok(out)
    }
}

/// The root directory, absolute.
pub(crate) fn root_path(bundle: &Path, spec: &Spec) -> PathBuf {
    let path = spec.root.as_ref().map(|r| r.path.as_path()).unwrap_or(Path::new("rootfs"));
    bundle.join(path)
}

/// The plan of the root file system.
///
/// # Errors
/// A root that is no directory; a mount or device that is not possible.
pub(crate) fn root(
    bundle: &Path,
    spec: &Spec,
    host: &Host,
    cgroups: &Cgroups,
    is_pivot_avoided: bool,
) -> Result<RootPlan> {
    let path = root_path(bundle, spec);
    let failed = |errno: rustix::io::Errno| Error::Os {
        operation: "open root.path",
        subject: path.display().to_string(),
        errno: errno.raw_os_error(),
    };
    let stat = rustix::fs::stat(&path).map_err(failed)?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::Directory {
        return Err(failed(rustix::io::Errno::NOTDIR));
    }
    let has_user_namespace = spec.linux.namespaces.iter().any(|n| n.kind == NamespaceType::User);
    let mut mounts = Vec::with_capacity(spec.mounts.len());
    let mut cgroup = None;
    let mut is_dev_bound = false;
    let label = crate::labels::mount_context(&spec.linux.mount_label)?;
    for (index, mount) in spec.mounts.iter().enumerate() {
        let mut options = options::Options::parse(&mount.options);
        if mount.kind == "bind" {
            options.flags |= libc::MS_BIND;
        }
        let is_labelled = !options.is_bind()
            && !matches!(mount.kind.as_str(), "proc" | "sysfs" | "mqueue" | "cgroup" | "cgroup2");
        if let Some(label) = label.as_ref().filter(|_| is_labelled) {
            let comma = if options.data.is_empty() { "" } else { "," };
            options.data = format!("{}{comma}{label}", options.data);
        }
        if options.is_bind() && mount.destination == Path::new("/dev") {
            is_dev_bound = true;
        }
        if !options.is_bind() && (mount.kind == "cgroup" || mount.kind == "cgroup2") {
            cgroup = Some(cgroup_mount(index, spec, host, cgroups));
        }
        let source = if options.is_bind() {
            bundle.join(&mount.source)
        } else if mount.source.is_empty() {
            // The name that `mount` shows.
            PathBuf::from(&mount.kind)
        } else {
            PathBuf::from(&mount.source)
        };
        let mut plan = MountPlan {
            index,
            destination: mount.destination.clone(),
            kind: mount.kind.clone(),
            source,
            options,
            tree: None,
        };
        if plan.options.is_bind() {
            let has_mappings = !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty();
            if has_mappings || plan.options.idmap.is_some() {
                let namespace = idmap_namespace(index, mount, &spec.linux)?;
                let is_recursive = plan.options.idmap == Some(true);
                plan.tree = Some(plan.open_mapped_source(&namespace, is_recursive)?);
                mounts.push(plan);
                continue;
            }
            // The child of a user namespace may not reach the source; root may. Without root it is the
            // other way round: only the child may clone a mount, and it reaches what the caller does.
            if has_user_namespace && rustix::process::geteuid().is_root() {
                plan.tree = Some(plan.open_source()?);
            }
        }
        mounts.push(plan);
    }
    let nodes = spec
        .linux
        .devices
        .iter()
        .enumerate()
        .map(|(i, d)| Node::from_spec(i, d))
        .collect::<Result<Vec<_>>>()?;
    Ok(RootPlan {
        path,
        propagation: options::propagation(&spec.linux.rootfs_propagation),
        is_readonly: spec.root.as_ref().is_some_and(|r| r.readonly),
        is_pivot_avoided,
        mounts,
        cgroup,
        nodes,
        are_nodes_bound: has_user_namespace,
        masked: spec.linux.masked_paths.clone(),
        readonly: spec.linux.readonly_paths.clone(),
        is_dev_bound,
    })
}

fn cgroup_mount(index: usize, spec: &Spec, host: &Host, cgroups: &Cgroups) -> CgroupMount {
    use crate::rootfs::CgroupHierarchy;
    let is_unified = host.is_unified();
    let mut hierarchies = Vec::new();
    let mut links = Vec::new();
    for hierarchy in &host.hierarchies {
        if hierarchy.is_v2 {
            if let Some(directory) = &cgroups.unified {
                let name = if is_unified { String::new() } else { "unified".into() };
                let directory = directory.clone();
                hierarchies.push(CgroupHierarchy { name, options: String::new(), directory });
            }
            continue;
        }
        let Some(first) = hierarchy.controllers.first() else { continue };
        let Some(directory) = cgroups.controller(first) else { continue };
        let joined = hierarchy.controllers.join(",");
        let (name, options) = match first.strip_prefix("name=") {
            Some(name) => (name.to_owned(), format!("none,{joined}")),
            None => (joined.clone(), joined.clone()),
        };
        if hierarchy.controllers.len() > 1 {
            links.extend(hierarchy.controllers.iter().map(|c| (c.clone(), name.clone())));
        }
        hierarchies.push(CgroupHierarchy { name, options, directory: directory.to_owned() });
    }
    let has_namespace = spec.linux.namespaces.iter().any(|n| n.kind == NamespaceType::Cgroup);
    CgroupMount { index, has_namespace, is_unified, hierarchies, links }
}

/// A user namespace that has the mappings of an id-mapped mount: the container's own where it gives none.
fn idmap_namespace(index: usize, mount: &crate::spec::Mount, linux: &Linux) -> Result<OwnedFd> {
    use crate::sys::{Fork, fork_into};
    let or = |own: &[IdMapping], container: &[IdMapping]| {
        if own.is_empty() { container.to_vec() } else { own.to_vec() }
    };
    let uids = or(&mount.uid_mappings, &linux.uid_mappings);
    let gids = or(&mount.gid_mappings, &linux.gid_mappings);
    if uids.is_empty() || gids.is_empty() {
        let field = format!("mounts[{index}].uidMappings");
        return Err(Error::config(field, "mappings for an id-mapped mount", "none"));
    }
    let failed = |operation| Error::os(operation, "the user namespace of an id-mapped mount");
    let flags = NamespaceType::User.flag();
    // A process is the only maker of a user namespace; it ends as soon as its namespace is open.
    let (read, write) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(failed("make"))?;
    match fork_into(flags, None, false).map_err(failed("make"))? {
        Fork::Child => {
            drop(write);
            let _ = rustix::io::read(&read, &mut [0u8; 1]);
            crate::sys::exit_now(0)
        }
        Fork::Parent { pid, .. } => {
            let linux = Linux { uid_mappings: uids, gid_mappings: gids, ..Linux::default() };
            let result = write_id_maps(pid, &linux).and_then(|()| {
                let path = format!("/proc/{}/ns/user", pid.as_raw_nonzero());
                rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                    .map_err(failed("open"))
            });
            drop(write);
            let wait = rustix::process::WaitOptions::empty();
            let _ = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), wait));
            result
        }
    }
}

/// Writes the maps of a process that is alone in its new user namespace.
///
/// # Errors
/// The kernel's refusal, with the field.
pub(crate) fn write_id_maps(pid: Pid, linux: &Linux) -> Result<()> {
    let write = |file: &str, field: &str, text: &str| {
        let path = format!("/proc/{}/{file}", pid.as_raw_nonzero());
        crate::tuning::write_file(path, text).map_err(Error::os("apply", Path::new(field)))
    };
    let euid = rustix::process::geteuid();
    if !euid.is_root() {
        let own = [
            ("uid_map", "linux.uidMappings", "newuidmap", &linux.uid_mappings, euid.as_raw()),
            (
                "gid_map",
                "linux.gidMappings",
                "newgidmap",
                &linux.gid_mappings,
                rustix::process::getegid().as_raw(),
            ),
        ];
        for (file, field, helper, maps, id) in own {
            // The one map that the kernel takes from anybody: the own id, alone.
            let is_own = matches!(maps.as_slice(), [m] if m.size == 1 && m.host_id == id);
            if !is_own {
                map_by_helper(helper, field, pid, maps)?;
                continue;
            }
            if file == "gid_map" {
                // The kernel's condition for an unprivileged group map.
                write("setgroups", field, "deny")?;
            }
            write(file, field, &lines(maps))?;
        }
        return Ok(());
    }
    write("uid_map", "linux.uidMappings", &lines(&linux.uid_mappings))?;
    write("gid_map", "linux.gidMappings", &lines(&linux.gid_mappings))
}

fn lines(maps: &[IdMapping]) -> String {
    maps.iter().fold(String::new(), |mut text, m| {
        let _ = writeln!(text, "{} {} {}", m.container_id, m.host_id, m.size);
        text
    })
}

/// Has `newuidmap` or `newgidmap` write a map that takes more than this user's own id: they are set-uid
/// and grant what `/etc/subuid` and `/etc/subgid` list.
fn map_by_helper(helper: &'static str, field: &str, pid: Pid, maps: &[IdMapping]) -> Result<()> {
    let mut command = std::process::Command::new(helper);
    command.arg(pid.as_raw_nonzero().to_string());
    for m in maps {
        command.args([m.container_id, m.host_id, m.size].map(|n| n.to_string()));
    }
    let output = command.stdin(std::process::Stdio::null()).output().map_err(|e| {
        Error::os_io("run (package uidmap, needed for more than the own id)", helper, &e)
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Helper { program: helper, field: field.to_owned(), said })
}

/// `timens_offsets` lines.
pub(crate) fn time_offsets(spec: &Spec) -> String {
    spec.linux.time_offsets.iter().fold(String::new(), |mut text, (clock, offset)| {
        let _ = writeln!(text, "{clock} {} {}", offset.secs, offset.nanosecs);
        text
    })
}

/// Name of the session keyring. An id has no NUL.
pub(crate) fn keyring_name(id: &str) -> CString {
    CString::new(format!("_ses.{id}")).unwrap_or_default()
}
