//! A pack: the files that conversion made, opened as data.

use rustix::fs::{Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;
use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};

/// The open files of a pack.
///
/// In an image they lie in the reserved tree [`Pack::DIRECTORY`]; elsewhere in any directory. Nothing in them is
/// believed: EINIT measures the stream against the SIGSTRUCT and the enclave verifies the side data.
#[derive(Debug)]
pub struct Pack {
    /// `enclave.sgxs`: the page stream.
    pub sgxs: OwnedFd,
    /// `enclave.sig`: the SIGSTRUCT, 1808 bytes.
    pub sigstruct: OwnedFd,
    /// `meta.bin`: root metadata.
    pub metadata: OwnedFd,
    /// `trees.bin`: Merkle trees.
    pub trees: OwnedFd,
}

impl Pack {
    /// Where a pack lies in a container's root.
    pub const DIRECTORY: &'static str = "/.inclavare";
    /// The page stream.
    pub const SGXS: &'static str = "enclave.sgxs";
    /// The SIGSTRUCT.
    pub const SIGSTRUCT: &'static str = "enclave.sig";
    /// The measured manifest; the enclave holds its own copy, this one is for tools.
    pub const MANIFEST: &'static str = "manifest.json";
    /// Root metadata.
    pub const METADATA: &'static str = "meta.bin";
    /// Merkle trees.
    pub const TREES: &'static str = "trees.bin";

    /// Opens the pack inside a container's root, which may be hostile: no symbolic link is followed, nothing
    /// outside the root is reached, only regular files are taken.
    ///
    /// # Errors
    /// The file that could not be opened, and why.
    pub fn open_in_root(root: BorrowedFd<'_>) -> Result<Self, PackError> {
        let directory = openat2(
            root,
            Self::DIRECTORY,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS,
        )
        .map_err(|errno| PackError::Open { file: Self::DIRECTORY, errno })?;
        Self::open_directory(std::os::fd::AsFd::as_fd(&directory))
    }

    /// Opens the pack in a directory.
    ///
    /// # Errors
    /// The file that could not be opened, and why.
    pub fn open_directory(directory: BorrowedFd<'_>) -> Result<Self, PackError> {
        let open =
            |file| open_regular(directory, file).map_err(|errno| PackError::Open { file, errno });
        Ok(Self {
            sgxs: open(Self::SGXS)?,
            sigstruct: open(Self::SIGSTRUCT)?,
            metadata: open(Self::METADATA)?,
            trees: open(Self::TREES)?,
        })
    }
}

/// Opens a regular file below `directory` for reading, as data: symbolic links are not followed, devices and
/// FIFOs are neither waited for nor given.
///
/// # Errors
/// The kernel's; ELOOP for a symbolic link, EACCES for what is not a regular file.
pub(crate) fn open_regular(
    directory: BorrowedFd<'_>,
    path: impl rustix::path::Arg,
) -> Result<OwnedFd, Errno> {
    let flags =
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let file = openat2(directory, path, flags, Mode::empty(), resolve)?;
    let mode = fstat(&file)?.st_mode;
    match rustix::fs::FileType::from_raw_mode(mode) {
        rustix::fs::FileType::RegularFile => Ok(file),
        _ => Err(Errno::ACCESS),
    }
}

/// A pack that cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackError {
    /// A file is missing or is not a regular file.
    Open {
        /// Name.
        file: &'static str,
        /// Why.
        errno: Errno,
    },
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Open { file, errno } = self;
        write!(f, "{file} of the enclave pack: {}", std::io::Error::from(*errno))
    }
}

impl std::error::Error for PackError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn directory() -> (tempfile::TempDir, OwnedFd) {
        let directory = tempfile::tempdir().unwrap();
        let fd = std::fs::File::open(directory.path()).unwrap().into();
        (directory, fd)
    }

    #[test]
    fn a_pack_in_a_root_opens_only_as_regular_files() {
        let (root, fd) = directory();
        let error = Pack::open_in_root(fd.as_fd()).unwrap_err();
        assert_eq!(error, PackError::Open { file: "/.inclavare", errno: Errno::NOENT });

        let pack = root.path().join(".inclavare");
        std::fs::create_dir(&pack).unwrap();
        for name in [Pack::SGXS, Pack::SIGSTRUCT, Pack::METADATA, Pack::TREES] {
            std::fs::write(pack.join(name), name).unwrap();
        }
        Pack::open_in_root(fd.as_fd()).unwrap();

        std::fs::remove_file(pack.join(Pack::TREES)).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", pack.join(Pack::TREES)).unwrap();
        let error = Pack::open_in_root(fd.as_fd()).unwrap_err();
        assert_eq!(error, PackError::Open { file: Pack::TREES, errno: Errno::LOOP });
    }

    #[test]
    fn a_pack_behind_a_symbolic_link_is_refused() {
        let (root, fd) = directory();
        std::os::unix::fs::symlink("/tmp", root.path().join(".inclavare")).unwrap();
        let error = Pack::open_in_root(fd.as_fd()).unwrap_err();
        assert_eq!(error, PackError::Open { file: "/.inclavare", errno: Errno::LOOP });
    }

    #[test]
    fn neither_escape_nor_fifo_nor_directory_is_opened() {
        let (root, fd) = directory();
        std::fs::create_dir(root.path().join("directory")).unwrap();
        std::fs::write(root.path().join("file"), "x").unwrap();
        std::os::unix::fs::symlink("file", root.path().join("link")).unwrap();
        rustix::fs::mkfifoat(&fd, "fifo", Mode::RUSR | Mode::WUSR).unwrap();
        assert!(open_regular(fd.as_fd(), "/file").is_ok());
        assert!(open_regular(fd.as_fd(), "/../../file").is_ok(), "the root is its own parent");
        assert_eq!(open_regular(fd.as_fd(), "/../etc/passwd").unwrap_err(), Errno::NOENT);
        assert_eq!(open_regular(fd.as_fd(), "/link").unwrap_err(), Errno::LOOP);
        assert_eq!(open_regular(fd.as_fd(), "/fifo").unwrap_err(), Errno::ACCESS);
        assert_eq!(open_regular(fd.as_fd(), "/directory").unwrap_err(), Errno::ACCESS);
        assert_eq!(open_regular(fd.as_fd(), "/file\0x").unwrap_err(), Errno::INVAL);
    }
}
