//! Compiled filters kept between starts, in a directory beside the containers' own.
//!
//! A program is found by everything that it depends on: the whole profile and the compiler that made it. Both
//! stand in the file and are compared, so that a wrong file under the right name is a wrong file.
//!
//! It guarantees: a program that this user, or root, could not have put there is never used: the directory and
//! the file belong to this user, nobody else may write to either, and neither is a link. A file that is cut
//! short or changed by accident is as good as none. At most [`MOST`] files of at most [`LARGEST`] bytes are
//! kept. A cache that cannot be read or written costs the time to compile, nothing else.
//!
//! It does not guard against whoever may write as this user: they could change the program itself.

use super::compile;
use crate::error::Result;
use crate::spec::Seccomp;
use crate::sys::SockFilter;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use std::path::Path;

/// No container can have this name: ids have no `@`.
pub const NAME: &str = "@seccomp";
/// Most files that are kept. Engines use one profile, or a few.
const MOST: usize = 64;
/// Largest file, in bytes: 4096 instructions and a profile of twice Docker's length.
const LARGEST: usize = 64 << 10;

const MAGIC: &[u8; 8] = b"runebpf1";
/// Magic, length of the key and of the program, checksum of all that follows.
const HEADER: usize = 8 + 4 + 4 + 8;

/// Changes whenever the compiler does.
const COMPILER: u64 = {
    let hash = fnv(fnv(FNV_BASIS, include_bytes!("compile.rs")), include_bytes!("table.rs"));
    fnv(hash, include_bytes!("mod.rs"))
};

const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, 64 bits: for names and against accidents, not against anybody.
const fn fnv(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

/// The program of a profile, from the cache below `root` or compiled and put there.
///
/// # Errors
/// As [`compile`].
pub(super) fn program(profile: &Seccomp, root: &Path) -> Result<Vec<SockFilter>> {
    let key = key(profile);
    let directory = open(root);
    let found = directory.as_ref().and_then(|directory| read(directory, &key));
    if let Some(program) = found {
        return Ok(program);
    }
    let program = compile(profile)?;
    if let Some(directory) = directory.or_else(|| make(root)) {
        let _ = write(&directory, &key, &program);
    }
    Ok(program)
}

/// All that a program depends on.
fn key(profile: &Seccomp) -> Vec<u8> {
    let mut key = Vec::with_capacity(16 << 10);
    key.extend(COMPILER.to_le_bytes());
    fn text(key: &mut Vec<u8>, text: &str) {
        key.extend((text.len() as u32).to_le_bytes());
        key.extend_from_slice(text.as_bytes());
    }
    fn number(key: &mut Vec<u8>, number: Option<u32>) {
        key.push(u8::from(number.is_some()));
        key.extend(number.unwrap_or(0).to_le_bytes());
    }
    fn list(key: &mut Vec<u8>, list: &[String]) {
        key.extend((list.len() as u32).to_le_bytes());
        list.iter().for_each(|item| text(key, item));
    }
    text(&mut key, &profile.default_action);
    number(&mut key, profile.default_errno_ret);
    list(&mut key, &profile.architectures);
    key.extend((profile.syscalls.len() as u32).to_le_bytes());
    for rule in &profile.syscalls {
        list(&mut key, &rule.names);
        text(&mut key, &rule.action);
        number(&mut key, rule.errno_ret);
        key.extend((rule.args.len() as u32).to_le_bytes());
        for arg in &rule.args {
            key.extend(arg.index.to_le_bytes());
            key.extend(arg.value.to_le_bytes());
            key.extend(arg.value_two.to_le_bytes());
            text(&mut key, &arg.op);
        }
    }
    key
}

fn file_name(key: &[u8]) -> String {
    format!("{:016x}", fnv(FNV_BASIS, key))
}

/// Whether only this user could have made it what it is.
fn is_ours(stat: &Stat, kind: FileType) -> bool {
    stat.st_uid == rustix::process::geteuid().as_raw()
        && stat.st_mode & 0o022 == 0
        && FileType::from_raw_mode(stat.st_mode) == kind
}

/// The directory, if it is there and ours.
fn open(root: &Path) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::open(root.join(NAME), flags, Mode::empty()).ok()?;
    let stat = rustix::fs::fstat(&directory).ok()?;
    is_ours(&stat, FileType::Directory).then_some(directory)
}

fn make(root: &Path) -> Option<OwnedFd> {
    rustix::fs::mkdir(root.join(NAME), Mode::from_raw_mode(0o700)).ok()?;
    open(root)
}

