//! The hop to the container: its certificate is its evidence (`compat`).
//!
//! Upstream took the first 64 bytes that the container answered to a greeting for its measurements. Here they come
//! from the evidence; what the container answers must agree, or it is refused: a program that says something else
//! of itself, or does not know the protocol, is not what whoever asks believes to be asking about.

use crate::address::Address;
use crate::socket;
use attestation::hex::Hex;
use attestation::quote::{Body, Quote};
use attestation::relayed::Relayed;
use attestation::{Measurement, Verdict};
use core::fmt;
use core::time::Duration;
use rats_tls::compat::{self, CompatAppraiser, CompatPeer};
use rats_tls::hop::{self, EnclaveInfo, MessageFault, Reply};
use rats_tls::tls::reason_on_stream;
use rats_tls::{Fixed, Refusal};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use sgx::AttributeFlags;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// A container, and by what it is judged.
#[derive(Debug)]
pub struct Container {
    address: Address,
    appraiser: Arc<CompatAppraiser<Fixed>>,
    config: Arc<ClientConfig>,
    patience: Duration,
}

/// What inclavared cannot tell about a container.
#[derive(Debug)]
pub enum AskFault {
    /// It cannot be reached.
    Connect(io::Error),
    /// It does not shake hands, or does not end its answer.
    Tls(io::Error),
    /// Its evidence is refused.
    Refused(Box<Refusal>),
    /// It took longer than this.
    Timeout(Duration),
    /// It is genuine, and no SGX enclave: the answer has no words for it.
    Kind,
    /// What it answers is no reply to the greeting.
    Reply(MessageFault),
    /// It says something else of itself than its evidence.
    Contradiction {
        /// Of which value.
        field: &'static str,
        /// The evidence's.
        expected: [u8; 32],
        /// The container's.
        got: [u8; 32],
    },
}

impl fmt::Display for AskFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "connect: {error}"),
            Self::Tls(error) => write!(f, "tls: {error}"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Timeout(patience) => write!(f, "expected an answer in {patience:?}, got none"),
            Self::Reply(fault) => fault.fmt(f),
            Self::Contradiction { field, expected, got } => {
                let (expected, got) = (Hex(expected), Hex(got));
                write!(f, "reply: {field}: expected {expected}, as in its evidence, got {got}")
            }
            Self::Kind => f.write_str("evidence: expected an SGX quote, got another"),
        }
    }
}

impl core::error::Error for AskFault {}

impl Container {
    /// There, judged so, within this time.
    ///
    /// # Errors
    /// The cryptography does not do TLS 1.3.
    pub fn new(
        address: Address,
        appraiser: CompatAppraiser<Fixed>,
        patience: Duration,
    ) -> Result<Self, rustls::Error> {
        let appraiser = Arc::new(appraiser);
        let config = Arc::new(compat::client(appraiser.clone())?);
        Ok(Self { address, appraiser, config, patience })
    }

    /// Where it is.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// What runs there, by evidence that was accepted.
    ///
    /// # Errors
    /// Why that cannot be said.
    pub async fn ask(&self) -> Result<EnclaveInfo, AskFault> {
        match timeout(self.patience, self.look()).await {
            Ok(done) => done,
            Err(_) => Err(AskFault::Timeout(self.patience)),
        }
    }

    async fn look(&self) -> Result<EnclaveInfo, AskFault> {
        let stream = connect(&self.address).await.map_err(AskFault::Connect)?;
        // An address in numbers is no SNI: there is one container.
        let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
        let connector = TlsConnector::from(self.config.clone());
        let mut stream = connector.connect(name, stream).await.map_err(refused)?;
        let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let leaf = leaf.ok_or_else(|| AskFault::Tls(io::ErrorKind::InvalidData.into()))?;
        // The handshake's own decision gives no verdict; the same bytes are judged in the same way.
        let verdict = self.appraiser.appraise(leaf).map_err(AskFault::Refused)?;
        let enclave = self.enclave(&verdict, leaf).ok_or(AskFault::Kind)?;
        let reply = hop::exchange(&mut stream, hop::GREETING).await.map_err(AskFault::Tls)?;
        let Reply { mrenclave, mrsigner, text } = Reply::read(&reply).map_err(AskFault::Reply)?;
        for (field, expected, got) in
            [("mrenclave", enclave.mrenclave, mrenclave), ("mrsigner", enclave.mrsigner, mrsigner)]
        {
            if expected != got {
                return Err(AskFault::Contradiction { field, expected, got });
            }
        }
        // Those who read no more than upstream wrote read this.
        let message = if verdict.emulated { format!("EMULATED: {text}") } else { text };
        Ok(EnclaveInfo { enclave, message })
    }

    /// What is told of an accepted verdict; `None`: it is no enclave's.
    fn enclave(&self, verdict: &Verdict, leaf: &CertificateDer<'_>) -> Option<Relayed> {
        let Some(Measurement::Sgx { mrenclave, mrsigner, isvprodid, isvsvn }) = verdict.measurement
        else {
            return None;
        };
        let peer = CompatPeer::read(leaf, verdict.time).ok()?;
        let Body::Sgx(report) = Quote::parse(&peer.evidence).ok()?.body else { return None };
        Some(Relayed {
            mrenclave,
            mrsigner,
            isvprodid,
            isvsvn,
            debug: report.attributes.flags.contains(AttributeFlags::DEBUG),
            tcb_status: verdict.tcb_status?,
            root: *self.appraiser.anchor().sha256(),
        })
    }
}

/// A connection of any family: tokio's `TcpStream` is one to TCP in name only (see `watched`).
async fn connect(address: &Address) -> io::Result<TcpStream> {
    let stream = TcpStream::from_std(socket::connect(address)?.into())?;
    stream.writable().await?;
    match stream.take_error()? {
        Some(error) => Err(error),
        None => Ok(stream),
    }
}

/// The refusal that our own verifier of certificates gave TLS, if it was that.
fn refused(error: io::Error) -> AskFault {
    match reason_on_stream::<Refusal>(&error) {
        Some(refusal) => AskFault::Refused(Box::new(refusal.clone())),
        None => AskFault::Tls(error),
    }
}
