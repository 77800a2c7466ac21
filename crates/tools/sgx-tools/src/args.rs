//! The command line. Commands and options of the first five are upstream's; `--aesm` and what `verify-quote`
//! needs for ECDSA are ours.

use crate::quote_type::QuoteType;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where `--help` lists an option of all commands: after a command's own.
const LAST: usize = 900;

/// Asks the architectural enclaves of this host, and judges their quotes.
#[derive(Parser)]
#[command(version, propagate_version = true, after_help = crate::EXIT_CODES)]
pub(crate) struct Arguments {
    /// Results as JSON, one object on one line
    #[arg(long, global = true, display_order = LAST)]
    pub(crate) json: bool,
    /// Say on standard error what is being done
    #[arg(long, global = true, display_order = LAST)]
    pub(crate) verbose: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Get a launch token for a signed enclave (CPUs without flexible launch control only)
    GenToken(GenToken),
    /// Get what an enclave must make its report for to have it quoted
    GenQeTargetInfo(GenQeTargetInfo),
    /// Get a quote of an enclave's report
    GenQuote(GenQuote),
    /// Judge a quote
    #[command(after_help = "\
Examples:
  sgx-tools verify-quote --quote-type ecdsa --quote quote.bin --collateral collateral.json \\
      --root root.pem --policy policy.toml --report-data HEX
  sgx-tools verify-quote --quote-type ecdsa --quote quote.bin --collateral collateral.json \\
      --root root.pem --policy policy.toml --authenticate-only")]
    VerifyQuote(VerifyQuote),
    /// Read a report that Intel's attestation service gave before it was shut down
    GetIasReport(GetIasReport),
    /// Show what is in a quote, report, target information or attestation report
    Inspect(Inspect),
    /// The emulated platform of this host: it proves nothing, to nobody who was not told to trust it
    #[command(subcommand)]
    Emulator(Emulator),
}

/// Where the daemon is.
#[derive(Args)]
pub(crate) struct Daemon {
    /// Socket of the daemon
    #[arg(long, value_name = "SOCKET", default_value = aesm::DEFAULT_SOCKET)]
    pub(crate) aesm: PathBuf,
}

#[derive(Args)]
pub(crate) struct GenToken {
    /// SIGSTRUCT of the enclave, 1808 bytes
    #[arg(long, value_name = "FILE")]
    pub(crate) signature: PathBuf,
    /// Where to write the token [default: the signature's name with .token]
    #[arg(long, value_name = "FILE")]
    pub(crate) token: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) daemon: Daemon,
}

#[derive(Args)]
pub(crate) struct GenQeTargetInfo {
    /// ecdsa; epidUnlinkable and epidLinkable are retired
    #[arg(long, value_name = "TYPE")]
    pub(crate) quote_type: QuoteType,
    /// Where to write TARGETINFO, 512 bytes
    #[arg(long, value_name = "FILE", default_value = "qe_targetinfo.bin")]
    pub(crate) targetinfo: PathBuf,
    #[command(flatten)]
    pub(crate) daemon: Daemon,
}

#[derive(Args)]
pub(crate) struct GenQuote {
    /// ecdsa; epidUnlinkable and epidLinkable are retired
    #[arg(long, value_name = "TYPE")]
    pub(crate) quote_type: QuoteType,
    /// REPORT of the enclave for the quoting enclave, 432 bytes
    #[arg(long, value_name = "FILE")]
    pub(crate) report: PathBuf,
    /// Service provider id: EPID's, of no use for ecdsa
    #[arg(long, value_name = "HEX")]
    pub(crate) spid: Option<String>,
    /// Where to write the quote
    #[arg(long, value_name = "FILE", default_value = "quote.bin")]
    pub(crate) quote: PathBuf,
    #[command(flatten)]
    pub(crate) daemon: Daemon,
}

#[derive(Args)]
pub(crate) struct VerifyQuote {
    /// ecdsa; epidUnlinkable and epidLinkable are retired
    #[arg(long, value_name = "TYPE")]
    pub(crate) quote_type: QuoteType,
    /// The quote
    #[arg(long, value_name = "FILE")]
    pub(crate) quote: PathBuf,
    /// Service provider id: EPID's, of no use for ecdsa
    #[arg(long, value_name = "HEX")]
    pub(crate) spid: Option<String>,
    /// Key for Intel's attestation service: EPID's, of no use for ecdsa
    #[arg(long, alias = "key", value_name = "HEX")]
    pub(crate) subscription_key: Option<String>,
    /// Collateral (QuoteCollateralV3 in JSON)
    #[arg(long, value_name = "FILE")]
    pub(crate) collateral: PathBuf,
    /// The one root certificate to trust, PEM or DER
    #[arg(long, value_name = "FILE")]
    pub(crate) root: PathBuf,
    /// What is accepted (TOML)
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: PathBuf,
    /// What the report must be bound to, 64 bytes
    #[arg(long, value_name = "HEX", required_unless_present = "authenticate_only")]
    pub(crate) report_data: Option<String>,
    /// Judge origin and patch level only; the verdict is never `accepted`
    #[arg(long, conflicts_with = "report_data")]
    pub(crate) authenticate_only: bool,
    /// Judge as of this moment [default: now]
    #[arg(long, value_name = "UNIX_SECONDS")]
    pub(crate) at: Option<u64>,
}

