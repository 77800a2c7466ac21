//! Worker threads for hashing, fed by one reader.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::Scope;

/// How many threads hash.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    threads: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self { threads: std::thread::available_parallelism().map_or(1, usize::from) }
    }
}

type Job<'env> = Box<dyn FnOnce() + Send + 'env>;

/// A running pool.
pub struct PoolScope<'env> {
    jobs: SyncSender<Job<'env>>,
}

impl Pool {
    /// A pool of so many threads, at least one.
    #[must_use]
    pub fn of(threads: usize) -> Self {
        Self { threads: threads.max(1) }
    }

    /// Threads.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `body`, whose jobs are all done when this returns.
    pub fn run<'env, T>(&self, body: impl FnOnce(&PoolScope<'env>) -> T) -> T {
        std::thread::scope(|scope| {
            let jobs = self.start(scope);
            body(&PoolScope { jobs })
        })
    }

    fn start<'scope, 'env: 'scope>(
        &self,
        scope: &'scope Scope<'scope, '_>,
    ) -> SyncSender<Job<'env>> {
        // Bounds what is read ahead of the hashing.
        let (sender, receiver) = sync_channel::<Job<'env>>(2 * self.threads);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..self.threads {
            let receiver = Arc::clone(&receiver);
            scope.spawn(move || work(&receiver));
        }
        sender
    }
}

fn work(jobs: &Mutex<Receiver<Job<'_>>>) {
    loop {
        let job = match jobs.lock() {
            Ok(jobs) => jobs.recv(),
            Err(_) => return,
        };
        match job {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}

impl<'env> PoolScope<'env> {
    /// Hands a job to a free thread; waits while all are busy and enough is queued.
    ///
    /// # Panics
    /// If a worker panicked, which is a fault of a job.
    pub fn submit(&self, job: impl FnOnce() + Send + 'env) {
        assert!(self.jobs.send(Box::new(job)).is_ok(), "workers end with the scope");
    }
}
