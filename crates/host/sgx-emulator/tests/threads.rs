//! Several threads, busy TCSs, kicks, and what the host gets back.

#[macro_use]
mod toy;

use sgx::driver::{DriverError, Enclave, EntryLeaf, Exit, PassedRegisters};
use sgx_emulator::Mode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use toy::{CODE, Toy, action, command, gs, tcs};

in_both_modes!(
    two_threads_run_and_a_busy_tcs_is_refused,
    kick_interrupts_a_spinning_thread,
    kicks_are_never_lost_and_never_torn,
    kick_of_nobody_does_nothing,
    state_save_areas_run_out,
    entry_checks,
    host_state_is_restored,
    exit_to_elsewhere_is_refused,
);

fn two_threads_run_and_a_busy_tcs_is_refused(mode: Mode) {
    let toy = Toy::new(mode, 2);
    toy.poke(0, gs::ACTION, action::RELEASE);
    let busy = Exit::Exception { leaf: 2, vector: 13, error_code: 0, address: 0 };
    thread::scope(|scope| {
        // Each thread may find the other in: the one that is to stay tries until it is in, the one that
        // probes takes the TCS for a moment.
        let spinning = scope.spawn(|| {
            loop {
                match toy.run_counted(0, command::SPIN, [0; 4]).0 {
                    Exit::Eexit(registers) => break registers,
                    other => assert_eq!(other, busy),
                }
            }
        });
        loop {
            let add = PassedRegisters { rdi: command::ADD, ..PassedRegisters::default() };
            match toy.enter(tcs(0), EntryLeaf::Enter, add) {
                Exit::Eexit(_) => assert!(!spinning.is_finished(), "it ends by a kick only"),
                other => break assert_eq!(other, busy),
            }
            thread::yield_now();
        }
        for i in 0..1000 {
            assert_eq!(toy.done(1, command::ADD, [i, 1, 0, 0]).rsi, i + 1);
        }
        while !spinning.is_finished() {
            toy.enclave.kick(tcs(0));
            thread::sleep(Duration::from_millis(1));
        }
        assert!(spinning.join().expect("no panic").rsi > 0);
    });
}

fn kick_interrupts_a_spinning_thread(mode: Mode) {
    let toy = Toy::new(mode, 2);
    toy.poke(0, gs::ACTION, action::RELEASE);
    thread::scope(|scope| {
        let spinning = scope.spawn(|| toy.done(0, command::SPIN, [0; 4]));
        // The enclave raises nothing by itself; only a kick can end this.
        while !spinning.is_finished() {
            toy.enclave.kick(tcs(0));
            thread::sleep(Duration::from_millis(1));
        }
        spinning.join().expect("no panic");
    });
    assert_eq!(toy.peek(0, gs::EXITINFO), 0, "an interrupt has no vector");
    let rip = toy.peek(0, gs::RIP);
    assert!((CODE..CODE + 0x2000).contains(&rip), "{rip:#x}");
}

/// Kicks at every point of exceptions, leaves, exits and resumes: results stay right.
fn kicks_are_never_lost_and_never_torn(mode: Mode) {
    let toy = Toy::new(mode, 1);
    let stop = AtomicBool::new(false);
    toy.poke(0, gs::ACTION, action::COUNT);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                toy.enclave.kick(tcs(0));
                thread::sleep(Duration::from_micros(20));
            }
        });
        let rounds = if mode == Mode::Pure { 300 } else { 3000 };
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for i in 0..rounds {
                assert_eq!(toy.done(0, command::ADD, [i, i, 0, 0]).rsi, 2 * i);
                // EACCEPT of a measured page: a mismatch (19), with all registers kept.
                assert_eq!(toy.done(0, command::SPIN_ENCLU, [50, 0, 0, 0]).rsi, 19);
                assert_eq!(toy.peek(0, gs::VALUE), (i + 1) * 50);
            }
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = failed {
            std::panic::resume_unwind(panic);
        }
    });
    assert!(toy.peek(0, gs::COUNT) > 0, "no kick arrived");
    assert_eq!(toy.peek(0, gs::EXITINFO), 0);
}

fn kick_of_nobody_does_nothing(mode: Mode) {
    let toy = Toy::new(mode, 1);
    toy.enclave.kick(tcs(0));
    toy.enclave.kick(12345);
    assert_eq!(toy.done(0, command::ADD, [1, 2, 0, 0]).rsi, 3);
    toy.enclave.kick(tcs(0));
    assert_eq!(toy.peek(0, gs::COUNT), 0);
}

