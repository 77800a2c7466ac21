//! ECREATE, EADD and EINIT: what they refuse.

mod toy;

use sgx::driver::{Driver, DriverError, Enclave, EntryLeaf, Exit, PassedRegisters};
use sgx::einit::Refusal;
use sgx::sigstruct::Body;
use sgx::{AttributeFlags, Miscselect, Secinfo, SecinfoFlags, Secs, SigstructError, Tcs, Xfrm};
use sgx_emulator::{EmulatedEnclave, Emulator, Mode};

/// Builds the toy with changes, up to EINIT.
fn build(secs: &Secs, pages: &[(u64, Secinfo, [u8; 4096], bool)]) -> EmulatedEnclave {
    let emulator = Emulator::new(Mode::Pure).with_fresh_secret();
    let enclave = emulator.create(&secs.to_bytes()).expect("ECREATE");
    for (offset, secinfo, contents, measured) in pages {
        enclave.add_page(*offset, &secinfo.to_bytes(), contents, *measured).expect("EADD");
    }
    enclave
}

fn einit(secs: &Secs, body: &Body) -> Result<(), DriverError> {
    let _one = toy::exclusive();
    build(secs, &toy::pages(1)).init(&toy::sign(body))
}

#[test]
fn einit_makes_the_signed_identity() {
    let _one = toy::exclusive();
    let enclave = build(&toy::secs(), &toy::pages(1));
    assert_eq!(enclave.identity(), None);
    let enter = PassedRegisters::default();
    // SAFETY: the toy's code is in this crate; it is not even entered.
    let early = unsafe { enclave.enter(toy::tcs(0), EntryLeaf::Enter, enter) };
    assert!(matches!(early, Ok(Exit::Exception { leaf: 2, vector: 13, .. })), "{early:?}");
    enclave.init(&toy::sign(&toy::body(1))).expect("EINIT");
    let identity = enclave.identity().expect("initialised");
    assert_eq!(identity.mrenclave, toy::mrenclave(1));
    assert_eq!((identity.isvprodid, identity.isvsvn), (7, 3));
    assert!(identity.attributes.flags.contains(AttributeFlags::INIT));
    let again = enclave.init(&toy::sign(&toy::body(1)));
    assert!(
        matches!(again, Err(DriverError::Refused { field: "SECS.ATTRIBUTES.INIT", .. })),
        "{again:?}"
    );
}

#[test]
fn einit_refuses_another_enclave() {
    let _one = toy::exclusive();
    let sigstruct = toy::sign(&toy::body(1));
    let is_measurement = |result| {
        matches!(result, Err(DriverError::Einit(Refusal::Measurement { expected, .. }))
            if expected == toy::mrenclave(1))
    };
    // A changed byte, a changed place, changed permissions, other order, a page less.
    type Pages = Vec<(u64, Secinfo, [u8; 4096], bool)>;
    let changes: [fn(&mut Pages); 6] = [
        |pages| pages.last_mut().expect("data").2[4095] ^= 1,
        |pages| pages.last_mut().expect("data").0 += 4096,
        |pages| pages.last_mut().expect("data").1.flags -= SecinfoFlags::W,
        |pages| pages.last_mut().expect("data").3 = false,
        |pages| pages.swap(1, 2),
        |pages| {
            pages.pop();
        },
    ];
    for (i, change) in changes.into_iter().enumerate() {
        let mut pages = toy::pages(1);
        change(&mut pages);
        assert!(is_measurement(build(&toy::secs(), &pages).init(&sigstruct)), "change {i}");
    }
    // The refused enclave cannot be entered, and a right SIGSTRUCT still starts it.
    let enclave = build(&toy::secs(), &toy::pages(1));
    assert!(is_measurement_of_nothing(
        enclave.init(&toy::sign(&Body { enclavehash: [0; 32], ..toy::body(1) }))
    ));
    enclave.init(&sigstruct).expect("EINIT");
}

fn is_measurement_of_nothing(result: Result<(), DriverError>) -> bool {
    matches!(result, Err(DriverError::Einit(Refusal::Measurement { expected, .. }))
        if expected == [0; 32])
}

#[test]
fn einit_refuses_attributes_that_were_not_signed() {
    let field = |secs: &Secs, body: &Body| match einit(secs, body) {
        Err(DriverError::Einit(Refusal::Secs { field, .. })) => field,
        other => panic!("{other:?}"),
    };
    let (secs, body) = (toy::secs(), toy::body(1));
    let mut debug = secs;
    debug.attributes.flags |= AttributeFlags::DEBUG;
    assert_eq!(field(&debug, &body), "ATTRIBUTES.DEBUG");
    let mut small = secs;
    small.attributes.xfrm = Xfrm::LEGACY;
    assert_eq!(field(&small, &body), "ATTRIBUTES.XFRM");
    let plain = Secs { miscselect: Miscselect::empty(), ..secs };
    assert_eq!(field(&plain, &body), "MISCSELECT");
}

