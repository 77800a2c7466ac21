//! Prints what the paths in and out of an emulated enclave cost: the minimum over many short samples.
//!
//! The figures leave out what a CPU with SGX spends on EAUG, EACCEPT, and on flushing at every transition.

#[path = "../tests/toy/mod.rs"]
mod toy;

use sgx::driver::{EntryLeaf, Exit, PassedRegisters};
use sgx_emulator::Mode;
use std::time::Instant;
use toy::{HEAP, Toy, action, command, gs, tcs};

const SAMPLES: u32 = 200;

/// Least nanoseconds per step of `run`, which does `steps`.
fn least(steps: u64, mut run: impl FnMut()) -> f64 {
    (0..SAMPLES)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_nanos() as f64 / steps as f64
        })
        .fold(f64::INFINITY, f64::min)
}

fn show(name: &str, mode: Mode, ns: f64) {
    println!("emulated {name:<44} {:<5} {ns:>9.0} ns", format!("{mode:?}").to_lowercase());
}

fn measure(mode: Mode) {
    let toy = Toy::new(mode, 1);
    let add = PassedRegisters { rdi: command::ADD, ..PassedRegisters::default() };
    let round_trip = least(100, || {
        for _ in 0..100 {
            let exit = toy.enter(tcs(0), EntryLeaf::Enter, add);
            assert!(matches!(exit, Exit::Eexit(_)));
        }
    });
    show("EENTER + EEXIT (host call round trip)", mode, round_trip);

    toy.poke(0, gs::ACTION, action::SKIP);
    toy.poke(0, gs::SKIP, 2);
    let trap = least(20, || {
        toy.done(0, command::SYSCALLS, [20, 0, 0, 0]);
    });
    show("system call: trap, handler, resume", mode, trap);

    let leaf = least(50, || {
        toy.done(0, command::SPIN_ENCLU, [50, 0, 0, 0]);
    });
    show("EACCEPT that changes nothing", mode, leaf);

    toy.poke(0, gs::ACTION, action::ACCEPT);
    let mut next = HEAP;
    let fault = least(1, || {
        toy.done(0, command::WRITE, [next, 1, 0, 0]);
        next += 4096;
    });
    show("page fault, EACCEPT, first write", mode, fault);
    next += 1 << 20;
    let batch = least(16, || {
        toy.done(0, command::ACCEPT_AND_WRITE, [next, 16, 0, 0]);
        next += 16 * 4096;
    });
    show("EACCEPT + first write, each of 16 pages", mode, batch);
}

fn main() {
    println!(
        "native getppid {:>47.0} ns",
        least(100, || {
            for _ in 0..100 {
                // SAFETY: getppid takes nothing and touches no memory.
                unsafe { libc::syscall(libc::SYS_getppid) };
            }
        })
    );
    measure(Mode::Fast);
    measure(Mode::Pure);
}
