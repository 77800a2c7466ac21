//! `shelter measure`: what MRENCLAVE is, recomputed.
//!
//! An image is converted again with this program's own enclave program, so that the answer depends on nothing that
//! its host made. Everything else is measured page by page, as EADD and EEXTEND would.

use crate::args::{Conversion, Measure};
use crate::failure::Failure;
use crate::files::{self, in_file};
use crate::store::Store;
use crate::table;
use attestation::time::Rfc3339;
use collateral::clock::{Clock, Host};
use convert::image::Image;
use convert::pack::Pack;
use convert::{Input, Options};
use serde_json::{Value, json};
use sgx::hash::Fast;
use sgx::sgxs::Io;
use sgx::sigstruct::Sigstruct;
use shelter::saved::Entry;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use workload::digest::{Digest, Hex};
use workload::manifest::{Manifest, Source};

/// Most bytes of a file that may be a SIGSTRUCT, which has 1808.
const MOST_SIGSTRUCT: u64 = 1 << 16;

/// What was measured.
pub(crate) struct Measured {
    pub(crate) kind: &'static str,
    pub(crate) mrenclave: Digest,
    pub(crate) manifest: Option<Manifest>,
    /// What engines call the image's id.
    pub(crate) image: Option<Digest>,
    pub(crate) sigstruct: Option<Box<Sigstruct>>,
}

pub(crate) fn run(arguments: Measure) -> Result<(), Failure> {
    let Measure { target, expect, sigstruct, save, replace, store, conversion, json } = arguments;
    // A store that cannot be read shows before the work is done.
    let store = save.is_some().then(|| Store::open(&store)).transpose()?;
    let source = source(&target, conversion.reference.as_deref());
    let measured = measure(&target, conversion, sigstruct.as_deref())?;
    let value = measured.to_json()?;
    if json {
        println!("{value}");
    } else {
        print(value);
    }
    match expect {
        Some(expected) if expected != measured.mrenclave => {
            return Err(Failure::Refused(format!(
                "mrenclave: expected {expected}, got {}",
                measured.mrenclave
            )));
        }
        _ => {}
    }
    if let (Some(name), Some(mut store)) = (save, store) {
        store.put(measured.entry(name, source), replace)?;
        eprintln!("saved in {}", store.path().display());
    }
    Ok(())
}

/// Measures what a path holds.
///
/// # Errors
/// It cannot be measured, or is of a kind that what was said of it does not belong to: the answer would not depend
/// on it.
pub(crate) fn measure(
    target: &Path,
    conversion: Conversion,
    sigstruct: Option<&Path>,
) -> Result<Measured, Failure> {
    let kind = Kind::of(target)?;
    let wrong = |expected: &str| {
        let message = format!("expected {expected}, got {}", kind.name());
        Err(in_file(target)(message))
    };
    if sigstruct.is_some() && !matches!(kind, Kind::EnclaveFile) {
        return wrong("an enclave file, to which --sigstruct belongs");
    }
    if conversion != Conversion::default() && !matches!(kind, Kind::Image) {
        return wrong("an image, to which the options of a conversion belong");
    }
    match kind {
        Kind::Image => image(target, conversion),
        Kind::Pack => pack(target),
        Kind::EnclaveFile => enclave_file(target, sigstruct),
    }
}

/// What was measured, for people.
fn source(target: &Path, reference: Option<&str>) -> String {
    let target = target.display();
    reference.map_or_else(|| target.to_string(), |reference| format!("{target} {reference}"))
}

/// What a path holds, seen from its contents.
enum Kind {
    Image,
    Pack,
    EnclaveFile,
}

impl Kind {
    fn of(path: &Path) -> Result<Self, Failure> {
        let unreadable = |error| Failure::Undecided(format!("open {}: {error}", path.display()));
        if path.metadata().map_err(unreadable)?.is_dir() {
            // An image that was unpacked with its pack is a root file system with a pack: the pack is meant.
            let is_image = Image::is_image(path) || Pack::place(path).is_none();
            return Ok(if is_image { Self::Image } else { Self::Pack });
        }
        let mut start = Vec::new();
        File::open(path)
            .and_then(|file| file.take(8).read_to_end(&mut start))
            .map_err(unreadable)?;
        Ok(if start == b"ECREATE\0" { Self::EnclaveFile } else { Self::Image })
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Image => "an image",
            Self::Pack => "a pack or bundle",
            Self::EnclaveFile => "an enclave file",
        }
    }
}

fn image(path: &Path, conversion: Conversion) -> Result<Measured, Failure> {
    let Conversion { reference, overrides } = conversion;
    let input = Input::open(path, reference.as_deref()).map_err(of(path))?;
    let image = match &input {
        Input::Image(image) => Some(image.id()),
        Input::Directory(..) => None,
    };
    let rules = overrides.policy.clone();
    let policy = overrides.apply().map_err(of(rules.as_deref().unwrap_or(path)))?;
    let options = Options { policy, ..Options::default() };
    let conversion = convert::convert(&input, options).map_err(of(path))?;
    let kind = match conversion.manifest.root.source {
        Source::Layers => "image",
        Source::Directory => "directory",
    };
    let (mrenclave, manifest) = (conversion.enclave.mrenclave, Some(conversion.manifest));
    Ok(Measured { kind, mrenclave, manifest, image, sigstruct: None })
}