fn read(directory: &OwnedFd, key: &[u8]) -> Option<Vec<SockFilter>> {
    // Not to wait for a writer, should it be a fifo.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, file_name(key), flags, Mode::empty()).ok()?;
    let stat = rustix::fs::fstat(&file).ok()?;
    let length = usize::try_from(stat.st_size).ok()?;
    if !is_ours(&stat, FileType::RegularFile) || !(HEADER..=LARGEST).contains(&length) {
        return None;
    }
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        let rest = bytes.get_mut(filled..)?;
        match rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut *rest)).ok()? {
            0 => return None,
            n => filled += n,
        }
    }
    decode(&bytes, key)
}

/// The program in a file's bytes, if the file is whole and of this key.
fn decode(bytes: &[u8], key: &[u8]) -> Option<Vec<SockFilter>> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (key_length, rest) = rest.split_first_chunk::<4>()?;
    let (program_length, rest) = rest.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<8>()?;
    if fnv(FNV_BASIS, rest) != u64::from_le_bytes(*checksum)
        || u32::from_le_bytes(*key_length) as usize != key.len()
    {
        return None;
    }
    let program = rest.strip_prefix(key)?;
    let is_whole = program.len() == u32::from_le_bytes(*program_length) as usize;
    // The kernel takes 1 to 4096 instructions.
    if !is_whole || program.len() % 8 != 0 || !(1..=4096).contains(&(program.len() / 8)) {
        return None;
    }
    let instruction = |bytes: &[u8]| {
        let &[a, b, jt, jf, k0, k1, k2, k3] = bytes else { return None };
        let (code, k) = (u16::from_le_bytes([a, b]), u32::from_le_bytes([k0, k1, k2, k3]));
        Some(SockFilter { code, jt, jf, k })
    };
    program.chunks_exact(8).map(instruction).collect()
}

fn encode(key: &[u8], program: &[SockFilter]) -> Vec<u8> {
    let mut rest = key.to_vec();
    rest.extend(program.iter().flat_map(|instruction| instruction.to_bytes()));
    let mut out = MAGIC.to_vec();
    out.extend((key.len() as u32).to_le_bytes());
    out.extend((program.len() as u32 * 8).to_le_bytes());
    out.extend(fnv(FNV_BASIS, &rest).to_le_bytes());
    out.extend(rest);
    out
}

/// Puts a program there, whole or not at all. When the directory is full, it is emptied.
fn write(directory: &OwnedFd, key: &[u8], program: &[SockFilter]) -> rustix::io::Result<()> {
    let bytes = encode(key, program);
    if bytes.len() > LARGEST {
        return Ok(());
    }
    let names: Vec<_> = Dir::read_from(directory)?
        .filter_map(std::result::Result::ok)
        .map(|entry| entry.file_name().to_owned())
        .filter(|name| !matches!(name.to_bytes(), b"." | b".."))
        .collect();
    if names.len() >= MOST {
        for name in names {
            let _ = rustix::fs::unlinkat(directory, name, AtFlags::empty());
        }
    }
    let temporary = format!("{}.{}", file_name(key), std::process::id());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, &temporary, flags, Mode::from_raw_mode(0o600))?;
    let written = (|| {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let n = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest))?;
            rest = rest.get(n..).unwrap_or_default();
        }
        rustix::fs::renameat(directory, &temporary, directory, file_name(key))
    })();
    if written.is_err() {
        let _ = rustix::fs::unlinkat(directory, &temporary, AtFlags::empty());
    }
    written
}

/// For the fuzz target: reads a file as one of the key `key`. True if it holds a program, which is then the
/// same after being written and read again.
#[doc(hidden)]
#[must_use]
pub fn fuzz(bytes: &[u8]) -> bool {
    let key = b"key";
    let Some(program) = decode(bytes, key) else { return false };
    assert_eq!(encode(key, &program), bytes);
    true
}

