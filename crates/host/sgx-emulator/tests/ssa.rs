//! Fast and pure mode leave the same SSA frame for the same interrupted state.

mod toy;

use sgx::driver::Exit;
use sgx::{Exitinfo, Gprsgx, Xfrm, xsave};
use sgx_emulator::Mode;
use toy::{HEAP, Toy, action, at, command, gs, tcs};

const FRAME: usize = 4096;

/// Runs a command up to its exception, whose entry refuses, and gives SSA[0] as another thread reads it.
fn interrupted(mode: Mode, command: u64, operands: [u64; 4]) -> [u8; FRAME] {
    let toy = Toy::new(mode, 2);
    toy.poke(0, gs::ACTION, action::REFUSE);
    let (exit, _) = toy.run_counted(0, command | command::CLEAN, operands);
    assert!(matches!(exit, Exit::Eexit(registers) if registers.rdi == 4), "{exit:?}");
    let mut frame = [0; FRAME];
    toy.read(1, tcs(0) + 0x1000, &mut frame);
    frame
}

/// Clears what may differ: the host's own RSP and RBP, the x87 instruction and data pointers and opcode
/// (which depend on when the kernel last saved the state), bytes that XSAVE reserves, and components that
/// XSTATE_BV does not mark.
fn comparable(mut frame: [u8; FRAME]) -> [u8; FRAME] {
    let mut marked = [0; 8];
    marked.copy_from_slice(&frame[xsave::XSTATE_BV..][..8]);
    let marked = Xfrm::from_bits_retain(u64::from_le_bytes(marked));
    frame[6..24].fill(0);
    frame[416..512].fill(0);
    let mut end = xsave::HEADER_END;
    for component in xsave::COMPONENTS {
        frame[end..component.offset.min(FRAME)].fill(0);
        end = component.offset + component.size;
        if end <= FRAME && !marked.contains(component.bit) {
            frame[component.offset..end].fill(0);
        }
        if end > FRAME {
            break;
        }
    }
    let gprsgx = FRAME - Gprsgx::SIZE;
    let host = gprsgx + Gprsgx::offset("ursp")..gprsgx + Gprsgx::offset("exitinfo");
    frame[host].fill(0);
    frame
}

fn gprsgx(frame: &[u8; FRAME]) -> Gprsgx {
    let bytes = frame[FRAME - Gprsgx::SIZE..].try_into().expect("the size fits");
    Gprsgx::from_bytes(bytes)
}

fn compare(command: u64, operands: [u64; 4]) -> [u8; FRAME] {
    let fast = interrupted(Mode::Fast, command, operands);
    let pure = interrupted(Mode::Pure, command, operands);
    let (a, b) = (comparable(fast), comparable(pure));
    let differing: Vec<usize> = (0..FRAME).filter(|&i| a[i] != b[i]).collect();
    assert!(differing.is_empty(), "command {command}: bytes {differing:?} differ");
    fast
}

#[test]
fn of_an_illegal_instruction_with_every_register_known() {
    let xfrm = toy::xfrm();
    let has = |bits: Xfrm| u64::from(xfrm.contains(bits));
    let frame = compare(command::PATTERN, [has(Xfrm::AVX), has(Xfrm::AVX512), 0, 0]);
    let registers = gprsgx(&frame);
    assert_eq!(registers.rip, at::pattern());
    assert_eq!(registers.exitinfo, Exitinfo(0x8000_0306));
    assert_eq!(registers.r8, 0x0808_0808_0808_0808);
    assert_eq!(registers.r15, 0x1515_1515_1515_1515);
    assert_eq!(registers.rbp, 0x0505_0505_0505_0505);
    assert_eq!(registers.rflags & 1, 1, "the carry flag");
    assert_eq!((registers.fsbase, registers.gsbase), (toy::DATA, tcs(0) + 0x5000));
    assert_ne!(registers.ursp, 0);
    assert_eq!(frame[160..168], [8; 8], "XMM0");
    assert_eq!(frame[160 + 15 * 16..][..8], [9; 8], "XMM15");
    if xfrm.contains(Xfrm::AVX) {
        assert_eq!(frame[576 + 3 * 16..][..16], [8; 16], "the upper half of YMM3");
    }
    if xfrm.contains(Xfrm::AVX512) && xfrm_offsets_are_intels() {
        assert_eq!(frame[1664 + 4 * 64..][..64], [8; 64], "ZMM20");
    }
}

/// Other makers' CPUs lay extended components out differently.
fn xfrm_offsets_are_intels() -> bool {
    core::arch::x86_64::__cpuid_count(0xd, 7).ebx == 1664
}

#[test]
fn of_system_calls_faults_and_refused_leaves() {
    let rip = |command, operands| gprsgx(&compare(command, operands)).rip;
    assert_eq!(rip(command::SYSCALL, [39, 0, 0, 0]), at::syscall());
    assert_eq!(rip(command::INT3, [0; 4]), at::int3());
    assert_eq!(rip(command::DIVIDE, [0; 4]), at::divide());
    assert_eq!(rip(command::WRITE, [HEAP, 1, 0, 0]), at::write());
    // Through the gate in fast mode, by a trap in pure mode.
    assert_eq!(rip(command::ENCLU, [5, 1, 2, 3]), at::enclu());
    assert_eq!(rip(command::ENCLU, [0x55, 1, 2, 3]), at::enclu());
}
