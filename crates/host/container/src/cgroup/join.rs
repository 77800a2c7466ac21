//! How a new process comes into its groups by itself.
//!
//! To move a process the kernel holds back every fork and exit of the machine, and before the first of several
//! moves it waits for a grace period of RCU: a dozen milliseconds, more than all else that a container takes. It
//! spares both to a thread of a v1 hierarchy that moves itself, and to a process that `clone3` makes in a v2 group.
//! So the groups are there before the process, which gets their files and writes to them as the first thing it does.

use super::Cgroups;
use crate::error::{Error, Result};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use std::path::PathBuf;

/// Files of a container's groups through which a process comes into them, opened with the rights of the runtime.
#[derive(Debug)]
pub(crate) struct Doors {
    v1: Vec<(PathBuf, OwnedFd)>,
    unified: Option<OwnedFd>,
}

impl Doors {
    /// Those of groups that exist.
    ///
    /// # Errors
    /// The file that cannot be opened.
    pub(crate) fn open(groups: &Cgroups) -> Result<Self> {
        let open = |path: PathBuf, flags| {
            rustix::fs::open(&path, flags | OFlags::CLOEXEC, Mode::empty())
                .map_err(Error::os("open", &path))
                .map(|fd| (path, fd))
        };
        let tasks = groups.v1.iter().map(|(_, d)| open(d.join("tasks"), OFlags::WRONLY));
        let directory = OFlags::PATH | OFlags::DIRECTORY;
        Ok(Self {
            v1: tasks.collect::<Result<_>>()?,
            unified: match &groups.unified {
                Some(path) => Some(open(path.clone(), directory)?.1),
                None => None,
            },
        })
    }

    /// The v2 group, for `clone3`.
    pub(crate) fn unified(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(AsFd::as_fd)
    }

    /// In the new process, which has one thread: enters the v1 groups.
    ///
    /// # Errors
    /// The group that refused it.
    pub(crate) fn enter(self) -> Result<()> {
        for (path, file) in self.v1 {
            rustix::io::retry_on_intr(|| rustix::io::write(&file, b"0"))
                .map_err(Error::os("add the process to", path))?;
        }
        Ok(())
    }
}
