//! Finding the SYSCALL and CPUID instructions of a stretch of code.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::ops::Range;
use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic};

/// A near jump, which replaces the instructions before a SYSCALL.
const JUMP_SIZE: usize = 5;
/// A short jump, to a near jump in padding, where there is no room for more. glibc's read(2) is such a site:
/// `xor eax, eax; syscall` after a branch.
const SHORT_JUMP_SIZE: usize = 2;
/// At most this many bytes are moved: four of a short instruction and the longest one.
pub(super) const MAX_MOVED: usize = 4 + 15;
/// Farther than this from an indirect jump, code is taken to be another function where the functions'
/// bounds are not known.
const INDIRECT_REACH: u64 = 4 << 10;

/// An instruction to patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// File offset of the instruction.
    pub offset: u64,
    /// What becomes of it.
    pub action: Action,
}

impl Site {
    /// File offsets from the first byte that the patch touches to after the last.
    #[must_use]
    pub fn extent(&self) -> Range<u64> {
        let end = self.offset + 2;
        let Action::Syscall(moved) = self.action else { return self.offset..end };
        let start = self.offset - moved.bytes().len() as u64;
        match moved.padding() {
            None => start..end,
            Some(distance) => {
                let padding = self.offset.wrapping_add_signed(distance);
                start.min(padding)..end.max(padding + JUMP_SIZE as u64)
            }
        }
    }
}

/// What becomes of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A SYSCALL: the instructions before it move to a trampoline and a jump takes their place.
    Syscall(Moved),
    /// A CPUID: it becomes UD2.
    Cpuid,
}

/// Instructions that move: whole, position-independent, at least a jump long, or a short jump where there
/// is padding to go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    bytes: [u8; MAX_MOVED],
    length: u8,
    padding: Option<i16>,
}

impl Moved {
    /// Their bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// Distance from the SYSCALL to five bytes of padding that take the near jump; None where it fits in
    /// place.
    #[must_use]
    pub fn padding(&self) -> Option<i64> {
        self.padding.map(i64::from)
    }
}

/// What is known of the bytes to scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bounds {
    /// They are one function.
    Function,
    /// They are many functions, and maybe data between them.
    Unknown,
}

/// A decoded instruction, as far as patching cares.
struct Step {
    start: usize,
    length: u8,
    kind: StepKind,
}

#[derive(PartialEq, Eq)]
enum StepKind {
    Syscall,
    Cpuid,
    Movable,
    IndirectJump,
    /// Control never passes it: RET, JMP.
    End,
    /// A NOP that control cannot reach from above.
    Padding,
    Fixed,
    Invalid,
}

/// `mov rax, 15; syscall`: where a signal handler returns to. The C library's frame description of it begins
/// one byte early, for unwinders look up the address before a return address.
const RESTORE_RT: [u8; 9] = [0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05];

/// Sites in `code`, which lies at file offset `offset` and link-time address `address`.
pub(super) fn scan(code: &[u8], address: u64, offset: u64, bounds: Bounds) -> Vec<Site> {
    if bounds == Bounds::Function && code.get(1..1 + RESTORE_RT.len()) == Some(&RESTORE_RT) {
        return scan(&code[1..], address + 1, offset + 1, bounds);
    }
    let (steps, targets) = decode(code, address);
    let indirect: Vec<u64> = steps
        .iter()
        .filter(|step| step.kind == StepKind::IndirectJump)
        .map(|step| step.start as u64)
        .collect();
    let mut paddings = paddings(&steps, &targets);
    let mut sites = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let action = match step.kind {
            StepKind::Cpuid => Some(Action::Cpuid),
            StepKind::Syscall => {
                let may_be_reached_indirectly = match bounds {
                    Bounds::Function => !indirect.is_empty(),
                    Bounds::Unknown => is_near(&indirect, step.start as u64),
                };
                let before = Before {
                    code,
                    steps: &steps[..index],
                    at: step.start,
                    targets: &targets,
                    may_be_reached_indirectly,
                };
                before
                    .moved(JUMP_SIZE)
                    .or_else(|| {
                        let moved = before.moved(SHORT_JUMP_SIZE)?;
                        let from = step.start - usize::from(moved.length) + SHORT_JUMP_SIZE;
                        let padding = take_near(&mut paddings, from)?;
                        let distance = padding as i64 - step.start as i64;
                        Some(Moved { padding: Some(i16::try_from(distance).ok()?), ..moved })
                    })
                    .map(Action::Syscall)
            }
            _ => None,
        };
        if let Some(action) = action
            && is_trusted(&steps[..index], bounds)
        {
            sites.push(Site { offset: offset + step.start as u64, action });
        }
    }
    sites
}

