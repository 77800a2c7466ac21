//! Every structure against the crate sgx-isa: its size, and each field's offset by name.

use core::mem::{offset_of, size_of};

/// Compares size and offsets. A field that the oracle calls something else is given as `ours = theirs`; one
/// that it does not know, with the offset from the manual's table. No field may be left out.
macro_rules! same_layout {
    (
        $ours:ty, $theirs:ty; $($field:ident),*
        $(; renamed: $($mine:ident = $other:ident),+)?
        $(; manual: $($alone:ident = $offset:literal),+)?
    ) => {
        let mut compared: Vec<(&str, usize)> = Vec::new();
        $(compared.push((stringify!($field), offset_of!($theirs, $field)));)*
        $($(compared.push((stringify!($mine), offset_of!($theirs, $other)));)+)?
        $($(compared.push((stringify!($alone), $offset));)+)?
        compared.sort_by_key(|&(_, offset)| offset);
        let ours: Vec<_> = <$ours>::FIELDS.iter().map(|field| (field.name, field.offset)).collect();
        assert_eq!(ours, compared, stringify!($ours));
        assert_eq!(<$ours>::SIZE, <$theirs>::UNPADDED_SIZE, stringify!($ours));
        assert!(<$ours>::SIZE <= size_of::<$theirs>());
    };
}

#[test]
fn control_structures() {
    same_layout!(sgx::Attributes, sgx_isa::Attributes; flags, xfrm);
    same_layout!(sgx::Secs, sgx_isa::Secs;
        size, baseaddr, ssaframesize, miscselect, attributes, mrenclave, mrsigner, isvprodid, isvsvn;
        manual: configid = 192, configsvn = 260);
    same_layout!(sgx::Tcs, sgx_isa::Tcs;
        flags, ossa, cssa, nssa, oentry, fslimit, gslimit;
        renamed: state = _reserved1, aep = _reserved2, ofsbase = ofsbasgx, ogsbase = ogsbasgx);
    same_layout!(sgx::Secinfo, sgx_isa::Secinfo; flags);
}

#[test]
fn attestation_structures() {
    same_layout!(sgx::Targetinfo, sgx_isa::Targetinfo; measurement, attributes, miscselect;
        manual: cet_attributes = 48, configsvn = 50, configid = 64);
    same_layout!(sgx::Report, sgx_isa::Report; keyid, mac; renamed: body = cpusvn);
    same_layout!(sgx::Keyrequest, sgx_isa::Keyrequest;
        keyname, keypolicy, isvsvn, cpusvn, attributemask, keyid, miscmask;
        manual: cet_attributes_mask = 6, configsvn = 76);
    assert_eq!(sgx::ReportBody::SIZE, sgx_isa::Report::TRUNCATED_SIZE);
    let names = [
        ("cpusvn", offset_of!(sgx_isa::Report, cpusvn)),
        ("miscselect", offset_of!(sgx_isa::Report, miscselect)),
        ("cet_attributes", offset_of!(sgx_isa::Report, cet_attributes)),
        ("isvextprodid", offset_of!(sgx_isa::Report, isvextnprodid)),
        ("attributes", offset_of!(sgx_isa::Report, attributes)),
        ("mrenclave", offset_of!(sgx_isa::Report, mrenclave)),
        ("mrsigner", offset_of!(sgx_isa::Report, mrsigner)),
        ("configid", offset_of!(sgx_isa::Report, configid)),
        ("isvprodid", offset_of!(sgx_isa::Report, isvprodid)),
        ("isvsvn", offset_of!(sgx_isa::Report, isvsvn)),
        ("configsvn", offset_of!(sgx_isa::Report, configsvn)),
        ("isvfamilyid", offset_of!(sgx_isa::Report, isvfamilyid)),
        ("reportdata", offset_of!(sgx_isa::Report, reportdata)),
    ];
    let ours: Vec<_> = sgx::ReportBody::FIELDS.iter().map(|f| (f.name, f.offset)).collect();
    assert_eq!(ours, names);
}

