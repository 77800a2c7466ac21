//! Delivery: what a thread does about its signals on the way to user mode.

use super::frame::{self, Delivery, RED_ZONE};
use super::{Action, DefaultAction, Disposition, Info, action::flags, signo};
use crate::errno::Errno;
use crate::platform::UserContext;
use crate::process::killed;
use crate::thread::{STACK_DISABLED, Thread};
use alloc::sync::Arc;

/// SS_ONSTACK.
const STACK_IN_USE: u32 = 1;
/// SS_AUTODISARM.
const STACK_AUTODISARM: u32 = 1 << 31;

/// The exception behind a signal, for the frame's trapno, err and cr2.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trap {
    /// Vector.
    pub vector: u8,
    /// Error code.
    pub error_code: u32,
    /// Address of a page fault.
    pub address: u64,
}

/// Delivers what is pending. `restart` is a call that was interrupted: number and errno; `context` holds
/// EINTR for it.
pub fn deliver_pending(
    thread: &Arc<Thread>,
    context: &mut UserContext,
    mut restart: Option<(u64, Errno)>,
) {
    while let Some(info) = thread.take_deliverable() {
        let signal = info.signal;
        let disposition = thread.process.actions().lock().disposition(signal);
        match disposition {
            Disposition::Ignore | Disposition::Default(DefaultAction::Ignore) => {}
            Disposition::Default(DefaultAction::Continue) => {}
            Disposition::Default(DefaultAction::Stop) => {
                if signal == signo::SIGSTOP || !thread.process.is_orphaned() {
                    thread.process.stop(signal);
                    break;
                }
            }
            Disposition::Default(kind) => {
                let dumped = kind == DefaultAction::Core;
                thread.process.end(killed(signal, dumped));
                return;
            }
            Disposition::Handle(action) => {
                if let Some((number, errno)) = restart.take()
                    && is_repeated(errno, &action)
                {
                    repeat(context, number);
                }
                enter_handler(thread, context, &info, &action, Trap::default());
            }
        }
    }
    if let Some((number, _)) = restart {
        repeat(context, number);
    }
    let mut signals = thread.signals.lock();
    if let Some(mask) = signals.saved.take() {
        signals.blocked = mask;
        drop(signals);
        // The old mask may let something through.
        if thread.is_interrupted() {
            thread.notify();
        }
    }
}

fn is_repeated(errno: Errno, action: &Action) -> bool {
    match errno {
        Errno::ERESTARTNOINTR => true,
        Errno::ERESTARTSYS => action.has(flags::SA_RESTART),
        _ => false,
    }
}

/// Puts the program back before the call, which `0F 05` at the site makes again.
fn repeat(context: &mut UserContext, number: u64) {
    context.regs.rax = number;
    context.regs.rip = context.regs.rip.wrapping_sub(2);
}

/// A signal that the thread's own instruction raised: it cannot be blocked or ignored.
pub fn force(thread: &Arc<Thread>, context: &mut UserContext, info: Info, trap: Trap) {
    let disposition = thread.process.actions().lock().disposition(info.signal);
    match disposition {
        Disposition::Handle(action) if !thread.blocks(info.signal) => {
            enter_handler(thread, context, &info, &action, trap);
        }
        _ => {
            thread.kernel.log_debug(format_args!(
                "process {} thread {}: {info:x?}, {trap:x?}, {:x?}",
                thread.process.pid, thread.tid, context.regs
            ));
            thread.process.end(killed(info.signal, true));
        }
    }
    thread.notify();
}

/// Builds the handler's frame; without room for it the process ends by SIGSEGV.
fn enter_handler(
    thread: &Arc<Thread>,
    context: &mut UserContext,
    info: &Info,
    action: &Action,
    trap: Trap,
) {
    let platform = thread.kernel.platform;
    if !context.xstate_is_full {
        platform.capture_xstate(context);
        context.xstate_is_full = true;
    }
    let mut signals = thread.signals.lock();
    let mask = signals.saved.take().unwrap_or(signals.blocked);
    let mut stack = signals.stack;
    let rsp = context.regs.rsp;
    let is_enabled = stack.flags & STACK_DISABLED == 0 && stack.size > 0;
    let on_stack = is_enabled && rsp > stack.base && rsp - stack.base <= stack.size;
    let switches = action.has(flags::SA_ONSTACK) && is_enabled && !on_stack;
    let top = if switches { stack.base + stack.size } else { rsp.wrapping_sub(RED_ZONE) };
    if on_stack {
        stack.flags |= STACK_IN_USE;
    }
    if is_enabled && stack.flags & STACK_AUTODISARM != 0 {
        signals.stack.flags = STACK_DISABLED;
    }
    let mut blocked = signals.blocked.or(action.mask);
    if !action.has(flags::SA_NODEFER) {
        blocked.insert(info.signal);
    }
    signals.blocked = blocked.without(super::Set::UNBLOCKABLE);
    drop(signals);

    let delivery = Delivery {
        signal: info.signal,
        handler: action.handler,
        restorer: action.restorer,
        info: &info.encode(),
        mask: mask.0,
        stack,
        trap: u64::from(trap.vector),
        error_code: u64::from(trap.error_code),
        address: trap.address,
    };
    let frame = frame::enter(context, &delivery, top, platform.xfrm());
    let overflows = (switches || on_stack) && frame.address < stack.base;
    if overflows || thread.mm().write(frame.address, &frame.bytes).is_err() {
        thread.kernel.log_debug(format_args!(
            "process {}: no room for a signal frame at {:#x}",
            thread.process.pid, frame.address
        ));
        thread.process.end(killed(signo::SIGSEGV, true));
        return;
    }
    context.xstate = platform.initial_xstate();
    if action.has(flags::SA_RESETHAND) {
        let reset = Action { handler: super::action::DEFAULT_HANDLER, ..*action };
        thread.process.actions().lock().set(info.signal, reset);
    }
}
