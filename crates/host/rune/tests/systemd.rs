//! `--systemd-cgroup` against a stand-in for the bus: what is asked of systemd, and what is made of its answers.

use conformance::{Bundle, Outcome, Runtime, obstacle};
use serde_json::json;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// A call that came in: its method, and its body.
type Calls = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// What the stand-in answers to `StartTransientUnit`.
#[derive(Clone, Copy, PartialEq)]
enum Answer {
    Done,
    JobFails,
    Refuses,
    Hangs,
}

fn padded(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn text(out: &mut Vec<u8>, text: &str) {
    padded(out, 4);
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
    out.push(0);
}

/// A message of the bus: kind, header fields by code, body.
fn message(kind: u8, fields: &[(u8, &str, &str)], reply_to: Option<u32>, body: &[u8]) -> Vec<u8> {
    let mut array = Vec::new();
    if let Some(serial) = reply_to {
        array.extend([5, 1, b'u', 0]);
        array.extend(serial.to_le_bytes());
    }
    for (code, signature, value) in fields {
        padded(&mut array, 8);
        array.push(*code);
        array.push(1);
        array.extend(signature.as_bytes());
        array.push(0);
        if *signature == "g" {
            array.push(value.len() as u8);
            array.extend(value.as_bytes());
            array.push(0);
        } else {
            text(&mut array, value);
        }
    }
    let mut out = vec![b'l', kind, 1, 1];
    out.extend((body.len() as u32).to_le_bytes());
    out.extend(7u32.to_le_bytes());
    out.extend((array.len() as u32).to_le_bytes());
    out.extend(array);
    padded(&mut out, 8);
    out.extend(body);
    out
}

/// The texts of the header fields of a call, by code.
fn member(header: &[u8]) -> String {
    // Field 3 (member), signature "s", then length and text.
    let at = header.windows(4).position(|w| w == [3, 1, b's', 0]).unwrap() + 4;
    let length = u32::from_le_bytes(header[at..at + 4].try_into().unwrap()) as usize;
    String::from_utf8(header[at + 4..at + 4 + length].to_vec()).unwrap()
}

fn serve(mut stream: UnixStream, calls: &Calls, answer: Answer) -> std::io::Result<()> {
    let mut line = Vec::new();
    for end in ["\r\n", "BEGIN\r\n"] {
        while !line.ends_with(end.as_bytes()) {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        if end == "\r\n" {
            assert!(line.starts_with(b"\0AUTH EXTERNAL 30"), "{line:?}");
            stream.write_all(b"OK 0123456789abcdef0123456789abcdef\r\n")?;
        }
    }
    loop {
        let mut fixed = [0u8; 16];
        stream.read_exact(&mut fixed)?;
        let word = |at: usize| u32::from_le_bytes(fixed[at..at + 4].try_into().unwrap());
        let (length, serial, fields) = (word(4) as usize, word(8), word(12) as usize);
        let mut header = vec![0; fields.next_multiple_of(8)];
        stream.read_exact(&mut header)?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        let member = member(&header);
        calls.lock().unwrap().push((member.clone(), body));
        let is_start = member == "StartTransientUnit";
        let has_job = is_start || member == "StopUnit";
        if is_start && answer == Answer::Hangs {
            return Ok(());
        }
        if is_start && answer == Answer::Refuses {
            let mut body = Vec::new();
            text(&mut body, "Unit name is not to my taste");
            let name = "org.freedesktop.DBus.Error.InvalidArgs";
            let fields = [(4, "s", name), (8, "g", "s")];
            stream.write_all(&message(3, &fields, Some(serial), &body))?;
            continue;
        }
        let job = "/org/freedesktop/systemd1/job/9";
        if has_job {
            let result = if answer == Answer::JobFails { "failed" } else { "done" };
            let mut body = 9u32.to_le_bytes().to_vec();
            for part in [job, "x.scope", result] {
                text(&mut body, part);
            }
            let fields = [
                (1, "o", "/org/freedesktop/systemd1"),
                (2, "s", "org.freedesktop.systemd1.Manager"),
                (3, "s", "JobRemoved"),
                (8, "g", "uoss"),
            ];
            // Before the reply, as happens: the job may end at once.
            stream.write_all(&message(4, &fields, None, &body))?;
        }
        let mut body = Vec::new();
        let mut fields = Vec::new();
        if has_job {
            text(&mut body, job);
            fields.push((8, "g", "o"));
        }
        stream.write_all(&message(2, &fields, Some(serial), &body))?;
    }
}

struct Place {
    // Dropped in this order: the bundle's drop deletes its container by the state in the directory.
    bundle: Bundle,
    calls: Calls,
    directory: tempfile::TempDir,
}

fn place(name: &str, answer: Answer) -> Option<Place> {
    if let Some(reason) = obstacle() {
        eprintln!("skipped: {name}: {reason}");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let runtime = Runtime {
        program: PathBuf::from(env!("CARGO_BIN_EXE_rune")),
        root: directory.path().join("state"),
        hides_cgroup2: false,
    };
    let mut bundle = Bundle::new(&runtime, "sleep 1000").unwrap();
    let path = format!("runetest-{}.slice:pre:{}", std::process::id(), bundle.id);
    bundle.set("/linux/cgroupsPath", json!(path));
    bundle.set("/linux/resources/memory", json!({"limit": 67_108_864}));
    bundle.set("/linux/resources/pids", json!({"limit": 77}));
    let listener = UnixListener::bind(directory.path().join("bus")).unwrap();
    let calls = Calls::default();
    let seen = calls.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // The end of a connection is an error of reading.
            let _ = serve(stream, &seen, answer);
        }
    });
    Some(Place { directory, bundle, calls })
}

