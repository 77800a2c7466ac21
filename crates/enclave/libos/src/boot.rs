//! The start: from the measured manifest and the host's request to the first process, and what the first
//! thread does from then on.
//!
//! The manifest is trusted, for it is measured. The request is not: nothing of it is used but through
//! [`workload::request::admit`]. What does not fit ends the enclave, or the exec session, with a line that
//! names the field, what was expected and what came.

mod launch;

use crate::attestation::ReportData;
use crate::fs::boot::{FileLayer, Setup};
use crate::fs::outside::{Outside, Rules};
use crate::host::{Event, Level};
use crate::kernel::{Kernel, Settings};
use crate::platform::Platform;
use crate::process::Process;
use crate::procview::View;
use crate::signal::{Info, signo};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use workload::manifest::{Enclave, Manifest};
use workload::request::{Admitted, Request, admit, admit_signal};

/// Processors that programs see where nothing says more. Threads run on as many as the host has.
const PROCESSORS: u32 = 2;

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
    let attester = manifest.attester.as_ref().map(|attester| (attester.listen, attester.uid));
    let rules = Rules { network: manifest.network.clone(), attester };
    kernel.network.attach(Outside::new(platform, files.streams.clone(), rules));
    let system = System { kernel, manifest, files };
    let streams = system.files.streams.clone();
    *kernel.on_session_end.lock() = Some(Box::new(move |session| streams.session_ended(session)));
    let attestation = system.files.attestation.clone();
    *kernel.on_process_end.lock() = Some(Box::new(move |pid| attestation.forget(pid)));
    if let Err(reason) = system.start_container(&admitted) {
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
                        Ok(admitted) => self.start_session(session, &admitted, streams),
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
                Event::Ready { stream, readiness } => self.files.streams.ready(stream, readiness),
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
}
