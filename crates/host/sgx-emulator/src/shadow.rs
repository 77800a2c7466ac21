//! The table by which a gate finds the host thread: from the page of a GS base to the block of the thread
//! that is in the enclave with it.

use crate::block::Block;
use crate::gates::{SHADOW, SHADOW_PAGES};
use crate::space::PAGE;
use core::ffi::c_void;
use core::sync::atomic::{AtomicU64, Ordering};
use sgx::driver::DriverError;

/// One word per page of ELRANGE, touched only where a TCS has its GS base. At most one exists per process,
/// as ELRANGE does.
pub(crate) struct Shadow {
    words: *const AtomicU64,
    pages: u64,
}

// SAFETY: the table is plain shared memory of atomic words.
unsafe impl Send for Shadow {}
// SAFETY: as above.
unsafe impl Sync for Shadow {}

impl Shadow {
    pub(crate) fn map(size: u64) -> Result<Self, DriverError> {
        let pages = size / PAGE;
        // SAFETY: a fresh anonymous mapping, zero-filled, so every word is "no thread".
        let mapped = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                pages as usize * 8,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if mapped == libc::MAP_FAILED {
            let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::ENOMEM);
            return Err(DriverError::Os { operation: "mmap of the gates' thread table", errno });
        }
        SHADOW.store(mapped as u64, Ordering::Release);
        SHADOW_PAGES.store(pages, Ordering::Release);
        Ok(Self { words: mapped.cast::<AtomicU64>().cast_const(), pages })
    }

    /// Says whose the GS base is. `None`: nobody's; gates take the exact path.
    pub(crate) fn set(&self, gs_base: u64, block: Option<*mut Block>) {
        if gs_base.is_multiple_of(PAGE) && gs_base / PAGE < self.pages {
            let value = block.map_or(0, |block| block as u64);
            // SAFETY: the index is below the number of words.
            let word = unsafe { &*self.words.add((gs_base / PAGE) as usize) };
            if word.load(Ordering::Relaxed) != value {
                word.store(value, Ordering::Release);
            }
        }
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        SHADOW_PAGES.store(0, Ordering::Release);
        SHADOW.store(0, Ordering::Release);
        // SAFETY: `map` mapped it, and no enclave code that could look is left.
        unsafe { libc::munmap(self.words as *mut c_void, self.pages as usize * 8) };
    }
}
