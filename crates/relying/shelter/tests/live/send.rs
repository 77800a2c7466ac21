//! Secrets and streams: what leaves this machine, and when.

use crate::container::lab::Enclave;
use crate::container::{TRUST, count, echo, files, policy, serve};
use crate::support::{Ended, shelter};
use crate::{run, target};
use rats_tls::Stream;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};

/// A place with a secret of bytes that are no text, and the address of a container that counts.
fn workplace(place: &Path) -> (String, crate::container::Got) {
    let enclave = Enclave::new(1, 0x11);
    files(place, &enclave);
    std::fs::write(place.join("secret"), SECRET).unwrap();
    let (address, got) = serve(enclave, count);
    (target(address), got)
}

const SECRET: &[u8] = b"\0\xffs3cret\n";

#[test]
fn a_secret_arrives_whole_and_the_answer_is_printed() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let (target, got) = workplace(place);
    let send = |more: &[&str]| run(place, &[&["send", &target], &TRUST[..], more].concat());
    let ended = send(&["--secret", "secret"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "9 bytes\nbye\n"), "{}", ended.stderr);
    assert!(ended.stderr.starts_with("accepted: sgx, EMULATED, "), "{}", ended.stderr);
    assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    assert_eq!(*got.lock().unwrap(), [SECRET]);

    assert_eq!(send(&["--secret", "secret", "--answer", "line"]).stdout, "9 bytes\n");
    assert_eq!(send(&["--secret", "secret", "--answer", "none"]).stdout, "");
    let line = ["--secret", "secret", "--answer", "line", "--expect"];
    assert_eq!(send(&[&line[..], &["9 bytes"]].concat()).code, 0);
    let other = send(&[&line[..], &["8 bytes"]].concat());
    assert_eq!(other.code, 1);
    assert!(other.stderr.contains("answer: expected \"8 bytes\""), "{}", other.stderr);

    // From a pipe.
    let mut child = shelter(place)
        .args([&["send", &target, "--secret", "-"], &TRUST[..]].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"piped").unwrap();
    assert_eq!(Ended::of(child.wait_with_output().unwrap()).stdout, "5 bytes\nbye\n");
    assert!(got.lock().unwrap().contains(&b"piped".to_vec()));
}

#[test]
fn who_is_refused_gets_nothing() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let (target, got) = workplace(place);
    policy(place, "policy", &"12".repeat(32), "");
    for verb in [&["send", &target, "--secret", "secret"][..], &["connect", &target]] {
        let ended = run(place, &[verb, &TRUST[..]].concat());
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{}", ended.stderr);
        assert!(ended.stderr.starts_with("REFUSED  "), "{}", ended.stderr);
        assert!(ended.stderr.contains("policy.measurement"), "{}", ended.stderr);
    }
    // Nor is a local port opened for it.
    let ended =
        run(place, &[&["connect", &target, "--listen", "127.0.0.1:0"], &TRUST[..]].concat());
    assert_eq!(ended.code, 1);
    assert!(!ended.stderr.contains("listening"), "{}", ended.stderr);
    assert!(got.lock().unwrap().is_empty());
}

#[test]
fn a_secret_that_is_not_there_is_noticed_before_anybody_is_asked() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let (target, got) = workplace(place);
    std::fs::write(place.join("empty"), "").unwrap();
    for (secret, part) in [("none", "open none: "), ("empty", "empty: expected a secret of 1 to ")]
    {
        let ended = run(place, &[&["send", &target, "--secret", secret], &TRUST[..]].concat());
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""));
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
    assert!(got.lock().unwrap().iter().all(Vec::is_empty));
}

/// A program that says nothing is not waited for longer than the time.
#[test]
fn an_answer_that_does_not_come_is_an_error() {
    fn mute(stream: &mut Stream<TcpStream>, got: &crate::container::Got) {
        let mut buffer = [0; 16];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            got.lock().unwrap().push(buffer[..count].to_vec());
        }
        // Until the client gives up.
        while stream.write_all(b"").is_ok() && stream.read(&mut buffer).is_ok() {
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
    }
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    workplace(place);
    let (address, _) = serve(Enclave::new(1, 0x11), mute);
    let words = ["send", &target(address), "--secret", "secret", "--timeout", "1"];
    let ended = run(place, &[&words[..], &TRUST[..]].concat());
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{}", ended.stderr);
    assert!(ended.stderr.contains("the peer took longer than it may"), "{}", ended.stderr);
}

#[test]
fn standard_input_and_output_are_a_pipe_to_the_program() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    files(place, &Enclave::new(1, 0x11));
    let (address, _) = serve(Enclave::new(1, 0x11), echo);
    let mut child = shelter(place)
        .args([&["connect", &target(address)], &TRUST[..]].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    // Back and forth, and more than any buffer holds at once.
    let large = vec![7; 3 << 20];
    for message in [&b"ping"[..], &large] {
        let sent = message.to_vec();
        let writer = std::thread::spawn(move || {
            stdin.write_all(&sent).unwrap();
            stdin
        });
        let mut answer = vec![0; message.len()];
        stdout.read_exact(&mut answer).unwrap();
        assert!(answer == message);
        stdin = writer.join().unwrap();
    }
    drop(stdin);
    assert_eq!(stdout.read(&mut [0]).unwrap(), 0);
    assert!(child.wait().unwrap().success());
}

/// Ends a program that would run for ever, also where the test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_local_port_leads_to_the_program() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let (target, got) = workplace(place);
    let child = shelter(place)
        .args([&["connect", &target, "--listen", "127.0.0.1:0"], &TRUST[..]].concat())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let mut lines = BufReader::new(running.0.stderr.take().unwrap()).lines();
    let accepted = lines.next().unwrap().unwrap();
    assert!(accepted.starts_with("accepted: sgx, EMULATED, "), "{accepted}");
    let listening = lines.next().unwrap().unwrap();
    let address = listening.strip_prefix("listening on ").unwrap().to_owned();
    let talk = move |message: &[u8]| {
        let mut local = TcpStream::connect(&address).unwrap();
        local.write_all(message).unwrap();
        local.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        local.read_to_string(&mut answer).unwrap();
        answer
    };
    std::thread::scope(|scope| {
        for length in [1, 1000, 100_000] {
            let talk = &talk;
            scope.spawn(move || {
                assert_eq!(talk(&vec![1; length]), format!("{length} bytes\nbye\n"));
            });
        }
    });
    // The first session was for the verdict.
    assert_eq!(got.lock().unwrap().iter().filter(|it| !it.is_empty()).count(), 3);
    // From now on it is another program: nothing more goes through.
    drop(running);
}

#[test]
fn a_port_that_others_reach_must_be_asked_for() {
    let place = tempfile::tempdir().unwrap();
    let (target, _) = workplace(place.path());
    let words = ["connect", &target, "--listen", "0.0.0.0:0"];
    let ended = run(place.path(), &[&words[..], &TRUST[..]].concat());
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("--listen-publicly"), "{}", ended.stderr);
}
