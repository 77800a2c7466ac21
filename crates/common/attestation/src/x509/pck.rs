//! Intel's SGX extension in a PCK certificate: which platform it is, and its patch level.
//!
//! Source: Intel, "SGX PCK Certificate and Certificate Revocation List Profile Specification", "SGX
//! Extensions". Read strictly: every item once, of its type and length, none unknown.

use der::Tag;
use der::asn1::ObjectIdentifier as Oid;

use super::read::Fields;
use super::{Certificate, X509Error, oid};

/// The kind of memory protection of a platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SgxType {
    /// 0: replay-protected memory.
    Standard,
    /// 1: encrypted memory without replay protection.
    Scalable,
    /// 2: encrypted memory with integrity.
    ScalableWithIntegrity,
}

/// The extension, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PckExtension {
    /// PPID: the processor; the same for its life.
    pub ppid: [u8; 16],
    /// The sixteen component SVNs.
    pub tcb_components: [u8; 16],
    /// PCESVN.
    pub pcesvn: u16,
    /// CPUSVN as the CPU reports it.
    pub cpusvn: [u8; 16],
    /// PCEID.
    pub pceid: [u8; 2],
    /// FMSPC: family, model, stepping, platform type, custom SKU.
    pub fmspc: [u8; 6],
    /// Memory protection.
    pub sgx_type: SgxType,
    /// Platform instance id; only under the Platform CA.
    pub platform_instance_id: Option<[u8; 16]>,
    /// Whether packages may be added; only under the Platform CA.
    pub dynamic_platform: Option<bool>,
    /// Whether the issuer keeps the platform's root keys; only under the Platform CA.
    pub cached_keys: Option<bool>,
    /// Whether simultaneous multithreading is on; only under the Platform CA.
    pub smt_enabled: Option<bool>,
}

impl PckExtension {
    /// Reads the extension of a PCK certificate.
    ///
    /// # Errors
    ///
    /// [`X509Error`]: missing, or not of this form.
    pub fn of(certificate: &Certificate<'_>) -> Result<Self, X509Error> {
        Self::parse(Self::contents(certificate)?)
    }

    /// The bytes of the extension of a PCK certificate.
    ///
    /// # Errors
    ///
    /// [`X509Error::Missing`].
    pub fn contents<'a>(certificate: &Certificate<'a>) -> Result<&'a [u8], X509Error> {
        certificate
            .extension(oid::SGX_EXTENSION)
            .map(|extension| extension.value)
            .ok_or(X509Error::Missing("Intel's SGX extension"))
    }

    /// Reads the contents of the extension.
    ///
    /// # Errors
    ///
    /// As [`of`](Self::of).
    pub fn parse(der: &[u8]) -> Result<Self, X509Error> {
        let mut found = Found::default();
        let mut items = Fields::of_sequence(der)?;
        while !items.is_empty() {
            let mut item = items.sequence()?;
            let oid = item.oid()?;
            match arc(oid, 0)? {
                1 => once(&mut found.ppid, oid, octets(&mut item, "PPID")?)?,
                2 => once(&mut found.tcb, oid, Tcb::parse(item.sequence()?)?)?,
                3 => once(&mut found.pceid, oid, octets(&mut item, "PCEID")?)?,
                4 => once(&mut found.fmspc, oid, octets(&mut item, "FMSPC")?)?,
                5 => once(&mut found.sgx_type, oid, sgx_type(&mut item)?)?,
                6 => once(&mut found.instance, oid, octets(&mut item, "platform instance id")?)?,
                7 => once(&mut found.configuration, oid, Configuration::parse(item.sequence()?)?)?,
                _ => return Err(X509Error::Field { name: "SGX extension item" }),
            }
            item.finish()?;
        }
        let tcb = found.tcb.ok_or(X509Error::Missing("TCB"))?;
        let configuration = found.configuration.unwrap_or_default();
        Ok(Self {
            ppid: found.ppid.ok_or(X509Error::Missing("PPID"))?,
            tcb_components: tcb.components,
            pcesvn: tcb.pcesvn,
            cpusvn: tcb.cpusvn,
            pceid: found.pceid.ok_or(X509Error::Missing("PCEID"))?,
            fmspc: found.fmspc.ok_or(X509Error::Missing("FMSPC"))?,
            sgx_type: found.sgx_type.ok_or(X509Error::Missing("SGX type"))?,
            platform_instance_id: found.instance,
            dynamic_platform: configuration.flags[0],
            cached_keys: configuration.flags[1],
            smt_enabled: configuration.flags[2],
        })
    }
}

