//! Host threads: one per TCS in use, kept parked for the next.
//!
//! Making a thread costs several times what waking one does, so spare threads wait with their block mapped;
//! when the last one is taken the watcher thread makes another.

use crate::interrupt::Interrupt;
use crate::parker::Parker;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

/// No task. A TCS address is a multiple of 4096 and never 0: the first page of ELRANGE is never mapped.
const NO_TASK: u64 = 0;
/// The thread is to end.
const QUIT: u64 = 1;

/// One host thread, as the others see it.
#[derive(Default)]
pub(crate) struct Worker {
    task: AtomicU64,
    task_given: Parker,
    /// The token of the enclave's thread.
    pub(crate) parker: Parker,
    /// Ends its waits.
    pub(crate) interrupt: Interrupt,
}

impl Worker {
    /// Waits for a TCS to enter; `None` when the thread is to end. Only the thread itself calls it.
    pub(crate) fn next_task(&self) -> Option<u64> {
        loop {
            match self.task.swap(NO_TASK, Ordering::Acquire) {
                NO_TASK => self.task_given.park(None),
                QUIT => return None,
                tcs => return Some(tcs),
            }
        }
    }

    fn give(&self, task: u64) {
        self.task.store(task, Ordering::Release);
        self.task_given.unpark();
    }
}

/// Which thread is on which TCS, and which are spare.
pub(crate) struct Pool {
    by_tcs: RwLock<HashMap<u64, Arc<Worker>>>,
    state: Mutex<State>,
    maximum: usize,
    spare: usize,
}

#[derive(Default)]
struct State {
    idle: Vec<Arc<Worker>>,
    total: usize,
    is_closed: bool,
}

/// Why no thread was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpawnError {
    /// A thread is on that TCS.
    Busy,
    /// The maximum is reached, or the kernel gives no more threads.
    Exhausted,
    /// The enclave ended.
    Closed,
}

impl Pool {
    /// A pool of at most `maximum` threads that keeps `spare` in reserve.
    pub(crate) fn new(maximum: usize, spare: usize) -> Self {
        Self { by_tcs: RwLock::default(), state: Mutex::default(), maximum, spare }
    }

    /// Has a thread enter `tcs`; `make` starts a thread for a worker.
    pub(crate) fn start(
        &self,
        tcs: u64,
        make: impl FnOnce(Arc<Worker>) -> bool,
    ) -> Result<(), SpawnError> {
        let mut by_tcs = self.by_tcs.write().expect("no panic under the lock");
        if by_tcs.contains_key(&tcs) {
            return Err(SpawnError::Busy);
        }
        let worker = self.take(make)?;
        // Entered in the table before the thread runs: it can be unparked or kicked from now on.
        by_tcs.insert(tcs, Arc::clone(&worker));
        drop(by_tcs);
        worker.give(tcs);
        Ok(())
    }

    /// Whether the reserve is short and may grow.
    pub(crate) fn is_short(&self) -> bool {
        let state = self.lock();
        !state.is_closed && state.idle.len() < self.spare && state.total < self.maximum
    }

    /// Makes one more spare thread.
    pub(crate) fn add_spare(&self, make: impl FnOnce(Arc<Worker>) -> bool) -> bool {
        match self.make(make) {
            Ok(worker) => self.put_back(worker),
            Err(_) => false,
        }
    }

    /// The thread of a TCS is spare again; false if it is to end.
    pub(crate) fn finished(&self, tcs: u64, worker: &Arc<Worker>) -> bool {
        self.by_tcs.write().expect("no panic under the lock").remove(&tcs);
        // An interruption or a token for the ended thread is not for the next one.
        worker.interrupt.take();
        worker.parker.clear();
        self.put_back(Arc::clone(worker))
    }

    /// The thread on a TCS.
    pub(crate) fn on(&self, tcs: u64) -> Option<Arc<Worker>> {
        self.by_tcs.read().expect("no panic under the lock").get(&tcs).cloned()
    }

    /// Ends spare threads, and the others as they come back; interrupts and unparks all. Gives the TCSs in use.
    pub(crate) fn close(&self) -> Vec<u64> {
        let mut state = self.lock();
        state.is_closed = true;
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        for worker in idle {
            worker.give(QUIT);
        }
        let by_tcs = self.by_tcs.read().expect("no panic under the lock");
        for worker in by_tcs.values() {
            worker.interrupt.interrupt();
            worker.parker.unpark();
        }
        by_tcs.keys().copied().collect()
    }

    fn take(&self, make: impl FnOnce(Arc<Worker>) -> bool) -> Result<Arc<Worker>, SpawnError> {
        if let Some(worker) = self.lock().idle.pop() {
            return Ok(worker);
        }
        self.make(make)
    }

    fn make(&self, make: impl FnOnce(Arc<Worker>) -> bool) -> Result<Arc<Worker>, SpawnError> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(SpawnError::Closed);
        }
        if state.total >= self.maximum {
            return Err(SpawnError::Exhausted);
        }
        state.total += 1;
        drop(state);
        let worker = Arc::new(Worker::default());
        if make(Arc::clone(&worker)) {
            return Ok(worker);
        }
        self.lock().total -= 1;
        Err(SpawnError::Exhausted)
    }

    fn put_back(&self, worker: Arc<Worker>) -> bool {
        let mut state = self.lock();
        if state.is_closed {
            state.total -= 1;
            drop(state);
            worker.give(QUIT);
            return false;
        }
        // Last in, first out: the one whose stack and block are warm.
        state.idle.push(worker);
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }
}
