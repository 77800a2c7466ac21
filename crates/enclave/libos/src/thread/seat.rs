//! A thread's seat in the library OS: what belongs to the thread alone while it is in here.
//!
//! [`Thread`] is what others see of a thread and is shared. The seat is on the thread's own stack, so that
//! looking into it takes no lock and counts no reference.

use super::Thread;
use crate::errno::Errno;
use crate::fs::hand::Hand;
use crate::mm::Mm;
use crate::mm::window::Windows;
use crate::platform::{Answer, SystemCalls, UserContext};
use crate::syscall::{Args, Handler, SysResult};
use crate::usermem::UserMemory;
use alloc::sync::Arc;
use core::cell::{Cell, RefCell};
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
    /// The descriptions used last.
    pub(crate) hand: Hand,
    /// The mappings used last.
    windows: RefCell<Windows>,
    /// Whether nobody else can change what is remembered here.
    is_alone: Cell<bool>,
    /// How often that is taken to be false before anyone looks again.
    doubts: Cell<u32>,
}

/// Somebody may have looked at the process at the moment when it was asked whether anyone does.
const DOUBTS: u32 = 100;

impl Seat {
    /// A seat with nothing at hand.
    #[must_use]
    pub fn new(thread: Arc<Thread>) -> Self {
        Self {
            thread,
            restart: Cell::new(None),
            is_in_trampoline: Cell::new(false),
            unexplained: Cell::new((0, 0)),
            hand: Hand::default(),
            windows: RefCell::default(),
            is_alone: Cell::new(false),
            doubts: Cell::new(0),
        }
    }

    /// Gives everything up that is at hand.
    pub(super) fn leave(self) -> Arc<Thread> {
        self.thread
    }

    /// Forgets what was remembered: threads and processes may be made, or memory and descriptors replaced.
    fn clear(&self) {
        self.hand.clear();
        self.windows.replace(Windows::default());
        self.is_alone.set(false);
        self.doubts.set(0);
    }

    /// Whether this is the only thread of its process and nobody else has the process's memory. Both come
    /// to an end only by calls of this thread that begin with [`Seat::clear`].
    pub(crate) fn is_alone(&self) -> bool {
        if self.is_alone.get() {
            return true;
        }
        if self.doubts.get() > 0 {
            self.doubts.set(self.doubts.get() - 1);
            return false;
        }
        let process = &self.thread.process;
        let is_single = process.threads.lock().len() == 1;
        let mm = process.mm.lock();
        // The process's own, and that of the thread's residency.
        let holders = 1 + usize::from(self.thread.is_resident());
        let is_alone = is_single && Arc::strong_count(&mm) == holders;
        self.is_alone.set(is_alone);
        self.doubts.set(DOUBTS);
        is_alone
    }

    /// Memory of the process, for an access that went the long way; the next one there need not.
    fn long_way(&self, address: u64) -> Arc<Mm> {
        if self.is_alone() {
            self.windows.borrow_mut().look(&self.thread.process.mm.lock(), address);
        }
        self.thread.mm()
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
            Some(Handler::Registers(handler)) => {
                self.clear();
                handler(&self.thread, context, &args)
            }
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
    fn call(&self, number: u64, args: &Args) -> Answer {
        let syscalls = &self.thread.kernel.syscalls;
        let handler = syscalls.handler(number);
        if matches!(handler, Some(Handler::Registers(_))) || self.is_in_trampoline.get() {
            return Answer::Decline;
        }
        self.unexplained.set((0, 0));
        syscalls.count(number);
        let result = match handler {
            Some(Handler::Plain(handler)) => handler(&self.thread, args),
            Some(Handler::Seated(handler)) => handler(self, args),
            Some(Handler::Registers(_)) | None => Err(Errno::ENOSYS),
        };
        let rax = self.conclude(number, args, result);
        if self.has_business() { Answer::Leave(rax) } else { Answer::Stay(rax) }
    }
}

impl UserMemory for Seat {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Errno> {
        let (thread, platform) = (&self.thread, self.thread.kernel.platform);
        if thread.is_resident() && self.windows.borrow().read(platform, address, into) {
            return Ok(());
        }
        self.long_way(address).read(address, into)
    }

    fn write(&self, address: u64, from: &[u8]) -> Result<(), Errno> {
        let (thread, platform) = (&self.thread, self.thread.kernel.platform);
        if thread.is_resident() && self.windows.borrow().write(platform, address, from) {
            return Ok(());
        }
        self.long_way(address).write(address, from)
    }

    fn fill(&self, address: u64, length: u64, byte: u8) -> Result<(), Errno> {
        let (thread, platform) = (&self.thread, self.thread.kernel.platform);
        if thread.is_resident() && self.windows.borrow().fill(platform, address, length, byte) {
            return Ok(());
        }
        self.long_way(address).fill(address, length, byte)
    }
}
