//! Archives written by hand and by GNU tar.

use super::*;
use std::process::Command;

/// An archive in the making.
#[derive(Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    /// Adds an entry of any type.
    pub(crate) fn add(mut self, kind: u8, name: &str, link: &str, mode: u32, data: &[u8]) -> Self {
        let mut header = [0; BLOCK];
        let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
        put(0, name.as_bytes());
        put(100, format!("{mode:07o}\0").as_bytes());
        put(108, b"0000001\0");
        put(116, b"0000002\0");
        put(124, format!("{:011o}\0", data.len()).as_bytes());
        put(136, b"00000001747\0");
        put(156, &[kind]);
        put(157, link.as_bytes());
        put(257, b"ustar\x0000");
        put(329, b"0000005\0");
        put(337, b"0000006\0");
        seal(&mut header);
        self.0.extend(header);
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    pub(crate) fn file(self, name: &str, data: &str) -> Self {
        self.add(b'0', name, "", 0o644, data.as_bytes())
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        self.add(b'5', name, "", 0o755, b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.add(b'2', name, target, 0o777, b"")
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.add(b'1', name, target, 0o644, b"")
    }

    /// Extension records for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &str)]) -> Self {
        let mut text = Vec::new();
        for (key, value) in records {
            let rest = format!(" {key}={value}\n");
            let mut length = rest.len() + 1;
            while length.to_string().len() + rest.len() != length {
                length += 1;
            }
            text.extend(format!("{length}{rest}").into_bytes());
        }
        self.add(b'x', "pax", "", 0o644, &text)
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }
}