#[test]
fn einit_refuses_a_damaged_signature() {
    let _one = toy::exclusive();
    let enclave = build(&toy::secs(), &toy::pages(1));
    let sound = toy::sign(&toy::body(1));
    for offset in [0, 16, 200, 520, 960, 1030, 1500] {
        let mut sigstruct = sound;
        sigstruct[offset] ^= 1;
        let refused = enclave.init(&sigstruct);
        assert!(
            matches!(refused, Err(DriverError::Einit(Refusal::Sigstruct(_)))),
            "byte {offset}: {refused:?}"
        );
    }
    let mut exponent = sound;
    exponent[512..516].copy_from_slice(&65537_u32.to_le_bytes());
    let refused = enclave.init(&exponent);
    let expected = SigstructError::Number { field: "EXPONENT", expected: 3, got: 65537 };
    assert_eq!(refused, Err(DriverError::Einit(Refusal::Sigstruct(expected))));
    enclave.init(&sound).expect("EINIT");
}

#[test]
fn eadd_refuses_what_the_cpu_refuses() {
    let _one = toy::exclusive();
    let enclave = build(&toy::secs(), &[]);
    let zero = [0; 4096];
    let field = |offset, secinfo: [u8; 64], contents: &[u8; 4096]| match enclave
        .add_page(offset, &secinfo, contents, true)
    {
        Err(DriverError::Refused { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    let reg = |flags: SecinfoFlags| Secinfo::reg(flags).to_bytes();
    let (r, w) = (SecinfoFlags::R, SecinfoFlags::W);
    assert_eq!(field(toy::DATA + 1, reg(r), &zero), "start of range");
    assert_eq!(field(0, reg(r), &zero), "start of range");
    assert_eq!(field(toy::SIZE, reg(r), &zero), "end of range");
    assert_eq!(field(u64::MAX - 4095, reg(r), &zero), "end of range");
    assert_eq!(field(toy::DATA, reg(w), &zero), "SECINFO.FLAGS");
    assert_eq!(field(toy::DATA, reg(r | SecinfoFlags::PENDING), &zero), "SECINFO.FLAGS");
    let mut reserved = reg(r);
    reserved[20] = 1;
    assert_eq!(field(toy::DATA, reserved, &zero), "SECINFO reserved byte");
    let secs_page = Secinfo { flags: r.with_page_type(sgx::PageType::Secs) };
    assert_eq!(field(toy::DATA, secs_page.to_bytes(), &zero), "SECINFO.FLAGS.PT");
    enclave.add_page(toy::DATA, &reg(r), &zero, true).expect("EADD");
    assert_eq!(field(toy::DATA, reg(r), &zero), "EPCM.VALID");

    let sound = toy::tcs_page(toy::SLOTS);
    let tcs = |change: fn(&mut Tcs)| {
        let mut page = sound;
        change(&mut page);
        field(toy::SLOTS, Secinfo::tcs().to_bytes(), &page.to_bytes())
    };
    assert_eq!(tcs(|t| t.state = 1), "TCS.STATE");
    assert_eq!(tcs(|t| t.flags = sgx::TcsFlags::AEXNOTIFY), "TCS.FLAGS");
    assert_eq!(tcs(|t| t.cssa = 1), "TCS.CSSA");
    assert_eq!(tcs(|t| t.ossa += 8), "TCS.OSSA low bits");
    assert_eq!(tcs(|t| t.oentry = toy::SIZE), "TCS.OENTRY");
    assert_eq!(tcs(|t| t.ogsbase = u64::MAX), "TCS.OGSBASE");
    let mut page = sound.to_bytes();
    page[4095] = 1;
    let secinfo = Secinfo::tcs().to_bytes();
    assert_eq!(field(toy::SLOTS, secinfo, &page), "TCS reserved byte");
}

#[test]
fn ecreate_refuses_by_field() {
    let _one = toy::exclusive();
    let emulator = Emulator::new(Mode::Fast).with_fresh_secret();
    let secs = Secs { size: toy::SIZE + 1, ..toy::secs() };
    let refused = emulator.create(&secs.to_bytes()).map(|_| ());
    assert!(matches!(refused, Err(DriverError::Refused { field: "SECS.SIZE", .. })), "{refused:?}");
}
