//! The one who relies on the container, somewhere else: an image, a root, a policy, and shelter.

use crate::{Failure, Result, Tell, write_output};
use fixtures::{checked, outcome};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) struct Verifier {
    programs: PathBuf,
    directory: PathBuf,
    store: PathBuf,
    root: PathBuf,
    policy: PathBuf,
    collateral: PathBuf,
    /// Computed from the image.
    pub(crate) mrenclave: String,
}

impl Verifier {
    /// Measures the image by its rules, and writes the policy that accepts it.
    pub(crate) fn new(
        programs: &Path,
        directory: &Path,
        image: &(PathBuf, PathBuf),
    ) -> Result<Self> {
        let directory = directory.join("verifier");
        std::fs::create_dir_all(&directory)?;
        let at = |name: &str| directory.join(name);
        let root = write_output(&mut emulator(programs, &["root"]), &at("root.pem"))?;
        let collateral =
            write_output(&mut emulator(programs, &["collateral"]), &at("collateral.json"))?;
        let mut verifier = Self {
            programs: programs.into(),
            store: at("references.json"),
            policy: at("policy.toml"),
            directory,
            root,
            collateral,
            mrenclave: String::new(),
        };
        verifier.mrenclave = verifier.measure(image, "web")?;
        verifier.policy = verifier.policy_for("web")?;
        Ok(verifier)
    }

    /// Root, policy and collateral, for others that verify like this one.
    pub(crate) fn files(&self) -> [&Path; 3] {
        [&self.root, &self.policy, &self.collateral]
    }

    /// Where all programs lie.
    pub(crate) fn programs(&self) -> &Path {
        &self.programs
    }

