//! What several tests need: reproducible random bytes and enclaves.
#![allow(dead_code, reason = "each test uses a part")]

use sgx::hash::Portable;
use sgx::sgxs::{Ecreate, Page, Writer};
use sgx::sign::SigningKey;
use sgx::sigstruct::Body;
use sgx::{AttributeFlags, Attributes, Miscselect, PAGE_SIZE, Secinfo, SecinfoFlags, Secs, Xfrm};

/// xorshift64*: the same bytes in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        core::array::from_fn(|_| self.next() as u8)
    }
}

/// A page with chunks measured, merely loaded and absent at random.
pub(crate) fn random_page(random: &mut Random, offset: u64) -> Page {
    let secinfo = match random.below(4) {
        0 => Secinfo::tcs(),
        1 => Secinfo::reg(SecinfoFlags::R | SecinfoFlags::X),
        2 => Secinfo::reg(SecinfoFlags::R | SecinfoFlags::W),
        _ => Secinfo::reg(SecinfoFlags::R),
    };
    let (present, measured) = match random.below(4) {
        0 => (0, 0),
        1 => (u16::MAX, 0),
        2 => (u16::MAX, u16::MAX),
        _ => {
            let present = random.next() as u16;
            (present, present & random.next() as u16)
        }
    };
    let mut data: [u8; PAGE_SIZE] = random.bytes();
    for (index, chunk) in data.chunks_exact_mut(256).enumerate() {
        if present & 1 << index == 0 {
            chunk.fill(0);
        }
    }
    Page { offset, secinfo, measured, present, data }
}

/// An enclave of some pages with gaps, and its stream.
pub(crate) fn random_enclave(seed: u64) -> (Ecreate, Vec<Page>, Vec<u8>) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let ecreate = Ecreate {
        ssaframesize_pages: 1 + random.below(3) as u32,
        size: 0x10_0000 << random.below(16),
    };
    let mut pages = Vec::new();
    let mut offset = 0;
    for _ in 0..random.below(12) {
        offset += PAGE_SIZE as u64 * random.below(5);
        pages.push(random_page(&mut random, offset));
        offset += PAGE_SIZE as u64;
    }
    let stream = write(ecreate, &pages);
    (ecreate, pages, stream)
}

/// The stream of these pages.
pub(crate) fn write(ecreate: Ecreate, pages: &[Page]) -> Vec<u8> {
    let mut writer = Writer::new(sgx::sgxs::Io(Vec::new()), ecreate).unwrap();
    for page in pages {
        writer.page(page).unwrap();
    }
    writer.into_inner().0
}

/// MRENCLAVE of [`toy_pages`] in an enclave of 0x10000 bytes with one-page SSA frames.
pub(crate) const TOY_MRENCLAVE: &str =
    "788fed08b063794daf1ce808e32b99385c9a40993f97711f05f8573c89b4f88c";

/// A toy enclave: a page of code that leaves at once (`mov eax, 4; enclu`), a TCS, two SSA frames.
pub(crate) fn toy_pages() -> Vec<Page> {
    let mut code = [0x90; PAGE_SIZE];
    code[..8].copy_from_slice(&[0xb8, 4, 0, 0, 0, 0x0f, 0x01, 0xd7]);
    let tcs =
        sgx::Tcs { ossa: 0x2000, nssa: 2, fslimit: 0xfff, gslimit: 0xfff, ..Default::default() };
    let page = |offset, secinfo, data| Page {
        offset,
        secinfo,
        measured: u16::MAX,
        present: u16::MAX,
        data,
    };
    let rw = Secinfo::reg(SecinfoFlags::R | SecinfoFlags::W);
    vec![
        page(0, Secinfo::reg(SecinfoFlags::R | SecinfoFlags::X), code),
        page(0x1000, Secinfo::tcs(), tcs.to_bytes()),
        page(0x2000, rw, [0; PAGE_SIZE]),
        page(0x3000, rw, [0; PAGE_SIZE]),
    ]
}

/// The key in `data/signer.pem`.
pub(crate) fn signer() -> SigningKey {
    SigningKey::from_pem(include_str!("../data/signer.pem")).unwrap()
}

/// What is signed of the toy enclave: DEBUG, KSS and all of XFRM and MISCSELECT are fixed.
pub(crate) fn toy_body() -> Body {
    let toy = write(Ecreate { ssaframesize_pages: 1, size: 0x10000 }, &toy_pages());
    Body {
        enclavehash: sgx::sgxs::mrenclave::<Portable, _>(&toy[..]).unwrap(),
        attributes: Attributes {
            flags: AttributeFlags::MODE64BIT | AttributeFlags::KSS,
            xfrm: Xfrm::from_bits_retain(0x7),
        },
        attributemask: Attributes {
            flags: AttributeFlags::from_bits_retain(!0),
            xfrm: Xfrm::from_bits_retain(!0),
        },
        miscselect: Miscselect::EXINFO,
        miscmask: Miscselect::from_bits_retain(!0),
        isvprodid: 0x1234,
        isvsvn: 7,
        isvextprodid: 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10_u128.to_le_bytes(),
        isvfamilyid: [0; 16],
        date: 0x2026_1120,
        swdefined: 0x5a,
    }
}

/// A SECS that [`toy_body`] allows.
pub(crate) fn toy_secs() -> Secs {
    let body = toy_body();
    Secs {
        size: 0x10000,
        ssaframesize: 1,
        miscselect: body.miscselect,
        attributes: body.attributes,
        ..Secs::default()
    }
}
