//! Shared memory: an object's pages have one place, which every mapping of it gets.

use super::Memory;
use super::va::GroupId;
use crate::errno::Errno;
use crate::platform::{Access, PAGE_SIZE};
use crate::sync::Mutex;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::ops::Range;

/// Who the address allocator says has a shared object's place.
pub const SHARED: GroupId = GroupId(0);

/// Pages that several processes may map.
pub struct SharedObject {
    memory: &'static Memory,
    place: Range<u64>,
    pages: Mutex<BTreeMap<u64, Access>>,
    /// Its name in futex keys and /proc/PID/maps.
    pub id: u64,
}

impl SharedObject {
    /// An object of `length` bytes (whole pages) of zeros.
    ///
    /// # Errors
    /// ENOMEM without room for it.
    pub fn new(memory: &'static Memory, length: u64) -> Result<Arc<Self>, Errno> {
        let start = memory.addresses.lock().allocate(length, None, SHARED).ok_or(Errno::ENOMEM)?;
        let place = start..start + length;
        Ok(Arc::new(Self { memory, place, pages: Mutex::default(), id: memory.next_id() }))
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
    /// ENOMEM without enclave memory.
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
        if present.is_none() {
            self.memory.platform.commit(at..at + PAGE_SIZE, wider).map_err(|_| Errno::ENOMEM)?;
        } else {
            self.memory.platform.protect(at..at + PAGE_SIZE, wider);
        }
        pages.insert(at, wider);
        Ok(true)
    }
}

impl Drop for SharedObject {
    fn drop(&mut self) {
        for at in self.pages.lock().keys() {
            self.memory.platform.release(*at..*at + PAGE_SIZE);
        }
        self.memory.addresses.lock().release(self.place.clone());
    }
}
