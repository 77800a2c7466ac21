//! The command line.

mod collateral;
mod live;
mod measure;
mod reference;
mod trust;
mod upstream;
mod verify;

pub(crate) use collateral::{Collateral, Export, Fetch, Import, Platform, Show};
pub(crate) use live::{Answer, Connect, Delivery, Peer, Watch};
pub(crate) use measure::{Conversion, Measure};
pub(crate) use reference::{Reference, Store};
pub(crate) use trust::{CollateralSource, Trust};
pub(crate) use upstream::{MrVerify, RemoteAttestation};
pub(crate) use verify::{EndorsementFiles, Explain, Judged, Report, Verify};

use clap::{Parser, Subcommand};

/// Decides whether a container or its evidence is to be trusted.
#[derive(Parser)]
#[command(version, propagate_version = true, after_help = crate::EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Judge a running container, or evidence in a file
    #[command(after_help = verify::VERIFY_HELP)]
    Verify(Box<Verify>),
    /// Write a verdict as a page to read, print and file
    #[command(after_help = verify::REPORT_HELP)]
    Report(Box<Report>),
    /// Verify a container, send it a secret, print its answer
    #[command(after_help = live::SEND_HELP)]
    Send(Box<Delivery>),
    /// Verify a container, and talk with it: a pipe, or a local port for other programs
    #[command(after_help = live::CONNECT_HELP)]
    Connect(Box<Connect>),
    /// Verify a container again and again, and say when the verdict changes
    #[command(after_help = live::WATCH_HELP)]
    Watch(Box<Watch>),
    /// Show a verdict to a person; ends as the command that gave it
    Explain(Explain),
    /// Recompute the measurement of an image, an enclave file or a bundle
    #[command(after_help = measure::HELP)]
    Measure(Measure),
    /// Measurements kept under names: list, show, remove, make a policy of them
    #[command(subcommand, after_help = reference::HELP)]
    Reference(Reference),
    /// Fetch, show and carry what is needed to judge quotes
    #[command(subcommand)]
    Collateral(Collateral),
    /// Upstream's name for verify; takes its options, and says what became of each
    #[command(after_help = upstream::REMOTE_HELP)]
    Remoteattestation(Box<RemoteAttestation>),
    /// Upstream's name for measure; it needs an image to measure
    #[command(after_help = upstream::MRVERIFY_HELP)]
    Mrverify(MrVerify),
}
