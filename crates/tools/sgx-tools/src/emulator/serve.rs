//! `emulator serve`: the quoting service and the provisioning service, until stopped.

use super::settings;
use crate::Say;
use crate::args::Serve;
use crate::failure::Failure;
use crate::inspect::hex;
use aesm::server::{Limits, Server};
use attestation::hex;
use emulated_platform::pcs::Pcs;
use emulated_platform::{Platform, Settings};
use serde_json::json;
use std::fs::{self, DirBuilder};
use std::io::{Write, stderr};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

pub(super) fn run(arguments: &Serve, say: Say) -> Result<(), Failure> {
    let platform = platform(arguments)?;
    let collateral = settings(&arguments.judgement, &platform, arguments.platform.ca.into())?;
    let pcs = Pcs::new(platform.root().clone(), collateral);

    let server = bind(&arguments.aesm)?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::undone)?;
    let served = runtime.block_on(async {
        let listener = TcpListener::bind(arguments.pcs).await;
        let listener =
            listener.map_err(|error| Failure::Undone(format!("{}: {error}", arguments.pcs)))?;
        let address = listener.local_addr().map_err(Failure::undone)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(Failure::undone)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::undone)?;

        say.result(&json!({
            "EMULATED": "quotes of this service prove nothing about this host",
            "aesm": server.path(),
            "pcs": format!("http://{address}/sgx/certification/v4/"),
            "root_sha256": hex(&platform.root().fingerprint()),
            "ppid": hex(&platform.ppid()),
            "fmspc": hex(&platform.settings().fmspc),
            "directory": arguments.directory.directory,
        }))?;
        let (server, service) = (Arc::clone(&server), Arc::new(platform));
        thread::spawn(move || {
            server.serve(&service, Limits::default(), |event| {
                // A log that nobody reads any more must not end the service.
                let _ = writeln!(stderr(), "sgx-tools: aesm: {event}");
            });
        });
        tokio::select! {
            never = pcs.serve(listener) => match never {},
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
        }
    });
    // The thread that serves never ends, so the server is not dropped.
    let _ = fs::remove_file(&arguments.aesm);
    served
}

/// The platform of the directory, with what the command line changes.
fn platform(arguments: &Serve) -> Result<Platform, Failure> {
    let usual = Settings::default();
    let cpusvn = arguments.platform.cpusvn.as_deref().map(hex::array::<16>).transpose();
    let cpusvn = cpusvn.map_err(|error| Failure::Undone(format!("cpusvn: {error}")))?;
    let settings = Settings {
        cpusvn: cpusvn.unwrap_or(usual.cpusvn),
        pcesvn: arguments.platform.pcesvn.unwrap_or(usual.pcesvn),
        qe_isvsvn: arguments.platform.qe_isvsvn.unwrap_or(usual.qe_isvsvn),
        ca: arguments.platform.ca.into(),
        ..usual
    };
    Ok(Platform::open_with(&arguments.directory.directory, settings)?)
}

/// The directory of Intel's socket exists only where its daemon is installed.
fn bind(path: &Path) -> Result<Arc<Server>, Failure> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        let made = DirBuilder::new().recursive(true).mode(0o755).create(directory);
        made.map_err(Failure::io("create", directory))?;
    }
    Server::bind(path).map(Arc::new).map_err(Failure::io("listen on", path))
}
