//! Options of `shelter verify`, `explain` and `report`.

use super::{Peer, Trust};
use clap::Args;
use std::path::PathBuf;

pub(super) const VERIFY_HELP: &str = "\
A running container proves itself inside the very session that shelter opens with it. Evidence in a file is
accepted where it is bound to --report-data; --authenticate-only asks for less and never says `accepted`.

Examples:
  shelter verify tcp:host:8443 --container web --policy policy.toml --root root.der --url https://pccs.example
  shelter verify tcp:host:8443 --container web --reference payroll --root root.der --cache /var/lib/shelter
  shelter verify quote --collateral collateral.json --root root.der --policy policy.toml --report-data HEX
  shelter verify quote --url https://pccs.example --root root.der --policy policy.toml \\
      --report-data HEX --json | shelter explain";

pub(super) const REPORT_HELP: &str = "\
The page needs nothing beside itself: no script, no network. Whatever it shows of the container's own words is
escaped. It is written for a refusal too; the exit code is that of verify.

Examples:
  shelter report tcp:host:8443 --container web --policy policy.toml --root root.der --url URL --output web.html
  shelter report --evidence quote --collateral c.json --root root.der --policy policy.toml --report-data HEX \\
      --measure app.tar --output quote.html";

#[derive(Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) judged: Judged,
    /// Also list the checks that hold
    #[arg(long)]
    pub(crate) all: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "all")]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Report {
    #[command(flatten)]
    pub(crate) judged: Judged,
    /// The page to write
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Also measure this image, pack, bundle or enclave file, and show what is in it
    #[arg(long, value_name = "PATH")]
    pub(crate) measure: Option<PathBuf>,
    /// Of the image to measure: which of several in it
    #[arg(long = "ref", value_name = "NAME", requires = "measure")]
    pub(crate) image_reference: Option<String>,
    /// Of the image to measure: the rules it was converted with, which must have what else was said then (argv)
    #[arg(long, value_name = "FILE", requires = "measure")]
    pub(crate) rules: Option<PathBuf>,
}

const FILE: &str = "Evidence in a file";
const SNP: &str = "Evidence in a file that is a SEV-SNP report";

/// What is judged, and by what.
#[derive(Args)]
pub(crate) struct Judged {
    /// A running container, tcp:HOST:PORT or unix:PATH; or a file of evidence
    #[arg(value_name = "TARGET")]
    pub(crate) target: Option<String>,
    /// The file, also as TARGET: an SGX or TDX quote, or a SEV-SNP report of 1184 bytes
    #[arg(long, value_name = "FILE", conflicts_with = "target", help_heading = FILE)]
    pub(crate) evidence: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) peer: Peer,
    #[command(flatten)]
    pub(crate) trust: Trust,
    #[command(flatten)]
    pub(crate) endorsements: EndorsementFiles,
    /// What it must be bound to, 64 bytes, 128 digits
    #[arg(long, value_name = "HEX", conflicts_with = "authenticate_only", help_heading = FILE)]
    pub(crate) report_data: Option<String>,
    /// Judge origin, certificates and patch level only
    #[arg(long, help_heading = FILE)]
    pub(crate) authenticate_only: bool,
    /// Judge what runs there too, and not whose it is; says `authentic`
    #[arg(long, conflicts_with_all = ["authenticate_only", "report_data"], help_heading = FILE)]
    pub(crate) unbound: bool,
    /// Keep evidence, claims, collateral and verdict in this new directory
    #[arg(long, value_name = "DIR")]
    pub(crate) save: Option<PathBuf>,
}

/// What vouches for a SEV-SNP report.
#[derive(Args, Default)]
pub(crate) struct EndorsementFiles {
    /// The VCEK or VLEK certificate, DER or PEM
    #[arg(long, value_name = "FILE", help_heading = SNP)]
    pub(crate) endorsement_key: Option<PathBuf>,
    /// The ASK or ASVK certificate, DER or PEM
    #[arg(long, value_name = "FILE", help_heading = SNP)]
    pub(crate) authority: Option<PathBuf>,
    /// The root's CRL, DER
    #[arg(long, value_name = "FILE", help_heading = SNP)]
    pub(crate) crl: Option<PathBuf>,
}

impl EndorsementFiles {
    pub(crate) fn is_given(&self) -> bool {
        self.endorsement_key.is_some() || self.authority.is_some() || self.crl.is_some()
    }
}

#[derive(Args)]
pub(crate) struct Explain {
    /// JSON of `shelter verify --json`; standard input if left out
    pub(crate) file: Option<PathBuf>,
    /// Also list the checks that hold
    #[arg(long)]
    pub(crate) all: bool,
}
