//! Security versions and what they are worth.

use crate::platform::CURRENT_SVN;
use sgx::report::EMULATED_CPUSVN;

/// What a set of security versions is worth, in Intel's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcbStatus {
    /// No newer one is known to matter.
    UpToDate,
    /// Software must work around a weakness.
    SwHardeningNeeded,
    /// The platform must be configured.
    ConfigurationNeeded,
    /// Both.
    ConfigurationAndSwHardeningNeeded,
    /// There is a newer one that matters.
    OutOfDate,
    /// That, and the platform must be configured.
    OutOfDateConfigurationNeeded,
    /// Its keys are known.
    Revoked,
}

impl TcbStatus {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::UpToDate,
        Self::SwHardeningNeeded,
        Self::ConfigurationNeeded,
        Self::ConfigurationAndSwHardeningNeeded,
        Self::OutOfDate,
        Self::OutOfDateConfigurationNeeded,
        Self::Revoked,
    ];

    /// As collateral spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UpToDate => "UpToDate",
            Self::SwHardeningNeeded => "SWHardeningNeeded",
            Self::ConfigurationNeeded => "ConfigurationNeeded",
            Self::ConfigurationAndSwHardeningNeeded => "ConfigurationAndSWHardeningNeeded",
            Self::OutOfDate => "OutOfDate",
            Self::OutOfDateConfigurationNeeded => "OutOfDateConfigurationNeeded",
            Self::Revoked => "Revoked",
        }
    }
}

/// What a platform with at least these security versions is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcbLevel {
    /// Each component's version.
    pub cpusvn: [u8; 16],
    /// ISVSVN of the provisioning certification enclave.
    pub pcesvn: u16,
    /// When they became what they are worth, Unix seconds.
    pub date: i64,
    /// What they are worth.
    pub status: TcbStatus,
    /// Why they are worth no more.
    pub advisories: Vec<String>,
}

/// What a quoting enclave with at least this security version is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QeLevel {
    /// ISVSVN.
    pub isvsvn: u16,
    /// When it became what it is worth, Unix seconds.
    pub date: i64,
    /// What it is worth.
    pub status: TcbStatus,
    /// Why it is worth no more.
    pub advisories: Vec<String>,
}

/// The advisory of everything old on the emulated platform.
pub const ADVISORY: &str = "EMULATED-SA-00001";
/// 2025-01-01: when what is current was made.
const CURRENT_DATE: i64 = 1_735_689_600;
/// 2024-01-01.
const OLD_DATE: i64 = 1_704_067_200;

/// The current level, and anything below it: out of date.
pub(super) fn platform_levels() -> Vec<TcbLevel> {
    let current = TcbLevel {
        cpusvn: EMULATED_CPUSVN,
        pcesvn: CURRENT_SVN,
        date: CURRENT_DATE,
        status: TcbStatus::UpToDate,
        advisories: Vec::new(),
    };
    let old = TcbLevel {
        cpusvn: [0; 16],
        pcesvn: 0,
        date: OLD_DATE,
        status: TcbStatus::OutOfDate,
        advisories: vec![ADVISORY.to_owned()],
    };
    vec![current, old]
}

/// The same for the quoting enclave.
pub(super) fn qe_levels() -> Vec<QeLevel> {
    let current = QeLevel {
        isvsvn: CURRENT_SVN,
        date: CURRENT_DATE,
        status: TcbStatus::UpToDate,
        advisories: Vec::new(),
    };
    let old = QeLevel {
        isvsvn: 1,
        date: OLD_DATE,
        status: TcbStatus::OutOfDate,
        advisories: vec![ADVISORY.to_owned()],
    };
    vec![current, old]
}
