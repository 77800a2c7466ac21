//! Checks on a manifest that its types do not make.

use crate::manifest::{ArgvRule, AttestationFiles, Enclave, EnvRule, FORMAT, Manifest, MountRule};
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

/// Why bytes are not a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestError {
    /// Longer than any manifest.
    TooLong {
        /// Limit in bytes.
        expected_at_most: usize,
        /// Length in bytes.
        got: usize,
    },
    /// Not JSON of the expected shape; the parser's message names member, line and column.
    Syntax(String),
    /// A member has a value that is not allowed.
    Invalid(Invalid),
    /// The same manifest is spelt differently from this byte on.
    NotCanonical {
        /// Offset of the first difference.
        at: usize,
    },
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { expected_at_most, got } => {
                write!(f, "manifest: expected at most {expected_at_most} bytes, got {got}")
            }
            Self::Syntax(message) => write!(f, "manifest: {message}"),
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::NotCanonical { at } => {
                write!(f, "manifest: expected canonical json, got another spelling at byte {at}")
            }
        }
    }
}

impl core::error::Error for ManifestError {}

impl From<Invalid> for ManifestError {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

/// A member with a value that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Path of the member.
    pub field: String,
    /// What is allowed.
    pub expected: String,
    /// What it is.
    pub got: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, got {}", self.field, self.expected, self.got)
    }
}

impl core::error::Error for Invalid {}

pub(crate) fn invalid(
    field: impl Into<String>,
    expected: impl Into<String>,
    got: impl Into<String>,
) -> Invalid {
    Invalid { field: field.into(), expected: expected.into(), got: got.into() }
}

pub(crate) fn manifest(manifest: &Manifest) -> Result<(), Invalid> {
    if manifest.format != FORMAT {
        let got = manifest.format.to_string();
        return Err(invalid("format", FORMAT.to_string(), got));
    }
    enclave(&manifest.enclave)?;
    if manifest.root.size == 0 || !manifest.root.size.is_multiple_of(4096) {
        let got = manifest.root.size.to_string();
        return Err(invalid("root.size", "a multiple of 4096 above 0", got));
    }

    let process = &manifest.process;
    argv_rule(&process.argv)?;
    for (name, rule) in &process.env {
        env_rule(name, rule)?;
    }
    absolute("process.cwd", &process.cwd)?;
    ascending(
        "process.user.additional_gids",
        "ids",
        &process.user.additional_gids,
        u32::to_string,
    )?;
    for (index, rule) in manifest.exec.iter().enumerate() {
        arguments(&format!("exec[{index}].argv"), &rule.argv)?;
    }
    for (destination, rule) in &manifest.mounts {
        absolute("mounts", destination)?;
        if destination == "/" || destination == "/.inclavare" {
            return Err(invalid("mounts", "a destination below the root", quoted(destination)));
        }
        if let MountRule::Tmpfs { size: 0 } = rule {
            return Err(invalid(format!("mounts.{destination}.size"), "more than 0", "0"));
        }
    }
    for (index, signal) in manifest.signals.iter().enumerate() {
        if manifest.signals[..index].contains(signal) {
            let got = format!("\"{signal}\" twice");
            return Err(invalid("signals", "each signal once", got));
        }
    }
    manifest.network.validate()?;
    ascending("attestation.uids", "ids", &manifest.attestation.uids, u32::to_string)?;
    attestation_files(&manifest.attestation.files)?;
    if let Some(attester) = &manifest.attester {
        attester.validate(manifest)?;
        if manifest.network.admits_listen(attester.listen) {
            // Any program could be there before it.
            let got = attester.listen.to_string();
            return Err(invalid("network.listen", "ports other than the attester's", got));
        }
    }
    if manifest.identity.config_id.is_some() && manifest.identity.kss.is_none() {
        return Err(invalid("identity.config_id", "null without kss", "a value"));
    }
    Ok(())
}

/// Names that mean something, each once: a rule that nothing enforces must not pass for one.
fn attestation_files(files: &[String]) -> Result<(), Invalid> {
    if let Some(file) = files.iter().find(|file| !AttestationFiles::NAMES.contains(&file.as_str()))
    {
        let expected = format!("any of {}", AttestationFiles::NAMES.join(", "));
        return Err(invalid("attestation.files", expected, quoted(file)));
    }
    ascending("attestation.files", "names", files, |name| quoted(name))
}

fn enclave(enclave: &Enclave) -> Result<(), Invalid> {
    let sizes = Enclave::MIN_SIZE..=Enclave::MAX_SIZE;
    if !enclave.size.is_power_of_two() || !sizes.contains(&enclave.size) {
        let expected = format!("a power of two from {} to {}", sizes.start(), sizes.end());
        return Err(invalid("enclave.size", expected, enclave.size.to_string()));
    }
    let threads = Enclave::MIN_THREADS..=Enclave::MAX_THREADS;
    if !threads.contains(&enclave.threads) {
        let expected = format!("{} to {}", threads.start(), threads.end());
        return Err(invalid("enclave.threads", expected, enclave.threads.to_string()));
    }
    let least = 1 << 20;
    if enclave.heap_max < least {
        let expected = format!("at least {least}");
        return Err(invalid("enclave.heap_max", expected, enclave.heap_max.to_string()));
    }
    Ok(())
}

