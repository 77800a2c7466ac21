//! Mount options: the strings of `mounts[].options` as flags.
//!
//! Partial support is data: [`NAMES`] is also what `features` reports.

use std::fmt::Write as _;

/// `MOUNT_ATTR_*` of `mount_setattr(2)`.
pub mod attr {
    #![allow(missing_docs)]
    pub const RDONLY: u64 = 0x1;
    pub const NOSUID: u64 = 0x2;
    pub const NODEV: u64 = 0x4;
    pub const NOEXEC: u64 = 0x8;
    pub const ATIME_MASK: u64 = 0x70;
    pub const NOATIME: u64 = 0x10;
    pub const STRICTATIME: u64 = 0x20;
    pub const NODIRATIME: u64 = 0x80;
    pub const IDMAP: u64 = 0x10_0000;
    pub const NOSYMFOLLOW: u64 = 0x20_0000;
}

/// What one option does.
#[derive(Clone, Copy)]
enum Effect {
    /// Sets flags of the mount (`MS_*` of `mount(2)`).
    Set(u64),
    /// Clears them.
    Clear(u64),
    /// Propagation type.
    Propagation(u64),
    /// Sets attributes of the mount and all below it, clearing the mask first.
    RecursiveSet(u64, u64),
    /// Clears attributes of the mount and all below it.
    RecursiveClear(u64),
    /// `tmpcopyup`.
    CopyUp,
    /// `idmap`, and `ridmap` if true.
    IdMap(bool),
    /// Accepted, changes nothing.
    None,
}
use Effect::{Clear, CopyUp, IdMap, Propagation, RecursiveClear, RecursiveSet, Set};

const NOSYMFOLLOW: u64 = 256;

/// Every known option, sorted by name. Anything else is passed to the file system.
const NAMES: &[(&str, Effect)] = &[
    ("acl", Set(libc::MS_POSIXACL)),
    ("async", Clear(libc::MS_SYNCHRONOUS)),
    ("atime", Clear(libc::MS_NOATIME)),
    ("bind", Set(libc::MS_BIND)),
    ("defaults", Effect::None),
    ("dev", Clear(libc::MS_NODEV)),
    ("diratime", Clear(libc::MS_NODIRATIME)),
    ("dirsync", Set(libc::MS_DIRSYNC)),
    ("exec", Clear(libc::MS_NOEXEC)),
    ("idmap", IdMap(false)),
    ("iversion", Set(libc::MS_I_VERSION)),
    ("lazytime", Set(libc::MS_LAZYTIME)),
    ("loud", Clear(libc::MS_SILENT)),
    ("mand", Set(libc::MS_MANDLOCK)),
    ("noacl", Clear(libc::MS_POSIXACL)),
    ("noatime", Set(libc::MS_NOATIME)),
    ("nodev", Set(libc::MS_NODEV)),
    ("nodiratime", Set(libc::MS_NODIRATIME)),
    ("noexec", Set(libc::MS_NOEXEC)),
    ("noiversion", Clear(libc::MS_I_VERSION)),
    ("nolazytime", Clear(libc::MS_LAZYTIME)),
    ("nomand", Clear(libc::MS_MANDLOCK)),
    ("norelatime", Clear(libc::MS_RELATIME)),
    ("nostrictatime", Clear(libc::MS_STRICTATIME)),
    ("nosuid", Set(libc::MS_NOSUID)),
    ("nosymfollow", Set(NOSYMFOLLOW)),
    ("private", Propagation(libc::MS_PRIVATE)),
    ("ratime", RecursiveClear(attr::NOATIME)),
    ("rbind", Set(libc::MS_BIND | libc::MS_REC)),
    ("rdev", RecursiveClear(attr::NODEV)),
    ("rdiratime", RecursiveClear(attr::NODIRATIME)),
    ("relatime", Set(libc::MS_RELATIME)),
    ("remount", Set(libc::MS_REMOUNT)),
    ("rexec", RecursiveClear(attr::NOEXEC)),
    ("ridmap", IdMap(true)),
    ("rnoatime", RecursiveSet(attr::NOATIME, attr::ATIME_MASK)),
    ("rnodev", RecursiveSet(attr::NODEV, 0)),
    ("rnodiratime", RecursiveSet(attr::NODIRATIME, 0)),
    ("rnoexec", RecursiveSet(attr::NOEXEC, 0)),
    ("rnorelatime", RecursiveSet(attr::STRICTATIME, attr::ATIME_MASK)),
    ("rnostrictatime", RecursiveSet(0, attr::ATIME_MASK)),
    ("rnosuid", RecursiveSet(attr::NOSUID, 0)),
    ("rnosymfollow", RecursiveSet(attr::NOSYMFOLLOW, 0)),
    ("ro", Set(libc::MS_RDONLY)),
    ("rprivate", Propagation(libc::MS_PRIVATE | libc::MS_REC)),
    ("rrelatime", RecursiveSet(0, attr::ATIME_MASK)),
    ("rro", RecursiveSet(attr::RDONLY, 0)),
    ("rrw", RecursiveClear(attr::RDONLY)),
    ("rshared", Propagation(libc::MS_SHARED | libc::MS_REC)),
    ("rslave", Propagation(libc::MS_SLAVE | libc::MS_REC)),
    ("rstrictatime", RecursiveSet(attr::STRICTATIME, attr::ATIME_MASK)),
    ("rsuid", RecursiveClear(attr::NOSUID)),
    ("rsymfollow", RecursiveClear(attr::NOSYMFOLLOW)),
    ("runbindable", Propagation(libc::MS_UNBINDABLE | libc::MS_REC)),
    ("rw", Clear(libc::MS_RDONLY)),
    ("shared", Propagation(libc::MS_SHARED)),
    ("silent", Set(libc::MS_SILENT)),
    ("slave", Propagation(libc::MS_SLAVE)),
    ("strictatime", Set(libc::MS_STRICTATIME)),
    ("suid", Clear(libc::MS_NOSUID)),
    ("symfollow", Clear(NOSYMFOLLOW)),
    ("sync", Set(libc::MS_SYNCHRONOUS)),
    ("tmpcopyup", CopyUp),
    ("unbindable", Propagation(libc::MS_UNBINDABLE)),
];

