//! Dynamic memory: augment, accept, extend, restrict, change type, trim, remove, and the faults between.

#[macro_use]
mod toy;

use sgx::driver::{DriverError, Enclave, Exit, ModifiedType, Protection};
use sgx::{ErrorCode, PageType, SecinfoFlags, Tcs};
use sgx_emulator::Mode;
use toy::{HEAP, SIZE, Toy, action, at, command, gs, tcs};

in_both_modes!(
    absent_page_faults_and_is_accepted,
    accept_without_a_fault,
    pending_page_is_not_accessible,
    accept_of_other_attributes_is_a_mismatch,
    many_pages_are_accepted_and_written,
    permissions_are_extended_and_restricted,
    page_table_rights_intersect,
    accept_copy,
    trim_and_remove,
    many_pages_are_removed_and_come_back_empty,
    dynamic_thread,
    faults_outside_and_below,
    leaves_refuse_bad_operands,
    ioctls_refuse,
);

const MISMATCH: u64 = ErrorCode::PageAttributesMismatch as u64;
const P: u64 = 1;
const W: u64 = 2;
const U: u64 = 4;
const I: u64 = 0x10;
const SGX: u64 = 0x8000;

fn pending() -> SecinfoFlags {
    reg(SecinfoFlags::R | SecinfoFlags::W | SecinfoFlags::PENDING)
}

fn reg(flags: SecinfoFlags) -> SecinfoFlags {
    flags.with_page_type(PageType::Reg)
}

fn trimmed() -> SecinfoFlags {
    SecinfoFlags::MODIFIED.with_page_type(PageType::Trim)
}

/// Runs a command that must fault and be refused by the exception entry; gives RIP, MADDR and ERRCD, and
/// leaves the thread as it was.
fn faults(toy: &Toy, command: u64, operands: [u64; 4]) -> (u64, u64, u64) {
    toy.poke(0, gs::ACTION, action::REFUSE);
    let refused = toy.run(0, command, operands);
    assert_eq!((refused.rdi, refused.rsi), (4, 0x8000_030e), "{refused:x?}");
    // CSSA is 1 now. A skip of the instruction brings the thread back to its end: the commands' faulting
    // instructions are two bytes long, but for ENCLU.
    let skip = if command == command::ENCLU { 7 } else { 2 };
    resume_behind(toy, skip);
    (refused.rdx, refused.r8, refused.r9)
}

/// Enters the exception entry again with SKIP, and resumes.
fn resume_behind(toy: &Toy, skip: u64) {
    use sgx::driver::{EntryLeaf, PassedRegisters};
    // The GS page is reached from the entry at CSSA 0 only, so use another thread of the enclave.
    toy.write(1, tcs(0) + 0x5000 + gs::ACTION, &action::SKIP.to_le_bytes());
    toy.write(1, tcs(0) + 0x5000 + gs::SKIP, &skip.to_le_bytes());
    let handled = toy.enter(tcs(0), EntryLeaf::Enter, PassedRegisters::default());
    assert!(matches!(handled, Exit::Eexit(PassedRegisters { rdi: 3, .. })), "{handled:?}");
    let ended = toy.enter(tcs(0), EntryLeaf::Resume, PassedRegisters::default());
    assert!(matches!(ended, Exit::Eexit(PassedRegisters { rdi: 1, .. })), "{ended:?}");
}

fn absent_page_faults_and_is_accepted(mode: Mode) {
    let toy = Toy::new(mode, 1);
    toy.poke(0, gs::ACTION, action::ACCEPT);
    toy.done(0, command::WRITE, [HEAP + 5, 7, 0, 0]);
    assert_eq!(toy.peek(0, gs::COUNT), 1);
    assert_eq!(toy.peek(0, gs::EXITINFO), 0x8000_030e);
    assert_eq!(toy.peek(0, gs::MADDR), HEAP, "the low 12 bits are clear");
    assert_eq!(toy.peek(0, gs::ERRCD), P | W | U | SGX, "present and pending: the EPCM refuses");
    assert_eq!(toy.peek(0, gs::RIP), at::write());
    assert_eq!(toy.done(0, command::READ, [HEAP + 5, 0, 0, 0]).rsi, 7);
    assert_eq!(toy.done(0, command::READ, [HEAP + 6, 0, 0, 0]).rsi, 0, "augmented pages are zero");
    assert_eq!(toy.peek(0, gs::COUNT), 1);
}

