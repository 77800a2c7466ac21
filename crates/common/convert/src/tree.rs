//! A root file system in memory: metadata of every file, and where its data came from.

use crate::hash::FileHash;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Index of a node in [`Tree::nodes`].
pub type NodeId = usize;

/// The root directory's index.
pub const ROOT: NodeId = 0;

/// The name of the tree that a pack adds to an image, which no conversion sees.
pub const RESERVED: &[u8] = b".inclavare";

/// A root file system.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Files; those no directory names any more are unused.
    pub nodes: Vec<Node>,
}

/// A file.
#[derive(Clone, Debug)]
pub struct Node {
    /// Permission bits.
    pub mode: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What it is.
    pub content: Content,
}

/// What a file is.
#[derive(Clone, Debug)]
pub enum Content {
    /// A directory.
    Directory(BTreeMap<Vec<u8>, NodeId>),
    /// A regular file.
    Regular(Arc<Regular>),
    /// A symbolic link.
    Symlink(Vec<u8>),
    /// A character device.
    CharacterDevice(u32, u32),
    /// A block device.
    BlockDevice(u32, u32),
    /// A FIFO.
    Fifo,
    /// A socket; only directories have them.
    Socket,
}

/// A regular file.
#[derive(Debug)]
pub struct Regular {
    /// Bytes.
    pub size: u64,
    /// Modification time in seconds since 1970.
    pub mtime: i64,
    /// Where its data is in the source.
    pub place: Place,
    /// Its hash, complete once the source has been read.
    pub hash: FileHash,
    /// Its data, for the few small files that conversion itself reads.
    pub kept: Option<Vec<u8>>,
}

/// Where a file's data is in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Entry of a layer, both counted from 0.
    Layer {
        /// The layer.
        layer: usize,
        /// The entry.
        entry: u64,
    },
    /// A path below the directory.
    Directory(std::path::PathBuf),
    /// None: it is kept here.
    Given,
}

impl Node {
    /// A directory that nothing but the names below it implies.
    #[must_use]
    pub fn implied_directory() -> Self {
        Self {
            mode: 0o755,
            uid: 0,
            gid: 0,
            xattrs: BTreeMap::new(),
            content: Content::Directory(BTreeMap::new()),
        }
    }

    /// The entries of a directory.
    #[must_use]
    pub fn children(&self) -> Option<&BTreeMap<Vec<u8>, NodeId>> {
        match &self.content {
            Content::Directory(children) => Some(children),
            _ => None,
        }
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self { nodes: vec![Node::implied_directory()] }
    }
}

/// Why a path leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// There is no such name.
    Missing,
    /// This part of the path is no directory.
    NotADirectory(Vec<u8>),
    /// `..` above the root, written in the path or in a link on the way.
    LeavesRoot,
    /// More links than the kernel follows.
    TooManyLinks,
}

/// Most symbolic links on one path, as path_resolution(7) has it.
const MAX_LINKS: usize = 40;

impl Tree {
    /// The node of a directory's entry.
    #[must_use]
    pub fn child(&self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        self.nodes[directory].children()?.get(name).copied()
    }

    /// Follows a path from the root, symbolic links included; an absolute link starts at the root again.
    ///
    /// Unlike the kernel in a chroot, `..` at the root is an error: no honest image needs it.
    ///
    /// # Errors
    /// The path leads to nothing in the tree.
    pub fn resolve(&self, path: &[u8]) -> Result<NodeId, Unresolved> {
        self.real(path).map(|(node, _)| node)
    }

