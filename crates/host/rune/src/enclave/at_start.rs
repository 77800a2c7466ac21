//! Remote attestation at start, which `enclave.attestation.ra_type = ecdsa` asks for: a convenience.
//!
//! When the program has begun, its enclave is quoted, and the administrator's verifier looks at the quote; a
//! container that it refuses is killed, and `start` fails. **It protects nobody from this host**, which decides here
//! about itself, and the program runs while it is decided. It keeps an operator from running the wrong thing by
//! mistake. What an outsider can rely on are keys that leave only for accepted sessions.

use super::{attest, paths};
use crate::failure::Failure;
use container::life;
use container::state::{Directory, State, Status};
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const KEY: &str = "attestation.verifier";
/// Stands for the quote's file in the verifier's command line.
const QUOTE: &str = "{quote}";
/// How long the program may take to begin.
const BEGIN: Duration = Duration::from_secs(30);
/// How long the verifier may take; it may ask a service.
const VERIFY: Duration = Duration::from_secs(60);
/// Most of its words that are repeated, in bytes.
const WORDS: u64 = 4 << 10;

/// The administrator's verifier: a program and its arguments. It is good with exit code 0.
#[derive(Debug)]
pub(crate) struct Verifier(Vec<String>);

impl Verifier {
    /// From the configuration.
    ///
    /// # Errors
    /// There is none, or it is no list of words with an absolute path and the quote in it.
    pub(crate) fn read(config: &Path) -> Result<Self, Failure> {
        let bad = |got: &str| {
            Failure::new(format!(
                "{}: {KEY}, which enclave.attestation.ra_type needs: expected an absolute path and arguments, \
                 {QUOTE:?} among them, got {got}",
                config.display()
            ))
        };
        let text = match std::fs::read_to_string(config) {
            Ok(text) => text,
            Err(error) => return Err(bad(&error.to_string())),
        };
        let table: toml::Table = text
            .parse()
            .map_err(|e: toml::de::Error| Failure::new(format!("{}: {e}", config.display())))?;
        let value = table.get("attestation").and_then(|table| table.get("verifier"));
        let list = value.and_then(toml::Value::as_array).ok_or_else(|| bad("none"))?;
        let words: Option<Vec<String>> =
            list.iter().map(|word| word.as_str().map(str::to_owned)).collect();
        let words = words.ok_or_else(|| bad("a list of other things"))?;
        let is_absolute = words.first().is_some_and(|word| Path::new(word).is_absolute());
        if !is_absolute || !words.iter().any(|word| word == QUOTE) {
            return Err(bad(&format!("{words:?}")));
        }
        Ok(Self(words))
    }

    /// Has it look at a quote.
    fn judge(&self, quote: &Path, words: &mut File) -> Result<(), Failure> {
        let (program, arguments) = self.0.split_first().expect("read with a program");
        let failed =
            |what: &dyn std::fmt::Display| Failure::new(format!("{KEY}: {program}: {what}"));
        let mut command = Command::new(program);
        for argument in arguments {
            if argument == QUOTE {
                command.arg(quote);
            } else {
                command.arg(argument);
            }
        }
        let out = words.try_clone().map_err(|error| failed(&error))?;
        let error = words.try_clone().map_err(|error| failed(&error))?;
        command.stdin(Stdio::null()).stdout(out).stderr(error);
        let mut child = command.spawn().map_err(|error| failed(&error))?;
        let deadline = Instant::now() + VERIFY;
        let status = loop {
            match child.try_wait().map_err(|error| failed(&error))? {
                Some(status) => break status,
                None if Instant::now() >= deadline => {
                    let _ = child.kill();
                    let _ = child.wait();
                    let limit = VERIFY.as_secs();
                    return Err(failed(&format_args!("expected an answer in {limit} s, got none")));
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        if status.success() {
            return Ok(());
        }
        let mut said = Vec::new();
        let _ = words.rewind();
        let _ = words.take(WORDS).read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said);
        Err(failed(&format_args!("refused ({status}): {}", said.trim_end())))
    }
}

/// Kills a container that was started and that the verifier does not accept, if it asks to be looked at.
///
/// # Errors
/// It is not accepted, or nothing could be judged: it is killed in both cases.
pub(crate) fn check(directory: &Directory, state: &State) -> Result<(), Failure> {
    let asks = state.enclave.as_ref().filter(|enclave| enclave.attested_at_start);
    let Some(enclave) = asks else { return Ok(()) };
    judge(directory, state, enclave.emulated).inspect_err(|_| {
        // It may have ended already.
        let _ = life::kill(directory, libc::SIGKILL, false);
    })
}

fn judge(directory: &Directory, state: &State, emulated: bool) -> Result<(), Failure> {
    let verifier = Verifier::read(Path::new(paths::CONFIG))?;
    let service = attest::service(emulated)?;
    let deadline = Instant::now() + BEGIN;
    let report = loop {
        match attest::report(directory, state, &*service) {
            Ok(report) => break report,
            // The program has not begun yet, or has ended: there is no telling by the message.
            Err(error)
                if Instant::now() >= deadline || directory.status(state) == Status::Stopped =>
            {
                return Err(error);
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let quote = attest::quote(&*service, &report)?;
    // The container's directory is its owner's alone, and goes with the container.
    let path = directory.path().join("quote");
    std::fs::write(&path, quote)?;
    let words = directory.path().join("quote.verdict");
    let mut file =
        File::options().read(true).write(true).create(true).truncate(true).open(words)?;
    verifier.judge(&path, &mut file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_is_an_absolute_path_and_gets_the_quote() {
        let place = tempfile::tempdir().unwrap();
        let config = place.path().join("config.toml");
        let read = |text: &str| {
            std::fs::write(&config, text).unwrap();
            Verifier::read(&config).map_err(|failure| failure.message)
        };
        for bad in [
            "",
            "[attestation]\nverifier = []",
            "[attestation]\nverifier = 'x'",
            "[attestation]\nverifier = ['/bin/true']",
            "[attestation]\nverifier = ['true', '{quote}']",
            "[attestation]\nverifier = ['/bin/true', 1, '{quote}']",
        ] {
            assert!(read(bad).unwrap_err().contains("attestation.verifier"), "{bad}");
        }
        std::fs::remove_file(&config).unwrap();
        assert!(Verifier::read(&config).unwrap_err().message.contains("No such file"));
        let judge = |script: &str| {
            let verifier = read(&format!(
                "[attestation]\nverifier = ['/bin/sh', '-c', '{script}', '{{quote}}']"
            ));
            let mut words = tempfile::tempfile().unwrap();
            verifier.unwrap().judge(Path::new("/the/quote"), &mut words)
        };
        assert!(judge("test $0 = /the/quote").is_ok());
        let refused = judge("echo no; echo it is another >&2; exit 3").unwrap_err().message;
        assert!(refused.contains("exit status: 3"), "{refused}");
        assert!(refused.ends_with("no\nit is another"), "{refused}");
    }
}
