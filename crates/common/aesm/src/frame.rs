//! Messages on a stream: length, `u32` little-endian, then that many bytes.
//!
//! A peer can send neither more than [`MAX_FRAME`] bytes nor make the other side wait beyond its deadline,
//! however slowly it sends.

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// The longest message in bytes. A quote has some 5,000.
pub const MAX_FRAME: usize = 64 * 1024;

/// How long to wait before connecting again to a listener that is busy.
const RETRY: Duration = Duration::from_millis(10);

/// Why a message did not come or go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// More than a message may have.
    TooLong {
        /// The most there may be, in bytes.
        limit: usize,
        /// What the peer announced, or what was to be sent.
        got: usize,
    },
    /// The peer closed without a byte.
    Closed,
    /// The peer closed in the middle.
    Truncated,
    /// The deadline passed.
    TimedOut,
    /// The stream broke.
    Io(io::ErrorKind),
}

impl core::fmt::Display for FrameError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::TooLong { limit, got } => {
                write!(f, "message length: expected at most {limit} bytes, got {got}")
            }
            Self::Closed => write!(f, "the peer closed without a message"),
            Self::Truncated => write!(f, "the peer closed before its message was complete"),
            Self::TimedOut => write!(f, "the peer took longer than its time"),
            Self::Io(kind) => kind.fmt(f),
        }
    }
}

impl core::error::Error for FrameError {}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Self::TimedOut,
            kind => Self::Io(kind),
        }
    }
}

/// Reads one message.
///
/// # Errors
/// The stream's, and a message longer than [`MAX_FRAME`], of which no byte is read.
pub fn read_frame(stream: &mut impl Read) -> Result<Vec<u8>, FrameError> {
    let mut length = [0; 4];
    // The first byte alone: whether there is any.
    let (first, rest) = length.split_at_mut(1);
    match stream.read_exact(first) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(FrameError::Closed);
        }
        other => other?,
    }
    stream.read_exact(rest)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_FRAME {
        return Err(FrameError::TooLong { limit: MAX_FRAME, got: length });
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// Writes one message.
///
/// # Errors
/// The stream's, and a message longer than [`MAX_FRAME`].
pub fn write_frame(stream: &mut impl Write, message: &[u8]) -> Result<(), FrameError> {
    if message.len() > MAX_FRAME {
        return Err(FrameError::TooLong { limit: MAX_FRAME, got: message.len() });
    }
    let mut frame = Vec::with_capacity(4 + message.len());
    frame.extend((message.len() as u32).to_le_bytes());
    frame.extend(message);
    Ok(stream.write_all(&frame)?)
}

/// A stream whose reads and writes end at a point in time, all together.
pub(crate) struct Timed {
    stream: UnixStream,
    deadline: Instant,
}

impl Timed {
    /// Connects, which counts too. The standard library's way waits as long as a listener does not accept.
    pub(crate) fn connect(socket: &Path, limit: Duration) -> io::Result<Self> {
        let deadline = Instant::now() + limit;
        let address = SocketAddrUnix::new(socket)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        loop {
            match connect(&fd, &address) {
                Ok(()) => break,
                // The listener's queue is full; nothing tells when it no longer is.
                Err(Errno::AGAIN) if Instant::now() < deadline => std::thread::sleep(RETRY),
                Err(Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
                Err(error) => return Err(error.into()),
            }
        }
        // From here on the timeouts of the socket do. Not `UnixStream::set_nonblocking`: it is an ioctl, which
        // a runtime's seccomp profile may narrow to terminals.
        fcntl_setfl(&fd, OFlags::empty())?;
        Ok(Self { stream: UnixStream::from(fd), deadline })
    }

    pub(crate) fn new(stream: UnixStream, limit: Duration) -> Self {
        Self { stream, deadline: Instant::now() + limit }
    }

    /// What is left; a timeout of zero means none to the kernel, so that is an error here.
    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, b"abc").expect("written");
        assert_eq!(bytes, b"\x03\0\0\0abc");
        assert_eq!(read_frame(&mut &bytes[..]), Ok(b"abc".to_vec()));
    }

    #[test]
    fn a_cut_message_is_truncated() {
        assert_eq!(read_frame(&mut &b""[..]), Err(FrameError::Closed));
        for end in 1..7 {
            assert_eq!(read_frame(&mut &b"\x03\0\0\0abc"[..end]), Err(FrameError::Truncated));
        }
    }

    #[test]
    fn too_long_is_refused_before_it_is_read() {
        let mut stream = &b"\x01\0\x01\0abc"[..];
        let refusal = FrameError::TooLong { limit: MAX_FRAME, got: MAX_FRAME + 1 };
        assert_eq!(read_frame(&mut stream), Err(refusal));
        assert_eq!(stream, b"abc");
        assert_eq!(write_frame(&mut Vec::new(), &vec![0; MAX_FRAME + 1]), Err(refusal));
    }

    #[test]
    fn slow_bytes_do_not_move_the_deadline() {
        let (near, mut far) = UnixStream::pair().expect("a pair");
        let mut near = Timed::new(near, Duration::from_millis(50));
        let sender = std::thread::spawn(move || {
            // Each byte comes well before a timeout of its own would.
            while far.write_all(b"\x01").is_ok() {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let mut message = [0; 4096];
        let error = near.read_exact(&mut message).expect_err("the deadline passes");
        assert_eq!(FrameError::from(error), FrameError::TimedOut);
        drop(near);
        sender.join().expect("ends when the near end is closed");
    }
}
