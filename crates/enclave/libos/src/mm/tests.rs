//! Processes that take turns in memory behave as if each had its own.

use super::fault::{Attempt, Resolution};
use super::map::{Place, Request};
use super::vma::{Backing, Role};
use super::window::Windows;
use super::{Memory, Mm};
use crate::errno::Errno;
use crate::fs::file::PageSource;
use crate::platform::Access;
use crate::testing::Machine;
use std::collections::BTreeMap;
use std::sync::Arc;

const RW: Access = Access { read: true, write: true, execute: false };
const RO: Access = Access { read: true, write: false, execute: false };

struct TestFile(u8);

impl PageSource for TestFile {
    fn read_page(&self, index: u64, into: &mut [u8; 4096]) -> Result<(), Errno> {
        into.fill(self.0 + index as u8);
        Ok(())
    }
    fn size(&self) -> u64 {
        8 * 4096
    }
    fn content_digest(&self) -> Option<[u8; 32]> {
        Some([self.0; 32])
    }
    fn identity(&self) -> (u64, u64) {
        (0, u64::from(self.0))
    }
    fn share_page(&self, _: u64, _: u64) -> Result<(), Errno> {
        Err(Errno::ENODEV)
    }
    fn unshare_page(&self, _: u64) {}
}

fn request(place: Place, pages: u64, access: Access, backing: Backing) -> Request {
    let path = Arc::from([]);
    Request { place, length: pages * 4096, access, backing, role: Role::Plain, path }
}

fn file(seed: u8) -> Backing {
    Backing::File { source: Arc::new(TestFile(seed)), offset: 0, image: None }
}

/// A process and what it should see: value of the first byte of each mapped page, and whether it may
/// write it.
struct Model {
    mm: Arc<Mm>,
    pages: BTreeMap<u64, (u8, bool)>,
    /// What its thread remembers; never cleared.
    windows: Windows,
}

impl Model {
    fn new(mm: Arc<Mm>, pages: BTreeMap<u64, (u8, bool)>) -> Self {
        Self { mm, pages, windows: Windows::default() }
    }

    /// As a thread of the process reads in a system call.
    fn read(&mut self, machine: &Machine, at: u64, is_resident: bool) -> Option<u8> {
        let mut byte = [0];
        if is_resident && self.windows.read(machine, at, &mut byte) {
            return Some(byte[0]);
        }
        self.windows.look(&self.mm, at);
        self.mm.read_array::<1>(at).ok().map(|bytes| bytes[0])
    }

