//! A container's directory, `<root>/<id>`, and what is in it.
//!
//! - `state.json`: written once, whole or not at all (a temporary file, then `rename`), before the
//!   container gets any cgroup: whatever is made later can be found and removed from it.
//! - `config.json`: the configuration as it was at `create`, for `exec` and hooks.
//! - `start.sock`: there while the container waits for `start`. Its name is `start.new` until the
//!   container is completely set up.
//! - `agent.sock`: of an enclave container, where `exec` sessions come in.
//!
//! A container's status is never stored: it is what the kernel says of its process.

use crate::cgroup::{Cgroups, freezer};
use crate::error::{Error, Result};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Longest id: a file name, and room for a suffix.
const MAX_ID: usize = 250;

/// `state.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Specification version of the configuration.
    pub oci_version: String,
    /// Container id.
    pub id: String,
    /// First process, as the host numbers it; 0 before there is one.
    pub pid: i32,
    /// Clock ticks since boot at which it started, to tell it from a later process of the same number.
    pub start_time: u64,
    /// Absolute path.
    pub bundle: PathBuf,
    /// Absolute path.
    pub rootfs: PathBuf,
    /// RFC 3339.
    pub created: String,
    /// User name of who created it.
    pub owner: String,
    /// The configuration's, and ours for an enclave.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Its groups.
    #[serde(default)]
    pub cgroups: Cgroups,
    /// `CLONE_NEW*` bits of the namespaces that are the container's own or were joined.
    #[serde(default)]
    pub namespaces: u64,
    /// Its resctrl groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rdt: Option<crate::rdt::Groups>,
    /// Set for a container whose first process is init-runelet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enclave: Option<EnclaveState>,
}

/// What is known of an enclave container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnclaveState {
    /// `enclave.type`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether no hardware protects it.
    pub emulated: bool,
    /// Lower-case hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mrenclave: Option<String>,
    /// Lower-case hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mrsigner: Option<String>,
    /// Whether the administrator's verifier is to look at its quote when it starts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub attested_at_start: bool,
}

/// Status as the specification names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    /// As `state` prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// A container's state as hooks get it and `state` prints it.
#[derive(Clone, Debug, Default)]
pub struct HookState {
    /// Specification version of the configuration.
    pub oci_version: String,
    /// Container id.
    pub id: String,
    /// Absolute path.
    pub bundle: PathBuf,
    /// The configuration's.
    pub annotations: BTreeMap<String, String>,
}

impl HookState {
    /// One line of JSON.
    #[must_use]
    pub fn json(&self, pid: i32, status: Status) -> String {
        let mut value = serde_json::json!({
            "ociVersion": self.oci_version,
            "id": self.id,
            "status": status.name(),
            "pid": pid,
            "bundle": self.bundle,
        });
        if !self.annotations.is_empty() {
            value["annotations"] = serde_json::json!(self.annotations);
        }
        value.to_string()
    }
}

impl From<&State> for HookState {
    fn from(state: &State) -> Self {
        Self {
            oci_version: state.oci_version.clone(),
            id: state.id.clone(),
            bundle: state.bundle.clone(),
            annotations: state.annotations.clone(),
        }
    }
}

/// An id is a file name and nothing else.
///
/// # Errors
/// [`Error::Id`].
pub fn check_id(id: &str) -> Result<()> {
    let refuse = |reason| Err(Error::Id { id: id.chars().take(64).collect::<String>(), reason });
    if id.is_empty() {
        return refuse("it is empty");
    }
    if id.len() > MAX_ID {
        return refuse("it is longer than 250 characters");
    }
    if id == "." || id == ".." {
        return refuse("it names a directory");
    }
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"_+-.".contains(&b);
    if !id.bytes().all(is_allowed) {
        return refuse("only letters, digits and _ + - . are allowed");
    }
    Ok(())
}

/// An open container directory.
#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
    path: PathBuf,
    id: String,
}

