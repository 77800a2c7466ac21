//! The sites of one file, found by need and kept for all processes that map it.

use super::functions::{Function, functions};
use super::scan::{Bounds, Site, scan};
use crate::elf::{Bytes, Program};
use crate::errno::Errno;
use crate::sync::Mutex;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Sites are found by chunks of this many bytes of the file, aligned to their size.
pub const CHUNK_SIZE: u64 = 64 << 10;
/// Functions longer than this are left to trap.
const MAX_FUNCTION: u64 = 1 << 20;
/// What compilers align functions to.
const FUNCTION_ALIGNMENT: u64 = 16;
/// A text without functions that is longer than this is left to trap.
const MAX_SWEEP: u64 = 32 << 20;

/// Where a program's bytes lie in its file.
pub(super) struct FileMap {
    ranges: Vec<FileRange>,
    pub(super) eh_frame_header: Option<u64>,
}

struct FileRange {
    address: u64,
    offset: u64,
    size: u64,
    is_executable: bool,
}

impl FileMap {
    fn new(program: &Program) -> Self {
        let ranges = program
            .segments
            .iter()
            .map(|segment| FileRange {
                address: segment.address,
                offset: segment.offset,
                size: segment.file_size,
                is_executable: segment.access.execute,
            })
            .collect();
        Self { ranges, eh_frame_header: program.eh_frame_header }
    }

    fn range_of(&self, address: u64) -> Option<&FileRange> {
        self.ranges
            .iter()
            .find(|range| address >= range.address && address - range.address < range.size)
    }

    /// File offset of a link-time address.
    pub(super) fn offset_of(&self, address: u64) -> Option<u64> {
        self.range_of(address).map(|range| range.offset + (address - range.address))
    }

    /// End of the bytes around a link-time address.
    pub(super) fn end_of(&self, address: u64) -> Option<u64> {
        self.range_of(address).map(|range| range.address + range.size)
    }

    fn executable(&self) -> impl Iterator<Item = &FileRange> {
        self.ranges.iter().filter(|range| range.is_executable)
    }
}

/// The sites of one file. Share it by the file's content digest.
pub struct Image {
    map: FileMap,
    finder: Finder,
}

enum Finder {
    /// The functions are known: a chunk is scanned when it is asked for.
    Functions { functions: Vec<Function>, chunks: Mutex<BTreeMap<u64, Arc<[Site]>>> },
    /// They are not: all text was decoded.
    Swept(BTreeMap<u64, Arc<[Site]>>),
}

impl Image {
    /// Reads what is needed to find sites; of a file without functions, all its text.
    ///
    /// # Errors
    /// EIO where the file fails verification.
    pub fn open(file: &(impl Bytes + ?Sized), program: &Program) -> Result<Self, Errno> {
        let map = FileMap::new(program);
        let functions = functions(file, &map);
        let covered: u64 = functions.iter().map(|function| function.end - function.start).sum();
        let text: u64 = map.executable().map(|range| range.size).sum();
        let finder = if covered >= text / 2 {
            Finder::Functions { functions, chunks: Mutex::new(BTreeMap::new()) }
        } else {
            Finder::Swept(sweep(file, &map, text)?)
        };
        Ok(Self { map, finder })
    }

    /// The sites in the chunk at file offset `chunk * CHUNK_SIZE`; a patch never reaches out of its chunk.
    ///
    /// # Errors
    /// EIO where the file fails verification.
    pub fn sites(&self, chunk: u64, file: &(impl Bytes + ?Sized)) -> Result<Arc<[Site]>, Errno> {
        match &self.finder {
            Finder::Swept(chunks) => Ok(chunks.get(&chunk).cloned().unwrap_or_default()),
            Finder::Functions { functions, chunks } => {
                if let Some(sites) = chunks.lock().get(&chunk) {
                    return Ok(Arc::clone(sites));
                }
                // Two threads may both scan: the result is the same, and no lock is held over reads.
                let sites: Arc<[Site]> = self.scan_chunk(chunk, functions, file)?.into();
                chunks.lock().insert(chunk, Arc::clone(&sites));
                Ok(sites)
            }
        }
    }

