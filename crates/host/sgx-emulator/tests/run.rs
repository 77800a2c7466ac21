//! Entry, exit, exceptions and kicks, in fast and in pure mode.

#[macro_use]
mod toy;

use sgx::Xfrm;
use sgx::driver::{Enclave, EntryLeaf, Exit, PassedRegisters};
use sgx_emulator::Mode;
use toy::{Toy, action, at, command, gs, tcs};

in_both_modes!(
    enters_and_exits,
    system_call_is_an_exception_that_resumes,
    breakpoint_is_a_fault,
    division_by_zero,
    state_survives_an_exception,
    nested_exception,
);

fn enters_and_exits(mode: Mode) {
    let toy = Toy::new(mode, 1);
    for i in 0..1000 {
        let registers = toy.done(0, command::ADD, [i, 5, 0, 0]);
        assert_eq!((registers.rsi, registers.rdx, registers.r8), (i + 5, 0, 0xdada));
    }
}

fn system_call_is_an_exception_that_resumes(mode: Mode) {
    let toy = Toy::new(mode, 1);
    toy.poke(0, gs::ACTION, action::SKIP);
    toy.poke(0, gs::SKIP, 2);
    toy.poke(0, gs::VALUE, 1234);
    let registers = toy.done(0, command::SYSCALL, [39, 0, 0, 0]);
    assert_eq!(registers.rsi, 1234);
    assert_eq!(registers.rdx, at::syscall() + 2, "RCX is the next RIP");
    assert_ne!(registers.r8, 0, "R11 is RFLAGS");
    assert_eq!(toy.peek(0, gs::EXITINFO), 0x8000_0306);
    assert_eq!(toy.peek(0, gs::RIP), at::syscall());
    assert_eq!(toy.peek(0, gs::COUNT), 1);
}

fn breakpoint_is_a_fault(mode: Mode) {
    let toy = Toy::new(mode, 1);
    toy.poke(0, gs::ACTION, action::SKIP);
    toy.poke(0, gs::SKIP, 1);
    assert_eq!(toy.done(0, command::INT3, [0; 4]).rsi, 77);
    assert_eq!(toy.peek(0, gs::EXITINFO), 0x8000_0603);
    assert_eq!(toy.peek(0, gs::RIP), at::int3());
}

fn division_by_zero(mode: Mode) {
    let toy = Toy::new(mode, 1);
    toy.poke(0, gs::ACTION, action::SKIP);
    toy.poke(0, gs::SKIP, 2);
    toy.poke(0, gs::VALUE, 9);
    assert_eq!(toy.done(0, command::DIVIDE, [0; 4]).rsi, 9);
    assert_eq!(toy.peek(0, gs::EXITINFO), 0x8000_0300);
    assert_eq!(toy.peek(0, gs::RIP), at::divide());
}

fn state_survives_an_exception(mode: Mode) {
    let toy = Toy::new(mode, 1);
    toy.poke(0, gs::ACTION, action::SKIP);
    toy.poke(0, gs::SKIP, 2);
    // As much of the extended state as this CPU has.
    let xfrm = toy::xfrm();
    let has = |bits: Xfrm| u64::from(xfrm.contains(bits));
    let registers = toy.done(0, command::PATTERN, [has(Xfrm::AVX), has(Xfrm::AVX512), 0, 0]);
    assert_eq!(registers.rsi, 1, "the carry flag");
    assert_eq!(registers.rdx, 0, "XMM15");
    assert_eq!(registers.r8, 0x0808_0808_0808_0808 ^ 0x1010_1010_1010_1010);
    assert_eq!(registers.r9 & 0x4500, 0, "pi > 1 on the x87 stack");
    assert_eq!(toy.peek(0, gs::RIP), at::pattern());
}

fn nested_exception(mode: Mode) {
    let toy = Toy::new(mode, 1);
    toy.poke(0, gs::ACTION, action::NESTED);
    toy.done(0, command::UD2, [0; 4]);
    assert_eq!(toy.peek(0, gs::COUNT), 2);
    assert_eq!(toy.peek(0, gs::RIP), at::nested());
}

#[test]
fn pure_mode_reports_every_exit() {
    let toy = Toy::new(Mode::Pure, 1);
    let registers = PassedRegisters { rdi: command::UD2, ..PassedRegisters::default() };
    let exit = toy.enter(tcs(0), EntryLeaf::Enter, registers);
    assert_eq!(exit, Exit::Exception { leaf: 3, vector: 6, error_code: 0, address: 0 });
    let _ = &toy.enclave as &dyn Enclave;
}
