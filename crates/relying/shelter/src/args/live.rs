//! Options of commands that open a session with a running container.

use super::Trust;
use crate::live::Address;
use attestation::hex;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

pub(super) const SEND_HELP: &str = "\
The secret leaves this machine after the container was accepted, in that session and no other. It comes from a file
or from standard input (-), never from the command line, where every user of the machine could read it. The program
in the container gets exactly these bytes; what it answers goes to standard output.

Examples:
  shelter send tcp:host:8443 --container db --policy policy.toml --root root.der --url URL --secret key.bin
  pass show db | shelter send tcp:host:8443 --container db … --secret - --answer line --expect unlocked";

pub(super) const CONNECT_HELP: &str = "\
Without --listen, standard input goes to the program in the container, and its words to standard output. With it,
each connection to the local address becomes a session of its own, verified before the first byte goes through, so
that any program can be the client. Whoever can reach that address speaks as you.

Examples:
  printf 'GET / HTTP/1.0\\r\\n\\r\\n' | shelter connect tcp:host:8443 --container web --policy p.toml --root r.der --url URL
  shelter connect tcp:host:8443 --container web … --listen 127.0.0.1:8080 &
  curl http://127.0.0.1:8080/";

pub(super) const WATCH_HELP: &str = "\
Each verdict is one line of JSON, as of `verify --json`. Its word is `unreachable` where nothing could be judged, for
longer than --grace. A change is another word, another instance (the container was restarted) or another measurement.
Without a command, the first change ends the watch, with verify's exit code. With one, it is run at every change, with
the verdict on its standard input and SHELTER_VERDICT and SHELTER_BEFORE in its environment, and the watch goes on.

Examples:
  shelter watch tcp:host:8443 --container web --policy policy.toml --root root.der --cache DIR --every 300
  shelter watch tcp:host:8443 --container db … -- ./unlock-again.sh";

/// Heading of its options. Each names it: a heading for those that follow would stand over the commands' own, too.
const CONTAINER: &str = "A running container";

/// How to reach a container.
#[derive(Args, Clone)]
pub(crate) struct Peer {
    /// Its name, by which the relay on its host finds it
    #[arg(long, value_name = "NAME", help_heading = CONTAINER)]
    pub(crate) container: Option<String>,
    /// Only this instance of it, 16 bytes, 32 digits
    #[arg(long, value_name = "HEX", value_parser = hex::array::<16>, help_heading = CONTAINER)]
    pub(crate) instance_id: Option<[u8; 16]>,
    /// Most time for each step: to connect, to open the session, to attest again
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds, help_heading = CONTAINER)]
    pub(crate) timeout: Duration,
}

#[derive(Args)]
pub(crate) struct Delivery {
    /// tcp:HOST:PORT or unix:PATH
    #[arg(value_name = "TARGET")]
    pub(crate) target: Address,
    #[command(flatten)]
    pub(crate) peer: Peer,
    #[command(flatten)]
    pub(crate) trust: Trust,
    /// The secret, at most 1 MiB; - for standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) secret: PathBuf,
    /// How far the answer goes
    #[arg(long, default_value = "end")]
    pub(crate) answer: Answer,
    /// The answer must be this, up to a newline at its end; else exit code 1
    #[arg(long, value_name = "TEXT")]
    pub(crate) expect: Option<String>,
}

/// How far an answer goes.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Answer {
    /// Until the program closes, within --timeout of its last word
    End,
    /// One line
    Line,
    /// None is waited for
    None,
}

#[derive(Args)]
pub(crate) struct Connect {
    /// tcp:HOST:PORT or unix:PATH
    #[arg(value_name = "TARGET")]
    pub(crate) target: Address,
    #[command(flatten)]
    pub(crate) peer: Peer,
    #[command(flatten)]
    pub(crate) trust: Trust,
    /// Accept connections of this machine at IP:PORT or unix:PATH
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// Also listen where other machines can reach it
    #[arg(long, requires = "listen")]
    pub(crate) listen_publicly: bool,
}

#[derive(Args)]
pub(crate) struct Watch {
    /// tcp:HOST:PORT or unix:PATH
    #[arg(value_name = "TARGET")]
    pub(crate) target: Address,
    #[command(flatten)]
    pub(crate) peer: Peer,
    #[command(flatten)]
    pub(crate) trust: Trust,
    /// Ask for new evidence at this interval
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) every: Duration,
    /// How long a lost container may stay away before that is a change
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) grace: Duration,
    /// What to run at each change
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// Seconds, with a fraction if wanted: more than none, at most a day.
fn seconds(text: &str) -> Result<Duration, String> {
    let value: f64 = text.parse().map_err(|_| format!("expected seconds, got {text:?}"))?;
    if value > 0.0 && value <= 86_400.0 {
        Ok(Duration::from_secs_f64(value))
    } else {
        Err(format!("expected more than 0 and at most 86400 seconds, got {text}"))
    }
}
