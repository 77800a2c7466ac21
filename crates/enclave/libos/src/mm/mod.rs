//! Memory of programs.

use crate::errno::Errno;

/// The address space of one process (or of several: CLONE_VM).
pub struct Mm {}

impl Mm {
    /// Copies user memory into `into`.
    ///
    /// # Errors
    /// EFAULT where the range is not mapped readable; EIO where file pages fail verification.
    pub fn read(&self, _address: u64, _into: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::EFAULT)
    }

    /// Copies `from` into user memory.
    ///
    /// # Errors
    /// EFAULT where the range is not mapped writable.
    pub fn write(&self, _address: u64, _from: &[u8]) -> Result<(), Errno> {
        Err(Errno::EFAULT)
    }

    /// Fills user memory.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn fill(&self, _address: u64, _length: u64, _byte: u8) -> Result<(), Errno> {
        Err(Errno::EFAULT)
    }

    /// A fixed-size structure.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_array<const N: usize>(&self, address: u64) -> Result<[u8; N], Errno> {
        let mut bytes = [0; N];
        self.read(address, &mut bytes)?;
        Ok(bytes)
    }

    /// A little-endian word.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_u32(&self, address: u64) -> Result<u32, Errno> {
        self.read_array(address).map(u32::from_le_bytes)
    }

    /// A little-endian word.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_u64(&self, address: u64) -> Result<u64, Errno> {
        self.read_array(address).map(u64::from_le_bytes)
    }
}
