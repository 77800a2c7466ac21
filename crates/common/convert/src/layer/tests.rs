//! Layers applied, and each way in which one is refused.

use super::*;
use crate::hash::Pool;
use crate::tar::Archive;
use crate::tar::tests::Writer;
use crate::tree::{Content, Tree};
use workload::verity;

fn apply_with(limits: Limits, layers: &[Vec<u8>]) -> Result<Tree, LayerError> {
    Pool::of(2).run(|pool| {
        let mut builder = Builder::new(limits);
        for (index, layer) in layers.iter().enumerate() {
            let mut archive = Archive::new(&layer[..]);
            builder.apply(&index.to_string(), &mut archive, pool, &())?;
        }
        Ok(builder.finish())
    })
}

fn apply(layers: impl IntoIterator<Item = Writer>) -> Result<Tree, LayerError> {
    let layers: Vec<Vec<u8>> = layers.into_iter().map(Writer::finish).collect();
    apply_with(Limits::default(), &layers)
}

/// One line per file: path, mode, and what it is.
fn list(tree: &Tree) -> Vec<String> {
    let mut lines = Vec::new();
    let listed = tree.walk(|path, id| {
        let node = &tree.nodes[id];
        let what = match &node.content {
            Content::Directory(_) => "/".into(),
            Content::Regular(file) => format!(" {}", file.size),
            Content::Symlink(target) => format!(" -> {}", String::from_utf8_lossy(target)),
            _ => " special".into(),
        };
        lines.push(format!("{}{what} {:o}", String::from_utf8_lossy(path), node.mode));
        Ok::<(), ()>(())
    });
    assert_eq!(listed, Ok(()));
    lines
}

fn listed(layers: impl IntoIterator<Item = Writer>) -> Vec<String> {
    list(&apply(layers).expect("the layers are right"))
}

fn refused(layers: impl IntoIterator<Item = Writer>) -> String {
    apply(layers).expect_err("the layers are wrong").to_string()
}

fn tar() -> Writer {
    Writer::default()
}

#[test]
fn upper_layers_replace_and_add() {
    let lower = tar().directory("etc/").file("etc/a", "1").file("etc/b", "2").file("f", "x");
    let upper = tar()
        .add(b'5', "etc", "", 0o700, b"")
        .file("./etc//a", "longer")
        .directory("f/")
        .file("new/deep/c", "3");
    assert_eq!(
        listed([lower, upper]),
        [
            "/ 755",
            "/etc/ 700",
            "/etc/a 6 644",
            "/etc/b 1 644",
            "/f/ 755",
            "/new/ 755",
            "/new/deep/ 755",
            "/new/deep/c 1 644",
        ]
    );
}

#[test]
fn whiteouts_remove_lower_files_only_and_in_any_order() {
    let lower = || tar().file("d/a", "1").file("d/b", "2").file("e/x", "3").file("g", "4");
    let first =
        tar().file("d/.wh.a", "").file("e/.wh..wh..opq", "").file("e/y", "5").file(".wh.g", "");
    let last =
        tar().file("e/y", "5").file("e/.wh..wh..opq", "").file(".wh.g", "").file("d/.wh.a", "");
    let want = ["/ 755", "/d/ 755", "/d/b 1 644", "/e/ 755", "/e/y 1 644"];
    assert_eq!(listed([lower(), first]), want);
    assert_eq!(listed([lower(), last]), want);
    let replaced = tar().file("d/n", "6").file(".wh.d", "");
    assert_eq!(
        listed([lower(), replaced]),
        ["/ 755", "/d/ 755", "/d/n 1 644", "/e/ 755", "/e/x 1 644", "/g 1 644"]
    );
    let nothing = tar().file("nowhere/.wh.a", "").file(".wh..wh.plnk", "").file("g/.wh.x", "");
    assert_eq!(listed([tar().file("g", "4"), nothing]), ["/ 755", "/g 1 644"]);
}

#[test]
fn whiteouts_that_leave_the_root_are_refused() {
    for name in ["../.wh.etc", "a/../../.wh.etc", "/.wh.etc"] {
        let message = refused([tar().file("etc/x", ""), tar().file(name, "")]);
        assert!(
            message
                .starts_with(&format!("layer 1: entry \"{name}\": name: expected a relative path")),
            "{message}"
        );
    }
    for name in [".wh...", "d/.wh..", ".wh."] {
        let message = refused([tar().file("etc/x", ""), tar().file(name, "")]);
        assert!(message.contains("whiteout: expected \".wh.\" and the name"), "{message}");
    }
    let message = refused([tar().symlink("up", "../../x"), tar().file("up/.wh.etc", "")]);
    assert!(message.contains("got a link that leaves the root"), "{message}");
}

