//! Verifying a container whose host is not trusted: a script of the programs that people use, and the attacks that
//! it is for. It is the second half of the quickstart, and a test.
//!
//! An unmodified HTTP server runs in an enclave; nothing of it is reachable but the attester beside it. shelter
//! knows the measurement because it computed it from the image, gets evidence through inclavared, and sends a
//! secret in the session that it accepted. Then everything that must be refused is, each by its own check.
#![forbid(unsafe_code)]

mod between;
mod container;
mod hop;
mod hostile;
mod refusals;
mod verifier;

use container::{Container, Served, image_of};
use fixtures::{Programs, checked, free_port};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use verifier::Verifier;

/// What did not go as the script says, in words for a person.
#[derive(Debug)]
pub struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<fixtures::Error> for Failure {
    fn from(error: fixtures::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

type Result<T> = std::result::Result<T, Failure>;

/// Where the script's lines go.
pub type Tell<'a> = &'a mut dyn FnMut(&str);

/// The programs of the script; cargo puts them beside each other.
pub const PROGRAMS: [&str; 6] =
    ["rune", "inclavare", "inclavared", "shelter", "sgx-tools", "hostile-relay"];

/// Runs the script in an empty directory.
///
/// # Errors
/// What did not go as it should: a refusal that did not come, or came for another reason, is one.
pub fn run(programs: &Path, directory: &Path, tell: Tell<'_>) -> Result<()> {
    for name in PROGRAMS {
        if !programs.join(name).is_file() {
            return Err(Failure(format!("{name} is not built in {}", programs.display())));
        }
    }
    std::fs::create_dir_all(directory)?;
    let rune = Programs::new(programs, &directory.join("state"))?;
    let key = directory.join("key.pem");
    rune.new_key(&key)?;

    tell("an image with an HTTP server (busybox httpd), converted with an attester, and signed");
    let served = Served::usual(free_port()?);
    let bundle = served.bundle(&rune, &key, &directory.join("web"))?;

    tell("shelter computes the measurement from the image, away from the host");
    let verifier = Verifier::new(programs, directory, &image_of(&bundle))?;
    tell(&format!("  MRENCLAVE {}", verifier.mrenclave));

    tell("rune runs it, with what Docker adds; inclavared listens for verifiers");
    let mut container = Container::start(&bundle, served.port)?;
    let relay = Relay::start(programs, &[("web", container.address())])?;

    tell(
        "shelter verifies it through inclavared, and sends a secret in the session that it accepted",
    );
    let instance = verifier.accepts(relay.address)?;
    let answer = verifier.sends(relay.address, None, b"correct horse battery staple")?;
    tell(&format!("  the server answers: {answer}"));

    refusals::of_the_verifier(&verifier, relay.address, tell)?;
    hostile::in_the_place_of_the_relay(&verifier, container.address(), tell)?;
    between::second_enclaves(&verifier, &rune, &key, directory, (&bundle, served.port), tell)?;
    tell("refused: another instance, after a restart of the same container");
    container.stop()?;
    let again = Container::start(&bundle, served.port)?;
    verifier.refuses_instance(relay.address, &instance, tell)?;
    drop(again);
    refusals::of_other_enclaves(&verifier, &rune, &key, directory, tell)?;
    hop::by_hop(&verifier, &rune, &key, directory, tell)
}

/// A running inclavared.
struct Relay {
    child: Child,
    address: SocketAddr,
}

impl Relay {
    fn start(programs: &Path, containers: &[(&str, SocketAddr)]) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let mut command = Command::new(programs.join("inclavared"));
        command.args(["--listen", &address.to_string(), "--log-level", "error"]);
        for (name, container) in containers {
            command.arg("--container").arg(format!("{name}={container}"));
        }
        let child = command.stdin(Stdio::null()).spawn()?;
        let mut relay = Self { child, address };
        container::answers(address, &mut relay.child)?;
        Ok(relay)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command and writes what it prints to a file.
fn write_output(command: &mut Command, file: &Path) -> Result<PathBuf> {
    std::fs::write(file, checked(command)?)?;
    Ok(file.to_path_buf())
}
