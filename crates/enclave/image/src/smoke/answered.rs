//! System calls that are answered without leaving user mode: what the program has afterwards.

use core::cell::Cell;
use core::sync::atomic::{AtomicU32, Ordering};

use libos::platform::{Answer, Platform, Registers, SystemCalls, UserContext, UserExit, XState};
use libos::syscall::Args;

use super::alloc::boxed::Box;
use super::alloc::format;
use super::alloc::string::String;
use super::alloc::vec::Vec;
use super::{AT, Nobody, expect, jump, log, program, program_again};

/// What a call does before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Nothing.
    Plain,
    /// Spoils every register that compiled code may.
    Spoiling,
    /// Makes a host call, which spoils all of them.
    HostCall,
    /// Leaves user mode with the result.
    Leaving,
    /// Leaves user mode without one.
    Declining,
}

/// Counts calls and answers with their number.
struct Counting {
    platform: &'static dyn Platform,
    manner: Manner,
    calls: Cell<u64>,
    args: Cell<[u64; 6]>,
}

impl Counting {
    fn new(platform: &'static dyn Platform, manner: Manner) -> Self {
        Self { platform, manner, calls: Cell::new(0), args: Cell::new([0; 6]) }
    }
}

impl SystemCalls for Counting {
    fn call(&self, number: u64, args: &Args) -> Answer {
        self.args.set(args.0);
        let rax = number + 1;
        if self.manner != Manner::Declining {
            self.calls.set(self.calls.get() + 1);
        }
        match self.manner {
            Manner::Plain => Answer::Stay(rax),
            Manner::Spoiling => {
                spoil();
                Answer::Stay(rax)
            }
            Manner::HostCall => {
                self.platform.yield_now();
                Answer::Stay(rax)
            }
            Manner::Leaving => Answer::Leave(rax),
            Manner::Declining => Answer::Decline,
        }
    }
}

fn spoil() {
    // SAFETY: writes only registers that the compiler is told of.
    unsafe {
        core::arch::asm!(
            "pcmpeqd xmm0, xmm0", "movaps xmm1, xmm0", "movaps xmm2, xmm0", "movaps xmm3, xmm0",
            "movaps xmm4, xmm0", "movaps xmm5, xmm0", "movaps xmm6, xmm0", "movaps xmm7, xmm0",
            "movaps xmm8, xmm0", "movaps xmm9, xmm0", "movaps xmm10, xmm0", "movaps xmm11, xmm0",
            "movaps xmm12, xmm0", "movaps xmm13, xmm0", "movaps xmm14, xmm0", "movaps xmm15, xmm0",
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
            out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            out("rdi") _, out("rsi") _, out("rdx") _, out("rcx") _, out("r8") _, out("r9") _, out("r10") _,
            out("r11") _,
            options(nostack, nomem),
        );
    }
}

const ILLEGAL: UserExit = UserExit::Exception { vector: 6, error_code: 0, address: 0 };
/// Calls of [`looping`].
const ROUNDS: u64 = 50;

/// `lea rcx, [rip + 9]; jmp gs:[entry]; dec rbx; jnz` back; `ud2`.
fn looping(platform: &'static dyn Platform) -> Vec<u8> {
    let mut code = Vec::from([0x48, 0x8d, 0x0d, 9, 0, 0, 0]);
    code.extend_from_slice(&jump(platform));
    code.extend_from_slice(&[0x48, 0xff, 0xcb, 0x75, 0xeb, 0x0f, 0x0b]);
    code
}

/// Different bytes in every component that the enclave may use.
fn patterned(platform: &'static dyn Platform) -> XState {
    let mut state = platform.initial_xstate();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let (legacy, extended) = state.0.split_at_mut(576);
    for byte in legacy[32..416].iter_mut().chain(extended) {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = (seed >> 56) as u8;
    }
    // x87: control word with the precision exception unmasked, tags all in use.
    state.0[..2].copy_from_slice(&0x035f_u16.to_le_bytes());
    state.0[4] = 0xff;
    // MXCSR: the sticky precision flag; the control bits are the default ones.
    state.0[24..28].copy_from_slice(&0x1fa0_u32.to_le_bytes());
    state.0[512..520].copy_from_slice(&(platform.xfrm() & !(1 << 9)).to_le_bytes());
    state
}

