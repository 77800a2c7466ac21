//! Patch levels: the statuses that Intel gives them, and how those of several components combine.

use core::fmt;

use serde::{Deserialize, Serialize};

/// The status of a TCB level, as collateral spells it.
///
/// The two `TDRelaunchAdvised` values come from combining, never from collateral.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(clippy::upper_case_acronyms, reason = "spelled as collateral and policies spell it")]
pub enum TcbStatus {
    /// All known fixes are applied.
    UpToDate,
    /// Fixes are applied; software in the enclave must mitigate an advisory itself.
    SWHardeningNeeded,
    /// Fixes are applied; the platform's configuration must mitigate an advisory.
    ConfigurationNeeded,
    /// Both of the above.
    ConfigurationAndSWHardeningNeeded,
    /// A fix is missing.
    OutOfDate,
    /// A fix is missing, and the configuration must mitigate an advisory.
    OutOfDateConfigurationNeeded,
    /// The platform is fixed, but this trust domain was started before: start it again.
    TDRelaunchAdvised,
    /// As before, and the configuration must mitigate an advisory.
    TDRelaunchAdvisedConfigurationNeeded,
    /// The platform's keys are compromised. No policy can accept it.
    Revoked,
}

impl TcbStatus {
    /// As collateral and policies spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UpToDate => "UpToDate",
            Self::SWHardeningNeeded => "SWHardeningNeeded",
            Self::ConfigurationNeeded => "ConfigurationNeeded",
            Self::ConfigurationAndSWHardeningNeeded => "ConfigurationAndSWHardeningNeeded",
            Self::OutOfDate => "OutOfDate",
            Self::OutOfDateConfigurationNeeded => "OutOfDateConfigurationNeeded",
            Self::TDRelaunchAdvised => "TDRelaunchAdvised",
            Self::TDRelaunchAdvisedConfigurationNeeded => "TDRelaunchAdvisedConfigurationNeeded",
            Self::Revoked => "Revoked",
        }
    }

    const fn needs_configuration(self) -> bool {
        matches!(
            self,
            Self::ConfigurationNeeded
                | Self::ConfigurationAndSWHardeningNeeded
                | Self::OutOfDateConfigurationNeeded
                | Self::TDRelaunchAdvisedConfigurationNeeded
        )
    }

    /// The status of a platform together with that of its quoting enclave or TDX module.
    ///
    /// A component that is out of date or revoked makes the platform so, as in Intel's library. One that
    /// needs configuration makes the platform need it, which that library leaves unsaid.
    #[must_use]
    pub const fn with_component(self, component: Self) -> Self {
        use TcbStatus::*;
        match (component, self) {
            (Revoked, _) | (_, Revoked) => Revoked,
            (OutOfDate, UpToDate | SWHardeningNeeded) => OutOfDate,
            (OutOfDate, ConfigurationNeeded | ConfigurationAndSWHardeningNeeded)
            | (
                OutOfDateConfigurationNeeded,
                UpToDate
                | SWHardeningNeeded
                | ConfigurationNeeded
                | ConfigurationAndSWHardeningNeeded
                | OutOfDate,
            )
            | (ConfigurationNeeded, OutOfDate) => OutOfDateConfigurationNeeded,
            (ConfigurationNeeded, UpToDate) => ConfigurationNeeded,
            (ConfigurationNeeded, SWHardeningNeeded) => ConfigurationAndSWHardeningNeeded,
            _ => self,
        }
    }

    /// The status of a trust domain that was started at this level on a platform that is now at `current`.
    ///
    /// Where the platform is now worse, that counts; Intel's library looks at the launch only.
    #[must_use]
    pub const fn with_current(self, current: Self) -> Self {
        match (self, current) {
            (
                Self::OutOfDate | Self::OutOfDateConfigurationNeeded,
                Self::UpToDate
                | Self::SWHardeningNeeded
                | Self::ConfigurationNeeded
                | Self::ConfigurationAndSWHardeningNeeded,
            ) => {
                if self.needs_configuration() || current.needs_configuration() {
                    Self::TDRelaunchAdvisedConfigurationNeeded
                } else {
                    Self::TDRelaunchAdvised
                }
            }
            _ => self.with_component(current),
        }
    }
}

impl fmt::Display for TcbStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::TcbStatus::*;

    #[test]
    fn a_component_only_worsens_a_platform() {
        for (platform, component, together) in [
            (UpToDate, UpToDate, UpToDate),
            (UpToDate, OutOfDate, OutOfDate),
            (SWHardeningNeeded, OutOfDate, OutOfDate),
            (ConfigurationNeeded, OutOfDate, OutOfDateConfigurationNeeded),
            (ConfigurationAndSWHardeningNeeded, OutOfDate, OutOfDateConfigurationNeeded),
            (OutOfDate, UpToDate, OutOfDate),
            (UpToDate, ConfigurationNeeded, ConfigurationNeeded),
            (SWHardeningNeeded, ConfigurationNeeded, ConfigurationAndSWHardeningNeeded),
            (OutOfDate, ConfigurationNeeded, OutOfDateConfigurationNeeded),
            (UpToDate, OutOfDateConfigurationNeeded, OutOfDateConfigurationNeeded),
            (UpToDate, Revoked, Revoked),
            (Revoked, UpToDate, Revoked),
        ] {
            assert_eq!(platform.with_component(component), together, "{platform} {component}");
        }
    }

    #[test]
    fn a_domain_started_too_early_is_told_to_start_again() {
        for (launched, current, together) in [
            (OutOfDate, UpToDate, TDRelaunchAdvised),
            (OutOfDate, SWHardeningNeeded, TDRelaunchAdvised),
            (OutOfDate, ConfigurationNeeded, TDRelaunchAdvisedConfigurationNeeded),
            (OutOfDateConfigurationNeeded, UpToDate, TDRelaunchAdvisedConfigurationNeeded),
            (OutOfDate, OutOfDate, OutOfDate),
            (UpToDate, OutOfDate, OutOfDate),
            (UpToDate, Revoked, Revoked),
            (OutOfDate, Revoked, Revoked),
        ] {
            assert_eq!(launched.with_current(current), together, "{launched} {current}");
        }
    }
}
