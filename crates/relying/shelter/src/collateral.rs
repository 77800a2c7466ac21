//! `shelter collateral`: what is needed to judge quotes, fetched, shown, and carried to where there is no network.

use crate::args::{Collateral, Export, Fetch, Import, Platform, Show};
use crate::failure::Failure;
use crate::files::{self, in_file};
use crate::trusted::Moment;
use crate::{source, table, trusted};
use ::collateral::clock::Clock;
use ::collateral::current::Current;
use ::collateral::object::Wanted;
use ::collateral::store::Store;
use attestation::collateral::{Collateral as Document, QeIdentity, TcbInfo};
use attestation::hex::Hex;
use attestation::quote::{MAX_QUOTE_BYTES, Quote};
use attestation::time::Rfc3339;
use attestation::{Vendor, Verifier, crypto, x509};
use serde_json::{Value, json};
use std::path::Path;
use workload::digest::Digest;

pub(crate) fn run(command: &Collateral) -> Result<(), Failure> {
    match command {
        Collateral::Fetch(arguments) => fetch(arguments),
        Collateral::Show(arguments) => show(arguments),
        Collateral::Import(arguments) => import(arguments),
        Collateral::Export(arguments) => export(arguments),
    }
}

fn fetch(arguments: &Fetch) -> Result<(), Failure> {
    if arguments.cache.is_none() && arguments.output.is_none() {
        let message = "expected --cache DIR or --output FILE to keep it in, got neither";
        return Err(Failure::Undecided(message.into()));
    }
    let wanted = wanted(&arguments.platform)?;
    let anchor = trusted::anchor(&arguments.root)?;
    let time = Moment::Host;
    let (directory, url) = (arguments.cache.as_deref(), Some(&*arguments.url));
    let cache = source::cache(directory, url, &anchor, time)?;
    let current = cache.get(wanted).map_err(Failure::undecided)?;
    if let Some(output) = &arguments.output {
        files::write(output, current.document.to_json().as_bytes())?;
    }
    print(&current);
    Ok(())
}

fn import(arguments: &Import) -> Result<(), Failure> {
    let anchor = trusted::anchor(&arguments.root)?;
    let time = Moment::of(arguments.at);
    let cache = source::cache(Some(&arguments.cache), None, &anchor, time)?;
    for file in &arguments.files {
        let current = cache.import(source::bundle(file)?).map_err(in_file(file))?;
        print(&current);
    }
    Ok(())
}

fn export(arguments: &Export) -> Result<(), Failure> {
    let wanted = wanted(&arguments.platform)?;
    let anchor = trusted::anchor(&arguments.root)?;
    let time = Moment::of(arguments.at);
    let cache = source::cache(Some(&arguments.cache), None, &anchor, time)?;
    let current = cache.get(wanted).map_err(Failure::undecided)?;
    files::write(&arguments.output, current.document.to_json().as_bytes())?;
    print(&current);
    Ok(())
}

/// Which collateral, by a quote or by name.
fn wanted(platform: &Platform) -> Result<Wanted, Failure> {
    match platform {
        Platform { evidence: Some(path), .. } => {
            let bytes = files::read(path, MAX_QUOTE_BYTES as u64)?;
            let quote = Quote::parse(&bytes).map_err(in_file(path))?;
            Wanted::of(&quote).map_err(in_file(path))
        }
        Platform { fmspc: Some(fmspc), tee: Some(tee), ca: Some(ca), .. } => {
            Ok(Wanted { tee: (*tee).into(), fmspc: *fmspc, ca: (*ca).into() })
        }
        _ => Err(Failure::Undecided(
            "expected --evidence FILE, or --fmspc HEX with --tee and --ca, got neither".into(),
        )),
    }
}

/// One line: what it is and until when it is valid.
fn print(current: &Current) {
    let until = Rfc3339(current.verified.validity().not_after);
    let emulated = if is_emulated(current.verified.anchor()) { "emulated " } else { "" };
    println!("{emulated}{}, valid until {until}", current.wanted);
}

