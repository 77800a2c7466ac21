//! Putting a program into an address space.

use super::stack::auxiliary::*;
use super::stack::{self, Contents};
use super::{FileBytes, Kind, Program, Segment, parse};
use crate::cpuid::Cpuid;
use crate::errno::Errno;
use crate::fs::file::PageSource;
use crate::mm::Mm;
use crate::mm::map::{Place, Request};
use crate::mm::vma::{Backing, Role};
use crate::platform::{Access, PAGE_SIZE};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

/// Default soft limit of the stack.
const STACK_SIZE: u64 = 8 << 20;
/// Addresses kept free above the heap.
const HEAP_RESERVE: u64 = 128 << 20;
/// A small enclave gives at most one part in this many of its addresses to a stack or a heap's reserve.
const SHARE: u64 = 16;

/// A file to run, with its path for /proc/PID/maps.
#[derive(Clone)]
pub struct Executable {
    /// Its bytes.
    pub source: Arc<dyn PageSource>,
    /// Its path, as seen by the program.
    pub path: Arc<[u8]>,
}

/// What a program is given.
#[derive(Clone, Copy)]
pub struct Launch<'a> {
    /// Arguments.
    pub argv: &'a [Vec<u8>],
    /// Environment.
    pub env: &'a [Vec<u8>],
    /// Path by which it was run (AT_EXECFN).
    pub path: &'a [u8],
    /// Real and effective user, real and effective group.
    pub ids: [u32; 4],
    /// What CPUID says.
    pub cpuid: Cpuid,
    /// RLIMIT_STACK, soft.
    pub stack_limit: u64,
}

/// Where a loaded program starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// First instruction: the interpreter's, if there is one.
    pub entry: u64,
    /// RSP.
    pub sp: u64,
    /// Argument strings in memory.
    pub arguments: Range<u64>,
    /// Environment strings in memory.
    pub environment: Range<u64>,
}

/// Loads `executable` into `mm`, which is empty. `open` finds the interpreter by its path.
///
/// # Errors
/// ENOEXEC for a file that is no program of ours, E2BIG, ENOMEM, EIO where verification fails, and what
/// `open` gives (ELIBBAD's cases are ENOEXEC).
pub fn load(
    mm: &Mm,
    executable: &Executable,
    open: &dyn Fn(&[u8]) -> Result<Executable, Errno>,
    launch: &Launch<'_>,
) -> Result<Start, Errno> {
    let program = parse(&FileBytes(&*executable.source))?;
    let interpreter = program.interpreter.as_deref().map(open).transpose()?;
    let bias = map(mm, executable, &program)?;
    let (base, entry) = match &interpreter {
        None => (0, program.entry.wrapping_add(bias)),
        Some(interpreter) => {
            let parsed = parse(&FileBytes(&*interpreter.source))?;
            let bias = map(mm, interpreter, &parsed)?;
            (bias, parsed.entry.wrapping_add(bias))
        }
    };
    let limits = mm.memory.addresses.lock().limits();
    let share = ((limits.end - limits.start) / SHARE).next_multiple_of(PAGE_SIZE);
    mm.set_heap(None, HEAP_RESERVE.min(share))?;

    let size = launch.stack_limit.clamp(PAGE_SIZE * 32, STACK_SIZE).min(share);
    let access = Access { read: true, write: true, execute: program.is_stack_executable };
    let stack = anonymous(Place::Hint(0), size, access, Role::Stack);
    let bottom = mm.map(stack)?;
    let top = bottom + size.next_multiple_of(PAGE_SIZE);

    let mut random = [0; 16];
    mm.memory.platform.random(&mut random);
    let [uid, euid, gid, egid] = launch.ids.map(u64::from);
    let is_secure = u64::from(uid != euid || gid != egid);
    let auxiliary = [
        (AT_HWCAP, launch.cpuid.hwcap()),
        (AT_PAGESZ, PAGE_SIZE),
        (AT_CLKTCK, 100),
        (AT_PHDR, program.program_headers.map_or(0, |at| at.wrapping_add(bias))),
        (AT_PHENT, 56),
        (AT_PHNUM, u64::from(program.program_header_count)),
        (AT_BASE, base),
        (AT_FLAGS, 0),
        (AT_ENTRY, program.entry.wrapping_add(bias)),
        (AT_UID, uid),
        (AT_EUID, euid),
        (AT_GID, gid),
        (AT_EGID, egid),
        (AT_SECURE, is_secure),
        (AT_HWCAP2, launch.cpuid.hwcap2()),
        (AT_MINSIGSTKSZ, crate::signal::frame::largest(mm.memory.platform.xfrm())),
    ];
    let contents = Contents {
        argv: launch.argv,
        env: launch.env,
        path: launch.path,
        random,
        auxiliary: &auxiliary,
    };
    // As Linux: strings take at most a quarter of the stack.
    let stack = stack::build(&contents, top, (size / 4) as usize)?;
    mm.force_write(stack.sp, &stack.bytes)?;
    Ok(Start { entry, sp: stack.sp, arguments: stack.arguments, environment: stack.environment })
}

/// Maps all segments; gives what is to be added to the file's addresses.
fn map(mm: &Mm, executable: &Executable, program: &Program) -> Result<u64, Errno> {
    let span = program.span();
    let place = match program.kind {
        Kind::Fixed => Place::FixedNoReplace(span.start),
        Kind::Relocatable => Place::Hint(0),
    };
    // The whole span first, so that the segments keep their distances and nothing comes between.
    let reserved = anonymous(place, span.end - span.start, Access::default(), Role::Plain);
    let bias = mm.map(reserved)?.wrapping_sub(span.start);
    for segment in &program.segments {
        map_segment(mm, executable, segment, bias)?;
    }
    Ok(bias)
}

