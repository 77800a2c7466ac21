//! Frames and descriptors on a stream socket or pipe.

use super::wire::MAX_FRAME;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;

/// Writes a length and bytes.
pub(crate) fn write(fd: impl AsFd, bytes: &[u8]) -> Result<(), Errno> {
    let length = u32::try_from(bytes.len()).map_err(|_| Errno::MSGSIZE)?;
    let mut frame = length.to_le_bytes().to_vec();
    frame.extend_from_slice(bytes);
    let mut rest = frame.as_slice();
    while !rest.is_empty() {
        match rustix::io::write(&fd, rest) {
            Ok(n) => rest = rest.get(n..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Reads a frame whole; `None` at the end of the stream.
pub(crate) fn read(fd: impl AsFd) -> Result<Option<Vec<u8>>, Errno> {
    let mut length = [0u8; 4];
    if !read_exact(&fd, &mut length)? {
        return Ok(None);
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_FRAME {
        return Err(Errno::MSGSIZE);
    }
    let mut bytes = vec![0; length];
    if length != 0 && !read_exact(&fd, &mut bytes)? {
        return Err(Errno::CONNRESET);
    }
    Ok(Some(bytes))
}

/// Fills the buffer; false if the stream ended before its first byte.
fn read_exact(fd: impl AsFd, buffer: &mut [u8]) -> Result<bool, Errno> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|r| !r.is_empty()) {
        match rustix::io::read(&fd, rest) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(Errno::CONNRESET),
            Ok(n) => filled += n,
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

/// Receives one descriptor; what comes with it is its name.
pub(crate) fn receive_descriptor(socket: impl AsFd) -> Result<OwnedFd, Errno> {
    // The kernel ends a read of a stream where a message with descriptors ends: names never run together.
    let (n, fds) = container::console::receive_fds(socket.as_fd(), &mut [0u8; 256])?;
    if n == 0 {
        return Err(Errno::CONNRESET);
    }
    fds.into_iter().next().ok_or(Errno::BADF)
}
