//! `/dev/attestation` of an enclave that does not exist: reports as EREPORT makes them on an emulated platform,
//! and genuine quotes over them, so that attested sessions can be tried between ordinary programs.
//!
//! A directory gets `bound` (a Unix socket that speaks the device's protocol), `claims`, `user_report_data` with
//! `quote` (a FIFO), and for the other side `root.der`, `collateral.json` and `policy.toml`. It proves nothing, and every verdict on it says `emulated`.
#![forbid(unsafe_code)]

use attestation::hex::Hex;
use attestation::policy::NOTHING_FREE;
use emulated_platform::{Collateral, CollateralSettings, Dates, Issued, Platform, Root, Settings};
use rats_tls::binding::{Binding, Role};
use rats_tls::claims::Claims;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use sgx::attributes::{AttributeFlags, Attributes, Miscselect, Xfrm};
use sgx::einit::Identity;
use sgx::report::{EMULATED_CPUSVN, Targetinfo};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes of a record before the program's own claims.
const RECORD: usize = 208;

/// An enclave on a CPU. All CPUs hang from one root.
#[derive(Clone)]
pub struct Enclave {
    cpu: u8,
    platform: Arc<Platform>,
    identity: Identity,
    claims: Claims,
}

fn cpu(number: u8) -> sgx::keys::Platform {
    sgx::keys::Platform {
        root: [number; 16],
        seal_fuses: [number; 16],
        owner_epoch: [number; 16],
        cpusvn: EMULATED_CPUSVN,
    }
}

fn root() -> Root {
    Root::new(&cpu(1), Dates::default()).expect("the usual dates are in range")
}

impl Enclave {
    /// On this CPU, with this measurement. The instance-id is the CPU's number, repeated.
    #[must_use]
    pub fn new(number: u8, mrenclave: [u8; 32]) -> Self {
        let platform = Platform::new(cpu(number), root(), Settings::default());
        let platform = Arc::new(platform.expect("the usual settings are in range"));
        let identity = Identity {
            mrenclave,
            mrsigner: [0x22; 32],
            attributes: Attributes {
                flags: AttributeFlags::INIT | AttributeFlags::MODE64BIT,
                xfrm: Xfrm::LEGACY,
            },
            miscselect: Miscselect::EXINFO,
            isvprodid: 7,
            isvsvn: 8,
            isvextprodid: [0; 16],
            isvfamilyid: [0; 16],
            configid: [0; 64],
            configsvn: 0,
        };
        let claims = Claims {
            instance_id: [number; 16],
            config_digest: NOTHING_FREE,
            runtime_version: "emulated-device".into(),
            custom: Default::default(),
        };
        Self { cpu: number, platform, identity, claims }
    }

    /// As a debug enclave.
    #[must_use]
    pub fn debug(mut self) -> Self {
        self.identity.attributes.flags |= AttributeFlags::DEBUG;
        self
    }

    /// A quote over report data.
    #[must_use]
    pub fn quote(&self, data: &[u8; 64]) -> Vec<u8> {
        let target = Targetinfo::from_bytes(&self.platform.target_info());
        let report = cpu(self.cpu).ereport(&self.identity, &target, data, &[0x44; 32]);
        self.platform.quote(&report.to_bytes()).expect("a report of its own cpu")
    }

    /// Fills the directory and serves `bound` in it until the process ends.
    ///
    /// # Errors
    /// Of files and sockets.
    pub fn serve(&self, directory: &Path) -> io::Result<()> {
        fs::write(directory.join("claims"), self.claims.encode())?;
        fs::write(directory.join("root.der"), root().certificate())?;
        fs::write(directory.join("collateral.json"), self.collateral()?)?;
        fs::write(directory.join("policy.toml"), self.policy())?;
        let (bound, quote) = (directory.join("bound"), directory.join("quote"));
        for old in [&bound, &quote] {
            if old.exists() {
                fs::remove_file(old)?;
            }
        }
        mknodat(CWD, &quote, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
        let (enclave, directory) = (self.clone(), directory.to_owned());
        thread::spawn(move || enclave.quote_for_report_data(&directory));
        let listener = UnixListener::bind(bound)?;
        let enclave = self.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let enclave = enclave.clone();
                // A caller that gets no quote sees an end without one.
                thread::spawn(move || enclave.answer(stream));
            }
        });
        Ok(())
    }

    /// Serves `quote`: whoever opens it reads a quote over what `user_report_data` holds then.
    fn quote_for_report_data(&self, directory: &Path) -> io::Result<()> {
        let quote = directory.join("quote");
        loop {
            // This waits for a reader.
            let mut reader = File::options().write(true).open(&quote)?;
            let mut data = [0; 64];
            File::open(directory.join("user_report_data"))?.read_exact(&mut data)?;
            reader.write_all(&self.quote(&data))?;
            drop(reader);
            // Until it has gone, it would be taken for the next.
            while rustix::fs::open(&quote, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()).is_ok()
            {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    fn answer(&self, mut stream: UnixStream) -> io::Result<()> {
        let mut record = Vec::new();
        (&stream).take(4096).read_to_end(&mut record)?;
        let Some((binding, custom)) = read(&record) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let claims = [&self.claims.encode()[..], custom].concat();
        stream.write_all(&self.quote(&binding.report_data(&claims)))
    }

    fn collateral(&self) -> io::Result<Vec<u8>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
        let issued = Issued::at(now.as_secs().cast_signed());
        let settings = CollateralSettings::default();
        let collateral = Collateral::issue(&root(), self.platform.settings().ca, &settings, issued);
        Ok(serde_json::to_vec(&collateral.map_err(io::Error::other)?)?)
    }

    /// A policy that accepts this enclave.
    #[must_use]
    pub fn policy(&self) -> String {
        let (root, mrenclave) = (root().fingerprint(), self.identity.mrenclave);
        format!(
            "roots = ['{}']\ntee = 'emulated'\nmrenclave = ['{}']\nconfig_digest = 'any'\n",
            Hex(&root),
            Hex(&mrenclave)
        )
    }
}

/// The record of `docs/spec/attestation-devices.md`, and the program's own claims.
fn read(record: &[u8]) -> Option<(Binding, &[u8])> {
    let (record, custom) = record.split_at_checked(RECORD)?;
    let digest = |at: usize| record[at..at + 48].try_into().ok();
    let role = match record[..12] {
        [b'E', b'A', b'A', b'B', b'N', b'D', b'0', b'1', 1, 0, 0, 0] => Role::Client,
        [b'E', b'A', b'A', b'B', b'N', b'D', b'0', b'1', 2, 0, 0, 0] => Role::Server,
        _ => return None,
    };
    let binding = Binding {
        role,
        epoch: u32::from_be_bytes(record[12..16].try_into().ok()?),
        own_key: digest(16)?,
        peer_key: digest(64)?,
        transcript: digest(112)?,
        binder: digest(160)?,
    };
    Some((binding, custom))
}
