//! Which cgroup hierarchies this host has, and where this process is in them.

use crate::error::{Error, Result};
use std::io::Read;
use std::path::{Path, PathBuf};

/// One hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Controllers of v1, or `name=systemd`; empty for v2.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// This process's group, relative to the mount.
    pub own: PathBuf,
    /// Whether it is the v2 tree.
    pub is_v2: bool,
}

/// All hierarchies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// In mount order.
    pub hierarchies: Vec<Hierarchy>,
}

impl Host {
    /// Reads this process's mounts and groups.
    ///
    /// # Errors
    /// `/proc` is not there.
    pub fn detect() -> Result<Self> {
        Self::detect_of("self")
    }

    /// As [`detect`](Self::detect), but `own` is the group of the machine's first process, below which
    /// systemd's units are.
    ///
    /// # Errors
    /// `/proc` is not there.
    pub fn detect_first() -> Result<Self> {
        let mut out = Self::detect_of("1")?;
        for hierarchy in &mut out.hierarchies {
            // systemd itself is in a unit of its own.
            if hierarchy.own.ends_with("init.scope") {
                hierarchy.own.pop();
            }
        }
        Ok(out)
    }

    fn detect_of(pid: &str) -> Result<Self> {
        let read = |file: &str| {
            // Room for all of it: such files have no size, and the kernel writes them anew for each read.
            let mut text = String::with_capacity(16 << 10);
            std::fs::File::open(file)
                .and_then(|mut file| file.read_to_string(&mut text))
                .map_err(|e| Error::os_io("read", Path::new(file), &e))?;
            Ok::<_, Error>(text)
        };
        Ok(Self::from_text(&read("/proc/self/mountinfo")?, &read(&format!("/proc/{pid}/cgroup"))?))
    }

    /// From the text of `mountinfo` and `cgroup`; anything unreadable is left out, and so are mounts that a
    /// later one covers: containers and sandboxes put their own tree over the machine's.
    #[must_use]
    pub fn from_text(mountinfo: &str, own: &str) -> Self {
        let mut out = Self::default();
        for line in mountinfo.lines() {
            if let Some(place) = line.split(' ').nth(4).filter(|place| *place != "/") {
                out.hierarchies.retain(|h| !h.mount.starts_with(place));
            }
            if let Some(mut hierarchy) = mounted(line) {
                let (mount_root, own_path) = (hierarchy.own.clone(), own_group(own, &hierarchy));
                let relative = own_path.strip_prefix(&mount_root).unwrap_or(&own_path);
                hierarchy.own = relative.strip_prefix("/").unwrap_or(relative).to_owned();
                let is_known = out
                    .hierarchies
                    .iter()
                    .any(|h| h.is_v2 == hierarchy.is_v2 && h.controllers == hierarchy.controllers);
                if !is_known {
                    out.hierarchies.push(hierarchy);
                }
            }
        }
        out
    }

    /// The v2 tree.
    #[must_use]
    pub fn unified(&self) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|h| h.is_v2)
    }

    /// Whether there is nothing but the v2 tree.
    #[must_use]
    pub fn is_unified(&self) -> bool {
        self.unified().is_some() && self.hierarchies.iter().all(|h| h.is_v2)
    }

    /// For messages and `features`.
    #[must_use]
    pub fn mode(&self) -> &'static str {
        match (self.unified(), self.hierarchies.iter().any(|h| !h.is_v2)) {
            (None, false) => "none",
            (None, true) => "v1",
            (Some(_), true) => "hybrid",
            (Some(_), false) => "v2",
        }
    }
}

/// One line of `mountinfo`; `own` of the result is the mount's root for now.
fn mounted(line: &str) -> Option<Hierarchy> {
    let (left, right) = line.split_once(" - ")?;
    let mut right = right.split(' ');
    let kind = right.next()?;
    if kind != "cgroup" && kind != "cgroup2" {
        return None;
    }
    let super_options = right.nth(1)?;
    let mut left = left.split(' ').skip(3);
    let root = PathBuf::from(unescape(left.next()?));
    let mount = PathBuf::from(unescape(left.next()?));
    if kind == "cgroup2" {
        return Some(Hierarchy { controllers: Vec::new(), mount, own: root, is_v2: true });
    }
    const NOT_CONTROLLERS: [&str; 6] =
        ["rw", "ro", "xattr", "clone_children", "noprefix", "cpuset_v2_mode"];
    let controllers: Vec<String> = super_options
        .split(',')
        .filter(|o| !NOT_CONTROLLERS.contains(o) && (!o.contains('=') || o.starts_with("name=")))
        .map(str::to_owned)
        .collect();
    (!controllers.is_empty()).then_some(Hierarchy { controllers, mount, own: root, is_v2: false })
}

/// This process's group in a hierarchy, from `/proc/self/cgroup`.
fn own_group(text: &str, hierarchy: &Hierarchy) -> PathBuf {
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(names), Some(path)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let is_this = if hierarchy.is_v2 {
            names.is_empty()
        } else {
            names.split(',').any(|n| hierarchy.controllers.iter().any(|c| c == n))
        };
        if is_this {
            return PathBuf::from(path);
        }
    }
    PathBuf::from("/")
}

/// `mountinfo` writes blanks and backslashes as three octal digits.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        match rest.get(at + 1..at + 4).and_then(|d| u8::from_str_radix(d, 8).ok()) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
23 1 254:0 / / rw - ext4 /dev/vda rw
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 / /sys/fs/cgroup/cpu\\040x rw,relatime shared:3 - cgroup cgroup rw,cpuacct
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";

    #[test]
    fn a_hybrid_host() {
        let host = Host::from_text(HYBRID, "9:name=systemd:/a\n2:cpuacct:/b/c\n1:cpu:/\n0::/u\n");
        assert_eq!(host.mode(), "hybrid");
        assert_eq!(host.hierarchies.len(), 4);
        assert_eq!(host.hierarchies[1].mount, Path::new("/sys/fs/cgroup/cpu x"));
        assert_eq!(host.hierarchies[1].own, Path::new("b/c"));
        assert_eq!(host.hierarchies[2].controllers, ["name=systemd"]);
        assert_eq!(host.unified().unwrap().own, Path::new("u"));
    }

    #[test]
    fn a_mount_of_a_part_of_the_tree() {
        let info = "1 0 0:1 /docker/x /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
        let host = Host::from_text(info, "0::/docker/x/y\n");
        assert_eq!(host.mode(), "v2");
        assert_eq!(host.unified().unwrap().own, Path::new("y"));
    }

    #[test]
    fn a_covered_mount_is_not_there() {
        let info = format!(
            "{HYBRID}\n50 31 0:50 / /sys/fs/cgroup rw - tmpfs t rw\n\
             51 50 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
        );
        let host = Host::from_text(&info, "1:cpu:/a\n0::/u\n");
        assert_eq!(host.mode(), "v1");
        assert_eq!(host.hierarchies.len(), 1);
        assert_eq!(host.hierarchies[0].own, Path::new("a"));
    }

    #[test]
    fn nonsense_is_left_out() {
        let host = Host::from_text("a\n - cgroup\n1 2 3 4 5 6 - cgroup x\n", "::\n:");
        assert_eq!(host.mode(), "none");
    }
}
