//! The program. Exit codes: 0 stopped by SIGTERM or SIGINT, 1 failed, 2 not understood.
#![forbid(unsafe_code)]

use attester::args::USAGE;
use attester::{Arguments, Listener, Role, Server, log};
use core::fmt::Display;
use std::process::ExitCode;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let mut words = Vec::new();
    for word in std::env::args_os().skip(1) {
        match word.into_string() {
            Ok(word) if word == "--help" || word == "-h" => {
                print!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            Ok(word) => words.push(word),
            Err(word) => return failed(2, format_args!("expected UTF-8, got {word:?}")),
        }
    }
    let arguments = match Arguments::parse(words) {
        Ok(arguments) => arguments,
        Err(error) => return failed(2, error),
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(1, error),
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn core::error::Error>> {
    let server = Server::new(arguments)?;
    // One thread for all sessions: beside it, in an enclave each thread has its price.
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(arguments.limits.quotes)
        .build()?;
    let served = runtime.block_on(async {
        let listener = Listener::bind(&arguments.listen).await;
        let listener =
            listener.map_err(|error| format!("listen on {}: {error}", arguments.listen))?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let address = listener.address().unwrap_or_else(|| arguments.listen.clone());
        match &arguments.role {
            Role::Ends { forward } => log::line(format_args!(
                "listening on {address}, level {:?}, for {forward}",
                arguments.level
            )),
            Role::Opens { connect, .. } => {
                log::line(format_args!("listening on {address}, for the attester at {connect}"));
            }
        }
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        server.serve(listener, stop).await;
        Ok::<(), Box<dyn core::error::Error>>(())
    });
    // A quote that is in the making is nobody's any more.
    runtime.shutdown_background();
    served
}

fn failed(code: u8, error: impl Display) -> ExitCode {
    log::line(format_args!("{error}"));
    ExitCode::from(code)
}
