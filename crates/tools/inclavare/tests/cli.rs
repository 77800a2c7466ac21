//! The command as its user runs it.

use fixtures::{Image, Tree, write_docker_archive, write_oci_layout};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;

const PROGRAM: &str = env!("CARGO_BIN_EXE_inclavare");

/// A key made by `inclavare key new`, once: it takes seconds.
fn key() -> &'static str {
    static KEY: OnceLock<String> = OnceLock::new();
    KEY.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let shown = good(directory.path(), &["key", "new", "k.pem", "--public", "p.pem"]);
        assert_eq!(shown, good(directory.path(), &["key", "show", "p.pem"]));
        let file = directory.path().join("k.pem");
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "a private key is its owner's");
        std::fs::read_to_string(file).unwrap()
    })
}

fn run(directory: &Path, words: &[&str]) -> Output {
    Command::new(PROGRAM).current_dir(directory).args(words).output().expect("it was built")
}

/// Standard output of a run that must succeed.
fn good(directory: &Path, words: &[&str]) -> String {
    let output = run(directory, words);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Exit code and standard error of a run that must fail.
fn bad(directory: &Path, words: &[&str]) -> (i32, String) {
    let output = run(directory, words);
    assert!(!output.status.success(), "{words:?}");
    assert!(output.stdout.is_empty(), "{words:?}");
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// A directory with `layout`, `docker.tar` and `key.pem`.
fn workplace() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut tree = Tree::skeleton();
    tree.file("bin/server", 0o755, &[7; 10_000]);
    let image = Image::new("server:1", tree, &["/bin/server"]);
    write_oci_layout(&image, &directory.path().join("layout")).unwrap();
    write_docker_archive(&image, &directory.path().join("docker.tar")).unwrap();
    std::fs::write(directory.path().join("key.pem"), key()).unwrap();
    directory
}

fn mrenclave(text: &str) -> String {
    let line = text.lines().find(|line| line.starts_with("mrenclave ")).expect(text);
    line.split_whitespace().nth(1).unwrap().to_string()
}

#[test]
fn convert_sign_pack_and_convert_again() {
    let place = workplace();
    let place = place.path();
    let first =
        good(place, &["image", "convert", "layout", "--pack", "pack", "--bundle", "bundle"]);
    let signed = good(place, &["sign", "bundle", "--key", "key.pem", "--date", "20261120"]);
    assert_eq!(mrenclave(&first), mrenclave(&signed));
    good(place, &["sign", "pack", "--key", "key.pem"]);
    let packed = good(
        place,
        &["image", "pack", "docker.tar", "--pack", "pack", "--name", "s:1", "--output", "out.tar"],
    );
    assert_eq!(mrenclave(&first), mrenclave(&packed));
    let again = good(place, &["image", "convert", "out.tar", "--pack", "again"]);
    assert_eq!(first, again, "an image packed with its enclave converts to the same");

    let shown = good(place, &["inspect", "--json", "bundle"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["mrenclave"], mrenclave(&first));
    assert_eq!(shown["sigstruct"]["signature"], "valid");
    assert_eq!(shown["sigstruct"]["signed"]["date"], "2026-11-20");
    assert_eq!(shown["manifest"]["process"]["argv"]["exact"][0], "/bin/server");
    let config = std::fs::read_to_string(place.join("bundle/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["annotations"]["enclave.type"], "intelSgx");
    assert_eq!(config["process"]["args"][0], "/bin/server");
    for name in ["pack", "pack/enclave.sgxs", "pack/enclave.sig", "pack/manifest.json"] {
        let text = good(place, &["inspect", name]);
        assert!(text.starts_with("kind "), "{text}");
    }
}

#[test]
fn another_user_in_another_directory_gets_the_same_mrenclave() {
    let (here, there) = (workplace(), workplace());
    let first = good(here.path(), &["image", "convert", "layout", "--pack", "pack"]);
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped the other user: only root can become one");
        assert_eq!(first, good(there.path(), &["image", "convert", "layout", "--pack", "pack"]));
        return;
    }
    // The build directory may be closed to others; the program is not.
    let program = there.path().join("inclavare");
    std::fs::copy(PROGRAM, &program).unwrap();
    let open = || PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(there.path(), open()).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["image", "convert", "docker.tar", "--pack", "pack", "--bundle", "bundle"])
        .current_dir(there.path())
        .env("HOME", "/nonexistent")
        .env("LANG", "tr_TR.UTF-8")
        .env("TZ", "Pacific/Kiritimati")
        .output()
        .expect("setpriv is part of every Debian");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(first, String::from_utf8(output.stdout).unwrap());
    assert!(String::from_utf8(output.stderr).unwrap().contains("left out"), "owners");
}

#[test]
fn a_signature_made_elsewhere() {
    let place = workplace();
    let place = place.path();
    good(place, &["image", "convert", "layout", "--pack", "pack"]);
    good(place, &["gendata", "pack", "--output", "material"]);
    let openssl = |words: &[&str]| {
        let done = Command::new("openssl").args(words).current_dir(place).output();
        assert!(done.expect("openssl is installed").status.success(), "{words:?}");
    };
    openssl(&["dgst", "-sha256", "-sign", "key.pem", "-out", "signature", "material"]);
    openssl(&["rsa", "-in", "key.pem", "-pubout", "-out", "public.pem"]);
    let catsig = ["catsig", "pack", "--data", "material", "--signature", "signature"];
    let catsig = [&catsig[..], &["--public-key", "public.pem"]].concat();
    let key = good(place, &["key", "show", "key.pem"]);
    assert_eq!(key, good(place, &["key", "show", "public.pem"]));
    assert!(good(place, &catsig).ends_with(&key), "the signer is the key's");

    // Of another enclave, cut, and by another key.
    good(place, &["image", "convert", "layout", "--pack", "other", "--debug"]);
    let (code, message) = bad(place, &[&["catsig", "other"], &catsig[2..]].concat());
    assert_eq!(code, 1);
    assert!(
        message
            .contains("signing material: expected that of this enclave, got another ENCLAVEHASH")
    );
    let signature = std::fs::read(place.join("signature")).unwrap();
    std::fs::write(place.join("signature"), &signature[..383]).unwrap();
    let (code, message) = bad(place, &catsig);
    assert_eq!(
        (code, message.as_str()),
        (1, "inclavare: signature: expected 384 bytes, got 383\n")
    );
    let mut flipped = signature;
    flipped[100] ^= 1;
    std::fs::write(place.join("signature"), flipped).unwrap();
    assert_eq!(bad(place, &catsig).0, 1);
}

#[test]
fn refusals_have_their_exit_codes_and_leave_nothing() {
    let place = workplace();
    let place = place.path();
    assert_eq!(bad(place, &["image", "convert", "nothing", "--pack", "x"]).0, 3);
    assert_eq!(bad(place, &["image", "convert", "layout"]).0, 2);
    assert_eq!(bad(place, &["sign", "layout", "--key", "key.pem"]).0, 1);
    std::fs::write(place.join("rules"), "debgu = true").unwrap();
    let (code, message) =
        bad(place, &["image", "convert", "layout", "--policy", "rules", "--pack", "x"]);
    assert_eq!(code, 1);
    assert!(message.starts_with("inclavare: rules: rules: expected toml"), "{message}");
    assert!(message.contains("debgu"), "{message}");
    let (code, message) =
        bad(place, &["image", "convert", "layout", "--enclave-size", "100M", "--bundle", "x"]);
    assert_eq!(code, 1);
    assert!(message.starts_with("inclavare: enclave.size: expected a power of two"), "{message}");
    assert!(!place.join("x").exists());

    // A wrong key: too short, and no key at all; a new key never overwrites an old one.
    std::fs::write(place.join("no.pem"), "hello").unwrap();
    good(place, &["image", "convert", "layout", "--pack", "pack"]);
    let (code, message) = bad(place, &["sign", "pack", "--key", "no.pem"]);
    assert_eq!(code, 1);
    assert!(message.starts_with("inclavare: no.pem: key file: expected"), "{message}");
    assert!(message.contains("got no PEM"), "{message}");
    assert!(!place.join("pack/enclave.sig").exists());
    assert_eq!(bad(place, &["key", "new", "key.pem"]).0, 3);
    assert_eq!(std::fs::read_to_string(place.join("key.pem")).unwrap(), key());

    // A pack of another image.
    good(place, &["sign", "pack", "--key", "key.pem"]);
    let mut tree = Tree::skeleton();
    tree.file("bin/server", 0o755, &[8; 10_000]);
    let image = Image::new("server:2", tree, &["/bin/server"]);
    write_oci_layout(&image, &place.join("other")).unwrap();
    let (code, message) = bad(
        place,
        &["image", "pack", "other", "--pack", "pack", "--name", "s:2", "--output", "out.tar"],
    );
    assert_eq!(code, 1);
    assert!(message.contains("root digest of the image: expected "), "{message}");
    assert!(!place.join("out.tar").exists());
}

#[test]
fn unpacked_and_digest() {
    let place = workplace();
    let place = place.path();
    let image = good(place, &["image", "digest", "layout"]);
    assert_eq!(image, good(place, &["image", "digest", "docker.tar"]));
    good(place, &["image", "unpack", "layout", "--output", "root"]);
    assert_eq!(std::fs::read(place.join("root/bin/server")).unwrap(), [7; 10_000]);
    if rustix::process::geteuid().is_root() {
        assert_eq!(image, good(place, &["image", "digest", "root"]));
    }
    let made = good(place, &["image", "convert", "root", "--pack", "p", "--", "/bin/server"]);
    assert!(made.contains("source    a directory: not recomputable from a reference"), "{made}");
    assert_eq!(bad(place, &["image", "unpack", "layout", "--output", "root"]).0, 3);
}

#[test]
fn doctor_says_what_to_do() {
    let output = run(Path::new("/"), &["doctor", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let verdict = report["enclaves"].as_str().unwrap();
    assert_eq!(output.status.code(), Some(if verdict == "none" { 4 } else { 0 }));
    let checks = report["checks"].as_array().unwrap();
    for name in [
        "SGX",
        "FLC",
        "EDMM",
        "KSS",
        "driver",
        "AESM",
        "EPC",
        "cgroups",
        "syscall user dispatch",
        "FSGSBASE",
    ] {
        let check = checks.iter().find(|check| check["name"] == name).expect(name);
        assert_eq!(check["ok"].as_bool().unwrap(), check["action"].is_null(), "{name}");
    }
}
