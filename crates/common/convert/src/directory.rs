//! A rootfs directory as input.
//!
//! For trying things out: what a directory holds cannot be recomputed from a reference, and the manifest
//! says so. Owners, modes, extended attributes and modification times are those on disk. Symbolic links are
//! never followed, and a file that changes while it is read is an error.

use crate::error::Error;
use crate::hash::{FileHash, Pool, leaves};
use crate::progress::Progress;
use crate::tree::{Content, Node, NodeId, Place, RESERVED, ROOT, Regular, Tree, is_kept};
use rustix::fs::{OFlags, lgetxattr, llistxattr};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Bytes of a file that one job reads and hashes.
const JOB: u64 = 8 << 20;

/// The tree of a directory; on return every file is hashed.
///
/// # Errors
/// Something cannot be read, has no place in an image, or changes meanwhile.
pub fn read(root: &Path, pool: Pool, progress: &dyn Progress) -> Result<Tree, Error> {
    let (tree, files) = scan(root)?;
    let bytes = files.iter().map(|file| file.size).sum();
    progress.stage("hash files", Some(bytes));
    let failure = Mutex::new(None);
    pool.run(|scope| {
        for file in files {
            for start in (0..file.size).step_by(JOB as usize) {
                let (file, failure) = (Arc::clone(&file), &failure);
                scope.submit(move || {
                    let Place::Directory(below) = &file.place else { return };
                    match hash_part(&root.join(below), &file, start) {
                        Ok(count) => progress.advance(count),
                        Err(error) => *failure.lock().expect("no holder panics") = Some(error),
                    }
                });
            }
        }
    });
    match failure.into_inner().expect("no holder panics") {
        Some(error) => Err(error),
        None => Ok(tree),
    }
}

/// Reads metadata; gives the tree and the files still to be hashed.
fn scan(root: &Path) -> Result<(Tree, Vec<Arc<Regular>>), Error> {
    let metadata = root.metadata().map_err(Error::io(format!("open {}", root.display())))?;
    if !metadata.is_dir() {
        return Err(wrong(root, "a directory", "something else"));
    }
    let mut scan = Scan {
        tree: Tree { nodes: vec![node(root, &metadata, Content::Directory(BTreeMap::new()))?] },
        files: Vec::new(),
        links: HashMap::new(),
        todo: vec![(ROOT, PathBuf::new())],
    };
    while let Some((parent, below)) = scan.todo.pop() {
        let path = root.join(&below);
        let entries = path.read_dir().map_err(Error::io(format!("list {}", path.display())))?;
        for entry in entries {
            let name = entry.map_err(Error::io(format!("list {}", path.display())))?.file_name();
            if parent == ROOT && name.as_bytes() == RESERVED {
                continue;
            }
            scan.entry(root, parent, below.join(&name))?;
        }
    }
    Ok((scan.tree, scan.files))
}

struct Scan {
    tree: Tree,
    files: Vec<Arc<Regular>>,
    /// Nodes of files with several names, by device and inode.
    links: HashMap<(u64, u64), NodeId>,
    todo: Vec<(NodeId, PathBuf)>,
}

impl Scan {
    fn entry(&mut self, root: &Path, parent: NodeId, below: PathBuf) -> Result<(), Error> {
        let path = root.join(&below);
        let metadata =
            path.symlink_metadata().map_err(Error::io(format!("stat {}", path.display())))?;
        let name = below.file_name().expect("it was joined").as_bytes().to_vec();
        let key = (metadata.dev(), metadata.ino());
        let known = if metadata.is_dir() { None } else { self.links.get(&key).copied() };
        let id = match known {
            Some(id) => id,
            None => {
                let content = self.content(root, &below, &metadata)?;
                self.tree.nodes.push(node(&path, &metadata, content)?);
                self.tree.nodes.len() - 1
            }
        };
        if metadata.is_dir() {
            self.todo.push((id, below));
        } else if metadata.nlink() > 1 {
            self.links.insert(key, id);
        }
        let Content::Directory(children) = &mut self.tree.nodes[parent].content else {
            unreachable!("only directories are scanned")
        };
        children.insert(name, id);
        Ok(())
    }

    fn content(
        &mut self,
        root: &Path,
        below: &Path,
        metadata: &Metadata,
    ) -> Result<Content, Error> {
        let path = root.join(below);
        let kind = metadata.file_type();
        if kind.is_file() {
            let text = [b"/", below.as_os_str().as_bytes()].concat();
            let kept = is_kept(&text, metadata.len())
                .then(|| std::fs::read(&path))
                .transpose()
                .map_err(Error::io(format!("read {}", path.display())))?;
            let file = Arc::new(Regular {
                size: metadata.len(),
                mtime: metadata.mtime(),
                place: Place::Directory(below.into()),
                hash: FileHash::default(),
                kept,
            });
            self.files.push(Arc::clone(&file));
            return Ok(Content::Regular(file));
        }
        let (major, minor) =
            (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
        Ok(if kind.is_dir() {
            Content::Directory(BTreeMap::new())
        } else if kind.is_symlink() {
            let target = std::fs::read_link(&path);
            let target = target.map_err(Error::io(format!("read link {}", path.display())))?;
            Content::Symlink(target.into_os_string().into_vec())
        } else if kind.is_char_device() {
            Content::CharacterDevice(major, minor)
        } else if kind.is_block_device() {
            Content::BlockDevice(major, minor)
        } else if kind.is_fifo() {
            Content::Fifo
        } else {
            Content::Socket
        })
    }
}

fn node(path: &Path, metadata: &Metadata, content: Content) -> Result<Node, Error> {
    let xattrs = xattrs(path)
        .map_err(Error::io(format!("read extended attributes of {}", path.display())))?;
    let mode = metadata.mode() & 0o7777;
    Ok(Node { mode, uid: metadata.uid(), gid: metadata.gid(), xattrs, content })
}

/// Extended attributes but those of the host's own security modules and file systems.
fn xattrs(path: &Path) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut names = vec![0; 64 << 10];
    let length = match llistxattr(path, &mut names[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut found = BTreeMap::new();
    for name in names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let is_ours = name.starts_with(b"user.") || name == b"security.capability";
        if is_ours {
            let mut value = vec![0; 64 << 10];
            let length = lgetxattr(path, OsStr::from_bytes(name), &mut value[..])?;
            value.truncate(length);
            found.insert(name.to_vec(), value);
        }
    }
    Ok(found)
}

/// Hashes the part of a file that starts at `start`.
fn hash_part(path: &Path, file: &Regular, start: u64) -> Result<u64, Error> {
    let io = |error| Error::io(format!("read {}", path.display()))(error);
    let mut options = File::options();
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let open = options.read(true).custom_flags(flags).open(path).map_err(io)?;
    let metadata = open.metadata().map_err(io)?;
    if !metadata.is_file() || metadata.len() != file.size {
        let got = format!("one of {} bytes", metadata.len());
        return Err(wrong(path, "a file that does not change while it is read", got));
    }
    let block = workload::verity::BLOCK as u64;
    let end = file.size.min(start + JOB);
    let mut buffer = vec![0; (end - start).min(1 << 20) as usize];
    let mut at = start;
    while at < end {
        let count = (end - at).min(buffer.len() as u64) as usize;
        open.read_exact_at(&mut buffer[..count], at).map_err(io)?;
        file.hash.add(at / block, leaves(&buffer[..count]));
        at += count as u64;
    }
    Ok(end - start)
}

fn wrong(path: &Path, expected: &'static str, got: impl Into<String>) -> Error {
    Error::Directory { path: path.into(), expected, got: got.into() }
}