/// Runs until something other than an interruption, or than a call, happens.
fn run_on(
    platform: &'static dyn Platform,
    context: &mut UserContext,
    calls: &dyn SystemCalls,
) -> UserExit {
    loop {
        match platform.run_user(context, calls) {
            UserExit::Interrupted | UserExit::Called => {}
            UserExit::Syscall => context.regs.rax += 1,
            other => return other,
        }
    }
}

/// Runs the program until it leaves user mode by itself. The host may interrupt it at any time.
fn exit_of(
    platform: &'static dyn Platform,
    context: &mut UserContext,
    calls: &dyn SystemCalls,
) -> UserExit {
    loop {
        match platform.run_user(context, calls) {
            UserExit::Interrupted => {}
            exit => return exit,
        }
    }
}

/// Every component of the extended state, all general registers but those that a system call destroys, FS
/// base and MXCSR are the same after calls as without.
pub(super) fn state(platform: &'static dyn Platform) -> Result<(), String> {
    let initial = patterned(platform);
    let reference = {
        let mut context = program(platform, &[0x0f, 0x0b])?;
        context.xstate = initial.clone();
        expect("exit", run_on(platform, &mut context, &Nobody), ILLEGAL)?;
        context.xstate
    };
    // What XRSTOR and XSAVE carried through is what there is to compare: the rest are gaps of the format.
    let carried: Vec<usize> = (0..initial.0.len())
        .filter(|at| !(5..24).contains(at) && initial.0[*at] == reference.0[*at])
        .collect();
    let vectors = if platform.xfrm() & 4 == 0 { 256 } else { 512 };
    let compared = carried.iter().filter(|at| **at >= 160 && !(416..576).contains(*at)).count();
    if compared < vectors {
        return Err(format!("only {compared} bytes of vector registers are compared"));
    }
    let manners =
        [Manner::Plain, Manner::Spoiling, Manner::HostCall, Manner::Leaving, Manner::Declining];
    for manner in manners {
        let mut context = program_again(platform, &looping(platform))?;
        context.xstate = initial.clone();
        context.regs = registers(&context);
        let expected = context.regs.clone();
        let counting = Counting::new(platform, manner);
        expect("exit", run_on(platform, &mut context, &counting), ILLEGAL)?;
        if manner != Manner::Declining {
            expect("calls", counting.calls.get(), ROUNDS)?;
        }
        let regs = &context.regs;
        expect("arguments", counting.args.get(), arguments(&expected))?;
        expect("arguments afterwards", arguments(regs), arguments(&expected))?;
        let kept = |regs: &Registers| {
            [regs.rsp, regs.rbp, regs.r12, regs.r13, regs.r14, regs.r15, regs.fs_base]
        };
        expect("preserved registers", kept(regs), kept(&expected))?;
        expect("result of the last call", regs.rax, expected.rax + ROUNDS)?;
        for at in &carried {
            if context.xstate.0[*at] != reference.0[*at] {
                return Err(format!(
                    "{manner:?}: byte {at} of the extended state: expected {:#x}, got {:#x}",
                    reference.0[*at], context.xstate.0[*at]
                ));
            }
        }
    }
    Ok(())
}

fn registers(context: &UserContext) -> Registers {
    Registers {
        rax: 1000,
        rdi: 0x1111_1111_1111,
        rsi: 0x2222_2222_2222,
        rdx: 0x3333_3333_3333,
        r10: 0x4444_4444_4444,
        r8: 0x5555_5555_5555,
        r9: 0x6666_6666_6666,
        rbx: ROUNDS,
        rbp: 0x7777_7777_7777,
        r12: 0xcccc_cccc_cccc,
        r13: 0xdddd_dddd_dddd,
        r14: 0xeeee_eeee_eeee,
        r15: 0xffff_ffff_ffff,
        fs_base: 0x12_3450,
        ..context.regs.clone()
    }
}

fn arguments(regs: &Registers) -> [u64; 6] {
    [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9]
}