/// Whether a root, by the SHA-256 of its DER, is no vendor's.
fn is_emulated(root: &[u8; 32]) -> bool {
    Vendor::of_root(root).is_none()
}

fn show(arguments: &Show) -> Result<(), Failure> {
    let value = match (&arguments.file, &arguments.cache) {
        (Some(path), None) => bundle(path, arguments)?,
        (None, Some(directory)) => stored(directory)?,
        _ => {
            let message = "expected a bundle's file or --cache DIR, and not both";
            return Err(Failure::Undecided(message.into()));
        }
    };
    if arguments.json {
        println!("{value}");
    } else {
        print!("{}", table::render(&value));
    }
    Ok(())
}

/// What a bundle says of itself; verified only where a root is given.
fn bundle(path: &Path, arguments: &Show) -> Result<Value, Failure> {
    let document = source::bundle(path)?;
    let verified = match &arguments.root {
        Some(root) => {
            let anchor = trusted::anchor(root)?;
            let now = Moment::of(arguments.at).now();
            let verifier = Verifier::new(crypto::Default::default(), anchor);
            match verifier.collateral(&document, now) {
                Ok(_) => json!("yes"),
                Err(checks) => {
                    let failed: Vec<String> = checks.failed().map(ToString::to_string).collect();
                    json!(failed)
                }
            }
        }
        None => json!("not looked at: no --root"),
    };
    describe(&document, verified).map_err(in_file(path))
}

fn describe(
    document: &Document,
    verified: Value,
) -> Result<Value, attestation::collateral::JsonError> {
    let info = TcbInfo::parse(&document.tcb_info)?;
    let identity = QeIdentity::parse(&document.qe_identity)?;
    // Of a bundle that is not verified, its own claim.
    let root = x509::chain(document.tcb_info_issuer_chain.as_bytes()).ok();
    let root = root.and_then(|mut chain| chain.pop()).map(|der| Digest::of(&der));
    let date = |seconds| Rfc3339(seconds).to_string();
    Ok(json!({
        "verified": verified,
        "root": root,
        "emulated": root.map(|root| is_emulated(&root.0)),
        "fmspc": Hex(&info.fmspc).to_string().to_uppercase(),
        "tcb_info": {
            "id": info.id.name(),
            "tcb_evaluation_data_number": info.tcb_evaluation_data_number,
            "issued": date(info.validity.not_before),
            "next_update": date(info.validity.not_after),
            "levels": info.levels.len(),
        },
        "qe_identity": {
            "id": identity.id.name(),
            "tcb_evaluation_data_number": identity.tcb_evaluation_data_number,
            "issued": date(identity.validity.not_before),
            "next_update": date(identity.validity.not_after),
            "mrsigner": Hex(&identity.mrsigner).to_string(),
        },
        "pck_crl_bytes": document.pck_crl.len(),
        "root_ca_crl_bytes": document.root_ca_crl.len(),
    }))
}

/// What a store holds, and the floor of each object.
fn stored(directory: &Path) -> Result<Value, Failure> {
    if !directory.is_dir() {
        return Err(in_file(directory)("expected a directory of collateral, got none"));
    }
    let store = Store::open(directory, Store::ROOM).map_err(Failure::undecided)?;
    let index = store.index().map_err(Failure::undecided)?;
    let entries = index.entries().map(|entry| {
        json!({
            "object": entry.name.to_string(),
            "root": entry.root,
            "emulated": is_emulated(&entry.root.0),
            "issued": Rfc3339(entry.edition.issued).to_string(),
            "number": entry.edition.number,
            "next_update": Rfc3339(entry.edition.next_update).to_string(),
            "fetched": entry.held.map(|held| Rfc3339(held.fetched).to_string()),
            "sha256": entry.held.map(|held| held.sha256),
        })
    });
    Ok(json!({ "objects": entries.collect::<Vec<_>>() }))
}