impl Place {
    fn run(&self, args: &[&str]) -> Outcome {
        self.bundle.write().unwrap();
        let mut all = vec!["--systemd-cgroup"];
        all.extend(args);
        let output = std::fs::File::create(self.directory.path().join("out")).unwrap();
        let errors = std::fs::File::create(self.directory.path().join("err")).unwrap();
        let address = format!("unix:path={}", self.directory.path().join("bus").display());
        let status = self
            .bundle
            .runtime()
            .command(&all)
            .env("DBUS_SYSTEM_BUS_ADDRESS", address)
            .current_dir(self.bundle.path())
            .stdin(std::process::Stdio::null())
            .stdout(output)
            .stderr(errors)
            .status()
            .unwrap();
        let read = |f: &str| std::fs::read_to_string(self.directory.path().join(f)).unwrap();
        Outcome { code: status.code().unwrap_or(-1), stdout: read("out"), stderr: read("err") }
    }

    /// Takes the calls that came since the last time.
    fn take(&self) -> Vec<(String, Vec<u8>)> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    /// Where a v1 controller's group, or the only one, is.
    fn group(&self, controller: &str) -> PathBuf {
        let top = PathBuf::from("/sys/fs/cgroup");
        let top = if top.join(controller).is_dir() { top.join(controller) } else { top };
        let first = std::fs::read_to_string("/proc/1/cgroup").unwrap();
        let line = first.lines().find(|l| l.contains(&format!(":{controller}:")));
        let own = line.and_then(|l| l.rsplit_once(":/")).map_or("", |(_, own)| own);
        let stem = format!("runetest-{}", std::process::id());
        let slice = top.join(own.trim_end_matches("init.scope")).join("runetest.slice");
        slice.join(format!("{stem}.slice")).join(format!("pre-{}.scope", self.bundle.id))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.run(&["delete", "--force", &self.bundle.id]);
        // The slices are systemd's to remove; here they are ours.
        let tops = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
        for top in tops.map(|t| t.file_name().to_string_lossy().into_owned()) {
            let slice = self.group(&top);
            for directory in slice.ancestors().skip(1).take(2) {
                let _ = std::fs::remove_dir(directory);
            }
        }
    }
}

fn has(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|w| w == part)
}

#[test]
fn a_container_is_a_scope() {
    let Some(place) = place("a_container_is_a_scope", Answer::Done) else { return };
    let id = place.bundle.id.clone();
    place.run(&["create", &id]).expect(0).unwrap();
    let calls = place.take();
    let members: Vec<&str> = calls.iter().map(|(m, _)| m.as_str()).collect();
    assert_eq!(members, ["Hello", "AddMatch", "Subscribe", "StartTransientUnit"]);
    let state = place.bundle.runtime().state(&id).unwrap();
    let pid = state["pid"].as_u64().unwrap() as u32;
    let body = &calls[3].1;
    let scope = format!("pre-{id}.scope");
    let slice = format!("runetest-{}.slice", std::process::id());
    for part in [scope.as_bytes(), slice.as_bytes(), b"Delegate", b"TasksMax", b"DeviceAllow"] {
        assert!(has(body, part), "{}", String::from_utf8_lossy(part));
    }
    assert!(has(body, &pid.to_le_bytes()) && has(body, &77u64.to_le_bytes()));
    if place.group("pids").join("pids.max").exists() {
        let read = |controller: &str, file: &str| {
            let path = place.group(controller).join(file);
            std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        };
        assert_eq!(read("pids", "pids.max").trim(), "77");
        assert!(read("memory", "cgroup.procs").contains(&pid.to_string()));
    }
    place.run(&["start", &id]).expect(0).unwrap();
    place.run(&["update", "--pids-limit", "55", &id]).expect(0).unwrap();
    let calls = place.take();
    let update = calls.iter().find(|(m, _)| m == "SetUnitProperties").unwrap();
    assert!(has(&update.1, b"TasksMax") && has(&update.1, &55u64.to_le_bytes()));
    place.run(&["delete", "--force", &id]).expect(0).unwrap();
    let calls = place.take();
    for member in ["StopUnit", "ResetFailedUnit"] {
        let call = calls.iter().find(|(m, _)| m == member).unwrap();
        assert!(has(&call.1, scope.as_bytes()), "{member}");
    }
    assert!(!place.group("pids").exists());
    place.bundle.expect_nothing_left().unwrap();
}

#[test]
fn a_refusal_of_systemd_is_told_and_nothing_is_left() {
    for (answer, parts) in [
        (Answer::Refuses, ["StartTransientUnit", "not to my taste"]),
        (Answer::JobFails, [".scope: the job ended as", "failed"]),
        (Answer::Hangs, ["StartTransientUnit", "systemd"]),
    ] {
        let name = "a_refusal_of_systemd_is_told_and_nothing_is_left";
        let Some(place) = place(name, answer) else { return };
        let outcome = place.run(&["create", &place.bundle.id]);
        assert_eq!(outcome.code, 1);
        for part in parts {
            assert!(outcome.stderr.contains(part), "{part}: {}", outcome.stderr);
        }
        assert!(!place.group("pids").exists());
        place.bundle.expect_nothing_left().unwrap();
    }
}

#[test]
fn another_kind_of_path_is_refused_by_field() {
    let name = "another_kind_of_path_is_refused_by_field";
    let Some(mut place) = place(name, Answer::Done) else { return };
    place.bundle.set("/linux/cgroupsPath", json!("/docker/x"));
    let outcome = place.run(&["create", &place.bundle.id]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("slice:prefix:name"), "{}", outcome.stderr);
    assert!(place.take().is_empty());
    place.bundle.expect_nothing_left().unwrap();
}
