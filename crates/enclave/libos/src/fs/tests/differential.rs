//! The same random operations here and on a real tmpfs: every answer and the whole tree are the same.

use super::random::Random;
use crate::errno::Errno;
use crate::fs::flags::AT_FDCWD;
use crate::fs::testing::Arg::{N, P, S};
use crate::fs::testing::{Image, Item, TestTask};
use rustix::fs::{AtFlags, CWD, Dir, Gid, Mode, OFlags, RawMode, RenameFlags, Uid};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const PATHS: &[&str] = &[
    "a",
    "b",
    "c",
    "d",
    "a/a",
    "a/b",
    "a/c",
    "b/a",
    "b/b",
    "a/a/a",
    "a/b/c",
    "b/a/b",
    "l",
    "m",
    "l/a",
    "m/b",
    "a/l",
    "a/..",
    "b/../a",
    "./c",
    "a/.",
    "c/",
    "d/",
    "l/",
    "a/b/",
    ".",
    "a//b",
    "l/../b",
    "a/b/../../c",
];
const TARGETS: &[&str] =
    &["a", "b", "../a", "l", "m", "c", "a/b", "nowhere", ".", "..", "b/", "./m"];

/// Where the operations happen: so deep that no `..` of theirs reaches the real tree.
const DEEP: &str = "/1/2/3/4/5/6/7/8/9/w";

type Answer = Result<u64, i32>;

fn ours(result: Result<u64, Errno>) -> Answer {
    result.map_err(|error| i32::from(error.number()))
}

fn theirs<T>(result: rustix::io::Result<T>, value: impl FnOnce(T) -> u64) -> Answer {
    result.map(value).map_err(rustix::io::Errno::raw_os_error)
}

fn at(path: &str) -> (super::super::testing::Arg<'_>, super::super::testing::Arg<'_>) {
    (N(i64::from(AT_FDCWD)), S(path.as_bytes()))
}

/// One operation on both sides.
fn step(random: &mut Random, task: &TestTask, real: &Path) -> (String, Answer, Answer) {
    let path = random.pick(PATHS);
    let other = random.pick(PATHS);
    let there = |path: &str| {
        // A trailing slash or dot survives join() only as text.
        PathBuf::from(format!("{}/{path}", real.display()))
    };
    let (cwd, name) = at(path);
    let mode = [0o600, 0o755, 0o4711, 0o1777][random.below(4)];
    match random.below(14) {
        0 | 1 => {
            let mine = ours(task.call(258, &[cwd, name, N(mode)]));
            let its = rustix::fs::mkdir(there(path), Mode::from_raw_mode(mode as RawMode));
            (format!("mkdir {path} {mode:o}"), mine, theirs(its, |()| 0))
        }
        2 => {
            let mine = ours(task.call(263, &[cwd, name, N(0)]));
            let its = rustix::fs::unlink(there(path));
            (format!("unlink {path}"), mine, theirs(its, |()| 0))
        }
        3 => {
            let mine = ours(task.call(263, &[cwd, name, N(0x200)]));
            let its = rustix::fs::rmdir(there(path));
            (format!("rmdir {path}"), mine, theirs(its, |()| 0))
        }
        4 | 5 => {
            let flags = [0u32, 1, 2][random.below(3)];
            let (to_cwd, to_name) = at(other);
            let mine = ours(task.call(316, &[cwd, name, to_cwd, to_name, N(i64::from(flags))]));
            let raw = RenameFlags::from_bits_retain(flags);
            let its = rustix::fs::renameat_with(CWD, there(path), CWD, there(other), raw);
            (format!("rename {path} {other} {flags}"), mine, theirs(its, |()| 0))
        }
        6 => {
            let target = random.pick(TARGETS);
            let mine = ours(task.call(266, &[S(target.as_bytes()), cwd, name]));
            let its = rustix::fs::symlink(target, there(path));
            (format!("symlink {target} {path}"), mine, theirs(its, |()| 0))
        }
        7 => {
            let follow = random.below(2) as u32 * 0x400;
            let (to_cwd, to_name) = at(other);
            let mine = ours(task.call(265, &[cwd, name, to_cwd, to_name, N(i64::from(follow))]));
            let flags = AtFlags::from_bits_retain(follow);
            let its = rustix::fs::linkat(CWD, there(path), CWD, there(other), flags);
            (format!("link {path} {other} {follow:x}"), mine, theirs(its, |()| 0))
        }
        8..=10 => write(random, task, path, &there(path)),
        11 => {
            let mine = ours(task.call(268, &[cwd, name, N(mode)]));
            let its = rustix::fs::chmod(there(path), Mode::from_raw_mode(mode as RawMode));
            (format!("chmod {path} {mode:o}"), mine, theirs(its, |()| 0))
        }
        12 => {
            let flags = 0x100 * random.below(2) as u32;
            let mine = ours(task.call(260, &[cwd, name, N(7), N(8), N(i64::from(flags))]));
            let (uid, gid) = (Some(Uid::from_raw(7)), Some(Gid::from_raw(8)));
            let flags = AtFlags::from_bits_retain(flags);
            let its = rustix::fs::chownat(CWD, there(path), uid, gid, flags);
            (format!("chown {path} {flags:?}"), mine, theirs(its, |()| 0))
        }
        _ => {
            let mine = ours(task.call(267, &[cwd, name, P(0), N(100)]));
            let its = rustix::fs::readlink(there(path), Vec::new());
            (format!("readlink {path}"), mine, theirs(its, |text| text.as_bytes().len() as u64))
        }
    }
}