    fn shelter(&self, verb: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join("shelter"));
        command.args(verb).env("NO_COLOR", "1");
        command
    }

    /// MRENCLAVE of an image, which is kept under this name.
    pub(crate) fn measure(
        &self,
        (image, rules): &(PathBuf, PathBuf),
        name: &str,
    ) -> Result<String> {
        let mut measure = self.shelter(&["measure", "--json", "--save", name, "--store"]);
        measure.arg(&self.store).arg(image).arg("--policy").arg(rules);
        let value: Value = serde_json::from_str(&checked(&mut measure)?)
            .map_err(|error| Failure(format!("shelter measure: {error}")))?;
        let mrenclave = value["mrenclave"].as_str();
        mrenclave.map(str::to_owned).ok_or_else(|| Failure(format!("no mrenclave in {value}")))
    }

    /// A policy that accepts what is kept under this name.
    pub(crate) fn policy_for(&self, name: &str) -> Result<PathBuf> {
        let mut policy = self.shelter(&["reference", "policy", name, "--store"]);
        policy.arg(&self.store).arg("--root").arg(&self.root);
        write_output(&mut policy, &self.directory.join(format!("{name}.toml")))
    }

    /// A policy that accepts enclaves of another signer.
    pub(crate) fn policy_of_another_signer(&self) -> Result<PathBuf> {
        let text = std::fs::read_to_string(&self.policy)?;
        let keep: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("roots") || line.starts_with("tee"))
            .collect();
        let signer = "ab".repeat(32);
        let file = self.directory.join("signer.toml");
        let text = format!(
            "{}\n[[mrsigner]]\nmrsigner = \"{signer}\"\nisvprodid = 0\nmin_isvsvn = 0\n",
            keep.join("\n")
        );
        std::fs::write(&file, text)?;
        Ok(file)
    }

    /// Collateral in which the platform is judged otherwise.
    pub(crate) fn collateral(&self, name: &str, flags: &[&str]) -> Result<PathBuf> {
        let file = self.directory.join(format!("{name}.json"));
        write_output(emulator(&self.programs, &["collateral"]).args(flags), &file)
    }

    fn session(
        &self,
        verb: &str,
        address: SocketAddr,
        policy: &Path,
        collateral: &Path,
    ) -> Command {
        let mut command = self.shelter(&[verb, &format!("tcp:{address}"), "--container", "web"]);
        command.arg("--root").arg(&self.root).arg("--policy").arg(policy);
        command.arg("--collateral").arg(collateral);
        command
    }

    /// Accepts the container, and gives its instance-id.
    pub(crate) fn accepts(&self, address: SocketAddr) -> Result<String> {
        let mut verify = self.session("verify", address, &self.policy, &self.collateral);
        let verdict = verdict(&checked(verify.arg("--json"))?)?;
        let measured = verdict["measurement"]["mrenclave"].as_str();
        if verdict["verdict"] != "accepted" || measured != Some(&self.mrenclave) {
            return Err(Failure(format!("expected accepted, {}, got {verdict}", self.mrenclave)));
        }
        if verdict["emulated"] != true {
            return Err(Failure(format!("emulated: expected true, got {}", verdict["emulated"])));
        }
        let instance = verdict["claims"]["instance_id"].as_str();
        instance.map(str::to_owned).ok_or_else(|| Failure(format!("no instance_id in {verdict}")))
    }

    /// Sends a secret, which the server must answer with its SHA-256.
    pub(crate) fn sends(
        &self,
        address: SocketAddr,
        policy: Option<&Path>,
        secret: &[u8],
    ) -> Result<String> {
        let head =
            format!("POST /cgi-bin/unlock HTTP/1.0\r\nContent-Length: {}\r\n\r\n", secret.len());
        let request = self.directory.join("request");
        std::fs::write(&request, [head.as_bytes(), secret].concat())?;
        let policy = policy.unwrap_or(&self.policy);
        let mut send = self.session("send", address, policy, &self.collateral);
        let answer = checked(send.arg("--secret").arg(&request))?;
        let last = answer.trim_end().lines().last().unwrap_or_default().to_owned();
        let expected = outcome(&mut Command::new("sha256sum"), secret)?.stdout;
        if expected.split(' ').next() != Some(&last) {
            return Err(Failure(format!("answer: expected {expected:?}, got {answer:?}")));
        }
        Ok(format!("sha256 {last}"))
    }

    /// Refuses by this check and no other, and shows why.
    pub(crate) fn refuses(
        &self,
        address: SocketAddr,
        policy: Option<&Path>,
        collateral: Option<&Path>,
        check: &str,
        tell: Tell<'_>,
    ) -> Result<()> {
        let policy = policy.unwrap_or(&self.policy);
        let collateral = collateral.unwrap_or(&self.collateral);
        let verify = self.session("verify", address, policy, collateral);
        self.refuses_by(verify, check, tell)
    }

    /// Refuses another instance than this one.
    pub(crate) fn refuses_instance(
        &self,
        address: SocketAddr,
        instance: &str,
        tell: Tell<'_>,
    ) -> Result<()> {
        let mut verify = self.session("verify", address, &self.policy, &self.collateral);
        verify.args(["--instance-id", instance]);
        self.refuses_by(verify, "policy.instance_id", tell)
    }

    fn refuses_by(&self, mut verify: Command, check: &str, tell: Tell<'_>) -> Result<()> {
        let judged = outcome(verify.arg("--json"), b"")?;
        let context = format!("exit code {}: {}{}", judged.code, judged.stdout, judged.stderr);
        if judged.code != 1 {
            return Err(Failure(format!("{check}: expected a refusal, got {context}")));
        }
        let verdict = verdict(&judged.stdout)?;
        let checks = verdict["checks"].as_array().cloned().unwrap_or_default();
        let failed: Vec<_> = checks.iter().filter(|it| it["ok"] == false).collect();
        let [only] = failed[..] else {
            return Err(Failure(format!("{check}: expected one failed check, got {context}")));
        };
        if only["id"] != check {
            return Err(Failure(format!("{check}: expected this check to fail, got {only}")));
        }
        for field in ["expected", "got", "action"] {
            let text = only[field].as_str().map_or_else(|| only[field].to_string(), str::to_owned);
            tell(&format!("  {field:8}  {text}"));
        }
        Ok(())
    }

    /// Accepts a container on the word of the inclavared that the policy names.
    pub(crate) fn asks(&self, address: SocketAddr, policy: &Path) -> Result<Value> {
        let verdict = verdict(&checked(self.asking(address, policy).arg("--json"))?)?;
        let expected = ("accepted", true, "hop-by-hop: inclavared is trusted");
        let trust = &verdict["session"]["trust"];
        if (&verdict["verdict"], &verdict["emulated"], trust)
            != (&expected.0.into(), &expected.1.into(), &expected.2.into())
        {
            return Err(Failure(format!("expected {expected:?}, got {verdict}")));
        }
        Ok(verdict)
    }

    /// Takes nobody's word, by this check and no other.
    pub(crate) fn refuses_word(
        &self,
        address: SocketAddr,
        policy: &Path,
        check: &str,
        tell: Tell<'_>,
    ) -> Result<()> {
        self.refuses_by(self.asking(address, policy), check, tell)
    }

    fn asking(&self, address: SocketAddr, policy: &Path) -> Command {
        let mut command =
            self.shelter(&["remoteattestation", "--addr", &format!("tcp://{address}")]);
        command.arg("--root").arg(&self.root).arg("--policy").arg(policy);
        command
    }

    /// Cannot even judge: the session does not open. Whatever it is, it is no yes.
    pub(crate) fn gets_nowhere(&self, address: SocketAddr, tell: Tell<'_>) -> Result<()> {
        let mut verify = self.session("verify", address, &self.policy, &self.collateral);
        let judged = outcome(verify.arg("--json"), b"")?;
        if judged.code != 2 || !judged.stdout.is_empty() {
            let got = format!("exit code {}: {}{}", judged.code, judged.stdout, judged.stderr);
            return Err(Failure(format!("expected no session, got {got}")));
        }
        tell(&format!("  {}", judged.stderr.trim_end()));
        Ok(())
    }
}

fn emulator(programs: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(programs.join("sgx-tools"));
    command.arg("emulator").args(words);
    command
}

fn verdict(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| Failure(format!("verdict: {error}: {text:?}")))
}
