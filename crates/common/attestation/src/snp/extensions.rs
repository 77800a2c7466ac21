//! What AMD's certificates say of an endorsement key: product, TCB, and chip or provider.
//!
//! AMD document 57230, "Versioned Chip Endorsement Key (VCEK) Certificate and KDS Interface Specification",
//! table "VCEK Certificate Extensions", and 58369 for the VLEK. Object identifiers are under
//! 1.3.6.1.4.1.3704.1. The signature of the certificate is the caller's to check.

use core::fmt;

use super::product::Product;
use super::report::SigningKey;
use super::tcb::Tcb;

/// 1.3.6.1.4.1.3704.1, as the content of a DER OBJECT IDENTIFIER.
const ARC: [u8; 8] = [0x2b, 0x06, 0x01, 0x04, 0x01, 0x9c, 0x78, 0x01];
/// Below it: structVersion, productName, the security patch levels, hwID, cspID.
const STRUCT_VERSION: &[u8] = &[1];
const PRODUCT_NAME: &[u8] = &[2];
const PATCH_LEVEL: u8 = 3;
const HARDWARE_ID: &[u8] = &[4];
const CSP_ID: &[u8] = &[5];

/// Security patch levels have numbers 1 to 9 below 3704.1.3.
const LEVELS: [&str; 9] =
    ["blSPL", "teeSPL", "snpSPL", "spl4", "spl5", "spl6", "spl7", "ucodeSPL", "fmcSPL"];

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const IA5_STRING: u8 = 0x16;

/// Whose key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner<'a> {
    /// VCEK: one chip.
    Chip {
        /// hwID, zero-padded as CHIP_ID is.
        hardware_id: [u8; 64],
    },
    /// VLEK: all chips of a cloud service provider.
    Provider {
        /// cspID.
        csp_id: &'a str,
    },
}

/// The extensions of one VCEK or VLEK certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndorsementKey<'a> {
    /// Chip or provider.
    pub owner: Owner<'a>,
    /// productName, as it came.
    pub product_name: &'a str,
    /// The product that it names.
    pub product: Product,
    /// The TCB that the key was derived from.
    pub tcb: Tcb,
}

/// Why a certificate is not one of an endorsement key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtensionError {
    /// An extension that every such certificate has is not there.
    Missing {
        /// Its name in AMD's document.
        name: &'static str,
    },
    /// It is there twice.
    Duplicate {
        /// Its name.
        name: &'static str,
    },
    /// Its value is not of the type, or not in the range, that the document has.
    Malformed {
        /// Its name.
        name: &'static str,
    },
    /// It has no place in a certificate of this kind or product.
    Unexpected {
        /// Its name.
        name: &'static str,
    },
    /// A patch level that we know nothing of: what it stands for cannot be judged.
    UnknownLevel {
        /// Its last arc.
        number: u8,
    },
    /// productName names none that we know.
    UnknownProduct,
}

impl fmt::Display for ExtensionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { name } => write!(f, "extension {name}: expected one, got none"),
            Self::Duplicate { name } => write!(f, "extension {name}: expected one, got two"),
            Self::Malformed { name } => write!(f, "extension {name}: not of its type"),
            Self::Unexpected { name } => {
                write!(f, "extension {name}: expected none in such a certificate")
            }
            Self::UnknownLevel { number } => {
                write!(f, "extension 1.3.6.1.4.1.3704.1.3.{number}: an unknown patch level")
            }
            Self::UnknownProduct => f.write_str("extension productName: an unknown product"),
        }
    }
}

impl core::error::Error for ExtensionError {}

#[derive(Default)]
struct Found<'a> {
    struct_version: Option<u8>,
    product_name: Option<&'a str>,
    levels: [Option<u8>; LEVELS.len()],
    hardware_id: Option<&'a [u8]>,
    csp_id: Option<&'a str>,
}

impl<'a> EndorsementKey<'a> {
    /// Reads the extensions of a certificate, each as the content of its OBJECT IDENTIFIER and of its
    /// extnValue. Those of other arcs are passed over: whether a critical one is understood is the caller's
    /// to check.
    ///
    /// # Errors
    /// Not the extensions of a VCEK, nor those of a VLEK.
    pub fn parse(
        extensions: impl IntoIterator<Item = (impl AsRef<[u8]>, &'a [u8])>,
    ) -> Result<Self, ExtensionError> {
        let mut found = Found::default();
        for (id, value) in extensions {
            if let Some(rest) = id.as_ref().strip_prefix(&ARC) {
                found.take(rest, value)?;
            }
        }
        found.finish()
    }

    /// Which of the two keys it is.
    #[must_use]
    pub const fn kind(&self) -> SigningKey {
        match self.owner {
            Owner::Chip { .. } => SigningKey::Vcek,
            Owner::Provider { .. } => SigningKey::Vlek,
        }
    }
}

impl<'a> Found<'a> {
    fn take(&mut self, id: &[u8], value: &'a [u8]) -> Result<(), ExtensionError> {
        match id {
            STRUCT_VERSION => once(&mut self.struct_version, "structVersion", small(value)),
            PRODUCT_NAME => once(&mut self.product_name, "productName", text(value)),
            HARDWARE_ID => once(&mut self.hardware_id, "hwID", hardware_id(value)),
            CSP_ID => once(&mut self.csp_id, "cspID", text(value)),
            // Any other form of identifier below it is a level that we do not know, too.
            [PATCH_LEVEL, rest @ ..] => {
                let number = if let [number] = rest { *number } else { u8::MAX };
                let index = usize::from(number).wrapping_sub(1);
                match (self.levels.get_mut(index), LEVELS.get(index)) {
                    (Some(level), Some(name)) => once(level, name, small(value)),
                    _ => Err(ExtensionError::UnknownLevel { number }),
                }
            }
            // Later additions to the arc that say nothing of the TCB.
            _ => Ok(()),
        }
    }

