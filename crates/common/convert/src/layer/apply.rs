//! From archive entries to tree nodes.

use super::error::{LayerError, Problem};
use crate::hash::{FileHash, PoolScope, leaves, zero_leaf};
use crate::progress::Progress;
use crate::tar::{Archive, Entry, Kind, Piece, shown};
use crate::tree::{
    Content, Node, NodeId, Place, RESERVED, ROOT, Regular, Tree, Unresolved, is_kept,
};
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::sync::Arc;
use workload::meta::{NAME_MAX, PATH_MAX};
use workload::verity::BLOCK;

/// Most that an image may hold. What is beyond is refused, not cut.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one file, holes included.
    pub file: u64,
    /// Bytes of all files of all layers.
    pub total: u64,
    /// Entries of all layers.
    pub entries: u64,
}

impl Default for Limits {
    /// 64 GiB a file, 256 GiB and 16 million entries in all.
    fn default() -> Self {
        Self { file: 64 << 30, total: 256 << 30, entries: 16 << 20 }
    }
}

/// Most directories below each other. Bounds recursion; a path of 4095 bytes can hardly name more.
const MAX_DEPTH: usize = 1024;

/// Bytes that one job hashes.
const JOB: usize = 1 << 20;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Names of aufs's own files, which it left in layers.
const AUFS: &[u8] = b".wh..wh.";

/// A tree in the making.
pub struct Builder {
    tree: Tree,
    limits: Limits,
    layer: usize,
    entries: u64,
    total: u64,
    /// Directory entries that the current layer made, and whether by an entry of their own rather than by
    /// one below them.
    fresh: HashMap<(NodeId, Vec<u8>), bool>,
    root_is_fresh: bool,
}

