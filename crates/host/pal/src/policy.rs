//! Which files may be a runtime library.
//!
//! `enclave.runtime.path` comes from whoever starts a container, perhaps from an image; the library runs with all
//! rights of `init-runelet`, on the host's side. So it selects among what an administrator put there, and nothing
//! else: the file's directory is on a list, the directory and everything above it can be changed by root alone,
//! and the file that was checked is the file that is loaded, since both go by one descriptor.

use crate::error::PolicyError;
use rustix::fs::{Mode, OFlags, ResolveFlags, Stat, fstat, fstatfs, open, openat, openat2};
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// The directories that an administrator listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    directories: Vec<PathBuf>,
    /// Whose files are trusted besides root's.
    trusted: u32,
}

impl Policy {
    /// No library may be loaded: the default.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// These directories, spelled as a path asks for them, whose files belong to root or to `trusted_uid`. Where the
    /// list comes from is the program's affair; only root may be able to change it.
    #[must_use]
    pub fn new(directories: Vec<PathBuf>, trusted_uid: u32) -> Self {
        Self { directories, trusted: trusted_uid }
    }

    /// Opens the library at `path`, if it may be one. `container_root` is the root of the container that asks.
    ///
    /// # Errors
    /// Why it may not.
    pub fn open(
        &self,
        path: &Path,
        container_root: Option<BorrowedFd<'_>>,
    ) -> Result<OwnedFd, PolicyError> {
        let listed = self.directories.len();
        let not_listed = || PolicyError::NotListed { path: path.to_owned(), listed };
        let (directory, name) = split(path).ok_or_else(not_listed)?;
        if !self.directories.iter().any(|listed| listed == directory) {
            return Err(not_listed());
        }
        let bytes = name.as_bytes();
        let is_named =
            bytes.starts_with(b"liberpal-") && bytes.ends_with(b".so") && bytes.len() > 12;
        if !is_named {
            return Err(PolicyError::Name { path: path.to_owned() });
        }
        let directory = self.open_directory(directory, container_root)?;
        self.open_file(&directory, name, path)
    }

    /// Opens a directory component by component, so that each is checked and none is a symbolic link.
    fn open_directory(
        &self,
        path: &Path,
        container_root: Option<BorrowedFd<'_>>,
    ) -> Result<OwnedFd, PolicyError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let container = container_root.and_then(|root| fstat(root).ok());
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |errno| PolicyError::Open { path, errno }
        };
        let mut at = PathBuf::from("/");
        let mut directory = open("/", flags, Mode::empty()).map_err(failed(&at))?;
        let last = path.components().count() - 1;
        for (depth, component) in path.components().enumerate() {
            if let Component::Normal(name) = component {
                at.push(name);
                directory = openat(&directory, name, flags, Mode::empty()).map_err(failed(&at))?;
            }
            let status = fstat(&directory).map_err(failed(&at))?;
            // Above the last one, a sticky directory will do: what root owns in it only root can replace, and
            // the next component's owner is checked.
            let may_be_sticky = depth < last;
            self.check(&status, &at, may_be_sticky)?;
            check_file_system(&directory, &at)?;
            if container.as_ref().is_some_and(|root| is_same(root, &status)) {
                return Err(PolicyError::InContainer { path: path.to_owned() });
            }
        }
        Ok(directory)
    }

    fn open_file(
        &self,
        directory: &OwnedFd,
        name: &OsStr,
        path: &Path,
    ) -> Result<OwnedFd, PolicyError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let failed = |errno| PolicyError::Open { path: path.to_owned(), errno };
        let file = openat2(directory, name, flags, Mode::empty(), resolve).map_err(failed)?;
        let status = fstat(&file).map_err(failed)?;
        let kind = rustix::fs::FileType::from_raw_mode(status.st_mode);
        if kind != rustix::fs::FileType::RegularFile {
            return Err(PolicyError::Kind { path: path.to_owned() });
        }
        self.check(&status, path, false)?;
        Ok(file)
    }

    /// Whether only a trusted user can change it.
    fn check(&self, status: &Stat, path: &Path, may_be_sticky: bool) -> Result<(), PolicyError> {
        if status.st_uid != 0 && status.st_uid != self.trusted {
            return Err(PolicyError::Owner { path: path.to_owned(), got: status.st_uid });
        }
        let is_sticky = status.st_mode & 0o1000 != 0;
        if status.st_mode & 0o022 != 0 && !(may_be_sticky && is_sticky) {
            let mode = status.st_mode & 0o7777;
            return Err(PolicyError::Writable { path: path.to_owned(), mode });
        }
        Ok(())
    }
}

fn check_file_system(directory: &impl AsFd, path: &Path) -> Result<(), PolicyError> {
    const PROC_SUPER_MAGIC: i64 = 0x9fa0;
    const SYSFS_MAGIC: i64 = 0x6265_6572;
    let file_system =
        fstatfs(directory).map_err(|errno| PolicyError::Open { path: path.to_owned(), errno })?;
    match file_system.f_type as i64 {
        PROC_SUPER_MAGIC | SYSFS_MAGIC => Err(PolicyError::Virtual { path: path.to_owned() }),
        _ => Ok(()),
    }
}

fn is_same(a: &Stat, b: &Stat) -> bool {
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}