/// A file that [`fuzz`] takes.
#[doc(hidden)]
#[must_use]
pub fn fuzz_seed() -> Vec<u8> {
    encode(b"key", &[SockFilter { code: 6, jt: 0, jf: 0, k: 0x7fff_0000 }; 3])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn profile() -> Seccomp {
        let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"],
            "syscalls":[{"names":["read","exit_group"],"action":"SCMP_ACT_ALLOW"}]}"#;
        serde_json::from_str(json).unwrap()
    }

    /// What is found for the profile: a marked program, so that it cannot come from the compiler.
    fn planted() -> (tempfile::TempDir, std::path::PathBuf, Vec<SockFilter>) {
        let root = tempfile::tempdir().unwrap();
        program(&profile(), root.path()).unwrap();
        let marked = vec![SockFilter { code: 6, jt: 0, jf: 0, k: 0x7fff_0000 }];
        let file = root.path().join(NAME).join(file_name(&key(&profile())));
        assert!(file.exists(), "it was kept");
        std::fs::write(&file, encode(&key(&profile()), &marked)).unwrap();
        (root, file, marked)
    }

    fn is_compiled(root: &Path) {
        assert_eq!(program(&profile(), root).unwrap(), compile(&profile()).unwrap());
    }

    #[test]
    fn what_was_kept_is_used() {
        let (root, _, marked) = planted();
        assert_eq!(program(&profile(), root.path()).unwrap(), marked);
    }

    #[test]
    fn every_part_of_the_profile_counts() {
        let mut others = [(); 6].map(|()| profile());
        others[0].default_errno_ret = Some(0);
        others[1].architectures.push("SCMP_ARCH_X32".into());
        others[2].syscalls[0].names.swap(0, 1);
        others[3].syscalls[0].errno_ret = Some(1);
        others[4].syscalls[0].args.push(Default::default());
        others[5].default_action = "SCMP_ACT_KILL".into();
        let mut keys: Vec<_> = others.iter().chain([&profile()]).map(key).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 7);
    }

    #[test]
    fn a_damaged_file_is_compiled_again_and_replaced() {
        let (root, file, _) = planted();
        let whole = std::fs::read(&file).unwrap();
        let cut = (0..whole.len()).map(|length| whole[..length].to_vec());
        let changed = (0..whole.len()).map(|at| {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            bytes
        });
        for (index, bytes) in cut.chain(changed).enumerate() {
            std::fs::write(&file, bytes).unwrap();
            is_compiled(root.path());
            assert!(std::fs::read(&file).unwrap().len() > HEADER, "{index}");
        }
    }

    #[test]
    fn what_others_may_write_is_not_used() {
        let (root, file, marked) = planted();
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        };
        for open in [0o620, 0o602] {
            std::fs::write(&file, encode(&key(&profile()), &marked)).unwrap();
            mode(&file, open);
            is_compiled(root.path());
            std::fs::remove_file(&file).unwrap();
        }
        std::fs::write(&file, encode(&key(&profile()), &marked)).unwrap();
        mode(&file, 0o600);
        for open in [0o720, 0o702, 0o1777] {
            mode(file.parent().unwrap(), open);
            is_compiled(root.path());
            assert_eq!(std::fs::read(&file).unwrap(), encode(&key(&profile()), &marked));
        }
    }

    #[test]
    fn what_belongs_to_others_is_not_used() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: what_belongs_to_others_is_not_used: needs root");
            return;
        }
        let (root, file, marked) = planted();
        std::os::unix::fs::chown(&file, Some(65534), None).unwrap();
        is_compiled(root.path());
        std::fs::write(&file, encode(&key(&profile()), &marked)).unwrap();
        std::os::unix::fs::chown(&file, Some(0), None).unwrap();
        assert_eq!(program(&profile(), root.path()).unwrap(), marked);
        std::os::unix::fs::chown(file.parent().unwrap(), Some(65534), None).unwrap();
        is_compiled(root.path());
    }

    #[test]
    fn links_are_not_followed() {
        let (root, file, _) = planted();
        let elsewhere = root.path().join("elsewhere");
        std::fs::rename(&file, &elsewhere).unwrap();
        symlink(&elsewhere, &file).unwrap();
        is_compiled(root.path());
        let directory = root.path().join("directory");
        std::fs::rename(root.path().join(NAME), &directory).unwrap();
        std::fs::rename(&elsewhere, directory.join(file.file_name().unwrap())).unwrap();
        symlink(&directory, root.path().join(NAME)).unwrap();
        is_compiled(root.path());
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let root = tempfile::tempdir().unwrap();
        for errno in 0..MOST as u32 + 5 {
            let profile = Seccomp { default_errno_ret: Some(errno), ..profile() };
            program(&profile, root.path()).unwrap();
            let count = std::fs::read_dir(root.path().join(NAME)).unwrap().count();
            assert!((1..=MOST).contains(&count), "{count}");
        }
        let names = (0..LARGEST / 8).map(|i| format!("call{i:06}")).collect();
        let mut long = profile();
        long.syscalls[0].names = names;
        let before = std::fs::read_dir(root.path().join(NAME)).unwrap().count();
        program(&long, root.path()).unwrap();
        assert_eq!(std::fs::read_dir(root.path().join(NAME)).unwrap().count(), before);
    }

    #[test]
    fn a_place_that_cannot_be_written_costs_nothing_but_time() {
        is_compiled(Path::new("/proc/no/such"));
    }
}