#[test]
fn dot_dot_and_absolute_names_are_refused() {
    for name in ["../x", "a/../x", "..", "/etc/passwd"] {
        let message = refused([tar().file(name, "x")]);
        assert!(
            message.starts_with(&format!("layer 0: entry \"{name}\": name: expected a relative")),
            "{message}"
        );
    }
}

#[test]
fn symlink_escapes_are_refused() {
    for (target, got) in [
        ("../..", "got a link that leaves the root"),
        ("/../x", "got a link that leaves the root"),
        ("nowhere", "got a link to nothing"),
        ("loop", "got more than 40 links"),
        ("file", "got \"loop\", which is none"),
    ] {
        let layer = tar().file("file", "").symlink("loop", target).file("loop/evil", "x");
        let message = refused([layer]);
        assert!(message.starts_with("layer 0: entry \"loop/evil\": directory: "), "{message}");
        assert!(message.ends_with(got), "{message}");
    }
}

#[test]
fn symlinks_inside_the_root_are_followed() {
    let lower = tar().directory("usr/lib/").symlink("lib", "usr/lib").symlink("l", "/usr");
    let upper = tar().file("lib/x", "1").file("l/lib/y", "2").file("lib/.wh.none", "");
    assert_eq!(
        listed([lower, upper]),
        [
            "/ 755",
            "/l -> /usr 777",
            "/lib -> usr/lib 777",
            "/usr/ 755",
            "/usr/lib/ 755",
            "/usr/lib/x 1 644",
            "/usr/lib/y 1 644",
        ]
    );
}

#[test]
fn hard_links_share_a_file_and_cannot_leave_the_root() {
    let tree = apply([
        tar().file("a", "one").hard_link("d/b", "./a").symlink("s", "a").hard_link("t", "s"),
        tar().hard_link("c", "d/b").file("a", "other"),
    ])
    .unwrap();
    let id = |path: &str| {
        let (directory, name) = path.rsplit_once('/').unwrap();
        tree.child(tree.resolve(directory.as_bytes()).unwrap(), name.as_bytes()).unwrap()
    };
    assert_eq!(id("/d/b"), id("/c"));
    assert_ne!(id("/a"), id("/c"));
    assert_eq!(id("/s"), id("/t"));
    for (target, why) in [
        ("../../etc/passwd", "which leaves the root"),
        ("/etc/passwd", "which leaves the root"),
        ("up/x", "which leaves the root"),
        ("nowhere", "which is not there"),
        ("dir", "which is a directory"),
        (".", "which is the root"),
    ] {
        let layer = tar().directory("dir").symlink("up", "..").hard_link("h", target);
        let message = refused([layer]);
        assert_eq!(
            message,
            format!(
                "layer 0: entry \"h\": hard link: expected a file in the root, got \"{target}\", {why}"
            )
        );
    }
}

#[test]
fn duplicate_entries_are_refused() {
    let again = "name: expected once in a layer, got it again";
    for layer in [
        tar().file("a", "1").file("a", "1"),
        tar().file("a", "1").file("./a", "2"),
        tar().file("a", "1").symlink("a", "b"),
        tar().file("a", "1").directory("a/"),
        tar().directory("a/").add(b'5', "a", "", 0o700, b""),
        tar().file("d/x", "1").file("d", "2"),
        tar().file("f", "1").hard_link("h", "f").file("h", "2"),
        tar().directory("r/").symlink("s", "r").file("r/x", "1").file("s/x", "2"),
        tar().directory("./").add(b'5', ".", "", 0o700, b""),
    ] {
        let message = refused([layer]);
        assert!(message.ends_with(again), "{message}");
    }
    let message = refused([tar().file("d/x", ""), tar().file("d/y", "").file("d", "")]);
    assert!(message.ends_with(again), "a file over a directory of its own layer: {message}");
    let same = tar().directory("a/").directory("a/").directory("./").directory(".");
    assert_eq!(listed([same]), ["/ 755", "/a/ 755"]);
}

#[test]
fn a_file_below_a_file_and_a_root_that_is_none_are_refused() {
    let message = refused([tar().file("f", ""), tar().file("f/x", "")]);
    assert!(message.ends_with("got \"f\", which is none"), "{message}");
    let message = refused([tar().file("./", "x")]);
    assert_eq!(
        message,
        "layer 0: entry \"./\": the root: expected a directory, got something else"
    );
}

