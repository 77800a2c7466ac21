//! A thread's host-call block: memory shared with the enclave.

use hostcall::host::Server;
use hostcall::{BLOCK_SIZE, DATA_SIZE, RawBlock};
use rustix::io::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};

/// One mapped block, unmapped when dropped: after the last entry with its address.
pub(crate) struct Block {
    address: u64,
    server: Server<RawBlock>,
}

impl Block {
    /// Maps a fresh block.
    pub(crate) fn new() -> Result<Self, Errno> {
        // SAFETY: a new private anonymous mapping at an address of the kernel's choice aliases nothing.
        let mapped = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                BLOCK_SIZE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if mapped == libc::MAP_FAILED {
            return Err(last_errno());
        }
        let address = mapped as u64;
        // SAFETY: the mapping is BLOCK_SIZE bytes, readable and writable, holds no Rust object and lives until
        // `drop`, which is the last use of the block.
        let raw =
            unsafe { RawBlock::from_address(address) }.expect("mmap gives an aligned address");
        Ok(Self { address, server: Server::new(raw) })
    }

    /// The address handed to the enclave at the first entry.
    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    /// The host's half of the ABI.
    pub(crate) fn server(&self) -> &Server<RawBlock> {
        &self.server
    }

    /// `pread(2)` into the data area until `length` bytes or the end of the file.
    pub(crate) fn fill_from_file(
        &self,
        fd: BorrowedFd<'_>,
        offset: u64,
        length: usize,
    ) -> Result<usize, Errno> {
        let length = length.min(DATA_SIZE);
        let mut filled = 0;
        while filled < length {
            let at = i64::try_from(offset + filled as u64).map_err(|_| Errno::INVAL)?;
            // SAFETY: `[filled, length)` lies in the data area of the live block, which is not a Rust object;
            // the kernel writes at most that much.
            let got = unsafe {
                let start = self.server.block().data().add(filled);
                libc::pread(fd.as_raw_fd(), start.cast(), length - filled, at)
            };
            match usize::try_from(got) {
                Ok(0) => break,
                Ok(got) => filled += got,
                Err(_) if last_errno() == Errno::INTR => {}
                Err(_) => return Err(last_errno()),
            }
        }
        Ok(filled)
    }

    /// One `preadv2(2)` at the current position into the data area, with `flags` (`RWF_NOWAIT`).
    pub(crate) fn fill_from_stream(
        &self,
        fd: BorrowedFd<'_>,
        length: usize,
        flags: i32,
    ) -> Result<usize, Errno> {
        let vector = libc::iovec {
            iov_base: self.server.block().data().cast(),
            iov_len: length.min(DATA_SIZE),
        };
        // SAFETY: the vector names at most the data area of the live block, which is not a Rust object.
        let got = unsafe { libc::preadv2(fd.as_raw_fd(), &vector, 1, -1, flags) };
        usize::try_from(got).map_err(|_| last_errno())
    }

    /// One `recv(2)` into the data area, with `flags`.
    pub(crate) fn fill_from_socket(
        &self,
        fd: BorrowedFd<'_>,
        length: usize,
        flags: i32,
    ) -> Result<usize, Errno> {
        let data = self.server.block().data().cast();
        // SAFETY: at most the data area of the live block is written, and it is not a Rust object.
        let got = unsafe { libc::recv(fd.as_raw_fd(), data, length.min(DATA_SIZE), flags) };
        usize::try_from(got).map_err(|_| last_errno())
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and nothing uses the block after the value is gone.
        unsafe { libc::munmap(self.address as *mut libc::c_void, BLOCK_SIZE) };
    }
}

/// `errno` of the call that just failed on this thread.
pub(crate) fn last_errno() -> Errno {
    std::io::Error::last_os_error().raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}
