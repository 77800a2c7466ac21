//! `sd_notify` of a container: `READY=1` of its program reaches whoever started the runtime.
//!
//! The container gets a socket of its own, in its directory, and not the manager's: of what it sends only
//! the readiness is passed on, with the process id as the host numbers it (a container's own number, or a
//! request to store descriptors, means nothing to the manager or too much).

use crate::error::{Error, Result};
use crate::spec::{Mount, Spec};
use crate::state::Directory;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};

const DIRECTORY: &str = "notify";
const SOCKET: &str = "notify/notify.sock";
const INSIDE: &str = "/run/notify";

/// The container's end, and the manager's address.
#[derive(Debug)]
pub struct Notify {
    socket: UnixDatagram,
    manager: PathBuf,
    pid: i32,
}

/// Makes the directory of the socket and tells the container where it is.
///
/// # Errors
/// As `mkdir`.
pub(crate) fn prepare(directory: &Directory, spec: &mut Spec) -> Result<()> {
    let path = directory.path().join(DIRECTORY);
    std::fs::create_dir(&path).map_err(|e| Error::os_io("make", &path, &e))?;
    spec.mounts.push(Mount {
        destination: INSIDE.into(),
        kind: "bind".into(),
        source: path.display().to_string(),
        options: ["bind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned).to_vec(),
        ..Mount::default()
    });
    if let Some(process) = &mut spec.process {
        process.env.retain(|e| !e.starts_with("NOTIFY_SOCKET="));
        process.env.push(format!("NOTIFY_SOCKET={INSIDE}/notify.sock"));
    }
    Ok(())
}

impl Notify {
    /// Listens, before the program runs. `None` if the container was made without such a socket.
    ///
    /// # Errors
    /// As `bind(2)`.
    pub fn listen(directory: &Directory, manager: &Path, pid: i32) -> Result<Option<Self>> {
        if !directory.has(DIRECTORY) {
            return Ok(None);
        }
        let path = directory.path().join(SOCKET);
        let _ = std::fs::remove_file(&path);
        let failed = |e: std::io::Error| Error::os_io("listen on", &path, &e);
        // By descriptor: the address has room for 107 bytes only.
        let socket = UnixDatagram::bind(directory.socket_path(SOCKET)).map_err(failed)?;
        // Any user of the container may send.
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).map_err(failed)?;
        Ok(Some(Self { socket, manager: manager.to_owned(), pid }))
    }

    /// Reads what came. True when it was the readiness, which has then been passed on.
    pub(crate) fn is_ready(&self) -> bool {
        let mut buffer = [0u8; 4096];
        let Ok(n) = self.socket.recv(&mut buffer) else { return false };
        let message = buffer.get(..n).unwrap_or_default();
        if !message.split(|b| *b == b'\n').any(|line| line == b"READY=1") {
            return false;
        }
        let text = format!("MAINPID={}\nREADY=1\n", self.pid);
        let _ = self.send(text.as_bytes());
        true
    }

    fn send(&self, message: &[u8]) -> std::io::Result<()> {
        let bytes = self.manager.as_os_str().as_encoded_bytes();
        let address = match bytes.split_first() {
            Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(&self.manager)?,
        };
        UnixDatagram::unbound()?.send_to_addr(message, &address).map(drop)
    }

    /// Waits for the readiness, or the end of the container.
    ///
    /// # Errors
    /// As `poll(2)`.
    pub fn wait(&self, pidfd: &OwnedFd) -> Result<()> {
        loop {
            let mut fds = [
                PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN),
            ];
            rustix::io::retry_on_intr(|| poll(&mut fds, None))
                .map_err(Error::os("wait for", "READY=1"))?;
            let [ready, ended] = fds.map(|fd| !fd.revents().is_empty());
            if (ready && self.is_ready()) || (ended && !ready) {
                return Ok(());
            }
        }
    }
}

impl AsFd for Notify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