fn accept_without_a_fault(mode: Mode) {
    let toy = Toy::new(mode, 1);
    assert_eq!(toy.accept(0, pending(), HEAP), 0);
    toy.done(0, command::WRITE, [HEAP, 9, 0, 0]);
    assert_eq!(toy.done(0, command::READ, [HEAP, 0, 0, 0]).rsi, 9);
    assert_eq!(toy.accept(0, pending(), HEAP), MISMATCH, "accepted already");
    let after = toy.done(0, command::EACCEPT, [pending().bits(), HEAP, 1, 0]);
    assert_eq!(after.rdx & 0x8d5, 0x40, "ZF and nothing else");
    let after = toy.done(0, command::EACCEPT, [pending().bits(), HEAP + 4096, 1, 0]);
    assert_eq!((after.rsi, after.rdx & 0x8d5 & 0x40), (0, 0));
}

fn pending_page_is_not_accessible(mode: Mode) {
    let toy = Toy::new(mode, 2);
    for (command, at, access) in [(command::READ, at::read(), 0), (command::WRITE, at::write(), W)]
    {
        // The second round finds the page pending already.
        for _ in 0..2 {
            let fault = faults(&toy, command, [HEAP + 0x123, 0, 0, 0]);
            assert_eq!(fault, (at, HEAP, P | U | SGX | access));
        }
    }
}

fn accept_of_other_attributes_is_a_mismatch(mode: Mode) {
    let toy = Toy::new(mode, 1);
    for flags in [
        pending() | SecinfoFlags::X,
        pending() | SecinfoFlags::MODIFIED,
        pending() | SecinfoFlags::PR,
        reg(SecinfoFlags::R | SecinfoFlags::W),
        reg(SecinfoFlags::R | SecinfoFlags::PENDING),
        trimmed(),
    ] {
        assert_eq!(toy.accept(0, flags, HEAP), MISMATCH, "{flags:?}");
    }
    assert_eq!(toy.accept(0, pending(), HEAP), 0);
}

fn many_pages_are_accepted_and_written(mode: Mode) {
    let toy = Toy::new(mode, 1);
    assert_eq!(toy.done(0, command::ACCEPT_AND_WRITE, [HEAP, 100, 0, 0]).rsi & 0xff, 0);
    for page in 0..100 {
        assert_eq!(toy.done(0, command::READ, [HEAP + page * 4096, 0, 0, 0]).rsi, 1);
    }
    assert_eq!(toy.peek(0, gs::COUNT), 0, "no exception reached the enclave");
}

fn permissions_are_extended_and_restricted(mode: Mode) {
    let toy = Toy::new(mode, 2);
    assert_eq!(toy.accept(0, pending(), HEAP), 0);
    // `mov edi, 1; pop rbx; mov eax, 4; enclu`: the toy's normal exit.
    let code = [0xbf, 1, 0, 0, 0, 0x5b, 0xb8, 4, 0, 0, 0, 0x0f, 0x01, 0xd7];
    toy.write(0, HEAP, &code);
    toy.poke(0, gs::ACTION, action::REFUSE);
    let refused = toy.run(0, command::JUMP, [HEAP, 0, 0, 0]);
    assert_eq!((refused.rdi, refused.rsi), (4, 0x8000_030e));
    assert_eq!((refused.rdx, refused.r8, refused.r9), (HEAP, HEAP, P | U | I | SGX));
    // Another thread makes it executable, and the fault resolves.
    toy.done(1, command::EMODPE, [reg(SecinfoFlags::X).bits(), HEAP, 0, 0]);
    resume_behind(&toy, 0);
    assert_eq!(toy.done(1, command::JUMP, [HEAP, 0, 0, 0]).rdi, 1);

    toy.enclave.restrict(HEAP..HEAP + 4096, Protection::READ | Protection::WRITE).expect("EMODPR");
    let fault = toy.run(1, command::JUMP, [HEAP, 0, 0, 0]);
    assert_eq!((fault.rdi, fault.r9), (4, P | U | I | SGX));
    let rw = reg(SecinfoFlags::R | SecinfoFlags::W);
    assert_eq!(toy.accept(0, rw, HEAP), MISMATCH);
    assert_eq!(toy.accept(0, rw | SecinfoFlags::PR, HEAP), 0);
}

