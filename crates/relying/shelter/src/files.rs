//! Files that a person names: read up to a limit, with the file in every message.

use crate::failure::Failure;
use std::fmt::Display;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

/// Most bytes of a verdict: some hundred checks.
pub(crate) const MOST_VERDICT: u64 = 4 << 20;

/// Reads a file.
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>, Failure> {
    let shown = path.display();
    let file =
        File::open(path).map_err(|error| Failure::Undecided(format!("open {shown}: {error}")))?;
    bounded(file, &shown, most)
}

/// Reads to the end, which must come before the limit.
pub(crate) fn bounded(from: impl Read, shown: &dyn Display, most: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    from.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::Undecided(format!("read {shown}: {error}")))?;
    if bytes.len() as u64 > most {
        let message = format!("{shown}: expected at most {most} bytes, got more");
        return Err(Failure::Undecided(message));
    }
    Ok(bytes)
}

/// Reads a file of text.
pub(crate) fn read_text(path: &Path, most: u64) -> Result<String, Failure> {
    String::from_utf8(read(path, most)?).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        Failure::Undecided(format!(
            "{}: expected text in UTF-8, got another byte at offset {offset}",
            path.display()
        ))
    })
}

/// Replaces a file as a whole; on failure what was there stays.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed =
        |error: std::io::Error| Failure::Undecided(format!("write {}: {error}", path.display()));
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(mode).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Says which file an error is about.
pub(crate) fn in_file<E: Display>(path: &Path) -> impl Fn(E) -> Failure {
    move |error| Failure::Undecided(format!("{}: {error}", path.display()))
}