fn map_segment(
    mm: &Mm,
    executable: &Executable,
    segment: &Segment,
    bias: u64,
) -> Result<(), Errno> {
    let pages = segment.pages();
    let file_end = segment.address + segment.file_size;
    let file_pages_end =
        if segment.file_size == 0 { pages.start } else { file_end.next_multiple_of(PAGE_SIZE) };
    if file_pages_end > pages.start {
        mm.map(Request {
            place: Place::Fixed(pages.start.wrapping_add(bias)),
            length: file_pages_end - pages.start,
            access: segment.access,
            backing: Backing::File {
                source: Arc::clone(&executable.source),
                offset: segment.offset & !(PAGE_SIZE - 1),
                image: None,
            },
            role: Role::Plain,
            path: Arc::clone(&executable.path),
        })?;
    }
    // What follows the file's bytes in their last page belongs to the next segment of the file.
    // Linux clears the whole page, and ld.so allocates from what its own segment leaves of it.
    let tail = file_pages_end.saturating_sub(file_end);
    if tail > 0 && segment.memory_size > segment.file_size {
        let zeros = alloc::vec![0; tail as usize];
        mm.force_write(file_end.wrapping_add(bias), &zeros)?;
    }
    if pages.end > file_pages_end {
        let place = Place::Fixed(file_pages_end.wrapping_add(bias));
        mm.map(anonymous(place, pages.end - file_pages_end, segment.access, Role::Plain))?;
    }
    Ok(())
}

fn anonymous(place: Place, length: u64, access: Access, role: Role) -> Request {
    Request { place, length, access, backing: Backing::Anonymous, role, path: Arc::from([]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::Bytes;
    use crate::mm::Memory;
    use crate::testing::Machine;

    struct RealFile(Vec<u8>, u8);

    impl PageSource for RealFile {
        fn read_page(&self, index: u64, into: &mut [u8; 4096]) -> Result<(), Errno> {
            into.fill(0);
            self.0[..].read_at(index * 4096, into).map(|_| ())
        }
        fn size(&self) -> u64 {
            self.0.len() as u64
        }
        fn content_digest(&self) -> Option<[u8; 32]> {
            Some([self.1; 32])
        }
        fn identity(&self) -> (u64, u64) {
            (0, u64::from(self.1))
        }
        fn share_page(&self, _: u64, _: u64) -> Result<(), Errno> {
            Err(Errno::ENODEV)
        }
        fn unshare_page(&self, _: u64) {}
    }

    fn open(path: &[u8]) -> Result<Executable, Errno> {
        let name = std::str::from_utf8(path).unwrap();
        let bytes = std::fs::read(name).map_err(|_| Errno::ENOENT)?;
        let source = Arc::new(RealFile(bytes, path.len() as u8));
        Ok(Executable { source, path: Arc::from(path) })
    }

    fn load_real(path: &str) -> (Arc<Mm>, Start) {
        let machine = Machine::leak(1 << 16);
        let mm = Mm::new(Box::leak(Box::new(Memory::new(machine))));
        let launch = Launch {
            argv: &[path.as_bytes().to_vec(), b"x".to_vec()],
            env: &[b"A=1".to_vec()],
            path: path.as_bytes(),
            ids: [0; 4],
            cpuid: Cpuid::new(7, 1),
            stack_limit: 8 << 20,
        };
        let start = load(&mm, &open(path.as_bytes()).unwrap(), &open, &launch).unwrap();
        (mm, start)
    }

    #[test]
    fn busybox_lies_where_it_was_linked() {
        let (mm, start) = load_real("/bin/busybox");
        let file = std::fs::read("/bin/busybox").unwrap();
        assert_eq!(start.entry, parse(&file[..]).unwrap().entry);
        let head: [u8; 16] = mm.read_array(0x40_0000).unwrap();
        assert_eq!(head, file[..16]);
        assert_eq!(mm.read_u64(start.sp), Ok(2), "argc");
        let mut arguments = alloc::vec![0; 15];
        mm.read(start.arguments.start, &mut arguments).unwrap();
        assert_eq!(arguments, b"/bin/busybox\0x\0");
        assert!(mm.write(0x40_0000, &[0]).is_err(), "text is read-only");
    }

    #[test]
    fn bash_starts_in_its_interpreter() {
        let (mm, start) = load_real("/bin/bash");
        let inside = mm.mappings().into_iter().find(|m| m.range.contains(&start.entry)).unwrap();
        assert_eq!(&*inside.path, b"/lib64/ld-linux-x86-64.so.2");
        assert!(inside.access.execute);
    }

    #[test]
    fn bytes_after_the_file_are_zero() {
        let (mm, _) = load_real("/bin/busybox");
        let file = std::fs::read("/bin/busybox").unwrap();
        let program = parse(&file[..]).unwrap();
        let data = program.segments.iter().find(|s| s.memory_size > s.file_size).unwrap();
        let last: [u8; 8] = mm.read_array(data.address + data.file_size - 8).unwrap();
        assert_eq!(last, file[(data.offset + data.file_size - 8) as usize..][..8]);
        let zeros: [u8; 64] = mm.read_array(data.address + data.file_size).unwrap();
        assert_eq!(zeros, [0; 64]);
        let end: [u8; 8] = mm.read_array(data.address + data.memory_size - 8).unwrap();
        assert_eq!(end, [0; 8]);
    }
}
