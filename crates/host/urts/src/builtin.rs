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
    /// Every process that is prepared or runs.
    live: HashMap<i32, Live>,
}

/// Where a process is.
enum Live {
    /// Not started; the signals that came for it.
    Waiting(Vec<u8>),
    /// In this session.
    Running(u32),
}

impl<D: Driver> BuiltIn<D> {
    /// A runtime for one enclave. `root` is the directory whose files it may read.
    pub fn new(driver: D, pack: Pack, root: OwnedFd, options: Options) -> Self {
        let state = State {
            source: Some((pack, root, options)),
            enclave: None,
            last: 0,
            prepared: HashMap::new(),
            live: HashMap::new(),
        };
        Self { driver, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }

    /// Starts a process, sends it the signals that came before, and waits for its end.
    fn run(
        &self,
        enclave: &Enclave,
        process: i32,
        request: Vec<u8>,
        stdio: [OwnedFd; 3],
    ) -> Result<WaitStatus, PalError> {
        let session = if process == FIRST {
            enclave.start(request, stdio).map_err(refused)?;
            0
        } else {
            enclave.exec(request, stdio).map_err(refused)?
        };
        let before = self.lock().live.insert(process, Live::Running(session));
        if let Some(Live::Waiting(signals)) = before {
            for signal in signals {
                // The enclave may have ended by now, which the wait below tells.
                let _ = deliver(enclave, session, signal);
            }
        }
        if session == 0 {
            return status(enclave.wait());
        }
        match enclave.wait_session(session).map_err(refused)? {
            SessionEnd::Exited(status) => Ok(WaitStatus(status)),
            SessionEnd::Refused(line) => Err(PalError::Refused(line)),
            SessionEnd::EnclaveEnded(ended) => Err(PalError::Ended(ended.to_string())),
        }
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
            .map_err(|error| PalError::Ended(error.to_string()))?;
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
        state.live.insert(number, Live::Waiting(Vec::new()));
        Ok(ProcessId(number))
    }

    fn exec(&self, process: ProcessId) -> Result<WaitStatus, PalError> {
        let enclave = self.enclave("exec")?;
        let prepared = self.lock().prepared.remove(&process.0);
        let (request, stdio) = prepared.ok_or(PalError::NoProcess { got: process.0 })?;
        let result = self.run(&enclave, process.0, request, stdio);
        self.lock().live.remove(&process.0);
        result
    }

    fn kill(&self, target: Target, signal: i32) -> Result<(), PalError> {
        let enclave = self.enclave("kill")?;
        let process = match target {
            Target::All => FIRST,
            Target::Process(process) => process.0,
        };
        let signal = u8::try_from(signal).ok().filter(|signal| (1..=64).contains(signal));
        let signal = signal.ok_or(PalError::Argument { field: "sig" })?;
        match self.lock().live.get_mut(&process) {
            Some(Live::Waiting(signals)) => {
                // Each waits once, as a pending signal does.
                if !signals.contains(&signal) {
                    signals.push(signal);
                }
                Ok(())
            }
            Some(&mut Live::Running(session)) => deliver(&enclave, session, signal),
            None => Err(PalError::NoProcess { got: process }),
        }
    }

    fn get_local_report(
        &self,
        target: &[u8; TARGETINFO_SIZE],
    ) -> Result<[u8; REPORT_SIZE], PalError> {
        let call = "get_local_report";
        self.enclave(call)?.local_report(target).map_err(|error| match error {
            HandleError::NotStarted => {
                PalError::State { call, expected: "exec() of the first process before it" }
            }
            HandleError::NoReport => PalError::Argument { field: "targetinfo" },
            error => refused(error),
        })
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

fn deliver(enclave: &Enclave, session: u32, signal: u8) -> Result<(), PalError> {
    if i32::from(signal) == libc::SIGWINCH {
        enclave.window_size(session).map_err(refused)?;
    }
    enclave.signal(session, signal).map_err(refused)
}

fn status(ended: ExitStatus) -> Result<WaitStatus, PalError> {
    match ended {
        ExitStatus::Exited(status) => Ok(WaitStatus(status)),
        ExitStatus::Refused(_) => Err(PalError::Refused(ended.to_string())),
        ExitStatus::Stopped(_) => Err(PalError::Ended(ended.to_string())),
    }
}

fn refused(error: HandleError) -> PalError {
    match error {
        HandleError::Signal(_) => PalError::Argument { field: "sig" },
        HandleError::RequestTooLong(_) => PalError::Argument { field: "request" },
        error => PalError::Ended(error.to_string()),
    }
}