fn decode(code: &[u8], address: u64) -> (Vec<Step>, BTreeSet<usize>) {
    let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    let (mut steps, mut targets) = (Vec::new(), BTreeSet::new());
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        let start = decoder.position();
        decoder.decode_out(&mut instruction);
        let is_unreached = matches!(
            steps.last(),
            Some(Step { kind: StepKind::End | StepKind::IndirectJump | StepKind::Padding, .. })
        );
        let kind = match classify(&instruction) {
            StepKind::Movable if is_unreached && instruction.mnemonic() == Mnemonic::Nop => {
                StepKind::Padding
            }
            kind => kind,
        };
        let target = match instruction.flow_control() {
            FlowControl::UnconditionalBranch
            | FlowControl::ConditionalBranch
            | FlowControl::Call => Some(instruction.near_branch_target()),
            // A label whose address is taken.
            _ if instruction.is_ip_rel_memory_operand() => {
                Some(instruction.ip_rel_memory_address())
            }
            _ => None,
        };
        if let Some(inside) = target.and_then(|target| target.checked_sub(address))
            && inside < code.len() as u64
        {
            targets.insert(inside as usize);
        }
        steps.push(Step { start, length: (decoder.position() - start) as u8, kind });
    }
    (steps, targets)
}

fn classify(instruction: &Instruction) -> StepKind {
    match instruction.code() {
        Code::INVALID => StepKind::Invalid,
        Code::Syscall => StepKind::Syscall,
        Code::Cpuid => StepKind::Cpuid,
        _ => match instruction.flow_control() {
            FlowControl::IndirectBranch => StepKind::IndirectJump,
            FlowControl::Return | FlowControl::UnconditionalBranch => StepKind::End,
            FlowControl::Next if !instruction.is_ip_rel_memory_operand() => StepKind::Movable,
            _ => StepKind::Fixed,
        },
    }
}

/// What stands before a SYSCALL.
struct Before<'a> {
    code: &'a [u8],
    steps: &'a [Step],
    at: usize,
    targets: &'a BTreeSet<usize>,
    may_be_reached_indirectly: bool,
}

impl Before<'_> {
    /// The instructions that a jump of `size` bytes may replace.
    fn moved(&self, size: usize) -> Option<Moved> {
        let mut start = self.at;
        for step in self.steps.iter().rev() {
            if step.kind != StepKind::Movable {
                return None;
            }
            start = step.start;
            if self.at - start >= size {
                break;
            }
        }
        let length = self.at - start;
        if !(size..=MAX_MOVED).contains(&length) {
            return None;
        }
        // One instruction has no inside that control could reach; several have.
        let is_one = self.steps.last().is_some_and(|step| usize::from(step.length) == length);
        let is_entered = self.targets.range(start + 1..self.at).next().is_some();
        if !is_one && (is_entered || self.may_be_reached_indirectly) {
            return None;
        }
        let mut bytes = [0; MAX_MOVED];
        bytes[..length].copy_from_slice(&self.code[start..self.at]);
        Some(Moved { bytes, length: length as u8, padding: None })
    }
}

/// Where five bytes of padding begin, which nothing jumps to.
fn paddings(steps: &[Step], targets: &BTreeSet<usize>) -> Vec<usize> {
    let mut found = Vec::new();
    for run in steps.chunk_by(|a, b| a.kind == StepKind::Padding && b.kind == StepKind::Padding) {
        let (first, last) = (&run[0], &run[run.len() - 1]);
        let end = last.start + usize::from(last.length);
        let is_used = targets.range(first.start..end).next().is_some();
        if first.kind == StepKind::Padding && end - first.start >= JUMP_SIZE && !is_used {
            found.push(first.start);
        }
    }
    found
}

/// Takes a padding that a short jump which ends at `from` reaches.
fn take_near(paddings: &mut Vec<usize>, from: usize) -> Option<usize> {
    let index =
        paddings.iter().position(|&padding| i8::try_from(padding as i64 - from as i64).is_ok())?;
    Some(paddings.swap_remove(index))
}

