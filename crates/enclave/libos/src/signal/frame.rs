//! The stack frame of a signal handler, byte for byte as Linux lays it out on x86-64
//! (`struct rt_sigframe`, `struct ucontext`, `struct sigcontext`, `struct _fpx_sw_bytes` of the UAPI headers).
//!
//! From the frame's address up: return address (8), ucontext (304), siginfo (128), padding, the extended
//! state on a multiple of 64, its closing magic. Pure: nothing here touches user memory.

use crate::platform::{Registers, UserContext, XSTATE_SIZE, XState};
use alloc::vec::Vec;

/// Bytes of return address, ucontext and siginfo.
pub const HEAD_SIZE: usize = 8 + UCONTEXT_SIZE + SIGINFO_SIZE;
/// Bytes of `siginfo_t`.
pub const SIGINFO_SIZE: usize = 128;
/// Offset of the ucontext in the frame.
pub const UCONTEXT: usize = 8;
/// Offset of the siginfo in the frame.
pub const SIGINFO: usize = UCONTEXT + UCONTEXT_SIZE;

const UCONTEXT_SIZE: usize = 304;
/// Offsets in the ucontext.
const STACK: usize = 16;
const MCONTEXT: usize = 40;
const SIGMASK: usize = 296;
/// Offsets in the sigcontext.
const SEGMENTS: usize = 144;
const ERROR_CODE: usize = 152;
const FPSTATE: usize = 184;

const UC_FP_XSTATE: u64 = 1;
const UC_SIGCONTEXT_SS: u64 = 2;
const UC_STRICT_RESTORE_SS: u64 = 4;
const USER_CS: u64 = 0x33;
const USER_SS: u64 = 0x2b;

/// Offsets in the extended state.
const MXCSR: usize = 24;
const SOFTWARE: usize = 464;
const XSTATE_BV: usize = 512;
const XSAVE_HEADER_END: usize = 576;
const FP_XSTATE_MAGIC1: u32 = 0x4650_5853;
const FP_XSTATE_MAGIC2: u32 = 0x4650_5845;

/// MXCSR bits that exist.
const MXCSR_MASK: u32 = 0xffff;
/// Flags that a program may set by returning from a handler: CF PF AF ZF SF TF DF OF RF AC.
const RESTORABLE_FLAGS: u64 = 0x5_0dd5;
/// Flags cleared when a handler starts: TF, DF, RF.
const HANDLER_CLEARS: u64 = 0x1_0500;
/// IF and the bit that is always one.
const FIXED_FLAGS: u64 = 0x202;

/// The red zone below RSP that belongs to the interrupted function (System V ABI).
pub const RED_ZONE: u64 = 128;

/// `stack_t` (sigaltstack(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StackT {
    /// Lowest address.
    pub base: u64,
    /// SS_ONSTACK, SS_DISABLE, SS_AUTODISARM.
    pub flags: u32,
    /// Bytes.
    pub size: u64,
}

/// What a frame tells besides the registers.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// Signal number.
    pub signal: u8,
    /// Address of the handler.
    pub handler: u64,
    /// SA_RESTORER's address, to which the handler returns.
    pub restorer: u64,
    /// `siginfo_t`.
    pub info: &'a [u8; SIGINFO_SIZE],
    /// The mask to put back.
    pub mask: u64,
    /// The alternate stack to put back.
    pub stack: StackT,
    /// Vector of the exception that raised it, or 0.
    pub trap: u64,
    /// Its error code, or 0.
    pub error_code: u64,
    /// Its address (CR2), or 0.
    pub address: u64,
}

/// A frame to write to the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where it goes; RSP at the handler's first instruction.
    pub address: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Builds the frame below `top` (RSP less the red zone, or the end of the alternate stack) and sets
