//! Threads of programs as the file layer sees them, and what the process side asks of the file layer.

use super::context::{Caller, Executable, FsContext};
use super::fd::{OpenFile, Table};
use super::flags::{AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW};
use super::ops::open::{open_program, program_at};
use super::socket::inet::network::Network;
use super::task::{Alarm, TakenSignal, Task};
use super::walk::path_of;
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::platform::Platform;
use crate::process::Credentials;
use crate::signal::info::Fields;
use crate::signal::{Disposition, Info, Set};
use crate::syscall::SysResult;
use crate::thread::Seat;
use crate::usermem::UserMemory;
use crate::wait::{WaitError, WaitQueue};
use alloc::boxed::Box;
use alloc::sync::Arc;

const RLIMIT_FSIZE: u32 = 1;
const RLIMIT_NOFILE: u32 = 7;

impl Alarm for Kernel {
    fn at(&'static self, deadline_ns: u64, job: Box<dyn FnOnce() + Send>) -> Result<(), Errno> {
        self.timers.at(self, deadline_ns, job).map(drop)
    }
}

impl Task for Seat {
    fn platform(&self) -> &'static dyn Platform {
        self.thread.kernel.platform
    }

    fn pid(&self) -> u32 {
        self.thread.process.pid
    }

    fn tid(&self) -> u32 {
        self.thread.tid
    }

    fn files(&self) -> Arc<Table> {
        // Whoever has the table may close what is at hand.
        self.hand.clear();
        self.thread.process.files()
    }

    fn with_file(&self, fd: i32, body: &mut dyn FnMut(&OpenFile) -> SysResult) -> SysResult {
        if let Some(known) = self.hand.take(fd) {
            return self.hand.lend(known, body);
        }
        let is_alone = self.is_alone();
        let files = self.thread.process.files.lock();
        if is_alone && Arc::strong_count(&files) == 1 {
            let known = Box::new(files.get_known(fd)?);
            drop(files);
            return self.hand.lend(known, body);
        }
        let file = files.get_file(fd)?;
        drop(files);
        body(&file)
    }

    fn unshare_files(&self) -> Arc<Table> {
        self.hand.clear();
        let mut files = self.thread.process.files.lock();
        let copy = Arc::new(files.duplicate());
        *files = copy.clone();
        copy
    }

    fn fs(&self) -> Arc<FsContext> {
        self.thread.process.fs()
    }

    fn network(&self) -> Arc<Network> {
        self.thread.kernel.network.clone()
    }

    fn credentials(&self) -> Credentials {
        self.thread.process.credentials.lock().clone()
    }

    fn limit_nofile(&self) -> u64 {
        self.thread.process.rlimit(RLIMIT_NOFILE)
    }

    fn limit_fsize(&self) -> u64 {
        self.thread.process.rlimit(RLIMIT_FSIZE)
    }

    fn memory(&self) -> &dyn UserMemory {
        self
    }

    fn wait(
        &self,
        queues: &[&WaitQueue],
        deadline_ns: Option<u64>,
        attempt: &mut dyn FnMut() -> bool,
    ) -> Result<(), WaitError> {
        self.thread.wait(queues, deadline_ns, || attempt().then_some(()))
    }

    fn set_wait_mask(&self, mask: u64) {
        self.thread.replace_mask(Set(mask));
    }

    fn signal_self(&self, signo: u8) {
        // A full queue loses a real-time signal, which the file layer does not send.
        let _ = self.thread.signal(Info::kernel(signo));
    }

    fn signal_group(&self, pgid: u32, signo: u8) -> bool {
        self.thread.kernel.signal_group(pgid, Info::kernel(signo))
    }

    fn is_signal_ignored(&self, signo: u8) -> bool {
        self.thread.blocks(signo)
            || self.thread.process.actions().lock().disposition(signo) == Disposition::Ignore
    }

    fn take_signal(&self, mask: u64) -> Option<TakenSignal> {
        let info = self.thread.take_pending(Set(mask))?;
        let mut taken = TakenSignal {
            signo: info.signal.into(),
            errno: info.errno,
            code: info.code,
            ..TakenSignal::default()
        };
        match info.fields {
            Fields::Sender { pid, uid, value } => {
                (taken.pid, taken.uid, taken.value) = (pid, uid, value);
            }
            Fields::Child { pid, uid, status } => {
                (taken.pid, taken.uid, taken.status) = (pid, uid, status);
            }
            Fields::Timer { value, .. } => taken.value = value,
            Fields::Fault { .. } => {}
        }
        Some(taken)
    }

    fn has_signal(&self, mask: u64) -> bool {
        let own = self.thread.signals.lock().pending.set();
        !own.or(self.thread.process.pending_set()).and(Set(mask)).is_empty()
    }

    fn signal_queue(&self) -> Arc<WaitQueue> {
        self.thread.process.signal_queue.clone()
    }

    fn alarm(&self) -> &'static dyn Alarm {
        self.thread.kernel
    }

    fn pgid(&self) -> u32 {
        self.thread.process.job.lock().pgid
    }

    fn sid(&self) -> u32 {
        self.thread.process.job.lock().sid
    }

    fn session_of_group(&self, pgid: u32) -> Option<u32> {
        let processes = self.thread.kernel.processes.lock();
        let jobs = processes.values().map(|process| *process.job.lock());
        jobs.into_iter().find(|job| job.pgid == pgid).map(|job| job.sid)
    }

    fn is_group_orphaned(&self) -> bool {
        self.thread.process.is_orphaned()
    }
}

/// Opens a program for execve(2), execveat(2) or as an ELF interpreter. `flags` are AT_EMPTY_PATH and
/// AT_SYMLINK_NOFOLLOW; `directory` is AT_FDCWD or a descriptor.
///
/// # Errors
/// As execve(2): ENOENT, EACCES, ELOOP, ENOTDIR, ...
pub fn open_executable(
    task: &dyn Task,
    directory: i32,
    path: &[u8],
    flags: u32,
) -> Result<Executable, Errno> {
    let caller = Caller::of(task);
    let (location, file) = if path.is_empty() && flags & AT_EMPTY_PATH != 0 {
        let open = task.files().get(directory)?;
        program_at(&caller, open.location.clone().ok_or(Errno::EACCES)?)?
    } else {
        let start = match directory {
            AT_FDCWD => caller.fs.cwd(),
            _ if path.first() == Some(&b'/') => caller.fs.cwd(),
            fd => task.files().get(fd)?.location.clone().ok_or(Errno::ENOTDIR)?,
        };
        open_program(task, &start, path, flags & AT_SYMLINK_NOFOLLOW == 0)?
    };
    let pages = file.pages().ok_or(Errno::EACCES)?;
    let path = path_of(&caller, &location);
    Ok(Executable { pages, path, location })
}