impl Directory {
    /// Makes the directory of a new container, and `root` with the ones above it.
    ///
    /// # Errors
    /// [`Error::Exists`] if the id is taken; as `mkdir`.
    pub fn create(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        let path = root.join(id);
        match rustix::fs::mkdir(&path, Mode::from_raw_mode(0o711)) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(Error::Exists { id: id.into() }),
            Err(Errno::NOENT) => {
                use std::os::unix::fs::DirBuilderExt;
                std::fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o711)
                    .create(root)
                    .map_err(|e| Error::os_io("make", root, &e))?;
                rustix::fs::mkdir(&path, Mode::from_raw_mode(0o711)).map_err(|e| match e {
                    Errno::EXIST => Error::Exists { id: id.into() },
                    e => Error::os("make", &path)(e),
                })?;
            }
            Err(e) => return Err(Error::os("make", &path)(e)),
        }
        Self::open(root, id)
    }

    /// Opens the directory of a container.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn open(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        let path = root.join(id);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(fd) => Ok(Self { fd, path, id: id.to_owned() }),
            Err(Errno::NOENT | Errno::NOTDIR) => Err(Error::NotFound { id: id.into() }),
            Err(e) => Err(Error::os("open", &path)(e)),
        }
    }

    /// The directory.
    #[must_use]
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The container's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A path to a socket in it that fits the 107 bytes of a socket address whatever the id is.
    #[must_use]
    pub fn socket_path(&self, name: &str) -> String {
        format!("{}/{name}", crate::rootfs::resolve::fd_path(&self.fd))
    }

    /// Writes `config.json`, before there is a `state.json`: the one that is there then is whole.
    ///
    /// # Errors
    /// As `open` and `write`.
    pub(crate) fn set_config(&self, bytes: &[u8]) -> Result<()> {
        self.write_new("config.json", bytes)
            .map_err(Error::os("write", self.path.join("config.json")))
    }

    /// Writes a file whole or not at all.
    ///
    /// # Errors
    /// As `open`, `write` and `rename`; nothing is left of a failed attempt but a temporary file, which
    /// goes with the directory.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let temporary = format!(".{name}.new");
        self.write_new(&temporary, bytes)
            .and_then(|()| rustix::fs::renameat(&self.fd, &temporary, &self.fd, name))
            .map_err(Error::os("write", self.path.join(name)))
    }

    fn write_new(&self, name: &str, bytes: &[u8]) -> std::result::Result<(), Errno> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o600))?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let n = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest))?;
            rest = rest.get(n..).unwrap_or_default();
        }
        Ok(())
    }

    /// Reads a file.
    ///
    /// # Errors
    /// As `open` and `read`.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        use std::io::Read;
        let failed = |operation| Error::os(operation, self.path.join(name));
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd =
            rustix::fs::openat(&self.fd, name, flags, Mode::empty()).map_err(failed("read"))?;
        let mut bytes = Vec::new();
        std::fs::File::from(fd)
            .take(crate::spec::MAX_CONFIG_BYTES)
            .read_to_end(&mut bytes)
            .map_err(|e| Error::os_io("read", self.path.join(name), &e))?;
        Ok(bytes)
    }

    /// `state.json`.
    ///
    /// # Errors
    /// It is missing, cut short or not ours.
    pub fn state(&self) -> Result<State> {
        let bytes = self.read("state.json")?;
        crate::spec::parse_json(&self.path.join("state.json"), &bytes)
    }

    /// Writes `state.json`.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn set_state(&self, state: &State) -> Result<()> {
        // A map with string keys and plain fields always serialises.
        let bytes = serde_json::to_vec(state).unwrap_or_default();
        self.write("state.json", &bytes)
    }

    /// Whether a name exists in it.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// The container's status.
    #[must_use]
    pub fn status(&self, state: &State) -> Status {
        if state.pid == 0 {
            return Status::Creating;
        }
        match process(state.pid) {
            Some((start_time, code))
                if start_time == state.start_time && !b"ZX".contains(&code) =>
            {
                if self.has("start.sock") {
                    Status::Created
                } else if self.has("start.new") {
                    Status::Creating
                } else if freezer::is_frozen(&state.cgroups) {
                    Status::Paused
                } else {
                    Status::Running
                }
            }
            _ => Status::Stopped,
        }
    }

    /// A descriptor of the container's first process, if it is alive.
    #[must_use]
    pub fn pidfd(&self, state: &State) -> Option<OwnedFd> {
        let fd = pidfd_open(Pid::from_raw(state.pid)?, PidfdFlags::empty()).ok()?;
        // After the descriptor is open the number cannot change hands.
        match process(state.pid) {
            Some((start_time, code))
                if start_time == state.start_time && !b"ZX".contains(&code) =>
            {
                Some(fd)
            }
            _ => None,
        }
    }

    /// Removes the directory with all that is in it.
    ///
    /// # Errors
    /// As `unlink`.
    pub fn remove(self) -> Result<()> {
        let unlink = |name: &str| {
            let _ = rustix::fs::unlinkat(&self.fd, name, AtFlags::empty());
        };
        let remove = || rustix::fs::unlinkat(rustix::fs::CWD, &self.path, AtFlags::REMOVEDIR);
        // The state goes last: what a crash leaves is still known to be a container's.
        unlink("config.json");
        unlink("state.json");
        // These are all that there is of a container that has run, mostly.
        match remove() {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTEMPTY) => {}
            Err(e) => return Err(Error::os("remove", &self.path)(e)),
        }
        std::fs::remove_dir_all(&self.path).map_err(|e| Error::os_io("remove", &self.path, &e))
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> rustix::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Start time in clock ticks and state letter of a process, from `/proc/PID/stat`.
#[must_use]
pub fn process(pid: i32) -> Option<(u64, u8)> {
    let path = format!("/proc/{pid}/stat");
    let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut buffer = [0u8; 1024];
    let n = rustix::io::read(&fd, &mut buffer).ok()?;
    parse_stat(buffer.get(..n)?)
}

