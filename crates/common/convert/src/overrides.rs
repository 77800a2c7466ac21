//! What a command line says over a file of rules.
//!
//! Every command that converts takes these, under the same names (feature `clap`), so that the one that recomputes a
//! measurement can be told what the one that made it was told.

use crate::error::Error;
use crate::policy::{Argv, Bytes, Destination, Policy};
use std::path::PathBuf;
use workload::manifest::Availability;

/// Members of a [`Policy`] that are often changed alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct Overrides {
    /// Where the manifest differs from what the image gives: a TOML file.
    #[cfg_attr(feature = "clap", arg(long, value_name = "FILE"))]
    pub policy: Option<PathBuf>,
    /// Size of the enclave, over the policy's: a power of two such as 64M or 64G.
    #[cfg_attr(feature = "clap", arg(long, value_name = "BYTES"))]
    pub enclave_size: Option<Bytes>,
    /// Most threads, over the policy's.
    #[cfg_attr(feature = "clap", arg(long, value_name = "N"))]
    pub threads: Option<u32>,
    /// A TCP port of the host to listen on, beside the policy's; may be repeated.
    #[cfg_attr(
        feature = "clap",
        arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))
    )]
    pub listen: Vec<u16>,
    /// A destination to connect to, beside the policy's, such as 10.0.0.5:5432 or any:443; may be repeated.
    #[cfg_attr(feature = "clap", arg(long, value_name = "ADDRESS:PORT"))]
    pub connect: Vec<Destination>,
    /// Read the host's standard input.
    #[cfg_attr(feature = "clap", arg(long))]
    pub stdin: bool,
    /// Accept a terminal; a bundle asks for one.
    #[cfg_attr(feature = "clap", arg(long))]
    pub tty: bool,
    /// Make a debug enclave, whose memory the host can read.
    #[cfg_attr(feature = "clap", arg(long))]
    pub debug: bool,
    /// The command line, over the policy's and the image's.
    #[cfg_attr(feature = "clap", arg(last = true, value_name = "ARGV"))]
    pub argv: Vec<String>,
}

impl Overrides {
    /// The rules of the file, with the rest over them.
    ///
    /// # Errors
    /// The file cannot be read or is wrong.
    pub fn apply(self) -> Result<Policy, Error> {
        let mut policy = match &self.policy {
            Some(path) => Policy::read(path)?,
            None => Policy::default(),
        };
        let allow = |target: &mut Option<Availability>, is_asked: bool| {
            if is_asked {
                *target = Some(Availability::Allowed);
            }
        };
        allow(&mut policy.stdin, self.stdin);
        allow(&mut policy.tty, self.tty);
        policy.network.listen.extend(self.listen);
        policy.network.connect.extend(self.connect);
        if self.debug {
            policy.debug = Some(true);
        }
        if !self.argv.is_empty() {
            policy.argv = Some(Argv::Exact(self.argv));
        }
        let size = policy.enclave.get_or_insert_default();
        size.size = self.enclave_size.or(size.size);
        size.threads = self.threads.or(size.threads);
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_stays_as_the_file_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("rules.toml");
        let rules = "tty = \"allowed\"\nargv = [\"/a\"]\n[enclave]\nsize = \"1G\"\nthreads = 8\n\
                     [network]\nlisten = [80]\n";
        std::fs::write(&file, rules).unwrap();
        let overrides = Overrides {
            policy: Some(file),
            threads: Some(9),
            stdin: true,
            listen: vec![443],
            connect: vec!["any:53".parse().unwrap()],
            ..Overrides::default()
        };
        let policy = overrides.apply().unwrap();
        assert_eq!(policy.tty, Some(Availability::Allowed));
        assert_eq!(policy.stdin, Some(Availability::Allowed));
        assert_eq!(policy.debug, None);
        assert!(matches!(policy.argv, Some(Argv::Exact(argv)) if argv == ["/a"]));
        assert_eq!(policy.network.listen, [80, 443]);
        assert_eq!(policy.network.connect, ["any:53".parse().unwrap()]);
        let size = policy.enclave.unwrap();
        assert_eq!((size.size, size.threads), (Some(Bytes(1 << 30)), Some(9)));
    }
}