fn page_table_rights_intersect(mode: Mode) {
    let toy = Toy::new(mode, 2);
    assert_eq!(toy.accept(0, pending(), HEAP), 0);
    toy.done(0, command::WRITE, [HEAP, 3, 0, 0]);
    toy.enclave.protect(HEAP..HEAP + 8192, Protection::READ).expect("mprotect");
    let fault = faults(&toy, command::WRITE, [HEAP, 4, 0, 0]);
    assert_eq!(fault, (at::write(), HEAP, P | W | U), "no SGX bit: the page tables refuse");
    toy.enclave.protect(HEAP..HEAP + 8192, Protection::NONE).expect("mprotect");
    let fault = faults(&toy, command::READ, [HEAP, 0, 0, 0]);
    assert_eq!(fault, (at::read(), HEAP, U));
    let fault = faults(&toy, command::READ, [HEAP + 4096, 0, 0, 0]);
    assert_eq!(fault.2, U, "nothing is augmented without page-table rights");
    toy.enclave.protect(HEAP..HEAP + 8192, Protection::ALL).expect("mprotect");
    assert_eq!(toy.done(0, command::READ, [HEAP, 0, 0, 0]).rsi, 3);
    // A measured page cannot get more than its SECINFO.
    let refused = toy.enclave.protect(toy::CODE..toy::CODE + 4096, Protection::ALL);
    assert!(
        matches!(refused, Err(DriverError::Refused { expected: 5, got: 7, .. })),
        "{refused:?}"
    );
}

fn accept_copy(mode: Mode) {
    let toy = Toy::new(mode, 2);
    let flags = reg(SecinfoFlags::R | SecinfoFlags::X);
    let copied = toy.done(0, command::EACCEPTCOPY, [flags.bits(), HEAP, toy::DATA, 0]);
    assert_eq!(copied.rsi, 0);
    assert_eq!(toy.done(0, command::READ, [HEAP, 0, 0, 0]).rsi, 0xda);
    let fault = faults(&toy, command::WRITE, [HEAP, 0, 0, 0]);
    assert_eq!(fault.2, P | W | U | SGX);
    let again = toy.done(0, command::EACCEPTCOPY, [flags.bits(), HEAP, toy::DATA, 0]);
    assert_eq!(again.rsi, MISMATCH);
}

fn trim_and_remove(mode: Mode) {
    let toy = Toy::new(mode, 2);
    let pages = HEAP..HEAP + 4 * 4096;
    for page in pages.clone().step_by(4096) {
        assert_eq!(toy.accept(0, pending(), page), 0);
        toy.done(0, command::WRITE, [page, 0x55, 0, 0]);
    }
    assert!(toy.enclave.remove(pages.clone()).is_err(), "not trimmed");
    toy.enclave.modify_type(pages.clone(), ModifiedType::Trim).expect("EMODT");
    let fault = faults(&toy, command::READ, [HEAP, 0, 0, 0]);
    assert_eq!(fault.2, P | U | SGX);
    let refused = toy.enclave.remove(pages.clone());
    assert!(
        matches!(refused, Err(DriverError::Refused { field: "EPCM.MODIFIED", .. })),
        "{refused:?}"
    );
    for page in pages.clone().step_by(4096) {
        assert_eq!(toy.accept(0, trimmed(), page), 0);
    }
    let fault = faults(&toy, command::READ, [HEAP, 0, 0, 0]);
    assert_eq!(fault.2, P | U | SGX, "trimmed and accepted is still no memory");
    toy.enclave.remove(pages.clone()).expect("EREMOVE");
    assert!(toy.enclave.remove(pages).is_err(), "removed already");
    assert_eq!(toy.accept(0, pending(), HEAP), 0);
    assert_eq!(toy.done(0, command::READ, [HEAP, 0, 0, 0]).rsi, 0, "the contents are gone");
    // Also where the new page is not writable, is copied to, or becomes a thread's.
    let rx = reg(SecinfoFlags::R | SecinfoFlags::X).bits();
    assert_eq!(toy.done(0, command::EACCEPTCOPY, [rx, HEAP + 4096, toy::DATA, 0]).rsi, 0);
    let mut page = [1; 4096];
    toy.read(0, HEAP + 4096, &mut page);
    assert_eq!(page[..8], 0xdada_u64.to_le_bytes());
    assert_eq!(page[8..], [0; 4088]);
    toy.enclave.protect(HEAP + 8192..HEAP + 12288, Protection::READ).expect("mprotect");
    assert_eq!(toy.accept(0, pending(), HEAP + 8192), 0);
    toy.read(0, HEAP + 8192, &mut page);
    assert_eq!(page, [0; 4096], "read-only to the page tables");
    assert_eq!(toy.accept(0, pending(), HEAP + 12288), 0);
    toy.enclave.modify_type(HEAP + 12288..HEAP + 16384, ModifiedType::Tcs).expect("EMODT");
    let accepted = SecinfoFlags::MODIFIED.with_page_type(PageType::Tcs);
    assert_eq!(toy.accept(0, accepted, HEAP + 12288), 0, "all zero, which a TCS may be");
}