/// With a flag or a rounding mode that the library OS must not run with nobody is asked.
pub(super) fn odd(platform: &'static dyn Platform) -> Result<(), String> {
    for (flags, mxcsr) in [(1 << 10, 0x1f80_u32), (1 << 18, 0x1f80), (0, 0x7f80), (0, 0x1f00)] {
        let mut context = program_again(platform, &looping(platform))?;
        context.regs.rbx = 1;
        context.regs.rflags |= flags;
        context.xstate.0[24..28].copy_from_slice(&mxcsr.to_le_bytes());
        context.xstate.0[512] |= 2;
        let counting = Counting::new(platform, Manner::Plain);
        expect("exit", exit_of(platform, &mut context, &counting), UserExit::Syscall)?;
        expect("calls", counting.calls.get(), 0)?;
        expect("flags", context.regs.rflags & flags, flags)?;
        expect("exit", exit_of(platform, &mut context, &counting), ILLEGAL)?;
        expect("MXCSR", &context.xstate.0[24..28], &mxcsr.to_le_bytes()[..])?;
    }
    // An address that is not the program's is not returned to.
    let mut code = Vec::from([0x31, 0xc9]);
    code.extend_from_slice(&jump(platform));
    let mut context = program_again(platform, &code)?;
    let counting = Counting::new(platform, Manner::Plain);
    expect("exit", exit_of(platform, &mut context, &counting), UserExit::Syscall)?;
    expect("calls", counting.calls.get(), 0)?;
    let refused = UserExit::Exception { vector: 13, error_code: 0, address: 0 };
    expect("exit", exit_of(platform, &mut context, &counting), refused)
}

static STORM: AtomicU32 = AtomicU32::new(0);

/// Kicks at random moments of a loop of answered calls: no call is lost or doubled, no register changes, and
/// every kick is noticed.
pub(super) fn storm(platform: &'static dyn Platform) -> Result<(), String> {
    // inc rbx; the site; cmp rax, r13; jne to ud2; jmp to the start; ud2
    let mut code = Vec::from([0x48, 0xff, 0xc3, 0x48, 0x8d, 0x0d, 9, 0, 0, 0]);
    code.extend_from_slice(&jump(platform));
    code.extend_from_slice(&[0x4c, 0x39, 0xe8, 0x75, 4, 0x31, 0xc0, 0xeb, 0xe4, 0x0f, 0x0b]);
    let mut context = program_again(platform, &code)?;
    context.regs.r13 = 1;
    context.regs.r14 = 0x1414;
    context.regs.fs_base = 0x55_5550;
    context.xstate.0[160 + 144..160 + 160].copy_from_slice(&[9; 16]);
    context.xstate.0[512] |= 2;
    let first = platform.current();
    STORM.store(0, Ordering::SeqCst);
    let body = move || {
        while STORM.load(Ordering::SeqCst) == 0 {
            platform.kick(first);
            for _ in 0..2000 {
                core::hint::spin_loop();
            }
        }
        STORM.store(2, Ordering::SeqCst);
    };
    platform.spawn(Box::new(body)).map_err(|_| String::from("no thread"))?;
    let counting = Counting::new(platform, Manner::Spoiling);
    let mut kicks = 0;
    // However slow the machine, kicks have to arrive: the time is for a test that would never end.
    let deadline = platform.monotonic_ns() + 60_000_000_000;
    while kicks < 200 || counting.calls.get() < 1000 {
        if platform.monotonic_ns() > deadline {
            return Err(format!("{kicks} kicks in a minute, {} calls", counting.calls.get()));
        }
        match platform.run_user(&mut context, &counting) {
            UserExit::Interrupted => kicks += 1,
            other => return Err(format!("got {other:x?} at {:#x}", context.regs.rip)),
        }
        // Before the call that RBX counts, or after it.
        let is_counted = u64::from((AT + 3..AT + 19).contains(&context.regs.rip));
        expect("calls", counting.calls.get() + is_counted, context.regs.rbx)?;
        expect("R14", context.regs.r14, 0x1414)?;
        expect("FS base", context.regs.fs_base, 0x55_5550)?;
        let xmm9 = if context.xstate_is_full {
            &context.xstate.0[160 + 144..160 + 160]
        } else {
            &context.xmm[9][..]
        };
        expect("XMM9", xmm9, &[9; 16][..])?;
    }
    STORM.store(1, Ordering::SeqCst);
    while STORM.load(Ordering::SeqCst) != 2 {
        platform.yield_now();
    }
    log(platform, format!("{} calls, {kicks} interruptions", counting.calls.get()));
    Ok(())
}
