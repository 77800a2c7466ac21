//! Trampolines: where patched sites jump to.
//!
//! A slot holds the moved instructions, then `lea rcx, [after the SYSCALL]` (RCX is the call's to
//! destroy) and a jump through the thread block to the system-call entry. It touches no stack, so the red
//! zone needs no care. All of a slot lies before the call: a thread interrupted in one has yet to make it.

use super::scan::{Action, Site};
use alloc::vec::Vec;

/// Bytes of a slot: at most 19 moved, 7 of LEA, 8 of JMP, rounded up to a multiple of 16.
pub const SLOT_SIZE: u64 = 48;

const JMP_REL32: u8 = 0xe9;
const JMP_REL8: u8 = 0xeb;
const INT3: u8 = 0xcc;
const UD2: [u8; 2] = [0x0f, 0x0b];

/// Bytes to write at an address of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// First byte.
    pub address: u64,
    /// The new bytes.
    pub bytes: Vec<u8>,
}

/// Where a thread in a trampoline logically is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Address of the SYSCALL instruction that it is about to make.
    pub instruction: u64,
}

/// The trampolines near one mapping, in ascending slots.
#[derive(Clone, Debug)]
pub struct Trampolines {
    base: u64,
    capacity: usize,
    gs_offset: u32,
    /// SYSCALL instruction of each slot.
    instructions: Vec<u64>,
}

impl Trampolines {
    /// Slots in `[base, base + size)`; `gs_offset` is
    /// [`Platform::syscall_entry_gs_offset`](crate::platform::Platform::syscall_entry_gs_offset).
    #[must_use]
    pub fn new(base: u64, size: u64, gs_offset: u32) -> Self {
        let capacity = (size / SLOT_SIZE) as usize;
        Self { base, capacity, gs_offset, instructions: Vec::new() }
    }

    /// The patches for a site whose instruction lies at `instruction`: the slot's first, so that the jump
    /// never leads to an empty one. None where the slots are used up or out of reach; the site then traps.
    pub fn add(&mut self, site: &Site, instruction: u64) -> Option<Vec<Patch>> {
        let Action::Syscall(moved) = site.action else {
            return Some(alloc::vec![Patch { address: instruction, bytes: UD2.to_vec() }]);
        };
        let index = match self.instructions.iter().position(|&known| known == instruction) {
            Some(index) => index,
            None if self.instructions.len() < self.capacity => self.instructions.len(),
            None => return None,
        };
        let slot = self.base + index as u64 * SLOT_SIZE;
        let start = instruction.checked_sub(moved.bytes().len() as u64)?;

        let mut code = moved.bytes().to_vec();
        let after_lea = slot + code.len() as u64 + 7;
        code.extend_from_slice(&[0x48, 0x8d, 0x0d]);
        code.extend_from_slice(&relative(after_lea, instruction + 2)?);
        code.extend_from_slice(&[0x65, 0xff, 0x24, 0x25]);
        code.extend_from_slice(&self.gs_offset.to_le_bytes());
        code.resize(SLOT_SIZE as usize, INT3);

        let near_at = match moved.padding() {
            None => start,
            Some(distance) => instruction.wrapping_add_signed(distance),
        };
        let mut near = alloc::vec![JMP_REL32];
        near.extend_from_slice(&relative(near_at + 5, slot)?);
        let mut patches = alloc::vec![Patch { address: slot, bytes: code }];
        if moved.padding().is_some() {
            let distance = near_at.wrapping_sub(start + 2) as i64;
            let mut short = alloc::vec![JMP_REL8, i8::try_from(distance).ok()? as u8];
            short.resize(moved.bytes().len(), INT3);
            patches.push(Patch { address: near_at, bytes: near });
            patches.push(Patch { address: start, bytes: short });
        } else {
            near.resize(moved.bytes().len(), INT3);
            patches.push(Patch { address: start, bytes: near });
        }

        if index == self.instructions.len() {
            self.instructions.push(instruction);
        }
        Some(patches)
    }

