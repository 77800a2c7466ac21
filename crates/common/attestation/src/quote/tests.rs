use alloc::vec::Vec;

use super::*;

const SGX_V3: &[u8] = include_bytes!("../../tests/vectors/sgx/sgx_quote");
const SGX_DEBUG: &[u8] = include_bytes!("../../tests/vectors/sgx/occlum_quote.dat");
const TDX_V4: &[u8] = include_bytes!("../../tests/vectors/tdx/tdx_quote");

#[test]
fn real_quotes_are_read() {
    let quote = Quote::parse(SGX_V3).expect("an SGX quote");
    assert_eq!((quote.header.version, quote.header.tee), (3, QuoteTee::Sgx));
    assert_eq!(quote.header.qe_vendor_id, INTEL_QE_VENDOR);
    assert_eq!(quote.report_data()[..13], *b"Hello, world!");
    assert_eq!(quote.padding, 0);
    let Body::Sgx(report) = quote.body else { panic!("not SGX") };
    assert_eq!(
        crate::hex::array(concat!(
            "33d8736db756ed4997e04ba358d27833",
            "188f1932ff7b1d156904d3f560452fbb"
        )),
        Ok(report.mrenclave)
    );

    let quote = Quote::parse(SGX_DEBUG).expect("an SGX quote");
    let Body::Sgx(report) = quote.body else { panic!("not SGX") };
    assert!(report.attributes.flags.contains(sgx::AttributeFlags::DEBUG));

    let quote = Quote::parse(TDX_V4).expect("a TDX quote");
    assert_eq!((quote.header.version, quote.header.tee), (4, QuoteTee::Tdx));
    assert_eq!(quote.padding, 70);
    let Body::Tdx(report) = quote.body else { panic!("not TDX") };
    assert_eq!(report.td_attributes, 1 << 28);
    assert_eq!(report.mrtd[..4], [0x91, 0xeb, 0x2b, 0x44]);
    assert!(matches!(quote.signature.certification, CertificationData::PckChain(_)));
}

/// Group 2 of what must be refused.
#[test]
fn truncated_quotes_are_refused_at_every_length() {
    for (bytes, end) in [(SGX_V3, SGX_V3.len()), (TDX_V4, TDX_V4.len() - 70)] {
        for len in 0..end {
            assert!(Quote::parse(&bytes[..len]).is_err(), "{len}");
        }
        assert!(Quote::parse(&bytes[..end]).is_ok());
    }
}

#[test]
fn only_zero_bytes_may_follow_a_quote() {
    let mut padded = SGX_V3.to_vec();
    padded.extend([0; 3000]);
    assert_eq!(Quote::parse(&padded).expect("padding is legal").padding, 3000);
    *padded.last_mut().expect("not empty") = 1;
    assert_eq!(
        Quote::parse(&padded).expect_err("trailing byte"),
        QuoteError::Trailing { offset: SGX_V3.len() + 2999, got: 1 }
    );
}

#[test]
fn lengths_that_do_not_add_up_are_refused() {
    let at = HEADER_BYTES + SGX_BODY_BYTES;
    let auth_len_at = at + 4 + 64 + 64 + 384 + 64;
    for (offset, what) in [(at, "signature data"), (auth_len_at, "auth data")] {
        for delta in [1u8, 2, 255] {
            let mut bytes = SGX_V3.to_vec();
            bytes[offset] = bytes[offset].wrapping_add(delta);
            assert!(Quote::parse(&bytes).is_err(), "{what} + {delta}");
        }
    }
    let mut bytes: Vec<u8> = SGX_V3.to_vec();
    bytes[at..at + 4].fill(0xff);
    assert!(matches!(Quote::parse(&bytes), Err(QuoteError::Truncated(_))));
    assert!(matches!(
        Quote::parse(&alloc::vec![0; MAX_QUOTE_BYTES + 1]),
        Err(QuoteError::TooLong { .. })
    ));
}

/// Group 3 of what must be refused, as far as the form shows it.
#[test]
fn wrong_version_key_type_or_tee_is_refused() {
    let with = |offset: usize, value: u8| {
        let mut bytes = SGX_V3.to_vec();
        bytes[offset] = value;
        Quote::parse(&bytes).map(|_| ())
    };
    for version in [0, 1, 2, 5, 6] {
        assert_eq!(with(0, version), Err(QuoteError::Version { got: version.into() }));
    }
    for kind in [0, 1, 3, 4] {
        assert_eq!(with(2, kind), Err(QuoteError::KeyType { got: kind.into() }));
    }
    assert_eq!(with(4, 0x81), Err(QuoteError::Version { got: 3 }), "TDX has no version 3");
    assert_eq!(with(4, 0x80), Err(QuoteError::Tee { got: 0x80 }));
}
