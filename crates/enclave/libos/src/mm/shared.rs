//! Shared memory: an object's pages have one place, which every mapping of it gets.

use super::Memory;
use super::va::GroupId;
use crate::errno::Errno;
use crate::fs::file::PageSource;
use crate::platform::{Access, PAGE_SIZE};
use crate::sync::Mutex;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use core::ops::Range;
use core::sync::atomic::Ordering;

/// Who the address allocator says has a shared object's place.
pub const SHARED: GroupId = GroupId(0);

/// Pages that several processes may map.
pub struct SharedObject {
    memory: &'static Memory,
    place: Range<u64>,
    pages: Mutex<BTreeMap<u64, Access>>,
    /// The file whose pages these are; None for anonymous memory.
    source: Option<Arc<dyn PageSource>>,
    /// Its name in futex keys.
    pub id: u64,
}

/// Addresses kept for a file to grow into, where there is room.
const GROWTH: u64 = 1 << 20;

impl SharedObject {
    /// An object of `length` bytes (whole pages) of zeros.
    ///
    /// # Errors
    /// ENOMEM without room for it.
    pub fn new(memory: &'static Memory, length: u64) -> Result<Arc<Self>, Errno> {
        Self::place_at(memory, length, None)
    }

    /// The object that is a file's pages: the same for all who map the file, while anyone does.
    ///
    /// # Errors
    /// ENOMEM without room; ENOTSUP, counted, where the file has its place and has outgrown it.
    pub fn of_file(
        memory: &'static Memory,
        source: &Arc<dyn PageSource>,
        length: u64,
    ) -> Result<Arc<Self>, Errno> {
        let mut files = memory.shared_files.lock();
        files.retain(|_, object| object.strong_count() > 0);
        if let Some(object) = files.get(&source.identity()).and_then(Weak::upgrade) {
            if object.place.end - object.place.start < length {
                memory.refused_shared.fetch_add(1, Ordering::Relaxed);
                return Err(Errno::EOPNOTSUPP);
            }
            return Ok(object);
        }
        let roomy = length.max(GROWTH).checked_next_power_of_two().ok_or(Errno::ENOMEM)?;
        let object = Self::place_at(memory, roomy, Some(source.clone()))
            .or_else(|_| Self::place_at(memory, length, Some(source.clone())))?;
        files.insert(source.identity(), Arc::downgrade(&object));
        Ok(object)
    }

    fn place_at(
        memory: &'static Memory,
        length: u64,
        source: Option<Arc<dyn PageSource>>,
    ) -> Result<Arc<Self>, Errno> {
        let start = memory.addresses.lock().allocate(length, None, SHARED).ok_or(Errno::ENOMEM)?;
        let (place, id) = (start..start + length, memory.next_id());
        Ok(Arc::new(Self { memory, place, pages: Mutex::default(), source, id }))
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> Range<u64> {
        self.place.clone()
    }

    /// Makes the page that holds `address` present with at least `access`. Whether anything changed: a
    /// fault that changed nothing was not the program's.
    ///
    /// # Errors
    /// ENOMEM without enclave memory; ENXIO past the end of the file; EIO where its page cannot be read.
    pub fn touch(&self, address: u64, access: Access) -> Result<bool, Errno> {
        let at = address & !(PAGE_SIZE - 1);
        let mut pages = self.pages.lock();
        let present = pages.get(&at).copied();
        let wider = present.map_or(access, |old| Access {
            read: old.read || access.read,
            write: old.write || access.write,
            execute: old.execute || access.execute,
        });
        if present == Some(wider) {
            return Ok(false);
        }
        if present.is_some() {
            self.memory.platform.protect(at..at + PAGE_SIZE, wider);
        } else {
            self.bring(at, wider)?;
        }
        pages.insert(at, wider);
        Ok(true)
    }

    fn bring(&self, at: u64, access: Access) -> Result<(), Errno> {
        let platform = self.memory.platform;
        let page = at..at + PAGE_SIZE;
        let index = (at - self.place.start) / PAGE_SIZE;
        let Some(source) = &self.source else {
            return platform.commit(page, access).map_err(|_| Errno::ENOMEM);
        };
        if index * PAGE_SIZE >= source.size() {
            return Err(Errno::ENXIO);
        }
        let open = Access { read: true, write: true, execute: false };
        platform.commit(page.clone(), open).map_err(|_| Errno::ENOMEM)?;
        if let Err(error) = source.share_page(index, at) {
            platform.release(page);
            return Err(error);
        }
        if access != open {
            platform.protect(page, access);
        }
        Ok(())
    }
}

impl Drop for SharedObject {
    fn drop(&mut self) {
        for at in self.pages.lock().keys() {
            if let Some(source) = &self.source {
                source.unshare_page((at - self.place.start) / PAGE_SIZE);
            }
            self.memory.platform.release(*at..*at + PAGE_SIZE);
        }
        self.memory.addresses.lock().release(self.place.clone());
    }
}