    /// Where a thread at `rip` is, if it is in a slot in use.
    #[must_use]
    pub fn lookup(&self, rip: u64) -> Option<Location> {
        let index = usize::try_from(rip.checked_sub(self.base)? / SLOT_SIZE).ok()?;
        self.instructions.get(index).map(|&instruction| Location { instruction })
    }
}

/// The displacement of a near jump or LEA that ends at `from`.
fn relative(from: u64, to: u64) -> Option<[u8; 4]> {
    let distance = to.wrapping_sub(from) as i64;
    i32::try_from(distance).ok().map(i32::to_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::super::scan::{Bounds, scan};
    use super::*;

    /// mov eax, 39; syscall
    const CODE: [u8; 7] = [0xb8, 39, 0, 0, 0, 0x0f, 0x05];

    fn site() -> Site {
        scan(&CODE, 0, 0, Bounds::Function)[0]
    }

    #[test]
    fn a_slot_makes_the_moved_instructions_and_comes_back_after_the_call() {
        let mut trampolines = Trampolines::new(0x50_0000, 0x1000, 0x28);
        let patches = trampolines.add(&site(), 0x40_0005).unwrap();
        let [slot, jump] = &patches[..] else { panic!("{patches:?}") };
        assert_eq!(slot.address, 0x50_0000);
        assert_eq!(slot.bytes[..5], CODE[..5]);
        // lea rcx, [rip + d]: 0x40_0007 - 0x50_000c
        assert_eq!(slot.bytes[5..12], [0x48, 0x8d, 0x0d, 0xfb, 0xff, 0xef, 0xff]);
        assert_eq!(slot.bytes[12..20], [0x65, 0xff, 0x24, 0x25, 0x28, 0, 0, 0]);
        // jmp: 0x50_0000 - 0x40_0005
        assert_eq!((jump.address, &jump.bytes[..]), (0x40_0000, &[0xe9, 0xfb, 0xff, 0x0f, 0][..]));
        let location = Some(Location { instruction: 0x40_0005 });
        assert_eq!(trampolines.lookup(0x50_0000), location);
        assert_eq!(trampolines.lookup(0x50_002f), location);
        assert_eq!(trampolines.lookup(0x50_0030), None);
        assert_eq!(trampolines.lookup(0x4f_ffff), None);
    }

    #[test]
    fn a_short_site_jumps_twice() {
        // je +2; xor eax, eax; syscall; ret; five bytes of nop
        let code = [0x74, 2, 0x31, 0xc0, 0x0f, 0x05, 0xc3, 0x90, 0x90, 0x90, 0x90, 0x90];
        let site = scan(&code, 0, 0, Bounds::Function)[0];
        let mut trampolines = Trampolines::new(0x50_0000, 0x1000, 0x28);
        let patches = trampolines.add(&site, 0x40_0004).unwrap();
        let [slot, near, short] = &patches[..] else { panic!("{patches:?}") };
        assert_eq!(slot.bytes[..2], [0x31, 0xc0]);
        assert_eq!((near.address, &near.bytes[..]), (0x40_0007, &[0xe9, 0xf4, 0xff, 0x0f, 0][..]));
        assert_eq!((short.address, &short.bytes[..]), (0x40_0002, &[0xeb, 3][..]));
    }

    #[test]
    fn a_full_or_distant_area_leaves_the_site_to_trap() {
        let mut full = Trampolines::new(0x50_0000, SLOT_SIZE, 0);
        assert!(full.add(&site(), 0x40_0005).is_some());
        assert!(full.add(&site(), 0x40_0005).is_some(), "the same site keeps its slot");
        assert_eq!(full.add(&site(), 0x40_1005), None);
        let mut distant = Trampolines::new(1 << 40, 0x1000, 0);
        assert_eq!(distant.add(&site(), 0x40_0005), None);
    }
}
