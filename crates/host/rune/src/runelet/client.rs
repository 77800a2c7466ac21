//! runelet: the process that stands for an exec session outside the enclave. It ends as the session does,
//! and signals to it go to the session.

use super::frame;
use super::wire::{Attested, Ended, Execute, Request};
use container::sys::SignalFd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;

/// How long the agent may take for a report; the enclave itself is given up on before that.
const ATTEST_PATIENCE: Timespec = Timespec { tv_sec: 15, tv_nsec: 0 };

/// Runs a session over a connection to init-runelet and gives its exit code. Messages go to standard error.
pub(crate) fn run(connection: &OwnedFd, execute: Execute, streams: [BorrowedFd<'_>; 3]) -> i32 {
    match session(connection, execute, streams) {
        Ok(ended) => {
            if !ended.error.is_empty() {
                eprintln!("rune exec: {}", ended.error);
            }
            ended.exit_code
        }
        Err(error) => {
            eprintln!("rune exec: the enclave's agent: {}", std::io::Error::from(error));
            255
        }
    }
}

/// Asks for a report of the enclave. A peer that does not answer is given up on.
///
/// # Errors
/// The connection, or what the enclave's agent says.
pub(crate) fn attest(connection: &OwnedFd, target: &[u8; 512]) -> Result<Vec<u8>, String> {
    let io = |e: Errno| format!("the enclave's agent: {}", std::io::Error::from(e));
    frame::write(connection, &Request::Attest(target.to_vec()).to_bytes()).map_err(io)?;
    let mut fds = [PollFd::from_borrowed_fd(connection.as_fd(), PollFlags::IN)];
    if poll(&mut fds, Some(&ATTEST_PATIENCE)).map_err(io)? == 0 {
        return Err(io(Errno::TIMEDOUT));
    }
    let bytes = frame::read(connection).map_err(io)?.ok_or_else(|| io(Errno::CONNRESET))?;
    let attested = match Attested::parse(&bytes) {
        Ok(attested) => attested,
        // An agent that knows no such request answers as to an exec.
        Err(_) => {
            let ended = Ended::parse(&bytes).map_err(|_| io(Errno::PROTO))?;
            return Err(format!("the enclave's agent: {}", ended.error));
        }
    };
    if attested.error.is_empty() { Ok(attested.report) } else { Err(attested.error) }
}

fn session(
    connection: &OwnedFd,
    execute: Execute,
    streams: [BorrowedFd<'_>; 3],
) -> Result<Ended, Errno> {
    let signals = SignalFd::block_all()?;
    let (pipe_read, pipe_write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    frame::write(connection, &Request::Execute(execute).to_bytes())?;
    let [stdin, stdout, stderr] = streams;
    let named: [(&[u8], BorrowedFd<'_>); 4] = [
        (b"signal-pipe", pipe_read.as_fd()),
        (b"stdin", stdin),
        (b"stdout", stdout),
        (b"stderr", stderr),
    ];
    for (name, fd) in named {
        container::console::send_fds(connection.as_fd(), name, &[fd])?;
    }
    drop(pipe_read);
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(connection.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(e) => return Err(e),
        }
        let (has_answer, has_signal) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
        if has_signal {
            while let Some(info) = signals.next()? {
                if !matches!(info.signal, libc::SIGCHLD | libc::SIGPIPE | libc::SIGURG) {
                    let _ = frame::write(&pipe_write, &Request::Kill(info.signal).to_bytes());
                }
            }
        }
        if has_answer {
            let bytes = frame::read(connection)?.ok_or(Errno::CONNRESET)?;
            return Ended::parse(&bytes).map_err(|_| Errno::PROTO);
        }
    }
}
