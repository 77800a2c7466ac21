//! Images that are damaged or hostile: each is refused with the part named, and nothing stays behind.

mod support;

use convert::pack::{self, Pack};
use convert::policy::Policy;
use convert::{Error, Input, Options, convert, output};
use serde_json::json;
use sgx::hash::Fast;
use sgx::sign::SigningKey;
use std::fs;
use std::path::Path;
use support::{Compression, TestImage};

fn try_convert(path: &Path) -> Result<convert::Conversion, Error> {
    convert(&Input::open(path, None)?, Options::default())
}

fn message(path: &Path) -> String {
    match try_convert(path) {
        Ok(_) => panic!("{} is accepted", path.display()),
        Err(error) => error.to_string(),
    }
}

/// What is said of the example image after a change to the layout.
fn refused(change: impl FnOnce(&Path, &[std::path::PathBuf])) -> String {
    let directory = tempfile::tempdir().unwrap();
    let layers = TestImage::example().write_layout(directory.path());
    change(directory.path(), &layers);
    message(directory.path())
}

/// What is said of an image whose configuration or layers are changed before it is written.
fn refused_image(change: impl FnOnce(&mut TestImage)) -> String {
    let directory = tempfile::tempdir().unwrap();
    let mut image = TestImage::example();
    change(&mut image);
    image.write_layout(directory.path());
    message(directory.path())
}

#[test]
fn missing_layer() {
    let got = refused(|_, layers| fs::remove_file(&layers[1]).unwrap());
    assert!(got.starts_with("layer 1 (blobs/sha256/"), "{got}");
    assert!(got.ends_with("): expected a blob in the image, got none"), "{got}");
}

#[test]
fn truncated_layer() {
    let cut = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    };
    let got = refused(|_, layers| cut(&layers[0]));
    assert!(got.starts_with("layer 0 ("), "{got}");
    let directory = tempfile::tempdir().unwrap();
    let image = TestImage::example().with(Compression::None);
    let layers = image.write_layout(directory.path());
    cut(&layers[0]);
    let got = message(directory.path());
    assert!(got.contains("entry \"bin/server\": archive ends early"), "{got}");
}

#[test]
fn corrupt_layer() {
    let flip = |path: &Path, at: usize| {
        let mut bytes = fs::read(path).unwrap();
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    let got = refused(|_, layers| flip(&layers[0], 200));
    assert!(got.starts_with("layer 0 ("), "{got}");
    // In the data of a file nothing but the digest shows it.
    let directory = tempfile::tempdir().unwrap();
    let image = TestImage::example().with(Compression::None);
    let layers = image.write_layout(directory.path());
    flip(&layers[0], 100_000);
    let got = message(directory.path());
    assert!(got.contains("): digest: expected sha256:"), "{got}");
    let got = refused(|_, layers| {
        let mut bytes = fs::read(&layers[0]).unwrap();
        bytes.push(0);
        fs::write(&layers[0], bytes).unwrap();
    });
    assert!(got.starts_with("layer 0 ("), "{got}");
}

#[test]
fn layer_that_is_not_the_configurations() {
    let got = refused_image(|image| {
        let wrong = format!("sha256:{}", "ab".repeat(32));
        image.config["rootfs"] = json!({ "type": "layers", "diff_ids": [wrong, wrong] });
    });
    assert!(got.contains("): diff id: expected sha256:abab"), "{got}");
    let got = refused_image(|image| {
        image.config["rootfs"] = json!({ "type": "layers", "diff_ids": [] });
    });
    assert_eq!(got, "image: layers: expected 0 as the configuration has diff_ids, got 2");
}

#[test]
fn truncated_or_corrupt_documents() {
    let got = refused(|root, _| {
        let index = root.join("index.json");
        let bytes = fs::read(&index).unwrap();
        fs::write(&index, &bytes[..bytes.len() - 3]).unwrap();
    });
    assert!(got.starts_with("image: index.json: expected a json document"), "{got}");
    let got = refused(|root, layers| {
        for blob in fs::read_dir(root.join("blobs/sha256")).unwrap() {
            let path = blob.unwrap().path();
            if !layers.contains(&path) {
                let text = fs::read_to_string(&path).unwrap();
                fs::write(&path, text.replacen("amd64", "amd46", 1)).unwrap();
            }
        }
    });
    assert!(got.starts_with("image: config digest: expected sha256:"), "{got}");
    let got = refused(|root, _| {
        let index = r#"{"manifests":[{"digest":"sha256:../../../etc/passwd","size":1}]}"#;
        fs::write(root.join("index.json"), index).unwrap();
    });
    assert_eq!(
        got,
        "image: manifest: expected sha256: and 64 hexadecimal digits, got \"sha256:../../../etc/passwd\""
    );
    let got = refused(|root, _| fs::write(root.join("index.json"), "{}").unwrap());
    assert_eq!(got, "image: index.json: expected one image (name it with --ref), got 0 of []");
}

#[test]
fn image_for_another_system() {
    let got = refused_image(|image| image.config["architecture"] = json!("arm64"));
    assert_eq!(got, "image: config architecture: expected amd64, got \"arm64\"");
    let got = refused_image(|image| image.config["os"] = json!("windows"));
    assert_eq!(got, "image: config os: expected linux, got \"windows\"");
}

#[test]
fn process_fields_that_cannot_be() {
    let got = refused_image(|image| image.config["config"]["User"] = json!("nobody"));
    assert!(got.contains("config User: expected a number or a name"), "{got}");
    let got = refused_image(|image| image.config["config"]["Env"] = json!(["PATH"]));
    assert_eq!(got, "image: config Env: expected NAME=value, got \"PATH\"");
    let got = refused_image(|image| image.config["config"]["WorkingDir"] = json!("srv"));
    assert_eq!(got, "image: config WorkingDir: expected an absolute path, got \"srv\"");
    let got = refused_image(|image| {
        image.config["config"] = json!({});
    });
    assert!(got.starts_with("image: argv: expected an Entrypoint or Cmd"), "{got}");
}

#[test]
fn docker_archive_with_links_out_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("docker.tar");
    let mut archive = tar::Builder::new(Vec::new());
    let config = TestImage::example().config;
    let mut config = config;
    config["rootfs"] = json!({ "diff_ids": [format!("sha256:{}", "00".repeat(32))] });
    for (name, bytes) in [
        ("config.json", config.to_string()),
        (
            "manifest.json",
            json!([{ "Config": "config.json", "Layers": ["a/layer.tar"] }]).to_string(),
        ),
    ] {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, bytes.as_bytes()).unwrap();
    }
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    archive.append_link(&mut header, "a/layer.tar", "../../../etc/passwd").unwrap();
    fs::write(&file, archive.into_inner().unwrap()).unwrap();
    let got = message(&file);
    assert_eq!(
        got,
        "image: a/layer.tar: expected a link inside the archive, got \"../../../etc/passwd\""
    );
}

