//! Enclave settings of a container, under upstream's names: environment entries win over annotations and
//! are taken out of the program's environment.

use crate::failure::Failure;
use container::Spec;
use std::path::PathBuf;

/// The only type that this runtime has: SGX, by hardware or emulated.
pub(crate) const SGX: &str = "intelSgx";

/// What a container asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `intelSgx`, or another type that is refused.
    pub(crate) kind: String,
    /// A third party's enclave runtime.
    pub(crate) runtime_path: Option<(Source, PathBuf)>,
    /// Handed to the enclave runtime as it is; commas count as blanks.
    pub(crate) args: String,
    /// How much the enclave's log says; asked for or not.
    pub(crate) log_level: Option<String>,
    /// A directory of the host with the pack, instead of the one in the image.
    pub(crate) pack: Option<PathBuf>,
    /// Whether the administrator's verifier is to look at its quote when it starts.
    pub(crate) is_attested_at_start: bool,
}

/// Where a setting came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The environment, which an image can set.
    Environment,
    /// The bundle's annotations.
    Annotation,
}

const LEVELS: [&str; 8] = ["trace", "debug", "info", "warning", "error", "fatal", "panic", "off"];

/// Environment entries that belong to the enclave runtime, with their annotations. The last five are of
/// remote attestation at start.
const KEYS: [(&str, &str); 10] = [
    ("ENCLAVE_TYPE", "enclave.type"),
    ("ENCLAVE_RUNTIME_PATH", "enclave.runtime.path"),
    ("ENCLAVE_RUNTIME_ARGS", "enclave.runtime.args"),
    ("ENCLAVE_RUNTIME_LOGLEVEL", "enclave.runtime.loglevel"),
    ("ENCLAVE_RA_TYPE", "enclave.attestation.ra_type"),
    ("ENCLAVE_RA_EPID_SPID", "enclave.attestation.ra_epid_spid"),
    ("ENCLAVE_RA_EPID_SUB_KEY", "enclave.attestation.ra_epid_subscription_key"),
    ("ENCLAVE_RA_EPID_IS_LINKABLE", "enclave.attestation.ra_epid_is_linkable"),
    ("ENCLAVE_IS_RA_TYPE_EPID", ""),
    ("ENCLAVE_IS_PRODUCT_ENCLAVE", ""),
];

/// A host directory with the pack. An annotation only: an image must not choose files of the host.
const PACK: &str = "enclave.pack.path";

impl Settings {
    /// Whether the configuration is that of an enclave container: it has a type.
    pub(crate) fn are_in(spec: &Spec) -> bool {
        let type_in_env = spec
            .process
            .as_ref()
            .and_then(|p| p.env.iter().rev().find_map(|e| e.strip_prefix("ENCLAVE_TYPE=")));
        let type_in_annotations = spec.annotations.get("enclave.type");
        type_in_env.is_some_and(|v| !v.is_empty())
            || type_in_annotations.is_some_and(|v| !v.is_empty())
    }

    /// Takes the settings out of a configuration. `None` for an ordinary container, which is left alone.
    ///
    /// # Errors
    /// A setting with a value that is none.
    pub(crate) fn take(spec: &mut Spec) -> Result<Option<Self>, Failure> {
        if !Self::are_in(spec) {
            return Ok(None);
        }
        let mut from_env: Vec<(String, String)> = Vec::new();
        if let Some(process) = &mut spec.process {
            process.env.retain(|entry| match entry.split_once('=') {
                Some((name, value)) if KEYS.iter().any(|(key, _)| *key == name) => {
                    from_env.push((name.to_owned(), value.to_owned()));
                    false
                }
                _ => true,
            });
        }
        let get = |name: &str| -> Option<(Source, String)> {
            let in_env = from_env.iter().rev().find(|(n, v)| n == name && !v.is_empty());
            if let Some((_, value)) = in_env {
                return Some((Source::Environment, value.clone()));
            }
            let (_, annotation) = KEYS.iter().find(|(key, _)| *key == name)?;
            let value = spec.annotations.get(*annotation).filter(|v| !v.is_empty())?;
            Some((Source::Annotation, value.clone()))
        };
        let quote_type = get("ENCLAVE_RA_TYPE").map(|(_, kind)| kind);
        if let Some(kind) = &quote_type {
            check_quote_type("enclave.attestation.ra_type", kind)?;
        }
        let log_level = get("ENCLAVE_RUNTIME_LOGLEVEL")
            .map(|(_, v)| if LEVELS.contains(&v.as_str()) { v } else { "info".to_owned() });
        let pack = spec.annotations.get(PACK).filter(|v| !v.is_empty()).map(PathBuf::from);
        if let Some(path) = pack.as_ref().filter(|p| !p.is_absolute()) {
            let got = path.display();
            return Err(Failure::new(format!("{PACK}: expected an absolute path, got {got}")));
        }
        Ok(Some(Self {
            kind: get("ENCLAVE_TYPE").map(|(_, v)| v).unwrap_or_default(),
            runtime_path: get("ENCLAVE_RUNTIME_PATH").map(|(s, v)| (s, v.into())),
            args: get("ENCLAVE_RUNTIME_ARGS").map(|(_, v)| v.replace(',', " ")).unwrap_or_default(),
            log_level,
            pack,
            is_attested_at_start: quote_type.is_some(),
        }))
    }
}

