//! The handle of a running enclave.

use crate::block::Block;
use crate::end::{ExitStatus, SessionEnd, StopReason, driver_message};
use crate::load::{self, SgxsError};
use crate::log::{Level, Log};
use crate::pack::Pack;
use crate::pool::{Pool, SpawnError, Worker};
use crate::process::{bound_arenas, ignore_sigpipe, raise_descriptor_limit, spawn_masked};
use crate::run;
use crate::service::clock::Clock;
use crate::service::events::Events;
use crate::service::files::Files;
use crate::service::quotes::{QuoteService, Quotes};
use crate::service::reports::Reports;
use crate::service::sessions::Sessions;
use crate::service::streams::Streams;
use crate::service::watcher::Watcher;
use hostcall::{DATA_SIZE, Event, REPORT_SIZE, TARGETINFO_SIZE};
use rustix::io::Errno;
use sgx::driver::{self, Driver, DriverError};
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How to run an enclave.
#[derive(Clone, Debug)]
pub struct Options {
    /// Most host threads that the enclave's threads may use. The manifest's maximum binds inside; this one
    /// protects the host.
    pub max_threads: usize,
    /// Threads kept ready beyond those in use.
    pub spare_threads: usize,
    /// Lines for the operator.
    pub log: Log,
    /// What makes quotes; without it the enclave has none (ENODEV).
    pub quotes: Option<Arc<dyn QuoteService>>,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_threads: 1024, spare_threads: 2, log: Log::discard(), quotes: None }
    }
}

/// How long a dropped handle waits for the enclave's threads.
const LEAVE_TIME: Duration = Duration::from_millis(200);

/// A loaded enclave.
///
/// All methods take `&self` and may be called from several threads. Dropping the handle stops the enclave and waits
/// for its threads to leave, so that another can be loaded, but not for long: a thread that is inside, ignores its
/// kick and makes no call stays there until the process ends.
pub struct Enclave {
    shared: Arc<Shared>,
}

impl Enclave {
    /// Loads the pack's enclave and initialises it. `root` is the directory whose files the enclave may read.
    ///
    /// Nothing of the enclave runs yet. SIGPIPE is ignored from now on in this process unless it has a handler, its
    /// soft limit of descriptors is the hard one, and it must not fork any more.
    ///
    /// # Errors
    /// What is wrong with the pack, or what the driver refused.
    pub fn load<D>(
        driver: &D,
        pack: Pack,
        root: OwnedFd,
        options: Options,
    ) -> Result<Self, LoadError>
    where
        D: Driver,
        D::Enclave: 'static,
    {
        let (enclave, first_tcs) = load::load(driver, &pack)?;
        ignore_sigpipe();
        bound_arenas();
        raise_descriptor_limit();
        let log = options.log.mark_emulated(D::EMULATED);
        let events = Arc::new(Events::default());
        let watcher = Arc::new(Watcher::new(Arc::clone(&events)).map_err(LoadError::Os)?);
        let shared = Arc::new(Shared {
            enclave: Box::new(enclave),
            files: Files::new(root, pack.metadata, pack.trees),
            streams: Streams::new(Arc::clone(&watcher)),
            sessions: Sessions::default(),
            events,
            clock: Clock::new(),
            quotes: Quotes::new(options.quotes, log.clone()),
            reports: Reports::default(),
            log,
            pool: Pool::new(options.max_threads, options.spare_threads),
            first_tcs,
            watcher,
            has_ended: AtomicBool::new(false),
            end: Mutex::new(None),
            ended: Condvar::new(),
        });
        shared.start_watcher().map_err(LoadError::Os)?;
        Ok(Self { shared })
    }

    /// Starts the container's first process: session 0, with streams 0, 1 and 2. `request` is a
    /// `workload::Request` as JSON, which the enclave checks against its manifest.
    ///
    /// # Errors
    /// A request over 1 MiB, no thread, or started before.
    pub fn start(&self, request: Vec<u8>, streams: [OwnedFd; 3]) -> Result<(), HandleError> {
        let shared = &self.shared;
        if shared.has_ended() {
            return Err(HandleError::Ended(shared.wait()));
        }
        if shared.sessions.is_live(0) {
            return Err(HandleError::Started);
        }
        shared.sessions.add_first(request).map_err(|long| HandleError::RequestTooLong(long.got))?;
        shared.streams.add(streams).map_err(HandleError::Os)?;
        shared.log.line(Level::Info, "enclave started");
        shared.spawn(shared.first_tcs).map_err(|error| match error {
            SpawnError::Busy => HandleError::Started,
            SpawnError::Exhausted => HandleError::Os(Errno::AGAIN),
            SpawnError::Closed => HandleError::Ended(shared.wait()),
        })
    }