/// Names the file where the error does not.
fn of(path: &Path) -> impl Fn(convert::Error) -> Failure {
    move |error| match error {
        convert::Error::Io { .. } | convert::Error::Directory { .. } => error.into(),
        other => Failure::Undecided(format!("{}: {other}", path.display())),
    }
}

fn pack(path: &Path) -> Result<Measured, Failure> {
    let pack = Pack::find(path)?;
    pack.check_side_data()?;
    let Pack { contents, manifest, sigstruct, .. } = pack;
    let mrenclave = contents.mrenclave;
    let (kind, image, manifest) = ("pack", None, Some(manifest));
    Ok(Measured { kind, mrenclave, manifest, image, sigstruct })
}

fn enclave_file(path: &Path, sigstruct: Option<&Path>) -> Result<Measured, Failure> {
    let open = || {
        File::open(path)
            .map(|file| BufReader::with_capacity(1 << 18, file))
            .map_err(|error| Failure::Undecided(format!("open {}: {error}", path.display())))
    };
    let mrenclave = sgx::sgxs::mrenclave::<Fast, _>(Io(open()?)).map_err(in_file(path))?;
    // An enclave of another maker has no manifest; its measurement is as good.
    let contents = convert::enclave::Contents::read(open()?).ok();
    let manifest = contents.and_then(|contents| Manifest::parse(&contents.manifest).ok());
    let sigstruct = sigstruct.map(|path| read_sigstruct(path, Hex(mrenclave))).transpose()?;
    let (kind, mrenclave) = ("enclave file", Hex(mrenclave));
    Ok(Measured { kind, mrenclave, manifest, image: None, sigstruct })
}

fn read_sigstruct(path: &Path, mrenclave: Digest) -> Result<Box<Sigstruct>, Failure> {
    let shown = path.display();
    let bytes = files::read(path, MOST_SIGSTRUCT)?;
    let signed = Sigstruct::parse(&bytes).map_err(in_file(path))?;
    signed
        .verify::<Fast>()
        .map_err(|error| Failure::Refused(format!("{shown}: signature: {error}")))?;
    let got = Hex(signed.enclavehash);
    if got != mrenclave {
        return Err(Failure::Refused(format!(
            "{shown}: ENCLAVEHASH: expected {mrenclave}, which was measured, got {got}"
        )));
    }
    Ok(Box::new(signed))
}

impl Measured {
    /// As the store keeps it.
    fn entry(&self, name: String, source: String) -> Entry {
        let manifest = self.manifest.as_ref();
        Entry {
            name,
            mrenclave: self.mrenclave,
            kind: self.kind.into(),
            source,
            image: self.image,
            root: manifest.map(|it| it.root.digest),
            manifest: manifest.map(|it| Digest::of(&it.to_canonical())),
            runtime_version: manifest.map(|it| it.runtime_version.clone()),
            debug: manifest.map(|it| it.debug),
            saved: Rfc3339(Host.now().seconds).to_string(),
        }
    }

    /// What is said of it. Without a SIGSTRUCT the identity is what the manifest asks to be signed.
    pub(crate) fn to_json(&self) -> Result<Value, Failure> {
        let unsigned =
            self.manifest.as_ref().map(|it| convert::enclave::sigstruct(it, self.mrenclave, 0));
        let body = self.sigstruct.as_deref().or(unsigned.as_ref()).map(|it| it.body());
        let flags = body.as_ref().map(|body| body.attributes.flags);
        let manifest = match &self.manifest {
            Some(manifest) => {
                serde_json::from_slice(&manifest.to_canonical()).map_err(Failure::undecided)?
            }
            None => Value::Null,
        };
        Ok(json!({
            "kind": self.kind,
            "mrenclave": self.mrenclave,
            "image": self.image,
            "mrsigner": self.sigstruct.as_ref().map(|it| Hex(it.mrsigner::<Fast>())),
            "isvprodid": body.as_ref().map(|body| body.isvprodid),
            "isvsvn": body.as_ref().map(|body| body.isvsvn),
            "isvextprodid": body.as_ref().map(|body| Hex(body.isvextprodid)),
            "isvfamilyid": body.as_ref().map(|body| Hex(body.isvfamilyid)),
            "debug": flags.map(|flags| flags.contains(sgx::AttributeFlags::DEBUG)),
            "runtime_version": self.manifest.as_ref().map(|it| &it.runtime_version),
            "root": self.manifest.as_ref().map(|it| it.root.digest),
            "recomputable": self.manifest.as_ref().map(|it| it.root.source == Source::Layers),
            "manifest": manifest,
        }))
    }
}

/// The members that people compare; the manifest is `inclavare inspect`'s to show.
fn print(mut value: Value) {
    value["manifest"] = Value::Null;
    print!("{}", table::render(&value));
}
