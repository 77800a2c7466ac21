//! Writing a tree to disk.
//!
//! The tree is already resolved: every path written is a chain of directories made here, in a directory that
//! nobody else writes to, so no symbolic link of the image is ever followed. Links are made after everything
//! else all the same.

use crate::conversion::Input;
use crate::error::Error;
use crate::layer::LayerError;
use crate::progress::Progress;
use crate::root::Root;
use crate::tar::Piece;
use crate::tree::{Content, Node, NodeId, Place, Tree};
use rustix::fs::{
    CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, lsetxattr, mknodat, utimensat,
};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

/// What an unprivileged user cannot write and was left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Devices.
    pub devices: u64,
    /// Owners other than the user.
    pub owners: u64,
    /// Extended attributes.
    pub xattrs: u64,
}

/// Writes the root file system of `input` to the directory `target`, which does not exist. A container needs
/// none of what is [`Skipped`]: inside, metadata come from the measured blob. On failure nothing stays.
///
/// # Errors
/// The input changed, or the directory cannot be written.
pub fn unpack(
    input: &Input,
    root: &Root,
    target: &Path,
    progress: &dyn Progress,
) -> Result<Skipped, Error> {
    fs::create_dir(target).map_err(Error::io(format!("make {}", target.display())))?;
    let mut unpacking = Unpacking {
        tree: root.tree(),
        target,
        is_root: rustix::process::geteuid().is_root(),
        skipped: Skipped::default(),
        first: BTreeMap::new(),
    };
    let done = unpacking.run(input, progress);
    if done.is_err() {
        // Modes are given last, so everything can be removed.
        let _ = fs::remove_dir_all(target);
    }
    done.map(|()| unpacking.skipped)
}

struct Unpacking<'a> {
    tree: &'a Tree,
    target: &'a Path,
    is_root: bool,
    skipped: Skipped,
    /// The first path of each node that is no directory.
    first: BTreeMap<NodeId, PathBuf>,
}

