//! From a tree to the measured root: metadata blob and Merkle trees.

use crate::error::Error;
use crate::hash::Pool;
use crate::progress::Progress;
use crate::tree::{Content, Node, Tree};
use std::io::{self, Write};
use workload::manifest::Attester;
use workload::meta::{self, Blob, FileType, NewInode, NewKind};

/// A root file system ready to be measured.
pub struct Root {
    /// The metadata blob and where trees go.
    pub blob: Blob,
    tree: Tree,
}

impl Root {
    /// Computes the metadata of a tree whose files are all hashed.
    ///
    /// # Errors
    /// A name, path or number is beyond the metadata format.
    pub fn of(tree: Tree, pool: Pool, progress: &dyn Progress) -> Result<Self, Error> {
        progress.stage("build merkle trees", None);
        pool.run(|scope| {
            for nodes in tree.nodes.chunks(64) {
                scope.submit(move || nodes.iter().for_each(finish_hash));
            }
        });
        let inodes: Vec<NewInode> = tree.nodes.iter().map(inode).collect();
        let blob = meta::write(&inodes)?;
        Ok(Self { blob, tree })
    }

    /// The tree.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The attester's program, where the tree has one.
    #[must_use]
    pub fn attester(&self) -> Option<&[u8]> {
        self.tree.kept(Attester::PATH.as_bytes())
    }

    /// Writes `trees.bin`.
    ///
    /// # Errors
    /// Of the output.
    pub fn write_trees(&self, output: &mut dyn Write) -> io::Result<()> {
        output.write_all(&self.blob.tree.nodes)?;
        for place in &self.blob.places {
            if let Content::Regular(file) = &self.tree.nodes[place.inode].content {
                output.write_all(&file.hash.tree(file.size).nodes)?;
            }
        }
        Ok(())
    }
}

fn finish_hash(node: &Node) {
    if let Content::Regular(file) = &node.content {
        file.hash.tree(file.size);
    }
}

fn inode(node: &Node) -> NewInode {
    let kind = match &node.content {
        Content::Directory(children) => NewKind::Directory(children.clone()),
        Content::Regular(file) => NewKind::Regular {
            size: file.size,
            digest: file.hash.tree(file.size).digest,
            mtime: file.mtime,
        },
        Content::Symlink(target) => NewKind::Symlink(target.clone()),
        Content::CharacterDevice(major, minor) => {
            NewKind::Special(FileType::CharacterDevice, *major, *minor)
        }
        Content::BlockDevice(major, minor) => {
            NewKind::Special(FileType::BlockDevice, *major, *minor)
        }
        Content::Fifo => NewKind::Special(FileType::Fifo, 0, 0),
        Content::Socket => NewKind::Special(FileType::Socket, 0, 0),
    };
    let (permissions, uid, gid) = (node.mode, node.uid, node.gid);
    NewInode { permissions, uid, gid, xattrs: node.xattrs.clone(), kind }
}
