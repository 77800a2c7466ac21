//! `events`: usage figures, once or at intervals, and kills for want of memory.

use super::Command;
use crate::args::{Args, End, Opt, switch, value};
use crate::failure::{Failure, Outcome};
use crate::global::Globals;
use container::cgroup::{oom::OomWatch, stats::stats};
use container::state::{Directory, Status};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use rustix::time::Timespec;
use serde_json::json;
use std::io::Write;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

const OPTIONS: [Opt; 2] = [
    value("interval", None, "between figures, such as 5s or 500ms (5s)"),
    switch("stats", None, "print figures once and end"),
];

pub(crate) const COMMAND: Command = Command {
    name: "events",
    usage: "[options] ID",
    about: "print usage figures and out-of-memory kills",
    options: &OPTIONS,
    end: End::Never,
    enters_container: false,
    run,
};

fn run(globals: &Globals, args: &Args) -> Outcome {
    let directory = Directory::open(&globals.root, args.only_word()?)?;
    let state = directory.state()?;
    if directory.status(&state) == Status::Stopped {
        let id = &state.id;
        return Err(Failure::new(format!("container {id:?}: container not running")));
    }
    let text = args.get("interval").unwrap_or("5s");
    let interval = duration(text).filter(|d| !d.is_zero()).ok_or_else(|| {
        Failure::new(format!("--interval: expected a duration such as 5s, got {text:?}"))
    })?;
    let print_stats = || {
        let line = json!({"type": "stats", "id": state.id, "data": stats(&state.cgroups)});
        writeln!(std::io::stdout(), "{line}")
    };
    if args.is("stats") {
        print_stats()?;
        return Ok(0);
    }
    let Some(pidfd) = directory.pidfd(&state) else { return Ok(0) };
    let mut oom = OomWatch::new(&state.cgroups)?;
    let mut next = Instant::now() + interval;
    loop {
        let rest = next.saturating_duration_since(Instant::now());
        let rest = Timespec { tv_sec: rest.as_secs() as i64, tv_nsec: rest.subsec_nanos().into() };
        let mut fds = vec![PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
        fds.extend(oom.as_ref().map(|oom| PollFd::from_borrowed_fd(oom.as_fd(), PollFlags::IN)));
        retry_on_intr(|| poll(&mut fds, Some(&rest))).map_err(std::io::Error::from)?;
        let is_over = fds.first().is_some_and(|fd| !fd.revents().is_empty());
        drop(fds);
        // Also at the end: memory may be what ended it.
        for _ in 0..oom.as_mut().map_or(0, OomWatch::take) {
            writeln!(std::io::stdout(), "{}", json!({"type": "oom", "id": state.id}))?;
        }
        if is_over {
            return Ok(0);
        }
        if Instant::now() >= next {
            print_stats()?;
            next += interval;
        }
    }
}

/// A number with a unit as Go writes it: `ms`, `s`, `m` or `h`.
fn duration(text: &str) -> Option<Duration> {
    let units = [("ms", 1.0), ("s", 1e3), ("m", 6e4), ("h", 3.6e6)];
    let (unit, ms) = units.iter().find(|(unit, _)| text.ends_with(unit))?;
    let value: f64 = text.strip_suffix(unit)?.parse().ok()?;
    let total = value * ms;
    (0.0..=1e12).contains(&total).then(|| Duration::from_micros((total * 1e3) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, ms) in [("5s", 5000), ("500ms", 500), ("1.5s", 1500), ("2m", 120_000)] {
            assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "5", "s", "-1s", "1d", "nans"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