/// The options of one mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `MS_*` set.
    pub flags: u64,
    /// `MS_*` explicitly cleared (a later option wins over an earlier one).
    pub cleared: u64,
    /// Propagation types, in order.
    pub propagation: Vec<u64>,
    /// `MOUNT_ATTR_*` to set on the whole tree.
    pub recursive_set: u64,
    /// `MOUNT_ATTR_*` to clear on the whole tree.
    pub recursive_clear: u64,
    /// Whether the old contents of the directory are copied into the new tmpfs.
    pub is_copy_up: bool,
    /// `idmap` (false) or `ridmap` (true).
    pub idmap: Option<bool>,
    /// What the file system itself gets, comma-separated.
    pub data: String,
}

impl Options {
    /// Parses a list. Every list has a meaning; the kernel judges what is passed on.
    pub fn parse<S: AsRef<str>>(options: &[S]) -> Self {
        let mut out = Self::default();
        for option in options {
            let option = option.as_ref();
            let Ok(index) = NAMES.binary_search_by(|(name, _)| (*name).cmp(option)) else {
                let comma = if out.data.is_empty() { "" } else { "," };
                let _ = write!(out.data, "{comma}{option}");
                continue;
            };
            match NAMES[index].1 {
                Set(flags) => {
                    out.flags |= flags;
                    out.cleared &= !flags;
                }
                Clear(flags) => {
                    out.flags &= !flags;
                    out.cleared |= flags;
                }
                Propagation(kind) => out.propagation.push(kind),
                RecursiveSet(set, mask) => {
                    out.recursive_set = out.recursive_set & !mask | set;
                    out.recursive_clear = (out.recursive_clear & !set) | mask;
                }
                RecursiveClear(clear) => {
                    out.recursive_set &= !clear;
                    out.recursive_clear |=
                        if clear & attr::ATIME_MASK != 0 { attr::ATIME_MASK } else { clear };
                }
                CopyUp => out.is_copy_up = true,
                IdMap(is_recursive) => out.idmap = Some(is_recursive),
                Effect::None => {}
            }
        }
        out
    }

    /// Whether this is a bind mount.
    pub const fn is_bind(&self) -> bool {
        self.flags & libc::MS_BIND != 0
    }

    /// The flags of the mount itself as `MOUNT_ATTR_*` to set and to clear: for bind mounts, whose other
    /// attributes stay as the source has them.
    pub const fn attributes(&self) -> (u64, u64) {
        let mut set = 0;
        let mut clear = 0;
        let pairs = [
            (libc::MS_RDONLY, attr::RDONLY),
            (libc::MS_NOSUID, attr::NOSUID),
            (libc::MS_NODEV, attr::NODEV),
            (libc::MS_NOEXEC, attr::NOEXEC),
            (libc::MS_NODIRATIME, attr::NODIRATIME),
            (NOSYMFOLLOW, attr::NOSYMFOLLOW),
        ];
        let mut index = 0;
        while index < pairs.len() {
            let (flag, attribute) = pairs[index];
            if self.flags & flag != 0 {
                set |= attribute;
            } else if self.cleared & flag != 0 {
                clear |= attribute;
            }
            index += 1;
        }
        if self.flags & libc::MS_NOATIME != 0 {
            set |= attr::NOATIME;
            clear |= attr::ATIME_MASK;
        } else if self.flags & libc::MS_STRICTATIME != 0 {
            set |= attr::STRICTATIME;
            clear |= attr::ATIME_MASK;
        } else if self.flags & libc::MS_RELATIME != 0 || self.cleared & libc::MS_NOATIME != 0 {
            clear |= attr::ATIME_MASK;
        }
        (set, clear)
    }
}

/// Names of all options known, for `features`.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(name, _)| *name)
}

/// The propagation type of `linux.rootfsPropagation`.
pub fn propagation(name: &str) -> Option<u64> {
    match NAMES.binary_search_by(|(n, _)| (*n).cmp(name)).map(|i| NAMES[i].1) {
        Ok(Propagation(kind)) => Some(kind),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(NAMES.windows(2).all(|w| w[0].0 < w[1].0));
    }

    #[test]
    fn later_options_win_and_unknown_ones_are_data() {
        let o = Options::parse(&["ro", "nosuid", "rw", "mode=755", "size=1k"]);
        assert_eq!(o.flags, libc::MS_NOSUID);
        assert_eq!(o.cleared, libc::MS_RDONLY);
        assert_eq!(o.data, "mode=755,size=1k");
        let o = Options::parse(&["rbind", "rw", "ro", "rslave"]);
        assert_eq!(o.flags, libc::MS_BIND | libc::MS_REC | libc::MS_RDONLY);
        assert_eq!(o.propagation, [libc::MS_SLAVE | libc::MS_REC]);
        assert_eq!(o.attributes(), (attr::RDONLY, 0));
    }

    #[test]
    fn recursive_access_time_replaces_the_whole_field() {
        let o = Options::parse(&["rnoatime", "rstrictatime"]);
        assert_eq!(o.recursive_set, attr::STRICTATIME);
        assert_eq!(o.recursive_clear, attr::ATIME_MASK);
    }
}
