//! What the kernel starts with: busybox, a first process, modules, and the job. A cpio archive of format "newc"
//! (Linux, Documentation/driver-api/early-userspace/buffer-format.rst).

use std::path::Path;

/// First process; the job's end is told by a line that begins with `$END`.
const INIT: &str = include_str!("init.sh");

/// An archive in the making.
pub(crate) struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

impl Archive {
    /// Directories in which the first process mounts.
    pub(crate) fn new() -> Self {
        let mut archive = Self { bytes: Vec::new(), inode: 0 };
        for directory in ["dev", "disk", "host", "modules", "proc", "root"] {
            archive.add(directory, 0o040_755, &[]);
        }
        archive
    }

    /// A file that may be executed.
    pub(crate) fn file(&mut self, name: &str, bytes: &[u8]) {
        self.add(name, 0o100_755, bytes);
    }

    /// The first process and what it runs.
    pub(crate) fn job(&mut self, job: &str, end: &str) {
        self.file("init", INIT.replace("$END", end).as_bytes());
        self.file("job", job.as_bytes());
    }

    fn add(&mut self, name: &str, mode: u32, bytes: &[u8]) {
        self.inode += 1;
        let (size, name_size) = (bytes.len() as u32, name.len() as u32 + 1);
        // inode, mode, user, group, links, time, size, device, device of a device file, size of the name, sum
        let fields = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        let fields: String = fields.iter().map(|field| format!("{field:08x}")).collect();
        let header = format!("070701{fields}");
        self.bytes.extend(header.bytes().chain(name.bytes()).chain([0]));
        self.pad();
        self.bytes.extend(bytes);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// The archive, ended.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, &[]);
        self.bytes
    }
}

/// Modules by the file name that the kernel's package gives them.
pub(crate) const MODULES: [&str; 22] = [
    "9p",
    "9pnet",
    "9pnet_virtio",
    "crc16",
    "crc32c_generic",
    "ext4",
    "fscache",
    "jbd2",
    "libcrc32c",
    "mbcache",
    "netfs",
    "overlay",
    "veth",
    "virtio",
    "virtio_blk",
    "virtio_pci",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_ring",
    "vmw_vsock_virtio_transport_common",
    "vsock",
    "vsock_loopback",
];

/// Whether a file of the kernel's package is one of [`MODULES`].
pub(crate) fn is_wanted(path: &Path) -> bool {
    path.extension().is_some_and(|it| it == "ko")
        && path.file_stem().and_then(|it| it.to_str()).is_some_and(|it| MODULES.contains(&it))
}
