//! Third-party enclave runtimes: only from directories that the administrator listed.
//!
//! The list is `enclave_runtime.directories` in [`CONFIG`]; without the file or the key it is empty, and
//! only the built-in runtime runs. What else a library must be is [`pal::Policy`]'s to say.

use super::settings::Source;
use crate::failure::Failure;
use pal::{Library, LoadOptions, Policy};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

/// Upstream's file.
pub(crate) const CONFIG: &str = "/etc/inclavare-containers/config.toml";
const KEY: &str = "enclave_runtime.directories";

/// Loads the library that a container names, in this process: on the host's side of pivot_root, so that it and
/// what it needs are the host's, and before the container's first process is made, which inherits it.
///
/// # Errors
/// It may not be one, or does not load.
pub(crate) fn load_runtime(
    path: &Path,
    source: Source,
    config: &Path,
    root: BorrowedFd<'_>,
) -> Result<Library, Failure> {
    let (field, image) = match source {
        Source::Environment => ("ENCLAVE_RUNTIME_PATH", " (an image can set its environment)"),
        Source::Annotation => ("enclave.runtime.path", ""),
    };
    let policy = Policy::new(directories(config)?, 0);
    // A second C library beside the one in this program would share neither its heap nor its threads.
    if cfg!(target_feature = "crt-static") {
        return Err(Failure::new(format!(
            "{field}: {}{image}: this rune is linked statically and loads no enclave runtimes: install one that is \
             linked dynamically",
            path.display()
        )));
    }
    Library::load(&policy, path, Some(root), LoadOptions::default()).map_err(|error| {
        let config = config.display();
        Failure::new(format!(
            "{field}: {}{image}: {error}; directories are listed as {KEY} in {config}",
            path.display()
        ))
    })
}

/// The listed directories.
fn directories(config: &Path) -> Result<Vec<PathBuf>, Failure> {
    let text = match std::fs::read_to_string(config) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Failure::new(format!("read {}: {e}", config.display()))),
    };
    let bad = |what: String| Failure::new(format!("{}: {what}", config.display()));
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| bad(e.message().into()))?;
    let Some(list) = table.get("enclave_runtime").and_then(|t| t.get("directories")) else {
        return Ok(Vec::new());
    };
    let Some(list) = list.as_array() else {
        return Err(bad(format!("{KEY}: expected a list, got {}", list.type_str())));
    };
    list.iter()
        .map(|entry| {
            let path = entry.as_str().map(PathBuf::from).filter(|p| {
                p.is_absolute()
                    && !p.starts_with("/proc")
                    && !p.components().any(|c| c.as_os_str() == "..")
            });
            path.ok_or_else(|| {
                bad(format!("{KEY}: expected absolute paths outside of /proc, got {entry:?}"))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::fs::PermissionsExt;

    fn refusal(path: &Path, config: &Path) -> String {
        let root = tempfile::tempdir().unwrap();
        let root = std::fs::File::open(root.path()).unwrap();
        load_runtime(path, Source::Environment, config, root.as_fd()).unwrap_err().message
    }

    #[test]
    fn the_default_list_is_empty() {
        let message = refusal(Path::new("/usr/lib/liberpal-x.so"), Path::new("/no/such/config"));
        assert!(
            message.contains("ENCLAVE_RUNTIME_PATH") && message.contains("no directory"),
            "{message}"
        );
    }

    #[test]
    fn only_libraries_in_listed_directories_load() {
        let dir = tempfile::tempdir().unwrap();
        let (good, config) = (dir.path().join("good"), dir.path().join("config.toml"));
        std::fs::create_dir(&good).unwrap();
        std::fs::set_permissions(&good, PermissionsExt::from_mode(0o755)).unwrap();
        let library = good.join("liberpal-x.so");
        std::fs::write(&library, "x").unwrap();
        std::fs::set_permissions(&library, PermissionsExt::from_mode(0o644)).unwrap();
        std::fs::write(&config, format!("[enclave_runtime]\ndirectories = [{good:?}]\n")).unwrap();
        let message = refusal(&library, &config);
        let expected = if rustix::process::geteuid().is_root() { "loading" } else { "owner" };
        assert!(message.contains(expected), "{message}");
        assert!(refusal(&dir.path().join("liberpal-x.so"), &config).contains("none of the 1"));
        for (text, part) in [
            ("x", "config.toml"),
            ("[enclave_runtime]\ndirectories = 1", "expected a list"),
            ("[enclave_runtime]\ndirectories = [\"/proc/self\"]", "outside of /proc"),
            ("[enclave_runtime]\ndirectories = [\"rel\"]", "absolute"),
        ] {
            std::fs::write(&config, text).unwrap();
            assert!(refusal(&library, &config).contains(part), "{text}");
        }
    }
}
