//! Round trips, and a reader that survives any bytes.

use super::*;
use crate::digest::Digest;
use crate::verity::Tree;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

fn plain(kind: NewKind) -> NewInode {
    NewInode { permissions: 0o755, uid: 1, gid: 2, xattrs: BTreeMap::new(), kind }
}

fn directory(children: &[(&str, usize)]) -> NewInode {
    let children = children.iter().map(|(name, index)| (name.as_bytes().to_vec(), *index));
    plain(NewKind::Directory(children.collect()))
}

fn regular(content: &[u8], mtime: i64) -> NewInode {
    let digest = Tree::of(content).digest;
    plain(NewKind::Regular { size: content.len() as u64, digest, mtime })
}

/// /{a -> etc/b, big, dev, etc/{b, c (= big), many...}}
fn example() -> Vec<NewInode> {
    let mut inodes = vec![
        directory(&[("etc", 1), ("a", 2), ("big", 3), ("dev", 4)]),
        directory(&[("b", 5), ("c", 3)]),
        plain(NewKind::Symlink(b"etc/b".to_vec())),
        regular(&[7; 10_000], 1234),
        plain(NewKind::Special(FileType::CharacterDevice, 1, 3)),
        regular(b"hello", -5),
    ];
    inodes[5].xattrs =
        [(b"user.x".to_vec(), b"value".to_vec()), (b"security.capability".to_vec(), vec![1; 20])]
            .into();
    for index in 0..600 {
        let name = format!("file-{index:03}-{}", "x".repeat(index % 90));
        inodes.push(regular(name.as_bytes(), 0));
        let at = inodes.len() - 1;
        let NewKind::Directory(children) = &mut inodes[1].kind else { unreachable!() };
        children.insert(name.into_bytes(), at);
    }
    inodes
}

fn path(meta: &Meta<&[u8]>, path: &str) -> Inode {
    let mut inode = meta.root().unwrap();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let number = meta.lookup(&inode, part.as_bytes()).unwrap();
        inode = meta.inode(number.expect(part)).unwrap();
    }
    inode
}

#[test]
fn everything_written_is_read_back() {
    let blob = write(&example()).unwrap();
    let meta = Meta::open(&blob.bytes[..], blob.bytes.len() as u64).unwrap();
    assert_eq!(meta.inodes(), 606);
    let root = meta.root().unwrap();
    assert_eq!((root.mode, root.nlink, root.parent), (0o040_755, 3, 0));
    let names: Vec<_> = (0..root.entries())
        .map(|index| {
            let entry = meta.entry(&root, index).unwrap();
            (String::from_utf8(entry.name).unwrap(), entry.file_type)
        })
        .collect();
    assert_eq!(
        names,
        [
            ("a".into(), FileType::Symlink),
            ("big".into(), FileType::Regular),
            ("dev".into(), FileType::CharacterDevice),
            ("etc".into(), FileType::Directory),
        ]
    );
    let link = path(&meta, "a");
    assert_eq!(meta.symlink_target(&link).unwrap(), b"etc/b");
    assert_eq!(link.size, 5);
    assert_eq!(path(&meta, "dev").device, (1, 3));

    let big = path(&meta, "big");
    assert_eq!(big, path(&meta, "etc/c"), "hard links are one inode");
    assert_eq!((big.nlink, big.size, big.mtime), (2, 10_000, 1234));
    assert_eq!(big.digest, Tree::of(&[7; 10_000]).digest);
    assert_eq!(meta.data_path(&big).unwrap(), b"/big");
    let meta_tree = blob.tree.nodes.len() as u64;
    assert_eq!(big.tree_offset(), meta_tree);
    assert_eq!(blob.places, [TreePlace { inode: 3, offset: meta_tree, length: 4096 }]);
    assert_eq!(meta.trees_length(), meta_tree + 4096);

    let b = path(&meta, "etc/b");
    assert_eq!(b.mtime, -5);
    assert_eq!(
        meta.xattrs(&b).unwrap(),
        [(b"security.capability".to_vec(), vec![1; 20]), (b"user.x".to_vec(), b"value".to_vec())]
    );
    assert_eq!(meta.xattr_value(&b, b"user.x").unwrap(), Some(b"value".to_vec()));
    assert_eq!(meta.xattr_value(&b, b"user.y").unwrap(), None);
    let etc = path(&meta, "etc");
    for index in 0..etc.entries() {
        let entry = meta.entry(&etc, index).unwrap();
        assert_eq!(meta.lookup(&etc, &entry.name).unwrap(), Some(entry.inode));
        let mut near = entry.name.clone();
        near.push(0);
        assert_eq!(meta.lookup(&etc, &near).unwrap(), None);
    }
    for absent in [&b""[..], b"!", b"file-", b"file-300-", b"zzz"] {
        assert_eq!(meta.lookup(&etc, absent).unwrap(), None);
    }
    assert_eq!(meta.lookup(&b, b"x").unwrap(), None, "a file has no entries");
}

