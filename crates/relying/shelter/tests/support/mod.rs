//! Runs `shelter` as its user does.
#![allow(dead_code, reason = "each test file uses its part")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Vectors that the verifier's crate carries; its README there says where they come from.
pub(crate) fn vector(name: &str) -> PathBuf {
    let vectors = "../../common/attestation/tests/vectors";
    Path::new(env!("CARGO_MANIFEST_DIR")).join(vectors).join(name)
}

pub(crate) fn shelter(place: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shelter"));
    command.current_dir(place);
    command
}

/// How a run ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().expect("no signal ended it"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The verdict that was printed.
    pub(crate) fn verdict(&self) -> Value {
        let problem = |error| panic!("{error}: {} {}", self.stdout, self.stderr);
        serde_json::from_str(&self.stdout).unwrap_or_else(problem)
    }
}

/// A run of `shelter verify --json`, one option at a time.
#[derive(Clone)]
pub(crate) struct Verify {
    pub(crate) options: Vec<(&'static str, String)>,
    pub(crate) place: PathBuf,
}

impl Verify {
    pub(crate) fn new(place: &Path) -> Self {
        Self { options: Vec::new(), place: place.into() }
    }

    /// Sets an option, in place of an earlier value.
    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self = self.without(name);
        self.options.push((name, value.to_string()));
        self
    }

    pub(crate) fn file(self, name: &'static str, path: &Path) -> Self {
        self.with(name, path.display())
    }

    pub(crate) fn without(mut self, name: &'static str) -> Self {
        self.options.retain(|(other, _)| *other != name);
        self
    }

    pub(crate) fn run(&self) -> Ended {
        let mut command = shelter(&self.place);
        command.arg("verify").arg("--json");
        for (name, value) in &self.options {
            command.arg(name);
            if !value.is_empty() || *name == "--report-data" {
                command.arg(value);
            }
        }
        Ended::of(command.output().expect("it was built"))
    }

    /// A run that must say `word`: the exit code and the checks agree with it.
    pub(crate) fn says(&self, word: &str) -> Value {
        let ended = self.run();
        let verdict = ended.verdict();
        assert_eq!(verdict["verdict"], word, "{}", failed(&verdict).join(" "));
        assert_eq!(ended.code, i32::from(word == "refused"));
        assert_eq!(failed(&verdict).is_empty(), word != "refused");
        verdict
    }

    /// A run that must refuse, and whose checks that failed, and did run, are exactly these.
    pub(crate) fn refuses(&self, ids: &[&str]) -> Value {
        let verdict = self.says("refused");
        assert_eq!(failed(&verdict), ids);
        verdict
    }

    /// A run that cannot judge: it names the file or option, and prints no verdict.
    pub(crate) fn cannot_judge(&self, part: &str) {
        let ended = self.run();
        assert_eq!(ended.code, 2, "{}{}", ended.stdout, ended.stderr);
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
}

/// Names of the checks that failed and did run, each once.
pub(crate) fn failed(verdict: &Value) -> Vec<String> {
    let checks = verdict["checks"].as_array().expect("a verdict has checks");
    let failed = checks.iter().filter(|check| {
        check["ok"] == false && !check["got"].as_str().unwrap().starts_with("not run: ")
    });
    let mut names: Vec<String> =
        failed.map(|check| check["id"].as_str().unwrap().to_string()).collect();
    names.dedup();
    names
}
