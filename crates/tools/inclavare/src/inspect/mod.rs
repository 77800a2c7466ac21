//! `inclavare inspect`: what a file is and what is in it.
//!
//! The kind of a file is seen from its contents. Each kind gives one JSON value; text for people is made
//! from that value, so that the two never differ.

mod text;

use crate::args::Inspect;
use crate::failure::Failure;
use convert::enclave::Contents;
use convert::pack::Pack;
use serde_json::{Value, json};
use sgx::hash::Fast;
use sgx::sigstruct::{SIGNED_SIZE, Sigstruct};
use sgx::{AttributeFlags, Xfrm};
use std::path::Path;
use workload::digest::Hex;
use workload::manifest::Manifest;

pub(crate) fn run(arguments: &Inspect) -> Result<(), Failure> {
    let value = inspect(&arguments.path)?;
    if arguments.json {
        println!("{value}");
    } else {
        print!("{}", text::render(&value));
    }
    Ok(())
}

fn inspect(path: &Path) -> Result<Value, Failure> {
    if path.is_dir() {
        return pack(&Pack::find(path)?);
    }
    let bytes = std::fs::read(path).map_err(Failure::io("read", path))?;
    if bytes.starts_with(b"ECREATE\0") {
        let contents = Contents::read(&bytes[..])?;
        return enclave(&contents);
    }
    if bytes.len() == Sigstruct::SIZE {
        return sigstruct(&Sigstruct::parse(&bytes).map_err(Failure::refused)?);
    }
    if bytes.len() == SIGNED_SIZE {
        let material = Sigstruct::from_signed_bytes(&bytes).map_err(Failure::refused)?;
        return Ok(json!({ "kind": "signing material", "signed": body(&material) }));
    }
    if bytes.starts_with(b"{") {
        let manifest = Manifest::parse(&bytes).map_err(Failure::refused)?;
        return Ok(json!({ "kind": "manifest", "manifest": members(&manifest)? }));
    }
    let path = path.display();
    Err(Failure::Refused(format!(
        "{path}: expected an enclave file, manifest, SIGSTRUCT (1808 bytes) or signing material (256 bytes), \
         got another file of {} bytes",
        bytes.len()
    )))
}

fn pack(pack: &Pack) -> Result<Value, Failure> {
    let mut value = enclave(&pack.contents)?;
    value["kind"] = json!("pack");
    value["directory"] = json!(pack.directory);
    value["side_data"] = match pack.check_side_data() {
        Ok(()) => json!("the measured root metadata"),
        Err(error) => json!(error.to_string()),
    };
    value["sigstruct"] = match &pack.sigstruct {
        Some(signed) => sigstruct(signed)?,
        None => Value::Null,
    };
    Ok(value)
}

fn enclave(contents: &Contents) -> Result<Value, Failure> {
    let manifest = Manifest::parse(&contents.manifest).map_err(Failure::refused)?;
    let runs = contents.runs.iter().map(|(start, end, rights, is_measured)| {
        json!({
            "start": format!("{start:#x}"),
            "end": format!("{end:#x}"),
            "rights": rights,
            "measured": is_measured,
        })
    });
    let (pages, measured, threads) = contents.pages;
    Ok(json!({
        "kind": "enclave file",
        "mrenclave": contents.mrenclave,
        "size": contents.size,
        "ssaframesize_pages": contents.ssaframesize,
        "pages": pages,
        "measured_pages": measured,
        "initial_threads": threads,
        "layout": runs.collect::<Vec<_>>(),
        "manifest": members(&manifest)?,
    }))
}

fn members(manifest: &Manifest) -> Result<Value, Failure> {
    serde_json::from_slice(&manifest.to_canonical()).map_err(Failure::refused)
}

fn sigstruct(sigstruct: &Sigstruct) -> Result<Value, Failure> {
    let verdict = match sigstruct.verify::<Fast>() {
        Ok(()) => "valid".to_string(),
        Err(error) => error.to_string(),
    };
    Ok(json!({
        "kind": "sigstruct",
        "signature": verdict,
        "mrsigner": Hex(sigstruct.mrsigner::<Fast>()),
        "signed": body(sigstruct),
    }))
}

fn body(sigstruct: &Sigstruct) -> Value {
    let body = sigstruct.body();
    let date = format!("{:08x}", body.date);
    json!({
        "mrenclave": Hex(body.enclavehash),
        "date": format!("{}-{}-{}", &date[..4], &date[4..6], &date[6..]),
        "isvprodid": body.isvprodid,
        "isvsvn": body.isvsvn,
        "isvextprodid": Hex(body.isvextprodid),
        "isvfamilyid": Hex(body.isvfamilyid),
        "debug": body.attributes.flags.contains(AttributeFlags::DEBUG),
        "attributes": flags(body.attributes.flags.iter_names().map(|(name, _)| name)),
        "attributes_mask": format!("{:#x}", body.attributemask.flags.bits()),
        "xfrm": flags(body.attributes.xfrm.iter_names().map(|(name, _)| name)),
        "xfrm_free": free(body.attributemask.xfrm),
        "miscselect": format!("{:#x}", body.miscselect.bits()),
        "miscselect_mask": format!("{:#x}", body.miscmask.bits()),
    })
}

/// Components that the signer leaves to the processor.
fn free(mask: Xfrm) -> Value {
    flags(Xfrm::all().difference(mask).iter_names().map(|(name, _)| name))
}

fn flags(names: impl Iterator<Item = &'static str>) -> Value {
    json!(names.collect::<Vec<_>>())
}
