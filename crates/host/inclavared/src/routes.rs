//! Which container is where: from the command line, and from a directory that is read again when it changes.
//!
//! In the directory a file is a container: its name is the container's, its first line the address. Files that
//! begin with a dot are passed over, so that a writer makes `.web` and renames it to `web`. A file that cannot
//! be taken changes nothing: the route that it had stays, and the problem is told.

use crate::address::Address;
use crate::name::Name;
use core::fmt;
use rustix::fs::{Mode, OFlags};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// Longest file of a route, in bytes.
const MAX_FILE: u64 = 4096;

/// Most routes: each costs memory, and a directory of more is a mistake.
const MAX_ROUTES: usize = 100_000;

type Table = HashMap<Name, Address>;

/// The routes of this moment. A reload touches no connection that is open.
#[derive(Debug, Default)]
pub struct Routes {
    /// Of the command line; the directory does not change these.
    fixed: Table,
    directory: Option<PathBuf>,
    table: RwLock<Arc<Table>>,
}

/// Something that was not taken.
#[derive(Debug)]
pub struct Problem {
    /// The file, or the directory.
    pub path: PathBuf,
    /// What is wrong.
    pub fault: RouteFault,
}

/// Why a route was not taken.
#[derive(Debug)]
pub enum RouteFault {
    /// The file's name is no container's.
    Name(crate::name::NameError),
    /// Its contents are no address.
    Address(crate::address::AddressError),
    /// It is no file, cannot be read, or is too long.
    Read(io::Error),
    /// The command line names this container too, and stands.
    Fixed(Name),
    /// Two files whose names differ only in case.
    Twice(Name),
    /// More routes than there may be.
    TooMany(usize),
}

impl fmt::Display for RouteFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::Address(error) => error.fmt(f),
            Self::Read(error) => write!(f, "read: {error}"),
            Self::Fixed(name) => {
                write!(f, "container {name}: --container names it too, and stands")
            }
            Self::Twice(name) => write!(f, "container {name}: expected one route, got two"),
            Self::TooMany(most) => write!(f, "routes: expected at most {most}, got more"),
        }
    }
}

impl Routes {
    /// Routes of the command line, and a directory that [`reload`](Self::reload) reads.
    ///
    /// # Errors
    /// A container is named twice.
    pub fn new(
        containers: impl IntoIterator<Item = (Name, Address)>,
        directory: Option<PathBuf>,
    ) -> Result<Self, RouteFault> {
        let mut fixed = Table::new();
        for (name, address) in containers {
            if fixed.insert(name.clone(), address).is_some() {
                return Err(RouteFault::Twice(name));
            }
        }
        let table = RwLock::new(Arc::new(fixed.clone()));
        Ok(Self { fixed, directory, table })
    }

    /// The directory, to watch.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// Where a container's attester listens.
    #[must_use]
    pub fn find(&self, name: &Name) -> Option<Address> {
        self.table().get(name).cloned()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.table().len()
    }

    fn table(&self) -> Arc<Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the directory again. What cannot be taken is given back, and changes nothing.
    pub fn reload(&self) -> Vec<Problem> {
        let Some(directory) = &self.directory else { return Vec::new() };
        let files = match list(directory) {
            Ok(files) => files,
            Err(error) => {
                return vec![Problem { path: directory.clone(), fault: RouteFault::Read(error) }];
            }
        };
        let before = self.table();
        let mut table = self.fixed.clone();
        let mut problems = Vec::new();
        for path in files {
            if let Err(fault) = self.take(&mut table, &before, &path) {
                problems.push(Problem { path, fault });
            }
        }
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
        problems
    }

    fn take(&self, table: &mut Table, before: &Table, path: &Path) -> Result<(), RouteFault> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name: Name = name.parse().map_err(RouteFault::Name)?;
        if self.fixed.contains_key(&name) {
            return Err(RouteFault::Fixed(name));
        }
        if table.contains_key(&name) {
            return Err(RouteFault::Twice(name));
        }
        if table.len() >= MAX_ROUTES {
            return Err(RouteFault::TooMany(MAX_ROUTES));
        }
        let (address, fault) = match address(path) {
            Ok(address) => (Some(address), None),
            // Removed since it was listed.
            Err(RouteFault::Read(error)) if error.kind() == io::ErrorKind::NotFound => (None, None),
            Err(fault) => (before.get(&name).cloned(), Some(fault)),
        };
        if let Some(address) = address {
            table.insert(name, address);
        }
        fault.map_or(Ok(()), Err)
    }
}