    /// Sends a signal to the first process of a session; 0 is the container's. Whether it is delivered is for the
    /// enclave to decide by its manifest.
    ///
    /// # Errors
    /// A number outside 1..=64, no such session, or the enclave ended.
    pub fn signal(&self, session: u32, signal: u8) -> Result<(), HandleError> {
        if !(1..=64).contains(&signal) {
            return Err(HandleError::Signal(signal));
        }
        self.tell(session, Event::Signal { session, signal })
    }

    /// Tells a session that the size of its terminal changed; it reads the new one from its stream.
    ///
    /// # Errors
    /// No such session, or the enclave ended.
    pub fn window_size(&self, session: u32) -> Result<(), HandleError> {
        self.tell(session, Event::WindowSize { session })
    }

    /// Asks for another process in the container and gives its session. `request` is a `workload::Request` as
    /// JSON; [`wait_session`](Self::wait_session) tells whether it was refused.
    ///
    /// # Errors
    /// A request over 1 MiB, unusable descriptors, or the enclave ended.
    pub fn exec(&self, request: Vec<u8>, streams: [OwnedFd; 3]) -> Result<u32, HandleError> {
        let shared = &self.shared;
        let request_length = request.len() as u32;
        let session = shared
            .sessions
            .add(request)
            .map_err(|long| HandleError::RequestTooLong(long.got))?
            .map_err(HandleError::Ended)?;
        let streams = shared.streams.add(streams).map_err(HandleError::Os)?;
        shared.events.push(Event::Exec { session, request_length, streams });
        Ok(session)
    }

    /// Waits for the end of an exec session. Each session is waited for once.
    ///
    /// # Errors
    /// No such session.
    pub fn wait_session(&self, session: u32) -> Result<SessionEnd, HandleError> {
        self.shared.sessions.wait(session).ok_or(HandleError::Session(session))
    }

    /// Waits for the end of the enclave.
    #[must_use]
    pub fn wait(&self) -> ExitStatus {
        self.shared.wait()
    }

    /// How the enclave ended, if it did.
    #[must_use]
    pub fn status(&self) -> Option<ExitStatus> {
        self.shared.status()
    }

    /// Stops the enclave: no thread enters it again, and threads inside are interrupted.
    pub fn stop(&self) {
        self.shared.end(ExitStatus::Stopped(StopReason::Asked));
    }

    /// A REPORT of the running enclave for the one that `target` names. Its report data is zeros.
    ///
    /// # Errors
    /// Not started, ended, or it makes none for this target.
    pub fn local_report(
        &self,
        target: &[u8; TARGETINFO_SIZE],
    ) -> Result<[u8; REPORT_SIZE], HandleError> {
        let shared = &self.shared;
        if shared.status().is_none() && !shared.sessions.is_live(0) {
            return Err(HandleError::NotStarted);
        }
        let ticket = shared.reports.want(target);
        shared.events.push(Event::Report { ticket });
        shared.reports.wait(ticket).map_err(HandleError::Ended)?.ok_or(HandleError::NoReport)
    }

    /// Whether the driver is an emulator. Outputs for people repeat it.
    #[must_use]
    pub fn is_emulated(&self) -> bool {
        self.shared.log.is_emulated()
    }

    fn tell(&self, session: u32, event: Event) -> Result<(), HandleError> {
        if let Some(status) = self.shared.status() {
            return Err(HandleError::Ended(status));
        }
        if !self.shared.sessions.is_live(session) {
            return Err(HandleError::Session(session));
        }
        self.shared.events.push(event);
        Ok(())
    }
}

