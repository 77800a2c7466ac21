//! `shelter watch`: one verdict after the other, in one session while it lasts and in new ones after that.

use super::judge::Judge;
use super::open::Session;
use super::{Container, Opened, Reached, Seen, run_to_end};
use crate::args::Watch;
use crate::failure::Failure;
use crate::trusted::Moment;
use ::collateral::clock::Clock as _;
use serde_json::json;
use std::io::Write;
use std::ops::ControlFlow;
use std::process::Stdio;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Between two attempts to reach a container that was lost.
const RETRY: Duration = Duration::from_secs(1);

pub(crate) fn run(arguments: &Watch) -> Result<(), Failure> {
    let Watch { target, peer, trust, every, grace, command } = arguments;
    let container = Container::new(target.clone(), peer, trust)?.bound_only()?;
    let reached = container.reached();
    let mut watch =
        Watcher { container, reached, every: *every, grace: *grace, command, state: None };
    run_to_end(watch.run())
}

/// What is known of the container.
#[derive(Clone, PartialEq, Eq)]
struct State {
    word: &'static str,
    sameness: String,
}

struct Watcher<'a> {
    container: Container,
    reached: Reached,
    every: Duration,
    grace: Duration,
    command: &'a [String],
    state: Option<State>,
}

impl Watcher<'_> {
    /// Until the first change, or for ever where a command is run at each.
    async fn run(&mut self) -> Result<(), Failure> {
        let mut lost_since = None;
        loop {
            match self.container.open().await {
                Ok(Opened::Accepted { session, seen, judge }) => {
                    lost_since = None;
                    if self.verdict(&seen)?.is_break()
                        || self.stay(*session, &judge).await?.is_break()
                    {
                        return Ok(());
                    }
                    // Soon: a relay that was restarted is back in a moment.
                    sleep(RETRY.min(self.every)).await;
                }
                Ok(Opened::Refused(seen)) => {
                    lost_since = None;
                    if self.verdict(&seen)?.is_break() {
                        return Ok(());
                    }
                    sleep(self.every).await;
                }
                Err(failure) => {
                    let since = *lost_since.get_or_insert_with(Instant::now);
                    // What never was there is not lost.
                    if self.state.is_none() || since.elapsed() >= self.grace {
                        if self.unreachable(&failure)?.is_break() {
                            return Ok(());
                        }
                        sleep(self.every).await;
                    } else {
                        sleep(RETRY.min(self.every)).await;
                    }
                }
            }
        }
    }

    /// Asks for new evidence at the interval until the session ends, in whatever way.
    async fn stay(
        &mut self,
        mut session: Session,
        judge: &Judge,
    ) -> Result<ControlFlow<()>, Failure> {
        loop {
            if !self.idle(&mut session).await || session.reattest().await.is_err() {
                break;
            }
            // The verdict shows while reading; the time that it may take is the session's own.
            let deadline = Instant::now() + self.container.timeout() + RETRY;
            let mut buffer = [0; 4096];
            let seen = loop {
                if let Some(seen) = judge.take() {
                    break Some(seen);
                }
                let left = deadline.saturating_duration_since(Instant::now());
                let slice = left.min(Duration::from_millis(100));
                match timeout(slice, session.read(&mut buffer)).await {
                    // A refusal ends the session; its verdict is there all the same.
                    Ok(Ok(0) | Err(_)) => break judge.take(),
                    // What the program says is none of our business.
                    Ok(Ok(_)) => {}
                    Err(_) if left.is_zero() => break None,
                    Err(_) => {}
                }
            };
            let Some(seen) = seen else { break };
            if self.verdict(&seen)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            if !seen.verdict.is_accepted() {
                sleep(self.every).await;
                break;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Waits for the interval; whether the session is still there.
    async fn idle(&self, session: &mut Session) -> bool {
        let deadline = Instant::now() + self.every;
        let mut buffer = [0; 4096];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match timeout(left, session.read(&mut buffer)).await {
                Ok(Ok(0) | Err(_)) => return false,
                Ok(Ok(_)) => {}
                Err(_) => return true,
            }
        }
    }

    fn verdict(&mut self, seen: &Seen) -> Result<ControlFlow<()>, Failure> {
        let json = serde_json::to_string(&seen.told(&self.reached)).map_err(Failure::undecided)?;
        let word = if seen.verdict.is_accepted() { "accepted" } else { "refused" };
        self.now(State { word, sameness: seen.sameness() }, &json)
    }

    fn unreachable(&mut self, failure: &Failure) -> Result<ControlFlow<()>, Failure> {
        let json = json!({
            "verdict": "unreachable",
            "session": self.reached,
            "time": Moment::Host.now().seconds,
            "error": failure.to_string(),
        });
        self.now(State { word: "unreachable", sameness: String::new() }, &json.to_string())
    }

    /// Prints a verdict; ends the watch or runs the command where it changed.
    fn now(&mut self, state: State, json: &str) -> Result<ControlFlow<()>, Failure> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{json}")
            .and_then(|()| out.flush())
            .map_err(|error| Failure::Undecided(format!("write the verdict: {error}")))?;
        drop(out);
        let before = self.state.replace(state.clone());
        let is_first = before.is_none();
        let is_change = before.as_ref() != Some(&state);
        if !is_change || (is_first && state.word == "accepted") {
            return Ok(ControlFlow::Continue(()));
        }
        if !self.command.is_empty() {
            let before = before.map_or("none", |before| before.word);
            self.execute(state.word, before, json)?;
            return Ok(ControlFlow::Continue(()));
        }
        match state.word {
            "accepted" => {
                eprintln!("shelter: accepted, and another instance or measurement than before");
                Ok(ControlFlow::Break(()))
            }
            "refused" => Err(Failure::Said),
            _ => Err(Failure::Undecided("the container cannot be reached".into())),
        }
    }

    /// Runs the command. It is not waited for: the watch goes on beside it.
    fn execute(&self, word: &str, before: &str, json: &str) -> Result<(), Failure> {
        let (program, rest) = self.command.split_first().expect("looked at by the caller");
        let failed = |error: std::io::Error| Failure::Undecided(format!("run {program}: {error}"));
        let mut child = std::process::Command::new(program)
            .args(rest)
            .env("SHELTER_VERDICT", word)
            .env("SHELTER_BEFORE", before)
            .stdin(Stdio::piped())
            // Standard output is the verdicts'.
            .stdout(std::io::stderr())
            .spawn()
            .map_err(failed)?;
        let mut stdin = child.stdin.take().expect("it is piped");
        let json = format!("{json}\n");
        // A thread of its own: a command that does not read holds nobody up.
        std::thread::spawn(move || {
            let _ = stdin.write_all(json.as_bytes());
            drop(stdin);
            let _ = child.wait();
        });
        Ok(())
    }
}