fn seal(header: &mut [u8]) {
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Entries with their data, holes as zeros.
fn read(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, TarError> {
    let mut archive = Archive::new(bytes);
    let mut entries = Vec::new();
    let mut buffer = [0; 1000];
    while let Some(entry) = archive.next()? {
        let mut data = Vec::new();
        loop {
            match archive.piece(&mut buffer)? {
                Piece::Bytes(count) => data.extend(&buffer[..count]),
                Piece::Hole(count) => data.resize(data.len() + count as usize, 0),
                Piece::End => break,
            }
        }
        entries.push((entry, data));
    }
    Ok(entries)
}

fn message(bytes: &[u8]) -> String {
    read(bytes).unwrap_err().to_string()
}

#[test]
fn every_type_is_read() {
    let bytes = Writer::default()
        .directory("d/")
        .file("d/f", "hello")
        .hard_link("d/h", "d/f")
        .symlink("s", "d/f")
        .add(b'3', "c", "", 0o666, b"")
        .add(b'4', "b", "", 0o660, b"")
        .add(b'6', "p", "", 0o600, b"")
        .add(0, "old/", "", 0o700, b"")
        .finish();
    let entries = read(&bytes).unwrap();
    let kinds: Vec<Kind> = entries.iter().map(|(entry, _)| entry.kind.clone()).collect();
    assert_eq!(
        kinds,
        [
            Kind::Directory,
            Kind::Regular(5),
            Kind::HardLink(b"d/f".to_vec()),
            Kind::Symlink(b"d/f".to_vec()),
            Kind::CharacterDevice(5, 6),
            Kind::BlockDevice(5, 6),
            Kind::Fifo,
            Kind::Directory,
        ]
    );
    let (file, data) = &entries[1];
    assert_eq!((file.mode, file.uid, file.gid, file.mtime), (0o644, 1, 2, 0o1747));
    assert_eq!(data, b"hello");
}

#[test]
fn pax_overrides_and_xattrs() {
    let long = "x".repeat(300);
    let bytes = Writer::default()
        .pax(&[
            ("path", &format!("d/{long}")),
            ("uid", "4000000000"),
            ("mtime", "12.9"),
            ("SCHILY.xattr.user.a", "b=c"),
        ])
        .file("short", "x")
        .file("next", "y")
        .finish();
    let entries = read(&bytes).unwrap();
    assert_eq!(entries[0].0.path, format!("d/{long}").into_bytes());
    assert_eq!((entries[0].0.uid, entries[0].0.mtime), (4_000_000_000, 12));
    assert_eq!(entries[0].0.xattrs, [(b"user.a".to_vec(), b"b=c".to_vec())].into());
    assert_eq!(entries[1].0.path, b"next", "extensions are for one entry");
    assert_eq!(entries[1].0.uid, 1);
}

#[test]
fn truncated_archive_is_refused() {
    let whole = Writer::default().file("a", &"x".repeat(600)).finish();
    for end in [1, 511, 513, 600, 1111, 1500] {
        assert!(message(&whole[..end]).contains("archive ends early"), "{end}");
    }
    assert_eq!(read(&whole[..1536]).unwrap().len(), 1, "a missing end mark is no loss");
    assert_eq!(read(&[]).unwrap().len(), 0);
}

#[test]
fn corrupt_header_is_refused() {
    let mut bytes = Writer::default().file("a", "x").finish();
    bytes[0] = b'b';
    assert!(message(&bytes).starts_with("header checksum: expected "));
    let bytes = Writer::default().add(b'V', "label", "", 0, b"").finish();
    assert_eq!(
        message(&bytes),
        "entry type: expected a file, link, directory, device or fifo, got \"V\""
    );
}

#[test]
fn absurd_sizes_are_refused_without_memory() {
    let mut bytes = Writer::default().file("a", "x").finish();
    bytes[124..136].copy_from_slice(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
    seal(&mut bytes[..BLOCK]);
    assert!(message(&bytes).contains("archive ends early"));
    let mut bytes = Writer::default().add(b'L', "a", "", 0, b"x").finish();
    bytes[124..136].copy_from_slice(b"77777777777\0");
    seal(&mut bytes[..BLOCK]);
    assert_eq!(message(&bytes), "long name: expected at most 8388608 bytes, got 8589934591");
    let bytes = Writer::default()
        .pax(&[("GNU.sparse.map", "0,9223372036854775808"), ("GNU.sparse.size", "1")])
        .file("a", "x")
        .finish();
    assert!(message(&bytes).starts_with("sparse map: expected ranges inside the file"));
}

#[test]
fn sparse_maps_that_contradict_are_refused() {
    for map in ["5,1,0,1", "0,1,0,1", "0", "0,2", "x,1"] {
        let bytes = Writer::default()
            .pax(&[("GNU.sparse.map", map), ("GNU.sparse.size", "10")])
            .file("a", "x")
            .finish();
        let message = message(&bytes);
        assert!(message.contains("parse map") || message.contains("sparse.map"), "{message}");
    }
}

#[test]
fn gnu_tar_sparse_forms_and_long_names() {
    let directory = tempfile::tempdir().unwrap();
    let long = "n".repeat(180);
    let path = directory.path().join(&long);
    std::fs::create_dir(&path).unwrap();
    let file = std::fs::File::create(path.join("sparse")).unwrap();
    let mut content = vec![0; 1 << 20];
    use std::os::unix::fs::FileExt;
    for at in (0..1 << 20).step_by(128 << 10) {
        content[at..at + 4096].fill(at as u8 | 1);
        file.write_all_at(&content[at..at + 4096], at as u64).unwrap();
    }
    file.set_len(1 << 20).unwrap();
    std::os::unix::fs::symlink("t".repeat(200), path.join("link")).unwrap();
    for form in [
        &["--format=gnu"][..],
        &["--format=oldgnu"],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ] {
        let output = Command::new("tar")
            .args(["--create", "--sparse", "--sort=name", "--file=-", "--directory"])
            .arg(directory.path())
            .args(form)
            .arg(&long)
            .output()
            .expect("GNU tar is part of every Debian");
        assert!(output.status.success(), "{form:?}");
        let entries = read(&output.stdout).unwrap_or_else(|error| panic!("{form:?}: {error}"));
        let by_end = |end: &str| {
            let found = entries.iter().find(|(entry, _)| entry.path.ends_with(end.as_bytes()));
            found.unwrap_or_else(|| panic!("{form:?}: {end}"))
        };
        let (entry, data) = by_end("/sparse");
        assert_eq!(entry.path, format!("{long}/sparse").into_bytes());
        assert_eq!(entry.kind, Kind::Regular(1 << 20), "{form:?}");
        assert!(*data == content, "{form:?}");
        assert!(output.stdout.len() < 200 << 10, "{form:?} is sparse");
        assert_eq!(by_end("/link").0.kind, Kind::Symlink("t".repeat(200).into_bytes()));
    }
}

#[test]
fn random_changes_never_panic() {
    let bytes = Writer::default()
        .pax(&[("path", "a/b"), ("GNU.sparse.map", "0,1,5,2"), ("GNU.sparse.size", "10")])
        .file("a", "xyz")
        .add(b'L', "long", "", 0, b"name\0")
        .symlink("s", "t")
        .finish();
    let mut state = 7u64;
    for _ in 0..20_000 {
        let mut changed = bytes.clone();
        for _ in 0..3 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
            let at = (state >> 40) as usize % changed.len();
            changed[at] = (state >> 32) as u8;
            let header = at / BLOCK * BLOCK;
            if state >> 63 == 0 {
                seal(&mut changed[header..header + BLOCK]);
            }
        }
        fuzz(&changed);
    }
}
