//! The tree at start: the verified root under its writable layer, the file systems of this library OS, and
//! what was admitted.
//!
//! Nothing here trusts the host: digests come from the manifest, mounts and inputs from
//! [`workload::request::admit`]. The contents of inputs (/etc/hosts and its like) are the host's word,
//! which the manifest allows.

use super::attestation::Attestation;
use super::context::{Caller, FsContext};
use super::devices::{self, Devices};
use super::inode::{Inode, InodeRef, NewInode};
use super::location::Location;
use super::memfs::{Budget, Fs, Settings};
use super::mount::{MountFlags, Namespace};
use super::ops::names::mkdir;
use super::ops::open::write_file;
use super::procfs::{self, Processes};
use super::stat::{FileType, Time};
use super::stream::Streams;
use super::sysfs;
use super::verified::{BlockCache, VerifiedRoot};
use super::walk::resolve;
use crate::errno::Errno;
use crate::platform::Platform;
use crate::process::Credentials;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use workload::manifest::{Manifest, MountRule};
use workload::request::Admitted;

/// Most bytes of verified blocks kept in memory.
const MAX_CACHE: u64 = 64 << 20;

/// Where names of loopback are looked up.
const HOSTS: &str = "/etc/hosts";

/// The file layer of a running container.
pub struct FileLayer {
    /// The mounts.
    pub namespace: Arc<Namespace>,
    /// Streams of the host.
    pub streams: Arc<Streams>,
    /// /dev/console.
    pub console: InodeRef,
    /// What is behind /dev/attestation.
    pub attestation: Arc<Attestation>,
}

/// What the tree is made of.
pub struct Setup<'a> {
    /// The machine.
    pub platform: &'static dyn Platform,
    /// The measured manifest.
    pub manifest: &'a Manifest,
    /// What was admitted.
    pub admitted: &'a Admitted,
    /// What /proc shows.
    pub processes: Arc<dyn Processes>,
}

/// Makes the tree.
///
/// # Errors
/// A line for the operator that names the field or path.
pub fn boot(setup: &Setup<'_>) -> Result<FileLayer, String> {
    let platform = setup.platform;
    let heap = setup.manifest.enclave.heap_max;
    let cache = BlockCache::new(((heap / 8).min(MAX_CACHE) / 4096) as usize);
    let shared = Budget::new(heap / 2 / 4096);
    let streams = Streams::new();
    let devices = Devices::new(platform, streams.clone());
    let settings = |size: u64| Settings {
        platform,
        own: Budget::new(size / 4096),
        shared: shared.clone(),
        devices: Some(devices.clone()),
    };

    let root = &setup.manifest.root;
    let below = VerifiedRoot::open(platform, root.digest, root.size, cache)
        .map_err(|error| format!("root: {error}"))?;
    let root_id = below.root_id();
    let root = Fs::over(settings(heap), below, root_id).map_err(|e| format!("root: {e:?}"))?;
    let mut builder =
        Builder { namespace: Namespace::new(root, "overlay", "overlay", MountFlags::default()) };

    let made = Time::from_ns(platform.realtime_ns());
    let system = setup.processes.system();
    let safe = MountFlags { is_nosuid: true, is_noexec: true, is_nodev: true, is_read_only: false };
    let proc_root = procfs::tree(setup.processes.clone(), made);
    builder.mount("/proc", proc_root, "proc", "proc", safe)?;
    let sys_flags = MountFlags { is_read_only: true, ..safe };
    let sys_root = sysfs::tree(system.cpus, system.memory_total, made);
    builder.mount("/sys", sys_root, "sysfs", "sysfs", sys_flags)?;
    let dev = devices::tree(settings(1 << 20)).map_err(|error| format!("/dev: {error:?}"))?;
    let dev_flags = MountFlags { is_nosuid: true, is_noexec: true, ..MountFlags::default() };
    builder.mount("/dev", dev.clone(), "tmpfs", "tmpfs", dev_flags)?;
    builder.mount("/dev/shm", Fs::empty(settings(heap / 4), 0o1777), "tmpfs", "shm", safe)?;

    let (manifest, admitted) = (setup.manifest, setup.admitted);
    let attester = manifest.attester.as_ref().map(|attester| (attester.uid, attester.files()));
    let attestation =
        Attestation::new(platform, &manifest.attestation, attester, &admitted.config_digest);
    let tree = attestation.tree(made);
    builder.mount("/dev/attestation", tree, "attestation", "attestation", safe)?;

    for mount in &admitted.mounts {
        let path = &mount.destination;
        match mount.rule {
            MountRule::Tmpfs { size } => {
                let flags = MountFlags { is_nosuid: true, is_nodev: true, ..Default::default() };
                let root = Fs::empty(settings(size), 0o1777);
                builder.mount(path, root, "tmpfs", "tmpfs", flags)?;
            }
            // Refused rather than left out: a program would write its data into memory and lose it.
            MountRule::Host { .. } => {
                return Err(format!("mounts.{path}: expected a tmpfs, got a host mount (not yet)"));
            }
        }
    }
    for (path, contents) in &admitted.inputs {
        builder.input(path, contents.as_bytes()).map_err(|error| format!("{path}: {error:?}"))?;
    }
    if !admitted.inputs.contains_key(HOSTS) && builder.is_empty(HOSTS) {
        let text = hosts(&admitted.hostname);
        builder.input(HOSTS, text.as_bytes()).map_err(|error| format!("{HOSTS}: {error:?}"))?;
    }

    let caller = builder.caller();
    let console = Inode::lookup(&*dev, &caller, b"console");
    let console = console.map_err(|error| format!("/dev/console: {error:?}"))?;
    builder.namespace.set_scratch(Fs::empty(settings(heap / 2), 0o700));
    Ok(FileLayer { namespace: Arc::new(builder.namespace), streams, console, attestation })
}