/// `context` to the handler's first instruction. `context.xstate` must be complete
/// (`xstate_is_full`); `xfrm` says which of it programs know.
#[must_use]
pub fn enter(context: &mut UserContext, delivery: &Delivery<'_>, top: u64, xfrm: u64) -> Frame {
    debug_assert!(context.xstate_is_full, "the extended state is captured before a frame is built");
    let area = area_size(xfrm);
    let fpstate = top.wrapping_sub(area as u64 + 4) & !63;
    let address = (fpstate.wrapping_sub(HEAD_SIZE as u64) & !15).wrapping_sub(8);
    let fp = fpstate.wrapping_sub(address) as usize;

    let mut bytes = alloc::vec![0; fp + area + 4];
    put(&mut bytes, 0, delivery.restorer);
    let uc = &mut bytes[UCONTEXT..SIGINFO];
    put(uc, 0, UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS);
    put(uc, STACK, delivery.stack.base);
    put(uc, STACK + 8, u64::from(delivery.stack.flags));
    put(uc, STACK + 16, delivery.stack.size);
    for (index, value) in in_frame_order(&context.regs).into_iter().enumerate() {
        put(uc, MCONTEXT + index * 8, value);
    }
    put(uc, MCONTEXT + SEGMENTS, USER_CS | USER_SS << 48);
    put(uc, MCONTEXT + ERROR_CODE, delivery.error_code);
    put(uc, MCONTEXT + ERROR_CODE + 8, delivery.trap);
    put(uc, MCONTEXT + ERROR_CODE + 16, delivery.mask);
    put(uc, MCONTEXT + ERROR_CODE + 24, delivery.address);
    put(uc, MCONTEXT + FPSTATE, fpstate);
    put(uc, SIGMASK, delivery.mask);
    bytes[SIGINFO..SIGINFO + SIGINFO_SIZE].copy_from_slice(delivery.info);

    let state = &mut bytes[fp..];
    state[..area].copy_from_slice(&context.xstate.0[..area]);
    state[SOFTWARE..XSTATE_BV].fill(0);
    put32(state, SOFTWARE, FP_XSTATE_MAGIC1);
    put32(state, SOFTWARE + 4, area as u32 + 4);
    put(state, SOFTWARE + 8, xfrm);
    put32(state, SOFTWARE + 16, area as u32);
    put32(state, area, FP_XSTATE_MAGIC2);

    let regs = &mut context.regs;
    regs.rax = 0;
    regs.rdi = u64::from(delivery.signal);
    regs.rsi = address + SIGINFO as u64;
    regs.rdx = address + UCONTEXT as u64;
    regs.rip = delivery.handler;
    regs.rsp = address;
    regs.rflags = regs.rflags & !HANDLER_CLEARS | FIXED_FLAGS;
    Frame { address, bytes }
}

/// What a handler's frame says on return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// General registers; `fs_base` is not in a frame and stays the caller's.
    pub regs: Registers,
    /// The mask.
    pub mask: u64,
    /// The alternate stack.
    pub stack: StackT,
    /// Where the extended state lies; 0 for the initial state.
    pub fpstate: u64,
}

/// Reads the head of a frame, which lies at RSP − 8 when rt_sigreturn(2) is made.
#[must_use]
pub fn restore(head: &[u8; HEAD_SIZE], present: &Registers) -> Restored {
    let uc = &head[UCONTEXT..SIGINFO];
    let word = |index: usize| get(uc, MCONTEXT + index * 8);
    let regs = Registers {
        r8: word(0),
        r9: word(1),
        r10: word(2),
        r11: word(3),
        r12: word(4),
        r13: word(5),
        r14: word(6),
        r15: word(7),
        rdi: word(8),
        rsi: word(9),
        rbp: word(10),
        rbx: word(11),
        rdx: word(12),
        rax: word(13),
        rcx: word(14),
        rsp: word(15),
        rip: word(16),
        rflags: present.rflags & !RESTORABLE_FLAGS | word(17) & RESTORABLE_FLAGS | FIXED_FLAGS,
        fs_base: present.fs_base,
    };
    Restored {
        regs,
        mask: get(uc, SIGMASK),
        stack: StackT {
            base: get(uc, STACK),
            flags: get(uc, STACK + 8) as u32,
            size: get(uc, STACK + 16),
        },
        fpstate: get(uc, MCONTEXT + FPSTATE),
    }
}