/// Opens with random flags, writes, truncates, seeks, reads.
fn write(
    random: &mut Random,
    task: &TestTask,
    path: &str,
    there: &Path,
) -> (String, Answer, Answer) {
    let choices = [
        OFlags::RDONLY,
        OFlags::RDWR,
        OFlags::RDWR | OFlags::CREATE,
        OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
        OFlags::RDWR | OFlags::TRUNC,
        OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND,
        OFlags::RDONLY | OFlags::DIRECTORY,
        OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW,
        OFlags::PATH | OFlags::NOFOLLOW,
        OFlags::RDWR | OFlags::TMPFILE,
    ];
    let flags = choices[random.below(choices.len())];
    let (cwd, name) = at(path);
    let mine = task.call(257, &[cwd, name, N(i64::from(flags.bits())), N(0o644)]);
    let its = rustix::fs::open(there, flags, Mode::from_raw_mode(0o644));
    let what = format!("open {path} {flags:?}");
    let (fd, file) = match (mine, its) {
        (Ok(fd), Ok(file)) => (fd as i64, file),
        (mine, its) => return (what, ours(mine).map(|_| 1), theirs(its, |_| 1)),
    };
    let offset = [0u64, 1, 4095, 4096, 5000, 12_288, 40_000][random.below(7)];
    let length = [0usize, 1, 100, 4096, 8192, 9999][random.below(6)];
    let bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
    task.set_buffer(0, &bytes);
    let mut answers = Vec::new();
    let fills = N(length as i64);
    match random.below(5) {
        0 => answers.push((
            ours(task.call(18, &[N(fd), P(0), fills, N(offset as i64)])),
            theirs(rustix::io::pwrite(&file, &bytes, offset), |n| n as u64),
        )),
        1 => answers.push((
            ours(task.call(77, &[N(fd), N(offset as i64)])),
            theirs(rustix::fs::ftruncate(&file, offset), |()| 0),
        )),
        2 => {
            // FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
            let mode =
                rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
            answers.push((
                ours(task.call(285, &[N(fd), N(3), N(offset as i64), fills])),
                theirs(rustix::fs::fallocate(&file, mode, offset, length as u64), |()| 0),
            ));
        }
        3 => {
            answers.push((
                ours(task.call(1, &[N(fd), P(0), fills])),
                theirs(rustix::io::write(&file, &bytes), |n| n as u64),
            ));
            answers.push((
                ours(task.call(8, &[N(fd), N(0), N(1)])),
                theirs(rustix::fs::tell(&file), |at| at),
            ));
        }
        _ => {
            let mut buffer = vec![0; length];
            let its = rustix::io::pread(&file, &mut buffer, offset);
            let mine = ours(task.call(17, &[N(fd), P(0), fills, N(offset as i64)]));
            if let (Ok(count), Ok(_)) = (mine, its) {
                assert_eq!(task.buffer(0, count as usize), buffer[..count as usize], "{what}");
            }
            answers.push((mine, theirs(its, |n| n as u64)));
        }
    }
    task.call(3, &[N(fd)]).unwrap();
    let (mine, its) = answers.into_iter().find(|(a, b)| a != b).unwrap_or((Ok(0), Ok(0)));
    (format!("{what}, then at {offset} for {length}"), mine, its)
}