    fn finish(self) -> Result<EndorsementKey<'a>, ExtensionError> {
        let missing = |name| ExtensionError::Missing { name };
        self.struct_version.ok_or(missing("structVersion"))?;
        let product_name = self.product_name.ok_or(missing("productName"))?;
        let product =
            Product::from_product_name(product_name).ok_or(ExtensionError::UnknownProduct)?;
        let [bl, tee, snp, spl4, spl5, spl6, spl7, ucode, fmc] = self.levels;
        let fmc = match product {
            Product::Turin => Some(fmc.ok_or(missing("fmcSPL"))?),
            Product::Milan | Product::Genoa if fmc.is_some() => {
                return Err(ExtensionError::Unexpected { name: "fmcSPL" });
            }
            Product::Milan | Product::Genoa => None,
        };
        let tcb = Tcb {
            fmc,
            bootloader: bl.ok_or(missing("blSPL"))?,
            tee: tee.ok_or(missing("teeSPL"))?,
            snp: snp.ok_or(missing("snpSPL"))?,
            microcode: ucode.ok_or(missing("ucodeSPL"))?,
            reserved: [spl4, spl5, spl6, spl7].map(Option::unwrap_or_default),
        };
        let owner = match (self.hardware_id, self.csp_id) {
            (Some(id), None) => {
                if id.len() != product.chip_id_len() {
                    return Err(ExtensionError::Malformed { name: "hwID" });
                }
                let mut hardware_id = [0; 64];
                hardware_id[..id.len()].copy_from_slice(id);
                Owner::Chip { hardware_id }
            }
            (None, Some(csp_id)) => Owner::Provider { csp_id },
            (None, None) => return Err(missing("hwID or cspID")),
            (Some(_), Some(_)) => return Err(ExtensionError::Unexpected { name: "cspID" }),
        };
        Ok(EndorsementKey { owner, product_name, product, tcb })
    }
}

fn once<T>(
    slot: &mut Option<T>,
    name: &'static str,
    value: Option<T>,
) -> Result<(), ExtensionError> {
    if slot.is_some() {
        return Err(ExtensionError::Duplicate { name });
    }
    *slot = Some(value.ok_or(ExtensionError::Malformed { name })?);
    Ok(())
}

/// The content of a DER value with this tag, a length below 128, and nothing behind.
fn content(value: &[u8], tag: u8) -> Option<&[u8]> {
    match value {
        [t, length, content @ ..]
            if *t == tag && *length < 0x80 && usize::from(*length) == content.len() =>
        {
            Some(content)
        }
        _ => None,
    }
}

/// An INTEGER of 0 to 255, in the shortest form.
fn small(value: &[u8]) -> Option<u8> {
    match *content(value, INTEGER)? {
        [byte] if byte < 0x80 => Some(byte),
        [0, byte] if byte >= 0x80 => Some(byte),
        _ => None,
    }
}

fn text(value: &[u8]) -> Option<&str> {
    let text = core::str::from_utf8(content(value, IA5_STRING)?).ok()?;
    (!text.is_empty() && text.bytes().all(|byte| (0x20..0x7f).contains(&byte))).then_some(text)
}