/// Bytes of extended state to read at [`Restored::fpstate`].
#[must_use]
pub fn area_size(xfrm: u64) -> usize {
    let area = crate::cpuid::Cpuid::new(xfrm, 1).answer(0xd, 0)[1] as usize;
    area.min(XSTATE_SIZE)
}

/// Bytes that a frame takes of a stack at most (AT_MINSIGSTKSZ).
#[must_use]
pub fn largest(xfrm: u64) -> u64 {
    // The state, its magic and the head, each with what its alignment may cost.
    (area_size(xfrm) + 4 + 63 + HEAD_SIZE + 15 + 8).next_multiple_of(16) as u64
}

/// Turns what the program left in its frame into a state that XRSTOR takes: bits that do not exist or are not
/// in `xfrm` are cleared. `bytes` are [`area_size`] bytes and 4 more, or the 512 of the legacy area when
/// there are no more. Without both magic numbers only the legacy area counts, as on Linux.
#[must_use]
pub fn xstate(bytes: &[u8], initial: &XState, xfrm: u64) -> XState {
    let area = area_size(xfrm);
    let mut state = initial.clone();
    let has_extended = bytes.len() >= area + 4
        && get32(bytes, SOFTWARE) == FP_XSTATE_MAGIC1
        && get32(bytes, SOFTWARE + 16) as usize == area
        && get32(bytes, area) == FP_XSTATE_MAGIC2;
    let taken = if has_extended { area } else { XSTATE_BV.min(bytes.len()) };
    state.0[..taken].copy_from_slice(&bytes[..taken]);
    let present = if has_extended { get(&state.0, XSTATE_BV) & xfrm } else { xfrm & 0b11 };
    state.0[SOFTWARE..XSAVE_HEADER_END].fill(0);
    put(&mut state.0, XSTATE_BV, present);
    let mxcsr = get32(&state.0, MXCSR) & MXCSR_MASK;
    put32(&mut state.0, MXCSR, mxcsr);
    state
}

/// Registers as `struct sigcontext` orders them.
fn in_frame_order(regs: &Registers) -> [u64; 18] {
    [
        regs.r8,
        regs.r9,
        regs.r10,
        regs.r11,
        regs.r12,
        regs.r13,
        regs.r14,
        regs.r15,
        regs.rdi,
        regs.rsi,
        regs.rbp,
        regs.rbx,
        regs.rdx,
        regs.rax,
        regs.rcx,
        regs.rsp,
        regs.rip,
        regs.rflags,
    ]
}

