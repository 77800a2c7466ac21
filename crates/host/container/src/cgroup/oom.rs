//! Being told when a container runs out of memory, instead of asking again and again.
//!
//! v1 tells by an eventfd, at the moment at which memory is out and before anything is killed; v2 by a change
//! of `memory.events`, which counts kills. So a v1 container whose killer is off (`disableOOMKiller`) is told
//! of, too.

use super::{Cgroups, stats::oom_kills, write};
use crate::error::{Error, Result};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use rustix::fs::{Mode, OFlags};

/// Becomes readable when there is something to [`take`](Self::take).
#[derive(Debug)]
pub struct OomWatch {
    told: OwnedFd,
    kind: Kind,
    groups: Cgroups,
}

#[derive(Debug)]
enum Kind {
    /// The descriptor that the eventfd was registered with: its end is the notification's.
    V1(#[allow(dead_code)] OwnedFd),
    /// Kills up to now.
    V2(u64),
}

impl OomWatch {
    /// Watches a container's groups; `None` where none limits memory.
    ///
    /// # Errors
    /// The file that cannot be watched.
    pub fn new(groups: &Cgroups) -> Result<Option<Self>> {
        if let Some(directory) = groups.controller("memory") {
            return Self::v1(directory, groups).map(Some);
        }
        match &groups.unified {
            Some(directory) if directory.join("memory.events").exists() => {
                Self::v2(directory, groups).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn v1(directory: &std::path::Path, groups: &Cgroups) -> Result<Self> {
        const CONTROL: &str = "memory.oom_control";
        let file = directory.join(CONTROL);
        let failed = |operation| Error::os(operation, &file);
        let told = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(failed("make an eventfd for"))?;
        let control = rustix::fs::open(&file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(failed("open"))?;
        let line = format!("{} {}", told.as_raw_fd(), control.as_raw_fd());
        write(directory, "cgroup.event_control", &line).map_err(failed("watch"))?;
        Ok(Self { told, kind: Kind::V1(control), groups: groups.clone() })
    }

    fn v2(directory: &std::path::Path, groups: &Cgroups) -> Result<Self> {
        let file = directory.join("memory.events");
        let failed = |operation| Error::os(operation, &file);
        let told = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(failed("make a watch for"))?;
        add_watch(&told, &file, WatchFlags::MODIFY).map_err(failed("watch"))?;
        // Counted after the watch is on, so that none falls between.
        let kills = oom_kills(groups);
        Ok(Self { told, kind: Kind::V2(kills), groups: groups.clone() })
    }

    /// How often it happened since the last call. Does not wait.
    pub fn take(&mut self) -> u64 {
        let mut buffer = [0u8; 4096];
        let read = rustix::io::retry_on_intr(|| rustix::io::read(&self.told, &mut buffer));
        match &mut self.kind {
            Kind::V1(_) => {
                let Ok(8) = read else { return 0 };
                // The end of the group is told in the same way.
                let is_there = self.groups.controller("memory").is_some_and(|d| d.exists());
                let count = buffer.first_chunk::<8>().map_or(0, |bytes| u64::from_ne_bytes(*bytes));
                if is_there { count } else { 0 }
            }
            Kind::V2(seen) => {
                let now = oom_kills(&self.groups);
                let new = now.saturating_sub(*seen);
                *seen = now.max(*seen);
                new
            }
        }
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.told.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};

    #[test]
    fn a_change_of_memory_events_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("memory.events");
        std::fs::write(&file, "oom 1\noom_kill 1\n").unwrap();
        let groups = Cgroups { unified: Some(dir.path().into()), ..Cgroups::default() };
        let mut watch = OomWatch::new(&groups).unwrap().unwrap();
        let is_told = |watch: &OomWatch| {
            let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
            let mut fds = [PollFd::from_borrowed_fd(watch.as_fd(), PollFlags::IN)];
            poll(&mut fds, Some(&now)).unwrap() == 1
        };
        assert!(!is_told(&watch));
        std::fs::write(&file, "oom 5\noom_kill 3\n").unwrap();
        assert!(is_told(&watch));
        assert_eq!(watch.take(), 2);
        assert!(!is_told(&watch));
        assert_eq!(watch.take(), 0);
        let none = Cgroups { unified: Some("/no/such".into()), ..Cgroups::default() };
        assert!(OomWatch::new(&none).unwrap().is_none());
    }
}
