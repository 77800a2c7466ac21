//! Path walk (path_resolution(7)).

use super::context::Caller;
use super::flags::{MAX_LINKS, NAME_MAX, PATH_MAX};
use super::location::Location;
use super::permission::EXECUTE;
use super::stat::FileType;
use crate::errno::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The last part of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Last {
    /// A name, and whether slashes came after it (it must be a directory).
    Name(Vec<u8>, bool),
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// The path was `/`.
    Root,
}

/// A directory and the last part of a path in it.
#[derive(Clone)]
pub struct Parent {
    /// The directory.
    pub directory: Location,
    /// What the path named in it; nothing says that it exists.
    pub last: Last,
    /// Symbolic links that were followed so far.
    pub links: u32,
}

/// Finds what `path` names, from `start` unless it is absolute. A symbolic link at the end is followed if
/// `is_followed`, or if slashes come after it.
///
/// # Errors
/// ENOENT, ENOTDIR, EACCES, ELOOP, ENAMETOOLONG, and EIO of the verified root.
pub fn resolve(
    caller: &Caller,
    start: &Location,
    path: &[u8],
    is_followed: bool,
) -> Result<Location, Errno> {
    let mut walk = Walk::new(caller, start, path, 0)?;
    loop {
        match walk.next()? {
            Step::More => {}
            Step::Last(Last::Name(name, is_directory)) => {
                let found = walk.child(&name, true)?;
                if found.inode.file_type() == FileType::Symlink && (is_followed || is_directory) {
                    walk.follow(&found, is_directory)?;
                    continue;
                }
                if is_directory && found.inode.file_type() != FileType::Directory {
                    return Err(Errno::ENOTDIR);
                }
                return Ok(found);
            }
            Step::Last(Last::DotDot) => {
                walk.up()?;
                return Ok(walk.at);
            }
            Step::Last(_) => return Ok(walk.at),
        }
    }
}

/// Finds the directory that holds the last part of `path`, which is not looked at.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_parent(
    caller: &Caller,
    start: &Location,
    path: &[u8],
    links: u32,
) -> Result<Parent, Errno> {
    let mut walk = Walk::new(caller, start, path, links)?;
    loop {
        if let Step::Last(last) = walk.next()? {
            return Ok(Parent { directory: walk.at, last, links: walk.links });
        }
    }
}

/// Looks `name` up in a directory, stepping on what is mounted there.
///
/// # Errors
/// ENOENT, ENOTDIR, EACCES, EIO.
pub fn lookup(caller: &Caller, directory: &Location, name: &[u8]) -> Result<Location, Errno> {
    search(caller, directory)?;
    lookup_unchecked(caller, directory, name, true)
}

/// The directory above, not above the process's root.
#[must_use]
pub fn parent_of(caller: &Caller, directory: &Location) -> Location {
    let root = caller.fs.root();
    let mut at = directory.clone();
    loop {
        if at.is_same(&root) {
            return at;
        }
        if let Some((parent, _)) = at.inode.parent() {
            return caller.fs.namespace.enter(Location::new(at.mount, parent));
        }
        match &at.mount.at {
            Some((mount, inode)) if at.inode.key() == at.mount.root.key() => {
                at = Location::new(mount.clone(), inode.clone());
            }
            _ => return at,
        }
    }
}

