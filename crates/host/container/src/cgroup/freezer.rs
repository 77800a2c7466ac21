//! Pausing: no process of the container runs between [`freeze`] and [`thaw`].

use super::{Cgroups, read, write};
use crate::error::{Error, Result};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(2);

/// Stops every process; returns when they are stopped.
///
/// # Errors
/// There is no freezer, or some process does not stop; then all are let go again.
pub fn freeze(cgroups: &Cgroups) -> Result<()> {
    set(cgroups, true).inspect_err(|_| drop(set(cgroups, false)))
}

/// Lets every process run again.
///
/// # Errors
/// There is no freezer.
pub fn thaw(cgroups: &Cgroups) -> Result<()> {
    set(cgroups, false)
}

/// Whether the container is paused.
#[must_use]
pub fn is_frozen(cgroups: &Cgroups) -> bool {
    if let Some(directory) = cgroups.controller("freezer") {
        return read(directory, "freezer.state").is_some_and(|s| s != "THAWED");
    }
    let Some(directory) = &cgroups.unified else { return false };
    read(directory, "cgroup.freeze").is_some_and(|s| s == "1")
}

fn set(cgroups: &Cgroups, is_frozen: bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut wait = Duration::from_micros(200);
    let v1 = cgroups.controller("freezer");
    let Some(directory) = v1.or(cgroups.unified.as_deref()) else {
        return Err(Error::Unsupported {
            field: "pause".into(),
            reason: "this container has no freezer cgroup".into(),
        });
    };
    loop {
        let (file, value) = match (v1.is_some(), is_frozen) {
            (true, true) => ("freezer.state", "FROZEN"),
            (true, false) => ("freezer.state", "THAWED"),
            (false, true) => ("cgroup.freeze", "1"),
            (false, false) => ("cgroup.freeze", "0"),
        };
        // v1 must be told again: a process forked meanwhile leaves it FREEZING.
        write(directory, file, value).map_err(Error::os("write", directory.join(file)))?;
        let is_done = if v1.is_some() {
            read(directory, file).is_some_and(|s| s == value)
        } else {
            let wanted = if is_frozen { "frozen 1" } else { "frozen 0" };
            read(directory, "cgroup.events").is_some_and(|e| e.lines().any(|l| l == wanted))
        };
        if is_done {
            return Ok(());
        }
        if Instant::now() > deadline {
            let e = rustix::io::Errno::TIMEDOUT;
            return Err(Error::os("wait for the freezer", directory)(e));
        }
        std::thread::sleep(wait);
        wait = (wait * 2).min(Duration::from_millis(20));
    }
}
