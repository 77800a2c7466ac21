//! The command line.

mod hop;

pub(crate) use hop::{Hop, Task};

use clap::{Parser, ValueEnum};
use core::time::Duration;
use inclavared::address::Address;
use inclavared::name::Name;
use std::path::PathBuf;

/// Relays attested sessions between verifiers and containers, without ending them.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "\
A connection is relayed if its TLS ClientHello offers TLS 1.3 and ALPN eaa-bound/1, and SNI names a container.
ADDR is IP:PORT, unix:PATH (or a path with a slash) or vsock:CID:PORT. SIGHUP reads --containers again, which
also happens when it changes; SIGTERM accepts nothing more and ends when the open connections have.

With --hop-by-hop, off by default, it speaks upstream's protocol instead and ends the sessions of both sides.

Examples:
  inclavared --listen 0.0.0.0:8443 --container web=127.0.0.1:9443
  inclavared --listen 0.0.0.0:8443 --containers /run/inclavared --metrics 127.0.0.1:9100
  inclavared --hop-by-hop -l 0.0.0.0:1234 -x 127.0.0.1:9443 --key key.pem --policy compat.toml --root root.pem \\
      --collateral collateral.json"
)]
pub(crate) struct Arguments {
    /// Where verifiers connect; may be given several times
    #[arg(short, long, value_name = "ADDR")]
    pub(crate) listen: Vec<Address>,
    /// A container and where its attester listens; may be given several times
    #[arg(long, value_name = "NAME=ADDR", value_parser = container)]
    pub(crate) container: Vec<(Name, Address)>,
    /// A directory with a file for each container: its name is the container's, its contents the address
    #[arg(long, value_name = "DIR")]
    pub(crate) containers: Option<PathBuf>,
    /// Threads; as many as the machine has processors if left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// Most connections; 10000, or what the limit of open files allows, if left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: Option<u32>,
    /// Most connections of one source: an IPv4 address or an IPv6 network of 64 bits
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_per_source: u32,
    /// How long a ClientHello may take
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) hello_timeout: Duration,
    /// How long connecting to a container may take
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) connect_timeout: Duration,
    /// How long nothing may move in either direction
    #[arg(long, value_name = "SECONDS", default_value = "3600", value_parser = seconds)]
    pub(crate) idle_timeout: Duration,
    /// How long nothing may move once one direction has ended
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) half_open_timeout: Duration,
    /// How long open connections may go on after SIGTERM
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) drain_timeout: Duration,
    /// Serve counters there, in Prometheus' text format
    #[arg(long, value_name = "ADDR")]
    pub(crate) metrics: Option<Address>,
    /// How much is written to standard error
    #[arg(long, value_enum, default_value_t = LogLevel::Info)]
    pub(crate) log_level: LogLevel,
    #[command(flatten)]
    pub(crate) hop: Hop,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<LogLevel> for tracing::level_filters::LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

fn container(text: &str) -> Result<(Name, Address), String> {
    let (name, address) = text.split_once('=').ok_or("expected NAME=ADDR, got no =")?;
    let name = name.parse().map_err(|error: inclavared::name::NameError| error.to_string())?;
    let address =
        address.parse().map_err(|error: inclavared::address::AddressError| error.to_string())?;
    Ok((name, address))
}

/// Longest time: beyond it the runtime's timers stop anyway.
const MOST_SECONDS: f64 = 365.0 * 86400.0;

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| format!("expected seconds, got {text}"))?;
    if !(0.001..=MOST_SECONDS).contains(&number) {
        return Err(format!("expected 0.001 to {MOST_SECONDS} seconds, got {text}"));
    }
    Ok(Duration::from_secs_f64(number))
}