impl Builder {
    /// An empty root.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            tree: Tree::default(),
            limits,
            layer: 0,
            entries: 0,
            total: 0,
            fresh: HashMap::new(),
            root_is_fresh: false,
        }
    }

    /// Applies a layer. File data is hashed by `pool`, whose jobs may go on when this returns.
    ///
    /// # Errors
    /// The first entry that cannot be applied; the tree is then useless.
    pub fn apply<R: Read>(
        &mut self,
        name: &str,
        archive: &mut Archive<R>,
        pool: &PoolScope<'_>,
        progress: &dyn Progress,
    ) -> Result<(), LayerError> {
        self.fresh.clear();
        self.root_is_fresh = false;
        let fail = |entry: Option<&Entry>, problem| LayerError {
            layer: name.into(),
            entry: entry.map(|entry| shown(&entry.path)),
            problem: Box::new(problem),
        };
        let mut index = 0;
        let mut last: Option<Entry> = None;
        loop {
            let next = archive.next().map_err(|error| fail(last.as_ref(), Problem::Tar(error)))?;
            let Some(entry) = next else { break };
            self.count(&entry).map_err(|problem| fail(Some(&entry), problem))?;
            self.entry(&entry, index, archive, pool, progress)
                .map_err(|problem| fail(Some(&entry), problem))?;
            last = Some(entry);
            index += 1;
        }
        self.layer += 1;
        Ok(())
    }

    /// The tree.
    #[must_use]
    pub fn finish(self) -> Tree {
        self.tree
    }

    fn count(&mut self, entry: &Entry) -> Result<(), Problem> {
        self.entries += 1;
        if let Kind::Regular(size) = entry.kind {
            at_most("bytes of the file", self.limits.file, size)?;
            self.total = self.total.saturating_add(size);
        }
        at_most("entries of all layers", self.limits.entries, self.entries)?;
        at_most("bytes of all files", self.limits.total, self.total)
    }

    fn entry<R: Read>(
        &mut self,
        entry: &Entry,
        index: u64,
        archive: &mut Archive<R>,
        pool: &PoolScope<'_>,
        progress: &dyn Progress,
    ) -> Result<(), Problem> {
        let parts = parts(&entry.path)?;
        let Some((&base, above)) = parts.split_last() else {
            return self.root(entry);
        };
        let is_reserved = |name: &[u8]| name.strip_prefix(WHITEOUT).unwrap_or(name) == RESERVED;
        if is_reserved(parts[0]) {
            return Ok(());
        }
        if base.starts_with(WHITEOUT) {
            return self.whiteout(above, base);
        }
        let parent = self.directory(above)?;
        if parent == ROOT && base == RESERVED {
            return Ok(());
        }
        let content = match &entry.kind {
            Kind::Directory => return self.add_directory(parent, base, entry),
            Kind::HardLink(target) => {
                let node = self.hard_link(target)?;
                return self.insert(parent, base, node);
            }
            Kind::Regular(size) => {
                let path = path_of(&parts);
                let place = Place::Layer { layer: self.layer, entry: index };
                Content::Regular(read_file(
                    &path,
                    *size,
                    entry.mtime,
                    place,
                    archive,
                    pool,
                    progress,
                )?)
            }
            Kind::Symlink(target) => {
                at_most("bytes of the link's target", PATH_MAX as u64, target.len() as u64)?;
                if target.is_empty() {
                    return Err(Problem::Name { part: "an empty link target".into() });
                }
                Content::Symlink(target.clone())
            }
            Kind::CharacterDevice(major, minor) => Content::CharacterDevice(*major, *minor),
            Kind::BlockDevice(major, minor) => Content::BlockDevice(*major, *minor),
            Kind::Fifo => Content::Fifo,
        };
        let node = self.tree.nodes.len();
        self.tree.nodes.push(node_of(entry, content));
        self.insert(parent, base, node)
    }

    /// An entry for the root itself gives its attributes.
    fn root(&mut self, entry: &Entry) -> Result<(), Problem> {
        if entry.kind != Kind::Directory {
            return Err(Problem::Root);
        }
        if self.root_is_fresh && !has_attributes(&self.tree.nodes[ROOT], entry) {
            return Err(Problem::Duplicate);
        }
        self.root_is_fresh = true;
        set_attributes(&mut self.tree.nodes[ROOT], entry);
        Ok(())
    }

    /// The directory at a path; what is missing is made.
    fn directory(&mut self, path: &[&[u8]]) -> Result<NodeId, Problem> {
        let mut here = ROOT;
        for (depth, part) in path.iter().enumerate() {
            at_most("directories below each other", MAX_DEPTH as u64, depth as u64)?;
            here = match self.tree.child(here, part) {
                None => {
                    let node = self.tree.nodes.len();
                    self.tree.nodes.push(Node::implied_directory());
                    self.link(here, part, node);
                    self.fresh.insert((here, part.to_vec()), false);
                    node
                }
                Some(child) => match self.tree.nodes[child].content {
                    Content::Directory(_) => child,
                    Content::Symlink(_) => {
                        // From here on the path must exist: making directories through a link would put
                        // them where the entry does not say.
                        let rest = path_of(&path[..=depth]);
                        let target = self.tree.resolve(&rest);
                        let target = target.map_err(|why| Problem::Parent { why })?;
                        if self.tree.nodes[target].children().is_none() {
                            let why = Unresolved::NotADirectory(part.to_vec());
                            return Err(Problem::Parent { why });
                        }
                        target
                    }
                    _ => {
                        let why = Unresolved::NotADirectory(part.to_vec());
                        return Err(Problem::Parent { why });
                    }
                },
            };
        }
        Ok(here)
    }

    fn add_directory(&mut self, parent: NodeId, name: &[u8], entry: &Entry) -> Result<(), Problem> {
        let existing = self.tree.child(parent, name);
        if let Some(node) = existing.filter(|&node| self.tree.nodes[node].children().is_some()) {
            let is_explicit = self.fresh.get(&(parent, name.to_vec())) == Some(&true);
            if is_explicit && !has_attributes(&self.tree.nodes[node], entry) {
                return Err(Problem::Duplicate);
            }
            set_attributes(&mut self.tree.nodes[node], entry);
            self.fresh.insert((parent, name.to_vec()), true);
            return Ok(());
        }
        let node = self.tree.nodes.len();
        self.tree.nodes.push(node_of(entry, Content::Directory(BTreeMap::new())));
        self.insert(parent, name, node)
    }

    /// Puts a node under a name, in place of what a lower layer has there.
    fn insert(&mut self, parent: NodeId, name: &[u8], node: NodeId) -> Result<(), Problem> {
        let is_taken = self.fresh.contains_key(&(parent, name.to_vec()));
        let existing = self.tree.child(parent, name);
        if is_taken || existing.is_some_and(|existing| self.prune(existing)) {
            return Err(Problem::Duplicate);
        }
        self.link(parent, name, node);
        self.fresh.insert((parent, name.to_vec()), true);
        Ok(())
    }

    fn hard_link(&mut self, target: &[u8]) -> Result<NodeId, Problem> {
        let wrong = |why| Problem::HardLink { target: shown(target), why };
        let parts = parts(target).map_err(|_| wrong("which leaves the root"))?;
        let Some((base, above)) = parts.split_last() else {
            return Err(wrong("which is the root"));
        };
        // The last part is not followed: a hard link may be to a symbolic link.
        let directory = self.tree.resolve(&path_of(above)).map_err(|why| match why {
            Unresolved::LeavesRoot => wrong("which leaves the root"),
            _ => wrong("which is not there"),
        })?;
        let node = self.tree.child(directory, base).ok_or_else(|| wrong("which is not there"))?;
        match self.tree.nodes[node].content {
            Content::Directory(_) => Err(wrong("which is a directory")),
            _ => Ok(node),
        }
    }

    fn whiteout(&mut self, above: &[&[u8]], base: &[u8]) -> Result<(), Problem> {
        if base != OPAQUE && base.starts_with(AUFS) {
            return Ok(());
        }
        let name = &base[WHITEOUT.len()..];
        if base != OPAQUE && matches!(name, b"" | b"." | b"..") {
            return Err(Problem::Whiteout);
        }
        let directory = match self.tree.resolve(&path_of(above)) {
            Ok(node) if self.tree.nodes[node].children().is_some() => node,
            Err(why @ (Unresolved::LeavesRoot | Unresolved::TooManyLinks)) => {
                return Err(Problem::Parent { why });
            }
            // There is nothing to remove.
            _ => return Ok(()),
        };
        if base == OPAQUE {
            self.prune(directory);
        } else if let Some(child) = self.tree.child(directory, name)
            && !self.prune(child)
            && !self.fresh.contains_key(&(directory, name.to_vec()))
            && let Content::Directory(children) = &mut self.tree.nodes[directory].content
        {
            children.remove(name);
        }
        Ok(())
    }

    /// Takes everything away below a directory that is not of this layer; whether something is left.
    fn prune(&mut self, node: NodeId) -> bool {
        let Content::Directory(children) = &mut self.tree.nodes[node].content else {
            return false;
        };
        let children = std::mem::take(children);
        let kept: BTreeMap<Vec<u8>, NodeId> = children
            .into_iter()
            .filter(|(name, child)| {
                let has_fresh_below = self.prune(*child);
                has_fresh_below || self.fresh.contains_key(&(node, name.clone()))
            })
            .collect();
        let is_left = !kept.is_empty();
        self.tree.nodes[node].content = Content::Directory(kept);
        is_left
    }

    fn link(&mut self, parent: NodeId, name: &[u8], node: NodeId) {
        let Content::Directory(children) = &mut self.tree.nodes[parent].content else {
            unreachable!("callers have looked")
        };
        children.insert(name.to_vec(), node);
    }
}

