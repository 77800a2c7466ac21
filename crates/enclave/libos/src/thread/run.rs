//! The life of a thread: user mode, system calls, exceptions, signals, and the end.

use super::{Seat, Thread};
use crate::platform::{UserContext, UserExit};
use crate::process::exit;
use crate::signal::deliver;
use crate::wait::ThreadRef;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

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
    let seat = Seat::new(thread);
    while seat.prepare(&mut context) {
        match platform.run_user(&mut context, &seat) {
            UserExit::Syscall if seat.is_in_trampoline.get() => {
                // Back to the instruction, which stands there unmade.
                seat.is_in_trampoline.set(false);
                context.regs.rip = context.regs.rip.wrapping_sub(2);
                seat.thread.attention.store(true, Ordering::Relaxed);
            }
            UserExit::Syscall => seat.make(&mut context),
            UserExit::Called => {}
            UserExit::Exception { vector, error_code, address } => {
                seat.exception(&mut context, vector, error_code, address);
            }
            UserExit::Interrupted => seat.interrupted(&context),
        }
    }
    exit::end_thread(&seat.leave());
}

impl Seat {
    /// The thread was kicked, or the host interrupted it.
    fn interrupted(&self, context: &UserContext) {
        let thread = &self.thread;
        if thread.attention.load(Ordering::SeqCst) {
            // A signal must not see a trampoline: let the thread come to the call's entry first.
            let images = &thread.kernel.memory.images;
            self.is_in_trampoline.set(images.site_of(context.regs.rip).is_some());
        }
        let mm = thread.mm();
        if mm.stopped.load(Ordering::Relaxed) || mm.should_yield() {
            thread.give_way();
        }
    }

    /// Does everything that comes before user mode; false when the thread has to end.
    fn prepare(&self, context: &mut UserContext) -> bool {
        if !self.has_business() {
            return true;
        }
        let thread = &self.thread;
        loop {
            if (thread.attention.swap(false, Ordering::SeqCst) || self.restart.get().is_some())
                && !self.is_in_trampoline.get()
            {
                if thread.must_end() {
                    return false;
                }
                if thread.stand_while_stopped() {
                    continue;
                }
                deliver::deliver_pending(thread, context, self.restart.take());
                if thread.must_end() {
                    return false;
                }
                if thread.attention.load(Ordering::SeqCst) {
                    continue;
                }
            }
            if thread.is_resident() {
                return true;
            }
            let mm = thread.mm();
            match mm.enter(false, || thread.must_end()) {
                Ok(true) => thread.settle(mm),
                Ok(false) => return false,
                Err(error) => {
                    let process = &thread.process;
                    thread.kernel.log_error(format_args!(
                        "process {}: its memory cannot be brought back: {error:?}",
                        process.pid
                    ));
                    process.end(crate::process::killed(crate::signal::signo::SIGKILL, false));
                    return false;
                }
            }
        }
    }
}

impl Thread {
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