/// What /etc/hosts says where neither the image nor the host says anything: the names that mean loopback.
/// Engines write as much, but theirs is the host's word, which a manifest has to admit.
fn hosts(hostname: &str) -> String {
    format!(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.0.1\t{hostname}\n"
    )
}

struct Builder {
    namespace: Namespace,
}

impl Builder {
    /// User 0 at the root of what is mounted so far.
    fn caller(&self) -> Caller {
        let fs = FsContext::new(Arc::new(self.namespace.clone()));
        fs.set_umask(0);
        let credentials = Credentials::default();
        Caller { pid: 0, tid: 0, sid: 0, fs: Arc::new(fs), credentials }
    }

    /// Mounts on a directory, which is made if the image has none.
    fn mount(
        &mut self,
        path: &str,
        root: InodeRef,
        fs_type: &str,
        source: &str,
        flags: MountFlags,
    ) -> Result<(), String> {
        let place = self.directory(path).map_err(|error| format!("mount {path}: {error:?}"))?;
        self.namespace.add(&place, path, root, fs_type, source, flags);
        Ok(())
    }

    /// The directory `path`, made with its parents where it is not there.
    fn directory(&self, path: &str) -> Result<Location, Errno> {
        let caller = self.caller();
        let start = caller.fs.root();
        let mut sofar = String::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            sofar = sofar + "/" + part;
            match mkdir(&caller, &start, sofar.as_bytes(), 0o755) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(error) => return Err(error),
            }
        }
        let place = resolve(&caller, &start, path.as_bytes(), true)?;
        match place.inode.file_type() {
            FileType::Directory => Ok(place),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// Whether a path leads to no file, or to one without bytes.
    fn is_empty(&self, path: &str) -> bool {
        let caller = self.caller();
        match resolve(&caller, &caller.fs.root(), path.as_bytes(), true) {
            Ok(place) => place.inode.stat().size == 0,
            Err(error) => error == Errno::ENOENT,
        }
    }

    /// Puts a file in place of the image's.
    fn input(&self, path: &str, contents: &[u8]) -> Result<(), Errno> {
        let (directory, name) = path.rsplit_once('/').ok_or(Errno::EINVAL)?;
        let caller = self.caller();
        let directory = match directory {
            "" => caller.fs.root(),
            _ => self.directory(directory)?,
        };
        // Whatever the image has there, a link included, makes way: the host must not write through it.
        match directory.inode.unlink(name.as_bytes()) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => return Err(error),
        }
        let new = NewInode {
            file_type: FileType::Regular,
            mode: 0o644,
            uid: 0,
            gid: 0,
            rdev: 0,
            target: Vec::new(),
        };
        let inode = directory.inode.create(name.as_bytes(), &new)?;
        write_file(&caller, inode, contents)
    }
}
