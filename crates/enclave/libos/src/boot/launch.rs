//! First processes: of the container, of an exec session, and the attester's.
//!
//! A process is prepared, that is made and its program loaded, before any of its code runs. The attester is
//! prepared after the container's first process, whose id is 1, and both before either runs: no program has
//! touched the root from which the attester comes.

use super::System;
use crate::errno::Errno;
use crate::fs::context::{Caller, FsContext};
use crate::fs::fd::{OpenFile, Table};
use crate::fs::file::File;
use crate::fs::flags::{O_RDONLY, O_RDWR, O_WRONLY};
use crate::fs::ops::open::open;
use crate::fs::walk::resolve;
use crate::host::HostStream;
use crate::mm::Mm;
use crate::platform::UserContext;
use crate::process::limits::{Limits, NOFILE};
use crate::process::{Credentials, Job, Life, Pid, Process, Program, exec};
use crate::signal::{Pending, Set};
use crate::sync::Mutex;
use crate::thread::{Seat, Thread, run};
use crate::wait::WaitQueue;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use workload::manifest::Attester;
use workload::request::Admitted;

/// Streams of the container's first process, by the host-call contract.
const FIRST_STREAMS: [HostStream; 3] = [HostStream(0), HostStream(1), HostStream(2)];

/// Where programs are looked for without PATH, as a shell does.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A process whose program is loaded and does not run yet.
struct Prepared {
    thread: Arc<Thread>,
    context: Box<UserContext>,
}

impl System {
    /// Starts the container's first process, and the attester beside it.
    pub(super) fn start_container(&self, admitted: &Admitted) -> Result<(), String> {
        let first = self.prepare(0, admitted, FIRST_STREAMS)?;
        if let Some(attester) = &self.manifest.attester {
            let stderr = first.thread.process.files().get(2);
            let stderr = stderr.map_err(|error| format!("attester: stderr: {error:?}"))?;
            let attester = self.prepare_attester(attester, stderr)?;
            self.kernel.attester.store(attester.thread.process.pid, Ordering::SeqCst);
            self.run(attester)?;
        }
        self.run(first)
    }

    /// Starts the first process of an exec session.
    pub(super) fn start_session(
        &self,
        session: u32,
        admitted: &Admitted,
        streams: [HostStream; 3],
    ) -> Result<(), String> {
        let prepared = self.prepare(session, admitted, streams)?;
        self.run(prepared)
    }

    /// Prepares the first process of a session (0: the container's).
    fn prepare(
        &self,
        session: u32,
        admitted: &Admitted,
        streams: [HostStream; 3],
    ) -> Result<Prepared, String> {
        let kernel = self.kernel;
        let console = admitted.tty.then(|| self.files.console.clone());
        let streams = self.files.streams.open(kernel.platform, session, streams, console);
        let pid = kernel.new_pid().map_err(|error| format!("process: {error:?}"))?;
        let table = Table::new();
        let mut job_control = None;
        for (number, stream) in streams.into_iter().enumerate() {
            job_control = stream.terminal().cloned();
            let is_terminal = job_control.is_some();
            let flags = match number {
                _ if is_terminal => O_RDWR,
                0 => O_RDONLY,
                _ => O_WRONLY,
            };
            table.replace(
                number as i32,
                OpenFile::new(stream as Arc<dyn File>, None, flags),
                false,
            );
        }
        if let Some(terminal) = job_control {
            terminal.control(pid, pid);
        }
        let user = &admitted.user;
        let credentials = credentials(user.uid, user.gid, user.additional_gids.clone());
        let mut limits = Limits::default();
        for limit in &admitted.rlimits {
            limits.set(limit.resource, limit.soft, limit.hard);
        }
        let thread = self.make(pid, session, table, credentials, limits);
        self.load(thread, admitted)
    }

    /// Prepares the attester: its own user, its own session, nothing to read, and the container's standard error.
    fn prepare_attester(
        &self,
        attester: &Attester,
        stderr: Arc<OpenFile>,
    ) -> Result<Prepared, String> {
        let pid = self.kernel.new_pid().map_err(|error| format!("attester: {error:?}"))?;
        let table = Table::new();
        table.replace(2, stderr, false);
        let mut limits = Limits::default();
        // Two descriptors a session, those on their way in, and its own.
        let most = 2 * u64::from(attester.sessions) + 256;
        limits.set(NOFILE, most, most);
        let credentials = credentials(attester.uid, attester.uid, Vec::new());
        let thread = self.make(pid, 0, table, credentials, limits);
        let wanted = Wanted {
            argv: attester.argv(),
            env: &[],
            cwd: "/",
            candidates: alloc::vec![Attester::PATH.to_string()],
            null: &[0, 1],
        };
        self.load_wanted(thread, &wanted).map_err(|error| format!("attester: {error}"))
    }

    fn load(&self, thread: Arc<Thread>, admitted: &Admitted) -> Result<Prepared, String> {
        let is_closed = !admitted.stdin && !admitted.tty;
        let wanted = Wanted {
            argv: admitted.argv.clone(),
            env: &admitted.env,
            cwd: &admitted.cwd,
            candidates: candidates(admitted),
            null: if is_closed { &[0] } else { &[] },
        };
        self.load_wanted(thread, &wanted)
    }

    fn load_wanted(&self, thread: Arc<Thread>, wanted: &Wanted<'_>) -> Result<Prepared, String> {
        match enter(&thread, wanted) {
            Ok(context) => Ok(Prepared { thread, context }),
            Err(reason) => {
                self.discard(&thread);
                Err(reason)
            }
        }
    }

