//! What makes quotes for an enclave: Intel's daemon on hardware, the emulated platform in this process otherwise.
//!
//! Opened here, in the host's view: init-runelet is in the container's root when the enclave asks. An enclave
//! whose manifest lists neither quotes nor bound evidence and has no attester cannot ask, and nothing is opened.

use super::machine::Machine;
use crate::global::Globals;
use crate::log::Level;
use emulated_platform::{DEFAULT_DIRECTORY, Platform};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use urts::QuoteService;
use workload::manifest::Manifest;

/// System calls of the daemon's client, besides the runtime's own.
pub(crate) const SYSCALLS_DAEMON: &[&str] = &["connect", "setsockopt", "socket"];

type Failed = Box<dyn Error + Send + Sync>;

/// The service for what the manifest asks for. None, with a warning, where this host has none: the program gets
/// ENODEV when it asks, and may not ask.
pub(crate) fn service(
    globals: &Globals,
    machine: &Machine,
    manifest: &Manifest,
) -> Option<Arc<dyn QuoteService>> {
    let mut files = manifest.attestation.files.iter();
    if manifest.attester.is_none() && !files.any(|file| file == "quote" || file == "bound") {
        return None;
    }
    open_service(machine.is_emulated())
        .inspect_err(|error| {
            let line =
                format!("quotes: the manifest asks for them and this host has none: {error}");
            globals.log.line(Level::Warning, &line);
        })
        .ok()
}

/// The service of this host.
///
/// # Errors
/// This host has none.
pub(crate) fn open_service(is_emulated: bool) -> Result<Arc<dyn QuoteService>, Failed> {
    if is_emulated {
        let platform = Platform::open(Path::new(DEFAULT_DIRECTORY))?;
        Ok(Arc::new(Emulated(platform)))
    } else {
        Ok(Arc::new(Daemon::open(Path::new(aesm::DEFAULT_SOCKET))?))
    }
}

/// The emulator's quoting enclave.
struct Emulated(Platform);

impl fmt::Debug for Emulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the keys.
        f.write_str("Emulated(..)")
    }
}

impl QuoteService for Emulated {
    fn target_info(&self) -> Result<[u8; 512], Failed> {
        Ok(self.0.target_info())
    }

    fn quote(&self, report: &[u8; 432]) -> Result<Vec<u8>, Failed> {
        Ok(self.0.quote(report)?)
    }
}

/// Intel's daemon. Its socket is reached through a descriptor, since its path is gone in the container; that
/// takes a /proc there. Not yet run on hardware.
#[derive(Debug)]
struct Daemon {
    client: aesm::Client,
    /// Keeps the number in the client's path.
    _socket: OwnedFd,
}

impl Daemon {
    fn open(socket: &Path) -> Result<Self, Failed> {
        let socket = open(socket, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| format!("{}: {}", socket.display(), std::io::Error::from(errno)))?;
        let client = aesm::Client::new(format!("/proc/self/fd/{}", socket.as_raw_fd()));
        Ok(Self { client, _socket: socket })
    }
}

impl QuoteService for Daemon {
    fn target_info(&self) -> Result<[u8; 512], Failed> {
        Ok(self.client.target_info()?)
    }

    fn quote(&self, report: &[u8; 432]) -> Result<Vec<u8>, Failed> {
        Ok(self.client.quote(report)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixListener;

    /// The container's root hides the path; the descriptor still leads to the daemon.
    #[test]
    fn the_daemon_is_reached_after_its_path_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("aesm.socket");
        let listener = UnixListener::bind(&path).unwrap();
        let daemon = Daemon::open(&path).unwrap();
        std::fs::rename(&path, directory.path().join("elsewhere")).unwrap();
        let asked = std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let mut length = [0; 4];
            connection.read_exact(&mut length).unwrap();
            u32::from_le_bytes(length)
        });
        // The double hangs up after the first request.
        daemon.target_info().unwrap_err();
        assert_ne!(asked.join().unwrap(), 0);
        let missing = Daemon::open(&path).unwrap_err().to_string();
        assert!(missing.contains("aesm.socket: No such file"), "{missing}");
    }
}
