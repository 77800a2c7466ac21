//! The report of a TDX trust domain, in the three forms that quotes carry.

use crate::bytes::{Reader, Truncated};

/// Body type of version 5: TDX 1.0, and the only form in version 4.
pub(super) const TDX_10: u16 = 2;
const TDX_15: u16 = 3;
const TDX_15_EX: u16 = 4;

/// The length of a body of this type, in bytes.
pub(super) const fn body_bytes(body_type: u16) -> Option<usize> {
    match body_type {
        TDX_10 => Some(584),
        TDX_15 => Some(648),
        TDX_15_EX => Some(885),
        _ => None,
    }
}

/// What a TDX module says of a trust domain (TD).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TdReport {
    /// TEE_TCB_SVN: byte 0 is the TDX module's SVN, byte 1 its version.
    pub tee_tcb_svn: [u8; 16],
    /// Measurement of the TDX module.
    pub mrseam: [u8; 48],
    /// Signer of the TDX module; zero for Intel's.
    pub mrsignerseam: [u8; 48],
    /// Attributes of the TDX module; zero for a production one.
    pub seam_attributes: [u8; 8],
    /// Attributes of the TD, little-endian.
    pub td_attributes: u64,
    /// Extended features allowed to the TD.
    pub xfam: [u8; 8],
    /// Measurement of the TD's initial contents.
    pub mrtd: [u8; 48],
    /// Configuration that the owner gave.
    pub mrconfigid: [u8; 48],
    /// The TD's owner.
    pub mrowner: [u8; 48],
    /// Configuration of the owner.
    pub mrownerconfig: [u8; 48],
    /// Runtime measurement registers 0 to 3.
    pub rtmr: [[u8; 48]; 4],
    /// What the TD said.
    pub report_data: [u8; 64],
    /// What TDX 1.5 adds.
    pub tdx_15: Option<TdReport15>,
}

/// What TDX 1.5 adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TdReport15 {
    /// TEE_TCB_SVN2: the patch level now, where `tee_tcb_svn` is that of the TD's launch.
    pub tee_tcb_svn2: [u8; 16],
    /// Hash of the bound service TDs; zero if there are none.
    pub mrservicetd: [u8; 48],
    /// What body type 4 adds.
    pub ex: Option<TdReport15Ex>,
}

/// What body type 4 adds to TDX 1.5: which instance it is, and its past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TdReport15Ex {
    /// Index of the virtual machine inside a partitioned TD.
    pub vmid: u8,
    /// Id of this TD instance.
    pub td_id: [u8; 32],
    /// Hash of the device information.
    pub dev_info: [u8; 48],
    /// Hash of the service TDs bound at creation.
    pub init_servicetd_hash: [u8; 48],
    /// Attributes of the service TD bound at creation.
    pub init_servicetd_attributes: [u8; 8],
    /// CPUSVN at creation.
    pub init_cpusvn: [u8; 16],
    /// TEE_TCB_SVN at creation.
    pub init_tee_tcb_svn: [u8; 16],
    /// Platform model at creation.
    pub init_tee_fmspc: [u8; 12],
    /// Hash of the service TDs bound now.
    pub cur_servicetd_hash: [u8; 48],
    /// Attributes of the service TD bound now.
    pub cur_servicetd_attributes: [u8; 8],
}

impl TdReport {
    /// `body_type` is one that [`body_bytes`] knows.
    pub(super) fn parse(body_type: u16, reader: &mut Reader<'_>) -> Result<Self, Truncated> {
        let mut report = Self {
            tee_tcb_svn: reader.array()?,
            mrseam: reader.array()?,
            mrsignerseam: reader.array()?,
            seam_attributes: reader.array()?,
            td_attributes: reader.u64()?,
            xfam: reader.array()?,
            mrtd: reader.array()?,
            mrconfigid: reader.array()?,
            mrowner: reader.array()?,
            mrownerconfig: reader.array()?,
            rtmr: [reader.array()?, reader.array()?, reader.array()?, reader.array()?],
            report_data: reader.array()?,
            tdx_15: None,
        };
        if body_type != TDX_10 {
            report.tdx_15 = Some(TdReport15 {
                tee_tcb_svn2: reader.array()?,
                mrservicetd: reader.array()?,
                ex: (body_type == TDX_15_EX).then(|| TdReport15Ex::parse(reader)).transpose()?,
            });
        }
        Ok(report)
    }
}

impl TdReport15Ex {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            vmid: reader.array::<1>()?[0],
            td_id: reader.array()?,
            dev_info: reader.array()?,
            init_servicetd_hash: reader.array()?,
            init_servicetd_attributes: reader.array()?,
            init_cpusvn: reader.array()?,
            init_tee_tcb_svn: reader.array()?,
            init_tee_fmspc: reader.array()?,
            cur_servicetd_hash: reader.array()?,
            cur_servicetd_attributes: reader.array()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_reads_exactly_its_length() {
        for body_type in [TDX_10, TDX_15, TDX_15_EX] {
            let len = body_bytes(body_type).expect("a known type");
            let bytes = alloc::vec![7; len];
            let mut reader = Reader::new(&bytes);
            TdReport::parse(body_type, &mut reader).expect("enough bytes");
            assert!(reader.rest().is_empty(), "type {body_type}");
            assert!(TdReport::parse(body_type, &mut Reader::new(&bytes[1..])).is_err());
        }
    }
}
