//! Open file descriptions and descriptor tables.
//!
//! Lock order: a table's lock is a leaf: nothing is called with it held. Files that leave a table are
//! dropped after the lock was given back, since dropping the last reference to a pipe end wakes others.

use super::context::Caller;
use super::file::{File, PageSource, Sink, Source};
use super::flags::{
    O_ACCMODE, O_APPEND, O_CLOEXEC, O_CREAT, O_DIRECTORY, O_EXCL, O_NOCTTY, O_NONBLOCK, O_PATH,
    O_RDONLY, O_TRUNC, O_WRONLY, SETFL_MASK,
};
use super::location::Location;
use super::locks;
use super::task::Task;
use super::walk::path_of;
use crate::errno::Errno;
use crate::mm::vma::Changes;
use crate::sync::Mutex;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// An open file description: what dup(2) and fork(2) share.
pub struct OpenFile {
    /// The object.
    pub file: Arc<dyn File>,
    /// Where it was opened; None for pipes, sockets and the like.
    pub location: Option<Location>,
    offset: AtomicU64,
    flags: AtomicU32,
    /// F_SETOWN.
    pub owner: AtomicU32,
    id: u64,
}

/// Numbers descriptions and tables, so that locks have an owner without a pointer.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl OpenFile {
    /// A description with the flags of open(2). Those that only concern the opening are forgotten.
    #[must_use]
    pub fn new(file: Arc<dyn File>, location: Option<Location>, flags: u32) -> Arc<Self> {
        let once = O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC;
        if flags & O_NONBLOCK != 0 {
            file.set_nonblocking(true);
        }
        let keep = flags & !once;
        Arc::new(Self {
            file,
            location,
            offset: AtomicU64::new(0),
            flags: AtomicU32::new(keep),
            owner: AtomicU32::new(0),
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
        })
    }

    /// A number that no other description has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Access mode and status flags, as F_GETFL gives them.
    #[must_use]
    pub fn flags(&self) -> u32 {
        self.flags.load(Ordering::Relaxed)
    }

    /// Changes the status flags that F_SETFL may change.
    pub fn set_flags(&self, flags: u32) {
        let old = self.flags();
        let new = (old & !SETFL_MASK) | (flags & SETFL_MASK);
        self.flags.store(new, Ordering::Relaxed);
        if (old ^ new) & O_NONBLOCK != 0 {
            self.file.set_nonblocking(new & O_NONBLOCK != 0);
        }
    }

    /// Whether reads are allowed.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        let flags = self.flags();
        flags & O_PATH == 0 && flags & O_ACCMODE != O_WRONLY
    }

    /// Whether writes are allowed.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        let flags = self.flags();
        flags & O_PATH == 0 && flags & O_ACCMODE != O_RDONLY
    }

    /// Whether the description stands for a path only (O_PATH).
    #[must_use]
    pub fn is_path(&self) -> bool {
        self.flags() & O_PATH != 0
    }

    /// Whether operations must not wait.
    #[must_use]
    pub fn is_nonblocking(&self) -> bool {
        self.flags() & O_NONBLOCK != 0
    }

    /// Whether it was opened as a directory.
    #[must_use]
    pub fn is_directory_only(&self) -> bool {
        self.flags() & O_DIRECTORY != 0
    }

    /// Present offset.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset.load(Ordering::Relaxed)
    }

    /// Sets the offset.
    pub fn set_offset(&self, offset: u64) {
        self.offset.store(offset, Ordering::Relaxed);
    }

    /// Reads at the offset and moves it, once and without waiting.
    ///
    /// # Errors
    /// EBADF where it is not open for reading; what the file gives.
    pub fn read(&self, task: &dyn Task, into: &mut dyn Sink) -> Result<usize, Errno> {
        if !self.is_readable() {
            return Err(Errno::EBADF);
        }
        if !self.file.is_seekable() {
            return self.file.read_for(task, 0, into);
        }
        let at = self.offset();
        let count = self.file.read(at, into)?;
        self.set_offset(at + count as u64);
        Ok(count)
    }

    /// Writes at the offset, or at the end with O_APPEND, and moves it; once and without waiting.
    ///
    /// # Errors
    /// EBADF where it is not open for writing; what the file gives.
    pub fn write(&self, from: &mut dyn Source) -> Result<usize, Errno> {
        if !self.is_writable() {
            return Err(Errno::EBADF);
        }
        if !self.file.is_seekable() {
            return self.file.write(0, from);
        }
        if self.flags() & O_APPEND != 0 {
            let (end, count) = self.file.append(from)?;
            self.set_offset(end);
            return Ok(count);
        }
        let at = self.offset();
        let count = self.file.write(at, from)?;
        self.set_offset(at + count as u64);
        Ok(count)
    }
}

