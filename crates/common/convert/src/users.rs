//! Who a process runs as: names in an image's configuration, looked up in the image's own files.
//!
//! The rules are Docker's: `user`, `user:group`, by name or number; a name has to be in /etc/passwd; a
//! number need not be. Without a group the user's own is taken, and the groups that list the user.

use crate::error::ImageError;
use crate::image::fault;
use crate::tree::Tree;
use workload::manifest::User;

/// A user with the home directory that engines set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) user: User,
    pub(crate) home: String,
}

struct Passwd {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

struct Group {
    name: String,
    gid: u32,
    members: Vec<String>,
}

/// Looks up a `User` of a configuration.
pub(crate) fn resolve(tree: &Tree, text: &str) -> Result<Resolved, ImageError> {
    let passwd = lines(tree, b"/etc/passwd", |fields| {
        let [name, _, uid, gid, _, home, ..] = fields else { return None };
        let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
        Some(Passwd { name: (*name).into(), uid, gid, home: (*home).into() })
    });
    let groups = lines(tree, b"/etc/group", |fields| {
        let [name, _, gid, members, ..] = fields else { return None };
        let members = members.split(',').filter(|member| !member.is_empty());
        let members = members.map(String::from).collect();
        Some(Group { name: (*name).into(), gid: gid.parse().ok()?, members })
    });
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let number = if user.is_empty() { Some(0) } else { user.parse::<u32>().ok() };
    let entry = passwd
        .iter()
        .find(|entry| entry.name == user)
        .or_else(|| passwd.iter().find(|entry| Some(entry.uid) == number));
    let uid = entry.map(|entry| entry.uid).or(number).ok_or_else(|| {
        fault("config User", "a number or a name in the image's /etc/passwd", format!("\"{user}\""))
    })?;
    let home = entry.map_or("/", |entry| &entry.home);
    let home = if home.starts_with('/') { home } else { "/" };

    let mut resolved = Resolved {
        user: User { uid, gid: entry.map_or(0, |entry| entry.gid), additional_gids: vec![] },
        home: home.into(),
    };
    if group.is_empty() {
        let name = entry.map_or("", |entry| &entry.name);
        let member_of = groups.iter().filter(|group| group.members.iter().any(|m| m == name));
        let gids = &mut resolved.user.additional_gids;
        gids.extend(member_of.map(|group| group.gid));
        gids.sort_unstable();
        gids.dedup();
    } else {
        let listed = groups.iter().find(|entry| entry.name == group).map(|entry| entry.gid);
        resolved.user.gid = listed.or_else(|| group.parse().ok()).ok_or_else(|| {
            let expected = "a number or a name in the image's /etc/group";
            fault("config User", expected, format!("\"{group}\""))
        })?;
    }
    Ok(resolved)
}

/// Lines of fields between colons; what cannot be read is skipped, as libc does.
fn lines<T>(tree: &Tree, path: &[u8], parse: impl Fn(&[&str]) -> Option<T>) -> Vec<T> {
    let text = String::from_utf8_lossy(tree.kept(path).unwrap_or_default()).into_owned();
    let parsed = text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.trim().split(':').collect();
        parse(&fields)
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Pool;
    use crate::layer::{Builder, Limits};
    use crate::tar::Archive;
    use crate::tar::tests::Writer;

    #[test]
    fn names_and_numbers() {
        let layer = Writer::default()
            .file(
                "etc/passwd",
                "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/var/www:/x\nbad:x:y\n",
            )
            .file("etc/group", "root:x:0:\nadm:x:4:web,root\nweb:x:34:\nvideo:x:44:web\n")
            .finish();
        let tree = Pool::of(1).run(|pool| {
            let mut builder = Builder::new(Limits::default());
            builder.apply("0", &mut Archive::new(&layer[..]), pool, &()).unwrap();
            builder.finish()
        });
        let get = |text: &str| {
            let Resolved { user, home } = resolve(&tree, text).unwrap();
            (user.uid, user.gid, user.additional_gids, home)
        };
        assert_eq!(get(""), (0, 0, vec![4], "/root".into()));
        assert_eq!(get("web"), (33, 34, vec![4, 44], "/var/www".into()));
        assert_eq!(get("33"), get("web"));
        assert_eq!(get("web:adm"), (33, 4, vec![], "/var/www".into()));
        assert_eq!(get("1000"), (1000, 0, vec![], "/".into()));
        assert_eq!(get("1000:1001"), (1000, 1001, vec![], "/".into()));
        assert_eq!(
            resolve(&tree, "nobody").unwrap_err().to_string(),
            "image: config User: expected a number or a name in the image's /etc/passwd, got \"nobody\""
        );
        assert!(resolve(&tree, "web:staff").is_err());
        assert!(resolve(&tree, "-1").is_err());
        let empty = resolve(&Tree::default(), "").unwrap();
        assert_eq!((empty.user.uid, empty.home.as_str()), (0, "/"));
    }
}
