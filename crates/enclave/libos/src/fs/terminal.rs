//! Terminals: ioctls go to the host's line discipline, job control is ours.

use super::task::{Task, signo};
use crate::errno::Errno;
use crate::host::HostStream;
use crate::platform::Platform;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

const TCGETS: u32 = 0x5401;
const TCSETS: u32 = 0x5402;
const TCSETSW: u32 = 0x5403;
const TCSETSF: u32 = 0x5404;
const TCSBRK: u32 = 0x5409;
const TCXONC: u32 = 0x540a;
const TCFLSH: u32 = 0x540b;
const TIOCSCTTY: u32 = 0x540e;
const TIOCGPGRP: u32 = 0x540f;
const TIOCSPGRP: u32 = 0x5410;
const TIOCGWINSZ: u32 = 0x5413;
const TIOCSWINSZ: u32 = 0x5414;
const TIOCNOTTY: u32 = 0x5422;
const TIOCGSID: u32 = 0x5429;

/// Bytes of the kernel's `struct termios`.
const TERMIOS: usize = 36;
/// Offset of `c_lflag` in it.
const LFLAG: usize = 12;
const TOSTOP: u32 = 0o400;

/// A terminal of a host session.
pub struct Terminal {
    platform: &'static dyn Platform,
    stream: HostStream,
    /// Session it controls; 0 for none.
    session: AtomicU32,
    /// Foreground process group of that session.
    foreground: AtomicU32,
    /// TOSTOP, as last set through us.
    stops_writers: AtomicBool,
}

impl Terminal {
    pub(super) fn new(platform: &'static dyn Platform, stream: HostStream) -> Arc<Self> {
        Arc::new(Self {
            platform,
            stream,
            session: AtomicU32::new(0),
            foreground: AtomicU32::new(0),
            stops_writers: AtomicBool::new(false),
        })
    }

    /// Makes it the controlling terminal of a session, with a foreground group.
    pub fn control(&self, sid: u32, pgid: u32) {
        self.foreground.store(pgid, Ordering::Relaxed);
        self.session.store(sid, Ordering::Relaxed);
    }

    /// Session it controls; 0 for none.
    #[must_use]
    pub fn session(&self) -> u32 {
        self.session.load(Ordering::Relaxed)
    }

    /// Foreground process group: who gets the terminal's signals.
    #[must_use]
    pub fn foreground(&self) -> u32 {
        self.foreground.load(Ordering::Relaxed)
    }

    fn is_background(&self, task: &dyn Task) -> bool {
        self.session() == task.sid() && self.foreground() != task.pgid()
    }

    pub(super) fn admit_read(&self, task: &dyn Task) -> Result<(), Errno> {
        if !self.is_background(task) {
            return Ok(());
        }
        if task.is_signal_ignored(signo::SIGTTIN) || task.is_group_orphaned() {
            return Err(Errno::EIO);
        }
        task.signal_group(task.pgid(), signo::SIGTTIN);
        Err(Errno::ERESTARTSYS)
    }

    pub(super) fn admit_write(&self, task: &dyn Task) -> Result<(), Errno> {
        if self.stops_writers.load(Ordering::Relaxed) { self.admit_change(task) } else { Ok(()) }
    }

    /// What a background group must not do: change the terminal.
    fn admit_change(&self, task: &dyn Task) -> Result<(), Errno> {
        if !self.is_background(task) || task.is_signal_ignored(signo::SIGTTOU) {
            return Ok(());
        }
        if task.is_group_orphaned() {
            return Err(Errno::EIO);
        }
        task.signal_group(task.pgid(), signo::SIGTTOU);
        Err(Errno::ERESTARTSYS)
    }

    pub(super) fn ioctl(&self, task: &dyn Task, request: u32, argument: u64) -> Result<u64, Errno> {
        match request {
            TCGETS => self.pass::<TERMIOS>(task, request, argument, true),
            TCSETS | TCSETSW | TCSETSF => {
                self.admit_change(task)?;
                let termios: [u8; TERMIOS] = task.read_array(argument)?;
                let mut lflag = [0; 4];
                lflag.copy_from_slice(&termios[LFLAG..LFLAG + 4]);
                let stops = u32::from_le_bytes(lflag) & TOSTOP != 0;
                self.pass::<TERMIOS>(task, request, argument, false)?;
                self.stops_writers.store(stops, Ordering::Relaxed);
                Ok(0)
            }
            TIOCGWINSZ => self.pass::<8>(task, request, argument, true),
            TIOCSWINSZ => {
                self.pass::<8>(task, request, argument, false)?;
                task.signal_group(self.foreground(), signo::SIGWINCH);
                Ok(0)
            }
            TCFLSH => {
                self.admit_change(task)?;
                let mut which = (argument as u32).to_le_bytes();
                self.platform.host().stream_ioctl(self.stream, request, &mut which)?;
                Ok(0)
            }
            // What was written is with the host already.
            TCSBRK | TCXONC => self.admit_change(task).map(|()| 0),
            TIOCGPGRP => {
                self.controls(task)?;
                task.write_user(argument, &self.foreground().to_le_bytes())?;
                Ok(0)
            }
            TIOCSPGRP => self.set_foreground(task, argument),
            TIOCGSID => {
                self.controls(task)?;
                task.write_user(argument, &self.session().to_le_bytes())?;
                Ok(0)
            }
            TIOCSCTTY => self.take(task),
            TIOCNOTTY => {
                self.controls(task)?;
                if task.pid() == task.sid() {
                    task.signal_group(self.foreground(), signo::SIGHUP);
                    task.signal_group(self.foreground(), signo::SIGCONT);
                    self.control(0, 0);
                }
                Ok(0)
            }
            _ => Err(Errno::ENOTTY),
        }
    }

    /// Whether it is the controlling terminal of the caller.
    fn controls(&self, task: &dyn Task) -> Result<(), Errno> {
        if self.session() == task.sid() { Ok(()) } else { Err(Errno::ENOTTY) }
    }

    fn take(&self, task: &dyn Task) -> Result<u64, Errno> {
        if self.session() == task.sid() {
            return Ok(0);
        }
        if task.pid() != task.sid() || self.session() != 0 {
            return Err(Errno::EPERM);
        }
        self.control(task.sid(), task.pgid());
        Ok(0)
    }

    fn set_foreground(&self, task: &dyn Task, argument: u64) -> Result<u64, Errno> {
        self.controls(task)?;
        self.admit_change(task)?;
        let pgid = u32::from_le_bytes(task.read_array(argument)?);
        if pgid as i32 <= 0 {
            return Err(Errno::EINVAL);
        }
        match task.session_of_group(pgid) {
            None => Err(Errno::ESRCH),
            Some(sid) if sid != task.sid() => Err(Errno::EPERM),
            Some(_) => {
                self.foreground.store(pgid, Ordering::Relaxed);
                Ok(0)
            }
        }
    }

    /// Passes a structure of `N` bytes to the host; `is_output` says which way.
    fn pass<const N: usize>(
        &self,
        task: &dyn Task,
        request: u32,
        argument: u64,
        is_output: bool,
    ) -> Result<u64, Errno> {
        let mut bytes = if is_output { [0; N] } else { task.read_array(argument)? };
        self.platform.host().stream_ioctl(self.stream, request, &mut bytes)?;
        if is_output {
            task.write_user(argument, &bytes)?;
        }
        Ok(0)
    }
}
