//! Third-party enclave runtimes: only from directories that the administrator listed.
//!
//! The list is `enclave_runtime.directories` in [`CONFIG`]; without the file or the key it is empty, and
//! only the built-in runtime runs. A listed directory must belong to root and be writable by nobody else,
//! and so must the library; both are looked at through descriptors, so that what was checked is what is
//! used.

use super::settings::Source;
use crate::failure::Failure;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use std::path::{Path, PathBuf};

/// Upstream's file.
pub(crate) const CONFIG: &str = "/etc/inclavare-containers/config.toml";
const KEY: &str = "enclave_runtime.directories";

/// Opens the library that a container names.
///
/// # Errors
/// It is not in a listed directory, or somebody else than root could have written it.
pub(crate) fn open_runtime(path: &Path, source: Source, config: &Path) -> Result<OwnedFd, Failure> {
    let field = match source {
        Source::Environment => "ENCLAVE_RUNTIME_PATH",
        Source::Annotation => "enclave.runtime.path",
    };
    let listed = directories(config)?;
    let refuse = |reason: String| {
        let image = match source {
            Source::Environment => " (an image can set its environment)",
            Source::Annotation => "",
        };
        Err(Failure::new(format!("{field}: {}{image}: {reason}", path.display())))
    };
    let found = path
        .parent()
        .zip(path.file_name())
        .filter(|(parent, _)| listed.iter().any(|directory| directory == parent));
    let Some((parent, name)) = found else {
        let list: Vec<_> = listed.iter().map(|d| d.display().to_string()).collect();
        let list = if list.is_empty() { "none is".to_owned() } else { list.join(", ") };
        return refuse(format!(
            "expected a library in a directory listed as {KEY} in {} ({list})",
            config.display()
        ));
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match open(parent, flags, Mode::empty()) {
        Ok(directory) => directory,
        Err(e) => return refuse(std::io::Error::from(e).to_string()),
    };
    let library = openat2(
        &directory,
        name,
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    );
    let library = match library {
        Ok(library) => library,
        Err(e) => return refuse(std::io::Error::from(e).to_string()),
    };
    for (fd, what, kind) in [
        (directory.as_fd(), "directory", FileType::Directory),
        (library.as_fd(), "file", FileType::RegularFile),
    ] {
        let stat = fstat(fd).map_err(std::io::Error::from)?;
        if FileType::from_raw_mode(stat.st_mode) != kind {
            return refuse(format!("expected a {what}, got something else"));
        }
        if stat.st_uid != 0 || stat.st_mode & 0o022 != 0 {
            return refuse(format!(
                "expected a {what} of root that nobody else may write, got owner {} and mode {:o}",
                stat.st_uid,
                stat.st_mode & 0o7777
            ));
        }
    }
    Ok(library)
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
    use std::os::unix::fs::PermissionsExt;

    fn refusal(path: &Path, config: &Path) -> String {
        open_runtime(path, Source::Environment, config).unwrap_err().message
    }

    #[test]
    fn the_default_list_is_empty() {
        let message = refusal(Path::new("/usr/lib/liberpal-x.so"), Path::new("/no/such/config"));
        assert!(
            message.contains("ENCLAVE_RUNTIME_PATH") && message.contains("none is"),
            "{message}"
        );
    }

    #[test]
    fn only_roots_own_files_in_listed_directories_open() {
        let dir = tempfile::tempdir().unwrap();
        let (good, config) = (dir.path().join("good"), dir.path().join("config.toml"));
        std::fs::create_dir(&good).unwrap();
        std::fs::set_permissions(&good, PermissionsExt::from_mode(0o755)).unwrap();
        let library = good.join("liberpal.so");
        std::fs::write(&library, "x").unwrap();
        std::fs::write(&config, format!("[enclave_runtime]\ndirectories = [{good:?}]\n")).unwrap();
        if rustix::process::geteuid().is_root() {
            open_runtime(&library, Source::Annotation, &config).unwrap();
        }
        let link = good.join("link.so");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        assert!(!refusal(&link, &config).is_empty());
        assert!(refusal(&good.join("../good/liberpal.so"), &config).contains("listed"));
        std::fs::set_permissions(&library, PermissionsExt::from_mode(0o666)).unwrap();
        assert!(refusal(&library, &config).contains("nobody else may write"));
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