impl Unpacking<'_> {
    fn run(&mut self, input: &Input, progress: &dyn Progress) -> Result<(), Error> {
        let (mut files, mut later, mut directories) = (Vec::new(), Vec::new(), Vec::new());
        self.tree.walk(|path, id| {
            let path = self.target.join(OsStr::from_bytes(path.strip_prefix(b"/").unwrap_or(path)));
            match &self.tree.nodes[id].content {
                Content::Directory(_) => {
                    if path != self.target {
                        fs::create_dir(&path).map_err(failed("make", &path))?;
                    }
                    directories.push((path, id));
                }
                Content::Regular(_) if !self.first.contains_key(&id) => {
                    self.first.insert(id, path.clone());
                    files.push((path, id));
                }
                _ => later.push((path, id)),
            }
            Ok::<(), Error>(())
        })?;
        let bytes = files.iter().map(|(_, id)| self.size(*id)).sum();
        progress.stage("unpack files", Some(bytes));
        self.write_data(input, &files, progress)?;
        for (path, id) in &files {
            self.set_attributes(path, *id)?;
        }
        for (path, id) in later {
            self.make(&path, id)?;
        }
        // From the bottom up: a directory without write permission can still be filled.
        for (path, id) in directories.iter().rev() {
            self.set_attributes(path, *id)?;
        }
        Ok(())
    }

    fn size(&self, id: NodeId) -> u64 {
        match &self.tree.nodes[id].content {
            Content::Regular(file) => file.size,
            _ => 0,
        }
    }

    fn write_data(
        &self,
        input: &Input,
        files: &[(PathBuf, NodeId)],
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let mut by_layer: BTreeMap<usize, BTreeMap<u64, (&Path, u64)>> = BTreeMap::new();
        for (path, id) in files {
            let Content::Regular(file) = &self.tree.nodes[*id].content else { continue };
            match &file.place {
                Place::Layer { layer, entry } => {
                    let entries = by_layer.entry(*layer).or_default();
                    entries.insert(*entry, (path.as_path(), file.size));
                }
                Place::Directory(below) => {
                    let Input::Directory(source, _) = input else { continue };
                    let source = source.join(below);
                    let copied = fs::copy(&source, path).map_err(failed("copy to", path))?;
                    progress.advance(copied);
                }
                Place::Given => {
                    let bytes = file.kept.as_deref().unwrap_or_default();
                    fs::write(path, bytes).map_err(failed("write", path))?;
                    progress.advance(file.size);
                }
            }
        }
        let Input::Image(image) = input else { return Ok(()) };
        for (layer, wanted) in by_layer {
            let mut stream = image.layer(layer)?;
            let archive = stream.archive();
            let mut index = 0;
            let broken = |error| LayerError {
                layer: layer.to_string(),
                entry: None,
                problem: Box::new(crate::layer::Problem::Tar(error)),
            };
            while archive.next().map_err(broken)?.is_some() {
                if let Some(&(path, size)) = wanted.get(&index) {
                    let file = File::options()
                        .write(true)
                        .create_new(true)
                        .mode(0o600)
                        .open(path)
                        .map_err(failed("make", path))?;
                    file.set_len(size).map_err(failed("write", path))?;
                    let mut buffer = vec![0; 256 << 10];
                    let mut at = 0;
                    loop {
                        match archive.piece(&mut buffer).map_err(broken)? {
                            Piece::End => break,
                            Piece::Hole(length) => at += length,
                            Piece::Bytes(count) => {
                                let bytes = &buffer[..count];
                                file.write_all_at(bytes, at).map_err(failed("write", path))?;
                                at += count as u64;
                                progress.advance(count as u64);
                            }
                        }
                    }
                }
                index += 1;
            }
            // The file may have changed since it was measured.
            stream.check()?;
        }
        Ok(())
    }

    /// Makes what has no data.
    fn make(&mut self, path: &Path, id: NodeId) -> Result<(), Error> {
        if let Some(first) = self.first.get(&id) {
            return fs::hard_link(first, path).map_err(failed("make", path));
        }
        let special = |kind, major, minor| {
            let device = rustix::fs::makedev(major, minor);
            mknodat(CWD, path, kind, Mode::from_raw_mode(0o600), device)
        };
        let made = match &self.tree.nodes[id].content {
            Content::Symlink(target) => symlink(OsStr::from_bytes(target), path),
            Content::Fifo => special(FileType::Fifo, 0, 0).map_err(Into::into),
            Content::Socket => return Ok(()),
            Content::CharacterDevice(..) | Content::BlockDevice(..) if !self.is_root => {
                self.skipped.devices += 1;
                return Ok(());
            }
            Content::CharacterDevice(major, minor) => {
                self.device(special(FileType::CharacterDevice, *major, *minor))?
            }
            Content::BlockDevice(major, minor) => {
                self.device(special(FileType::BlockDevice, *major, *minor))?
            }
            Content::Directory(_) | Content::Regular(_) => unreachable!("made before"),
        };
        made.map_err(failed("make", path))?;
        if path.symlink_metadata().is_err() {
            return Ok(()); // A device that this root may not make.
        }
        self.first.insert(id, path.into());
        self.set_attributes(path, id)
    }

    /// Root in a container may not make devices.
    fn device(&mut self, made: rustix::io::Result<()>) -> Result<io::Result<()>, Error> {
        if made == Err(rustix::io::Errno::PERM) {
            self.skipped.devices += 1;
            return Ok(Ok(()));
        }
        Ok(made.map_err(Into::into))
    }

    fn set_attributes(&mut self, path: &Path, id: NodeId) -> Result<(), Error> {
        let node: &Node = &self.tree.nodes[id];
        if self.is_root {
            lchown(path, Some(node.uid), Some(node.gid))
                .map_err(failed("change owner of", path))?;
        } else if node.uid != rustix::process::geteuid().as_raw() {
            self.skipped.owners += 1;
        }
        for (name, value) in &node.xattrs {
            let set = lsetxattr(path, OsStr::from_bytes(name), value, XattrFlags::empty());
            if set.is_err() {
                self.skipped.xattrs += 1;
            }
        }
        if matches!(node.content, Content::Symlink(_)) {
            return Ok(());
        }
        // After the owner: changing that clears set-user-id.
        let mode = Permissions::from_mode(node.mode);
        fs::set_permissions(path, mode).map_err(failed("change mode of", path))?;
        if let Content::Regular(file) = &node.content {
            let time = Timespec { tv_sec: file.mtime, tv_nsec: 0 };
            let times = Timestamps { last_access: time, last_modification: time };
            utimensat(CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| failed("change times of", path)(error.into()))?;
        }
        Ok(())
    }
}

fn failed(what: &str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    Error::io(format!("{what} {}", path.display()))
}
