//! Attributes of a file, and their forms in `struct stat`, `struct statx` and `struct statfs` (x86-64).

/// What a file is; the value is the `S_IFMT` part of `st_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum FileType {
    Fifo = 0o010_000,
    CharDevice = 0o020_000,
    Directory = 0o040_000,
    BlockDevice = 0o060_000,
    #[default]
    Regular = 0o100_000,
    Symlink = 0o120_000,
    Socket = 0o140_000,
}

impl FileType {
    /// From the `S_IFMT` part of a mode.
    #[must_use]
    pub fn from_mode(mode: u32) -> Option<Self> {
        Some(match mode & 0o170_000 {
            0o010_000 => Self::Fifo,
            0o020_000 => Self::CharDevice,
            0o040_000 => Self::Directory,
            0o060_000 => Self::BlockDevice,
            0o100_000 => Self::Regular,
            0o120_000 => Self::Symlink,
            0o140_000 => Self::Socket,
            _ => return None,
        })
    }

    /// `d_type` of a directory entry.
    #[must_use]
    pub fn dirent_type(self) -> u8 {
        (self as u32 >> 12) as u8
    }
}

/// Seconds and nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds, negative before 1970.
    pub sec: i64,
    /// 0..1_000_000_000.
    pub nsec: u32,
}

impl Time {
    /// From nanoseconds since 1970.
    #[must_use]
    pub fn from_ns(ns: u64) -> Self {
        Self { sec: (ns / 1_000_000_000) as i64, nsec: (ns % 1_000_000_000) as u32 }
    }
}

/// Attributes of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Device of the file system.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// What it is.
    pub file_type: FileType,
    /// Permission bits (07777).
    pub mode: u32,
    /// Hard links.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device file, as `st_rdev` has it.
    pub rdev: u64,
    /// Size in bytes.
    pub size: u64,
    /// Units of 512 bytes in use.
    pub blocks: u64,
    /// Last access.
    pub atime: Time,
    /// Last change of the contents.
    pub mtime: Time,
    /// Last change of the attributes.
    pub ctime: Time,
}

/// `makedev(3)` as `st_rdev` has it.
#[must_use]
pub const fn makedev(major: u32, minor: u32) -> u64 {
    let (major, minor) = (major as u64, minor as u64);
    ((major & 0xfff) << 8) | (minor & 0xff) | ((minor & !0xff) << 12) | ((major & !0xfff) << 32)
}

const fn major(dev: u64) -> u32 {
    (((dev >> 8) & 0xfff) | ((dev >> 32) & !0xfff)) as u32
}

const fn minor(dev: u64) -> u32 {
    ((dev & 0xff) | ((dev >> 12) & !0xff)) as u32
}

/// Bits of `stx_mask` that are always filled.
const STATX_BASIC_STATS: u32 = 0x7ff;
const STATX_MNT_ID: u32 = 0x1000;
const STATX_ATTR_MOUNT_ROOT: u64 = 0x2000;

impl Stat {
    /// `st_mode`.
    #[must_use]
    pub fn st_mode(&self) -> u32 {
        self.file_type as u32 | self.mode
    }

    /// `struct stat`, 144 bytes.
    #[must_use]
    pub fn to_stat(&self) -> [u8; 144] {
        let mut out = [0; 144];
        put64(&mut out, 0, self.dev);
        put64(&mut out, 8, self.ino);
        put64(&mut out, 16, u64::from(self.nlink));
        put32(&mut out, 24, self.st_mode());
        put32(&mut out, 28, self.uid);
        put32(&mut out, 32, self.gid);
        put64(&mut out, 40, self.rdev);
        put64(&mut out, 48, self.size);
        put64(&mut out, 56, 4096);
        put64(&mut out, 64, self.blocks);
        for (at, time) in [(72, self.atime), (88, self.mtime), (104, self.ctime)] {
            put64(&mut out, at, time.sec as u64);
            put64(&mut out, at + 8, u64::from(time.nsec));
        }
        out
    }

