//! `inclavared`: relays attested sessions between verifiers and containers.
//!
//! It holds no secret and is trusted with nothing; [`inclavared`] says why, and what `--hop-by-hop` changes. Exit
//! codes: 0 after SIGTERM or SIGINT, 1 when it cannot begin or go on, 2 for wrong use.
#![forbid(unsafe_code)]

mod args;
mod files;
mod hop_by_hop;

use args::{Arguments, LogLevel, Task};
use clap::Parser as _;
use inclavared::connection::{Shared, Times};
use inclavared::limits::Limits;
use inclavared::listener::Listener;
use inclavared::routes::Routes;
use inclavared::{scrape, watch, worker};
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch as state};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match check(&arguments) {
        Ok(task) => {
            log(arguments.log_level);
            match task {
                Some(task) => hop_by_hop::run(&arguments, task),
                None => run(arguments),
            }
        }
        Err(message) => {
            eprintln!("inclavared: {message}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("inclavared: {message}");
            ExitCode::FAILURE
        }
    }
}

/// What is to be done hop by hop, if anything is; or what is wrong with the arguments beyond their form.
fn check(arguments: &Arguments) -> Result<Option<Task>, String> {
    let names_containers = !arguments.container.is_empty() || arguments.containers.is_some();
    let task = arguments.hop.task(!arguments.listen.is_empty())?;
    match &task {
        None if !names_containers => {
            Err("containers: expected --container NAME=ADDR or --containers DIR, got none".into())
        }
        Some(_) if names_containers => {
            const NONE: &str =
                "--container, --containers: expected none with --hop-by-hop, which relays nothing";
            Err(NONE.into())
        }
        Some(_) if arguments.metrics.is_some() => {
            Err("--metrics: expected none with --hop-by-hop".into())
        }
        _ => Ok(task),
    }
}

fn log(level: LogLevel) {
    tracing_subscriber::fmt()
        .with_max_level(tracing::level_filters::LevelFilter::from(level))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
}

fn run(arguments: Arguments) -> Result<(), String> {
    let threads = arguments.threads.map_or_else(processors, usize::from);
    let most = files::connections(arguments.max_connections.map(|it| it as usize), threads)?;
    let routes = Routes::new(arguments.container, arguments.containers)
        .map_err(|error| error.to_string())?;
    if let Some(directory) = routes.directory() {
        std::fs::read_dir(directory)
            .map_err(|error| format!("read {}: {error}", directory.display()))?;
    }
    let listeners = listeners(&arguments.listen)?;
    let shared = Arc::new(Shared {
        routes,
        limits: Limits::new(most, arguments.max_per_source as usize),
        times: Times {
            hello: arguments.hello_timeout,
            connect: arguments.connect_timeout,
            idle: arguments.idle_timeout,
            half_open: arguments.half_open_timeout,
        },
        metrics: Default::default(),
        log: Default::default(),
    });
    watch::reload(&shared);
    let (held, released) = mpsc::channel(1);
    let (drain, draining) = state::channel(false);
    let listeners: Arc<[Listener]> = listeners.into();
    for number in 0..threads {
        let (listeners, shared) = (listeners.clone(), shared.clone());
        let (held, draining) = (held.clone(), draining.clone());
        let work = move || {
            if let Err(error) = worker::run(listeners, &shared, held, draining) {
                // Fewer threads than asked for would go unnoticed.
                tracing::error!(%error, "a thread has failed");
                std::process::exit(1);
            }
        };
        std::thread::Builder::new()
            .name(format!("relay-{number}"))
            .spawn(work)
            .map_err(|error| format!("start a thread: {error}"))?;
    }
    drop(held);
    for listener in &*listeners {
        tracing::info!(at = listener.name(), threads, connections = most, "relaying");
    }
    // Each thread has copies: with these the sockets would stay open while it drains.
    drop(listeners);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("runtime: {error}"))?;
    runtime
        .block_on(until_told(&shared, arguments.metrics.as_ref()))
        .map_err(|error| error.to_string())?;
    tracing::info!(open = shared.metrics.open(), "draining");
    drain.send_replace(true);
    runtime.block_on(all_released(released, arguments.drain_timeout, &shared));
    Ok(())
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn listeners(addresses: &[inclavared::address::Address]) -> Result<Vec<Listener>, String> {
    let mut listeners =
        Listener::inherited().map_err(|error| format!("sockets of LISTEN_FDS: {error}"))?;
    for address in addresses {
        let listener =
            Listener::bind(address).map_err(|error| format!("listen at {address}: {error}"))?;
        listeners.push(listener);
    }
    if listeners.is_empty() {
        return Err("listen: expected --listen ADDR or sockets by LISTEN_FDS, got none".into());
    }
    Ok(listeners)
}

/// Serves what is not a connection until SIGTERM or SIGINT.
async fn until_told(
    shared: &Arc<Shared>,
    metrics: Option<&inclavared::address::Address>,
) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let scraping = async {
        match metrics {
            Some(address) => scrape::serve(address, shared.clone()).await.map_err(|error| {
                io::Error::new(error.kind(), format!("metrics at {address}: {error}"))
            }),
            None => core::future::pending().await,
        }
    };
    let following = async {
        match shared.routes.directory() {
            Some(directory) => watch::follow(directory, shared).await,
            None => core::future::pending().await,
        }
    };
    tokio::pin!(scraping, following);
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hang_up.recv() => watch::reload(shared),
            done = &mut scraping => match done? {},
            done = &mut following => match done? {},
        }
    }
}

/// Waits for the open connections, for as long as they may take.
async fn all_released(mut released: mpsc::Receiver<()>, patience: Duration, shared: &Shared) {
    if tokio::time::timeout(patience, released.recv()).await.is_err() {
        tracing::warn!(open = shared.metrics.open(), "cut off: they took too long");
    }
}
