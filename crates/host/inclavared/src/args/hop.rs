//! Flags of the former inclavared. They mean what they meant there, where `--hop-by-hop` says so; each of them that
//! let anything through is refused by name.

use clap::ArgAction;
use inclavared::address::Address;
use std::path::PathBuf;

pub(crate) const HEADING: &str = "Hop by hop, where inclavared is trusted";

#[derive(Debug, clap::Args)]
#[command(next_help_heading = HEADING)]
pub(crate) struct Hop {
    /// Verify the container behind --xfer and tell verifiers of it, in place of relaying. They see no evidence:
    /// whoever asks trusts inclavared and its host, and says so in a policy of level hop-by-hop
    #[arg(long)]
    hop_by_hop: bool,
    /// The container: a TLS server whose certificate is its evidence, and which answers upstream's greeting
    #[arg(short = 'x', long, value_name = "ADDR")]
    xfer: Option<Address>,
    /// Verify this container once, print what would be told, and end; in place of --listen and --xfer
    #[arg(short, long, value_name = "ADDR")]
    connect: Option<Address>,
    /// The key that verifiers know inclavared by, PKCS#8 in PEM, mode 600
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// What the container must be: a policy of level compat
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The one trust anchor: a root certificate, DER or PEM, which the policy must name
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// Collateral, JSON in dcap-qvl's form QuoteCollateralV3
    #[arg(long, value_name = "FILE")]
    collateral: Option<PathBuf>,
    /// TLS library: there is one, rustls
    #[arg(long, value_name = "NAME")]
    tls: Option<String>,
    /// Cryptography library: there is one, ring
    #[arg(long, value_name = "NAME")]
    crypto: Option<String>,
    /// What inclavared proves of itself: nullattester, since it proves nothing
    #[arg(long, value_name = "NAME")]
    attester: Option<String>,
    /// Evidence that is expected: sgx_ecdsa or sgx_ecdsa_qve; the policy decides
    #[arg(long, value_name = "NAME")]
    verifier: Option<String>,
    /// Prove this end to the container: refused, since inclavared runs in no enclave
    #[arg(short, long, action = ArgAction::SetTrue)]
    mutual: bool,
    /// Stub enclave that made evidence for inclavared: refused, since it proved nothing of inclavared
    #[arg(short, long, value_name = "FILE")]
    enclave: Option<PathBuf>,
}

/// What is to be done hop by hop.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) container: Address,
    /// The key to answer verifiers with; `None`: one look, printed.
    pub(crate) key: Option<PathBuf>,
    pub(crate) policy: Option<PathBuf>,
    pub(crate) root: Option<PathBuf>,
    pub(crate) collateral: Option<PathBuf>,
}

impl Hop {
    /// The task, if this is not to relay.
    ///
    /// # Errors
    /// A flag that asks for something else than is done, or is missing.
    pub(crate) fn task(&self, is_listening: bool) -> Result<Option<Task>, String> {
        if !self.hop_by_hop {
            return match self.given() {
                Some(flag) => Err(format!(
                    "{flag}: expected --hop-by-hop beside it, with which inclavared ends sessions and must be \
                     trusted, got none; to relay, name the container: --container NAME=ADDR"
                )),
                None => Ok(None),
            };
        }
        self.check()?;
        let (container, key) = match (&self.xfer, &self.connect, &self.key) {
            (Some(container), None, Some(key)) => (container, Some(key.clone())),
            (None, Some(container), None) if !is_listening => (container, None),
            (Some(_), None, None) => {
                return Err("--key: expected the key that verifiers know inclavared by, got none; openssl genpkey \
                            -algorithm EC -pkeyopt ec_paramgen_curve:P-256 makes one"
                    .into());
            }
            _ => {
                return Err("--hop-by-hop: expected --listen, --xfer and --key, or --connect alone, got another \
                            choice of them"
                    .into());
            }
        };
        let (policy, root) = (self.policy.clone(), self.root.clone());
        let collateral = self.collateral.clone();
        Ok(Some(Task { container: container.clone(), key, policy, root, collateral }))
    }

    /// The first flag of these that was given.
    fn given(&self) -> Option<&'static str> {
        let flags = [
            ("--xfer", self.xfer.is_some()),
            ("--connect", self.connect.is_some()),
            ("--key", self.key.is_some()),
            ("--policy", self.policy.is_some()),
            ("--root", self.root.is_some()),
            ("--collateral", self.collateral.is_some()),
            ("--tls", self.tls.is_some()),
            ("--crypto", self.crypto.is_some()),
            ("--attester", self.attester.is_some()),
            ("--verifier", self.verifier.is_some()),
            ("--mutual", self.mutual),
            ("--enclave", self.enclave.is_some()),
        ];
        flags.into_iter().find_map(|(flag, is_given)| is_given.then_some(flag))
    }

    /// Refuses what upstream's instances did and nothing here does.
    fn check(&self) -> Result<(), String> {
        const ALONE: &str =
            "inclavared runs in no enclave and has nothing to prove: verifiers know it by its key";
        if self.mutual {
            return Err(format!("--mutual: expected none: {ALONE}"));
        }
        if self.enclave.is_some() {
            return Err(format!("--enclave: expected none: {ALONE}"));
        }
        for (flag, given, takes, why) in [
            ("--tls", &self.tls, &["rustls", "openssl"][..], "on the wire they are the same"),
            ("--crypto", &self.crypto, &["ring", "openssl"], "on the wire they are the same"),
            ("--attester", &self.attester, &["nullattester"], ALONE),
            (
                "--verifier",
                &self.verifier,
                &["sgx_ecdsa", "sgx_ecdsa_qve"],
                "a container that proves nothing is not told of",
            ),
        ] {
            if let Some(got) = given.as_deref().filter(|got| !takes.contains(got)) {
                let takes = takes.join(" or ");
                return Err(format!("{flag}: expected {takes}, got {got:?}: {why}"));
            }
        }
        Ok(())
    }
}