fn at_most(what: &'static str, limit: u64, got: u64) -> Result<(), Problem> {
    if got <= limit {
        return Ok(());
    }
    Err(Problem::TooLarge { what, expected_at_most: limit, got })
}

/// The parts of a name, without `.` and empty ones.
fn parts(path: &[u8]) -> Result<Vec<&[u8]>, Problem> {
    let wrong = |part: &[u8]| Err(Problem::Name { part: shown(part) });
    if path.is_empty() || path.starts_with(b"/") || path.contains(&0) || path.len() > PATH_MAX {
        return wrong(path);
    }
    let mut parts = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return wrong(part),
            _ if part.len() > NAME_MAX => return wrong(part),
            _ => parts.push(part),
        }
    }
    at_most("directories below each other", MAX_DEPTH as u64, parts.len() as u64)?;
    Ok(parts)
}

fn path_of(parts: &[&[u8]]) -> Vec<u8> {
    parts.iter().flat_map(|part| [&b"/"[..], part]).flatten().copied().collect()
}

fn node_of(entry: &Entry, content: Content) -> Node {
    let (mode, uid, gid) = (entry.mode, entry.uid, entry.gid);
    Node { mode, uid, gid, xattrs: entry.xattrs.clone(), content }
}

fn set_attributes(node: &mut Node, entry: &Entry) {
    (node.mode, node.uid, node.gid) = (entry.mode, entry.uid, entry.gid);
    node.xattrs.clone_from(&entry.xattrs);
}

