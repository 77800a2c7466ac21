//! An image that carries its signed enclave.
//!
//! The layers are the source's, byte by byte, and one more with the pack under `/.inclavare`; the
//! configuration gains that layer, asks for what the manifest admits, and has `ENCLAVE_TYPE=intelSgx`,
//! upstream's name, by which rune knows what to do. The file is an OCI layout and a `docker load` archive at
//! once.

use super::archive::ArchiveWriter;
use crate::attester::PROGRAM;
use crate::error::Error;
use crate::hash::{Running, sha256};
use crate::image::{Image, fault};
use crate::pack::{FILES, Pack, SIGSTRUCT};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;
use workload::digest::{Digest, Hex};
use workload::manifest::Manifest;

const MEDIA: &str = "application/vnd.oci.image.";

/// A blob of the new image.
struct Blob {
    digest: Digest,
    size: u64,
    media_type: String,
    data: Data,
}

enum Data {
    /// Layer of the source.
    Source(usize),
    File(File),
    Bytes(Vec<u8>),
}

/// Writes `image` with `pack` to `output`, under `name` (`repository:tag`). Gives the digest of the new
/// image's manifest. The output is complete or not there.
///
/// # Errors
/// The pack is not signed, or something cannot be read or written.
pub fn write_image(image: &Image, pack: &Pack, name: &str, output: &Path) -> Result<Digest, Error> {
    if pack.sigstruct.is_none() {
        let (expected, got) = ("a signature (inclavare sign)".into(), "none".into());
        return Err(Error::Pack { part: SIGSTRUCT, expected, got });
    }
    let mut layers: Vec<Blob> = Vec::new();
    for index in 0..image.layers.len() {
        layers.push(source_layer(image, index)?);
    }
    let added = pack_layer(pack)?;
    let config = config(image, &pack.manifest, added.digest)?;
    layers.push(added);
    let config = Blob {
        digest: Hex(sha256(&config)),
        size: config.len() as u64,
        media_type: format!("{MEDIA}config.v1+json"),
        data: Data::Bytes(config),
    };
    let manifest = to_bytes(&json!({
        "schemaVersion": 2,
        "mediaType": format!("{MEDIA}manifest.v1+json"),
        "config": descriptor(&config),
        "layers": layers.iter().map(descriptor).collect::<Vec<_>>(),
    }));
    let digest = Hex(sha256(&manifest));
    let manifest = Blob {
        digest,
        size: manifest.len() as u64,
        media_type: format!("{MEDIA}manifest.v1+json"),
        data: Data::Bytes(manifest),
    };
    write(image, name, output, &layers, &config, &manifest)
        .map_err(Error::io(format!("write {}", output.display())))?;
    Ok(digest)
}

fn write(
    image: &Image,
    name: &str,
    output: &Path,
    layers: &[Blob],
    config: &Blob,
    manifest: &Blob,
) -> io::Result<()> {
    let parent = output.parent().filter(|parent| !parent.as_os_str().is_empty());
    let file = tempfile::NamedTempFile::new_in(parent.unwrap_or(Path::new(".")))?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(mode)?;
    let mut archive = ArchiveWriter(BufWriter::with_capacity(1 << 20, file));
    archive.bytes("oci-layout", b"{\"imageLayoutVersion\":\"1.0.0\"}")?;
    let reference = full_name(name);
    let mut entry = descriptor(manifest);
    entry["annotations"] = json!({
        "io.containerd.image.name": reference,
        "org.opencontainers.image.ref.name": reference,
    });
    archive.bytes(
        "index.json",
        &to_bytes(&json!({
            "schemaVersion": 2,
            "mediaType": format!("{MEDIA}index.v1+json"),
            "manifests": [entry],
        })),
    )?;
    let paths: Vec<String> = layers.iter().map(path).collect();
    archive.bytes(
        "manifest.json",
        &to_bytes(&json!([{ "Config": path(config), "RepoTags": [name], "Layers": paths }])),
    )?;
    let mut blobs: Vec<&Blob> = layers.iter().chain([config, manifest]).collect();
    blobs.sort_by_key(|blob| blob.digest);
    blobs.dedup_by_key(|blob| blob.digest);
    for blob in blobs {
        archive.file(&path(blob), blob.size, &mut *open(image, blob)?)?;
    }
    let file = archive.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.as_file().sync_all()?;
    file.persist(output).map_err(|error| error.error)?;
    Ok(())
}

/// Docker Hub's names are written out in full where containerd reads them.
fn full_name(name: &str) -> String {
    match name.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => name.into(),
        Some(_) => format!("docker.io/{name}"),
        None => format!("docker.io/library/{name}"),
    }
}

fn path(blob: &Blob) -> String {
    format!("blobs/sha256/{}", blob.digest)
}

fn descriptor(blob: &Blob) -> Value {
    json!({
        "mediaType": blob.media_type,
        "digest": format!("sha256:{}", blob.digest),
        "size": blob.size,
    })
}

