//! `shelter verify`: a verdict on a running container, or on evidence in a file.
//!
//! Everything is read before anything is judged: what cannot be read, or not as what it should be, ends with exit
//! code 2 and the file named, and no verdict is printed. A verdict is printed in every other case.

use crate::args::{Judged, Verify};
use crate::explain::{self, Told};
use crate::failure::Failure;
use crate::live::{self, Address, Material};
use crate::trusted::Trusted;
use crate::{evidence, files};
use attestation::ExpectedReportData;
use attestation::hex::Hex;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) fn run(arguments: &Verify) -> Result<(), Failure> {
    let judgement = Judgement::of(&arguments.judged)?;
    judgement.print(arguments.json, arguments.all);
    judgement.told.end()
}

/// A verdict, for programs and for people, made from the same bytes; and what it was made of.
pub(crate) struct Judgement {
    /// One line.
    pub(crate) json: String,
    /// The same, read back.
    pub(crate) told: Told,
    /// What it rests on.
    pub(crate) material: Material,
    /// What decided.
    pub(crate) trusted: Arc<Trusted>,
}

impl Judgement {
    /// Judges what the command line names.
    ///
    /// # Errors
    /// Nothing could be judged.
    pub(crate) fn of(judged: &Judged) -> Result<Self, Failure> {
        let judgement = match (&judged.target, &judged.evidence) {
            (Some(target), _) if Address::is_meant(target) => {
                let (seen, container) = live::judge(target, judged)?;
                let material = seen.material.clone();
                Self::new(&seen.told(&container.reached()), material, container.trusted())
            }
            (Some(file), _) => Self::of_file(Path::new(file), judged),
            (None, Some(file)) => Self::of_file(file, judged),
            (None, None) => {
                let message = "expected a running container (tcp:HOST:PORT, unix:PATH) or --evidence FILE, got \
                               neither";
                Err(Failure::Undecided(message.into()))
            }
        }?;
        if let Some(directory) = &judged.save {
            judgement.save(directory)?;
        }
        Ok(judgement)
    }

    fn of_file(path: &Path, judged: &Judged) -> Result<Self, Failure> {
        let shown = path.display();
        if matches!(path.try_exists(), Ok(false))
            && format!("tcp:{shown}").parse::<Address>().is_ok()
        {
            return Err(Failure::Undecided(format!(
                "TARGET: expected tcp:HOST:PORT, unix:PATH or a file of evidence, got {shown}, which is no file; is \
                 tcp:{shown} meant?"
            )));
        }
        for (option, is_given) in [
            ("--container", judged.peer.container.is_some()),
            ("--instance-id", judged.peer.instance_id.is_some()),
            ("--peer-collateral", judged.trust.source.peer_collateral),
        ] {
            if is_given {
                return Err(Failure::Undecided(format!(
                    "{shown}: expected no {option} for evidence in a file, got one"
                )));
            }
        }
        let expected = expected(judged)?;
        let trusted = Arc::new(Trusted::of(&judged.trust, !judged.authenticate_only)?);
        let Trusted { policy, references, .. } = &*trusted;
        let (verdict, mut material) =
            evidence::examine(path, judged, &trusted, |examination, material| {
                let verdict = match &expected {
                    Some(expected) => examination.appraise(policy, references, expected),
                    None if judged.unbound => examination.identify(policy, references),
                    None => examination.authenticate(policy),
                };
                (verdict, material)
            })?;
        material.report_data = expected.map(|expected| *expected.bytes());
        Self::new(&verdict, material, trusted)
    }

    fn new(
        verdict: &impl Serialize,
        material: Material,
        trusted: Arc<Trusted>,
    ) -> Result<Self, Failure> {
        let (told, json) = Told::of(verdict)?;
        Ok(Self { json, told, material, trusted })
    }

    /// Prints it.
    pub(crate) fn print(&self, is_json: bool, is_all: bool) {
        if is_json {
            println!("{}", self.json);
        } else {
            explain::print(&self.told, is_all);
        }
    }

    /// Keeps what it rests on, for whoever wants to look again.
    fn save(&self, directory: &Path) -> Result<(), Failure> {
        std::fs::create_dir(directory).map_err(|error| {
            Failure::Undecided(format!("create {}: {error}", directory.display()))
        })?;
        let Material { evidence, claims, report_data, collateral } = &self.material;
        let collateral = collateral.as_ref().map(|it| it.to_json().into_bytes());
        let report_data = report_data.map(|it| format!("{}\n", Hex(&it)).into_bytes());
        let verdict = format!("{}\n", self.json).into_bytes();
        let parts: [(&str, Option<Vec<u8>>); 5] = [
            ("evidence", Some(evidence.clone()).filter(|it| !it.is_empty())),
            ("claims.cbor", Some(claims.clone()).filter(|it| !it.is_empty())),
            ("report-data", report_data),
            ("collateral.json", collateral),
            ("verdict.json", Some(verdict)),
        ];
        for (name, bytes) in parts {
            let Some(bytes) = bytes else { continue };
            let path: PathBuf = directory.join(name);
            files::write(&path, &bytes)?;
        }
        Ok(())
    }
}

/// What the evidence must be bound to; `None` only where the caller said that it asks for less.
fn expected(judged: &Judged) -> Result<Option<ExpectedReportData>, Failure> {
    match (&judged.report_data, judged.authenticate_only || judged.unbound) {
        (Some(hex), false) => {
            let expected = ExpectedReportData::from_hex(hex);
            expected.map(Some).map_err(|error| Failure::Undecided(format!("--report-data: {error}")))
        }
        (None, true) => Ok(None),
        _ => Err(Failure::Undecided(
            "expected --report-data, to which evidence must be bound, --authenticate-only or --unbound, got none: evidence \
             that is bound to nothing may be anybody's"
                .into(),
        )),
    }
}
