//! Intel's extension of a PCK certificate: which platform it is and what its security versions are.
//!
//! Source: Intel SGX PCK Certificate and Certificate Revocation List Profile Specification, "SGX Extensions".

/// SGX extensions, 1.2.840.113741.1.13.1. Not critical.
pub(crate) const EXTENSION: &[u64] = &[1, 2, 840, 113_741, 1, 13, 1];
/// Its contents in DER: the last arcs are appended.
const ARC: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01];

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const ENUMERATED: u8 = 0x0a;
const SEQUENCE: u8 = 0x30;

/// Which CA issues for the platform.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PckCa {
    /// A platform of one package, which is its own unit of trust.
    #[default]
    Processor,
    /// A platform that was registered as a whole: it has an instance id and a configuration.
    Platform,
}

impl PckCa {
    /// As the PCS names it in a query.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Processor => "processor",
            Self::Platform => "platform",
        }
    }
}

/// What the extension says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PckExtension {
    pub(crate) ppid: [u8; 16],
    pub(crate) cpusvn: [u8; 16],
    pub(crate) pcesvn: u16,
    pub(crate) pceid: [u8; 2],
    pub(crate) fmspc: [u8; 6],
    /// Only a platform that the Platform CA certifies has one.
    pub(crate) platform_instance_id: Option<[u8; 16]>,
}

impl PckExtension {
    pub(crate) fn to_der(&self) -> Vec<u8> {
        // Each component's version is one byte of CPUSVN.
        let mut tcb: Vec<u8> = self
            .cpusvn
            .iter()
            .zip(1..)
            .flat_map(|(&svn, component)| entry(&[2, component], &integer(svn.into())))
            .collect();
        tcb.extend(entry(&[2, 17], &integer(self.pcesvn)));
        tcb.extend(entry(&[2, 18], &value(OCTET_STRING, &self.cpusvn)));

        let is_platform = self.platform_instance_id.is_some();
        let mut fields = entry(&[1], &value(OCTET_STRING, &self.ppid));
        fields.extend(entry(&[2], &value(SEQUENCE, &tcb)));
        fields.extend(entry(&[3], &value(OCTET_STRING, &self.pceid)));
        fields.extend(entry(&[4], &value(OCTET_STRING, &self.fmspc)));
        // SGX Type: 0 standard (integrity protected by the CPU), 1 scalable.
        fields.extend(entry(&[5], &value(ENUMERATED, &[u8::from(is_platform)])));
        if let Some(id) = self.platform_instance_id {
            fields.extend(entry(&[6], &value(OCTET_STRING, &id)));
            // Dynamic platform, cached keys, SMT: none of them.
            let configuration: Vec<u8> =
                (1..=3).flat_map(|flag| entry(&[7, flag], &value(BOOLEAN, &[0]))).collect();
            fields.extend(entry(&[7], &value(SEQUENCE, &configuration)));
        }
        value(SEQUENCE, &fields)
    }
}

/// SEQUENCE { OBJECT IDENTIFIER, value }.
fn entry(arcs: &[u8], of: &[u8]) -> Vec<u8> {
    let mut inner = value(OBJECT_IDENTIFIER, &[ARC, arcs].concat());
    inner.extend(of);
    value(SEQUENCE, &inner)
}

/// A non-negative INTEGER in its shortest form.
fn integer(number: u16) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    match number {
        0..=0x7f => value(INTEGER, &[low]),
        0x80..=0xff => value(INTEGER, &[0, low]),
        0x100..=0x7fff => value(INTEGER, &[high, low]),
        0x8000.. => value(INTEGER, &[0, high, low]),
    }
}

/// Tag, length, contents.
fn value(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = u16::try_from(contents.len()).expect("an extension has some hundred bytes");
    let [high, low] = length.to_be_bytes();
    let mut der = match length {
        0..=0x7f => vec![tag, low],
        0x80..=0xff => vec![tag, 0x81, low],
        0x100.. => vec![tag, 0x82, high, low],
    };
    der.extend(contents);
    der
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_lengths_are_in_their_shortest_form() {
        assert_eq!(integer(0), [2, 1, 0]);
        assert_eq!(integer(0x80), [2, 2, 0, 0x80]);
        assert_eq!(integer(0x100), [2, 2, 1, 0]);
        assert_eq!(integer(0x8000), [2, 3, 0, 0x80, 0]);
        assert_eq!(value(4, &[0; 0x7f])[..3], [4, 0x7f, 0]);
        assert_eq!(value(4, &[0; 0x80])[..4], [4, 0x81, 0x80, 0]);
        assert_eq!(value(4, &[0; 0x100])[..5], [4, 0x82, 1, 0, 0]);
    }

    #[test]
    fn entries_stand_under_intels_arc() {
        // 1.2.840.113741.1.13.1.2.17
        let expected =
            [0x30, 0x10, 6, 11, 0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 1, 13, 1, 2, 17, 2, 1, 5];
        assert_eq!(entry(&[2, 17], &integer(5)), expected);
    }
}
