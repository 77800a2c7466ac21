//! How many connections the limit of open files allows.

use inclavared::MOST_PIPES;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Connections, if nobody says.
const USUAL: usize = 10_000;

/// A connection has a socket on each side.
const EACH: usize = 2;

/// For logs, listeners, runtimes, scrapes.
const REST: usize = 64;

/// Descriptors of a thread: pipes, and its runtime's own.
const THREAD: usize = 2 * MOST_PIPES + 16;

/// Raises the limit as far as it goes, and gives the most connections that there may be: what is asked for, or
/// the usual number if that fits.
pub(crate) fn connections(asked: Option<usize>, threads: usize) -> Result<usize, String> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit)
            .map_err(|error| format!("raise the limit of open files: {error}"))?;
    }
    let files =
        limit.maximum.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    fitting(files, asked, threads)
}

fn fitting(files: usize, asked: Option<usize>, threads: usize) -> Result<usize, String> {
    let own = REST + threads * THREAD;
    let fit = files.saturating_sub(own) / EACH;
    if fit == 0 {
        let least = own + EACH;
        return Err(format!("open files: expected a limit of at least {least}, got {files}"));
    }
    match asked {
        Some(asked) if asked > fit => Err(format!(
            "--max-connections: expected at most {fit} with a limit of {files} open files, got {asked}"
        )),
        Some(asked) => Ok(asked),
        None => Ok(fit.min(USUAL)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_the_usual_number_is_made_to_fit() {
        assert_eq!(fitting(1 << 20, None, 2), Ok(USUAL));
        assert_eq!(fitting(1 << 20, Some(100_000), 2), Ok(100_000));
        let few = fitting(3000, None, 1).unwrap();
        assert!(few < USUAL && few > 500, "{few}");
        assert!(fitting(3000, Some(few + 1), 1).unwrap_err().contains("expected at most"));
        assert!(fitting(64, None, 1).unwrap_err().starts_with("open files: expected"));
    }
}
