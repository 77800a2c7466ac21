//! A foreground process: signals go in, its end comes out.
//!
//! Signals are blocked and read from a descriptor before the process is made, and its end is read from a
//! pidfd: neither can be missed, however short the process lives.

use crate::error::{Error, Result};
use crate::sys::SignalFd;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, pidfd_send_signal, wait, waitpid};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

/// Blocks signals from its making on.
#[derive(Debug)]
pub struct Foreground {
    signals: SignalFd,
    notify: Option<crate::Notify>,
    terminal: Option<Proxy>,
}

/// The caller's terminal in raw mode, tied to the container's.
#[derive(Debug)]
struct Proxy {
    master: OwnedFd,
    saved: Option<Termios>,
    is_input_open: bool,
}

/// The exit status that stands for a wait status: the program's own, or 128 and the signal.
#[must_use]
pub fn exit_code(status: WaitStatus) -> i32 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 255,
    }
}

impl Foreground {
    /// Blocks signals and takes in orphans of the container (unless told not to): a process whose parent
    /// has gone must be waited for by someone.
    ///
    /// # Errors
    /// As `signalfd(2)`.
    pub fn new(is_subreaper: bool) -> Result<Self> {
        let signals = SignalFd::block_all().map_err(Error::os("block", "signals"))?;
        if is_subreaper {
            let _ = rustix::process::set_child_subreaper(Pid::from_raw(1));
        }
        Ok(Self { signals, notify: None, terminal: None })
    }

    /// Passes the program's readiness on while it waits.
    pub fn pass_readiness(&mut self, notify: Option<crate::Notify>) {
        self.notify = notify;
    }

    /// A pair of sockets for the terminal: one for `create`, one to receive from.
    ///
    /// # Errors
    /// As `socketpair(2)`.
    pub fn console_pair() -> Result<(OwnedFd, OwnedFd)> {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(Error::os("make", "a socket pair"))
    }

    /// Receives the terminal's master end and ties it to this process's own terminal, which becomes raw.
    ///
    /// # Errors
    /// Nothing came.
    pub fn attach(&mut self, socket: &OwnedFd) -> Result<()> {
        let (_, fds) = crate::console::receive_fds(socket.as_fd(), &mut [0u8; 64])
            .map_err(Error::os("receive", "the terminal"))?;
        let Some(master) = fds.into_iter().next() else {
            return Err(Error::os("receive", "the terminal")(Errno::BADF));
        };
        let stdin = rustix::stdio::stdin();
        let saved = tcgetattr(stdin).ok();
        if let Some(saved) = &saved {
            let mut raw = saved.clone();
            raw.make_raw();
            let _ = tcsetattr(stdin, OptionalActions::Now, &raw);
        }
        self.terminal = Some(Proxy { master, saved, is_input_open: true });
        self.resize();
        Ok(())
    }

    fn resize(&self) {
        if let Some(proxy) = &self.terminal
            && let Ok(size) = tcgetwinsize(rustix::stdio::stdin())
        {
            let _ = tcsetwinsize(&proxy.master, size);
        }
    }

