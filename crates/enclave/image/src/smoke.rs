//! A small kernel that exercises the run time and says what it found: one log line per check, wait status 0
//! if all held, else 256 (exit code 1).

extern crate alloc;

mod answered;
mod net;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use libos::attestation::ReportData;
use libos::host::Level;
use libos::platform::{
    Access, Answer, BadAddress, BadTarget, NoKey, PAGE_SIZE, Platform, Registers, SealRequest,
    SealTo, SystemCalls, ThreadId, UserContext, UserExit, Versions, portable_sha256,
};
use libos::syscall::Args;

/// Runs every check, or [`net`] alone where the host's request says so, and ends the container.
pub(crate) fn boot(platform: &'static dyn Platform, manifest: &[u8]) -> ! {
    let failures = match &*platform.host().bootstrap() {
        b"net" => u32::from(!passes(platform, "net", net::run(platform, manifest))),
        _ => checks(platform, manifest),
    };
    platform.host().exit(if failures == 0 { 0 } else { 256 })
}

/// Every check of the run time; how many failed.
fn checks(platform: &'static dyn Platform, manifest: &[u8]) -> u32 {
    let checks: &[(&str, fn(&'static dyn Platform) -> Result<(), String>)] = &[
        ("heap", heap),
        ("entropy", entropy),
        ("clock", clock),
        ("reports and keys", reports_and_keys),
        ("quote", quote),
        ("hashing", hashing),
        ("user memory", user_memory),
        ("threads", threads),
        ("trapped system call", trapped_syscall),
        ("patched system call", patched_syscall),
        ("vector state", vector_state),
        ("exceptions", exceptions),
        ("flags", flags),
        ("processor state at entry", entry_state),
        ("kick", kick),
        ("kick storm", kick_storm),
        ("state after answered calls", answered::state),
        ("calls that are not answered", answered::odd),
        ("storm over answered calls", answered::storm),
        ("speed", speed),
    ];
    let mut failures = 0;
    log(
        platform,
        format!("manifest of {} bytes, emulated {}", manifest.len(), platform.is_emulated()),
    );
    for (name, check) in checks {
        if !passes(platform, name, check(platform)) {
            failures += 1;
        }
    }
    failures
}

/// Says what came of a check.
fn passes(platform: &dyn Platform, name: &str, outcome: Result<(), String>) -> bool {
    match &outcome {
        Ok(()) => log(platform, format!("ok {name}")),
        Err(reason) => platform.host().log(Level::Error, format!("FAILED {name}: {reason}")),
    }
    outcome.is_ok()
}

fn log(platform: &dyn Platform, line: String) {
    platform.host().log(Level::Info, line);
}

fn expect<T: PartialEq + core::fmt::Debug>(what: &str, got: T, expected: T) -> Result<(), String> {
    if got == expected {
        Ok(())
    } else {
        Err(format!("{what}: expected {expected:x?}, got {got:x?}"))
    }
}

fn heap(_: &'static dyn Platform) -> Result<(), String> {
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    for index in 0..2000_usize {
        blocks.push(alloc::vec![index as u8; 1 + index * 13 % 9000]);
    }
    for (index, block) in blocks.iter().enumerate() {
        if block.iter().any(|byte| *byte != index as u8) {
            return Err(format!("block {index} changed"));
        }
    }
    Ok(())
}

fn entropy(platform: &'static dyn Platform) -> Result<(), String> {
    let (mut a, mut b) = ([0; 64], [0; 64]);
    platform.random(&mut a);
    platform.random(&mut b);
    if a == b || a == [0; 64] { Err("output repeats".into()) } else { Ok(()) }
}

/// Whichever way the probe chose, the digests are those of the portable code, and it chooses it again.
fn hashing(platform: &'static dyn Platform) -> Result<(), String> {
    let message: Vec<u8> = (0..10_000_u32).map(|index| ((index * 7) >> 2) as u8).collect();
    for length in (0..200).chain([4095, 4096, 4097, 10_000]) {
        let part = &message[..length];
        expect("digest", platform.sha256()(part), portable_sha256(part))?;
    }
    let start = platform.monotonic_ns();
    for _ in 0..1000 {
        core::hint::black_box(platform.sha256()(&message[..4096]));
    }
    let spent = (platform.monotonic_ns() - start).max(1);
    log(platform, format!("SHA-256 of 4 KiB: {} MB/s", 4096 * 1000 * 1000 / spent));
    Ok(())
}

fn clock(platform: &'static dyn Platform) -> Result<(), String> {
    let mut last = platform.monotonic_ns();
    for _ in 0..100_000 {
        let now = platform.monotonic_ns();
        if now < last {
            return Err(format!("backwards from {last} to {now}"));
        }
        last = now;
    }
    let before = platform.monotonic_ns();
    platform.park(Some(before + 20_000_000));
    let slept = platform.monotonic_ns() - before;
    // 2020 to 2100.
    let is_plausible =
        (1_577_000_000..4_102_000_000).contains(&(platform.realtime_ns() / 1_000_000_000));
    if !(15_000_000..5_000_000_000).contains(&slept) || !is_plausible {
        return Err(format!("slept {slept} ns, real time {}", platform.realtime_ns()));
    }
    Ok(())
}

fn reports_and_keys(platform: &'static dyn Platform) -> Result<(), String> {
    let data = ReportData::user([0x5d; 64]).map_err(|error| format!("{error}"))?;
    let target = platform.own_target();
    let report = platform.report(&target, &data).map_err(|error| format!("{error:?}"))?;
    expect("report data", &report[320..384], &[0x5d; 64][..])?;
    expect("MRENCLAVE and the own target's", &report[64..96], &target[..32])?;
    expect("ATTRIBUTES and the own target's", &report[48..64], &target[32..48])?;
    let again = platform.report(&target, &data).map_err(|error| format!("{error:?}"))?;
    expect("a report for the same target", again, report)?;
    let mut other = target;
    other[0] ^= 1;
    let for_other = platform.report(&other, &data).map_err(|error| format!("{error:?}"))?;
    expect(
        "whether reports for two targets have one MAC",
        for_other[416..] == report[416..],
        false,
    )?;
    other[511] = 9;
    expect("a reserved byte", platform.report(&other, &data), Err(BadTarget { got: 9 }))?;

    let request = |to, key_id| SealRequest { to, key_id, versions: None };
    let key = |request| platform.seal_key(&request).map(|key| *key);
    let own = key(request(SealTo::Enclave, [1; 32]));
    expect("the same key", key(request(SealTo::Enclave, [1; 32])), own)?;
    let volume = key(request(SealTo::Enclave, [2; 32]));
    expect("whether two volumes have one key", volume == own, false)?;
    // This enclave has no KSS.
    let workload = key(request(SealTo::Workload, [1; 32]));
    expect("a key of the signer alone", workload, Err(NoKey::NoIdentity))?;
    let versions = Some(Versions { isvsvn: 1, cpusvn: [0; 16] });
    let later = key(SealRequest { versions, ..request(SealTo::Enclave, [1; 32]) });
    expect("a key of a later version", later, Err(NoKey::Version))
}

/// Whatever the host's quoting service does, a quote is of this report or there is none.
fn quote(platform: &'static dyn Platform) -> Result<(), String> {
    let data = ReportData::user([0x9a; 64]).map_err(|error| format!("{error}"))?;
    match libos::attestation::quote::quote(platform, &data) {
        Ok(quote) => {
            expect("report data of the quote", &quote[368..432], &[0x9a; 64][..])?;
            expect("MRENCLAVE of the quote", &quote[112..144], &platform.own_target()[..32])?;
            log(platform, format!("quote of {} bytes", quote.len()));
        }
        Err(errno) => log(platform, format!("no quote: {errno:?}")),
    }
    Ok(())
}

/// Answers no call: every one leaves user mode.
struct Nobody;

impl SystemCalls for Nobody {
    fn call(&self, _: u64, _: &Args) -> Answer {
        Answer::Decline
    }
}

const AT: u64 = 0x40_0000;
const READ_WRITE: Access = Access { read: true, write: true, execute: false };
const READ_ONLY: Access = Access { read: true, write: false, execute: false };
const READ_EXECUTE: Access = Access { read: true, write: false, execute: true };

fn pages(count: u64) -> core::ops::Range<u64> {
    AT..AT + count * PAGE_SIZE
}

fn user_memory(platform: &'static dyn Platform) -> Result<(), String> {
    platform.commit(pages(4), READ_WRITE).map_err(|_| String::from("no memory"))?;
    let mut bytes = [1; 100];
    platform.read(AT + PAGE_SIZE - 50, &mut bytes).map_err(|_| String::from("read"))?;
    expect("fresh pages", bytes, [0; 100])?;
    platform.protect(AT..AT + PAGE_SIZE, READ_ONLY);
    expect(
        "write across a read-only page",
        platform.write(AT + PAGE_SIZE - 50, &[7; 100]),
        Ok(()),
    )?;
    platform.protect(AT..AT + PAGE_SIZE, Access::default());
    platform.read(AT + PAGE_SIZE - 50, &mut bytes).map_err(|_| String::from("read"))?;
    expect("what was written", bytes, [7; 100])?;
    expect(
        "exchange",
        platform.compare_exchange_u32(AT + PAGE_SIZE, 0x0707_0707, 9),
        Ok(0x0707_0707),
    )?;
    expect("load", platform.load_u32(AT + PAGE_SIZE), Ok(9))?;
    platform.release(pages(2));
    expect("released", platform.read(AT, &mut bytes), Err(BadAddress))?;
    for address in [0, 8, platform.user_range().end, u64::MAX - 50] {
        expect("outside user space", platform.read(address, &mut bytes), Err(BadAddress))?;
    }
    platform.commit(pages(2), READ_WRITE).map_err(|_| String::from("no memory"))?;
    platform.read(AT + PAGE_SIZE - 50, &mut bytes).map_err(|_| String::from("read"))?;
    expect("committed again", bytes, [0; 100])?;
    platform.release(pages(4));
    Ok(())
}

static STARTED: AtomicU32 = AtomicU32::new(0);
static GO: AtomicBool = AtomicBool::new(false);

fn threads(platform: &'static dyn Platform) -> Result<(), String> {
    let first = platform.current();
    for round in 0..3 {
        STARTED.store(0, Ordering::SeqCst);
        GO.store(false, Ordering::SeqCst);
        let mut ids: Vec<ThreadId> = Vec::new();
        for _ in 0..3 {
            let body = move || {
                STARTED.fetch_add(1, Ordering::SeqCst);
                platform.unpark(first);
                while !GO.load(Ordering::SeqCst) {
                    platform.park(None);
                }
                let _block = alloc::vec![0_u8; 100_000];
                STARTED.fetch_sub(1, Ordering::SeqCst);
                platform.unpark(first);
            };
            ids.push(platform.spawn(Box::new(body)).map_err(|_| String::from("no thread"))?);
        }
        wait(platform, || STARTED.load(Ordering::SeqCst) == 3, "threads to start")?;
        GO.store(true, Ordering::SeqCst);
        for id in ids {
            platform.unpark(id);
        }
        wait(platform, || STARTED.load(Ordering::SeqCst) == 0, "threads to end")?;
        if round == 0 {
            // An unpark before the park makes the park return at once.
            platform.unpark(first);
            platform.park(None);
        }
    }
    Ok(())
}

fn wait(
    platform: &'static dyn Platform,
    is_done: impl Fn() -> bool,
    what: &str,
) -> Result<(), String> {
    let deadline = platform.monotonic_ns() + 10_000_000_000;
    while !is_done() {
        platform.park(Some(platform.monotonic_ns() + 10_000_000));
        if platform.monotonic_ns() > deadline {
            return Err(format!("waited 10 s for {what}"));
        }
    }
    Ok(())
}

/// Puts code at [`AT`] with a stack above it.
fn program(platform: &'static dyn Platform, code: &[u8]) -> Result<Box<UserContext>, String> {
    platform.commit(pages(4), READ_WRITE).map_err(|_| String::from("no memory"))?;
    platform.write(AT, code).map_err(|_| String::from("write"))?;
    platform.protect(pages(1), READ_EXECUTE);
    Ok(Box::new(UserContext {
        xmm: [[0; 16]; 16],
        xstate: platform.initial_xstate(),
        regs: Registers { rip: AT, rsp: AT + 4 * PAGE_SIZE, ..Registers::default() },
        xstate_is_full: true,
    }))
}

/// `jmp qword ptr gs:[offset]`.
fn jump(platform: &'static dyn Platform) -> [u8; 9] {
    let mut code = [0x65, 0x48, 0xff, 0x24, 0x25, 0, 0, 0, 0];
    code[5..].copy_from_slice(&platform.syscall_entry_gs_offset().to_le_bytes());
    code
}

fn trapped_syscall(platform: &'static dyn Platform) -> Result<(), String> {
    // mov eax, 39; syscall; mov ebx, eax; ud2
    let code = [0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0x89, 0xc3, 0x0f, 0x0b];
    let mut context = program(platform, &code)?;
    let illegal = UserExit::Exception { vector: 6, error_code: 0, address: 0 };
    expect("exit at SYSCALL", exit_of(platform, &mut context), illegal)?;
    expect("RIP at SYSCALL", context.regs.rip, AT + 5)?;
    expect("RAX", context.regs.rax, 39)?;
    context.regs.rax = 4242;
    context.regs.rip += 2;
    expect("exit at UD2", exit_of(platform, &mut context), illegal)?;
    expect("RIP at UD2", context.regs.rip, AT + 9)?;
    expect("RBX", context.regs.rbx, 4242)
}

/// Runs the program until it leaves user mode by itself. The host may interrupt it at any time.
fn exit_of(platform: &'static dyn Platform, context: &mut UserContext) -> UserExit {
    loop {
        match platform.run_user(context, &Nobody) {
            UserExit::Interrupted => {}
            exit => return exit,
        }
    }
}

/// `lea rcx, [rip + 9]; jmp gs:[entry]` and what comes after it.
fn patched(platform: &'static dyn Platform, after: &[u8]) -> Vec<u8> {
    let mut code = Vec::from([0x48, 0x8d, 0x0d, 9, 0, 0, 0]);
    code.extend_from_slice(&jump(platform));
    code.extend_from_slice(after);
    code
}

fn patched_syscall(platform: &'static dyn Platform) -> Result<(), String> {
    let mut context = program(platform, &patched(platform, &[0x0f, 0x0b]))?;
    let mut expected = Registers {
        rax: 1,
        rdx: 2,
        rbx: 3,
        rbp: 4,
        rsi: 5,
        rdi: 6,
        r8: 7,
        r9: 8,
        r10: 9,
        r12: 10,
        r13: 11,
        r14: 12,
        r15: 13,
        ..context.regs.clone()
    };
    expected.fs_base = 0x12_3450;
    context.regs = expected.clone();
    context.xmm[3] = [0x33; 16];
    for round in 0..3 {
        expect("exit", exit_of(platform, &mut context), UserExit::Syscall)?;
        expect("RIP after the site", context.regs.rip, AT + 16)?;
        let got = Registers {
            rip: expected.rip,
            rcx: expected.rcx,
            r11: expected.r11,
            rflags: expected.rflags,
            ..context.regs.clone()
        };
        expect("registers", got, expected.clone())?;
        expect("state is partial", context.xstate_is_full, false)?;
        if round == 1 {
            // A host call in between clobbers every register.
            log(platform, "between two patched calls".into());
        }
        context.regs.rip = AT;
    }
    Ok(())
}

fn vector_state(platform: &'static dyn Platform) -> Result<(), String> {
    // movaps xmm1, xmm0; the site; movaps xmm2, xmm1; ud2
    let mut code = Vec::from([0x0f, 0x28, 0xc8, 0x48, 0x8d, 0x0d, 9, 0, 0, 0]);
    code.extend_from_slice(&jump(platform));
    code.extend_from_slice(&[0x0f, 0x28, 0xd1, 0x0f, 0x0b]);
    let mut context = program(platform, &code)?;
    let pattern = [0xa7; 16];
    context.xstate.0[160..176].copy_from_slice(&pattern);
    context.xstate.0[512] |= 2;
    // Round towards zero, so that MXCSR is seen to survive as well.
    context.xstate.0[24..28].copy_from_slice(&0x7f80_u32.to_le_bytes());
    expect("exit", exit_of(platform, &mut context), UserExit::Syscall)?;
    expect("XMM1 at the call", context.xmm[1], pattern)?;
    log(platform, "the host may spoil vector registers now".into());
    let copy = {
        let mut copy = (*context).clone();
        platform.capture_xstate(&mut copy);
        copy
    };
    expect("captured XMM1", &copy.xstate.0[176..192], &pattern[..])?;
    expect("captured MXCSR", &copy.xstate.0[24..28], &0x7f80_u32.to_le_bytes()[..])?;
    *context = copy;
    let illegal = UserExit::Exception { vector: 6, error_code: 0, address: 0 };
    expect("exit", exit_of(platform, &mut context), illegal)?;
    expect("full state", context.xstate_is_full, true)?;
    expect("XMM2 after it", &context.xstate.0[192..208], &pattern[..])?;
    expect("MXCSR after it", &context.xstate.0[24..28], &0x7f80_u32.to_le_bytes()[..])
}

fn exceptions(platform: &'static dyn Platform) -> Result<(), String> {
    // mov rax, [0x800000]
    let read = [0x48, 0x8b, 0x04, 0x25, 0, 0, 0x80, 0];
    let mut context = program(platform, &read)?;
    match exit_of(platform, &mut context) {
        UserExit::Exception { vector: 14, address: 0x80_0000, error_code }
            if error_code & 2 == 0 => {}
        other => return Err(format!("read of an absent page: got {other:x?}")),
    }
    // mov [AT], rax: the code page is not writable
    let write = [0x48, 0x89, 0x04, 0x25, 0, 0, 0x40, 0];
    let mut context = program(platform, &write)?;
    match exit_of(platform, &mut context) {
        UserExit::Exception { vector: 14, address: AT, error_code } if error_code & 2 != 0 => {}
        other => return Err(format!("write of a read-only page: got {other:x?}")),
    }
    // xor ecx, ecx; div ecx
    let mut context = program(platform, &[0x31, 0xc9, 0xf7, 0xf1])?;
    let divide = UserExit::Exception { vector: 0, error_code: 0, address: 0 };
    expect("division by zero", exit_of(platform, &mut context), divide)?;
    // int3: the CPU reports RIP after it.
    let mut context = program(platform, &[0xcc])?;
    let breakpoint = UserExit::Exception { vector: 3, error_code: 0, address: 0 };
    expect("breakpoint", exit_of(platform, &mut context), breakpoint)?;
    for rip in [0, 0x1000, platform.user_range().end, 1 << 46, u64::MAX] {
        context.regs.rip = rip;
        let refused = UserExit::Exception { vector: 13, error_code: 0, address: 0 };
        expect("RIP outside user space", exit_of(platform, &mut context), refused)?;
    }
    Ok(())
}

fn flags(platform: &'static dyn Platform) -> Result<(), String> {
    // Direction flag and alignment check set at a patched call must reach neither the library OS nor be lost.
    let mut context = program(platform, &patched(platform, &[0x0f, 0x0b]))?;
    context.regs.rflags = 1 << 10 | 1 << 18;
    expect("exit", exit_of(platform, &mut context), UserExit::Syscall)?;
    let flags: u64;
    // SAFETY: reads the flags.
    unsafe { core::arch::asm!("pushfq", "pop {}", out(reg) flags) };
    expect("DF, AC, TF, NT in the library OS", flags & 0x4_4500, 0)?;
    expect("DF and AC of the program", context.regs.rflags & 0x4_0400, 0x4_0400)?;
    let illegal = UserExit::Exception { vector: 6, error_code: 0, address: 0 };
    expect("exit", exit_of(platform, &mut context), illegal)?;
    expect("DF and AC after the call", context.regs.rflags & 0x4_0400, 0x4_0400)?;
    log(platform, "the flags survive".into());
    // A poisoned extended state does not make XRSTOR fault.
    context.xstate.0.fill(0xff);
    context.regs.rip = AT + 16;
    expect("poisoned state", exit_of(platform, &mut context), illegal)
}

/// Whatever the host leaves in the processor, a return from a host call finds the constants.
fn entry_state(platform: &'static dyn Platform) -> Result<(), String> {
    for _ in 0..10 {
        platform.yield_now();
        let (mut mxcsr, mut control, mut status) = (0_u32, 0_u16, 0_u16);
        let flags: u64;
        // SAFETY: stores MXCSR and the x87 control and status words into our own variables, reads the flags.
        unsafe {
            core::arch::asm!(
                "stmxcsr [{mxcsr}]",
                "fnstcw [{control}]",
                "fnstsw [{status}]",
                "pushfq",
                "pop {flags}",
                mxcsr = in(reg) &mut mxcsr,
                control = in(reg) &mut control,
                status = in(reg) &mut status,
                flags = out(reg) flags,
            );
        }
        expect("MXCSR", mxcsr, 0x1f80)?;
        expect("x87 control word", control, 0x37f)?;
        expect("x87 status word", status, 0)?;
        expect("DF, AC, TF, NT", flags & 0x4_4500, 0)?;
    }
    Ok(())
}

static KICKED: AtomicU32 = AtomicU32::new(0);

fn kick(platform: &'static dyn Platform) -> Result<(), String> {
    // inc rbx; jmp -5
    let mut context = program(platform, &[0x48, 0xff, 0xc3, 0xeb, 0xfb])?;
    let first = platform.current();
    KICKED.store(0, Ordering::SeqCst);
    let body = move || {
        platform.park(Some(platform.monotonic_ns() + 20_000_000));
        KICKED.store(1, Ordering::SeqCst);
        platform.kick(first);
    };
    platform.spawn(Box::new(body)).map_err(|_| String::from("no thread"))?;
    let mut exits = 0;
    while KICKED.load(Ordering::SeqCst) == 0 {
        expect("exit of a loop", platform.run_user(&mut context, &Nobody), UserExit::Interrupted)?;
        exits += 1;
        if exits > 1_000_000 {
            return Err("interrupted without a kick".into());
        }
    }
    if context.regs.rbx == 0 || !pages(1).contains(&context.regs.rip) {
        return Err(format!("state of the loop: {:x?}", context.regs));
    }
    Ok(())
}

/// Kicks at random moments of a loop of patched calls: no call is lost or doubled, no register changes.
fn kick_storm(platform: &'static dyn Platform) -> Result<(), String> {
    // inc rbx; the site; jmp to the start
    let mut code = Vec::from([0x48, 0xff, 0xc3, 0x48, 0x8d, 0x0d, 9, 0, 0, 0]);
    code.extend_from_slice(&jump(platform));
    code.extend_from_slice(&[0xeb, 0xeb]);
    let mut context = program(platform, &code)?;
    context.regs.r14 = 0x1414;
    context.regs.fs_base = 0x55_5550;
    context.xmm[9] = [9; 16];
    context.xstate.0[160 + 144..160 + 160].copy_from_slice(&[9; 16]);
    context.xstate.0[512] |= 2;
    let first = platform.current();
    KICKED.store(0, Ordering::SeqCst);
    let body = move || {
        while KICKED.load(Ordering::SeqCst) == 0 {
            platform.kick(first);
            for _ in 0..2000 {
                core::hint::spin_loop();
            }
        }
        KICKED.store(2, Ordering::SeqCst);
    };
    platform.spawn(Box::new(body)).map_err(|_| String::from("no thread"))?;
    let (mut calls, mut kicks) = (0_u64, 0);
    // However slow the machine, kicks have to arrive: the time is for a test that would never end.
    let deadline = platform.monotonic_ns() + 60_000_000_000;
    while kicks < 50 || calls < 1000 {
        if platform.monotonic_ns() > deadline {
            return Err(format!("{kicks} kicks arrived in a minute, {calls} calls made"));
        }
        match platform.run_user(&mut context, &Nobody) {
            UserExit::Syscall => {
                calls += 1;
                expect("calls counted by the program", context.regs.rbx, calls)?;
                expect("RIP", context.regs.rip, AT + 19)?;
                expect("XMM9", context.xmm[9], [9; 16])?;
            }
            UserExit::Interrupted => kicks += 1,
            other => return Err(format!("got {other:x?} at {:#x}", context.regs.rip)),
        }
        expect("R14", context.regs.r14, 0x1414)?;
        expect("FS base", context.regs.fs_base, 0x55_5550)?;
    }
    KICKED.store(1, Ordering::SeqCst);
    while KICKED.load(Ordering::SeqCst) != 2 {
        platform.yield_now();
    }
    log(platform, format!("{calls} calls, {kicks} interruptions"));
    Ok(())
}

fn speed(platform: &'static dyn Platform) -> Result<(), String> {
    const ROUNDS: u64 = 200_000;
    let mut code = patched(platform, &[0xeb, 0xee]);
    let mut context = program(platform, &code)?;
    let best = |run: &mut dyn FnMut() -> Result<(), String>| -> Result<u64, String> {
        let mut best = u64::MAX;
        for _ in 0..20 {
            let start = platform.monotonic_ns();
            run()?;
            best = best.min((platform.monotonic_ns() - start) * 1000 / (ROUNDS / 20));
        }
        Ok(best)
    };
    let patched = best(&mut || {
        for _ in 0..ROUNDS / 20 {
            expect("exit", exit_of(platform, &mut context), UserExit::Syscall)?;
        }
        Ok(())
    })?;
    code[..2].copy_from_slice(&[0x0f, 0x05]);
    let mut context = program_again(platform, &code)?;
    let start = platform.monotonic_ns();
    for _ in 0..200 {
        platform.run_user(&mut context, &Nobody);
    }
    let trapped = (platform.monotonic_ns() - start) / 200;
    let start = platform.monotonic_ns();
    for _ in 0..200 {
        platform.yield_now();
    }
    let call = (platform.monotonic_ns() - start) / 200;
    let area = 0x100_0000..0x100_0000 + 1000 * PAGE_SIZE;
    let start = platform.monotonic_ns();
    platform.commit(area.clone(), READ_WRITE).map_err(|_| String::from("no memory"))?;
    let commit = (platform.monotonic_ns() - start) / 1000;
    let start = platform.monotonic_ns();
    platform.release(area);
    let release = (platform.monotonic_ns() - start) / 1000;
    log(
        platform,
        format!(
            "patched call {}.{:03} ns, trapped {trapped} ns, host call {call} ns, commit {commit} ns/page, \
         release {release} ns/page",
            patched / 1000,
            patched % 1000
        ),
    );
    Ok(())
}

fn program_again(platform: &'static dyn Platform, code: &[u8]) -> Result<Box<UserContext>, String> {
    platform.release(pages(4));
    program(platform, code)
}
