//! `shelter measure` as its user runs it: the measurement is the one that `convert` gave the enclave.

use convert::output::{BundleOptions, write_bundle};
use convert::pack::{self, Pack};
use convert::{Conversion, Input, Options};
use fixtures::{Image, Tree, write_docker_archive, write_oci_layout};
use serde_json::Value;
use sgx::hash::Fast;
use sgx::sign::SigningKey;
use std::path::Path;
use std::process::{Command, Output};

fn run(place: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shelter"));
    command.current_dir(place).arg("measure").args(words).output().expect("it was built")
}

fn good(place: &Path, words: &[&str]) -> Value {
    let output = run(place, &[words, &["--json"]].concat());
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{words:?}: {error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Exit code and standard error of a run that must fail.
fn bad(place: &Path, words: &[&str]) -> (i32, String) {
    let output = run(place, words);
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// A directory with `layout`, `docker.tar`, and the `pack` and `bundle` that convert makes of them.
fn workplace() -> (tempfile::TempDir, Conversion) {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let mut tree = Tree::skeleton();
    tree.file("bin/server", 0o755, &[7; 10_000]);
    let image = Image::new("server:1", tree, &["/bin/server"]);
    write_oci_layout(&image, &place.join("layout")).unwrap();
    write_docker_archive(&image, &place.join("docker.tar")).unwrap();
    let input = Input::open(&place.join("layout"), None).unwrap();
    let conversion = convert::convert(&input, Options::default()).unwrap();
    pack::write(&conversion, &place.join("pack")).unwrap();
    let pack = Pack::open(&place.join("pack")).unwrap();
    let options = BundleOptions::default();
    write_bundle(&input, &conversion.root, &pack, options, &place.join("bundle"), &()).unwrap();
    (directory, conversion)
}

#[test]
fn image_pack_bundle_and_file_have_one_measurement() {
    let (place, conversion) = workplace();
    let place = place.path();
    let mrenclave = conversion.enclave.mrenclave.to_string();
    for (target, kind) in [
        ("layout", "image"),
        ("docker.tar", "image"),
        ("pack", "pack"),
        ("bundle", "pack"),
        ("pack/enclave.sgxs", "enclave file"),
    ] {
        let value = good(place, &[target, "--expect", &mrenclave]);
        assert_eq!((&value["kind"], &value["mrenclave"]), (&kind.into(), &(*mrenclave).into()));
        assert_eq!(value["mrsigner"], Value::Null, "{target}: nothing is signed yet");
        assert_eq!(value["manifest"]["process"]["argv"]["exact"][0], "/bin/server");
    }
    let output = run(place, &["layout"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(&format!("mrenclave                  {mrenclave}\n")), "{text}");

    // What the conversion was told matters, and another measurement is refused.
    let debug = good(place, &["layout", "--debug"]);
    assert_eq!(debug["debug"], true);
    let (code, message) = bad(place, &["layout", "--debug", "--expect", &mrenclave]);
    let got = debug["mrenclave"].as_str().unwrap();
    assert_eq!(message, format!("shelter: mrenclave: expected {mrenclave}, got {got}\n"));
    assert_eq!(code, 1);
}

#[test]
fn the_signer_is_shown_and_a_foreign_signature_refused() {
    let (place, _) = workplace();
    let place = place.path();
    let key = SigningKey::generate().unwrap();
    let pack = Pack::open(&place.join("pack")).unwrap();
    let signed = key.sign::<Fast>(&pack.unsigned(0x2026_1120)).unwrap();
    pack.put_sigstruct(&signed).unwrap();
    let mrsigner = workload::digest::Hex(signed.mrsigner::<Fast>()).to_string();
    assert_eq!(good(place, &["pack"])["mrsigner"], *mrsigner);
    let file = ["pack/enclave.sgxs", "--sigstruct", "pack/enclave.sig"];
    assert_eq!(good(place, &file)["mrsigner"], *mrsigner);

    let mut other = pack.unsigned(0x2026_1120);
    other.enclavehash[0] ^= 1;
    let other = key.sign::<Fast>(&other).unwrap();
    std::fs::write(place.join("pack/enclave.sig"), other.to_bytes()).unwrap();
    let (code, message) = bad(place, &["pack"]);
    assert_eq!(code, 1);
    assert!(message.contains("enclave.sig: expected ENCLAVEHASH "), "{message}");
    let (code, message) = bad(place, &file);
    assert_eq!(code, 1);
    assert!(message.contains("pack/enclave.sig: ENCLAVEHASH: expected "), "{message}");
}

#[test]
fn what_cannot_be_measured_is_no_answer() {
    let (place, _) = workplace();
    let place = place.path();
    let sgxs = std::fs::read(place.join("pack/enclave.sgxs")).unwrap();
    std::fs::write(place.join("cut.sgxs"), &sgxs[..sgxs.len() - 100]).unwrap();
    std::fs::write(place.join("garbage"), [7; 5000]).unwrap();
    std::fs::write(place.join("wrong.toml"), "debgu = true").unwrap();
    for (words, part) in [
        (&["nothing"][..], "open nothing: "),
        (&["cut.sgxs"], "cut.sgxs: "),
        (&["garbage"], "garbage: "),
        (
            &["pack", "--debug"],
            "pack: expected an image, to which the options of a conversion belong",
        ),
        (&["layout", "--policy", "wrong.toml"], "wrong.toml: rules: expected toml"),
        (&["pack", "--expect", "abc"], "expected 64 hex digits, got 3"),
        (&["layout", "--sigstruct", "pack/enclave.sig"], "layout: expected an enclave file"),
        (&[], "TARGET"),
    ] {
        let (code, message) = bad(place, words);
        assert_eq!(code, 2, "{words:?}: {message}");
        assert!(message.contains(part), "{words:?}: {message}");
    }
    // A page that compares with it takes the same.
    for (target, option) in [("pack", ["--rules", "rules.toml"]), ("bundle", ["--ref", "server:1"])]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shelter"));
        command.current_dir(place).args(["report", "none", "--root", "none", "--output", "page"]);
        let output = command.args(["--measure", target]).args(option).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        let part =
            format!("{target}: expected an image, to which the options of a conversion belong");
        assert!(message.contains(&part), "{message}");
    }
    // One flipped bit of a measured page is another enclave.
    let mut flipped = sgxs;
    let at = flipped.len() - 100;
    flipped[at] ^= 1;
    std::fs::write(place.join("flipped.sgxs"), flipped).unwrap();
    let mrenclave = good(place, &["pack"])["mrenclave"].clone();
    assert_ne!(good(place, &["flipped.sgxs"])["mrenclave"], mrenclave);
}
