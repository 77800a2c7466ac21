//! The life of a thread: user mode, system calls, exceptions, signals, and the end.

use super::Thread;
use crate::errno::Errno;
use crate::platform::{UserContext, UserExit};
use crate::process::exit;
use crate::signal::deliver;
use crate::syscall::{Args, Handler};
use crate::wait::ThreadRef;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

/// What a thread remembers between two visits to user mode.
#[derive(Default)]
pub(super) struct State {
    /// A system call that was interrupted and may have to be made again: its number and the errno.
    pub restart: Option<(u64, Errno)>,
    /// The thread was interrupted in a trampoline: what comes next is the call's entry, which counts as
    /// not made yet.
    pub is_in_trampoline: bool,
    /// Page faults in a row at this address that nothing explains.
    pub unexplained: (u64, u32),
}

/// Runs a thread to its end. `holds_place` says that a fork kept residency for it.
pub fn run(thread: Arc<Thread>, mut context: Box<UserContext>, holds_place: bool) {
    let platform = thread.kernel.platform;
    *thread.machine.lock() = Some(ThreadRef::current(platform));
    thread.running_since_ns.store(platform.monotonic_ns().max(1), Ordering::Relaxed);
    if holds_place {
        let mm = thread.mm();
        if mm.enter(true, || false).is_ok() {
            thread.settle(mm);
        }
    }
    let mut state = State::default();
    while thread.prepare(&mut context, &mut state) {
        match platform.run_user(&mut context) {
            UserExit::Syscall if state.is_in_trampoline => {
                // Back to the instruction, which stands there unmade.
                state.is_in_trampoline = false;
                context.regs.rip = context.regs.rip.wrapping_sub(2);
                thread.attention.store(true, Ordering::Relaxed);
            }
            UserExit::Syscall => thread.call(&mut context, &mut state),
            UserExit::Exception { vector, error_code, address } => {
                thread.exception(&mut context, &mut state, vector, error_code, address);
            }
            UserExit::Interrupted => thread.interrupted(&context, &mut state),
        }
    }
    exit::end_thread(&thread);
}

impl Thread {
    /// Makes the system call in `context`; RIP is after the instruction.
    pub(super) fn call(self: &Arc<Self>, context: &mut UserContext, state: &mut State) {
        state.unexplained = (0, 0);
        let number = context.regs.rax;
        let regs = &context.regs;
        let args = Args([regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9]);
        let result = match self.kernel.syscalls.find(number).map(|entry| entry.handler) {
            Some(Handler::Plain(handler)) => handler(self, &args),
            Some(Handler::Registers(handler)) => handler(self, context, &args),
            None => Err(Errno::ENOSYS),
        };
        #[cfg(feature = "trace")]
        self.kernel.log_debug(format_args!(
            "TRACE {} {}({:x?}) = {:x?}",
            self.tid,
            crate::syscall::names::name(number as u16).unwrap_or("?"),
            args.0,
            result
        ));
        context.regs.rax = match result {
            Ok(value) => value,
            Err(errno @ (Errno::ERESTARTSYS | Errno::ERESTARTNOINTR | Errno::ERESTARTNOHAND)) => {
                state.restart = Some((number, errno));
                (-i64::from(Errno::EINTR.number())) as u64
            }
            Err(errno) => (-i64::from(errno.number())) as u64,
        };
    }

    /// The thread was kicked, or the host interrupted it.
    fn interrupted(&self, context: &UserContext, state: &mut State) {
        if self.attention.load(Ordering::SeqCst) {
            // A signal must not see a trampoline: let the thread come to the call's entry first.
            state.is_in_trampoline = self.kernel.memory.images.site_of(context.regs.rip).is_some();
        }
        let mm = self.mm();
        if mm.stopped.load(Ordering::Relaxed) || mm.should_yield() {
            self.give_way();
        }
    }

    /// Does everything that comes before user mode; false when the thread has to end.
    fn prepare(self: &Arc<Self>, context: &mut UserContext, state: &mut State) -> bool {
        if !self.attention.load(Ordering::SeqCst) && state.restart.is_none() && self.is_resident() {
            return true;
        }
        loop {
            if (self.attention.swap(false, Ordering::SeqCst) || state.restart.is_some())
                && !state.is_in_trampoline
            {
                if self.must_end() {
                    return false;
                }
                if self.stand_while_stopped() {
                    continue;
                }
                deliver::deliver_pending(self, context, state.restart.take());
                if self.must_end() {
                    return false;
                }
                if self.attention.load(Ordering::SeqCst) {
                    continue;
                }
            }
            if self.is_resident() {
                return true;
            }
            let mm = self.mm();
            match mm.enter(false, || self.must_end()) {
                Ok(true) => self.settle(mm),
                Ok(false) => return false,
                Err(error) => {
                    self.kernel.log_error(format_args!(
                        "process {}: its memory cannot be brought back: {error:?}",
                        self.process.pid
                    ));
                    self.process.end(crate::process::killed(crate::signal::signo::SIGKILL, false));
                    return false;
                }
            }
        }
    }

    /// Waits while the process stands; whether it did.
    fn stand_while_stopped(&self) -> bool {
        let is_stopped = || self.process.life.lock().stopped.is_some();
        if !is_stopped() {
            return false;
        }
        self.leave_residency();
        let platform = self.kernel.platform;
        let queue = &self.process.events;
        crate::wait::wait_uninterrupted(platform, &[queue], None, || {
            (!is_stopped() || self.must_end()).then_some(())
        });
        self.running_since_ns.store(platform.monotonic_ns().max(1), Ordering::Relaxed);
        self.attention.store(true, Ordering::Relaxed);
        true
    }
}