/// Refuses every type of quote but ECDSA, by the field or option that names it.
pub(crate) fn check_quote_type(field: &str, kind: &str) -> Result<(), Failure> {
    let lower = kind.to_ascii_lowercase();
    if lower == "ecdsa" {
        return Ok(());
    }
    let why = if lower.starts_with("epid") { ": Intel has retired EPID" } else { "" };
    Err(Failure::new(format!("{field}: expected ecdsa, got {kind:?}{why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(env: &[&str], annotations: &[(&str, &str)]) -> Spec {
        let mut spec = Spec::default();
        let env = env.iter().map(|e| (*e).to_owned()).collect();
        spec.process = Some(container::spec::Process { env, ..Default::default() });
        spec.annotations =
            annotations.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        spec
    }

    #[test]
    fn without_a_type_nothing_is_touched() {
        let mut s = spec(&["ENCLAVE_RUNTIME_ARGS=x", "A=1"], &[("enclave.runtime.path", "/x")]);
        assert_eq!(Settings::take(&mut s).unwrap(), None);
        assert_eq!(s.process.unwrap().env.len(), 2);
    }

    #[test]
    fn the_environment_wins_and_is_cleaned() {
        let mut s = spec(
            &[
                "ENCLAVE_TYPE=intelSgx",
                "A=1",
                "ENCLAVE_RUNTIME_ARGS=a,b",
                "ENCLAVE_RUNTIME_LOGLEVEL=x",
            ],
            &[("enclave.type", "Jailhouse"), ("enclave.runtime.loglevel", "debug"), (PACK, "/p")],
        );
        let settings = Settings::take(&mut s).unwrap().unwrap();
        assert_eq!(settings.kind, "intelSgx");
        assert_eq!(settings.args, "a b");
        assert_eq!(settings.log_level.as_deref(), Some("info"));
        assert_eq!(settings.pack, Some("/p".into()));
        assert_eq!(s.process.unwrap().env, ["A=1"]);
    }

    #[test]
    fn one_character_is_a_value() {
        let mut s = spec(&["ENCLAVE_TYPE=intelSgx", "ENCLAVE_RUNTIME_ARGS=x"], &[]);
        assert_eq!(Settings::take(&mut s).unwrap().unwrap().args, "x");
    }

    #[test]
    fn retired_and_relative_values_are_refused() {
        let mut s = spec(&["ENCLAVE_TYPE=intelSgx", "ENCLAVE_RA_TYPE=epidUnlinkable"], &[]);
        assert!(Settings::take(&mut s).unwrap_err().message.contains("retired EPID"));
        let mut s = spec(&["ENCLAVE_TYPE=intelSgx", "ENCLAVE_RA_TYPE=ECDSA"], &[]);
        assert!(Settings::take(&mut s).unwrap().unwrap().is_attested_at_start);
        let mut s = spec(&["ENCLAVE_TYPE=intelSgx", "ENCLAVE_RA_TYPE=some"], &[]);
        assert!(Settings::take(&mut s).unwrap_err().message.contains("expected ecdsa"));
        let mut s = spec(&["ENCLAVE_TYPE=intelSgx"], &[(PACK, "p")]);
        assert!(Settings::take(&mut s).unwrap_err().message.contains(PACK));
    }
}