#[test]
fn the_reserved_tree_is_ignored() {
    let plain = || tar().directory("./").file("a", "1");
    let packed = tar()
        .directory(".inclavare/")
        .file(".inclavare/enclave.sgxs", "secret")
        .symlink(".inclavare/../x", "y");
    assert!(apply([plain(), packed]).is_err(), "also there `..` is refused");
    let packed = tar()
        .directory(".inclavare")
        .file("./.inclavare/enclave.sgxs", "x")
        .file(".wh..inclavare", "");
    assert_eq!(listed([plain(), packed]), listed([plain()]));
    let nested =
        tar().file("d/.inclavare/x", "1").symlink("self", ".").file("self/.inclavare", "x");
    assert_eq!(
        listed([nested]),
        ["/ 755", "/d/ 755", "/d/.inclavare/ 755", "/d/.inclavare/x 1 644", "/self -> . 777"]
    );
}

#[test]
fn huge_and_many_files_are_refused_with_the_limit() {
    let limits = Limits { file: 1000, total: 1500, entries: 3 };
    let layer = |writer: Writer| [writer.finish()];
    let message = |writer| apply_with(limits, &layer(writer)).unwrap_err().to_string();
    assert_eq!(
        message(tar().file("a", &"x".repeat(1001))),
        "layer 0: entry \"a\": bytes of the file: expected at most 1000, got 1001"
    );
    assert_eq!(
        message(tar().file("a", &"x".repeat(1000)).file("b", &"x".repeat(501))),
        "layer 0: entry \"b\": bytes of all files: expected at most 1500, got 1501"
    );
    assert_eq!(
        message(tar().file("a", "").file("b", "").file("c", "").file("d", "")),
        "layer 0: entry \"d\": entries of all layers: expected at most 3, got 4"
    );
    let deep = (0..1100).map(|_| "d/").collect::<String>();
    let message = refused([tar().pax(&[("path", &deep)]).directory("x")]);
    assert!(message.contains("directories below each other: expected at most 1024"), "{message}");
    let long = "n".repeat(256);
    let message = refused([tar().pax(&[("path", &long)]).file("x", "")]);
    assert!(message.contains("of parts of at most 255 bytes"), "{message}");
}

#[test]
fn sparse_files_are_hashed_as_what_they_read() {
    // 10 bytes at 5000 in a file of 3 MiB and a bit.
    let size = (3 << 20) + 77;
    let records = [("GNU.sparse.map", "5000,10"), ("GNU.sparse.size", &size.to_string())];
    let tree = apply([tar().pax(&records).file("s", "0123456789")]).unwrap();
    let mut content = vec![0; size];
    content[5000..5010].copy_from_slice(b"0123456789");
    let Content::Regular(file) = &tree.nodes[tree.resolve(b"s").unwrap()].content else { panic!() };
    assert_eq!(file.size, size as u64);
    assert_eq!(*file.hash.tree(file.size), verity::Tree::of(&content));
    let huge = [("GNU.sparse.map", "0,1"), ("GNU.sparse.size", "9000000000000000000")];
    let message = refused([tar().pax(&huge).file("s", "0")]);
    assert_eq!(
        message,
        "layer 0: entry \"s\": bytes of the file: expected at most 68719476736, got 9000000000000000000"
    );
}

#[test]
fn data_of_every_length_is_hashed() {
    for size in [0, 1, 4096, 4097, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (2 << 20) + 4096] {
        let content: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let layer = tar().add(b'0', "f", "", 0o644, &content).file("etc/passwd", "root");
        let tree = apply([layer]).unwrap();
        let Content::Regular(file) = &tree.nodes[tree.resolve(b"f").unwrap()].content else {
            panic!()
        };
        assert_eq!(*file.hash.tree(file.size), verity::Tree::of(&content), "{size}");
        assert_eq!(tree.kept(b"/etc/passwd"), Some(&b"root"[..]));
    }
}

#[test]
fn random_changes_never_panic() {
    let bytes = tar()
        .directory("a/")
        .file("a/b", "x")
        .symlink("l", "a")
        .file("l/c", "y")
        .hard_link("h", "a/b")
        .file("a/.wh.b", "")
        .finish();
    let mut state = 3u64;
    for _ in 0..3000 {
        let mut changed = bytes.clone();
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
        let at = (state >> 40) as usize % changed.len();
        changed[at] = (state >> 32) as u8;
        fuzz(&changed);
    }
}