#[derive(Default)]
struct Found {
    ppid: Option<[u8; 16]>,
    tcb: Option<Tcb>,
    pceid: Option<[u8; 2]>,
    fmspc: Option<[u8; 6]>,
    sgx_type: Option<SgxType>,
    instance: Option<[u8; 16]>,
    configuration: Option<Configuration>,
}

/// Item .2: .1 to .16 the components, .17 PCESVN, .18 CPUSVN.
struct Tcb {
    components: [u8; 16],
    pcesvn: u16,
    cpusvn: [u8; 16],
}

impl Tcb {
    fn parse(mut items: Fields<'_>) -> Result<Self, X509Error> {
        let mut components = [None; 16];
        let (mut pcesvn, mut cpusvn) = (None, None);
        while !items.is_empty() {
            let mut item = items.sequence()?;
            let oid = item.oid()?;
            match arc(oid, 1)? {
                number @ 1..=16 => {
                    let svn = u8::try_from(unsigned(&mut item)?)
                        .map_err(|_| X509Error::Field { name: "TCB component SVN" })?;
                    once(&mut components[number as usize - 1], oid, svn)?;
                }
                17 => once(&mut pcesvn, oid, unsigned(&mut item)?)?,
                18 => once(&mut cpusvn, oid, octets(&mut item, "CPUSVN")?)?,
                _ => return Err(X509Error::Field { name: "TCB item" }),
            }
            item.finish()?;
        }
        let mut svns = [0; 16];
        for (svn, component) in svns.iter_mut().zip(components) {
            *svn = component.ok_or(X509Error::Missing("TCB component SVN"))?;
        }
        Ok(Self {
            components: svns,
            pcesvn: pcesvn.ok_or(X509Error::Missing("PCESVN"))?,
            cpusvn: cpusvn.ok_or(X509Error::Missing("CPUSVN"))?,
        })
    }
}

/// Item .7: .1 dynamic platform, .2 cached keys, .3 SMT enabled.
#[derive(Clone, Copy, Default)]
struct Configuration {
    flags: [Option<bool>; 3],
}

impl Configuration {
    fn parse(mut items: Fields<'_>) -> Result<Self, X509Error> {
        let mut flags = [None; 3];
        while !items.is_empty() {
            let mut item = items.sequence()?;
            let oid = item.oid()?;
            let number @ 1..=3 = arc(oid, 1)? else {
                return Err(X509Error::Field { name: "configuration item" });
            };
            let flag = match item.value(Tag::Boolean)? {
                [0] => false,
                [0xff] => true,
                _ => return Err(X509Error::Field { name: "configuration flag" }),
            };
            once(&mut flags[number as usize - 1], oid, flag)?;
            item.finish()?;
        }
        Ok(Self { flags })
    }
}

/// The number of an item below the extension's own identifier, `depth` items down.
fn arc(oid: Oid, depth: usize) -> Result<u32, X509Error> {
    let own = oid::SGX_EXTENSION.arcs().count();
    let is_below = oid.arcs().zip(oid::SGX_EXTENSION.arcs()).filter(|(a, b)| a == b).count() == own;
    if !is_below || oid.arcs().count() != own + depth + 1 {
        return Err(X509Error::Field { name: "SGX extension item" });
    }
    oid.arcs().last().ok_or(X509Error::Field { name: "SGX extension item" })
}

fn once<T>(place: &mut Option<T>, oid: Oid, value: T) -> Result<(), X509Error> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(X509Error::Duplicate(oid)),
    }
}

fn octets<const N: usize>(item: &mut Fields<'_>, name: &'static str) -> Result<[u8; N], X509Error> {
    item.value(Tag::OctetString)?.try_into().map_err(|_| X509Error::Field { name })
}

/// An INTEGER from 0 to 65535.
fn unsigned(item: &mut Fields<'_>) -> Result<u16, X509Error> {
    match *item.integer()? {
        [low @ 0..=0x7f] => Ok(low.into()),
        [0, low] => Ok(low.into()),
        [high @ 0..=0x7f, low] => Ok(u16::from_be_bytes([high, low])),
        [0, high, low] => Ok(u16::from_be_bytes([high, low])),
        _ => Err(X509Error::Field { name: "SVN" }),
    }
}

fn sgx_type(item: &mut Fields<'_>) -> Result<SgxType, X509Error> {
    match item.value(Tag::Enumerated)? {
        [0] => Ok(SgxType::Standard),
        [1] => Ok(SgxType::Scalable),
        [2] => Ok(SgxType::ScalableWithIntegrity),
        _ => Err(X509Error::Field { name: "SGX type" }),
    }
}
