//! A thread that accepts and relays, on a runtime of its own.

use crate::connection::{self, Held, Shared, Times};
use crate::listener::{Acceptor, Listener};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long a thread waits after accepting failed: no descriptors, or no memory, now.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections that a thread accepts in a row before it relays, each with what [`connection::start`] does at once.
const BATCH: u64 = 16;

/// Time-outs that are shorter than twice this are for tests.
const SHORTEST_TICK: Duration = Duration::from_millis(100);

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
        match tick(&shared.times).await {}
    })
}

/// Keeps a timer that ends before any that a connection sets. The runtime wakes itself, by a write to an eventfd and
/// the event that follows, whenever one is set that is to end first: that was twice in the life of a connection.
async fn tick(times: &Times) -> Infallible {
    let shortest = times.hello.min(times.connect).min(times.idle).min(times.half_open);
    let period = (shortest / 2).max(SHORTEST_TICK);
    loop {
        tokio::time::sleep(period).await;
    }
}

async fn accept(
    acceptor: Acceptor,
    shared: Arc<Shared>,
    held: Held,
    mut drain: watch::Receiver<bool>,
) {
    for count in 1_u64.. {
        if count % BATCH == 0 {
            tokio::task::yield_now().await;
        }
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
