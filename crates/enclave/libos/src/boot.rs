//! The start: from the measured manifest and the host's request to the first process, and what the first
//! thread does from then on.
//!
//! The manifest is trusted, for it is measured. The request is not: nothing of it is used but through
//! [`workload::request::admit`]. What does not fit ends the enclave, or the exec session, with a line that
//! names the field, what was expected and what came.

use crate::attestation::ReportData;
use crate::errno::Errno;
use crate::fs::boot::{FileLayer, Setup};
use crate::fs::context::{Caller, FsContext};
use crate::fs::fd::{OpenFile, Table};
use crate::fs::file::File;
use crate::fs::flags::{O_RDONLY, O_RDWR, O_WRONLY};
use crate::fs::ops::open::open;
use crate::fs::walk::resolve;
use crate::host::{Event, HostStream, Level};
use crate::kernel::{Kernel, Settings};
use crate::mm::Mm;
use crate::platform::Platform;
use crate::process::limits::Limits;
use crate::process::{Credentials, Job, Life, Pid, Process, Program, exec};
use crate::procview::View;
use crate::signal::{Info, Pending, Set, signo};
use crate::sync::Mutex;
use crate::thread::{Seat, Thread, run};
use crate::wait::WaitQueue;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64};
use workload::manifest::{Enclave, Manifest};
use workload::request::{Admitted, Request, admit, admit_signal};

/// Processors that programs see where nothing says more. Threads run on as many as the host has.
const PROCESSORS: u32 = 2;

/// Streams of the container's first process, by the host-call contract.
const FIRST_STREAMS: [HostStream; 3] = [HostStream(0), HostStream(1), HostStream(2)];

/// Where programs are looked for without PATH, as a shell does.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs the container that the manifest describes; the calling thread becomes the event thread.
pub fn boot(platform: &'static dyn Platform, manifest: &[u8]) -> ! {
    let host = platform.host();
    let manifest = match Manifest::parse(manifest) {
        Ok(manifest) => manifest,
        Err(error) => host.refuse(&format!("manifest: {error}")),
    };
    let admitted = match admitted(&manifest, &host.bootstrap()) {
        Ok(admitted) => admitted,
        Err(reason) => host.refuse(&reason),
    };
    for dropped in &admitted.dropped {
        host.log(Level::Info, dropped.to_string());
    }
    let kernel = Kernel::leak(
        platform,
        Settings {
            cpus: PROCESSORS,
            hostname: admitted.hostname.clone(),
            memory_limit: Enclave::kernel_base(manifest.enclave.size).min(MEMORY_SHOWN),
        },
    );
    let setup = Setup {
        platform,
        manifest: &manifest,
        admitted: &admitted,
        processes: Arc::new(View(kernel)),
    };
    let files = match crate::fs::boot::boot(&setup) {
        Ok(files) => files,
        Err(reason) => host.refuse(&reason),
    };
    let system = System { kernel, manifest, files };
    let streams = system.files.streams.clone();
    *kernel.on_session_end.lock() = Some(Box::new(move |session| streams.session_ended(session)));
    let attestation = system.files.attestation.clone();
    *kernel.on_process_end.lock() = Some(Box::new(move |pid| attestation.forget(pid)));
    if let Err(reason) = system.start(0, &admitted, FIRST_STREAMS) {
        host.refuse(&reason);
    }
    system.serve()
}

/// A size beyond what a program can use tells it nothing: it sizes its heap by it.
const MEMORY_SHOWN: u64 = 8 << 30;

fn admitted(manifest: &Manifest, request: &[u8]) -> Result<Admitted, String> {
    let request = Request::parse(request).map_err(|refusal| refusal.to_string())?;
    admit(manifest, &request).map_err(|refusal| refusal.to_string())
}

struct System {
    kernel: &'static Kernel,
    manifest: Manifest,
    files: FileLayer,
}

impl System {
    /// Serves the host's events for good.
    fn serve(&self) -> ! {
        let host = self.kernel.platform.host();
        loop {
            match host.next_event() {
                Event::Signal { session, signal } => self.signal(session, signal),
                Event::Exec { session, request, streams } => {
                    let result = match admitted(&self.manifest, &request) {
                        Ok(admitted) => self.start(session, &admitted, streams),
                        Err(reason) => {
                            // Whoever reads them waits for their end.
                            streams.into_iter().for_each(|stream| host.stream_close(stream));
                            Err(reason)
                        }
                    };
                    if let Err(reason) = result {
                        self.files.streams.session_ended(session);
                        host.session_refused(session, &reason);
                    }
                }
                Event::Ready { stream, .. } => self.files.streams.ready(stream),
                Event::Report { ticket, target } => {
                    // No report data: it says what the host has measured itself, and nothing of anybody's
                    // choice, so that it needs no leave of the manifest.
                    let report = self.kernel.platform.report(&target, &ReportData::EMPTY);
                    host.report_made(ticket, report.ok().as_ref());
                }
                Event::WindowSize { session } => {
                    if let Some(terminal) = self.files.streams.job_control(session) {
                        self.kernel
                            .signal_group(terminal.foreground(), Info::kernel(signo::SIGWINCH));
                    }
                }
            }
        }
    }