/// The absolute path of a place, seen from the process's root: `(unreachable)` before it where it is
/// outside, ` (deleted)` after it where its name is gone.
#[must_use]
pub fn path_of(caller: &Caller, location: &Location) -> Vec<u8> {
    let root = caller.fs.root();
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let mut at = location.clone();
    let mut is_deleted = false;
    if let Some(entry) = &location.entry {
        let (directory, name) = &**entry;
        let still = directory.lookup(caller, name).map(|found| found.key());
        is_deleted = still.ok() != Some(location.inode.key());
        parts.push(name.clone());
        at = Location::new(at.mount, directory.clone());
    }
    loop {
        if at.is_same(&root) {
            break;
        }
        if let Some((parent, name)) = at.inode.parent() {
            parts.push(name);
            at = Location::new(at.mount, parent);
            continue;
        }
        match &at.mount.at {
            Some((mount, inode)) if at.inode.key() == at.mount.root.key() => {
                at = Location::new(mount.clone(), inode.clone());
            }
            _ => {
                is_deleted |= at.inode.key() != at.mount.root.key();
                break;
            }
        }
    }
    let mut path = Vec::new();
    for part in parts.iter().rev() {
        path.push(b'/');
        path.extend_from_slice(part);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    if is_deleted {
        path.extend_from_slice(b" (deleted)");
    }
    path
}

fn search(caller: &Caller, directory: &Location) -> Result<(), Errno> {
    if directory.inode.file_type() != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    // Whoever has every capability may search every directory.
    if caller.credentials.is_privileged() {
        return Ok(());
    }
    caller.credentials.check(&directory.inode.stat(), EXECUTE)
}

fn lookup_unchecked(
    caller: &Caller,
    directory: &Location,
    name: &[u8],
    is_last: bool,
) -> Result<Location, Errno> {
    if name.len() > NAME_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    let inode = directory.inode.lookup(caller, name)?;
    // Only an end can be something whose directory is asked for later.
    let entry = (is_last && inode.file_type() != FileType::Directory)
        .then(|| Arc::new((directory.inode.clone(), name.to_vec())));
    let child = Location { mount: directory.mount.clone(), inode, entry };
    Ok(caller.fs.namespace.enter(child))
}

enum Step {
    More,
    Last(Last),
}

struct Walk<'a> {
    caller: &'a Caller,
    at: Location,
    rest: Vec<u8>,
    /// Where in `rest` the walk is.
    position: usize,
    links: u32,
}

impl<'a> Walk<'a> {
    fn new(caller: &'a Caller, start: &Location, path: &[u8], links: u32) -> Result<Self, Errno> {
        match path {
            [] => return Err(Errno::ENOENT),
            _ if path.len() >= PATH_MAX => return Err(Errno::ENAMETOOLONG),
            _ => {}
        }
        let at = if path[0] == b'/' { caller.fs.root() } else { start.clone() };
        Ok(Self { caller, at, rest: path.to_vec(), position: 0, links })
    }

    /// Walks one part on. The last part is given back and not walked, except that what comes before it must
    /// be a directory that may be searched.
    fn next(&mut self) -> Result<Step, Errno> {
        let rest = &self.rest[self.position..];
        let start = rest.iter().take_while(|byte| **byte == b'/').count();
        let part = &rest[start..];
        if part.is_empty() {
            return Ok(Step::Last(if start > 0 { Last::Root } else { Last::Dot }));
        }
        let length = part.iter().position(|byte| *byte == b'/').unwrap_or(part.len());
        let slashes = part[length..].iter().take_while(|byte| **byte == b'/').count();
        let is_last = length + slashes == part.len();
        let name = part[..length].to_vec();
        self.position += start + length;
        search(self.caller, &self.at)?;
        match (&name[..], is_last) {
            (b".", true) => return Ok(Step::Last(Last::Dot)),
            (b"..", true) => return Ok(Step::Last(Last::DotDot)),
            (b".", false) => {}
            (b"..", false) => self.up()?,
            (_, true) => {
                if name.len() > NAME_MAX {
                    return Err(Errno::ENAMETOOLONG);
                }
                return Ok(Step::Last(Last::Name(name, slashes > 0)));
            }
            (_, false) => {
                let child = self.child(&name, false)?;
                match child.inode.file_type() {
                    FileType::Symlink => self.follow(&child, false)?,
                    FileType::Directory => self.at = child,
                    _ => return Err(Errno::ENOTDIR),
                }
            }
        }
        Ok(Step::More)
    }

    fn child(&self, name: &[u8], is_last: bool) -> Result<Location, Errno> {
        lookup_unchecked(self.caller, &self.at, name, is_last)
    }

    fn up(&mut self) -> Result<(), Errno> {
        self.at = parent_of(self.caller, &self.at);
        Ok(())
    }

    /// Goes on with the target of a link in place of its name; `is_directory` if slashes came after it.
    fn follow(&mut self, link: &Location, is_directory: bool) -> Result<(), Errno> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::ELOOP);
        }
        let rest = &self.rest[self.position..];
        if let Some(place) = link.inode.magic_link(self.caller) {
            self.at = place?;
            // What is left is slashes, or more parts: both need a directory.
            if (is_directory || !rest.is_empty())
                && self.at.inode.file_type() != FileType::Directory
            {
                return Err(Errno::ENOTDIR);
            }
            return Ok(());
        }
        let mut target = link.inode.read_link(self.caller)?;
        if target.is_empty() {
            return Err(Errno::ENOENT);
        }
        if target[0] == b'/' {
            self.at = self.caller.fs.root();
        }
        target.extend_from_slice(rest);
        if target.len() >= 2 * PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        self.rest = target;
        self.position = 0;
        Ok(())
    }
}
