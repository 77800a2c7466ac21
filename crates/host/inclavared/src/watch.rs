//! Reads the directory of routes again when it changes.

use crate::connection::Shared;
use crate::watched::Watched;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Changes rarely come alone.
const PAUSE: Duration = Duration::from_millis(50);

/// How often a directory that is gone is looked for.
const GONE: Duration = Duration::from_secs(1);

/// Reads the routes now, and says what could not be taken.
pub fn reload(shared: &Shared) {
    let problems = shared.routes.reload();
    for problem in &problems {
        tracing::warn!(path = %problem.path.display(), fault = %problem.fault, "route not taken");
    }
    let count = shared.routes.count();
    shared.metrics.routes(count, problems.len());
    tracing::info!(containers = count, "routes");
}

/// Reads them whenever the directory changes, for ever.
///
/// # Errors
/// The kernel has no inotify instance to give.
pub async fn follow(directory: &Path, shared: &Shared) -> io::Result<Infallible> {
    let changes = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    let changes = Watched::new(changes)?;
    loop {
        // Watched first, read then: what happens in between is seen. Watched again every time, in case the
        // directory was replaced.
        if let Err(error) = watch(&changes, directory) {
            tracing::warn!(path = %directory.display(), %error, "routes are not watched");
            tokio::time::sleep(GONE).await;
            continue;
        }
        reload(shared);
        changed(&changes).await?;
        tokio::time::sleep(PAUSE).await;
    }
}

fn watch(changes: &Watched, directory: &Path) -> io::Result<()> {
    let flags = WatchFlags::CLOSE_WRITE
        | WatchFlags::MOVED_TO
        | WatchFlags::MOVED_FROM
        | WatchFlags::DELETE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR;
    inotify::add_watch(changes.fd(), directory, flags)?;
    Ok(())
}

/// Waits for a change, and takes all that are there. Which they are does not matter: everything is read again.
async fn changed(changes: &Watched) -> io::Result<()> {
    let mut buffer = [0; 4096];
    changes.read(|fd| Ok(rustix::io::read(fd, &mut buffer)?)).await?;
    Ok(())
}