    /// A signal of the host, if the manifest lets it pass.
    fn signal(&self, session: u32, number: u8) {
        if let Err(refusal) = admit_signal(&self.manifest, number) {
            self.kernel.platform.host().log(Level::Warn, refusal.to_string());
            return;
        }
        let target = self.session_leader(session);
        if let Some(process) = target {
            // A full queue loses the signal, which the host may send again.
            let _ = process.signal(Info::kernel(number));
        }
    }

    fn session_leader(&self, session: u32) -> Option<Arc<Process>> {
        if session == 0 {
            return self.kernel.process(1);
        }
        let all = self.kernel.processes.lock();
        let mut of_session = all.values().filter(|process| process.session == session);
        of_session.find(|process| process.parent.lock().upgrade().is_none()).cloned()
    }

    /// Starts the first process of a session.
    fn start(
        &self,
        session: u32,
        admitted: &Admitted,
        streams: [HostStream; 3],
    ) -> Result<(), String> {
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
        let credentials = Credentials {
            ruid: user.uid,
            euid: user.uid,
            suid: user.uid,
            fsuid: user.uid,
            rgid: user.gid,
            egid: user.gid,
            sgid: user.gid,
            fsgid: user.gid,
            groups: user.additional_gids.clone(),
        };
        let mut limits = Limits::default();
        for limit in &admitted.rlimits {
            limits.set(limit.resource, limit.soft, limit.hard);
        }
        let process = self.process(pid, session, table, credentials, limits);
        let thread = Thread::new(process.clone(), pid, Set::EMPTY);
        process.threads.lock().insert(pid, thread.clone());
        kernel.remember_thread(&thread);
        kernel.processes.lock().insert(pid, process.clone());
        let started = self.enter(&thread, admitted);
        if started.is_err() {
            process.threads.lock().clear();
            kernel.forget_thread(pid);
            kernel.forget_process(&process);
        }
        started
    }

    /// Sets the working directory, loads the program and starts its thread.
    fn enter(&self, thread: &Arc<Thread>, admitted: &Admitted) -> Result<(), String> {
        let fs = thread.process.fs();
        let seat = Seat::new(thread.clone());
        if !admitted.stdin && !admitted.tty {
            let null = open(&seat, &fs.root(), b"/dev/null", O_RDONLY, 0);
            let null = null.map_err(|error| format!("/dev/null: {error:?}"))?;
            thread.process.files().replace(0, null, false);
        }
        let place = resolve(&Caller::of(&seat), &fs.cwd(), admitted.cwd.as_bytes(), true);
        let place = place.map_err(|error| format!("cwd: {}: {error:?}", admitted.cwd))?;
        fs.set_cwd(place);
        let argv: Vec<Vec<u8>> = admitted.argv.iter().map(|word| word.clone().into()).collect();
        let env: Vec<Vec<u8>> = admitted.env.iter().map(|word| word.clone().into()).collect();
        let mut context = Box::new(exec::blank_context(thread));
        let mut result = Err(Errno::ENOENT);
        for path in candidates(admitted) {
            result = exec::exec(
                thread,
                &mut context,
                -100,
                path.as_bytes(),
                argv.clone(),
                env.clone(),
                0,
            );
            if !matches!(result, Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES)) {
                break;
            }
        }
        let name = admitted.argv.first().map_or("", String::as_str);
        result.map_err(|error| format!("argv[0]: {name}: {error:?}"))?;
        let body = thread.clone();
        let spawned =
            thread.kernel.platform.spawn(Box::new(move || run::run(body, context, false)));
        spawned.map(|_| ()).map_err(|_| "enclave.threads: none left".to_string())
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

/// Paths that argv[0] may mean: itself, or a file of PATH.
fn candidates(admitted: &Admitted) -> Vec<String> {
    let Some(name) = admitted.argv.first() else { return Vec::new() };
    if name.contains('/') {
        return alloc::vec![name.clone()];
    }
    let path = admitted.env.iter().find_map(|entry| entry.strip_prefix("PATH="));
    path.unwrap_or(DEFAULT_PATH).split(':').map(|folder| format!("{folder}/{name}")).collect()
}