/// An absolute path without `.`, `..` and empty components as directory and name. `Path` itself drops some of
/// those, so the spelling is compared too.
fn split(path: &Path) -> Option<(&Path, &OsStr)> {
    if !is_plain(path) {
        return None;
    }
    Some((path.parent()?, path.file_name()?))
}

fn is_plain(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    let Some((b'/', rest)) = bytes.split_first() else { return false };
    rest.split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
        && !bytes.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    struct Fixture {
        base: tempfile::TempDir,
        policy: Policy,
    }

    /// A directory with a library in it, listed.
    fn fixture() -> Fixture {
        let base = tempfile::tempdir().unwrap();
        let directory = base.path().join("pal");
        std::fs::create_dir(&directory).unwrap();
        set_mode(&directory, 0o755);
        let library = directory.join("liberpal-x.so");
        std::fs::write(&library, "x").unwrap();
        set_mode(&library, 0o644);
        let uid = rustix::process::geteuid().as_raw();
        Fixture { policy: Policy::new(vec![directory], uid), base }
    }

    impl Fixture {
        fn path(&self, name: &str) -> PathBuf {
            self.base.path().join("pal").join(name)
        }

        fn open(&self, name: &str) -> Result<OwnedFd, PolicyError> {
            self.policy.open(&self.path(name), None)
        }
    }

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_listed_library_opens_and_no_other() {
        let fixture = fixture();
        fixture.open("liberpal-x.so").unwrap();
        let path = fixture.path("liberpal-x.so");
        let error = Policy::none().open(&path, None).unwrap_err();
        assert_eq!(error, PolicyError::NotListed { path: path.clone(), listed: 0 });
        for other in [
            fixture.base.path().join("liberpal-x.so"),
            fixture.base.path().join("pal/../pal/liberpal-x.so"),
            fixture.base.path().join("pal//liberpal-x.so"),
            fixture.base.path().join("pal/./liberpal-x.so"),
            PathBuf::from("pal/liberpal-x.so"),
            PathBuf::from("/proc/self/root/liberpal-x.so"),
        ] {
            let error = fixture.policy.open(&other, None).unwrap_err();
            assert_eq!(error, PolicyError::NotListed { path: other, listed: 1 });
        }
        for name in ["libc.so", "liberpal-.so", "liberpal-x.so.1", "xliberpal-x.so"] {
            let path = fixture.path(name);
            assert_eq!(fixture.open(name).unwrap_err(), PolicyError::Name { path });
        }
    }

    #[test]
    fn what_others_can_write_is_refused() {
        let fixture = fixture();
        let library = fixture.path("liberpal-x.so");
        set_mode(&library, 0o664);
        let writable = |path: PathBuf, mode| PolicyError::Writable { path, mode };
        assert_eq!(fixture.open("liberpal-x.so").unwrap_err(), writable(library.clone(), 0o664));
        set_mode(&library, 0o755);
        let directory = fixture.base.path().join("pal");
        set_mode(&directory, 0o1777);
        let error = fixture.open("liberpal-x.so").unwrap_err();
        assert_eq!(error, writable(directory.clone(), 0o1777));
        set_mode(&directory, 0o755);
        set_mode(fixture.base.path(), 0o777);
        let error = fixture.open("liberpal-x.so").unwrap_err();
        assert_eq!(error, writable(fixture.base.path().to_owned(), 0o777));
    }

    #[test]
    fn links_and_special_files_are_refused() {
        let fixture = fixture();
        symlink("liberpal-x.so", fixture.path("liberpal-link.so")).unwrap();
        let error = fixture.open("liberpal-link.so").unwrap_err();
        let errno = rustix::io::Errno::LOOP;
        assert_eq!(error, PolicyError::Open { path: fixture.path("liberpal-link.so"), errno });

        std::fs::create_dir(fixture.path("liberpal-directory.so")).unwrap();
        let path = fixture.path("liberpal-directory.so");
        let error = fixture.open("liberpal-directory.so").unwrap_err();
        assert_eq!(error, PolicyError::Kind { path });

        let link = fixture.base.path().join("link");
        symlink("pal", &link).unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let policy = Policy::new(vec![link.clone()], uid);
        let error = policy.open(&link.join("liberpal-x.so"), None).unwrap_err();
        assert!(matches!(error, PolicyError::Open { path, .. } if path == link));
    }

    #[test]
    fn procfs_and_the_container_are_refused() {
        let policy = Policy::new(vec!["/proc/self".into(), "/proc".into()], 0);
        let path = PathBuf::from("/proc/liberpal-x.so");
        let error = policy.open(&path, None).unwrap_err();
        assert_eq!(error, PolicyError::Virtual { path: "/proc".into() });

        let fixture = fixture();
        let root = std::fs::File::open(fixture.base.path()).unwrap();
        let path = fixture.path("liberpal-x.so");
        let error = fixture.policy.open(&path, Some(root.as_fd())).unwrap_err();
        assert_eq!(error, PolicyError::InContainer { path: fixture.base.path().join("pal") });
        let host = std::fs::File::open("/").unwrap();
        let error = fixture.policy.open(&path, Some(host.as_fd())).unwrap_err();
        assert!(matches!(error, PolicyError::InContainer { .. }), "after the root was changed");
    }
}
