//! `tmpcopyup`: the old contents of a directory appear in the tmpfs mounted over it.

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use std::ffi::CStr;

type Result<T> = std::result::Result<T, Errno>;

/// Deeper trees are refused: nobody mounts a tmpfs over one, and the walk recurses.
const MAX_DEPTH: usize = 64;

/// The directory as it was before the mount, kept by a descriptor that still sees below it.
#[derive(Debug)]
pub(super) struct Saved {
    old: Result<OwnedFd>,
}

impl Saved {
    /// Keeps the directory behind an `O_PATH` descriptor.
    pub(super) fn take(target: &OwnedFd) -> Self {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Self { old: rustix::fs::openat(target, ".", flags, Mode::empty()) }
    }

    /// Copies it into what is mounted there now.
    ///
    /// # Errors
    /// Of the first entry that cannot be copied.
    pub(super) fn restore(self, mounted: &OwnedFd) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let new = rustix::fs::openat(mounted, ".", flags, Mode::empty())?;
        copy_directory(&self.old?, &new, 0)
    }
}

fn copy_directory(from: &OwnedFd, to: &OwnedFd, depth: usize) -> Result<()> {
    if depth == MAX_DEPTH {
        return Err(Errno::LOOP);
    }
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            copy_entry(from, to, name, depth)?;
        }
    }
    Ok(())
}

fn copy_entry(from: &OwnedFd, to: &OwnedFd, name: &CStr, depth: usize) -> Result<()> {
    let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    let nofollow = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            rustix::fs::mkdirat(to, name, mode)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | nofollow;
            let old = rustix::fs::openat(from, name, flags, Mode::empty())?;
            let new = rustix::fs::openat(to, name, flags, Mode::empty())?;
            copy_directory(&old, &new, depth + 1)?;
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new())?;
            rustix::fs::symlinkat(target, to, name)?;
        }
        FileType::RegularFile => {
            let old = rustix::fs::openat(from, name, OFlags::RDONLY | nofollow, Mode::empty())?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | nofollow;
            let new = rustix::fs::openat(to, name, flags, mode)?;
            while rustix::fs::sendfile(&new, &old, None, 1 << 20)? != 0 {}
        }
        other => rustix::fs::mknodat(to, name, other, mode, stat.st_rdev)?,
    }
    let owner = (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
    rustix::fs::chownat(to, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        // After chown, which clears the set-id bits, and past the umask.
        rustix::fs::chmodat(to, name, mode, AtFlags::empty())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn contents_modes_and_links_are_copied() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(a.path().join("d")).unwrap();
        std::fs::write(a.path().join("d/f"), "hello").unwrap();
        std::fs::set_permissions(a.path().join("d/f"), PermissionsExt::from_mode(0o4751)).unwrap();
        symlink("/nowhere", a.path().join("l")).unwrap();
        let open = |p: &std::path::Path| {
            rustix::fs::open(p, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap()
        };
        Saved::take(&open(a.path())).restore(&open(b.path())).unwrap();
        assert_eq!(std::fs::read(b.path().join("d/f")).unwrap(), b"hello");
        let mode = std::fs::metadata(b.path().join("d/f")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o4751);
        assert_eq!(std::fs::read_link(b.path().join("l")).unwrap().to_str(), Some("/nowhere"));
    }
}
