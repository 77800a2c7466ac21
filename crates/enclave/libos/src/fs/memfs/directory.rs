//! Names of a directory.
//!
//! Every name has a cookie that grows with each insertion, so that a reader of the directory sees each
//! name that is there all the time exactly once, whatever is added and removed meanwhile.

use super::{Fs, Node};
use crate::errno::Errno;
use crate::fs::stat::FileType;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use hashbrown::HashMap;

/// Cookies of `.` and `..`; names come after.
const FIRST_COOKIE: u64 = 3;

pub(super) struct Directory {
    /// Where it hangs; None for a root and for a removed directory.
    pub(super) parent: Option<(Weak<Node>, Vec<u8>)>,
    pub(super) is_removed: bool,
    names: HashMap<Arc<[u8]>, Name>,
    order: BTreeMap<u64, Arc<[u8]>>,
    next_cookie: u64,
    /// Directory below whose names are still to be taken over, and how many they are.
    below: Option<(u64, u32)>,
}

struct Name {
    cookie: u64,
    child: Child,
}

/// What a name stands for.
#[derive(Clone)]
pub(super) enum Child {
    /// A node.
    Node(Arc<Node>),
    /// A node below that was not looked at.
    Below(u64, FileType),
}

impl Directory {
    pub(super) fn new(parent: Option<(Weak<Node>, Vec<u8>)>) -> Self {
        Self {
            parent,
            is_removed: false,
            names: HashMap::new(),
            order: BTreeMap::new(),
            next_cookie: FIRST_COOKIE,
            below: None,
        }
    }

    pub(super) fn reflecting(parent: Option<(Weak<Node>, Vec<u8>)>, id: u64, entries: u32) -> Self {
        Self { below: Some((id, entries)), ..Self::new(parent) }
    }

    /// Takes the names over from below, once.
    pub(super) fn fill(&mut self, fs: &Fs) -> Result<(), Errno> {
        let Some((id, _)) = self.below else { return Ok(()) };
        let entries = fs.lower.as_ref().ok_or(Errno::EIO)?.entries(id)?;
        self.below = None;
        self.names.reserve(entries.len());
        for entry in entries {
            self.insert(&entry.name, Child::Below(entry.id, entry.file_type));
        }
        Ok(())
    }

    /// As tmpfs: 20 bytes a name, `.` and `..` included. Taking names over does not change it.
    pub(super) fn size(&self) -> u64 {
        let names = self.below.map_or(self.names.len() as u64, |(_, entries)| entries.into());
        (names + 2) * 20
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<&Child> {
        self.names.get(name).map(|name| &name.child)
    }

    /// The node of a name; one from below is loaded and stays.
    pub(super) fn node(&mut self, this: &Node, name: &[u8]) -> Result<Arc<Node>, Errno> {
        self.fill(&this.fs)?;
        let entry = self.names.get_mut(name).ok_or(Errno::ENOENT)?;
        match &entry.child {
            Child::Node(node) => Ok(node.clone()),
            Child::Below(id, _) => {
                let node = Node::load(&this.fs, *id, Some((this.this.clone(), name.to_vec())))?;
                entry.child = Child::Node(node.clone());
                Ok(node)
            }
        }
    }

    pub(super) fn insert(&mut self, name: &[u8], child: Child) {
        let name: Arc<[u8]> = Arc::from(name);
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        self.order.insert(cookie, name.clone());
        if let Some(old) = self.names.insert(name, Name { cookie, child }) {
            self.order.remove(&old.cookie);
        }
    }

    /// Puts another node under a name that is there; its cookie stays.
    pub(super) fn replace(&mut self, name: &[u8], node: Arc<Node>) {
        if let Some(entry) = self.names.get_mut(name) {
            entry.child = Child::Node(node);
        }
    }

    pub(super) fn remove(&mut self, name: &[u8]) {
        if let Some(old) = self.names.remove(name) {
            self.order.remove(&old.cookie);
        }
    }

    /// Names after `cookie`, with their cookies.
    pub(super) fn after(&self, cookie: u64) -> impl Iterator<Item = (u64, &[u8], &Child)> {
        let names = self.order.range(cookie.max(FIRST_COOKIE - 1) + 1..);
        names.filter_map(|(cookie, name)| Some((*cookie, &**name, self.get(name)?)))
    }
}

impl Child {
    pub(super) fn identity(&self) -> (u64, FileType) {
        match self {
            Self::Node(node) => (node.ino, node.file_type),
            Self::Below(id, file_type) => (*id, *file_type),
        }
    }
}