impl OpenFile {
    /// What /proc/PID/fd and /proc/PID/maps show: the path now, or a description.
    #[must_use]
    pub fn path(&self, caller: &Caller) -> Vec<u8> {
        match &self.location {
            Some(location) => path_of(caller, location),
            None => self.file.description().into_bytes(),
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if let Some(inode) = self.file.inode() {
            locks::release(inode.key(), locks::Owner::Description(self.id));
        }
    }
}

#[derive(Clone)]
struct Slot {
    file: Arc<OpenFile>,
    is_cloexec: bool,
}

/// Descriptors of a process (or of several, by CLONE_FILES).
pub struct Table {
    slots: Mutex<Slots>,
    id: u64,
}

#[derive(Default)]
struct Slots {
    entries: Vec<Option<Slot>>,
    /// No free slot below.
    lowest: usize,
    /// Noted when a descriptor gets another description, or none.
    changes: Changes,
}

impl Slots {
    fn take(&mut self, fd: usize) -> Option<Slot> {
        let slot = self.entries.get_mut(fd)?.take();
        if slot.is_some() {
            self.lowest = self.lowest.min(fd);
            self.changes.note();
        }
        slot
    }

    fn get(&self, fd: i32) -> Result<&Slot, Errno> {
        let slot = usize::try_from(fd).ok().and_then(|fd| self.entries.get(fd)?.as_ref());
        slot.ok_or(Errno::EBADF)
    }

    /// The lowest free number from `from` on.
    fn find_from(&self, from: usize) -> usize {
        let start = from.max(self.lowest);
        let mut entries = self.entries.iter().skip(start);
        entries.position(Option::is_none).map_or(self.entries.len().max(start), |at| start + at)
    }

    fn free_from(&mut self, from: usize, limit: u64) -> Result<usize, Errno> {
        let fd = self.find_from(from);
        if fd as u64 >= limit {
            return Err(Errno::EMFILE);
        }
        if from <= self.lowest {
            self.lowest = fd + 1;
        }
        Ok(fd)
    }