impl Drop for Enclave {
    fn drop(&mut self) {
        self.stop();
        let deadline = Instant::now() + LEAVE_TIME;
        // Each thread holds a reference until it is done with the enclave.
        while Arc::strong_count(&self.shared) > 1 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

impl fmt::Debug for Enclave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enclave")
            .field("is_emulated", &self.is_emulated())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// What all threads of one enclave share.
pub(crate) struct Shared {
    pub(crate) enclave: Box<dyn driver::Enclave>,
    pub(crate) files: Files,
    pub(crate) streams: Streams,
    pub(crate) sessions: Sessions,
    pub(crate) events: Arc<Events>,
    pub(crate) clock: Clock,
    pub(crate) quotes: Quotes,
    pub(crate) reports: Reports,
    pub(crate) log: Log,
    pub(crate) pool: Pool,
    first_tcs: u64,
    watcher: Arc<Watcher>,
    has_ended: AtomicBool,
    end: Mutex<Option<ExitStatus>>,
    ended: Condvar,
}

impl Shared {
    /// Whether no thread may enter any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// Ends the enclave; the first status counts.
    pub(crate) fn end(&self, status: ExitStatus) {
        if self.has_ended.swap(true, Ordering::AcqRel) {
            return;
        }
        let level =
            if matches!(status, ExitStatus::Exited(_)) { Level::Info } else { Level::Error };
        self.log.line(level, &format!("enclave ended: {status}"));
        self.sessions.end_all(&status);
        self.reports.end_all(&status);
        self.events.close();
        for tcs in self.pool.close() {
            self.enclave.kick(tcs);
        }
        self.watcher.wake();
        // Last: a caller that waits may end the process as soon as it sees the status.
        *self.end.lock().expect("no panic under the lock") = Some(status);
        self.ended.notify_all();
    }

    fn status(&self) -> Option<ExitStatus> {
        self.end.lock().expect("no panic under the lock").clone()
    }

    fn wait(&self) -> ExitStatus {
        let mut end = self.end.lock().expect("no panic under the lock");
        loop {
            if let Some(status) = &*end {
                return status.clone();
            }
            end = self.ended.wait(end).expect("no panic under the lock");
        }
    }

    /// Has a host thread enter `tcs`.
    pub(crate) fn spawn(self: &Arc<Self>, tcs: u64) -> Result<(), SpawnError> {
        self.pool.start(tcs, |worker| self.start_thread(worker))?;
        if self.pool.is_short() {
            self.watcher.wake();
        }
        Ok(())
    }

    /// Starts the thread that watches streams and keeps the reserve of threads.
    fn start_watcher(self: &Arc<Self>) -> Result<(), Errno> {
        let shared = Arc::clone(self);
        spawn_masked("watcher", move || {
            shared.watcher.run(|| {
                while shared.pool.is_short() {
                    if !shared.pool.add_spare(|worker| shared.start_thread(worker)) {
                        break;
                    }
                }
                !shared.has_ended()
            });
        })?;
        self.watcher.wake();
        Ok(())
    }

    fn start_thread(self: &Arc<Self>, worker: Arc<Worker>) -> bool {
        let Ok(block) = Block::new() else { return false };
        let shared = Arc::clone(self);
        spawn_masked("enclave", move || shared.work(&worker, &block)).is_ok()
    }

    /// A host thread's life.
    fn work(self: &Arc<Self>, worker: &Arc<Worker>, block: &Block) {
        let mut scratch = Box::new([0; DATA_SIZE]);
        while let Some(tcs) = worker.next_task() {
            let ended_itself = run::run(self, worker, block, &mut scratch, tcs);
            if ended_itself && tcs == self.first_tcs {
                self.end(ExitStatus::Stopped(StopReason::FirstThreadEnded));
            }
            if !self.pool.finished(tcs, worker) {
                return;
            }
        }
    }
}

/// A pack that does not become an enclave.
#[derive(Debug)]
pub enum LoadError {
    /// The page stream is malformed or cannot be read.
    Sgxs(SgxsError),
    /// The SIGSTRUCT is not 1808 bytes, or cannot be read.
    Sigstruct {
        /// Bytes of the file, if it could be read.
        got: Result<u64, Errno>,
    },
    /// The enclave has no thread to enter.
    NoTcs,
    /// The driver refused.
    Driver(DriverError),
    /// The host has no resources for the service threads.
    Os(Errno),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sgxs(error) => write!(f, "{}: {error}", Pack::SGXS),
            Self::Sigstruct { got: Ok(got) } => {
                write!(f, "{}: expected 1808 bytes, got {got}", Pack::SIGSTRUCT)
            }
            Self::Sigstruct { got: Err(errno) } => {
                write!(f, "{}: {}", Pack::SIGSTRUCT, std::io::Error::from(*errno))
            }
            Self::NoTcs => write!(f, "{}: expected a TCS page, got none", Pack::SGXS),
            Self::Driver(error) => f.write_str(&driver_message(error)),
            Self::Os(errno) => write!(f, "service threads: {}", std::io::Error::from(*errno)),
        }
    }
}

impl std::error::Error for LoadError {}

/// A request to the handle that cannot be met. The caller is at fault, or the enclave has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandleError {
    /// Started before.
    Started,
    /// Not started yet.
    NotStarted,
    /// The enclave makes no report for this target, or did not answer.
    NoReport,
    /// Over 1 MiB.
    RequestTooLong(usize),
    /// Not a signal number.
    Signal(u8),
    /// No such session, or it ended.
    Session(u32),
    /// The enclave ended.
    Ended(ExitStatus),
    /// A descriptor or a thread could not be had.
    Os(Errno),
}

impl fmt::Display for HandleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("the enclave was started before"),
            Self::NotStarted => f.write_str("the enclave was not started yet"),
            Self::NoReport => f.write_str("report: the enclave made none for this target"),
            Self::RequestTooLong(got) => {
                write!(f, "request: expected at most {} bytes, got {got}", hostcall::MAX_REQUEST)
            }
            Self::Signal(got) => write!(f, "signal: expected 1 to 64, got {got}"),
            Self::Session(got) => write!(f, "session: no session {got}"),
            Self::Ended(status) => write!(f, "the enclave ended: {status}"),
            Self::Os(errno) => std::io::Error::from(*errno).fmt(f),
        }
    }
}

impl std::error::Error for HandleError {}