    /// As it writes; whether it was allowed.
    fn write(&mut self, machine: &Machine, at: u64, byte: u8, is_resident: bool) -> bool {
        if is_resident && self.windows.write(machine, at, &[byte]) {
            return true;
        }
        self.windows.look(&self.mm, at);
        self.mm.write(at, &[byte]).is_ok()
    }
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn user_access(machine: &Machine, mm: &Mm, at: u64, write: Option<u8>) -> Option<u8> {
    let attempt = if write.is_some() { Attempt::Write } else { Attempt::Read };
    for _ in 0..4 {
        let done = match write {
            Some(byte) => machine.user_write(at, byte).map(|()| byte),
            None => machine.user_read(at),
        };
        if done.is_some() {
            return done;
        }
        match mm.handle_fault(at, attempt) {
            Resolution::Resolved => {}
            Resolution::NotMapped | Resolution::NotPermitted => return None,
            other => panic!("{other:?} at {at:#x}"),
        }
    }
    panic!("fault at {at:#x} does not end");
}

/// What the module documentation of [`super::group`] promises.
fn check(machine: &Machine, mm: &Mm, context: &str) {
    mm.with(|state| {
        for (id, space) in &state.spaces {
            for at in space.pages.keys() {
                let is_there = machine.user_access(*at).is_some();
                let is_absent = space.absent.contains(at);
                assert!(is_there || is_absent, "{context}: {id:?} lost {at:#x}");
                let is_loose = state.loose.contains_key(at);
                assert!(is_absent || !is_loose, "{context}: {id:?} has {at:#x}, which is loose");
            }
        }
        for at in state.loose.keys() {
            assert!(machine.user_access(*at).is_some(), "{context}: loose {at:#x} is gone");
        }
    });
}

const BASE: u64 = 0x40_0000;
const PAGES: u64 = 12;

/// Random programs over one place: they map, write, read, fork, end, by themselves and through the library
/// OS, and who is in memory changes all the time.
#[test]
fn random_families_see_their_own_memory() {
    for seed in 1..=200u64 {
        let machine = Machine::leak(1 << 16);
        let memory: &'static Memory = Box::leak(Box::new(Memory::new(machine)));
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut family = vec![Model::new(Mm::new(memory), BTreeMap::new())];
        let mut running: Option<usize> = None;
        for step in 0..600 {
            let who = random.below(family.len() as u64) as usize;
            let at = BASE + random.below(PAGES) * 4096;
            let context = format!("seed {seed} step {step} process {who} at {at:#x}");
            let runs = match random.below(10) {
                // The library OS acts for a process that is not in memory.
                0..=3 => false,
                _ => {
                    if running != Some(who) {
                        if let Some(old) = running.replace(who) {
                            family[old].mm.exit_residency();
                        }
                        assert_eq!(family[who].mm.enter(false, || false), Ok(true), "{context}");
                    }
                    true
                }
            };
            let expected = family[who].pages.get(&at).copied();
            let byte = random.below(255) as u8;
            match random.below(12) {
                0..=2 if runs => {
                    let got = user_access(machine, &family[who].mm, at, None);
                    // Memory of another may be visible where nothing is mapped: no boundary.
                    if let Some((value, _)) = expected {
                        assert_eq!(got, Some(value), "{context}");
                    }
                }
                4 | 5 if runs && expected.is_some() => {
                    let got = user_access(machine, &family[who].mm, at, Some(byte));
                    assert_eq!(got.is_some(), expected.unwrap().1, "{context}");
                    if got.is_some() {
                        family[who].pages.insert(at, (byte, true));
                    }
                }
                0..=3 => {
                    let got = family[who].read(machine, at, runs);
                    assert_eq!(got, expected.map(|e| e.0), "{context}");
                }
                4..=6 => {
                    let done = family[who].write(machine, at, byte, runs);
                    assert_eq!(done, expected.is_some_and(|e| e.1), "{context}");
                    if done {
                        family[who].pages.insert(at, (byte, true));
                    }
                }
                7 => {
                    let pages = 1 + random.below(3);
                    let is_file = random.below(2) == 0;
                    let access = if random.below(3) == 0 { RO } else { RW };
                    let backing = if is_file { file(byte / 2) } else { Backing::Anonymous };
                    let request = request(Place::Fixed(at), pages, access, backing);
                    assert_eq!(family[who].mm.map(request), Ok(at), "{context}");
                    for index in 0..pages {
                        let value = if is_file { byte / 2 + index as u8 } else { 0 };
                        family[who].pages.insert(at + index * 4096, (value, access.write));
                    }
                }
                8 => {
                    family[who].mm.unmap(at, 4096).unwrap();
                    family[who].pages.remove(&at);
                }
                9 if expected.is_some() => {
                    let access = if random.below(2) == 0 { RO } else { RW };
                    family[who].mm.protect(at, 4096, access).unwrap();
                    family[who].pages.get_mut(&at).unwrap().1 = access.write;
                }
                10 if runs && family.len() < 6 => {
                    let parent = &family[who];
                    parent.mm.stop_others();
                    let child = parent.mm.fork();
                    parent.mm.exit_residency();
                    parent.mm.resume_others();
                    child.enter(true, || false).unwrap();
                    family.push(Model::new(child, family[who].pages.clone()));
                    running = Some(family.len() - 1);
                }
                11 if family.len() > 1 => {
                    if running == Some(who) {
                        family[who].mm.exit_residency();
                    }
                    drop(family.remove(who));
                    running = match running {
                        Some(r) if r == who => None,
                        Some(r) if r > who => Some(r - 1),
                        other => other,
                    };
                }
                _ => {}
            }
            if let Some(model) = family.first() {
                check(machine, &model.mm, &context);
            }
        }
        drop(family);
        assert_eq!(machine.committed(), 0, "seed {seed}: all memory comes back");
        assert!(
            memory.addresses.lock().is_free(0x10000..1 << 30),
            "seed {seed}: and all addresses"
        );
    }
}

/// Strangers that need the same addresses (programs that are not position independent) join a group.
#[test]
fn strangers_at_one_address_take_turns() {
    let machine = Machine::leak(1 << 16);
    let memory: &'static Memory = Box::leak(Box::new(Memory::new(machine)));
    let (a, b) = (Mm::new(memory), Mm::new(memory));
    for (mm, value) in [(&a, 1), (&b, 2)] {
        mm.map(request(Place::Fixed(BASE), 2, RO, file(9))).unwrap();
        mm.map(request(Place::Fixed(BASE + 0x2000), 2, RW, Backing::Anonymous)).unwrap();
        mm.write(BASE + 0x2000, &[value]).unwrap();
    }
    assert_eq!(a.group_members(), b.group_members());
    for _ in 0..3 {
        for (mm, value) in [(&a, 1), (&b, 2)] {
            assert_eq!(mm.enter(false, || false), Ok(true));
            assert_eq!(user_access(machine, mm, BASE + 0x2000, None), Some(value));
            assert_eq!(user_access(machine, mm, BASE + 0x1000, None), Some(10));
            mm.exit_residency();
        }
    }
    drop(a);
    assert_eq!(b.enter(false, || false), Ok(true));
    assert_eq!(user_access(machine, &b, BASE + 0x2000, None), Some(2));
}

#[test]
fn a_mapping_without_an_address_gets_its_own() {
    let machine = Machine::leak(1 << 16);
    let memory: &'static Memory = Box::leak(Box::new(Memory::new(machine)));
    let (a, b) = (Mm::new(memory), Mm::new(memory));
    let at = |mm: &Mm| mm.map(request(Place::Hint(0), 4, RW, Backing::Anonymous)).unwrap();
    let (first, second) = (at(&a), at(&b));
    assert!(first.abs_diff(second) >= 4 * 4096);
    assert_ne!(a.group_members(), b.group_members());
}

#[test]
fn accesses_outside_the_mappings_are_efault() {
    let machine = Machine::leak(1 << 16);
    let memory: &'static Memory = Box::leak(Box::new(Memory::new(machine)));
    let mm = Mm::new(memory);
    mm.map(request(Place::Fixed(BASE), 1, RW, Backing::Anonymous)).unwrap();
    mm.map(request(Place::Fixed(BASE + 0x1000), 1, RO, Backing::Anonymous)).unwrap();
    assert_eq!(mm.write(BASE + 0xffe, &[1; 4]), Err(Errno::EFAULT));
    assert_eq!(mm.read_array::<2>(BASE + 0xffe), Ok([1, 1]));
    assert_eq!(mm.read(BASE + 0x1fff, &mut [0; 2]), Err(Errno::EFAULT));
    assert_eq!(mm.read(u64::MAX - 1, &mut [0; 4]), Err(Errno::EFAULT));
    assert_eq!(mm.read(0, &mut [0; 4]), Err(Errno::EFAULT));
    assert_eq!(mm.update_u32(BASE + 2, |_| None), Err(Errno::EINVAL));
    assert_eq!(mm.update_u32(BASE, |v| Some(v + 5)), Ok(0));
    assert_eq!(mm.load_u32(BASE), Ok(5));
}

#[test]
fn a_fault_on_a_good_page_is_unexplained() {
    let machine = Machine::leak(1 << 16);
    let memory: &'static Memory = Box::leak(Box::new(Memory::new(machine)));
    let mm = Mm::new(memory);
    mm.map(request(Place::Fixed(BASE), 1, RW, Backing::Anonymous)).unwrap();
    assert_eq!(mm.handle_fault(BASE, Attempt::Write), Resolution::Resolved);
    assert_eq!(mm.handle_fault(BASE, Attempt::Write), Resolution::Unexplained);
    assert_eq!(mm.handle_fault(BASE, Attempt::Execute), Resolution::NotPermitted);
    assert_eq!(mm.handle_fault(BASE + 0x1000, Attempt::Read), Resolution::NotMapped);
}

#[test]
fn the_heap_grows_shrinks_and_forgets() {
    let machine = Machine::leak(1 << 16);
    let memory: &'static Memory = Box::leak(Box::new(Memory::new(machine)));
    let mm = Mm::new(memory);
    mm.set_heap(Some(0x50_0000), 0x10000).unwrap();
    assert_eq!(mm.set_break(0), 0x50_0000);
    assert_eq!(mm.set_break(0x50_1234), 0x50_1234);
    mm.write(0x50_1000, &[7]).unwrap();
    assert_eq!(mm.set_break(0x50_0800), 0x50_0800);
    assert_eq!(mm.set_break(0x54_0000), 0x54_0000);
    assert_eq!(mm.read_array::<1>(0x50_1000), Ok([0]));
    assert_eq!(mm.set_break(1 << 40), 0x54_0000);
}

#[test]
fn a_moved_mapping_keeps_its_contents() {
    let machine = Machine::leak(1 << 16);
    let memory: &'static Memory = Box::leak(Box::new(Memory::new(machine)));
    let mm = Mm::new(memory);
    mm.map(request(Place::Fixed(BASE), 2, RW, Backing::Anonymous)).unwrap();
    mm.map(request(Place::Fixed(BASE + 0x2000), 1, RW, Backing::Anonymous)).unwrap();
    mm.write(BASE + 0x1000, &[7]).unwrap();
    assert_eq!(mm.remap(BASE, 0x1000, 0x4000, None), Err(Errno::ENOMEM));
    let to = mm.remap(BASE, 0x2000, 0x4000, Some(Place::Hint(0))).unwrap();
    assert_eq!(mm.read_array::<1>(to + 0x1000), Ok([7]));
    assert_eq!(mm.read_array::<1>(BASE + 0x1000), Err(Errno::EFAULT));
}
