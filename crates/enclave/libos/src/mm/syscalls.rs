//! The system calls about memory.

use super::map::{Place, Request};
use super::shared::SharedObject;
use super::vma::{Backing, Role};
use crate::errno::Errno;
use crate::fs::context::Caller;
use crate::platform::{Access, PAGE_SIZE};
use crate::syscall::{Args, Entry, SysResult};
use crate::thread::{Seat, Thread};
use alloc::sync::Arc;

/// Served here.
pub const TABLE: &[Entry] = &[
    Entry::partial(
        9,
        "a shared object has one address; a second mapping of it gets the same",
        mmap,
    ),
    Entry::full(10, mprotect),
    Entry::full(11, munmap),
    Entry::full(12, brk),
    Entry::partial(25, "private mappings; a move copies", mremap),
    Entry::full(26, msync),
    Entry::full(27, mincore),
    Entry::partial(28, "DONTNEED frees, the rest are hints", madvise),
    Entry::partial(149, "enclave memory is never swapped by us", locked),
    Entry::partial(150, "enclave memory is never swapped by us", locked),
    Entry::partial(151, "enclave memory is never swapped by us", locked),
    Entry::partial(152, "enclave memory is never swapped by us", locked),
    Entry::partial(325, "enclave memory is never swapped by us", locked),
];

const PROT_MASK: u64 = 7;
/// PROT_GROWSDOWN, PROT_GROWSUP, PROT_SEM.
const PROT_EXTRA: u64 = 0x0300_0008;
const MAP_SHARED: u64 = 1;
const MAP_PRIVATE: u64 = 2;
const MAP_SHARED_VALIDATE: u64 = 3;
const MAP_FIXED: u64 = 0x10;
const MAP_ANONYMOUS: u64 = 0x20;
const MAP_FIXED_NOREPLACE: u64 = 0x10_0000;

fn access_of(protection: u64) -> Access {
    Access { read: protection & 1 != 0, write: protection & 2 != 0, execute: protection & 4 != 0 }
}

fn mmap(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let [address, length, protection, flags, fd, offset] = args.0;
    if protection & !(PROT_MASK | PROT_EXTRA) != 0 || !offset.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL);
    }
    if length == 0 {
        return Err(Errno::EINVAL);
    }
    let mm = thread.mm();
    let access = access_of(protection);
    let place = match () {
        () if flags & MAP_FIXED_NOREPLACE != 0 => Place::FixedNoReplace(address),
        () if flags & MAP_FIXED != 0 => Place::Fixed(address),
        () => Place::Hint(address),
    };
    let is_shared = match flags & 3 {
        MAP_SHARED | MAP_SHARED_VALIDATE => true,
        MAP_PRIVATE => false,
        _ => return Err(Errno::EINVAL),
    };
    let mut path: Arc<[u8]> = Arc::from([]);
    let backing = if flags & MAP_ANONYMOUS != 0 {
        if is_shared {
            let pages = length.checked_next_multiple_of(PAGE_SIZE).ok_or(Errno::ENOMEM)?;
            Backing::Shared { object: SharedObject::new(mm.memory, pages)?, offset: 0 }
        } else {
            Backing::Anonymous
        }
    } else {
        let file =
            thread.process.files().mappable(&Caller::of(&Seat::new(thread.clone())), fd as i32)?;
        if !file.is_readable || (is_shared && access.write && !file.is_writable) {
            return Err(Errno::EACCES);
        }
        if access.execute && file.is_noexec {
            return Err(Errno::EPERM);
        }
        path = Arc::from(&file.path[..]);
        // What nobody can write is the same private and shared.
        if is_shared && file.pages.content_digest().is_none() {
            let end = offset.checked_add(length).ok_or(Errno::EOVERFLOW)?;
            let pages = end.checked_next_multiple_of(PAGE_SIZE).ok_or(Errno::ENOMEM)?;
            Backing::Shared {
                object: SharedObject::of_file(mm.memory, &file.pages, pages)?,
                offset,
            }
        } else {
            Backing::File { source: file.pages, offset, image: None }
        }
    };
    mm.map(Request { place, length, access, backing, role: Role::Plain, path })
}

fn mprotect(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let [address, length, protection, ..] = args.0;
    if protection & !(PROT_MASK | PROT_EXTRA) != 0 {
        return Err(Errno::EINVAL);
    }
    thread.mm().protect(address, length, access_of(protection)).map(|()| 0)
}

fn munmap(thread: &Arc<Thread>, args: &Args) -> SysResult {
    thread.mm().unmap(args.0[0], args.0[1]).map(|()| 0)
}

fn brk(thread: &Arc<Thread>, args: &Args) -> SysResult {
    Ok(thread.mm().set_break(args.0[0]))
}

const MREMAP_MAYMOVE: u64 = 1;
const MREMAP_FIXED: u64 = 2;

fn mremap(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let [address, old, new, flags, to, _] = args.0;
    let place = match flags {
        0 => None,
        MREMAP_MAYMOVE => Some(Place::Hint(0)),
        3 => Some(Place::Fixed(to)),
        _ => return Err(Errno::EINVAL),
    };
    let overlaps = |a: u64, a_length: u64, b: u64, b_length: u64| {
        a < b.saturating_add(b_length) && b < a.saturating_add(a_length)
    };
    if flags & MREMAP_FIXED != 0 && overlaps(address, old, to, new) {
        return Err(Errno::EINVAL);
    }
    thread.mm().remap(address, old, new, place)
}

fn msync(thread: &Arc<Thread>, args: &Args) -> SysResult {
    // Pages of shared objects are the objects: nothing is to be written back.
    thread.mm().filled(args.0[0], args.0[1].max(1)).map(|_| 0)
}

fn mincore(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let mm = thread.mm();
    let pages = mm.filled(args.0[0], args.0[1])?;
    mm.write(args.0[2], &pages).map(|()| 0)
}

const MADV_DONTNEED: u64 = 4;

fn madvise(thread: &Arc<Thread>, args: &Args) -> SysResult {
    let [address, length, advice, ..] = args.0;
    if !address.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL);
    }
    match advice {
        _ if length == 0 => Ok(0),
        MADV_DONTNEED => thread.mm().forget(address, length).map(|()| 0),
        // NORMAL to WILLNEED, FREE, fork and dump hints, huge pages, COLD, PAGEOUT.
        0..=3 | 8 | 12..=17 | 20 | 21 => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

fn locked(_: &Arc<Thread>, _: &Args) -> SysResult {
    Ok(0)
}
