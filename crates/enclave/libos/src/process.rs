//! Processes.

use crate::fs;
use crate::kernel::Kernel;
use crate::mm::Mm;
use crate::sync::Mutex;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Process, thread, process group and session ids share one number space.
pub type Pid = u32;

/// Who a process acts as. Semantics, not a boundary: all processes of a container trust each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // credentials(7)
pub struct Credentials {
    pub ruid: u32,
    pub euid: u32,
    pub suid: u32,
    pub fsuid: u32,
    pub rgid: u32,
    pub egid: u32,
    pub sgid: u32,
    pub fsgid: u32,
    pub groups: Vec<u32>,
}

/// A process: a thread group.
pub struct Process {
    /// The library OS.
    pub kernel: &'static Kernel,
    /// Its id.
    pub pid: Pid,
    /// Its memory; execve(2) puts another in its place. Take a clone, do not hold the lock.
    pub mm: Mutex<Arc<Mm>>,
    /// Its descriptors. Take a clone, do not hold the lock.
    pub files: Mutex<Arc<fs::fd::Table>>,
    /// Its working directory, root and umask.
    pub fs: Mutex<Arc<fs::context::FsContext>>,
    /// Who it acts as.
    pub credentials: Mutex<Credentials>,
    /// Process group and session.
    pub job: Mutex<Job>,
}

/// Where a process stands in job control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Process group.
    pub pgid: Pid,
    /// Session.
    pub sid: Pid,
}

impl Process {
    /// Its memory, now.
    pub fn mm(&self) -> Arc<Mm> {
        self.mm.lock().clone()
    }

    /// Its descriptors, now.
    pub fn files(&self) -> Arc<fs::fd::Table> {
        self.files.lock().clone()
    }

    /// Its working directory, root and umask, now.
    pub fn fs(&self) -> Arc<fs::context::FsContext> {
        self.fs.lock().clone()
    }

    /// Soft limit of a resource (RLIMIT_*), for the file layer's NOFILE and FSIZE.
    pub fn rlimit(&self, resource: u32) -> u64 {
        let _ = resource;
        1024
    }
}
