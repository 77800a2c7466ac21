//! Removing a container's cgroups: whatever is in them ends first.

use super::{Cgroups, descendants, write};
use crate::error::{Error, Result};
use rustix::fs::AtFlags;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long processes killed here may take to go.
const PATIENCE: Duration = Duration::from_secs(10);

/// Removes every directory, with those below them. Processes left in them are killed if `is_forced`.
///
/// # Errors
/// A directory that stays busy.
pub fn remove(cgroups: &Cgroups, is_forced: bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    if let Some(unit) = &cgroups.unit {
        if is_forced {
            // systemd would wait long for those that do not listen.
            kill_all(cgroups);
        }
        unit.stop();
    }
    for directory in cgroups.all() {
        let mut wait = Duration::from_micros(100);
        loop {
            match remove_tree(directory) {
                Ok(()) => break,
                // EBUSY for processes in it, some of which may be on their way out.
                Err(e) if Instant::now() > deadline => {
                    return Err(Error::os("remove", directory)(e));
                }
                Err(_) => {}
            }
            if is_forced {
                kill_all(cgroups);
            }
            std::thread::sleep(wait);
            wait = (wait * 2).min(Duration::from_millis(20));
        }
    }
    Ok(())
}

fn remove_tree(directory: &Path) -> std::result::Result<(), Errno> {
    let rmdir = |d: &Path| match rustix::fs::unlinkat(rustix::fs::CWD, d, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e),
    };
    // The ordinary group has no groups below it.
    if rmdir(directory).is_ok() {
        return Ok(());
    }
    let mut below = Vec::new();
    descendants(directory, &mut below, 0);
    for child in below {
        rmdir(&child)?;
    }
    rmdir(directory)
}

/// Sends SIGKILL to every process in the groups.
pub(crate) fn kill_all(cgroups: &Cgroups) {
    if let Some(unified) = &cgroups.unified
        && cgroups.is_unified()
        && write(unified, "cgroup.kill", "1").is_ok()
    {
        return;
    }
    for pid in cgroups.processes() {
        if let Some(pid) = Pid::from_raw(pid) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}
