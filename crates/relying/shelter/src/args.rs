//! The command line.

use ::collateral::object::{Ca, Tee};
use clap::{Args, Parser, Subcommand, ValueEnum};
use convert::policy::Bytes;
use std::path::PathBuf;
use workload::digest::Digest;

/// Decides whether evidence is to be trusted.
#[derive(Parser)]
#[command(version, propagate_version = true, after_help = crate::EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Judge evidence
    #[command(after_help = "\
Evidence is accepted where every check holds: it is genuine under the one root given, the policy allows what was
found, and it is bound to the report data. --authenticate-only asks for less and never says `accepted`.

Examples:
  shelter verify --evidence quote --collateral collateral.json --root root.der --policy policy.toml --report-data HEX
  shelter verify --evidence quote --url https://pccs.example --cache /var/lib/shelter --root root.der \\
      --policy policy.toml --report-data HEX --json | shelter explain")]
    Verify(Verify),
    /// Show a verdict to a person; ends as the command that gave it
    Explain(Explain),
    /// Recompute the measurement of an image, an enclave file or a bundle
    #[command(after_help = "\
An image (OCI layout, archive of docker save, rootfs directory) is converted again, in memory: give the same
--policy and options that `inclavare image convert` was given, and the same version of shelter. An enclave file,
pack or bundle is measured as the processor would; its SIGSTRUCT, where there is one, is checked.

Examples:
  shelter measure app.tar --policy rules.toml
  shelter measure bundle --expect 2f3e…
  shelter measure enclave.sgxs --sigstruct enclave.sig --json")]
    Measure(Measure),
    /// Fetch, show and carry what is needed to judge quotes
    #[command(subcommand)]
    Collateral(Collateral),
}

#[derive(Args)]
pub(crate) struct Verify {
    /// The evidence: an SGX or TDX quote, or a SEV-SNP report of 1184 bytes
    #[arg(long, value_name = "FILE")]
    pub(crate) evidence: PathBuf,
    #[command(flatten)]
    pub(crate) source: CollateralSource,
    #[command(flatten)]
    pub(crate) endorsements: EndorsementFiles,
    /// The one trust anchor: a root certificate, DER or PEM, which the policy must name
    #[arg(long, value_name = "FILE")]
    pub(crate) root: PathBuf,
    /// What is accepted: a TOML file. Needed, except to authenticate: then it is the strict one
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Values that the policy refers to by name: a TOML file
    #[arg(long, value_name = "FILE")]
    pub(crate) references: Option<PathBuf>,
    /// What the evidence must be bound to: 64 bytes, 128 digits
    #[arg(long, value_name = "HEX", conflicts_with = "authenticate_only")]
    pub(crate) report_data: Option<String>,
    /// Judge origin, certificates and patch level only, not what runs there or whose it is
    #[arg(long)]
    pub(crate) authenticate_only: bool,
    /// The moment to judge for, in seconds since 1970; the machine's clock if left out
    #[arg(long, value_name = "UNIX_SECONDS")]
    pub(crate) at: Option<u64>,
    /// Also list the checks that hold
    #[arg(long)]
    pub(crate) all: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "all")]
    pub(crate) json: bool,
}

/// What vouches for a SEV-SNP report.
#[derive(Args)]
pub(crate) struct EndorsementFiles {
    /// Of a SEV-SNP report: the VCEK or VLEK certificate, DER or PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) endorsement_key: Option<PathBuf>,
    /// Of a SEV-SNP report: the ASK or ASVK certificate, DER or PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) authority: Option<PathBuf>,
    /// Of a SEV-SNP report: the root's CRL, DER
    #[arg(long, value_name = "FILE")]
    pub(crate) crl: Option<PathBuf>,
}

impl EndorsementFiles {
    pub(crate) fn is_given(&self) -> bool {
        self.endorsement_key.is_some() || self.authority.is_some() || self.crl.is_some()
    }
}

/// Where collateral of quotes comes from.
#[derive(Args)]
pub(crate) struct CollateralSource {
    /// A bundle of collateral: JSON in dcap-qvl's form QuoteCollateralV3
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cache", "url"])]
    pub(crate) collateral: Option<PathBuf>,
    /// Directory where fetched collateral and the newest edition seen are kept
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
    /// PCS or PCCS to ask for what is not there
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
}

#[derive(Args)]
pub(crate) struct Explain {
    /// JSON of `shelter verify --json`; standard input if left out
    pub(crate) file: Option<PathBuf>,
    /// Also list the checks that hold
    #[arg(long)]
    pub(crate) all: bool,
}

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
    #[arg(long, value_name = "HEX", value_parser = fmspc, requires_all = ["tee", "ca"])]
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

#[derive(Args)]
pub(crate) struct Measure {
    /// Image, enclave file, pack or bundle
    pub(crate) target: PathBuf,
    /// MRENCLAVE that it should have; another is refused
    #[arg(long, value_name = "HEX", value_parser = digest)]
    pub(crate) expect: Option<Digest>,
    /// Of an enclave file: its SIGSTRUCT
    #[arg(long, value_name = "FILE")]
    pub(crate) sigstruct: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) conversion: Conversion,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How an image was converted.
#[derive(Args)]
#[group(multiple = true)]
pub(crate) struct Conversion {
    /// Of an image: which of several in it
    #[arg(long = "ref", value_name = "NAME")]
    pub(crate) reference: Option<String>,
    /// Of an image: the rules it was converted with
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Of an image: size of the enclave, over the policy's
    #[arg(long, value_name = "BYTES")]
    pub(crate) enclave_size: Option<Bytes>,
    /// Of an image: most threads, over the policy's
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<u32>,
    /// Of an image: it reads the host's standard input
    #[arg(long)]
    pub(crate) stdin: bool,
    /// Of an image: it accepts a terminal
    #[arg(long)]
    pub(crate) tty: bool,
    /// Of an image: a debug enclave
    #[arg(long)]
    pub(crate) debug: bool,
    /// Of an image: the command line, over the policy's and the image's
    #[arg(last = true, value_name = "ARGV")]
    pub(crate) argv: Vec<String>,
}

fn digest(text: &str) -> Result<Digest, String> {
    Digest::from_hex(&text.to_ascii_lowercase())
        .ok_or_else(|| format!("expected 64 hexadecimal digits, got {} characters", text.len()))
}

fn fmspc(text: &str) -> Result<[u8; 6], String> {
    attestation::hex::array(text).map_err(|error| error.to_string())
}