    /// Likewise, and the path without links that it stands for (empty for the root).
    ///
    /// # Errors
    /// The path leads to nothing in the tree.
    pub fn real(&self, path: &[u8]) -> Result<(NodeId, Vec<u8>), Unresolved> {
        let mut trail = vec![(ROOT, Vec::new())];
        let mut todo: Vec<Vec<u8>> = parts_reversed(path);
        let mut links = 0;
        while let Some(part) = todo.pop() {
            let (here, above) = trail.last().expect("the root is never popped");
            match part.as_slice() {
                b"" | b"." => continue,
                b".." if trail.len() == 1 => return Err(Unresolved::LeavesRoot),
                b".." => {
                    trail.pop();
                    continue;
                }
                _ => {}
            }
            let next = self.child(*here, &part).ok_or(Unresolved::Missing)?;
            let path = [&above[..], b"/", &part].concat();
            match &self.nodes[next].content {
                Content::Symlink(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Unresolved::TooManyLinks);
                    }
                    if target.starts_with(b"/") {
                        trail.truncate(1);
                    }
                    todo.extend(parts_reversed(target));
                }
                Content::Directory(_) => trail.push((next, path)),
                _ if todo.iter().any(|part| !matches!(part.as_slice(), b"" | b".")) => {
                    return Err(Unresolved::NotADirectory(part));
                }
                _ => return Ok((next, path)),
            }
        }
        Ok(trail.pop().expect("the root is never popped"))
    }

    /// The contents of a small file that the source kept ([`is_kept`]).
    #[must_use]
    pub fn kept(&self, path: &[u8]) -> Option<&[u8]> {
        match &self.nodes[self.resolve(path).ok()?].content {
            Content::Regular(file) => file.kept.as_deref(),
            _ => None,
        }
    }

    /// Calls `visit` for every file in depth-first order of names, directories before what is in them, with
    /// its path from the root (empty for the root itself, else starting with `/`).
    pub fn walk<E>(&self, mut visit: impl FnMut(&[u8], NodeId) -> Result<(), E>) -> Result<(), E> {
        let mut todo = vec![(Vec::new(), ROOT)];
        while let Some((path, id)) = todo.pop() {
            visit(&path, id)?;
            if let Some(children) = self.nodes[id].children() {
                let below = children.iter().rev();
                todo.extend(below.map(|(name, &child)| ([&path[..], b"/", name].concat(), child)));
            }
        }
        Ok(())
    }
}

fn parts_reversed(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|&byte| byte == b'/').rev().map(<[u8]>::to_vec).collect()
}

/// Longest file that is kept.
pub(crate) const MAX_KEPT: u64 = 1 << 20;

/// Whether the data of a file with this path from the root is kept: who a user is stands in it.
pub(crate) fn is_kept(path: &[u8], size: u64) -> bool {
    size <= MAX_KEPT && (path.ends_with(b"/passwd") || path.ends_with(b"/group"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(tree: &mut Tree, directory: NodeId, name: &[u8], content: Content) -> NodeId {
        let id = tree.nodes.len();
        tree.nodes.push(Node { content, ..Node::implied_directory() });
        let Content::Directory(children) = &mut tree.nodes[directory].content else { panic!() };
        children.insert(name.to_vec(), id);
        id
    }

    #[test]
    fn links_are_followed_inside_the_root_only() {
        let mut tree = Tree::default();
        let usr = add(&mut tree, ROOT, b"usr", Content::Directory(BTreeMap::new()));
        let lib = add(&mut tree, usr, b"lib", Content::Directory(BTreeMap::new()));
        let file = add(&mut tree, lib, b"x", Content::Fifo);
        add(&mut tree, ROOT, b"lib", Content::Symlink(b"usr/lib".to_vec()));
        add(&mut tree, ROOT, b"abs", Content::Symlink(b"/usr/../lib".to_vec()));
        add(&mut tree, usr, b"up", Content::Symlink(b"../../etc".to_vec()));
        add(&mut tree, ROOT, b"loop", Content::Symlink(b"loop".to_vec()));
        for path in [&b"/lib/x"[..], b"abs/x", b"usr/./lib//x", b"/usr/up/../lib/x"] {
            let expected =
                if path.ends_with(b"up/../lib/x") { Err(Unresolved::LeavesRoot) } else { Ok(file) };
            assert_eq!(tree.resolve(path), expected);
        }
        assert_eq!(tree.real(b"/abs/./x"), Ok((file, b"/usr/lib/x".to_vec())));
        assert_eq!(tree.resolve(b"/"), Ok(ROOT));
        assert_eq!(tree.resolve(b"../x"), Err(Unresolved::LeavesRoot));
        assert_eq!(tree.resolve(b"loop/x"), Err(Unresolved::TooManyLinks));
        assert_eq!(tree.resolve(b"lib/y"), Err(Unresolved::Missing));
        assert_eq!(tree.resolve(b"lib/x/y"), Err(Unresolved::NotADirectory(b"x".to_vec())));
    }
}