#[test]
fn something_that_is_no_image() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x");
    fs::write(&file, "hello").unwrap();
    assert!(
        message(&file)
            .starts_with("image: archive: expected a tar archive, got archive ends early")
    );
    fs::write(&file, support::layer(&[("a", b"b")])).unwrap();
    assert!(message(&file).contains("expected an OCI layout (index.json) or docker archive"));
    assert!(matches!(try_convert(&directory.path().join("none")), Err(Error::Io { .. })));
    let mut compressed = support::compress(&[0; 1000], Compression::Gzip(1));
    compressed.truncate(15);
    fs::write(&file, compressed).unwrap();
    assert!(matches!(try_convert(&file), Err(Error::Io { .. })));
}

#[test]
fn rules_that_are_not_allowed() {
    let directory = tempfile::tempdir().unwrap();
    TestImage::example().write_layout(directory.path());
    let with = |rules: &str| {
        let input = Input::open(directory.path(), None).unwrap();
        let policy = Policy::parse(rules).unwrap();
        match convert(&input, Options { policy, ..Options::default() }) {
            Ok(made) => made.manifest.process.argv.clone().into_message(),
            Err(error) => error.to_string(),
        }
    };
    assert_eq!(
        with("[enclave]\nsize = \"48M\""),
        "enclave.size: expected a power of two from 67108864 to 70368744177664, got 50331648"
    );
    // The image's /bin/sh is a link to busybox, and so is the alias hidden behind a name.
    assert_eq!(
        with("argv = { prefix = [\"/bin/sh\", \"-c\"] }"),
        "argv.force: expected true for a prefix rule on \"/bin/sh\", which is \"busybox\", got false"
    );
    assert!(
        with("argv = { prefix = [\"/bin/sh\", \"-c\"], force = true }").starts_with("accepted")
    );
    assert!(with("argv = { prefix = [\"/bin/server\"] }").starts_with("accepted"));
    assert!(with("cwd = \"relative\"").starts_with("process.cwd: expected an absolute path"));
    let unknown = with("[attestation]\nuids = [0]\nfiles = [\"quote\", \"qoute\"]");
    assert!(unknown.starts_with("attestation.files: expected any of "), "{unknown}");
    assert!(unknown.ends_with("got \"qoute\""), "{unknown}");
}

trait IntoMessage {
    fn into_message(self) -> String;
}

impl IntoMessage for workload::manifest::ArgvRule {
    fn into_message(self) -> String {
        format!("accepted {self:?}")
    }
}