fn to_bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("a value has no failing part")
}

fn open<'a>(image: &Image, blob: &'a Blob) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match &blob.data {
        Data::Bytes(bytes) => Box::new(&bytes[..]),
        Data::File(file) => {
            let mut file = file.try_clone()?;
            file.rewind()?;
            Box::new(file)
        }
        Data::Source(index) => {
            let opened = image.blobs.open(&image.layers[*index].path);
            let opened = opened.map_err(|error| io::Error::other(error.to_string()))?;
            opened.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?
        }
    })
}

/// A layer of the source as it is. Where its documents do not give the blob's digest it is computed.
fn source_layer(image: &Image, index: usize) -> Result<Blob, Error> {
    let layer = &image.layers[index];
    let missing = || fault(format!("layers[{index}]"), "a blob of the image", "none");
    let mut input = image.blobs.open(&layer.path)?.ok_or_else(missing)?;
    let what = || format!("read layer {index}");
    let mut start = Vec::new();
    (&mut input).take(4).read_to_end(&mut start).map_err(Error::io(what()))?;
    let (digest, size) = match (layer.digest, layer.size) {
        (Some(digest), Some(size)) => (digest, size),
        _ => {
            let mut all = Hashed::default();
            all.write_all(&start).map_err(Error::io(what()))?;
            io::copy(&mut input, &mut all).map_err(Error::io(what()))?;
            (all.running.finish(), all.size)
        }
    };
    let media_type = match start.as_slice() {
        _ if layer.media_type.starts_with(MEDIA) => layer.media_type.clone(),
        [0x1f, 0x8b, ..] => format!("{MEDIA}layer.v1.tar+gzip"),
        [0x28, 0xb5, 0x2f, 0xfd] => format!("{MEDIA}layer.v1.tar+zstd"),
        _ => format!("{MEDIA}layer.v1.tar"),
    };
    Ok(Blob { digest, size, media_type, data: Data::Source(index) })
}

/// The layer that holds the pack.
fn pack_layer(pack: &Pack) -> Result<Blob, Error> {
    let what = || format!("read {}", pack.directory.display());
    let file = tempfile::tempfile().map_err(Error::io("make a temporary file"))?;
    let output = Tee { file: BufWriter::new(file), hashed: Hashed::default() };
    let mut archive = ArchiveWriter(output);
    archive.directory(".inclavare/").map_err(Error::io(what()))?;
    let attester = pack.manifest.attester.is_some().then_some(PROGRAM);
    for name in FILES.into_iter().chain(attester) {
        let path = pack.directory.join(name);
        let file = File::open(&path).map_err(Error::io(format!("open {}", path.display())))?;
        let size = file.metadata().map_err(Error::io(what()))?.len();
        archive
            .file(&format!(".inclavare/{name}"), size, &mut BufReader::new(file))
            .map_err(Error::io(what()))?;
    }
    let Tee { file, hashed } = archive.finish().map_err(Error::io(what()))?;
    let file = file.into_inner().map_err(|error| Error::io(what())(error.into_error()))?;
    Ok(Blob {
        digest: hashed.running.finish(),
        size: hashed.size,
        media_type: format!("{MEDIA}layer.v1.tar"),
        data: Data::File(file),
    })
}

/// The source's configuration with one more layer, and what the manifest asks for; what is not known stays
/// as it is.
fn config(image: &Image, manifest: &Manifest, diff_id: Digest) -> Result<Vec<u8>, Error> {
    let mut config: Value = crate::image::document("config", &image.config_bytes)?;
    let diff_ids = config.pointer_mut("/rootfs/diff_ids").and_then(Value::as_array_mut);
    diff_ids
        .ok_or_else(|| wrong("rootfs.diff_ids", "a list"))?
        .push(json!(format!("sha256:{diff_id}")));
    let members = config.as_object_mut().ok_or_else(|| wrong("", "an object"))?;
    if let Some(history) = members.get_mut("history").and_then(Value::as_array_mut) {
        history.push(json!({
            "created": "1970-01-01T00:00:00Z",
            "created_by": "inclavare image pack",
        }));
    }
    let process = members.entry("config").or_insert(Value::Null);
    if process.is_null() {
        *process = json!({});
    }
    let process = process.as_object_mut().ok_or_else(|| wrong("config", "an object"))?;
    let source = image.config.config.clone().unwrap_or_default();
    super::process::ask_for(manifest, &source, process)?;
    Ok(to_bytes(&config))
}

/// A member of the source's configuration that is no such thing.
pub(super) fn wrong(field: &str, expected: &str) -> Error {
    fault(format!("config {field}"), expected, "another type").into()
}

/// Hashes and counts what is written.
#[derive(Default)]
struct Hashed {
    running: Running,
    size: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.running.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Tee {
    file: BufWriter<File>,
    hashed: Hashed,
}

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.hashed.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