fn argv_rule(rule: &ArgvRule) -> Result<(), Invalid> {
    match rule {
        ArgvRule::Exact(argv) => arguments("process.argv", argv),
        ArgvRule::Prefix { argv, force } => {
            arguments("process.argv", argv)?;
            match argv.iter().find_map(|word| interpreter(word)) {
                Some(name) if !force => Err(invalid(
                    "process.argv.force",
                    format!("true for a prefix rule on the interpreter {}", quoted(name)),
                    "false",
                )),
                _ => Ok(()),
            }
        }
    }
}

fn arguments(field: &str, argv: &[String]) -> Result<(), Invalid> {
    match argv.first() {
        None => Err(invalid(field, "at least one argument", "none")),
        Some(program) if program.is_empty() => {
            Err(invalid(field, "a program's name or path", "an empty string"))
        }
        Some(_) => match argv.iter().find(|word| word.contains('\0')) {
            Some(word) => Err(invalid(field, "no NUL", quoted(word))),
            None => Ok(()),
        },
    }
}

fn env_rule(name: &str, rule: &EnvRule) -> Result<(), Invalid> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(invalid("process.env", "names without \"=\" and NUL", quoted(name)));
    }
    let values = match rule {
        EnvRule::Exact(value) | EnvRule::Prefix(value) => core::slice::from_ref(value),
        EnvRule::OneOf(values) => values,
        EnvRule::Any => &[],
    };
    match values.iter().find(|value| value.contains('\0')) {
        Some(value) => Err(invalid(format!("process.env.{name}"), "no NUL", quoted(value))),
        None => Ok(()),
    }
}

pub(crate) fn absolute(field: &str, path: &str) -> Result<(), Invalid> {
    let is_plain = |below: &str| below.split('/').all(|part| !matches!(part, "" | "." | ".."));
    let below = path.strip_prefix('/');
    if below.is_some_and(|below| below.is_empty() || is_plain(below)) && !path.contains('\0') {
        return Ok(());
    }
    let expected = "an absolute path without NUL, \"..\" or empty parts";
    Err(invalid(field, expected, quoted(path)))
}

/// Each of them once, in order: a set has one spelling.
pub(crate) fn ascending<T: Ord>(
    field: &str,
    what: &str,
    all: &[T],
    shown: impl Fn(&T) -> String,
) -> Result<(), Invalid> {
    match all.windows(2).find(|pair| pair[0] >= pair[1]) {
        Some(pair) => {
            let got = format!("{} before {}", shown(&pair[0]), shown(&pair[1]));
            Err(invalid(field, format!("ascending {what}"), got))
        }
        None => Ok(()),
    }
}

pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 200;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}... ({} bytes)", &text[..end], text.len()),
        None => format!("{text:?}"),
    }
}

/// Programs whose later arguments are code or name code.
const INTERPRETERS: &[&str] = &[
    "ash",
    "awk",
    "bash",
    "bun",
    "busybox",
    "chroot",
    "csh",
    "dash",
    "deno",
    "doas",
    "ed",
    "elvish",
    "env",
    "erl",
    "ex",
    "expect",
    "find",
    "fish",
    "gawk",
    "gdb",
    "guile",
    "init",
    "irb",
    "java",
    "jshell",
    "julia",
    "ksh",
    "ld.so",
    "lua",
    "luajit",
    "m4",
    "make",
    "mawk",
    "mksh",
    "nice",
    "node",
    "nodejs",
    "nohup",
    "nu",
    "octave",
    "perl",
    "php",
    "powershell",
    "pwsh",
    "pypy",
    "python",
    "r",
    "racket",
    "rscript",
    "ruby",
    "sed",
    "setpriv",
    "setsid",
    "sh",
    "sqlite3",
    "stdbuf",
    "su",
    "sudo",
    "tclsh",
    "tcsh",
    "timeout",
    "vi",
    "vim",
    "watch",
    "wish",
    "xargs",
    "yash",
    "zsh",
];

/// The base name of `word` if it is a shell, an interpreter, or a program that starts another one.
///
/// Judged by name, versions such as `python3.11` included; the converter also follows links and `#!` in
/// the image, where it can see what a name stands for.
#[must_use]
pub fn interpreter(word: &str) -> Option<&str> {
    let name = word.rsplit('/').next().unwrap_or(word);
    let lower = name.to_ascii_lowercase();
    let stem = lower.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-'));
    let is_loader = lower.starts_with("ld-") && lower.contains(".so");
    (is_loader || INTERPRETERS.contains(&stem) || INTERPRETERS.contains(&lower.as_str()))
        .then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_are_known_by_name_and_version() {
        for word in [
            "sh",
            "/bin/bash",
            "python3.11",
            "/usr/bin/perl5.36",
            "/lib64/ld-linux-x86-64.so.2",
            "ld-musl-x86_64.so.1",
            "busybox",
        ] {
            assert!(interpreter(word).is_some(), "{word}");
        }
        for word in ["/bin/server", "redis-server", "nginx", "shelf", "environ"] {
            assert_eq!(interpreter(word), None, "{word}");
        }
    }

    #[test]
    fn paths() {
        for path in ["/", "/a", "/a/b.c", "/..a"] {
            assert_eq!(absolute("f", path), Ok(()), "{path}");
        }
        for path in ["", "a", "//", "/a/", "/a//b", "/a/../b", "/.", "/a\0"] {
            assert!(absolute("f", path).is_err(), "{path}");
        }
    }

    #[test]
    fn long_values_are_cut() {
        let text = quoted(&"ü".repeat(1000));
        assert!(text.ends_with("... (2000 bytes)"));
        assert!(text.len() < 500);
    }
}
