//! Runs what `--hop-by-hop` asks for.

use crate::args::{Arguments, Task};
use crate::files;
use attestation::hex::Hex;
use inclavared::hop::{Container, Server, read_key, serve};
use inclavared::limits::Limits;
use rats_tls::Setup;
use rats_tls::hop::Answer;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

pub(crate) fn run(arguments: &Arguments, task: Task) -> Result<(), String> {
    let Task { container, key, policy, root, collateral } = task;
    let setup = Setup { policy, root, collateral, ..Setup::default() };
    let appraiser = setup.compat_appraiser().map_err(|error| error.to_string())?;
    let container = Container::new(container, appraiser, arguments.connect_timeout);
    let container = container.map_err(|error| format!("tls: {error}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("runtime: {error}"))?;
    let Some(key) = key else {
        let info = runtime.block_on(container.ask()).map_err(|fault| fault.to_string())?;
        println!("{}", String::from_utf8_lossy(&Answer::Info(info).to_json()));
        return Ok(());
    };
    let text = read_key(&key).map_err(|error| error.to_string())?;
    let made = rats_tls::hop::server(&text);
    let (config, pin) = made.map_err(|error| format!("{}: {error}", key.display()))?;
    drop(text);
    let most = files::connections(arguments.max_connections.map(|it| it as usize), 1)?;
    let limits = Limits::new(most, arguments.max_per_source as usize);
    let listeners = crate::listeners(&arguments.listen)?;
    for listener in &listeners {
        let (at, key) = (listener.name(), Hex(&pin));
        let of = container.address();
        tracing::warn!(at, %of, %key, "hop-by-hop: inclavared is trusted");
    }
    let server = Arc::new(Server::new(config, container, limits, arguments.hello_timeout));
    let ended = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        serve(listeners, &server, stop, arguments.drain_timeout).await
    });
    ended.map_err(|error| error.to_string())
}