/// Everything below a directory: path to description.
type Tree = BTreeMap<String, String>;

fn real_tree(directory: &Path, prefix: &str, out: &mut Tree) {
    let fd =
        rustix::fs::open(directory, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    for entry in Dir::read_from(&fd).unwrap() {
        let name = entry.unwrap().file_name().to_str().unwrap().to_string();
        if name == "." || name == ".." {
            continue;
        }
        let path = directory.join(&name);
        let stat = rustix::fs::lstat(&path).unwrap();
        let kind = stat.st_mode & 0o170_000;
        let contents = match kind {
            0o100_000 => format!("{:?}", std::fs::read(&path).unwrap()),
            0o120_000 => format!("{:?}", std::fs::read_link(&path).unwrap()),
            _ => String::new(),
        };
        let size = if kind == 0o040_000 { 0 } else { stat.st_size };
        let line = format!(
            "{:o} {} {}:{} {size} {contents}",
            stat.st_mode, stat.st_nlink, stat.st_uid, stat.st_gid
        );
        let full = format!("{prefix}/{name}");
        if kind == 0o040_000 {
            real_tree(&path, &full, out);
        }
        out.insert(full, line);
    }
}

fn our_tree(task: &TestTask, directory: &str, prefix: &str, out: &mut Tree) {
    let cwd = N(i64::from(AT_FDCWD));
    let fd = task.call(257, &[cwd, S(directory.as_bytes()), N(0o200_000), N(0)]).unwrap() as i64;
    let mut names = Vec::new();
    loop {
        // A small buffer, so that listing goes on from the middle.
        let count = task.call(217, &[N(fd), P(0), N(80)]).unwrap() as usize;
        if count == 0 {
            break;
        }
        let bytes = task.buffer(0, count);
        let mut at = 0;
        while at < count {
            let length = u16::from_le_bytes([bytes[at + 16], bytes[at + 17]]) as usize;
            let name = &bytes[at + 19..at + length];
            let name = &name[..name.iter().position(|byte| *byte == 0).unwrap()];
            names.push(String::from_utf8(name.to_vec()).unwrap());
            at += length;
        }
    }
    task.call(3, &[N(fd)]).unwrap();
    for name in names {
        if name == "." || name == ".." {
            continue;
        }
        let path = format!("{directory}/{name}");
        task.call(6, &[S(path.as_bytes()), P(0)]).unwrap();
        let stat = task.buffer(0, 144);
        let word = |at: usize| u64::from_le_bytes(stat[at..at + 8].try_into().unwrap());
        let (nlink, mode, uid) = (word(16), word(24) as u32, (word(24) >> 32) as u32);
        let (gid, size) = (word(32) as u32, word(48));
        let kind = mode & 0o170_000;
        let contents = match kind {
            0o100_000 => {
                let fd = task.call(257, &[cwd, S(path.as_bytes()), N(0), N(0)]).unwrap() as i64;
                let count = task.call(0, &[N(fd), P(0), N(1 << 20)]).unwrap();
                task.call(3, &[N(fd)]).unwrap();
                format!("{:?}", task.buffer(0, count as usize))
            }
            0o120_000 => {
                let count = task.call(89, &[S(path.as_bytes()), P(0), N(4096)]).unwrap();
                format!("{:?}", String::from_utf8(task.buffer(0, count as usize)).unwrap())
            }
            _ => String::new(),
        };
        let shown = if kind == 0o040_000 { 0 } else { size };
        let full = format!("{prefix}/{name}");
        if kind == 0o040_000 {
            our_tree(task, &path, &full, out);
        }
        out.insert(full, format!("{mode:o} {nlink} {uid}:{gid} {shown} {contents}"));
    }
}

fn run(seed: u64, steps: usize, task: &TestTask, real: &Path) {
    let mut random = Random::new(seed);
    let mut history = Vec::new();
    for index in 0..steps {
        let (what, mine, its) = step(&mut random, task, real);
        history.push(format!("{what} -> {mine:?}"));
        let tail = || history[history.len().saturating_sub(40)..].join("\n");
        if mine != its {
            let mut there = Tree::new();
            real_tree(real, "", &mut there);
            let there: Vec<_> =
                there.iter().map(|(path, line)| format!("{path} {line:.60}")).collect();
            let there = there.join("\n");
            panic!("seed {seed}, step {index}: {what}: {mine:?}, not {its:?}\n{}\n{there}", tail());
        }
        if index % 50 == 49 || index + 1 == steps {
            let (mut here, mut there) = (Tree::new(), Tree::new());
            our_tree(task, DEEP, "", &mut here);
            real_tree(real, "", &mut there);
            for path in here.keys().chain(there.keys()) {
                let (mine, its) = (here.get(path), there.get(path));
                assert_eq!(mine, its, "seed {seed}, step {index}: {path}\n{}", tail());
            }
        }
    }
}

/// A tmpfs on the host; owners need user 0.
fn real_directory() -> Option<(tempfile::TempDir, PathBuf)> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs user 0 to compare owners");
        return None;
    }
    let directory = tempfile::tempdir_in("/dev/shm").ok()?;
    let work = directory.path().join(&DEEP[1..]);
    std::fs::create_dir_all(&work).unwrap();
    Some((directory, work))
}

