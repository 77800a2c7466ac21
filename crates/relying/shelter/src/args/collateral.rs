//! Options of `shelter collateral`.

use ::collateral::object::{Ca, Tee};
use attestation::hex;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Subcommand)]
pub(crate) enum Collateral {
    /// Ask a PCS or PCCS, verify, and keep
    #[command(after_help = "\
Example:
  shelter collateral fetch --url https://api.trustedservices.intel.com --evidence quote --root root.der --output b.json")]
    Fetch(Fetch),
    /// Show what a bundle or a cache holds
    Show(Show),
    /// Take bundles into a cache, as if they had been fetched
    Import(Import),
    /// Write a bundle out of a cache, for a verifier without network
    Export(Export),
}

/// Which collateral.
#[derive(Args)]
pub(crate) struct Platform {
    /// That of this quote
    #[arg(long, value_name = "FILE", conflicts_with_all = ["fmspc", "tee", "ca"])]
    pub(crate) evidence: Option<PathBuf>,
    /// That of this kind of platform: 12 digits
    #[arg(long, value_name = "HEX", value_parser = hex::array::<6>, requires_all = ["tee", "ca"])]
    pub(crate) fmspc: Option<[u8; 6]>,
    /// For quotes of this TEE
    #[arg(long, requires = "fmspc")]
    pub(crate) tee: Option<TeeName>,
    /// For PCK certificates of this CA
    #[arg(long, requires = "fmspc")]
    pub(crate) ca: Option<CaName>,
}

/// A TEE on the command line.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum TeeName {
    Sgx,
    Tdx,
}

/// A PCK CA on the command line.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum CaName {
    Processor,
    Platform,
}

impl From<TeeName> for Tee {
    fn from(name: TeeName) -> Self {
        match name {
            TeeName::Sgx => Self::Sgx,
            TeeName::Tdx => Self::Tdx,
        }
    }
}

impl From<CaName> for Ca {
    fn from(name: CaName) -> Self {
        match name {
            CaName::Processor => Self::Processor,
            CaName::Platform => Self::Platform,
        }
    }
}

#[derive(Args)]
pub(crate) struct Fetch {
    /// PCS or PCCS to ask
    #[arg(long, value_name = "URL")]
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) platform: Platform,
    /// The trust anchor: a root certificate, DER or PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) root: PathBuf,
    /// Keep it in this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
    /// Write a bundle
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Show {
    /// A bundle
    #[arg(conflicts_with = "cache")]
    pub(crate) file: Option<PathBuf>,
    /// A cache
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
    /// Also verify the bundle under this trust anchor
    #[arg(long, value_name = "FILE", requires = "file")]
    pub(crate) root: Option<PathBuf>,
    /// The moment to verify for, in seconds since 1970; the machine's clock if left out
    #[arg(long, value_name = "UNIX_SECONDS", requires = "root")]
    pub(crate) at: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Import {
    /// Bundles
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// The cache
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: PathBuf,
    /// The trust anchor: a root certificate, DER or PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) root: PathBuf,
    /// The moment to verify for, in seconds since 1970; the machine's clock if left out
    #[arg(long, value_name = "UNIX_SECONDS")]
    pub(crate) at: Option<u64>,
}

#[derive(Args)]
pub(crate) struct Export {
    /// The cache
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: PathBuf,
    #[command(flatten)]
    pub(crate) platform: Platform,
    /// The trust anchor: a root certificate, DER or PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) root: PathBuf,
    /// The bundle to write
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// The moment to verify for, in seconds since 1970; the machine's clock if left out
    #[arg(long, value_name = "UNIX_SECONDS")]
    pub(crate) at: Option<u64>,
}
