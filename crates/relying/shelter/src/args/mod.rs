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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// `--json` of measure once stood under the heading of a conversion's options, which it followed.
    #[test]
    fn no_option_stands_under_a_heading_of_others() {
        let mut command = Arguments::command();
        command.build();
        let headed = |verb: &str, option: &str| {
            let verb = command.find_subcommand(verb).unwrap();
            let option = verb.get_arguments().find(|it| it.get_long() == Some(option)).unwrap();
            option.get_help_heading()
        };
        for (verb, options) in [
            ("measure", &["json", "expect", "store"][..]),
            ("verify", &["json", "all", "save"]),
            ("report", &["output", "measure", "ref", "rules", "save"]),
            ("send", &["secret", "answer", "expect"]),
            ("connect", &["listen", "listen-publicly"]),
            ("watch", &["every", "grace"]),
            ("remoteattestation", &["json", "verbose", "addr"]),
        ] {
            for option in options {
                assert_eq!(headed(verb, option), None, "{verb} --{option}");
            }
        }
        for (verb, option, heading) in [
            ("measure", "debug", "Of an image, as it was converted"),
            ("verify", "container", "A running container"),
            ("send", "root", "Whom to trust"),
            ("watch", "url", "Collateral, by which quotes are judged"),
            ("report", "unbound", "Evidence in a file"),
        ] {
            assert_eq!(headed(verb, option), Some(heading), "{verb} --{option}");
        }
    }
}