/// hwID stands bare in extnValue in AMD's certificates; newer ones wrap it in an OCTET STRING as its
/// document says. The lengths tell them apart.
fn hardware_id(value: &[u8]) -> Option<&[u8]> {
    match value.len() {
        8 | 64 => Some(value),
        _ => content(value, OCTET_STRING),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    type Extension = (Vec<u8>, Vec<u8>);

    fn id(rest: &[u8]) -> Vec<u8> {
        [ARC.as_slice(), rest].concat()
    }

    fn string(text: &str) -> Vec<u8> {
        [&[IA5_STRING, text.len() as u8], text.as_bytes()].concat()
    }

    /// The extensions of a VCEK of Milan: bl 3, tee 0, snp 8, ucode 0xd1.
    fn milan() -> Vec<Extension> {
        let mut all: Vec<Extension> = Vec::from([
            (id(&[1]), Vec::from([2, 1, 0])),
            (id(&[2]), string("Milan-B0")),
            (id(&[4]), Vec::from([7; 64])),
        ]);
        for (number, level) in [(1, 3), (2, 0), (3, 8), (4, 0), (5, 0), (6, 0), (7, 0)] {
            all.push((id(&[3, number]), Vec::from([2, 1, level])));
        }
        all.push((id(&[3, 8]), Vec::from([2, 2, 0, 0xd1])));
        all
    }

    fn parse(extensions: &[Extension]) -> Result<EndorsementKey<'_>, ExtensionError> {
        EndorsementKey::parse(extensions.iter().map(|(id, value)| (&id[..], &value[..])))
    }

    #[test]
    fn a_vcek_has_a_chip_and_a_vlek_a_provider() {
        let mut extensions = milan();
        let key = parse(&extensions).unwrap();
        assert_eq!(key.owner, Owner::Chip { hardware_id: [7; 64] });
        assert_eq!((key.product, key.kind()), (Product::Milan, SigningKey::Vcek));
        assert_eq!((key.tcb.bootloader, key.tcb.snp, key.tcb.microcode), (3, 8, 0xd1));

        extensions[2] = (id(&[5]), string("CN=a provider"));
        let key = parse(&extensions).unwrap();
        assert_eq!(key.owner, Owner::Provider { csp_id: "CN=a provider" });
        extensions.push((id(&[4]), Vec::from([7; 64])));
        assert_eq!(parse(&extensions), Err(ExtensionError::Unexpected { name: "cspID" }));
    }

    #[test]
    fn a_wrapped_hardware_id_is_the_same_as_a_bare_one() {
        let mut extensions = milan();
        extensions[2].1 = [&[OCTET_STRING, 64][..], &[7; 64]].concat();
        assert_eq!(parse(&extensions), parse(&milan()));
        extensions[2].1 = Vec::from([7; 8]);
        assert_eq!(parse(&extensions), Err(ExtensionError::Malformed { name: "hwID" }));
        extensions[2].1 = Vec::from([7; 63]);
        assert_eq!(parse(&extensions), Err(ExtensionError::Malformed { name: "hwID" }));
    }

    #[test]
    fn turin_has_an_fmc_and_a_short_hardware_id() {
        let mut extensions = milan();
        extensions.push((id(&[3, 9]), Vec::from([2, 1, 4])));
        assert_eq!(parse(&extensions), Err(ExtensionError::Unexpected { name: "fmcSPL" }));
        extensions[1].1 = string("Turin");
        assert_eq!(parse(&extensions), Err(ExtensionError::Malformed { name: "hwID" }));
        extensions[2].1 = Vec::from([7; 8]);
        assert_eq!(parse(&extensions).unwrap().tcb.fmc, Some(4));
        extensions.pop();
        assert_eq!(parse(&extensions), Err(ExtensionError::Missing { name: "fmcSPL" }));
    }

    #[test]
    fn each_is_needed_once() {
        for index in 0..milan().len() {
            let mut without = milan();
            let removed = without.remove(index);
            // spl4 to spl7 are reserved, and zero where they are absent.
            let is_optional = (6..=9).contains(&index);
            assert_eq!(parse(&without).is_ok(), is_optional, "{removed:?}");
            let mut twice = milan();
            twice.push(removed);
            assert!(matches!(parse(&twice), Err(ExtensionError::Duplicate { .. })), "{index}");
        }
    }

    #[test]
    fn levels_are_short_integers_of_one_byte() {
        for bad in [&[2, 1, 0x80][..], &[2, 2, 0, 5], &[2, 2, 1, 0], &[2, 1, 3, 0], &[4, 1, 3], &[]]
        {
            let mut extensions = milan();
            extensions[3].1 = bad.to_vec();
            assert_eq!(
                parse(&extensions),
                Err(ExtensionError::Malformed { name: "blSPL" }),
                "{bad:?}"
            );
        }
        let mut extensions = milan();
        extensions.push((id(&[3, 10]), Vec::from([2, 1, 0])));
        assert_eq!(parse(&extensions), Err(ExtensionError::UnknownLevel { number: 10 }));
        extensions.pop();
        extensions.push((id(&[3, 0]), Vec::from([2, 1, 0])));
        assert_eq!(parse(&extensions), Err(ExtensionError::UnknownLevel { number: 0 }));
    }

    #[test]
    fn other_products_and_other_arcs() {
        let mut extensions = milan();
        extensions.push((Vec::from([0x55, 0x1d, 0x0f]), Vec::from([1, 2, 3])));
        assert!(parse(&extensions).is_ok(), "another arc is passed over");
        extensions[1].1 = string("Rome-B0");
        assert_eq!(parse(&extensions), Err(ExtensionError::UnknownProduct));
    }
}