    /// `struct statx`, 256 bytes. No birth time.
    #[must_use]
    pub fn to_statx(&self, mount_id: u64, is_mount_root: bool) -> [u8; 256] {
        let mut out = [0; 256];
        put32(&mut out, 0, STATX_BASIC_STATS | STATX_MNT_ID);
        put32(&mut out, 4, 4096);
        put64(&mut out, 8, if is_mount_root { STATX_ATTR_MOUNT_ROOT } else { 0 });
        put32(&mut out, 16, self.nlink);
        put32(&mut out, 20, self.uid);
        put32(&mut out, 24, self.gid);
        out[28..30].copy_from_slice(&(self.st_mode() as u16).to_le_bytes());
        put64(&mut out, 32, self.ino);
        put64(&mut out, 40, self.size);
        put64(&mut out, 48, self.blocks);
        put64(&mut out, 56, STATX_ATTR_MOUNT_ROOT);
        for (at, time) in [(64, self.atime), (96, self.ctime), (112, self.mtime)] {
            put64(&mut out, at, time.sec as u64);
            put32(&mut out, at + 8, time.nsec);
        }
        put32(&mut out, 128, major(self.rdev));
        put32(&mut out, 132, minor(self.rdev));
        put32(&mut out, 136, major(self.dev));
        put32(&mut out, 140, minor(self.dev));
        put64(&mut out, 144, mount_id);
        out
    }
}

/// Attributes of a file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FsStat {
    /// `f_type`, the magic of statfs(2).
    pub magic: u64,
    /// Blocks of 4096 bytes.
    pub blocks: u64,
    /// Of them free.
    pub blocks_free: u64,
    /// Inodes.
    pub files: u64,
    /// Of them free.
    pub files_free: u64,
}

impl FsStat {
    /// `struct statfs`, 120 bytes. `flags` are `ST_*` without `ST_VALID`.
    #[must_use]
    pub fn to_statfs(&self, fsid: u64, flags: u64) -> [u8; 120] {
        const ST_VALID: u64 = 0x20;
        let mut out = [0; 120];
        put64(&mut out, 0, self.magic);
        put64(&mut out, 8, 4096);
        put64(&mut out, 16, self.blocks);
        put64(&mut out, 24, self.blocks_free);
        put64(&mut out, 32, self.blocks_free);
        put64(&mut out, 40, self.files);
        put64(&mut out, 48, self.files_free);
        put64(&mut out, 56, fsid);
        put64(&mut out, 64, 255);
        put64(&mut out, 72, 4096);
        put64(&mut out, 80, flags | ST_VALID);
        out
    }
}

fn put64(out: &mut [u8], at: usize, value: u64) {
    out[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

fn put32(out: &mut [u8], at: usize, value: u32) {
    out[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_survive_the_packed_form() {
        for (a, b) in [(1, 3), (136, 0), (4, 64), (0xfff, 0xfffff), (0x12345, 0x6789a)] {
            let dev = makedev(a, b);
            assert_eq!((major(dev), minor(dev)), (a, b));
        }
    }

    #[test]
    fn statx_and_stat_agree_with_the_layouts_of_the_c_library() {
        let stat = Stat {
            dev: makedev(0, 42),
            ino: 7,
            file_type: FileType::Directory,
            mode: 0o1755,
            nlink: 3,
            uid: 1,
            gid: 2,
            rdev: 0,
            size: 4096,
            blocks: 8,
            atime: Time { sec: -1, nsec: 5 },
            mtime: Time { sec: 10, nsec: 6 },
            ctime: Time { sec: 11, nsec: 7 },
        };
        let out = stat.to_stat();
        assert_eq!(out[24..28], 0o041_755u32.to_le_bytes());
        assert_eq!(out[88..96], 10u64.to_le_bytes());
        assert_eq!(out[72..80], (-1i64).to_le_bytes());
        let out = stat.to_statx(9, true);
        assert_eq!(out[28..30], 0o041_755u16.to_le_bytes());
        assert_eq!(out[112..120], 10u64.to_le_bytes());
        assert_eq!(out[140..144], 42u32.to_le_bytes());
        assert_eq!(out[144..152], 9u64.to_le_bytes());
    }
}