/// sgx-isa has no GPRSGX: the table of the manual ("Layout of GPRSGX Portion of the State Save Area").
#[test]
fn gprsgx_is_the_manuals() {
    let registers = [
        "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
        "r13", "r14", "r15", "rflags", "rip", "ursp", "urbp", "exitinfo",
    ];
    for (i, name) in registers.iter().enumerate() {
        assert_eq!(sgx::Gprsgx::offset(name), 8 * i, "{name}");
    }
    assert_eq!(sgx::Gprsgx::offset("fsbase"), 168);
    assert_eq!(sgx::Gprsgx::offset("gsbase"), 176);
    assert_eq!(sgx::Gprsgx::SIZE, 184);
    assert_eq!(sgx::Exinfo::SIZE, 16);
}

#[test]
fn flags_have_the_same_bits() {
    use sgx::{AttributeFlags as A, KeyPolicy as K, SecinfoFlags as S};
    use sgx_isa::{AttributesFlags as TheirA, Keypolicy as TheirK, SecinfoFlags as TheirS};
    for (ours, theirs) in [
        (A::INIT, TheirA::INIT),
        (A::DEBUG, TheirA::DEBUG),
        (A::MODE64BIT, TheirA::MODE64BIT),
        (A::PROVISIONKEY, TheirA::PROVISIONKEY),
        (A::EINITTOKENKEY, TheirA::EINITTOKENKEY),
        (A::CET, TheirA::CET),
        (A::KSS, TheirA::KSS),
    ] {
        assert_eq!(ours.bits(), theirs.bits());
    }
    assert_eq!(K::MRENCLAVE.bits(), TheirK::MRENCLAVE.bits());
    assert_eq!(K::MRSIGNER.bits(), TheirK::MRSIGNER.bits());
    for (ours, theirs) in [
        (S::R, TheirS::R),
        (S::W, TheirS::W),
        (S::X, TheirS::X),
        (S::PENDING, TheirS::PENDING),
        (S::MODIFIED, TheirS::MODIFIED),
        (S::PR, TheirS::PR),
    ] {
        assert_eq!(ours.bits(), theirs.bits());
    }
}

/// Numbers that both define name the same thing. sgx-isa spells names as Rust does.
#[test]
fn leaves_page_types_and_error_codes() {
    let squeeze = |name: String| name.to_lowercase().replace('_', "");
    for number in 0..512u32 {
        if let Ok(theirs) = sgx_isa::Encls::try_from(number) {
            let ours = sgx::Encls::from_number(number).expect("a leaf that sgx-isa knows");
            assert_eq!(squeeze(ours.to_string()), squeeze(format!("{theirs:?}")));
        }
        if let Ok(theirs) = sgx_isa::Enclu::try_from(number) {
            // EVERIFYREPORT2 is of a later architecture (TDX) and not part of this crate.
            if let Some(ours) = sgx::Enclu::from_number(number) {
                assert_eq!(squeeze(ours.to_string()), squeeze(format!("{theirs:?}")));
            } else {
                assert_eq!(number, 8);
            }
        }
        // 7 was SGX_LOCKFAIL in the first editions of the manual.
        if number != 7
            && let (Ok(theirs), Some(ours)) =
                (sgx_isa::ErrorCode::try_from(number), sgx::ErrorCode::from_number(number))
        {
            assert_eq!(squeeze(ours.to_string()), format!("sgx{}", squeeze(format!("{theirs:?}"))));
        }
        if let Ok(theirs) = u8::try_from(number)
            .map_err(drop)
            .and_then(|n| sgx_isa::PageType::try_from(n).map_err(drop))
        {
            let ours = sgx::PageType::from_number(theirs as u8).expect("a type that sgx-isa knows");
            assert_eq!(squeeze(format!("{ours:?}")), squeeze(format!("{theirs:?}")));
        }
    }
}