/// In the order of their names, so that of two it is always the same one that counts.
fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn address(path: &Path) -> Result<Address, RouteFault> {
    let text = read(path).map_err(RouteFault::Read)?;
    text.trim_end().parse().map_err(RouteFault::Address)
}

fn read(path: &Path) -> io::Result<String> {
    // A FIFO would keep us waiting otherwise.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "expected a regular file"));
    }
    let mut text = String::new();
    if file.take(MAX_FILE + 1).read_to_string(&mut text)? as u64 > MAX_FILE {
        let message = format!("expected at most {MAX_FILE} bytes, got more");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn told(routes: &Routes) -> Vec<String> {
        let problems = routes.reload();
        problems
            .iter()
            .map(|it| format!("{}: {}", it.path.file_name().unwrap().display(), it.fault))
            .collect()
    }

    #[test]
    fn a_directory_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let fixed = (name("fixed"), "127.0.0.1:1".parse().unwrap());
        let routes = Routes::new([fixed], Some(directory.path().into())).unwrap();
        assert_eq!(told(&routes), [""; 0]);
        fs::write(directory.path().join("web"), "127.0.0.1:2\n").unwrap();
        fs::write(directory.path().join(".new"), "nonsense").unwrap();
        assert_eq!(routes.find(&name("web")), None);
        assert_eq!(told(&routes), [""; 0]);
        assert_eq!(routes.find(&name("WEB")), Some("127.0.0.1:2".parse().unwrap()));
        fs::remove_file(directory.path().join("web")).unwrap();
        assert_eq!(told(&routes), [""; 0]);
        assert_eq!((routes.find(&name("web")), routes.count()), (None, 1));
    }

    #[test]
    fn what_cannot_be_taken_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &[u8]| fs::write(directory.path().join(name), text).unwrap();
        let fixed = (name("fixed"), "127.0.0.1:1".parse().unwrap());
        let routes = Routes::new([fixed], Some(directory.path().into())).unwrap();
        file("web", b"127.0.0.1:2");
        routes.reload();
        file("web", b"127.0.0.1");
        file("fixed", b"127.0.0.1:9");
        file("a..b", b"127.0.0.1:3");
        file("WEB", b"127.0.0.1:4");
        file("long", &[b' '; 5000]);
        file("bytes", b"\xff");
        fs::create_dir(directory.path().join("folder")).unwrap();
        let fifo = directory.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RUSR, 0)
            .unwrap();
        let told = told(&routes);
        let beginnings = [
            "a..b: container name: expected labels",
            "bytes: read: stream did not contain valid UTF-8",
            "fifo: read: expected a regular file",
            "fixed: container fixed: --container names it too",
            "folder: read: expected a regular file",
            "long: read: expected at most 4096 bytes",
            "web: container web: expected one route, got two",
        ];
        assert_eq!(told.len(), beginnings.len(), "{told:?}");
        for (line, beginning) in told.iter().zip(beginnings) {
            assert!(line.starts_with(beginning), "{line}");
        }
        assert_eq!(routes.find(&name("fixed")), Some("127.0.0.1:1".parse().unwrap()));
        fs::remove_file(directory.path().join("WEB")).unwrap();
        assert!(routes.reload().iter().any(|it| it.path.ends_with("web")));
        assert_eq!(routes.find(&name("web")), Some("127.0.0.1:4".parse().unwrap()), "as it was");
        fs::remove_dir_all(directory.path()).unwrap();
        assert_eq!(routes.reload().len(), 1);
        assert_eq!(routes.count(), 2, "a directory that is gone loses no route");
    }

    #[test]
    fn a_container_is_named_once() {
        let web = || (name("web"), "127.0.0.1:1".parse().unwrap());
        let error = Routes::new([web(), web()], None).unwrap_err().to_string();
        assert_eq!(error, "container web: expected one route, got two");
    }
}
