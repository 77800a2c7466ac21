//! The daemon's side: a quoting service behind a Unix socket.
//!
//! A peer is any program on the host. It gets one answer per connection. What it can use up is bounded: the
//! length of a message, the time from connecting to closing, and how many are served at once; more wait in
//! the socket's queue.

mod answer;
mod refusal;

use crate::att_key_id::AttKeyId;
use crate::client::{REPORT_SIZE, TARGETINFO_SIZE};
use crate::frame::{FrameError, Timed, read_frame, write_frame};
pub use answer::{Answer, answer};
use prost::Message;
pub use refusal::Refusal;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// What quotes.
pub trait QuotingService: Send + Sync + 'static {
    /// Why a report is not quoted.
    type Error: core::fmt::Display;

    /// The only attestation key.
    fn key_id(&self) -> AttKeyId;
    /// A digest of its public key.
    fn public_key_id(&self) -> [u8; 32];
    /// What an enclave must make its report for.
    fn target_info(&self) -> [u8; TARGETINFO_SIZE];
    /// Length of every quote in bytes.
    fn quote_size(&self) -> u32;
    /// A quote.
    ///
    /// # Errors
    /// The report is not good.
    fn quote(&self, report: &[u8; REPORT_SIZE]) -> Result<Vec<u8>, Self::Error>;
    /// The quoting enclave's report for `target`, with SHA-256(`nonce` ‖ `quote`) in its report data.
    ///
    /// # Errors
    /// The target is not good.
    fn quote_report(
        &self,
        target: &[u8; TARGETINFO_SIZE],
        nonce: &[u8; 16],
        quote: &[u8],
    ) -> Result<[u8; REPORT_SIZE], Self::Error>;
}

/// What peers can use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many are served at once, one thread each.
    pub connections: usize,
    /// How long one may take, all together.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 64, time: Duration::from_secs(5) }
    }
}

/// What is worth a line in a log.
#[derive(Debug)]
pub enum Event<E> {
    /// A peer was refused.
    Refused(Refusal<E>),
    /// A peer sent no whole message, or did not take its answer.
    Broken(FrameError),
    /// No connection can be had from the socket, or no thread for it.
    Accept(io::ErrorKind),
}

impl<E: core::fmt::Display> core::fmt::Display for Event<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Broken(error) => error.fmt(f),
            Self::Accept(kind) => write!(f, "accept: {kind}"),
        }
    }
}

/// A socket that listens. Dropped, it removes its file.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
}

impl Server {
    /// Listens on `path`, for every user of the host: a report's MAC says what may be quoted, not who asks.
    /// A socket that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// Somebody listens there, or it is no socket (`AddrInUse`); whatever else binding gives.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let is_stale = || {
            fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
                && UnixStream::connect(path)
                    .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        };
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale() => {
                fs::remove_file(path)?;
                UnixListener::bind(path)?
            }
            other => other?,
        };
        fs::set_permissions(path, Permissions::from_mode(0o666))?;
        Ok(Self { listener, path: path.to_path_buf() })
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Serves, for as long as the process lives. `log` gets what goes wrong, from any thread.
    pub fn serve<S: QuotingService>(
        &self,
        service: &Arc<S>,
        limits: Limits,
        log: fn(&Event<S::Error>),
    ) -> ! {
        let slots = Arc::new(Slots { free: Mutex::new(limits.connections), freed: Condvar::new() });
        loop {
            let slot = Slots::take(&slots);
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) => {
                    log(&Event::Accept(error.kind()));
                    // Out of descriptors or memory: trying again at once would only spin.
                    thread::sleep(Duration::from_millis(100));
                    continue;
                }
            };
            let service = Arc::clone(service);
            let serve = move || {
                let _slot = slot;
                serve_one(&*service, stream, limits.time, log);
            };
            // Out of threads: this peer is closed, and the next one tried.
            if let Err(error) = thread::Builder::new().spawn(serve) {
                log(&Event::Accept(error.kind()));
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn serve_one<S: QuotingService>(
    service: &S,
    stream: UnixStream,
    limit: Duration,
    log: fn(&Event<S::Error>),
) {
    let mut stream = Timed::new(stream, limit);
    let message = match read_frame(&mut stream) {
        Ok(message) => message,
        // One that only looks whether somebody listens.
        Err(FrameError::Closed) => return,
        Err(error) => return log(&Event::Broken(error)),
    };
    let answer = answer(service, &message);
    if let Some(refusal) = answer.refusal {
        log(&Event::Refused(refusal));
    }
    if let Err(error) = write_frame(&mut stream, &answer.response.encode_to_vec()) {
        log(&Event::Broken(error));
    }
}

/// How many more may be served.
struct Slots {
    free: Mutex<usize>,
    freed: Condvar,
}

/// One of them; given back when dropped.
struct Slot(Arc<Slots>);

impl Slots {
    fn take(slots: &Arc<Self>) -> Slot {
        let free = slots.free.lock().unwrap_or_else(PoisonError::into_inner);
        let is_none = |free: &mut usize| *free == 0;
        let mut free =
            slots.freed.wait_while(free, is_none).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Slot(Arc::clone(slots))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}
