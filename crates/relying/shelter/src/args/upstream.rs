//! Options of upstream's verbs. Each does what upstream meant it for, or is refused by name.

use super::{Peer, Store, Trust};
use crate::live::Address;
use clap::Args;
use std::path::PathBuf;
use workload::digest::Digest;

pub(super) const REMOTE_HELP: &str = "\
Upstream's command trusted whatever its peer said of itself. This one needs what verify needs: a root, a policy or a
reference, and collateral. See `shelter verify --help`.

Upstream's own protocol, in which inclavared verifies the container and is trusted, is spoken if the policy says so:
level = \"hop-by-hop\", and in `inclavared` the key that inclavared shows at its start. The verdict then says
`hop-by-hop: inclavared is trusted`.

Example:
  shelter remoteattestation --addr tcp://10.0.0.7:1234 --root root.pem --policy hop.toml";

pub(super) const MRVERIFY_HELP: &str = "\
Upstream's command fetched and built one fixed program. This one measures the image that you give it.

Example:
  shelter mrverify app.tar --expect 2f3e…";

#[derive(Args)]
pub(crate) struct RemoteAttestation {
    /// tcp://IP:PORT or unix://PATH; without it 127.0.0.1:1234, then /run/enclave-tls/tls.sock
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) addr: Option<Address>,
    /// No effect here: shelter writes no log, but a verdict
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
    /// What shelter proves of itself: nullattester, since it proves nothing
    #[arg(long, value_name = "NAME")]
    pub(crate) attester: Option<String>,
    /// Evidence that is expected: sgx_ecdsa, sgx_ecdsa_qve or tdx_ecdsa; the policy decides
    #[arg(long, value_name = "NAME")]
    pub(crate) verifier: Option<String>,
    /// TLS library: there is one, rustls
    #[arg(long, value_name = "NAME")]
    pub(crate) tls: Option<String>,
    /// Cryptography library: there is one, ring
    #[arg(long, value_name = "NAME")]
    pub(crate) crypto: Option<String>,
    /// Prove this end too: refused, since shelter runs in no enclave
    #[arg(long)]
    pub(crate) mutual: bool,
    /// As `verify --all`
    #[arg(long)]
    pub(crate) verbose: bool,
    #[command(flatten)]
    pub(crate) peer: Peer,
    #[command(flatten)]
    pub(crate) trust: Trust,
    /// Print JSON
    #[arg(long, conflicts_with = "verbose")]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct MrVerify {
    /// Image, pack, bundle or enclave file
    pub(crate) target: Option<PathBuf>,
    /// MRENCLAVE that it must have
    #[arg(long, value_name = "HEX", value_parser = super::measure::digest)]
    pub(crate) expect: Option<Digest>,
    /// Or the name of a saved measurement that it must have
    #[arg(long, value_name = "NAME", conflicts_with = "expect")]
    pub(crate) reference: Option<String>,
    #[command(flatten)]
    pub(crate) store: Store,
    /// Rules it was converted with
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
