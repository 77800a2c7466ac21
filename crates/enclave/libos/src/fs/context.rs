//! A process's view of the tree: root, working directory, umask; and who asks.

use super::file::PageSource;
use super::location::Location;
use super::mount::Namespace;
use super::task::Task;
use crate::process::Credentials;
use crate::sync::Mutex;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

/// Root, working directory and umask: what CLONE_FS shares.
pub struct FsContext {
    /// The mounts, the same for every process.
    pub namespace: Arc<Namespace>,
    places: Mutex<Places>,
    umask: AtomicU32,
}

#[derive(Clone)]
struct Places {
    root: Location,
    cwd: Location,
}

impl FsContext {
    /// Of the first process: everything at the root, umask 022.
    #[must_use]
    pub fn new(namespace: Arc<Namespace>) -> Self {
        let root = namespace.root();
        Self {
            namespace,
            places: Mutex::new(Places { cwd: root.clone(), root }),
            umask: AtomicU32::new(0o022),
        }
    }

    /// The copy that fork(2) gives the child.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self {
            namespace: self.namespace.clone(),
            places: Mutex::new(self.places.lock().clone()),
            umask: AtomicU32::new(self.umask()),
        }
    }

    /// Root directory of the process.
    #[must_use]
    pub fn root(&self) -> Location {
        self.places.lock().root.clone()
    }

    /// Working directory.
    #[must_use]
    pub fn cwd(&self) -> Location {
        self.places.lock().cwd.clone()
    }

    /// Sets the root directory; the caller checked that it is a directory.
    pub fn set_root(&self, root: Location) {
        self.places.lock().root = root;
    }

    /// Sets the working directory; the caller checked that it is a directory.
    pub fn set_cwd(&self, cwd: Location) {
        self.places.lock().cwd = cwd;
    }

    /// File mode creation mask.
    #[must_use]
    pub fn umask(&self) -> u32 {
        self.umask.load(Ordering::Relaxed)
    }

    /// Sets the mask, gives the old one.
    pub fn set_umask(&self, mask: u32) -> u32 {
        self.umask.swap(mask & 0o777, Ordering::Relaxed)
    }
}

/// Who asks for a path: what file systems may look at.
#[derive(Clone)]
pub struct Caller {
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Session.
    pub sid: u32,
    /// Its view of the tree.
    pub fs: Arc<FsContext>,
    /// Users and groups.
    pub credentials: Credentials,
}

impl Caller {
    /// The thread that makes the system call.
    #[must_use]
    pub fn of(task: &dyn Task) -> Self {
        Self {
            pid: task.pid(),
            tid: task.tid(),
            sid: task.sid(),
            fs: task.fs(),
            credentials: task.credentials(),
        }
    }
}

/// A file that execve(2) may run: regular, execute permission, mount not noexec.
pub struct Executable {
    /// Its pages.
    pub pages: Arc<dyn PageSource>,
    /// Its absolute path with symlinks resolved, for maps.
    pub path: Vec<u8>,
    /// Where it is, for /proc/PID/exe.
    pub location: Location,
}
