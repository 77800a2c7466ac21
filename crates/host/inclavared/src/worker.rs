//! A thread that accepts and relays, on a runtime of its own.

use crate::connection::{self, Held, Shared};
use crate::listener::{Acceptor, Listener};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long a thread waits after accepting failed: no descriptors, or no memory, now.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts at all listeners until `drain` says so, and relays what it accepted until the process ends.
///
/// # Errors
/// No runtime.
pub fn run(
    listeners: Arc<[Listener]>,
    shared: &Arc<Shared>,
    held: Held,
    drain: watch::Receiver<bool>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let acceptors: io::Result<Vec<_>> = listeners.iter().map(Listener::open).collect();
        for acceptor in acceptors? {
            tokio::spawn(accept(acceptor, shared.clone(), held.clone(), drain.clone()));
        }
        // The copies alone are closed when this drains.
        drop((listeners, held));
        // Connections are tasks; the process ends when they have.
        core::future::pending().await
    })
}

async fn accept(
    acceptor: Acceptor,
    shared: Arc<Shared>,
    held: Held,
    mut drain: watch::Receiver<bool>,
) {
    loop {
        let incoming = tokio::select! {
            biased;
            _ = drain.wait_for(|is_draining| *is_draining) => break,
            incoming = acceptor.accept() => incoming,
        };
        match incoming {
            Ok(incoming) => connection::start(incoming, &shared, &held),
            Err(error) => {
                tracing::error!(%error, "accept");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    // Closing the socket would reset those that wait in it.
    while let Some(incoming) = acceptor.try_accept() {
        connection::start(incoming, &shared, &held);
    }
}