/// In fast mode also more pages than the emulator keeps the memory of.
fn many_pages_are_removed_and_come_back_empty(mode: Mode) {
    let toy = Toy::new(mode, 1);
    let pages: u64 = if mode == Mode::Fast { 9000 } else { 200 };
    let range = HEAP..HEAP + pages * 4096;
    for _ in 0..3 {
        let accepted = toy.done(0, command::ACCEPT_AND_WRITE, [range.start, pages, 0, 0]);
        assert_eq!(accepted.rsi & 0xff, 0);
        toy.enclave.modify_type(range.clone(), ModifiedType::Trim).expect("EMODT");
        toy.done(0, command::EACCEPT, [trimmed().bits(), range.start, pages, 0]);
        toy.enclave.remove(range.clone()).expect("EREMOVE");
        assert_eq!(toy.accept(0, pending(), HEAP + 4096), 0);
        assert_eq!(toy.done(0, command::READ, [HEAP + 4096, 0, 0, 0]).rsi, 0);
        let one = HEAP + 4096..HEAP + 8192;
        toy.enclave.modify_type(one.clone(), ModifiedType::Trim).expect("EMODT");
        assert_eq!(toy.accept(0, trimmed(), one.start), 0);
        toy.enclave.remove(one).expect("EREMOVE");
    }
}

fn dynamic_thread(mode: Mode) {
    let toy = Toy::new(mode, 1);
    let base = HEAP + 0x10000;
    for page in 0..9 {
        assert_eq!(toy.accept(0, pending(), base + page * 4096), 0);
    }
    let accepted = SecinfoFlags::MODIFIED.with_page_type(PageType::Tcs);
    let make = |contents: Tcs, page: u64| {
        toy.write(0, page, &contents.to_bytes());
        toy.enclave.modify_type(page..page + 4096, ModifiedType::Tcs).expect("EMODT");
    };
    make(toy::tcs_page(base), base);
    let registers = sgx::driver::PassedRegisters { rsi: 40, rdx: 2, ..Default::default() };
    let enter = |tcs| toy.enter(tcs, sgx::driver::EntryLeaf::Enter, registers);
    assert!(matches!(enter(base), Exit::Exception { leaf: 2, vector: 14, .. }), "not accepted");
    assert_eq!(toy.accept(0, accepted, base), 0);
    let Exit::Eexit(result) = enter(base) else { panic!("the new thread runs") };
    assert_eq!((result.rdi, result.rsi), (1, 42));
    // Trimmed, accepted and removed, it is no thread any more.
    toy.enclave.modify_type(base..base + 4096, ModifiedType::Trim).expect("EMODT");
    assert!(matches!(enter(base), Exit::Exception { leaf: 2, vector: 14, .. }));
    assert_eq!(toy.accept(0, trimmed(), base), 0);
    toy.enclave.remove(base..base + 4096).expect("EREMOVE");
    assert!(matches!(enter(base), Exit::Exception { leaf: 2, vector: 14, .. }));
    // A page that cannot be a TCS is never accepted as one.
    let other = base + 4096;
    make(Tcs { cssa: 1, ..toy::tcs_page(other) }, other);
    toy.poke(0, gs::ACTION, action::REFUSE);
    let refused = toy.run(0, command::EACCEPT, [accepted.bits(), other, 1, 0]);
    assert_eq!((refused.rdi, refused.rsi), (4, 0x8000_030d), "#GP");
}

