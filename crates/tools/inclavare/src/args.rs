//! The command line.

use clap::{Args, Parser, Subcommand};
use convert::overrides::Overrides;
use std::path::PathBuf;

/// Where `--help` lists an option of all commands: after a command's own.
const LAST: usize = 900;

/// Makes enclaves of container images.
#[derive(Parser)]
#[command(version, propagate_version = true, after_help = crate::EXIT_CODES)]
pub(crate) struct Arguments {
    /// No progress bars (there are none either where standard error is no terminal)
    #[arg(long, short, global = true, display_order = LAST)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Convert images, and pack them with their enclave
    #[command(subcommand)]
    Image(Image),
    /// Make and show signing keys
    #[command(subcommand)]
    Key(Key),
    /// Sign an enclave
    #[command(after_help = "Example:\n  inclavare sign bundle --key key.pem")]
    Sign(Sign),
    /// Write the 256 bytes to be signed, for a key that lies elsewhere
    #[command(after_help = GENDATA_EXAMPLE)]
    Gendata(Gendata),
    /// Put a signature made elsewhere beside the enclave
    #[command(after_help = GENDATA_EXAMPLE)]
    Catsig(Catsig),
    /// Show what is in an enclave file, pack, bundle, manifest or SIGSTRUCT
    #[command(
        after_help = "Examples:\n  inclavare inspect bundle\n  inclavare inspect --json pack/enclave.sig"
    )]
    Inspect(Inspect),
    /// Say what this machine can do, and what to do about the rest
    Doctor(Doctor),
}

const GENDATA_EXAMPLE: &str = "\
Example, with the key on another machine:
  inclavare gendata pack --output material
  openssl dgst -sha256 -sign key.pem -out signature material
  openssl rsa -in key.pem -pubout -out public.pem
  inclavare catsig pack --data material --signature signature --public-key public.pem";

#[derive(Subcommand)]
pub(crate) enum Image {
    /// Make an enclave of an image
    #[command(after_help = "\
An image is an OCI layout (directory or tar), an archive of docker save, or a rootfs directory. The result
depends on the image, the policy and the runtime's version alone: whoever converts the same image gets the
same MRENCLAVE. A directory is marked as not recomputable from a reference.

Examples:
  inclavare image convert alpine.tar --bundle alpine
  inclavare image convert layout/ --ref app:1 --policy rules.toml --pack app.pack")]
    Convert(Convert),
    /// Write an image that carries its signed enclave
    #[command(after_help = "\
Example:
  inclavare image convert app.tar --pack app.pack
  inclavare sign app.pack --key key.pem
  inclavare image pack app.tar --pack app.pack --name app:enclave --output app-enclave.tar
  docker load -i app-enclave.tar && docker run --runtime rune app:enclave")]
    Pack(Pack),
    /// Write an image's root file system to a new directory
    Unpack(Unpack),
    /// Print the digest of an image's root file system, as the manifest holds it
    Digest(Digest),
}

/// Which image.
#[derive(Args)]
pub(crate) struct Source {
    /// OCI layout (directory or tar), archive of docker save, or rootfs directory
    pub(crate) image: PathBuf,
    /// Which of several images in it
    #[arg(long = "ref", value_name = "NAME")]
    pub(crate) reference: Option<String>,
}

#[derive(Args)]
#[command(group = clap::ArgGroup::new("output").required(true).multiple(true).args(["pack", "bundle"]))]
pub(crate) struct Convert {
    #[command(flatten)]
    pub(crate) source: Source,
    /// Write the enclave and its side data to this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) pack: Option<PathBuf>,
    /// Write an OCI bundle, with the pack in it, for `rune run`
    #[arg(long, value_name = "DIR")]
    pub(crate) bundle: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Pack {
    #[command(flatten)]
    pub(crate) source: Source,
    /// The signed pack
    #[arg(long, value_name = "DIR")]
    pub(crate) pack: PathBuf,
    /// Name of the new image
    #[arg(long, value_name = "NAME:TAG")]
    pub(crate) name: String,
    /// The archive to write: an OCI layout and a docker archive at once
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
}

#[derive(Args)]
pub(crate) struct Unpack {
    #[command(flatten)]
    pub(crate) source: Source,
    /// The directory to make
    #[arg(long, short, value_name = "DIR")]
    pub(crate) output: PathBuf,
}

#[derive(Args)]
pub(crate) struct Digest {
    #[command(flatten)]
    pub(crate) source: Source,
}

#[derive(Subcommand)]
pub(crate) enum Key {
    /// Make an RSA-3072 key with exponent 3
    #[command(after_help = "Example:\n  inclavare key new key.pem --public public.pem")]
    New {
        /// The PEM file to write; it must not exist
        file: PathBuf,
        /// Also write the public half
        #[arg(long, value_name = "FILE")]
        public: Option<PathBuf>,
    },
    /// Print the MRSIGNER of what a key signs
    Show {
        /// A private or public key, PEM
        file: PathBuf,
    },
}

#[derive(Args)]
pub(crate) struct Sign {
    /// A pack or a bundle
    pub(crate) target: PathBuf,
    /// The signer's private key, PEM (RSA-3072, exponent 3)
    #[arg(long, short, value_name = "FILE")]
    pub(crate) key: PathBuf,
    #[command(flatten)]
    pub(crate) date: Date,
}

#[derive(Args)]
pub(crate) struct Date {
    /// The day that SIGSTRUCT names, YYYYMMDD; today if left out
    #[arg(long, value_name = "DATE", value_parser = crate::sign::parse_date)]
    pub(crate) date: Option<u32>,
}

#[derive(Args)]
pub(crate) struct Gendata {
    /// A pack or a bundle
    pub(crate) target: PathBuf,
    /// The file to write
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) date: Date,
}

#[derive(Args)]
pub(crate) struct Catsig {
    /// A pack or a bundle
    pub(crate) target: PathBuf,
    /// What was signed, from gendata
    #[arg(long, value_name = "FILE")]
    pub(crate) data: PathBuf,
    /// The signature: 384 bytes, RSASSA-PKCS1-v1_5 with SHA-256, as openssl writes it
    #[arg(long, value_name = "FILE")]
    pub(crate) signature: PathBuf,
    /// The signer's public key, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) public_key: PathBuf,
}

#[derive(Args)]
pub(crate) struct Inspect {
    /// An enclave file, pack, bundle, manifest, SIGSTRUCT or signing material
    pub(crate) path: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Doctor {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
