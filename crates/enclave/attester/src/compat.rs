//! The compat level: a key, and a certificate with evidence for it.
//!
//! A leaked key can be presented by others for as long as its evidence is accepted, so that key and certificate
//! are made anew now and then.

use crate::evidence::ReportDevice;
use core::fmt;
use rats_tls::claims::Custom;
use rats_tls::compat;
use rats_tls::host_time;
use rats_tls::tls::IdentityError;
use rustls::ServerConfig;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a key is used.
const LIFE: Duration = Duration::from_secs(24 * 3600);

/// No certificate.
#[derive(Debug)]
pub enum CompatError {
    /// The device makes no quote.
    Device(io::Error),
    /// No key or certificate.
    Identity(IdentityError),
    /// TLS does not take them.
    Tls(rustls::Error),
}

impl fmt::Display for CompatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(error) => write!(f, "make evidence: {error}"),
            Self::Identity(error) => error.fmt(f),
            Self::Tls(error) => write!(f, "tls: {error}"),
        }
    }
}

impl core::error::Error for CompatError {}

impl From<IdentityError> for CompatError {
    fn from(error: IdentityError) -> Self {
        Self::Identity(error)
    }
}

/// Makes configurations of TLS servers of this level.
pub struct Certificates {
    device: ReportDevice,
    claims: Custom,
    current: Mutex<Option<(Instant, Arc<ServerConfig>)>>,
}

impl Certificates {
    /// With evidence from this device.
    #[must_use]
    pub const fn new(device: ReportDevice, claims: Custom) -> Self {
        Self { device, claims, current: Mutex::new(None) }
    }

    /// The present one. This waits for a quote once a day.
    ///
    /// # Errors
    /// It is time for a new one, and none can be made.
    pub fn current(&self) -> Result<Arc<ServerConfig>, CompatError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made, config)) = &*current
            && made.elapsed() < LIFE
        {
            return Ok(config.clone());
        }
        let quote = |data: &[u8; 64]| self.device.quote(data).map_err(CompatError::Device);
        let (key, certificate) =
            compat::self_signed(self.claims.clone(), host_time().seconds, quote)?;
        let config = Arc::new(compat::server(&key, &certificate).map_err(CompatError::Tls)?);
        *current = Some((Instant::now(), config.clone()));
        Ok(config)
    }
}