#[test]
fn bytes_do_not_depend_on_the_order_of_the_list() {
    let inodes = example();
    // Reverses all but the root.
    let last = inodes.len();
    let renumber = |index: usize| if index == 0 { 0 } else { last - index };
    let mut reversed: Vec<NewInode> =
        (0..last).map(|index| inodes[renumber(index)].clone()).collect();
    for inode in &mut reversed {
        if let NewKind::Directory(children) = &mut inode.kind {
            children.values_mut().for_each(|index| *index = renumber(*index));
        }
    }
    assert_eq!(write(&inodes).unwrap().bytes, write(&reversed).unwrap().bytes);
}

#[test]
fn the_format_is_as_documented() {
    let blob = write(&[directory(&[("f", 1)]), regular(b"x", 9)]).unwrap();
    let bytes = &blob.bytes;
    assert_eq!(bytes.len(), 4 * 4096);
    assert_eq!(bytes[..12], *b"INCLMETA\x01\0\0\0");
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    assert_eq!(
        [16, 24, 32, 40, 48, 56, 64, 72, 80, 88].map(word),
        [16384, 4096, 2, 8192, 1, 12288, 0, 12288, 3, 4096]
    );
    let inode = &bytes[4096 + 128..4096 + 256];
    assert_eq!(inode[..4], 0o100_755u32.to_le_bytes());
    assert_eq!(inode[40..72], Tree::of(b"x").digest.0);
    assert_eq!(bytes[8192..8208], [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 8, 0, 1, 0, 0, 0]);
    assert_eq!(&bytes[12288..12291], b"f/f");
    assert_eq!(
        Digest::of(bytes),
        Digest::of(&write(&[directory(&[("f", 1)]), regular(b"x", 9)]).unwrap().bytes)
    );
}

#[test]
fn absurd_sizes_are_refused_with_the_limit() {
    let long = |length: usize| "n".repeat(length);
    assert!(write(&[directory(&[(&long(255), 1)]), regular(b"", 0)]).is_ok());
    assert_eq!(
        write(&[directory(&[(&long(256), 1)]), regular(b"", 0)]),
        Err(TooLarge { what: "bytes of a name", expected_at_most: 255, got: 256 })
    );
    let link = plain(NewKind::Symlink(vec![b'a'; 4096]));
    assert_eq!(
        write(&[directory(&[("l", 1)]), link]),
        Err(TooLarge { what: "bytes of a link's target", expected_at_most: 4095, got: 4096 })
    );
}

#[test]
fn changed_and_truncated_blobs_never_panic() {
    let blob = write(&example()).unwrap().bytes;
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize
    };
    for round in 0..300 {
        let mut bytes = blob.clone();
        let region = if round % 3 == 0 { 96 } else { bytes.len() };
        for _ in 0..1 + random() % 16 {
            let at = random() % region;
            bytes[at] = if random() % 2 == 0 { 0xff } else { random() as u8 };
        }
        fuzz(&bytes);
    }
    for end in [0, 1, 95, 96, 4095, 4096, 4224, 8192, blob.len() - 4096] {
        fuzz(&blob[..end]);
        assert!(Meta::open(&blob[..end], end as u64).is_err());
    }
}

#[test]
fn a_header_with_sections_outside_is_refused() {
    let blob = write(&[directory(&[])]).unwrap().bytes;
    for (at, value) in [
        (24, 1u64),
        (24, 1 << 40),
        (32, u64::MAX),
        (40, u64::MAX - 4095),
        (48, u64::MAX / 16),
        (80, u64::MAX),
        (16, 0),
    ] {
        let mut bytes = blob.clone();
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        assert!(
            matches!(Meta::open(&bytes[..], bytes.len() as u64), Err(MetaError::Malformed { .. })),
            "{at} {value}"
        );
    }
}