fn faults_outside_and_below(mode: Mode) {
    let toy = Toy::new(mode, 2);
    let fault = faults(&toy, command::READ, [0x8123, 0, 0, 0]);
    assert_eq!(fault, (at::read(), 0x8000, U), "the low 64 KiB are never augmented");
    let fault = faults(&toy, command::READ, [SIZE + (1 << 30) + 5, 0, 0, 0]);
    assert_eq!(fault, (at::read(), SIZE + (1 << 30), U), "an unmapped host page");
    let fault = faults(&toy, command::WRITE, [tcs(0), 0, 0, 0]);
    assert_eq!(fault.2, P | W | U | SGX, "a TCS is no data");
    toy.poke(0, gs::ACTION, action::REFUSE);
    let refused = toy.run(0, command::READ, [1 << 63, 0, 0, 0]);
    assert_eq!((refused.rdi, refused.rsi, refused.r8), (4, 0x8000_030d, 0), "not canonical: #GP");
    let refused = toy.run(1, command::JUMP, [SIZE + (1 << 30), 0, 0, 0]);
    assert_eq!((refused.rdi, refused.rsi), (4, 0x8000_030d), "code outside ELRANGE: #GP");
}

fn leaves_refuse_bad_operands(mode: Mode) {
    let toy = Toy::new(mode, 2);
    let secinfo = tcs(0) + 0x5400;
    toy.poke(0, 0x400, pending().bits());
    // Leaf, RBX, RCX, RDX.
    for operands in [
        [5, secinfo + 8, HEAP, 0],
        [5, SIZE, HEAP, 0],
        [5, secinfo, HEAP + 8, 0],
        [5, secinfo, SIZE, 0],
        [6, secinfo + 8, HEAP, 0],
        [2, tcs(1), 0, 0],
        [3, tcs(1), 0, 0],
        [9, 0, 0, 0],
        [0x1234, 0, 0, 0],
    ] {
        let [leaf, rbx, rcx, rdx] = operands;
        toy.poke(0, gs::ACTION, action::SKIP);
        toy.poke(0, gs::SKIP, 7);
        toy.poke(0, gs::VALUE, 0x77);
        let skipped = toy.done(0, command::ENCLU, [leaf, rbx, rcx, rdx]);
        assert_eq!(skipped.rsi, 0x77, "{operands:x?}");
        assert_eq!(toy.peek(0, gs::EXITINFO), 0x8000_030d, "{operands:x?}");
        assert_eq!(toy.peek(0, gs::RIP), at::enclu(), "{operands:x?}");
    }
    // SECINFO on a page that is not there: the page is augmented, and pending.
    let fault = faults(&toy, command::ENCLU, [5, HEAP + 0x3000, HEAP, 0]);
    assert_eq!(fault, (at::enclu(), HEAP + 0x3000, P | U | SGX));
    // Reserved bytes in SECINFO.
    toy.poke(0, 0x408, 1);
    toy.poke(0, gs::ACTION, action::SKIP);
    toy.poke(0, gs::SKIP, 7);
    toy.done(0, command::ENCLU, [5, secinfo, HEAP, 0]);
    assert_eq!(toy.peek(0, gs::EXITINFO), 0x8000_030d);
}

fn ioctls_refuse(mode: Mode) {
    let toy = Toy::new(mode, 1);
    let enclave = &toy.enclave;
    let page = HEAP..HEAP + 4096;
    let field = |result: Result<(), DriverError>| match result {
        Err(DriverError::Refused { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(enclave.restrict(page.clone(), Protection::READ)), "EPCM.PT", "absent");
    assert_eq!(field(enclave.modify_type(page.clone(), ModifiedType::Trim)), "EPCM.PT");
    assert_eq!(field(enclave.remove(page.clone())), "EPCM.PT");
    assert_eq!(field(enclave.protect(HEAP + 1..HEAP + 4096, Protection::READ)), "start of range");
    assert_eq!(field(enclave.protect(0..4096, Protection::READ)), "start of range");
    assert_eq!(field(enclave.protect(HEAP..SIZE + 4096, Protection::READ)), "end of range");
    assert_eq!(field(enclave.protect(HEAP..HEAP, Protection::READ)), "end of range");
    assert_eq!(toy.accept(0, pending(), HEAP), 0);
    assert_eq!(field(enclave.restrict(page.clone(), Protection::WRITE)), "permissions");
    let (secinfo, zero) = (sgx::Secinfo::reg(SecinfoFlags::R).to_bytes(), [0; 4096]);
    assert_eq!(field(enclave.add_page(HEAP, &secinfo, &zero, true)), "SECS.ATTRIBUTES.INIT");
}
