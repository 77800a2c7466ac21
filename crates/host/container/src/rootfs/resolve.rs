//! Paths below the container's root, each resolved once.
//!
//! Everything here gives a descriptor, and everything that acts on the path acts on the descriptor: no
//! later rename, symlink or mount in the container's root redirects it. Resolution is the kernel's
//! (`openat2` with `RESOLVE_IN_ROOT`), so that a symlink or `..` never leaves the root, and magic links are
//! never followed. Missing parts are made one component at a time, each below a descriptor.

use crate::error::{Error, Result};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// How many symlinks to missing targets are followed before giving up, as the kernel does for others.
const MAX_LINKS: usize = 40;

/// What to make where nothing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Refuse with `ENOENT`.
    Refuse,
    /// A directory, mode 0755.
    Directory,
    /// An empty file, mode 0755, in directories made as needed.
    File,
}

/// The container's root while it is being set up.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
}

impl Root {
    /// Takes the descriptor of the root directory.
    pub const fn new(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// The root directory itself.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Opens as `O_PATH` without making anything.
    pub fn open(&self, path: &Path) -> std::result::Result<OwnedFd, Errno> {
        open_in(&self.fd, path, OFlags::PATH)
    }

    /// Opens a directory or file as `O_PATH`, making what is missing.
    ///
    /// # Errors
    /// [`Error::Os`] with the path that could not be opened or made.
    pub fn open_or_make(&self, path: &Path, missing: Missing) -> Result<OwnedFd> {
        match self.open(path) {
            Ok(fd) => return Ok(fd),
            Err(Errno::NOENT) if missing != Missing::Refuse => {}
            Err(e) => return Err(Error::os("open in the container's root", path)(e)),
        }
        self.make(path, missing).map_err(|e| Error::os("make in the container's root", path)(e))
    }

    fn make(&self, path: &Path, missing: Missing) -> std::result::Result<OwnedFd, Errno> {
        // Components still to be walked, last first, the path walked so far, and what is there.
        let mut rest: Vec<PathBuf> = components(path);
        let mut walked = PathBuf::from("/");
        let mut directory = None;
        // Mostly the last component alone is missing.
        if let (Some(above), Some(name)) = (path.parent(), path.file_name())
            && let Ok(fd) = self.open(above)
        {
            rest = vec![name.into()];
            walked = above.to_owned();
            directory = Some(fd);
        }
        let mut links = 0;
        while let Some(component) = rest.pop() {
            let next = walked.join(&component);
            match self.open(&next) {
                Ok(fd) => {
                    (walked, directory) = (next, Some(fd));
                    continue;
                }
                Err(Errno::NOENT) => {}
                Err(e) => return Err(e),
            }
            let parent = match directory.take() {
                Some(fd) => fd,
                None => self.open(&walked)?,
            };
            let made = if rest.is_empty() && missing == Missing::File {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                rustix::fs::openat(&parent, &component, flags, Mode::from_raw_mode(0o755)).map(drop)
            } else {
                rustix::fs::mkdirat(&parent, &component, Mode::from_raw_mode(0o755))
            };
            match made {
                Ok(()) => walked = next,
                Err(Errno::EXIST) => {
                    // A symlink whose target is missing: go on with the target, inside the root.
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP);
                    }
                    let target = rustix::fs::readlinkat(&parent, &component, Vec::new())?;
                    let target = Path::new(OsStr::from_bytes(target.as_bytes())).to_owned();
                    if target.is_absolute() {
                        walked = PathBuf::from("/");
                    } else {
                        directory = Some(parent);
                    }
                    rest.extend(components(&target));
                }
                Err(e) => return Err(e),
            }
        }
        self.open(&walked)
    }

    /// Opens the directory that holds the last component, making directories as needed, and gives the
    /// component's name.
    ///
    /// # Errors
    /// As [`open_or_make`](Self::open_or_make); `EINVAL` for a path without a last name.
    pub fn parent_of<'p>(&self, path: &'p Path) -> Result<(OwnedFd, &'p OsStr)> {
        let name = path
            .file_name()
            .ok_or_else(|| Error::os("open in the container's root", path)(Errno::INVAL))?;
        let parent = path.parent().unwrap_or(Path::new("/"));
        Ok((self.open_or_make(parent, Missing::Directory)?, name))
    }
}

/// Opens below `root`, which counts as `/`.
pub fn open_in(root: impl AsFd, path: &Path, flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
    loop {
        let result = rustix::fs::openat2(
            root.as_fd(),
            if path.as_os_str().is_empty() { Path::new("/") } else { path },
            flags | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        );
        match result {
            // A rename raced the walk and the kernel could not prove that `..` stayed inside.
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
}

/// The kind of file behind a descriptor.
pub fn file_type(fd: impl AsFd) -> std::result::Result<FileType, Errno> {
    let stat = rustix::fs::statat(fd, "", AtFlags::EMPTY_PATH)?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

/// The path by which `mount(2)` reaches a descriptor: nothing is resolved again behind it.
pub fn fd_path(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

fn components(path: &Path) -> Vec<PathBuf> {
    let mut out: Vec<PathBuf> = path
        .components()
        .filter_map(|c| match c {
            Component::Normal(name) => Some(PathBuf::from(name)),
            Component::ParentDir => Some(PathBuf::from("..")),
            _ => None,
        })
        .collect();
    out.reverse();
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn root(dir: &Path) -> Root {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Root::new(rustix::fs::open(dir, flags, Mode::empty()).unwrap())
    }

    #[test]
    fn links_and_dots_stay_inside() {
        let outside = tempfile::tempdir().unwrap();
        let dir = tempfile::tempdir().unwrap();
        symlink(outside.path(), dir.path().join("abs")).unwrap();
        symlink("../../../../../../tmp", dir.path().join("up")).unwrap();
        let root = root(dir.path());
        root.open_or_make(Path::new("/abs/x"), Missing::Directory).unwrap();
        root.open_or_make(Path::new("up/y"), Missing::File).unwrap();
        root.open_or_make(Path::new("/../../z"), Missing::Directory).unwrap();
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        let inside = dir.path().join(outside.path().strip_prefix("/").unwrap());
        assert!(inside.join("x").is_dir());
        assert!(dir.path().join("tmp/y").is_file());
        assert!(dir.path().join("z").is_dir());
    }

    #[test]
    fn a_link_to_itself_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        let e = root(dir.path()).open_or_make(Path::new("/a/c"), Missing::Directory).unwrap_err();
        assert_eq!(e.errno(), Some(libc::ELOOP));
    }

    #[test]
    fn magic_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        symlink("/proc/self/root/etc", dir.path().join("m")).unwrap();
        let host = root(Path::new("/"));
        assert_eq!(host.open(&dir.path().join("m")).unwrap_err(), Errno::LOOP);
    }
}