    fn put(&mut self, fd: usize, slot: Slot) -> Option<Slot> {
        if fd >= self.entries.len() {
            self.entries.resize(fd + 1, None);
        }
        self.changes.note();
        self.entries[fd].replace(slot)
    }
}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self { slots: Mutex::new(Slots::default()), id: NEXT_ID.fetch_add(1, Ordering::Relaxed) }
    }

    /// The copy that fork(2) gives the child: same descriptions, own table.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let slots = self.slots.lock();
        let (entries, lowest) = (slots.entries.clone(), slots.lowest);
        Self {
            slots: Mutex::new(Slots { entries, lowest, changes: Changes::default() }),
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// A number that no other table has: owner of POSIX record locks.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The description behind a descriptor, O_PATH ones included.
    ///
    /// # Errors
    /// EBADF.
    pub fn get(&self, fd: i32) -> Result<Arc<OpenFile>, Errno> {
        self.slots.lock().get(fd).map(|slot| slot.file.clone())
    }

    /// Likewise, but not one that stands for a path only.
    ///
    /// # Errors
    /// EBADF.
    pub fn get_file(&self, fd: i32) -> Result<Arc<OpenFile>, Errno> {
        self.get(fd).and_then(|open| if open.is_path() { Err(Errno::EBADF) } else { Ok(open) })
    }

    /// Likewise, with what tells that descriptors changed, and its count at this moment.
    ///
    /// # Errors
    /// EBADF.
    pub fn get_known(&self, fd: i32) -> Result<Known, Errno> {
        let slots = self.slots.lock();
        let file = slots.get(fd)?.file.clone();
        if file.is_path() {
            return Err(Errno::EBADF);
        }
        let changes = slots.changes.clone();
        Ok(Known { file, seen: changes.count(), changes, fd })
    }

    /// Puts a description under the lowest free number that is at least `from` and below `limit`.
    ///
    /// # Errors
    /// EMFILE.
    pub fn insert(
        &self,
        file: Arc<OpenFile>,
        is_cloexec: bool,
        from: usize,
        limit: u64,
    ) -> Result<i32, Errno> {
        let mut slots = self.slots.lock();
        let fd = slots.free_from(from, limit.min(i32::MAX as u64))?;
        slots.put(fd, Slot { file, is_cloexec });
        Ok(fd as i32)
    }

    /// Whether [`insert`](Self::insert) would find a number.
    ///
    /// # Errors
    /// EMFILE.
    pub fn check_room(&self, limit: u64) -> Result<(), Errno> {
        let fd = self.slots.lock().find_from(0);
        if (fd as u64) < limit.min(i32::MAX as u64) { Ok(()) } else { Err(Errno::EMFILE) }
    }

    /// Puts a description under a number; what was there is closed.
    pub fn replace(&self, fd: i32, file: Arc<OpenFile>, is_cloexec: bool) {
        let Ok(index) = usize::try_from(fd) else { return };
        let old = self.slots.lock().put(index, Slot { file, is_cloexec });
        self.closed(old);
    }

    /// Closes a descriptor.
    ///
    /// # Errors
    /// EBADF.
    pub fn close(&self, fd: i32) -> Result<(), Errno> {
        let index = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        let old = self.slots.lock().take(index);
        if old.is_none() {
            return Err(Errno::EBADF);
        }
        self.closed(old);
        Ok(())
    }

    /// Closes all descriptors from `first` to `last`.
    pub fn close_range(&self, first: u32, last: u32) {
        let mut gone = Vec::new();
        let mut slots = self.slots.lock();
        let end = slots.entries.len().min((last as usize).saturating_add(1));
        for fd in first as usize..end {
            gone.push(slots.take(fd));
        }
        drop(slots);
        gone.into_iter().for_each(|slot| self.closed(slot));
    }

    /// Closes what has close-on-exec, as execve does.
    pub fn close_on_exec(&self) {
        let mut gone = Vec::new();
        let mut slots = self.slots.lock();
        for fd in 0..slots.entries.len() {
            if slots.entries[fd].as_ref().is_some_and(|slot| slot.is_cloexec) {
                gone.push(slots.take(fd));
            }
        }
        drop(slots);
        gone.into_iter().for_each(|slot| self.closed(slot));
    }

    /// Closes everything, as the end of a process does.
    pub fn close_all(&self) {
        self.close_range(0, u32::MAX);
    }

    /// Close-on-exec flag.
    ///
    /// # Errors
    /// EBADF.
    pub fn is_cloexec(&self, fd: i32) -> Result<bool, Errno> {
        self.slots.lock().get(fd).map(|slot| slot.is_cloexec)
    }

    /// Sets the close-on-exec flag.
    ///
    /// # Errors
    /// EBADF.
    pub fn set_cloexec(&self, fd: i32, is_cloexec: bool) -> Result<(), Errno> {
        let mut slots = self.slots.lock();
        let slot = usize::try_from(fd).ok().and_then(|fd| slots.entries.get_mut(fd)?.as_mut());
        slot.map(|slot| slot.is_cloexec = is_cloexec).ok_or(Errno::EBADF)
    }

    /// Sets the close-on-exec flag of a range.
    pub fn set_cloexec_range(&self, first: u32, last: u32) {
        let mut slots = self.slots.lock();
        let end = slots.entries.len().min((last as usize).saturating_add(1));
        for slot in slots.entries.iter_mut().take(end).skip(first as usize).flatten() {
            slot.is_cloexec = true;
        }
    }

    /// Open descriptors, ascending.
    #[must_use]
    pub fn open_fds(&self) -> Vec<(i32, Arc<OpenFile>)> {
        let slots = self.slots.lock();
        let entries = slots.entries.iter().enumerate();
        entries.filter_map(|(fd, slot)| Some((fd as i32, slot.as_ref()?.file.clone()))).collect()
    }

    /// A descriptor left the table: POSIX locks of this table on the file end, whichever descriptor they
    /// were made through (fcntl(2)).
    fn closed(&self, slot: Option<Slot>) {
        let Some(slot) = slot else { return };
        if let Some(inode) = slot.file.file.inode() {
            locks::release(inode.key(), locks::Owner::Table(self.id));
        }
    }
}

/// A descriptor as it was when it was looked up.
pub struct Known {
    /// The description.
    pub file: Arc<OpenFile>,
    fd: i32,
    changes: Changes,
    seen: u64,
}

impl Known {
    /// The descriptor.
    #[must_use]
    pub fn fd(&self) -> i32 {
        self.fd
    }

    /// Whether `fd` still means this.
    #[must_use]
    pub fn is(&self, fd: i32) -> bool {
        self.fd == fd && self.is_current()
    }

    /// Whether the descriptor still means this.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.changes.count() == self.seen
    }
}

/// What mmap(2) needs of a descriptor.
pub struct Mappable {
    /// The pages.
    pub pages: Arc<dyn PageSource>,
    /// Path for /proc/PID/maps.
    pub path: Vec<u8>,
    /// Opened for reading (EACCES otherwise).
    pub is_readable: bool,
    /// Opened for writing (a shared writable mapping needs it).
    pub is_writable: bool,
    /// On a mount without execution (PROT_EXEC is EPERM).
    pub is_noexec: bool,
}

impl Table {
    /// What mmap(2) maps.
    ///
    /// # Errors
    /// EBADF; ENODEV where the object cannot be mapped.
    pub fn mappable(&self, caller: &Caller, fd: i32) -> Result<Mappable, Errno> {
        let open = self.get(fd)?;
        if open.is_path() {
            return Err(Errno::EBADF);
        }
        Ok(Mappable {
            pages: open.file.pages().ok_or(Errno::ENODEV)?,
            path: open.path(caller),
            is_readable: open.is_readable(),
            is_writable: open.is_writable(),
            is_noexec: open.location.as_ref().is_some_and(|at| at.mount.flags.is_noexec),
        })
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.close_all();
    }
}
