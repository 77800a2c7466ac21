//! Upstream's flags and ours, and what they come to.

use crate::end::{self, End, Failure};
use clap::{Args, Parser, ValueEnum};
use rats_tls::Setup;
use rats_tls::binding::Role;
use rats_tls::names::Names;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Shown below the flags.
const AFTER: &str = "\
A server proves itself and a client verifies; with --mutual both do both. An end that proves itself needs --device,
an end that verifies needs --policy and --root.

Exit codes:
  0  done
  1  no session, or it failed: the message names what was looked at, what was expected and what came
  2  wrong use of the command, or a file that cannot be read";

/// What is said on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum LogLevel {
    Off,
    Fatal,
    Error,
    Warn,
    Info,
    Debug,
}

/// Flags of all four programs.
#[derive(Args)]
pub(crate) struct Common {
    /// What makes evidence: sgx_ecdsa, or nullattester to prove nothing [default: sgx_ecdsa]
    #[arg(short, long, value_name = "NAME", default_value = "", hide_default_value = true)]
    attester: String,
    /// What verifies it: sgx_ecdsa, tdx_ecdsa, or nullverifier for nothing [default: both kinds]
    #[arg(short, long, value_name = "NAME", default_value = "", hide_default_value = true)]
    verifier: String,
    /// TLS: rustls
    #[arg(short, long, value_name = "NAME", default_value = "", hide_default_value = true)]
    tls: String,
    /// Its cryptography: ring
    #[arg(short, long, value_name = "NAME", default_value = "", hide_default_value = true)]
    crypto: String,
    /// Both ends prove themselves and verify
    #[arg(short, long)]
    mutual: bool,
    /// What is said on standard error: off, fatal, error, warn, info or debug
    #[arg(short, long, value_name = "LEVEL", default_value = "error", hide_possible_values = true)]
    log_level: LogLevel,
    /// Address of the server
    #[arg(short, long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    ip: IpAddr,
    /// Port of the server; a server that is given 0 says which it chose
    #[arg(short, long, default_value_t = 1234)]
    port: u16,
    /// What the peer must be: a policy, TOML (docs/attestation/policy.md)
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The one trust anchor: a certificate, DER or PEM
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// Collateral, QuoteCollateralV3 as JSON: to use in place of the peer's, and to send
    #[arg(long, value_name = "FILE")]
    collateral: Option<PathBuf>,
    /// Where evidence comes from: /dev/attestation in an enclave
    #[arg(long, value_name = "DIRECTORY")]
    device: Option<PathBuf>,
}

/// Sessions whose peer proves what it runs, under RATS-TLS's flags
#[derive(Parser)]
#[command(version, after_help = AFTER)]
pub(crate) struct RatsFlags {
    #[command(flatten)]
    common: Common,
    /// Send collateral with evidence
    #[arg(short, long)]
    endorsements: bool,
    /// Refused: no enclave is made here; a policy allows debug enclaves with allow_debug
    #[arg(short = 'D', long)]
    debug_enclave: bool,
}

/// Sessions whose peer proves what it runs, under RATS-TLS's flags
#[derive(Parser)]
#[command(version, after_help = AFTER)]
pub(crate) struct RatsClientFlags {
    #[command(flatten)]
    rats: RatsFlags,
    /// Refused: there is no key broker to talk to yet
    #[arg(short = 'E', long)]
    verdictd: bool,
}

/// Sessions whose peer proves what it runs, under Enclave-TLS's flags
#[derive(Parser)]
#[command(version, after_help = AFTER)]
pub(crate) struct EnclaveFlags {
    #[command(flatten)]
    common: Common,
    /// Always so: a peer's debug enclave is refused unless the policy allows it
    #[arg(short = 'P', long)]
    product_enclave: bool,
}

impl RatsFlags {
    pub(crate) fn end(self, role: Role) -> Result<End, Failure> {
        if self.debug_enclave {
            return Err(Failure::Flag {
                flag: "--debug-enclave",
                advice: "this program makes no enclave; to accept a peer's, say allow_debug = true in the policy",
            });
        }
        self.common.end(role, self.endorsements)
    }
}

impl RatsClientFlags {
    pub(crate) fn end(self) -> Result<End, Failure> {
        if self.verdictd {
            return Err(Failure::Flag {
                flag: "--verdictd",
                advice: "there is no key broker to talk to yet; leave it out",
            });
        }
        self.rats.end(Role::Client)
    }
}

impl EnclaveFlags {
    pub(crate) fn end(self, role: Role) -> Result<End, Failure> {
        // Enclave-TLS has no flag for it: collateral that is given is sent.
        let endorses = self.common.collateral.is_some();
        self.common.end(role, endorses)
    }
}

impl Common {
    fn end(self, role: Role, endorses: bool) -> Result<End, Failure> {
        let names = Names {
            tls: &self.tls,
            crypto: &self.crypto,
            attester: &self.attester,
            verifier: &self.verifier,
        };
        let chosen = names.choose().map_err(Failure::Name)?;
        let setup = Setup {
            policy: self.policy,
            root: self.root,
            collateral: self.collateral,
            device: self.device,
            ..Setup::default()
        };
        let attests = chosen.attests_as(role, self.mutual);
        let verifies = chosen.verifies_as(role, self.mutual);
        let address = SocketAddr::new(self.ip, self.port);
        let verifies = verifies.then_some(&chosen.formats[..]);
        let party = end::party(&setup, role, attests.then_some(endorses), verifies)?;
        Ok(End { party, address, log_level: self.log_level })
    }
}
