//! Just enough of a DER writer to make certificates and CRLs, right and wrong.

pub(crate) fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match contents.len() {
        len @ 0..=0x7f => out.push(len as u8),
        len @ 0x80..=0xff => out.extend([0x81, len as u8]),
        len => out.extend([0x82, (len >> 8) as u8, len as u8]),
    }
    out.extend(contents);
    out
}

pub(crate) fn seq(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

pub(crate) fn set(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x31, &parts.concat())
}

pub(crate) fn oid(text: &str) -> Vec<u8> {
    tlv(6, der::asn1::ObjectIdentifier::new_unwrap(text).as_bytes())
}

pub(crate) fn integer(value: u64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let from = bytes.iter().position(|&byte| byte != 0).unwrap_or(7);
    let mut digits = bytes[from..].to_vec();
    if digits[0] & 0x80 != 0 {
        digits.insert(0, 0);
    }
    tlv(2, &digits)
}

pub(crate) fn octets(bytes: &[u8]) -> Vec<u8> {
    tlv(4, bytes)
}

pub(crate) fn bits(bytes: &[u8]) -> Vec<u8> {
    tlv(3, &[&[0], bytes].concat())
}

/// GeneralizedTime from 2050, UTCTime before, as RFC 5280 wants it.
pub(crate) fn time(seconds: u64) -> Vec<u8> {
    let text = attestation::time::Rfc3339(seconds).to_string().replace(['-', ':', 'T'], "");
    if text.as_str() < "2050" {
        tlv(0x17, &text.as_bytes()[2..])
    } else {
        tlv(0x18, text.as_bytes())
    }
}

pub(crate) fn name(common_name: &str) -> Vec<u8> {
    let value = tlv(0x0c, common_name.as_bytes());
    seq(&[&set(&[&seq(&[&oid("2.5.4.3"), &value])])])
}

pub(crate) fn extension(id: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
    seq(&[&oid(id), critical, &octets(value)])
}

pub(crate) fn pem(ders: &[&[u8]]) -> String {
    ders.iter()
        .map(|der| {
            pem_rfc7468::encode_string("CERTIFICATE", pem_rfc7468::LineEnding::LF, der)
                .expect("a label and bytes")
        })
        .collect()
}
