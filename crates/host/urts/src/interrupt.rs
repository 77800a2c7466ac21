//! Waiting that another thread can end.
//!
//! A thread that waits on a descriptor also waits on an eventfd of its own. An interruption is remembered until
//! one wait has ended with EINTR, so that one between a thread's last look at its signals and its wait is not
//! lost; the price is an occasional late EINTR, which the ABI allows.

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// One thread's interruptions.
#[derive(Default)]
pub(crate) struct Interrupt {
    is_pending: AtomicBool,
    is_waiting: AtomicBool,
    wake: OnceLock<OwnedFd>,
}

impl Interrupt {
    /// Ends the present or else the next wait of the thread.
    pub(crate) fn interrupt(&self) {
        // The waiter stores `is_waiting` and then loads `is_pending`; with both orders total, either it sees
        // this store or this load sees it waiting.
        self.is_pending.store(true, Ordering::SeqCst);
        if self.is_waiting.load(Ordering::SeqCst)
            && let Some(wake) = self.wake.get()
        {
            // A full counter already wakes.
            let _ = rustix::io::write(wake, &1_u64.to_ne_bytes());
        }
    }

    /// Takes a remembered interruption.
    pub(crate) fn take(&self) -> bool {
        self.is_pending.swap(false, Ordering::SeqCst)
    }

    /// Waits until `fd` has any of `events`, or an error or hang-up.
    ///
    /// # Errors
    /// EINTR after [`interrupt`](Self::interrupt).
    pub(crate) fn wait(&self, fd: BorrowedFd<'_>, events: PollFlags) -> Result<(), Errno> {
        let wake = self.wake()?;
        self.is_waiting.store(true, Ordering::SeqCst);
        let result = loop {
            if self.take() {
                break Err(Errno::INTR);
            }
            let mut fds = [PollFd::from_borrowed_fd(fd, events), PollFd::new(&wake, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) if fds[1].revents().contains(PollFlags::IN) => {
                    let _ = rustix::io::read(wake, &mut [0; 8]);
                }
                Ok(_) if !fds[0].revents().is_empty() => break Ok(()),
                // A host signal for another purpose, or nothing: wait on.
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => break Err(errno),
            }
        };
        self.is_waiting.store(false, Ordering::SeqCst);
        result
    }

    fn wake(&self) -> Result<BorrowedFd<'_>, Errno> {
        use std::os::fd::AsFd;
        if let Some(wake) = self.wake.get() {
            return Ok(wake.as_fd());
        }
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(self.wake.get_or_init(|| fd).as_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn readiness_ends_a_wait() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        rustix::io::write(&writer, b"x").unwrap();
        assert_eq!(Interrupt::default().wait(reader.as_fd(), PollFlags::IN), Ok(()));
    }

    #[test]
    fn an_interruption_before_the_wait_is_not_lost_and_ends_one_wait_only() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let interrupt = Interrupt::default();
        interrupt.interrupt();
        assert_eq!(interrupt.wait(reader.as_fd(), PollFlags::IN), Err(Errno::INTR));
        rustix::io::write(&writer, b"x").unwrap();
        assert_eq!(interrupt.wait(reader.as_fd(), PollFlags::IN), Ok(()));
    }

    #[test]
    fn interruptions_race_with_waits_without_loss() {
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        let interrupt = Arc::new(Interrupt::default());
        let kicked = Arc::clone(&interrupt);
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for _ in 0..500 {
                assert_eq!(kicked.wait(reader.as_fd(), PollFlags::IN), Err(Errno::INTR));
                send.send(()).unwrap();
            }
        });
        for round in 0..500 {
            if round % 3 == 0 {
                std::thread::sleep(Duration::from_micros(30));
            }
            interrupt.interrupt();
            receive.recv_timeout(Duration::from_secs(10)).expect("the wait ends");
        }
    }
}