#[test]
fn packs_whose_parts_do_not_belong_together() {
    let directory = tempfile::tempdir().unwrap();
    let layout = directory.path().join("layout");
    TestImage::example().write_layout(&layout);
    let made = try_convert(&layout).unwrap();
    let path = directory.path().join("pack");
    pack::write(&made, &path).unwrap();
    let open = || Pack::open(&path).map_err(|error| error.to_string());
    let opened = open().unwrap();
    assert_eq!(opened.contents.mrenclave, made.enclave.mrenclave);
    opened.check_side_data().unwrap();

    // An unsigned pack makes no image.
    let Input::Image(image) = Input::open(&layout, None).unwrap() else { panic!() };
    let target = directory.path().join("out.tar");
    let refused = output::write_image(&image, &opened, "a:b", &target).unwrap_err();
    assert_eq!(refused.to_string(), "enclave.sig: expected a signature (inclavare sign), got none");
    assert!(!target.exists());

    // A signature for another enclave.
    let key = SigningKey::generate().unwrap();
    let mut other = opened.unsigned(0x2026_1120);
    other.enclavehash[0] ^= 1;
    let other = key.sign::<Fast>(&other).unwrap();
    let refused = opened.put_sigstruct(&other).unwrap_err().to_string();
    assert!(refused.starts_with("enclave.sig: expected ENCLAVEHASH "), "{refused}");
    assert!(!path.join("enclave.sig").exists());
    fs::write(path.join("enclave.sig"), other.to_bytes()).unwrap();
    assert!(open().unwrap_err().starts_with("enclave.sig: expected ENCLAVEHASH "));

    // A wrong signature, and a truncated one.
    let mut signed = key.sign::<Fast>(&opened.unsigned(0x2026_1120)).unwrap();
    opened.put_sigstruct(&signed).unwrap();
    assert!(open().unwrap().sigstruct.is_some());
    signed.signature[7] ^= 1;
    fs::write(path.join("enclave.sig"), signed.to_bytes()).unwrap();
    assert!(open().unwrap_err().starts_with("enclave.sig: expected a valid signature"));
    fs::write(path.join("enclave.sig"), &signed.to_bytes()[..1000]).unwrap();
    assert!(open().unwrap_err().starts_with("enclave.sig: expected a SIGSTRUCT"));
    fs::remove_file(path.join("enclave.sig")).unwrap();

    // A changed page, manifest or metadata.
    let change = |name: &str, at: usize| {
        let mut bytes = fs::read(path.join(name)).unwrap();
        bytes[at] ^= 1;
        fs::write(path.join(name), bytes).unwrap();
    };
    change("manifest.json", 20);
    assert!(open().unwrap_err().starts_with("manifest.json: expected the measured one"));
    change("manifest.json", 20);
    change("meta.bin", 5000);
    assert!(
        open()
            .unwrap()
            .check_side_data()
            .unwrap_err()
            .to_string()
            .starts_with("meta.bin: expected ")
    );
    change("meta.bin", 5000);
    let end = fs::metadata(path.join("enclave.sgxs")).unwrap().len() as usize - 10;
    change("enclave.sgxs", end);
    assert_ne!(open().unwrap().contents.mrenclave, made.enclave.mrenclave, "another enclave");
    change("enclave.sgxs", end);
    fs::remove_file(path.join("manifest.json")).unwrap();
    assert!(open().unwrap_err().contains("read "));
}

#[test]
fn a_failed_conversion_or_unpacking_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let layout = directory.path().join("layout");
    let layers = TestImage::example().write_layout(&layout);
    let input = Input::open(&layout, None).unwrap();
    let made = convert(&input, Options::default()).unwrap();
    let enclave = directory.path().join("pack");
    pack::write(&made, &enclave).unwrap();
    let opened = Pack::open(&enclave).unwrap();

    // The layer changes between measuring and unpacking.
    let other = support::compress(&support::layer(&[("a", b"b")]), Compression::Gzip(6));
    fs::write(&layers[1], other).unwrap();
    let rootfs = directory.path().join("rootfs");
    assert!(output::unpack(&input, &made.root, &rootfs, &()).is_err());
    assert!(!rootfs.exists());
    let bundle = directory.path().join("bundle");
    let options = output::BundleOptions::default();
    assert!(output::write_bundle(&input, &made.root, &opened, options, &bundle, &()).is_err());
    assert!(!bundle.exists());

    // Somebody else's directory is not a place for a pack.
    let foreign = directory.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("precious"), "x").unwrap();
    assert!(pack::write(&made, &foreign).is_err());
    assert_eq!(fs::read_dir(&foreign).unwrap().count(), 1);
    // An old pack is replaced.
    pack::write(&made, &enclave).unwrap();
    let left: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(left.iter().all(|name| !name.starts_with('.')), "{left:?}");
}
