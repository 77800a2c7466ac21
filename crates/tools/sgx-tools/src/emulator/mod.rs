//! `emulator`: the emulated platform of this host.

mod serve;

use crate::args::{Ca, Directory, Emulator, Judgement, Revoked};
use crate::failure::Failure;
use crate::inspect::hex;
use crate::{Say, file};
use emulated_platform::{
    Collateral, CollateralSettings, Issued, PckCa, Platform, PlatformError, Root, TcbStatus,
};
use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) fn run(command: &Emulator, say: Say) -> Result<(), Failure> {
    match command {
        Emulator::Serve(arguments) => serve::run(arguments, say),
        Emulator::Root(arguments) => root(arguments, say),
        Emulator::Collateral(arguments) => {
            let platform = Platform::open(&arguments.directory.directory)?;
            let settings = settings(&arguments.judgement, &platform, arguments.ca.into())?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(Failure::undone)?;
            let now = i64::try_from(now.as_secs()).map_err(Failure::undone)?;
            let (root, ca) = (platform.root(), arguments.ca.into());
            let collateral = Collateral::issue(root, ca, &settings, Issued::at(now))?;
            let json = serde_json::to_string(&collateral).map_err(Failure::undone)?;
            file::write_stdout(format!("{json}\n").as_bytes())
        }
    }
}

fn root(arguments: &Directory, say: Say) -> Result<(), Failure> {
    let root = Root::open(&arguments.directory)?;
    if say.is_json {
        return say.result(&json!({
            "emulated": true,
            "sha256": hex(&root.fingerprint()),
            "pem": root.certificate_pem(),
        }));
    }
    eprintln!("sgx-tools: EMULATED root, sha256 {}", hex(&root.fingerprint()));
    file::write_stdout(root.certificate_pem().as_bytes())
}

/// What collateral shall say.
fn settings(
    judgement: &Judgement,
    platform: &Platform,
    ca: PckCa,
) -> Result<CollateralSettings, Failure> {
    let status = TcbStatus::ALL.into_iter().find(|status| status.name() == judgement.tcb_status);
    let status = status.ok_or_else(|| {
        let names = TcbStatus::ALL.map(TcbStatus::name).join(", ");
        Failure::Undone(format!(
            "tcb-status: expected one of {names}, got {}",
            judgement.tcb_status
        ))
    })?;
    let mut settings = CollateralSettings {
        evaluation: judgement.evaluation,
        fmspc: platform.settings().fmspc,
        ..CollateralSettings::default()
    };
    // Best first: the first level is that of the current security versions.
    settings.tcb_levels[0].status = status;
    settings.tcb_levels[0].advisories.clone_from(&judgement.advisory);
    for revoked in &judgement.revoke {
        match revoked {
            Revoked::Pck => settings.revoked_pcks.push(platform.pck_serial()),
            Revoked::Ca => settings.revoked_cas.push(ca),
        }
    }
    Ok(settings)
}

impl From<Ca> for PckCa {
    fn from(ca: Ca) -> Self {
        match ca {
            Ca::Processor => Self::Processor,
            Ca::Platform => Self::Platform,
        }
    }
}

impl From<PlatformError> for Failure {
    fn from(error: PlatformError) -> Self {
        Self::Undone(error.to_string())
    }
}
