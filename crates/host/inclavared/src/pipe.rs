//! Pipes for splice(2): the kernel moves pages from socket to socket through one, and no byte comes up here.
//!
//! A pipe costs two descriptors and up to [`SIZE`] of the kernel's memory, so a connection has one only while
//! there is something in it. Each thread keeps a few that are empty, and has at most [`MOST`] in use; who gets
//! none copies.

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags};
use std::cell::RefCell;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// What a pipe is asked to hold, in bytes. The kernel may give less.
const SIZE: usize = 256 << 10;

/// Pipes in use at once, per thread.
pub const MOST: usize = 512;

/// Empty pipes kept, per thread.
const KEPT: usize = 64;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { empty: Vec::new(), used: 0 }) };
}

struct Pool {
    empty: Vec<Ends>,
    used: usize,
}

#[derive(Debug)]
struct Ends {
    read: OwnedFd,
    write: OwnedFd,
}

/// A pipe, and how many bytes are in it. Dropped with bytes in it, it is closed, so that nobody gets them.
#[derive(Debug)]
pub(crate) struct Pipe {
    ends: Option<Ends>,
    filled: usize,
}

impl Pipe {
    /// An empty one; `None`: there are too many, or no descriptors.
    pub(crate) fn take() -> Option<Self> {
        POOL.with_borrow_mut(|pool| {
            if pool.used >= MOST {
                return None;
            }
            let ends = match pool.empty.pop() {
                Some(ends) => ends,
                None => make()?,
            };
            pool.used += 1;
            Some(Self { ends: Some(ends), filled: 0 })
        })
    }

    pub(crate) const fn filled(&self) -> usize {
        self.filled
    }

    /// Moves bytes in; 0: the socket's peer has ended.
    pub(crate) fn fill(&mut self, from: BorrowedFd<'_>) -> io::Result<usize> {
        let count = splice(from, &self.ends().write, SIZE)?;
        self.filled += count;
        Ok(count)
    }

    /// Moves bytes out.
    pub(crate) fn drain(&mut self, to: BorrowedFd<'_>) -> io::Result<usize> {
        let count = splice(&self.ends().read, to, self.filled)?;
        self.filled -= count;
        Ok(count)
    }

    /// Takes the bytes out by copying, for a socket that cannot be spliced to.
    pub(crate) fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.filled];
        let mut rest = &mut bytes[..];
        while !rest.is_empty() {
            let count = rustix::io::read(&self.ends().read, &mut *rest)?;
            rest = &mut rest[count..];
        }
        self.filled = 0;
        Ok(bytes)
    }

    fn ends(&self) -> &Ends {
        self.ends.as_ref().expect("taken by drop alone")
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let ends = self.ends.take();
        POOL.with_borrow_mut(|pool| {
            pool.used -= 1;
            if self.filled == 0 && pool.empty.len() < KEPT {
                pool.empty.extend(ends);
            }
        });
    }
}

fn make() -> Option<Ends> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).ok()?;
    // Users without privilege may get a smaller one: slower, and right all the same.
    let _ = rustix::pipe::fcntl_setpipe_size(&write, SIZE);
    Some(Ends { read, write })
}

fn splice(
    from: impl std::os::fd::AsFd,
    to: impl std::os::fd::AsFd,
    most: usize,
) -> io::Result<usize> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    loop {
        match rustix::pipe::splice(&from, None, &to, None, most, flags) {
            Err(Errno::INTR) => {}
            done => return Ok(done?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_pipe_with_bytes_in_it_is_not_used_again() {
        let (mut near, far) = UnixStream::pair().unwrap();
        near.write_all(b"secret").unwrap();
        let mut pipe = Pipe::take().unwrap();
        assert_eq!(pipe.fill(far.as_fd()).unwrap(), 6);
        drop(pipe);
        assert!(POOL.with_borrow(|pool| pool.empty.is_empty() && pool.used == 0));
        near.write_all(b"public").unwrap();
        let mut pipe = Pipe::take().unwrap();
        pipe.fill(far.as_fd()).unwrap();
        assert_eq!((pipe.read().unwrap(), pipe.filled()), (b"public".to_vec(), 0));
        drop(pipe);
        assert!(POOL.with_borrow(|pool| pool.empty.len() == 1 && pool.used == 0));
    }

    #[test]
    fn bytes_go_through() {
        let ((mut near, far), (out, mut end)) =
            (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        near.write_all(&[7; 1000]).unwrap();
        let mut pipe = Pipe::take().unwrap();
        assert_eq!(pipe.fill(far.as_fd()).unwrap(), 1000);
        assert_eq!(pipe.drain(out.as_fd()).unwrap(), 1000);
        let mut got = [0; 1000];
        end.read_exact(&mut got).unwrap();
        assert_eq!((got, pipe.filled()), ([7; 1000], 0));
    }

    #[test]
    fn there_are_only_so_many() {
        let all: Vec<_> = (0..MOST).map(|_| Pipe::take().unwrap()).collect();
        assert!(Pipe::take().is_none());
        drop(all);
        assert!(Pipe::take().is_some());
        assert_eq!(POOL.with_borrow(|pool| pool.empty.len()), KEPT);
    }
}