    fn run(&self, prepared: Prepared) -> Result<(), String> {
        let Prepared { thread, context } = prepared;
        let body = thread.clone();
        let spawned = self.kernel.platform.spawn(Box::new(move || run::run(body, context, false)));
        spawned.map(|_| ()).map_err(|_| {
            self.discard(&thread);
            "enclave.threads: none left".to_string()
        })
    }

    /// A process that never ran.
    fn discard(&self, thread: &Arc<Thread>) {
        thread.process.threads.lock().clear();
        self.kernel.forget_thread(thread.tid);
        self.kernel.forget_process(&thread.process);
    }

    /// Makes a process with one thread.
    fn make(
        &self,
        pid: Pid,
        session: u32,
        files: Table,
        credentials: Credentials,
        limits: Limits,
    ) -> Arc<Thread> {
        let process = self.process(pid, session, files, credentials, limits);
        let thread = Thread::new(process.clone(), pid, Set::EMPTY);
        process.threads.lock().insert(pid, thread.clone());
        self.kernel.remember_thread(&thread);
        self.kernel.processes.lock().insert(pid, process);
        thread
    }

    fn process(
        &self,
        pid: Pid,
        session: u32,
        files: Table,
        credentials: Credentials,
        limits: Limits,
    ) -> Arc<Process> {
        let kernel = self.kernel;
        let fs = FsContext::new(self.files.namespace.clone());
        Arc::new(Process {
            kernel,
            pid,
            mm: Mutex::new(Mm::new(kernel.memory)),
            files: Mutex::new(Arc::new(files)),
            fs: Mutex::new(Arc::new(fs)),
            credentials: Mutex::new(credentials),
            job: Mutex::new(Job { pgid: pid, sid: pid }),
            parent: Mutex::new(Weak::new()),
            parent_pid: AtomicU32::new(0),
            children: Mutex::new(Vec::new()),
            threads: Mutex::new(BTreeMap::new()),
            life: Mutex::new(Life::default()),
            actions: Mutex::new(Arc::default()),
            pending: Mutex::new(Pending::default()),
            signal_queue: Arc::new(WaitQueue::new()),
            events: WaitQueue::new(),
            limits: Mutex::new(limits),
            program: Mutex::new(Program::default()),
            exit_signal: AtomicU32::new(0),
            session,
            borrows_memory: AtomicBool::new(false),
            has_execed: AtomicBool::new(false),
            is_subreaper: AtomicBool::new(false),
            oom_score_adj: AtomicI32::new(0),
            started_ns: kernel.platform.monotonic_ns(),
            cpu_ns: AtomicU64::new(0),
            children_cpu_ns: AtomicU64::new(0),
            timers: Mutex::default(),
        })
    }
}

/// What a process is to run.
struct Wanted<'a> {
    argv: Vec<String>,
    env: &'a [String],
    cwd: &'a str,
    /// Paths of the program, in order.
    candidates: Vec<String>,
    /// Descriptors at which there is nothing.
    null: &'a [i32],
}

/// Sets the working directory and loads the program.
fn enter(thread: &Arc<Thread>, wanted: &Wanted<'_>) -> Result<Box<UserContext>, String> {
    let fs = thread.process.fs();
    let seat = Seat::new(thread.clone());
    for descriptor in wanted.null {
        let null = open(&seat, &fs.root(), b"/dev/null", O_RDWR, 0);
        let null = null.map_err(|error| format!("/dev/null: {error:?}"))?;
        thread.process.files().replace(*descriptor, null, false);
    }
    let place = resolve(&Caller::of(&seat), &fs.cwd(), wanted.cwd.as_bytes(), true);
    let place = place.map_err(|error| format!("cwd: {}: {error:?}", wanted.cwd))?;
    fs.set_cwd(place);
    let argv: Vec<Vec<u8>> = wanted.argv.iter().map(|word| word.clone().into()).collect();
    let env: Vec<Vec<u8>> = wanted.env.iter().map(|word| word.clone().into()).collect();
    let mut context = Box::new(exec::blank_context(thread));
    let mut result = Err(Errno::ENOENT);
    for path in &wanted.candidates {
        let (argv, env) = (argv.clone(), env.clone());
        result = exec::exec(thread, &mut context, -100, path.as_bytes(), argv, env, 0);
        if !matches!(result, Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES)) {
            break;
        }
    }
    let name = wanted.argv.first().map_or("", String::as_str);
    result.map(|()| context).map_err(|error| format!("argv[0]: {name}: {error:?}"))
}

fn credentials(uid: u32, gid: u32, groups: Vec<u32>) -> Credentials {
    Credentials {
        ruid: uid,
        euid: uid,
        suid: uid,
        fsuid: uid,
        rgid: gid,
        egid: gid,
        sgid: gid,
        fsgid: gid,
        groups,
    }
}

/// Paths that argv[0] may mean: itself, or a file of PATH.
fn candidates(admitted: &Admitted) -> Vec<String> {
    let Some(name) = admitted.argv.first() else { return Vec::new() };
    if name.contains('/') {
        return alloc::vec![name.clone()];
    }
    let path = admitted.env.iter().find_map(|entry| entry.strip_prefix("PATH="));
    path.unwrap_or(DEFAULT_PATH).split(':').map(|folder| format!("{folder}/{name}")).collect()
}
