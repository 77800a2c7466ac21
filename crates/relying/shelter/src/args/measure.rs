//! Options of `shelter measure`.

use clap::Args;
use convert::policy::{Bytes, Destination};
use std::path::PathBuf;
use workload::digest::Digest;

pub(super) const HELP: &str = "\
An image (OCI layout, archive of docker save, rootfs directory) is converted again, in memory: give the same
--policy and options that `inclavare image convert` was given, and the same version of shelter. An enclave file,
pack or bundle is measured as the processor would; its SIGSTRUCT, where there is one, is checked.

Examples:
  shelter measure app.tar --policy rules.toml
  shelter measure app.tar --policy rules.toml --save payroll
  shelter measure bundle --expect 2f3e…
  shelter measure enclave.sgxs --sigstruct enclave.sig --json";

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
    /// Keep it under this name, for --reference of the other commands
    #[arg(long, value_name = "NAME", value_parser = super::reference::name)]
    pub(crate) save: Option<String>,
    /// With --save: take the place of another measurement of this name
    #[arg(long, requires = "save")]
    pub(crate) replace: bool,
    #[command(flatten)]
    pub(crate) store: super::Store,
    #[command(flatten)]
    pub(crate) conversion: Conversion,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How an image was converted.
#[derive(Args, Default)]
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
    /// Of an image: a TCP port of the host that it listens on, beside the policy's; may be repeated
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) listen: Vec<u16>,
    /// Of an image: a destination that it connects to, beside the policy's; may be repeated
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) connect: Vec<Destination>,
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