#[test]
fn random_operations_answer_as_tmpfs_does() {
    rustix::process::umask(Mode::from_raw_mode(0o022));
    for seed in 0..30 {
        let Some((_keep, real)) = real_directory() else { return };
        let task = TestTask::empty();
        for (at, _) in DEEP.match_indices('/').skip(1).chain([(DEEP.len(), "")]) {
            task.call(83, &[S(&DEEP.as_bytes()[..at]), N(0o755)]).unwrap();
        }
        task.call(80, &[S(DEEP.as_bytes())]).unwrap();
        run(seed, 600, &task, &real);
    }
}

#[test]
fn random_operations_over_a_verified_root_answer_as_tmpfs_does() {
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let big: Vec<u8> = (0..50_000u32).map(|i| (i * 7 % 251) as u8).collect();
    let parents: Vec<String> = (1..=9).map(|depth| DEEP[..2 * depth].to_string()).collect();
    let paths: Vec<String> = ["", "/a", "/a/b", "/a/a", "/a/b/c", "/c", "/d", "/l", "/m"]
        .map(|p| format!("{DEEP}{p}"))
        .into();
    let [w, a, ab, aa, abc, c, d, l, m] = &paths[..] else { unreachable!() };
    let mut items: Vec<Item<'_>> = parents.iter().map(|p| Item::Directory(p, 0o755)).collect();
    items.extend([
        Item::Directory(w, 0o755),
        Item::Directory(a, 0o755),
        Item::Directory(ab, 0o755),
        Item::File(aa, 0o644, b"small"),
        Item::File(abc, 0o755, &big),
        Item::File(c, 0o600, &big[..4096]),
        Item::Hard(d, c),
        Item::Link(l, "a"),
        Item::Link(m, "a/b/c"),
    ]);
    for seed in 100..120 {
        let Some((_keep, real)) = real_directory() else { return };
        let make = |path: &str, mode| {
            rustix::fs::mkdir(real.join(path), Mode::from_raw_mode(mode)).unwrap();
        };
        make("a", 0o755);
        make("a/b", 0o755);
        let put = |path: &str, mode, contents: &[u8]| {
            std::fs::write(real.join(path), contents).unwrap();
            rustix::fs::chmod(real.join(path), Mode::from_raw_mode(mode)).unwrap();
        };
        put("a/a", 0o644, b"small");
        put("a/b/c", 0o755, &big);
        put("c", 0o600, &big[..4096]);
        std::fs::hard_link(real.join("c"), real.join("d")).unwrap();
        rustix::fs::symlink("a", real.join("l")).unwrap();
        rustix::fs::symlink("a/b/c", real.join("m")).unwrap();
        let task = Image::new(&items).task();
        task.call(80, &[S(DEEP.as_bytes())]).unwrap();
        run(seed, 600, &task, &real);
    }
}