    /// Waits for the end of a child of this process, passing signals to it. Gives its wait status.
    ///
    /// # Errors
    /// As `poll(2)`.
    pub fn wait(&mut self, pid: Pid, pidfd: &OwnedFd) -> Result<WaitStatus> {
        let failed = |e| Error::os("wait for", "the process")(e);
        loop {
            let mut fds = vec![
                PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            ];
            let mut has_input = false;
            if let Some(proxy) = &self.terminal {
                fds.push(PollFd::from_borrowed_fd(proxy.master.as_fd(), PollFlags::IN));
                if proxy.is_input_open {
                    has_input = true;
                    fds.push(PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::IN));
                }
            }
            let notify_at = fds.len();
            if let Some(notify) = &self.notify {
                fds.push(PollFd::from_borrowed_fd(notify.as_fd(), PollFlags::IN));
            }
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(failed(e)),
            }
            let ready: Vec<bool> = fds.iter().map(|f| !f.revents().is_empty()).collect();
            drop(fds);
            if ready.get(notify_at) == Some(&true)
                && self.notify.as_ref().is_some_and(crate::Notify::is_ready)
            {
                self.notify = None;
            }
            if self.terminal.is_some() && ready.get(2) == Some(&true) {
                self.pump_output();
            }
            if has_input && ready.get(3) == Some(&true) {
                self.pump_input();
            }
            if ready.get(1) == Some(&true) {
                self.forward(pid, pidfd);
            }
            if ready.first() == Some(&true) {
                let status = rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()));
                // What the program wrote last is still in the terminal.
                while self.pump_output() {}
                return match status {
                    Ok(Some((_, status))) => Ok(status),
                    Ok(None) => Err(failed(Errno::CHILD)),
                    Err(e) => Err(failed(e)),
                };
            }
        }
    }

    /// Reads signals: the end of orphans is collected, a resize goes to the terminal, the rest to the
    /// process.
    fn forward(&self, pid: Pid, pidfd: &OwnedFd) {
        while let Ok(Some(info)) = self.signals.next() {
            match info.signal {
                libc::SIGCHLD => self.reap_others(pid),
                libc::SIGWINCH if self.terminal.is_some() => self.resize(),
                // Go programs that run us send these to themselves for scheduling; and SIGPIPE is ours.
                libc::SIGURG | libc::SIGPIPE => {}
                other => {
                    let signal = Signal::from_named_raw(other)
                        .or_else(|| crate::sys::signal_from_raw(other));
                    if let Some(signal) = signal {
                        let _ = pidfd_send_signal(pidfd, signal);
                    }
                }
            }
        }
    }

    /// Collects ended orphans, but never the process itself, whose status is wanted.
    fn reap_others(&self, pid: Pid) {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let peek = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        while let Ok(Some(_)) = waitid(WaitId::All, peek) {
            // `waitid` does not say whose status it is here; ask for the main process first.
            let main = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            if matches!(waitid(WaitId::Pid(pid), main), Ok(Some(_)) | Err(_)) {
                return;
            }
            if !matches!(wait(WaitOptions::NOHANG), Ok(Some(_))) {
                return;
            }
        }
    }

    fn pump_output(&mut self) -> bool {
        let Some(proxy) = &self.terminal else { return false };
        let mut poll_fd = [PollFd::from_borrowed_fd(proxy.master.as_fd(), PollFlags::IN)];
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        if !matches!(poll(&mut poll_fd, Some(&now)), Ok(n) if n > 0)
            || !poll_fd[0].revents().contains(PollFlags::IN)
        {
            // Only "hung up" is left: nothing more will come.
            if poll_fd[0].revents().contains(PollFlags::HUP) {
                self.close_terminal();
            }
            return false;
        }
        let mut buffer = [0u8; 8192];
        match rustix::io::read(&proxy.master, &mut buffer) {
            Ok(n) if n > 0 => {
                write_all(buffer.get(..n).unwrap_or_default());
                true
            }
            _ => {
                self.close_terminal();
                false
            }
        }
    }

    fn pump_input(&mut self) {
        let Some(proxy) = &mut self.terminal else { return };
        let mut buffer = [0u8; 4096];
        match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
            Ok(n) if n > 0 => {
                let _ = rustix::io::write(&proxy.master, buffer.get(..n).unwrap_or_default());
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            _ => proxy.is_input_open = false,
        }
    }

    fn close_terminal(&mut self) {
        if let Some(proxy) = self.terminal.take() {
            proxy.restore();
        }
    }
}

impl Proxy {
    fn restore(&self) {
        if let Some(saved) = &self.saved {
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, saved);
        }
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        self.close_terminal();
    }
}

fn write_all(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), bytes) {
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}