#[derive(Args)]
pub(crate) struct GetIasReport {
    /// The stored report: the JSON body of the service's answer
    #[arg(value_name = "FILE")]
    pub(crate) report: PathBuf,
    /// Header X-IASReport-Signature of the answer, to check the report
    #[arg(long, value_name = "FILE", requires = "certificates", requires = "root")]
    pub(crate) signature: Option<PathBuf>,
    /// Header X-IASReport-Signing-Certificate of the answer
    #[arg(long, value_name = "FILE", requires = "signature", requires = "root")]
    pub(crate) certificates: Option<PathBuf>,
    /// The CA of the service to trust, PEM or DER
    #[arg(long, value_name = "FILE", requires = "signature", requires = "certificates")]
    pub(crate) root: Option<PathBuf>,
    /// ecdsa is not what the service gave; EPID types are taken, and said to be retired
    #[arg(long, value_name = "TYPE")]
    pub(crate) quote_type: Option<QuoteType>,
}

#[derive(Args)]
pub(crate) struct Inspect {
    /// What to show; the kind is told by its contents
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Subcommand)]
pub(crate) enum Emulator {
    /// Quote for this host's emulated enclaves and serve the collateral, until stopped
    Serve(Serve),
    /// Print the root certificate that a verifier must be told to trust (PEM)
    Root(Directory),
    /// Print the collateral for this host's quotes, as of now (QuoteCollateralV3 in JSON)
    Collateral(Collateral),
}

/// Which emulated platform.
#[derive(Args)]
pub(crate) struct Directory {
    /// Where the emulator's secret is, and the lab root if there is one
    #[arg(long, value_name = "DIRECTORY", default_value = emulated_platform::DEFAULT_DIRECTORY)]
    pub(crate) directory: PathBuf,
}

#[derive(Args)]
pub(crate) struct Serve {
    /// Where to listen as the daemon
    #[arg(long, value_name = "SOCKET", default_value = aesm::DEFAULT_SOCKET)]
    pub(crate) aesm: PathBuf,
    /// Where to listen as the provisioning service, plain HTTP
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    pub(crate) pcs: SocketAddr,
    #[command(flatten)]
    pub(crate) directory: Directory,
    #[command(flatten)]
    pub(crate) platform: Platform,
    #[command(flatten)]
    pub(crate) judgement: Judgement,
}

#[derive(Args)]
pub(crate) struct Collateral {
    #[command(flatten)]
    pub(crate) directory: Directory,
    /// Which CA certifies the platform
    #[arg(long, default_value = "processor")]
    pub(crate) ca: Ca,
    #[command(flatten)]
    pub(crate) judgement: Judgement,
}

/// What the emulated platform says about itself, to test verifiers with.
#[derive(Args)]
#[command(next_help_heading = "What the platform is, to test verifiers with")]
pub(crate) struct Platform {
    /// Which CA certifies it
    #[arg(long, default_value = "processor")]
    pub(crate) ca: Ca,
    /// CPUSVN, 16 bytes [default: the current one]
    #[arg(long, value_name = "HEX")]
    pub(crate) cpusvn: Option<String>,
    /// PCESVN [default: the current one]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) pcesvn: Option<u16>,
    /// ISVSVN of the quoting enclave [default: the current one]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) qe_isvsvn: Option<u16>,
}

/// What collateral says about the emulated platform, to test verifiers with.
#[derive(Args)]
#[command(next_help_heading = "What collateral says, to test verifiers with")]
pub(crate) struct Judgement {
    /// What the current security versions are worth
    #[arg(long, value_name = "STATUS", default_value = "UpToDate")]
    pub(crate) tcb_status: String,
    /// An advisory for the current security versions; may be repeated
    #[arg(long, value_name = "ID")]
    pub(crate) advisory: Vec<String>,
    /// What is revoked: this platform's key, or its CA
    #[arg(long, value_name = "WHAT")]
    pub(crate) revoke: Vec<Revoked>,
    /// TCB evaluation data number
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) evaluation: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Revoked {
    Pck,
    Ca,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ca {
    Processor,
    Platform,
}