fn has_attributes(node: &Node, entry: &Entry) -> bool {
    (node.mode, node.uid, node.gid) == (entry.mode, entry.uid, entry.gid)
        && node.xattrs == entry.xattrs
}

/// Reads a file's data and has it hashed.
fn read_file<R: Read>(
    path: &[u8],
    size: u64,
    mtime: i64,
    place: Place,
    archive: &mut Archive<R>,
    pool: &PoolScope<'_>,
    progress: &dyn Progress,
) -> Result<Arc<Regular>, Problem> {
    let keep = is_kept(path, size);
    let mut kept = Vec::new();
    let mut runs: Vec<(u64, Vec<u8>)> = Vec::new();
    let file = |kept| {
        let hash = FileHash::default();
        Arc::new(Regular { size, mtime, place, hash, kept })
    };
    // A kept file is small: it is read whole before the node is made.
    if keep {
        let mut data = Data::new(archive, progress);
        while let Some(run) = data.next_run(size)? {
            match run {
                Run::Bytes(first, bytes) => {
                    kept.extend_from_slice(&bytes);
                    runs.push((first, bytes));
                }
                Run::Zeros(first, blocks) => {
                    let bytes = vec![0; blocks as usize * BLOCK];
                    kept.extend_from_slice(&bytes);
                    runs.push((first, bytes));
                }
            }
        }
        let file = file(Some(kept));
        runs.into_iter().for_each(|(first, bytes)| file.hash.add(first, leaves(&bytes)));
        return Ok(file);
    }
    let file = file(None);
    let mut data = Data::new(archive, progress);
    while let Some(run) = data.next_run(size)? {
        match run {
            Run::Bytes(first, bytes) => {
                let file = Arc::clone(&file);
                pool.submit(move || file.hash.add(first, leaves(&bytes)));
            }
            Run::Zeros(first, blocks) => {
                file.hash.add(first, vec![zero_leaf(); blocks as usize]);
            }
        }
    }
    Ok(file)
}

/// A run of blocks of a file, with the index of the first.
enum Run {
    Bytes(u64, Vec<u8>),
    /// So many blocks of zeros.
    Zeros(u64, u64),
}

/// A file's pieces, cut at blocks.
struct Data<'a, R> {
    archive: &'a mut Archive<R>,
    progress: &'a dyn Progress,
    at: u64,
    hole: u64,
}

impl<'a, R: Read> Data<'a, R> {
    fn new(archive: &'a mut Archive<R>, progress: &'a dyn Progress) -> Self {
        Self { archive, progress, at: 0, hole: 0 }
    }

    /// The next run; None at the end.
    fn next_run(&mut self, size: u64) -> Result<Option<Run>, Problem> {
        let block = BLOCK as u64;
        if self.hole >= block {
            // Bounds what one run allocates.
            let blocks = (self.hole / block).min(1 << 20);
            let run = Run::Zeros(self.at / block, blocks);
            self.at += blocks * block;
            self.hole -= blocks * block;
            self.progress.advance(blocks * block);
            return Ok(Some(run));
        }
        let wanted = (size - self.at).min(JOB as u64) as usize;
        let mut bytes = vec![0; wanted];
        let mut filled = 0;
        while filled < wanted {
            if self.hole > 0 {
                let zeros = self.hole.min((wanted - filled) as u64);
                if self.hole >= block && filled > 0 && filled.is_multiple_of(BLOCK) {
                    break;
                }
                // Up to the next block: what follows is a run of zeros of its own.
                let zeros = zeros.min(block - filled as u64 % block);
                filled += zeros as usize;
                self.hole -= zeros;
                continue;
            }
            match self.archive.piece(&mut bytes[filled..]).map_err(Problem::Tar)? {
                Piece::Bytes(count) => filled += count,
                Piece::Hole(length) => {
                    self.hole = length;
                    if filled == 0 && length >= block {
                        return self.next_run(size);
                    }
                }
                Piece::End => break,
            }
        }
        if filled == 0 {
            return Ok(None);
        }
        bytes.truncate(filled);
        let first = self.at / block;
        self.at += filled as u64;
        self.progress.advance(filled as u64);
        Ok(Some(Run::Bytes(first, bytes)))
    }
}
