//! The attester's rules as people write them, and its program in the tree.
//!
//! The program comes from this converter and never from the image: whatever an image has below the reserved
//! directory was left out when the tree was read, so that a packed image converts to what its source does.

use crate::error::Error;
use crate::hash::{FileHash, leaves};
use crate::tree::{Content, Node, NodeId, Place, RESERVED, ROOT, Regular, Tree};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use workload::manifest::{Attester, AttesterLevel, AttesterVerify, Manifest};

/// The program's name in the reserved directory.
pub const PROGRAM: &str = "attester";

/// The attester, as a person writes it. What is left out is as [`Attester`] says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// TCP port of the host.
    pub listen: u16,
    /// The program behind it.
    pub forward: String,
    /// `bound` if left out.
    pub level: Option<AttesterLevel>,
    /// Its user id.
    pub uid: Option<u32>,
    /// Open sessions.
    pub sessions: Option<u32>,
    /// Quotes in the making.
    pub quotes: Option<u32>,
    /// A file with collateral that goes with its evidence.
    pub endorsements: Option<String>,
    /// What its peers must prove.
    pub verify: Option<VerifyRules>,
}

/// What peers must prove.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyRules {
    /// The policy, a file of the image.
    pub policy: String,
    /// The trust anchor, a file of the image.
    pub root: String,
    /// Collateral for the peer's evidence.
    pub collateral: Option<String>,
    /// Whether the peer proves itself first.
    #[serde(default)]
    pub first: bool,
    /// Seconds after which it proves itself again.
    pub reattest: Option<u32>,
}

impl Rules {
    /// The manifest's member.
    pub(crate) fn rule(self) -> Attester {
        let verify = self.verify.map(|verify| {
            let VerifyRules { policy, root, collateral, first, reattest } = verify;
            AttesterVerify { policy, root, collateral, first, reattest }
        });
        Attester {
            forward: self.forward,
            level: self.level.unwrap_or(AttesterLevel::Bound),
            listen: self.listen,
            uid: self.uid.unwrap_or(Attester::UID),
            sessions: self.sessions.unwrap_or(Attester::SESSIONS),
            quotes: self.quotes.unwrap_or(Attester::QUOTES),
            endorsements: self.endorsements,
            verify,
        }
    }
}

/// Puts the program into a tree that was read from an image or a directory: [`Attester::PATH`], the same whoever
/// converts.
pub(crate) fn add(tree: &mut Tree, program: &[u8]) {
    let hash = FileHash::default();
    hash.add(0, leaves(program));
    let file = Regular {
        size: program.len() as u64,
        mtime: 0,
        place: Place::Given,
        hash,
        kept: Some(program.to_vec()),
    };
    let program = Node {
        mode: 0o555,
        content: Content::Regular(Arc::new(file)),
        ..Node::implied_directory()
    };
    let program = push(tree, program);
    let mut directory = Node::implied_directory();
    directory.content = Content::Directory(BTreeMap::from([(PROGRAM.into(), program)]));
    let directory = push(tree, directory);
    let Content::Directory(children) = &mut tree.nodes[ROOT].content else {
        unreachable!("a tree's root is a directory")
    };
    let old = children.insert(RESERVED.to_vec(), directory);
    assert!(old.is_none(), "nothing of an image is read below the reserved directory");
}

fn push(tree: &mut Tree, node: Node) -> NodeId {
    tree.nodes.push(node);
    tree.nodes.len() - 1
}

/// Files that the measured rules name and that must be measured too.
pub(crate) fn check(tree: &Tree, manifest: &Manifest) -> Result<(), Error> {
    let Some(verify) = manifest.attester.as_ref().and_then(|attester| attester.verify.as_ref())
    else {
        return Ok(());
    };
    for (field, path) in [("policy", &verify.policy), ("root", &verify.root)] {
        let node = tree.resolve(path.as_bytes()).ok().map(|node| &tree.nodes[node].content);
        if !matches!(node, Some(Content::Regular(_))) {
            return Err(Error::Policy {
                field: format!("attester.verify.{field}"),
                expected: "a file of the image".into(),
                got: format!("{path:?}, which is none"),
            });
        }
    }
    Ok(())
}
