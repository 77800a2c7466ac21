//! Exceptions of user code: calls that were not patched, faults, and what programs do wrong.

use super::Seat;
use crate::mm::fault::{Attempt, Resolution};
use crate::platform::UserContext;
use crate::process::killed;
use crate::signal::info::code;
use crate::signal::{Info, deliver, signo};

/// Vectors (SDM Vol. 3A, table of exceptions and interrupts).
mod vector {
    pub(super) const DIVIDE: u8 = 0;
    pub(super) const DEBUG: u8 = 1;
    pub(super) const BREAKPOINT: u8 = 3;
    pub(super) const INVALID_OPCODE: u8 = 6;
    pub(super) const GENERAL_PROTECTION: u8 = 13;
    pub(super) const PAGE_FAULT: u8 = 14;
    pub(super) const X87: u8 = 16;
    pub(super) const ALIGNMENT: u8 = 17;
    pub(super) const SIMD: u8 = 19;
}

/// Unexplained faults in a row at one page before the host is taken to be hostile. Another thread may
/// have filled the page, or a switch of residency restored it, between the fault and our look.
const PATIENCE: u32 = 256;

impl Seat {
    pub(super) fn exception(
        &self,
        context: &mut UserContext,
        vector: u8,
        error_code: u32,
        address: u64,
    ) {
        let rip = context.regs.rip;
        let info = match vector {
            vector::INVALID_OPCODE => match self.emulate(context) {
                true => return,
                false => Info::fault(signo::SIGILL, code::ILL_ILLOPN, rip),
            },
            vector::PAGE_FAULT => match self.page_fault(error_code, address) {
                Some(info) => info,
                None => return,
            },
            vector::DIVIDE => Info::fault(signo::SIGFPE, code::FPE_INTDIV, rip),
            vector::DEBUG => Info::fault(signo::SIGTRAP, code::TRAP_TRACE, rip),
            vector::BREAKPOINT => Info::kernel(signo::SIGTRAP),
            vector::X87 | vector::SIMD => Info::fault(signo::SIGFPE, code::FPE_FLTINV, rip),
            vector::ALIGNMENT => Info::fault(signo::SIGBUS, code::BUS_ADRALN, rip),
            vector::GENERAL_PROTECTION => Info::kernel(signo::SIGSEGV),
            _ => Info::kernel(signo::SIGSEGV),
        };
        let thread = &self.thread;
        if let Some(site) = thread.kernel.memory.images.site_of(rip) {
            // In a trampoline: the program stands at the call it has not made.
            context.regs.rip = site;
        }
        deliver::force(thread, context, info, deliver::Trap { vector, error_code, address });
    }

    /// Serves an instruction that enclaves do not have; false if it is none of those.
    fn emulate(&self, context: &mut UserContext) -> bool {
        let rip = context.regs.rip;
        let Ok(bytes) = self.thread.mm().read_array::<2>(rip) else { return false };
        match bytes {
            [0x0f, 0x05] => {
                context.regs.rip = rip.wrapping_add(2);
                context.regs.rcx = context.regs.rip;
                context.regs.r11 = context.regs.rflags;
                self.make(context);
                true
            }
            [0x0f, 0xa2] => self.cpuid(context),
            // CPUID that patching made UD2.
            [0x0f, 0x0b] if self.thread.mm().is_cpuid_site(rip) => self.cpuid(context),
            _ => false,
        }
    }

    fn cpuid(&self, context: &mut UserContext) -> bool {
        let regs = &mut context.regs;
        let [eax, ebx, ecx, edx] =
            self.thread.kernel.cpuid.answer(regs.rax as u32, regs.rcx as u32);
        regs.rax = u64::from(eax);
        regs.rbx = u64::from(ebx);
        regs.rcx = u64::from(ecx);
        regs.rdx = u64::from(edx);
        regs.rip = regs.rip.wrapping_add(2);
        true
    }

    /// Resolves a page fault, or says what it tells the program.
    fn page_fault(&self, error_code: u32, address: u64) -> Option<Info> {
        let thread = &self.thread;
        let attempt = Attempt::from_error_code(error_code);
        match thread.mm().handle_fault(address, attempt) {
            Resolution::Resolved => {
                self.unexplained.set((0, 0));
                None
            }
            Resolution::Unexplained => {
                let page = address & !0xfff;
                let (last, count) = self.unexplained.get();
                let count = if last == page { count + 1 } else { 1 };
                self.unexplained.set((page, count));
                if count > PATIENCE {
                    let host = thread.kernel.platform.host();
                    host.refuse("page fault on a page that is mapped, permitted and present");
                }
                thread.kernel.platform.yield_now();
                None
            }
            Resolution::NotMapped => Some(Info::fault(signo::SIGSEGV, code::SEGV_MAPERR, address)),
            Resolution::NotPermitted => {
                Some(Info::fault(signo::SIGSEGV, code::SEGV_ACCERR, address))
            }
            Resolution::Bus => Some(Info::fault(signo::SIGBUS, code::BUS_ADRERR, address)),
            Resolution::Exhausted => {
                thread.kernel.log_error(format_args!(
                    "process {}: no enclave memory left, killed",
                    thread.process.pid
                ));
                thread.process.end(killed(signo::SIGKILL, false));
                None
            }
        }
    }
}