/// The name may hold blanks and brackets: fields count from the last `)`.
fn parse_stat(text: &[u8]) -> Option<(u64, u8)> {
    let end = text.iter().rposition(|b| *b == b')')?;
    let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let code = *fields.next()?.as_bytes().first()?;
    let start_time = fields.nth(18)?.parse().ok()?;
    Some((start_time, code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_file_names() {
        for good in ["a", "A_1+b-c.d", ".hidden", &"x".repeat(250)] {
            check_id(good).unwrap();
        }
        for bad in ["", ".", "..", "a/b", "a b", "a\n", "ä", &"x".repeat(1000)] {
            assert!(check_id(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_process_name_cannot_forge_the_fields() {
        let text = b"7 (a) Z 1 (b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(parse_stat(text), Some((4711, b'S')));
        assert_eq!(parse_stat(b"7 (a"), None);
        assert!(process(std::process::id() as i32).is_some());
    }

    #[test]
    fn state_is_whole_or_absent() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::create(root.path(), "x").unwrap();
        assert!(matches!(Directory::create(root.path(), "x"), Err(Error::Exists { .. })));
        assert!(directory.state().is_err());
        let state = State { id: "x".into(), pid: 1, ..State::default() };
        directory.set_state(&state).unwrap();
        assert_eq!(directory.state().unwrap(), state);
        assert_eq!(directory.status(&state), Status::Stopped, "pid 1 started at another time");
        let bytes = directory.read("state.json").unwrap();
        for length in 0..bytes.len() {
            directory.write("state.json", &bytes[..length]).unwrap();
            assert!(directory.state().is_err());
        }
        directory.remove().unwrap();
        assert!(matches!(Directory::open(root.path(), "x"), Err(Error::NotFound { .. })));
    }
}