fn put(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn get(bytes: &[u8], at: usize) -> u64 {
    u64::from(get32(bytes, at)) | u64::from(get32(bytes, at + 4)) << 32
}

fn get32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    const XFRM: u64 = 0xe7;

    fn context() -> UserContext {
        let mut xstate = XState([0; XSTATE_SIZE]);
        for (index, byte) in xstate.0.iter_mut().enumerate() {
            *byte = index as u8;
        }
        xstate.0[XSTATE_BV..XSAVE_HEADER_END].fill(0);
        xstate.0[XSTATE_BV] = 0xe7;
        xstate.0[MXCSR..MXCSR + 4].copy_from_slice(&0x1f80_u32.to_le_bytes());
        UserContext {
            xmm: [[0; 16]; 16],
            xstate,
            regs: Registers {
                rax: 1,
                r15: 15,
                rsp: 0x7000_0123,
                rip: 0x40_1000,
                rflags: 0x246,
                fs_base: 9,
                ..Registers::default()
            },
            xstate_is_full: true,
        }
    }

    fn deliver(context: &mut UserContext) -> Frame {
        let delivery = Delivery {
            signal: 11,
            handler: 0x40_2000,
            restorer: 0x40_3000,
            info: &[7; SIGINFO_SIZE],
            mask: 0x55,
            stack: StackT { base: 1, flags: 2, size: 3 },
            trap: 14,
            error_code: 6,
            address: 0xdead_0000,
        };
        let top = context.regs.rsp - RED_ZONE;
        enter(context, &delivery, top, XFRM)
    }

    #[test]
    fn the_handler_starts_as_the_abi_says() {
        let mut context = context();
        let frame = deliver(&mut context);
        assert_eq!(frame.address % 16, 8, "as after a call");
        assert_eq!(context.regs.rsp, frame.address);
        assert_eq!(context.regs.rdi, 11);
        assert_eq!(context.regs.rip, 0x40_2000);
        assert!(frame.address + frame.bytes.len() as u64 <= 0x7000_0123 - RED_ZONE);
        assert_eq!(get(&frame.bytes, 0), 0x40_3000);
        // gregs[REG_RIP] of ucontext_t is at byte 168, uc_sigmask at 296, cr2 at 216.
        assert_eq!(get(&frame.bytes, UCONTEXT + 168), 0x40_1000);
        assert_eq!(get(&frame.bytes, UCONTEXT + 40 + 176), 0xdead_0000);
        let fpstate = get(&frame.bytes, UCONTEXT + 224);
        assert_eq!(fpstate % 64, 0);
    }

    #[test]
    fn returning_gives_the_interrupted_state_back() {
        let before = context();
        let mut context = before.clone();
        let frame = deliver(&mut context);
        let head = frame.bytes[..HEAD_SIZE].try_into().unwrap();
        let restored = restore(head, &context.regs);
        assert_eq!(restored.regs, Registers { fs_base: 9, ..before.regs });
        assert_eq!((restored.mask, restored.stack.size), (0x55, 3));
        let at = (restored.fpstate - frame.address) as usize;
        let initial = XState([0; XSTATE_SIZE]);
        let state = xstate(&frame.bytes[at..], &initial, XFRM);
        let area = area_size(XFRM);
        assert_eq!(state.0[..SOFTWARE], before.xstate.0[..SOFTWARE]);
        assert_eq!(state.0[XSTATE_BV..area], before.xstate.0[XSTATE_BV..area]);
    }

    #[test]
    fn a_handler_cannot_set_what_xrstor_or_the_processor_refuses() {
        let mut context = context();
        let mut frame = deliver(&mut context);
        put(&mut frame.bytes, UCONTEXT + MCONTEXT + 17 * 8, u64::MAX); // eflags
        let head: &[u8; HEAD_SIZE] = frame.bytes[..HEAD_SIZE].try_into().unwrap();
        let flags = restore(head, &context.regs).regs.rflags;
        assert_eq!(flags & !(RESTORABLE_FLAGS | FIXED_FLAGS | 0x246), 0);

        let mut bytes = alloc::vec![0xff; area_size(XFRM) + 4];
        let initial = XState([0; XSTATE_SIZE]);
        let legacy = xstate(&bytes, &initial, XFRM);
        assert_eq!(get(&legacy.0, XSTATE_BV), 0b11, "no magic: legacy only");
        assert_eq!(get32(&legacy.0, MXCSR), 0xffff);
        let area = area_size(XFRM);
        put32(&mut bytes, SOFTWARE, FP_XSTATE_MAGIC1);
        put32(&mut bytes, SOFTWARE + 16, area as u32);
        put32(&mut bytes, area, FP_XSTATE_MAGIC2);
        let full = xstate(&bytes, &initial, XFRM);
        assert_eq!(get(&full.0, XSTATE_BV), XFRM);
        assert!(full.0[XSTATE_BV + 8..XSAVE_HEADER_END].iter().all(|&byte| byte == 0));
        let _ = xstate(&bytes[..512], &initial, XFRM);
        let _ = xstate(&[], &initial, XFRM);
    }
}
