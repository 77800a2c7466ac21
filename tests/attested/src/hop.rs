//! Hop by hop: the former inclavared, which is trusted, with a container that speaks its protocol.

use crate::container::{Container, image_of};
use crate::verifier::Verifier;
use crate::{Failure, Result, Tell};
use fixtures::{Image, Programs, busybox_tree, free_port};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Reads the greeting, and answers MRENCLAVE, MRSIGNER (at 64 and 128 of its REPORT) and a text.
const ANSWER: &str = "#!/bin/sh\nhead -c 21 >/dev/null\ncd /dev/attestation\n\
     cat my_target_info >target_info\ncat report >/tmp/report\n\
     head -c 96 /tmp/report | tail -c 32\nhead -c 160 /tmp/report | tail -c 32\necho welcome\n";

/// Accepted on the word of inclavared, and not on anybody else's.
pub(crate) fn by_hop(
    verifier: &Verifier,
    programs: &Programs,
    key: &Path,
    directory: &Path,
    tell: Tell<'_>,
) -> Result<()> {
    tell(
        "hop by hop: a program that answers the former inclavared, which verifies it and is trusted",
    );
    let port = free_port()?;
    let mut tree = busybox_tree()?;
    tree.file("bin/answer", 0o755, ANSWER.as_bytes());
    let command = ["nc", "-ll", "-p", "8080", "-e", "/bin/answer"];
    let image = Image::new("hop:1", tree, &command);
    let rules = format!(
        "[attester]\nlisten = {port}\nforward = \"127.0.0.1:8080\"\nlevel = \"compat\"\n\
         [attestation]\nuids = [0]\nfiles = [\"my_target_info\", \"report\", \"target_info\"]\n"
    );
    let bundle = programs.bundle(&image, &rules, key, &directory.join("hop"))?;
    bundle.join_host_network()?;
    let mrenclave = verifier.measure(&image_of(&bundle), "hop")?;
    let policy = std::fs::read_to_string(verifier.policy_for("hop")?)?;
    let write = |name: &str, head: &str| -> Result<PathBuf> {
        let file = directory.join(name);
        std::fs::write(&file, format!("{head}\n{policy}"))?;
        Ok(file)
    };
    let container = Container::start(&bundle, port)?;
    let compat = write("compat.toml", "level = \"compat\"")?;
    let relay = Trusted::start(verifier, directory, &compat, container.address())?;

    let hop = |key: &str| format!("level = \"hop-by-hop\"\ninclavared = [\"{key}\"]");
    let named = write("hop.toml", &hop(&relay.key))?;
    let verdict = verifier.asks(relay.address, &named)?;
    if verdict["measurement"]["mrenclave"] != mrenclave.as_str() {
        return Err(Failure(format!("mrenclave: expected {mrenclave}, got {verdict}")));
    }
    tell(&format!("  {}", verdict["session"]["trust"]));
    tell("refused: hop by hop, an inclavared that the policy does not name");
    let other = write("other.toml", &hop(&"00".repeat(32)))?;
    verifier.refuses_word(relay.address, &other, "hop.inclavared", tell)
}

/// A running inclavared that is trusted.
struct Trusted {
    child: Child,
    address: SocketAddr,
    /// As it shows it when it starts.
    key: String,
}

impl Trusted {
    fn start(
        verifier: &Verifier,
        directory: &Path,
        policy: &Path,
        container: SocketAddr,
    ) -> Result<Self> {
        let key = directory.join("inclavared.pem");
        let pem = rcgen::KeyPair::generate().map_err(|error| Failure(error.to_string()))?;
        std::fs::write(&key, pem.serialize_pem())?;
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600))?;
        let [root, _, collateral] = verifier.files();
        let mut command = Command::new(verifier.programs().join("inclavared"));
        command.args(["--hop-by-hop", "-l", "127.0.0.1:0", "-x", &container.to_string()]);
        for (flag, file) in
            [("--key", &*key), ("--policy", policy), ("--root", root), ("--collateral", collateral)]
        {
            command.arg(flag).arg(file);
        }
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut log = BufReader::new(child.stderr.take().ok_or(Failure("no log".into()))?);
        let mut line = String::new();
        log.read_line(&mut line)?;
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let part = |from: &str, to: char| {
            let (_, rest) = line.split_once(from)?;
            rest.split(to).next().map(|it| it.trim().to_owned())
        };
        let address = part("at=\"tcp:", '"').and_then(|it| it.parse().ok());
        let mut trusted = Self { child, address: ([0, 0, 0, 0], 0).into(), key: String::new() };
        match (address, part("key=", ' ')) {
            (Some(address), Some(key)) => {
                (trusted.address, trusted.key) = (address, key);
                Ok(trusted)
            }
            _ => Err(Failure(format!("inclavared: expected address and key, got {line:?}"))),
        }
    }
}

impl Drop for Trusted {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