fn state_save_areas_run_out(mode: Mode) {
    let toy = Toy::new(mode, 2);
    toy.poke(0, gs::ACTION, action::DEEPER);
    // UD2, UD2 in its exception entry, UD2 in the exception entry of that: three frames are full, and the
    // entry that would handle the last is refused.
    let (exit, exits) = toy.run_counted(0, command::UD2, [0; 4]);
    assert_eq!(exit, Exit::Exception { leaf: 2, vector: 13, error_code: 0, address: 0 });
    assert_eq!(exits, if mode == Mode::Pure { 3 } else { 1 });
    let mut count = [0; 8];
    toy.read(1, tcs(0) + 0x5000 + gs::COUNT, &mut count);
    assert_eq!(u64::from_le_bytes(count), 2, "two of the exceptions got an entry");
    // ERESUME still works, and takes the innermost frame: its UD2 again, which fills it again.
    let exit = toy.enter(tcs(0), EntryLeaf::Resume, PassedRegisters::default());
    assert_eq!(exit, Exit::Exception { leaf: 3, vector: 6, error_code: 0, address: 0 });
}

fn entry_checks(mode: Mode) {
    let toy = Toy::new(mode, 1);
    let gp = |leaf| Exit::Exception { leaf, vector: 13, error_code: 0, address: 0 };
    let none = PassedRegisters::default();
    assert_eq!(toy.enter(tcs(0) + 8, EntryLeaf::Enter, none), gp(2), "not aligned");
    let not_tcs = toy.enter(toy::DATA, EntryLeaf::Enter, none);
    let address = toy::DATA;
    assert_eq!(
        not_tcs,
        Exit::Exception { leaf: 2, vector: 14, error_code: 0x8005, address },
        "not a TCS"
    );
    assert_eq!(toy.enter(tcs(0), EntryLeaf::Resume, none), gp(3), "nothing to resume");
    assert_eq!(toy.done(0, command::ADD, [1, 1, 0, 0]).rsi, 2, "and the TCS is free again");
}

fn host_state_is_restored(mode: Mode) {
    let toy = Toy::new(mode, 1);
    let before = processor_state();
    toy.done(0, command::DIRTY, [0; 4]);
    assert_eq!(processor_state(), before);
    // Floating point works: the x87 stack is empty and no exception is pending.
    assert_eq!(std::hint::black_box(1.5_f64) * 2.0, 3.0);
}

/// MXCSR, x87 control and status, DF and AC.
fn processor_state() -> (u32, u16, u16, u64) {
    let (mut mxcsr, mut control, mut status, flags) = (0_u32, 0_u16, 0_u16, 0_u64);
    let mut flags = flags;
    // SAFETY: it stores control registers into locals.
    unsafe {
        core::arch::asm!(
            "stmxcsr [{mxcsr}]",
            "fnstcw [{control}]",
            "fnstsw [{status}]",
            "pushfq",
            "pop {flags}",
            mxcsr = in(reg) &raw mut mxcsr,
            control = in(reg) &raw mut control,
            status = in(reg) &raw mut status,
            flags = out(reg) flags,
        );
    }
    flags &= 0x40400;
    (mxcsr & !0x3f, control, status, flags)
}

fn exit_to_elsewhere_is_refused(mode: Mode) {
    let toy = Toy::new(mode, 1);
    let registers =
        PassedRegisters { rdi: command::EXIT_TO, rsi: 0x1234, ..PassedRegisters::default() };
    // SAFETY: the toy's code is in this crate.
    let refused = unsafe { toy.enclave.enter(tcs(0), EntryLeaf::Enter, registers) };
    assert!(
        matches!(refused, Err(DriverError::Refused { operation: "EEXIT", got: 0x1234, .. })),
        "{refused:?}"
    );
    assert_eq!(toy.done(0, command::ADD, [1, 1, 0, 0]).rsi, 2);
}

#[test]
fn a_second_enclave_is_refused_while_the_first_lives() {
    use sgx::driver::Driver;
    let toy = Toy::new(Mode::Fast, 1);
    let second = sgx_emulator::Emulator::new(Mode::Fast).create(&toy::secs().to_bytes());
    assert!(matches!(second, Err(DriverError::Os { errno: libc::EEXIST, .. })));
    drop(toy);
    drop(Toy::new(Mode::Pure, 1));
}

#[test]
fn threads_come_and_go() {
    let toy = Toy::new(Mode::Fast, 1);
    for i in 0..100 {
        thread::scope(|scope| {
            scope.spawn(|| assert_eq!(toy.done(0, command::ADD, [i, 1, 0, 0]).rsi, i + 1));
        });
    }
}
