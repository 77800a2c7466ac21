//! The built-in enclave runtime: an [`EnclaveRuntime`] over [`Enclave`].

use crate::end::{ExitStatus, SessionEnd};
use crate::handle::{Enclave, HandleError, Options};
use crate::pack::Pack;
use pal::{
    Attributes, EnclaveRuntime, PalError, Process, ProcessId, REPORT_SIZE, TARGETINFO_SIZE, Target,
    WaitStatus,
};
use sgx::driver::Driver;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};

/// The container's first process, the first that is prepared.
const FIRST: i32 = 1;

/// Runs a pack's enclave. Processes are numbered from 1 in the order in which they are prepared.
///
/// A process needs [`Process::request`]: the enclave decides by its measured manifest what of it is admitted, and
/// the other fields are not looked at. `SIGWINCH` is passed on and also tells the enclave that the size of the
/// terminal changed.
pub struct BuiltIn<D> {
    driver: D,
    state: Mutex<State>,
}

struct State {
    /// What to load, until `init`.
    source: Option<(Pack, OwnedFd, Options)>,
    enclave: Option<Arc<Enclave>>,
    last: i32,
    prepared: HashMap<i32, (Vec<u8>, [OwnedFd; 3])>,
    /// Process to session, for those that run.
    sessions: HashMap<i32, u32>,
}

impl<D: Driver> BuiltIn<D> {
    /// A runtime for one enclave. `root` is the directory whose files it may read.
    pub fn new(driver: D, pack: Pack, root: OwnedFd, options: Options) -> Self {
        let state = State {
            source: Some((pack, root, options)),
            enclave: None,
            last: 0,
            prepared: HashMap::new(),
            sessions: HashMap::new(),
        };
        Self { driver, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }

    fn enclave(&self, call: &'static str) -> Result<Arc<Enclave>, PalError> {
        self.lock().enclave.clone().ok_or(PalError::State { call, expected: "init() before it" })
    }
}

impl<D> EnclaveRuntime for BuiltIn<D>
where
    D: Driver + Send + Sync,
    D::Enclave: 'static,
{
    fn is_emulated(&self) -> bool {
        D::EMULATED
    }

    fn init(&self, _: &Attributes<'_>) -> Result<(), PalError> {
        let mut state = self.lock();
        let expected = "to be called once";
        let (pack, root, options) =
            state.source.take().ok_or(PalError::State { call: "init", expected })?;
        let enclave = Enclave::load(&self.driver, pack, root, options)
            .map_err(|error| PalError::Enclave(error.to_string()))?;
        state.enclave = Some(Arc::new(enclave));
        Ok(())
    }

    fn create_process(&self, process: &Process<'_>) -> Result<ProcessId, PalError> {
        self.enclave("create_process")?;
        let request = process.request.ok_or(PalError::Argument { field: "request" })?;
        let duplicate = |index: usize, field| {
            process.stdio[index].try_clone_to_owned().map_err(|_| PalError::Argument { field })
        };
        let stdio = [duplicate(0, "stdin")?, duplicate(1, "stdout")?, duplicate(2, "stderr")?];
        let mut state = self.lock();
        state.last += 1;
        let number = state.last;
        state.prepared.insert(number, (request.to_bytes().to_vec(), stdio));
        Ok(ProcessId(number))
    }

    fn exec(&self, process: ProcessId) -> Result<WaitStatus, PalError> {
        let enclave = self.enclave("exec")?;
        let prepared = self.lock().prepared.remove(&process.0);
        let (request, stdio) = prepared.ok_or(PalError::NoProcess { got: process.0 })?;
        if process.0 == FIRST {
            enclave.start(request, stdio).map_err(refused)?;
            self.lock().sessions.insert(FIRST, 0);
            return status(enclave.wait());
        }
        let session = enclave.exec(request, stdio).map_err(refused)?;
        self.lock().sessions.insert(process.0, session);
        let end = enclave.wait_session(session).map_err(refused)?;
        self.lock().sessions.remove(&process.0);
        match end {
            SessionEnd::Exited(status) => Ok(WaitStatus(status)),
            SessionEnd::Refused(line) => Err(PalError::Enclave(line)),
            SessionEnd::EnclaveEnded(ended) => Err(PalError::Enclave(ended.to_string())),
        }
    }

    fn kill(&self, target: Target, signal: i32) -> Result<(), PalError> {
        let enclave = self.enclave("kill")?;
        let process = match target {
            Target::All => FIRST,
            Target::Process(process) => process.0,
        };
        let session = self.lock().sessions.get(&process).copied();
        let session = session.ok_or(PalError::NoProcess { got: process })?;
        let signal = u8::try_from(signal).map_err(|_| PalError::Argument { field: "sig" })?;
        if i32::from(signal) == libc::SIGWINCH {
            enclave.window_size(session).map_err(refused)?;
        }
        enclave.signal(session, signal).map_err(refused)
    }

    fn get_local_report(&self, _: &[u8; TARGETINFO_SIZE]) -> Result<[u8; REPORT_SIZE], PalError> {
        // A report is made inside, for whom the manifest allows it; the host has no call for it.
        Err(PalError::NotImplemented { symbol: "pal_get_local_report", version: 4 })
    }

    fn destroy(&self) -> Result<(), PalError> {
        let enclave = self.enclave("destroy")?;
        enclave.stop();
        let mut state = self.lock();
        state.prepared.clear();
        state.enclave = None;
        Ok(())
    }
}

fn status(ended: ExitStatus) -> Result<WaitStatus, PalError> {
    match ended {
        ExitStatus::Exited(status) => Ok(WaitStatus(status)),
        ended => Err(PalError::Enclave(ended.to_string())),
    }
}

fn refused(error: HandleError) -> PalError {
    match error {
        HandleError::Signal(_) => PalError::Argument { field: "sig" },
        HandleError::RequestTooLong(_) => PalError::Argument { field: "request" },
        error => PalError::Enclave(error.to_string()),
    }
}
