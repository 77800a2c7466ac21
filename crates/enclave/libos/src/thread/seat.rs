//! A thread's seat in the library OS: what belongs to the thread alone while it is in here.
//!
//! [`Thread`] is what others see of a thread and is shared. The seat is on the thread's own stack, so that
//! looking into it takes no lock and counts no reference.

use super::Thread;
use crate::errno::Errno;
use crate::platform::{Answer, SystemCalls, UserContext};
use crate::syscall::{Args, Handler, SysResult};
use alloc::sync::Arc;
use core::cell::Cell;
use core::sync::atomic::Ordering;

/// See the module's documentation.
pub struct Seat {
    /// Who sits here.
    pub thread: Arc<Thread>,
    /// A system call that was interrupted and may have to be made again: its number and the errno.
    pub(super) restart: Cell<Option<(u64, Errno)>>,
    /// The thread was interrupted in a trampoline: what comes next is the call's entry, which counts as
    /// not made yet.
    pub(super) is_in_trampoline: Cell<bool>,
    /// Page faults in a row at this address that nothing explains.
    pub(super) unexplained: Cell<(u64, u32)>,
}

impl Seat {
    /// A seat with nothing at hand.
    #[must_use]
    pub fn new(thread: Arc<Thread>) -> Self {
        Self {
            thread,
            restart: Cell::new(None),
            is_in_trampoline: Cell::new(false),
            unexplained: Cell::new((0, 0)),
        }
    }

    /// Gives everything up that is at hand.
    pub(super) fn leave(self) -> Arc<Thread> {
        self.thread
    }

    /// Makes the system call in `context`; RIP is after the instruction.
    pub(super) fn make(&self, context: &mut UserContext) {
        self.unexplained.set((0, 0));
        let number = context.regs.rax;
        let regs = &context.regs;
        let args = Args([regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9]);
        let syscalls = &self.thread.kernel.syscalls;
        syscalls.count(number);
        let result = match syscalls.handler(number) {
            Some(Handler::Plain(handler)) => handler(&self.thread, &args),
            Some(Handler::Seated(handler)) => handler(self, &args),
            Some(Handler::Registers(handler)) => handler(&self.thread, context, &args),
            None => Err(Errno::ENOSYS),
        };
        context.regs.rax = self.conclude(number, &args, result);
    }

    /// What the program finds in RAX.
    fn conclude(&self, number: u64, args: &Args, result: SysResult) -> u64 {
        #[cfg(feature = "trace")]
        self.thread.kernel.log_debug(format_args!(
            "TRACE {} {}({:x?}) = {:x?}",
            self.thread.tid,
            crate::syscall::names::name(number as u16).unwrap_or("?"),
            args.0,
            result
        ));
        let _ = args;
        match result {
            Ok(value) => value,
            Err(errno @ (Errno::ERESTARTSYS | Errno::ERESTARTNOINTR | Errno::ERESTARTNOHAND)) => {
                self.restart.set(Some((number, errno)));
                (-i64::from(Errno::EINTR.number())) as u64
            }
            Err(errno) => (-i64::from(errno.number())) as u64,
        }
    }

    /// Whether something comes before user mode.
    pub(super) fn has_business(&self) -> bool {
        let thread = &self.thread;
        thread.attention.load(Ordering::SeqCst)
            || !thread.is_resident()
            || self.restart.get().is_some()
    }
}

impl SystemCalls for Seat {
    fn call(&self, number: u64, args: &[u64; 6]) -> Answer {
        let syscalls = &self.thread.kernel.syscalls;
        let args = Args(*args);
        let handler = syscalls.handler(number);
        if matches!(handler, Some(Handler::Registers(_))) || self.is_in_trampoline.get() {
            return Answer::Decline;
        }
        self.unexplained.set((0, 0));
        syscalls.count(number);
        let result = match handler {
            Some(Handler::Plain(handler)) => handler(&self.thread, &args),
            Some(Handler::Seated(handler)) => handler(self, &args),
            Some(Handler::Registers(_)) | None => Err(Errno::ENOSYS),
        };
        let rax = self.conclude(number, &args, result);
        if self.has_business() { Answer::Leave(rax) } else { Answer::Stay(rax) }
    }
}
