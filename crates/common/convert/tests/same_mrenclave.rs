//! Converting the same image gives the same enclave, however it comes.

mod support;

use convert::hash::Pool;
use convert::pack::{self, Pack};
use convert::policy::Policy;
use convert::{Conversion, Input, Options, convert, output};
use sgx::hash::Fast;
use sgx::sign::SigningKey;
use std::path::Path;
use support::{Compression, TestImage};
use workload::digest::Digest;
use workload::manifest::{ArgvRule, EnvRule, Source};

fn conversion(path: &Path) -> Conversion {
    let input = Input::open(path, None).unwrap_or_else(|error| panic!("{error}"));
    convert(&input, Options::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn mrenclave(path: &Path) -> Digest {
    conversion(path).enclave.mrenclave
}

fn expected() -> Digest {
    let directory = tempfile::tempdir().unwrap();
    TestImage::example().write_layout(directory.path());
    mrenclave(directory.path())
}

#[test]
fn recompressed() {
    let expected = expected();
    for compression in [
        Compression::None,
        Compression::Gzip(1),
        Compression::Gzip(9),
        Compression::TwoGzips,
        Compression::Zstd,
    ] {
        let directory = tempfile::tempdir().unwrap();
        TestImage::example().with(compression).write_layout(directory.path());
        assert_eq!(mrenclave(directory.path()), expected, "{compression:?}");
    }
}

#[test]
fn in_another_directory_and_form() {
    let expected = expected();
    let directory = tempfile::tempdir().unwrap();
    let layout = directory.path().join("a/deep/place with spaces");
    TestImage::example().write_layout(&layout);
    let archive = directory.path().join("oci.tar");
    support::archive_of(&layout, &archive);
    let docker = directory.path().join("docker.tar");
    TestImage::example().write_docker(&docker);
    let compressed = directory.path().join("docker.tar.gz");
    let bytes = std::fs::read(&docker).unwrap();
    std::fs::write(&compressed, support::compress(&bytes, Compression::Gzip(6))).unwrap();
    for path in [layout, archive, docker, compressed] {
        assert_eq!(mrenclave(&path), expected, "{}", path.display());
    }
}

#[test]
fn by_one_thread_or_many() {
    let expected = expected();
    let directory = tempfile::tempdir().unwrap();
    TestImage::example().write_layout(directory.path());
    for threads in [1, 7] {
        let input = Input::open(directory.path(), None).unwrap();
        let options = Options { pool: Pool::of(threads), ..Options::default() };
        assert_eq!(convert(&input, options).unwrap().enclave.mrenclave, expected);
    }
}

#[test]
fn already_packed_with_its_enclave() {
    let expected = expected();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let mut source = path("source");
    TestImage::example().write_layout(&source);
    let key = SigningKey::generate().unwrap();
    // Twice: a packed image packed again.
    for round in 0..2 {
        let packed = path(&format!("packed{round}.tar"));
        let enclave = path(&format!("pack{round}"));
        let Input::Image(image) = Input::open(&source, None).unwrap() else { panic!() };
        let input = Input::Image(image);
        let made = convert(&input, Options::default()).unwrap();
        assert_eq!(made.enclave.mrenclave, expected);
        pack::write(&made, &enclave).unwrap();
        let opened = Pack::open(&enclave).unwrap();
        let signed = key.sign::<Fast>(&opened.unsigned(0x2026_1120)).unwrap();
        opened.put_sigstruct(&signed).unwrap();
        let Input::Image(image) = &input else { panic!() };
        let signed_pack = Pack::open(&enclave).unwrap();
        output::write_image(image, &signed_pack, "a/b:c", &packed).unwrap();
        assert_eq!(mrenclave(&packed), expected, "round {round}");
        source = packed;
    }
    // And as docker load sees it.
    let text = std::process::Command::new("tar")
        .args(["-xOf", source.to_str().unwrap(), "manifest.json"])
        .output()
        .unwrap()
        .stdout;
    let items: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(items[0]["RepoTags"][0], "a/b:c");
    assert_eq!(items[0]["Layers"].as_array().unwrap().len(), 4);
}

#[test]
fn anything_else_changes_it() {
    let expected = expected();
    let changed = |change: &dyn Fn(&mut TestImage)| {
        let directory = tempfile::tempdir().unwrap();
        let mut image = TestImage::example();
        change(&mut image);
        image.write_layout(directory.path());
        mrenclave(directory.path())
    };
    let others = [
        changed(&|image| image.layers[1] = support::layer(&[(".wh.removed", b"")])),
        changed(&|image| image.layers.push(support::layer(&[("x", b"")]))),
        changed(&|image| image.config["config"]["Cmd"] = serde_json::json!(["--port=2"])),
        changed(&|image| image.config["config"]["Env"] = serde_json::json!(["MODE=slow"])),
        changed(&|image| image.config["config"]["User"] = serde_json::json!("0")),
        changed(&|image| image.config["config"]["WorkingDir"] = serde_json::json!("/")),
    ];
    for (index, other) in others.iter().enumerate() {
        assert_ne!(*other, expected, "{index}");
        assert!(!others[..index].contains(other), "{index}");
    }
    let same = changed(&|image| {
        image.config["config"]["Labels"] = serde_json::json!({ "a": "b" });
        image.config["config"]["Env"] =
            serde_json::json!(["MODE=slow", "MODE=fast", "ENCLAVE_TYPE=x"]);
        image.config["created"] = serde_json::json!("2020-01-01T00:00:00Z");
    });
    assert_eq!(same, expected, "what the process does not see");
}

#[test]
fn the_manifest_holds_what_the_image_says() {
    let directory = tempfile::tempdir().unwrap();
    TestImage::example().write_layout(directory.path());
    let manifest = conversion(directory.path()).manifest;
    let process = &manifest.process;
    assert_eq!(process.argv, ArgvRule::Exact(vec!["/bin/server".into(), "--port=1".into()]));
    assert_eq!(process.cwd, "/srv");
    assert_eq!((process.user.uid, process.user.gid), (33, 33));
    assert_eq!(process.user.additional_gids, [7]);
    let env: Vec<&str> = process.env.keys().map(String::as_str).collect();
    assert_eq!(env, ["HOME", "MODE", "PATH"]);
    assert_eq!(process.env["HOME"], EnvRule::Exact("/srv".into()));
    assert_eq!(manifest.root.source, Source::Layers);
    assert!(!manifest.debug);
}

#[test]
fn an_unpacked_image_has_the_same_root_and_says_that_it_is_a_directory() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can unpack devices and owners");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let layout = directory.path().join("layout");
    TestImage::example().write_layout(&layout);
    let input = Input::open(&layout, None).unwrap();
    let made = convert(&input, Options::default()).unwrap();
    let rootfs = directory.path().join("rootfs");
    let skipped = output::unpack(&input, &made.root, &rootfs, &()).unwrap();
    let input = Input::Directory(rootfs.clone(), Box::new(input.config().clone()));
    let again = convert(&input, Options::default()).unwrap();
    if skipped.devices == 0 {
        assert_eq!(again.manifest.root.digest, made.manifest.root.digest);
    }
    assert_eq!(again.manifest.root.source, Source::Directory);
    assert_ne!(again.enclave.mrenclave, made.enclave.mrenclave);
    std::fs::create_dir(rootfs.join(".inclavare")).unwrap();
    std::fs::write(rootfs.join(".inclavare/enclave.sgxs"), "x").unwrap();
    let with_pack = convert(&input, Options::default()).unwrap();
    assert_eq!(with_pack.enclave.mrenclave, again.enclave.mrenclave);
}

/// Engines ask for what the image's configuration says: where the policy changed it, a packed image asked for
/// the source's command line and its own enclave refused it.
#[test]
fn a_packed_image_asks_for_what_its_manifest_admits() {
    let policy = "argv = [\"/bin/other\", \"-x\"]\ncwd = \"/bin\"\n\
                  user = { uid = 5, gid = 6, additional_gids = [] }\n\
                  [env]\nMODE = false\nLEVEL = \"high\"\n";
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    TestImage::example().write_layout(&path("source"));
    let options = || Options { policy: Policy::parse(policy).unwrap(), ..Options::default() };
    let input = Input::open(&path("source"), None).unwrap();
    let made = convert(&input, options()).unwrap();
    pack::write(&made, &path("pack")).unwrap();
    let opened = Pack::open(&path("pack")).unwrap();
    let key = SigningKey::generate().unwrap();
    let signed = key.sign::<Fast>(&opened.unsigned(0x2026_1120)).unwrap();
    opened.put_sigstruct(&signed).unwrap();
    let Input::Image(image) = &input else { panic!() };
    let packed = path("packed.tar");
    output::write_image(image, &Pack::open(&path("pack")).unwrap(), "a:b", &packed).unwrap();

    let again = Input::open(&packed, None).unwrap();
    let Input::Image(image) = &again else { panic!() };
    let asked = image.config.config.clone().unwrap();
    assert_eq!(asked.entrypoint, None);
    assert_eq!(asked.cmd.unwrap(), ["/bin/other", "-x"]);
    assert_eq!(asked.working_dir.unwrap(), "/bin");
    assert_eq!(asked.user.unwrap(), "5:6");
    let env = asked.env.unwrap();
    assert!(env.iter().any(|entry| entry == "LEVEL=high"), "{env:?}");
    assert!(env.iter().any(|entry| entry == "ENCLAVE_TYPE=intelSgx"), "{env:?}");
    assert!(!env.iter().any(|entry| entry.starts_with("MODE=")), "{env:?}");
    // Still the same workload, under the same policy.
    assert_eq!(convert(&again, options()).unwrap().enclave.mrenclave, made.enclave.mrenclave);
}

#[test]
fn who_may_attest_is_measured_in_whatever_order_it_is_written() {
    let directory = tempfile::tempdir().unwrap();
    TestImage::example().write_layout(directory.path());
    let with = |rules: &str| {
        let input = Input::open(directory.path(), None).unwrap();
        let policy = Policy::parse(rules).unwrap();
        convert(&input, Options { policy, ..Options::default() }).unwrap()
    };
    let one = with("[attestation]\nuids = [33, 0, 33]\nfiles = [\"report\", \"bound\"]");
    let same = with("[attestation]\nuids = [0, 33]\nfiles = [\"bound\", \"report\"]");
    let fewer = with("[attestation]\nuids = [0, 33]\nfiles = [\"bound\"]");
    assert_eq!(one.manifest.attestation.uids, [0, 33]);
    assert_eq!(one.manifest.attestation.files, ["bound", "report"]);
    assert_eq!(one.enclave.mrenclave, same.enclave.mrenclave);
    assert_ne!(one.enclave.mrenclave, fewer.enclave.mrenclave);
}

/// The attester's program comes from the converter, whatever an image has in its place.
#[test]
fn an_attester_is_measured_and_travels_with_the_pack() {
    let rules = "[attester]\nlisten = 8443\nforward = \"127.0.0.1:8080\"\n";
    let options = |program| Options {
        policy: Policy::parse(rules).unwrap(),
        attester: program,
        ..Options::default()
    };
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    TestImage::example().write_layout(&path("source"));
    let input = Input::open(&path("source"), None).unwrap();
    let made = convert(&input, options(b"program")).unwrap();
    let without = convert(&input, Options::default()).unwrap();
    assert_ne!(made.manifest.root.digest, without.manifest.root.digest);
    let other = convert(&input, options(b"Program")).unwrap();
    assert_ne!(made.enclave.mrenclave, other.enclave.mrenclave);

    pack::write(&made, &path("pack")).unwrap();
    pack::write(&made, &path("pack")).unwrap();
    assert_eq!(std::fs::read(path("pack/attester")).unwrap(), b"program");
    let opened = Pack::open(&path("pack")).unwrap();
    let bundle = path("bundle");
    output::write_bundle(&input, &made.root, &opened, Default::default(), &bundle, &()).unwrap();
    assert_eq!(std::fs::read(bundle.join("rootfs/.inclavare/attester")).unwrap(), b"program");
    assert!(Pack::find(&bundle).is_ok());

    let key = SigningKey::generate().unwrap();
    opened.put_sigstruct(&key.sign::<Fast>(&opened.unsigned(0x2026_1120)).unwrap()).unwrap();
    let Input::Image(image) = &input else { panic!() };
    let packed = path("packed.tar");
    output::write_image(image, &Pack::open(&path("pack")).unwrap(), "a:b", &packed).unwrap();
    let again = convert(&Input::open(&packed, None).unwrap(), options(b"program")).unwrap();
    assert_eq!(again.enclave.mrenclave, made.enclave.mrenclave);
    // Its layer has the program, which the conversion did not look at.
    let layers = std::fs::read(&packed).unwrap();
    assert!(layers.windows(19).any(|window| window == b".inclavare/attester"));
}

#[test]
fn a_policy_for_peers_is_a_file_of_the_image() {
    let directory = tempfile::tempdir().unwrap();
    TestImage::example().write_layout(directory.path());
    let input = Input::open(directory.path(), None).unwrap();
    let rules = "[attester]\nlisten = 8443\nforward = \"127.0.0.1:8080\"\n\
                 [attester.verify]\npolicy = \"/etc/none.toml\"\nroot = \"/etc/none.pem\"\n";
    let policy = Policy::parse(rules).unwrap();
    let error = convert(&input, Options { policy, ..Options::default() }).map(drop).unwrap_err();
    assert_eq!(
        error.to_string(),
        "attester.verify.policy: expected a file of the image, got \"/etc/none.toml\", which is none"
    );
}
