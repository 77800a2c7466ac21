//! Files: bounded when read, whole or not at all when written.

use crate::failure::Failure;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The longest file that any command reads, in bytes. Collateral with a long CRL is the longest.
const MAX: u64 = 8 * 1024 * 1024;

/// Reads a file of at most 8 MiB.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Failure::io("open", path))?;
    file.take(MAX + 1).read_to_end(&mut bytes).map_err(Failure::io("read", path))?;
    if bytes.len() as u64 > MAX {
        return Err(Failure::Undone(format!("{}: expected at most {MAX} bytes", path.display())));
    }
    Ok(bytes)
}

/// Reads a file of exactly `N` bytes.
pub(crate) fn read_exactly<const N: usize>(what: &str, path: &Path) -> Result<[u8; N], Failure> {
    let bytes = read(path)?;
    let got = bytes.len();
    bytes.try_into().map_err(|_| {
        Failure::Refused(format!("{}: {what}: expected {N} bytes, got {got}", path.display()))
    })
}

/// Writes a file that everybody may read, whole or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.new", std::process::id()));
    let temporary = Path::new(&temporary);
    let write = || {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o664).open(temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(temporary, path)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(temporary);
        Failure::io("write", path)(error)
    })
}

/// Writes to standard output.
pub(crate) fn write_stdout(bytes: &[u8]) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    output.write_all(bytes).and_then(|()| output.flush()).map_err(Failure::undone)
}