    fn scan_chunk(
        &self,
        chunk: u64,
        functions: &[Function],
        file: &(impl Bytes + ?Sized),
    ) -> Result<Vec<Site>, Errno> {
        let mut bytes = alloc::vec![0; CHUNK_SIZE as usize];
        let start = chunk * CHUNK_SIZE;
        let length = file.read_at(start, &mut bytes)?;
        let mut hosts = BTreeSet::new();
        for range in self.map.executable() {
            let from = range.offset.max(start);
            let to = (range.offset + range.size).min(start + length as u64);
            for at in from..to.max(from) {
                let index = (at - start) as usize;
                if bytes[index] == 0x0f && matches!(bytes.get(index + 1), None | Some(0x05 | 0xa2))
                {
                    let address = range.address + (at - range.offset);
                    let next = functions.partition_point(|function| function.start <= address);
                    if next > 0 && functions[next - 1].end > address {
                        hosts.insert(functions[next - 1]);
                    }
                }
            }
        }
        let mut sites = Vec::new();
        for function in hosts {
            sites.extend(self.scan_function(function, functions, file)?);
        }
        sites.retain(|site| chunk_of(site) == Some(chunk));
        Ok(sites)
    }

    fn scan_function(
        &self,
        function: Function,
        functions: &[Function],
        file: &(impl Bytes + ?Sized),
    ) -> Result<Vec<Site>, Errno> {
        // With the padding that follows it.
        let next = functions.partition_point(|other| other.start <= function.start);
        let limit = functions.get(next).map_or(u64::MAX, |next| next.start);
        let end = function.end.next_multiple_of(FUNCTION_ALIGNMENT).min(limit).max(function.end);
        let length = end - function.start;
        let Some(offset) = self.map.offset_of(function.start) else { return Ok(Vec::new()) };
        if length > MAX_FUNCTION {
            return Ok(Vec::new());
        }
        let mut code = alloc::vec![0; length as usize];
        let got = file.read_at(offset, &mut code)?;
        Ok(scan(&code[..got], function.start, offset, Bounds::Function))
    }
}

fn sweep(
    file: &(impl Bytes + ?Sized),
    map: &FileMap,
    text: u64,
) -> Result<BTreeMap<u64, Arc<[Site]>>, Errno> {
    let mut by_chunk: BTreeMap<u64, Vec<Site>> = BTreeMap::new();
    if text <= MAX_SWEEP {
        for range in map.executable() {
            let mut code = alloc::vec![0; range.size as usize];
            let got = file.read_at(range.offset, &mut code)?;
            for site in scan(&code[..got], range.address, range.offset, Bounds::Unknown) {
                if let Some(chunk) = chunk_of(&site) {
                    by_chunk.entry(chunk).or_default().push(site);
                }
            }
        }
    }
    Ok(by_chunk.into_iter().map(|(chunk, sites)| (chunk, sites.into())).collect())
}

/// The chunk that holds all that the site's patch touches, if one does.
fn chunk_of(site: &Site) -> Option<u64> {
    let extent = site.extent();
    let (first, last) = (extent.start / CHUNK_SIZE, (extent.end - 1) / CHUNK_SIZE);
    (first == last).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::super::scan::Action;
    use super::*;
    use crate::elf::parse;

    /// Syscall sites that get patched, of the byte pairs `0F 05` in the file.
    fn patched(path: &str) -> Option<(usize, usize)> {
        let file = std::fs::read(path).ok()?;
        let image = Image::open(&file[..], &parse(&file[..]).unwrap()).unwrap();
        let chunks = (file.len() as u64).div_ceil(CHUNK_SIZE);
        let sites: Vec<Site> =
            (0..chunks).flat_map(|chunk| image.sites(chunk, &file[..]).unwrap().to_vec()).collect();
        for site in &sites {
            let at = site.offset as usize;
            let expected: &[u8] =
                if site.action == Action::Cpuid { &[0x0f, 0xa2] } else { &[0x0f, 0x05] };
            assert_eq!(&file[at..at + 2], expected, "{path} at {at:#x}");
        }
        let syscalls = sites.iter().filter(|site| site.action != Action::Cpuid).count();
        Some((syscalls, file.windows(2).filter(|pair| pair == b"\x0f\x05").count()))
    }

    #[test]
    fn nearly_all_sites_of_real_libraries_are_found() {
        // Measured by linear decoding: busybox-static 284 sites, of which 4 cannot be patched by moving
        // what stands before them; libc.so.6 526, 4; ld-linux 46, 3.
        for (path, at_least) in [
            ("/bin/busybox", 270),
            ("/lib/x86_64-linux-gnu/libc.so.6", 490),
            ("/lib64/ld-linux-x86-64.so.2", 38),
        ] {
            let (syscalls, pairs) = patched(path).unwrap();
            assert!(syscalls >= at_least && syscalls <= pairs, "{path}: {syscalls} of {pairs}");
        }
    }

    #[test]
    fn a_library_without_exception_frames_is_swept() {
        let Some((syscalls, pairs)) = patched("/usr/lib/x86_64-linux-musl/libc.so") else {
            eprintln!("skipped: package musl is not installed");
            return;
        };
        assert!(syscalls >= 300 && syscalls <= pairs, "{syscalls} of {pairs}");
    }
}