/// Whether decoding can be believed where it stands: a function's always, unless something in it was invalid;
/// elsewhere only some way after the last invalid instruction.
fn is_trusted(before: &[Step], bounds: Bounds) -> bool {
    const SETTLED: usize = 16;
    let looked_at = match bounds {
        Bounds::Function => before,
        Bounds::Unknown => &before[before.len().saturating_sub(SETTLED)..],
    };
    looked_at.iter().all(|step| step.kind != StepKind::Invalid)
}

/// Whether one of the ascending `positions` is within [`INDIRECT_REACH`] of `at`.
fn is_near(positions: &[u64], at: u64) -> bool {
    let first = positions.partition_point(|&position| position + INDIRECT_REACH < at);
    positions.get(first).is_some_and(|&position| position <= at + INDIRECT_REACH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(code: &[u8]) -> Vec<(u64, Option<usize>)> {
        scan(code, 0x1000, 0, Bounds::Function)
            .iter()
            .map(|site| match site.action {
                Action::Syscall(moved) => (site.offset, Some(moved.bytes().len())),
                Action::Cpuid => (site.offset, None),
            })
            .collect()
    }

    #[test]
    fn a_number_moved_to_eax_makes_room() {
        // mov eax, 39; syscall; ret
        assert_eq!(one(&[0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3]), [(5, Some(5))]);
    }

    #[test]
    fn instructions_before_make_room_together() {
        // mov rax, rdi; mov rdi, rsi; syscall
        assert_eq!(one(&[0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0x0f, 0x05]), [(6, Some(6))]);
    }

    #[test]
    fn a_signal_return_is_decoded_from_its_real_start() {
        // The last byte of a no-operation; mov rax, 15; syscall
        let code = [0x00, 0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05];
        assert_eq!(one(&code), [(8, Some(7))]);
    }

    #[test]
    fn a_jump_into_the_moved_instructions_forbids_it() {
        // jmp to the second mov; mov rax, rdi; mov rdi, rsi; syscall
        let code = [0xeb, 3, 0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0x0f, 0x05];
        assert_eq!(one(&code), []);
    }

    #[test]
    fn an_indirect_jump_forbids_several_but_not_one() {
        // jmp rax; mov eax, 39; syscall; mov rax, rdi; mov rdi, rsi; syscall
        let code = [
            0xff, 0xe0, 0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0x0f,
            0x05,
        ];
        assert_eq!(one(&code), [(7, Some(5))]);
    }

    #[test]
    fn a_relative_operand_does_not_move() {
        // mov eax, [rip+0]; syscall
        assert_eq!(one(&[0x8b, 0x05, 0, 0, 0, 0, 0x0f, 0x05]), []);
    }

    #[test]
    fn nothing_before_means_nothing_to_patch() {
        assert_eq!(one(&[0x0f, 0x05, 0xb8, 1, 0, 0, 0]), []);
    }

    #[test]
    fn a_short_site_goes_through_padding_after_a_return() {
        // je +2; xor eax, eax; syscall; ret; nopw of 10 bytes; nop
        let mut code = vec![0x74, 2, 0x31, 0xc0, 0x0f, 0x05, 0xc3];
        code.extend([0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0, 0x90]);
        let sites = scan(&code, 0x1000, 0, Bounds::Function);
        let [Site { offset: 4, action: Action::Syscall(moved) }] = sites[..] else {
            panic!("{sites:?}")
        };
        assert_eq!((moved.bytes(), moved.padding()), (&[0x31, 0xc0][..], Some(3)));
        assert_eq!(sites[0].extent(), 2..12);
        // A jump to the padding: it is code.
        code[1] = 5;
        assert_eq!(scan(&code, 0x1000, 0, Bounds::Function), []);
    }

    #[test]
    fn an_immediate_that_looks_like_a_site_is_none() {
        // mov eax, 0x050f; ret
        assert_eq!(one(&[0xb8, 0x0f, 0x05, 0, 0, 0xc3]), []);
        assert_eq!(one(&[0x0f, 0xa2]), [(0, None)]);
    }

    #[test]
    fn after_an_invalid_instruction_a_function_is_not_believed() {
        // push es is invalid in 64-bit mode
        assert_eq!(one(&[0x06, 0xb8, 39, 0, 0, 0, 0x0f, 0x05]), []);
    }
}
