//! Cgroups made by systemd: a transient scope per container (`--systemd-cgroup`).
//!
//! systemd makes the scope's group and moves the first process there; the groups of other v1 controllers
//! and all limits are written by [`crate::cgroup`] as without it, since a delegated scope is ours to divide.
//! Both ways to systemd work: its own socket, and the bus daemon ([`bus`]). No D-Bus library: what is needed
//! of the protocol is 250 lines, a library is 50 crates and half of this crate's build time.

mod bus;
mod message;
mod names;
mod properties;

#[doc(hidden)]
pub use message::fuzz;
pub use names::Unit;

use crate::error::{Error, Result};
use crate::spec::Resources;
use bus::{Bus, MANAGER, MANAGER_PATH, SYSTEMD};
use message::{Call, Reader, Writer};
use rustix::process::Pid;
use std::path::{Path, PathBuf};

impl Unit {
    /// Makes the scope with a first process in it, and waits until it is there.
    ///
    /// # Errors
    /// systemd cannot be reached, or says why not.
    pub(crate) fn start(
        &self,
        pid: Pid,
        resources: &Resources,
        is_v2: bool,
        id: &str,
    ) -> Result<()> {
        let mut bus = Bus::connect(self.is_user)?;
        let pid = pid.as_raw_nonzero().get() as u32;
        let mut properties =
            properties::fixed(format!("rune container {id}"), &self.slice, pid, is_v2);
        properties.extend(properties::limits(resources, is_v2, true));
        let mut body = Writer::default();
        body.text(&self.name);
        body.text("fail");
        body.properties(&properties);
        body.no_units();
        let mut start = || bus.manager("StartTransientUnit", "ssa(sv)a(sa(sv))", &body.bytes);
        let answer = match start() {
            // A scope of this name failed before and is remembered for that alone.
            Err(Error::Systemd { reason, .. }) if reason.contains("UnitExists") => {
                self.reset(&mut bus)?;
                bus.manager("StartTransientUnit", "ssa(sv)a(sa(sv))", &body.bytes)?
            }
            other => other?,
        };
        self.wait(&mut bus, &answer, "start")
    }

    /// Changes the scope's limits until it ends.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub(crate) fn set(&self, resources: &Resources, is_v2: bool) -> Result<()> {
        let properties = properties::limits(resources, is_v2, false);
        if properties.is_empty() {
            return Ok(());
        }
        let mut bus = Bus::connect(self.is_user)?;
        let mut body = Writer::default();
        body.text(&self.name);
        body.bool(true);
        body.properties(&properties);
        bus.manager("SetUnitProperties", "sba(sv)", &body.bytes).map(drop)
    }

    /// Ends the scope. One that is gone already, or a systemd that is, is no failure: the groups are removed
    /// by their paths afterwards, and an empty scope ends by itself.
    pub(crate) fn stop(&self) {
        let Ok(mut bus) = Bus::connect(self.is_user) else { return };
        let mut body = Writer::default();
        body.text(&self.name);
        body.text("replace");
        if let Ok(answer) = bus.manager("StopUnit", "ss", &body.bytes) {
            let _ = self.wait(&mut bus, &answer, "stop");
        }
        let _ = self.reset(&mut bus);
    }

    fn reset(&self, bus: &mut Bus) -> Result<()> {
        let mut body = Writer::default();
        body.text(&self.name);
        bus.manager("ResetFailedUnit", "s", &body.bytes).map(drop)
    }

    fn wait(&self, bus: &mut Bus, answer: &[u8], operation: &str) -> Result<()> {
        let job = Reader::new(answer).text().unwrap_or_default().to_owned();
        let result = bus.wait(&job)?;
        if result == "done" {
            return Ok(());
        }
        let operation = format!("{operation} {}", self.name);
        Err(Error::Systemd { operation, reason: format!("the job ended as {result:?}") })
    }
}

/// The group of a user's manager, below the top of each hierarchy: its units are below it.
///
/// # Errors
/// There is no such manager.
pub(crate) fn user_group() -> Result<PathBuf> {
    let mut bus = Bus::connect(true)?;
    let mut body = Writer::default();
    body.text(MANAGER);
    body.text("ControlGroup");
    let call = Call {
        destination: SYSTEMD,
        path: MANAGER_PATH,
        interface: "org.freedesktop.DBus.Properties",
        member: "Get",
        signature: "ss",
    };
    let answer = bus.call(call, &body.bytes)?;
    let mut reader = Reader::new(&answer);
    let text = reader.signature().filter(|s| *s == "s").and_then(|_| reader.text());
    let Some(path) = text.and_then(|t| t.strip_prefix('/')) else {
        let operation = "read ControlGroup of the user's manager".into();
        return Err(Error::Systemd { operation, reason: "no path".into() });
    };
    Ok(Path::new(path).to_owned())
}
