//! What the daemon calls its errors.

/// `error` of a response.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Status(pub u32);

impl Status {
    /// All is well.
    pub const SUCCESS: Self = Self(0);
    /// No closer name.
    pub const UNEXPECTED_ERROR: Self = Self(1);
    /// A field is missing or out of range.
    pub const PARAMETER_ERROR: Self = Self(3);
    /// No launch token is given.
    pub const GET_LICENSETOKEN_ERROR: Self = Self(6);
    /// The daemon has nobody for this request.
    pub const SERVICE_UNAVAILABLE: Self = Self(30);
    /// Not a key that the daemon has.
    pub const UNSUPPORTED_ATT_KEY_ID: Self = Self(38);
    /// Target information must be asked for first.
    pub const ATT_KEY_NOT_INITIALIZED: Self = Self(42);
    /// The quoting enclave does not take the report.
    pub const INVALID_REPORT: Self = Self(47);
    /// The quoting enclave cannot make its own report.
    pub const UNABLE_TO_GENERATE_QE_REPORT: Self = Self(49);

    /// Its name in the daemon's sources, without the prefix.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        NAMES.get(self.0 as usize).copied()
    }
}

impl core::fmt::Display for Status {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} ({name})", self.0),
            None => self.0.fmt(f),
        }
    }
}

impl core::fmt::Debug for Status {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Status({self})")
    }
}

const NAMES: &[&str] = &[
    "SUCCESS",
    "UNEXPECTED_ERROR",
    "NO_DEVICE_ERROR",
    "PARAMETER_ERROR",
    "EPIDBLOB_ERROR",
    "EPID_REVOKED_ERROR",
    "GET_LICENSETOKEN_ERROR",
    "SESSION_INVALID",
    "MAX_NUM_SESSION_REACHED",
    "PSDA_UNAVAILABLE",
    "EPH_SESSION_FAILED",
    "LONG_TERM_PAIRING_FAILED",
    "NETWORK_ERROR",
    "NETWORK_BUSY_ERROR",
    "PROXY_SETTING_ASSIST",
    "FILE_ACCESS_ERROR",
    "SGX_PROVISION_FAILED",
    "SERVICE_STOPPED",
    "BUSY",
    "BACKEND_SERVER_BUSY",
    "UPDATE_AVAILABLE",
    "OUT_OF_MEMORY_ERROR",
    "MSG_ERROR",
    "THREAD_ERROR",
    "SGX_DEVICE_NOT_AVAILABLE",
    "ENABLE_SGX_DEVICE_FAILED",
    "PLATFORM_INFO_BLOB_INVALID_SIG",
    "SERVICE_NOT_AVAILABLE",
    "KDF_MISMATCH",
    "OUT_OF_EPC",
    "SERVICE_UNAVAILABLE",
    "UNRECOGNIZED_PLATFORM",
    "ECDSA_ID_MISMATCH",
    "PATHNAME_BUFFER_OVERFLOW",
    "ERROR_STORED_KEY",
    "PUB_KEY_ID_MISMATCH",
    "INVALID_PCE_SIG_SCHEME",
    "ATT_KEY_BLOB_ERROR",
    "UNSUPPORTED_ATT_KEY_ID",
    "UNSUPPORTED_LOADING_POLICY",
    "INTERFACE_UNAVAILABLE",
    "PLATFORM_LIB_UNAVAILABLE",
    "ATT_KEY_NOT_INITIALIZED",
    "ATT_KEY_CERT_DATA_INVALID",
    "NO_PLATFORM_CERT_DATA",
    "REPORT_ERROR",
    "ENCLAVE_LOST",
    "INVALID_REPORT",
    "ENCLAVE_LOAD_ERROR",
    "UNABLE_TO_GENERATE_QE_REPORT",
    "KEY_CERTIFICATION_ERROR",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_at_their_numbers() {
        for (status, name) in [
            (Status::SUCCESS, "SUCCESS"),
            (Status::SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE"),
            (Status::UNSUPPORTED_ATT_KEY_ID, "UNSUPPORTED_ATT_KEY_ID"),
            (Status::ATT_KEY_NOT_INITIALIZED, "ATT_KEY_NOT_INITIALIZED"),
            (Status::INVALID_REPORT, "INVALID_REPORT"),
            (Status::UNABLE_TO_GENERATE_QE_REPORT, "UNABLE_TO_GENERATE_QE_REPORT"),
        ] {
            assert_eq!(status.name(), Some(name));
        }
        assert_eq!(Status(51).to_string(), "51");
    }
}
