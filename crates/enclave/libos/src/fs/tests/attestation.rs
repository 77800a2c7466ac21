//! /dev/attestation: who may open what, what the files hold, and what a hostile host's quotes come to.

use crate::attestation::bound::tests::record;
use crate::attestation::quote::tests::unsigned;
use crate::errno::Errno;
use crate::fs::attestation::{Attestation, MAX_QUOTES};
use crate::fs::mount::{MountFlags, Namespace};
use crate::fs::stat::Time;
use crate::fs::testing::Arg::{N, P, S};
use crate::fs::testing::{Quotes, RecordingHost, TestTask};
use crate::platform::REPORT_SIZE;
use crate::testing::Machine;
use sha2::{Digest as _, Sha384};
use std::sync::{Arc, Condvar, Mutex};
use workload::digest::Hex;
use workload::manifest::AttestationFiles;

const RDONLY: i64 = 0;
const WRONLY: i64 = 1;
const RDWR: i64 = 2;
const NONBLOCK: i64 = 0o4000;

struct World {
    host: &'static RecordingHost,
    attestation: Arc<Attestation>,
    task: TestTask,
}

/// User 0 may open all files, on a host whose quotes are of the right shape.
fn world() -> World {
    let files = AttestationFiles::NAMES.iter().map(|name| (*name).to_string()).collect();
    world_of(AttestationFiles { uids: vec![0], files })
}

fn world_of(allowed: AttestationFiles) -> World {
    world_with(allowed, None)
}

fn world_with(allowed: AttestationFiles, attester: Option<u32>) -> World {
    let attester = attester.map(|uid| (uid, &["bound", "claims"][..]));
    let host: &'static RecordingHost = Box::leak(Box::default());
    let machine = Machine::with_host(1000, host);
    let attestation = Attestation::new(machine, &allowed, attester, &Hex([0xcd; 32]));
    let root = attestation.tree(Time::default());
    let namespace = Namespace::new(root, "attestation", "attestation", MountFlags::default());
    let world = World { host, attestation, task: TestTask::over(machine, namespace) };
    world.quotes(|report| Ok(unsigned(report)));
    world
}

impl World {
    fn quotes(
        &self,
        make: impl Fn(&[u8; REPORT_SIZE]) -> Result<Vec<u8>, Errno> + Send + Sync + 'static,
    ) {
        *self.host.quotes.lock().unwrap() = Some(Arc::new(make) as Quotes);
    }

    /// Another process, in the same tree.
    fn process(&self, pid: u32) -> TestTask {
        TestTask { pid, ..self.task.sibling() }
    }

    fn logged(&self, words: &str) -> bool {
        self.host.log.lock().unwrap().iter().any(|line| line.contains(words))
    }
}

impl TestTask {
    fn open_at(&self, path: &str, flags: i64) -> Result<i64, Errno> {
        self.call(2, &[S(path.as_bytes()), N(flags), N(0)]).map(|fd| fd as i64)
    }

    fn put(&self, fd: i64, bytes: &[u8]) -> Result<u64, Errno> {
        self.set_buffer(0, bytes);
        self.call(1, &[N(fd), P(0), N(bytes.len() as i64)])
    }

    fn get(&self, fd: i64) -> Result<Vec<u8>, Errno> {
        let mut all = Vec::new();
        loop {
            // In odd pieces, so that positions matter.
            match self.call(0, &[N(fd), P(0), N(333)])? {
                0 => return Ok(all),
                count => all.extend(self.buffer(0, count as usize)),
            }
        }
    }

    fn set(&self, path: &str, bytes: &[u8]) -> Result<u64, Errno> {
        let fd = self.open_at(path, WRONLY)?;
        self.put(fd, bytes)
    }

    fn contents(&self, path: &str) -> Result<Vec<u8>, Errno> {
        let fd = self.open_at(path, RDONLY)?;
        self.get(fd)
    }
}

#[test]
fn only_listed_users_open_listed_files() {
    let world =
        world_of(AttestationFiles { uids: vec![33], files: vec!["quote".into(), "keys".into()] });
    // User 0 is no exception.
    assert_eq!(world.task.open_at("/quote", RDONLY), Err(Errno::EACCES));
    let mut user = world.task.credentials.lock().unwrap();
    (user.fsuid, user.euid) = (33, 33);
    drop(user);
    assert!(world.task.open_at("/quote", RDONLY).is_ok());
    assert!(world.task.open_at("/keys/_sgx_mrenclave", RDONLY).is_ok());
    assert!(world.task.open_at("/keys/mrenclave/data", RDONLY).is_ok());
    for (path, flags) in [
        ("/report", RDONLY),
        ("/bound", RDWR),
        ("/user_report_data", WRONLY),
        ("/claims", RDONLY),
        ("/attestation_type", RDONLY),
    ] {
        assert_eq!(world.task.open_at(path, flags), Err(Errno::EACCES), "{path}");
    }
    assert_eq!(world.task.open_at("/quote", RDWR), Err(Errno::EACCES), "read-only");
    assert_eq!(world.task.open_at("/keys/default", RDONLY), Err(Errno::ENOENT));
    let nobody = world_of(AttestationFiles { uids: vec![], files: vec!["quote".into()] });
    assert_eq!(nobody.task.open_at("/quote", RDONLY), Err(Errno::EACCES));
}

#[test]
fn beside_an_attester_bound_is_its_alone() {
    let files = AttestationFiles::NAMES.iter().map(|name| (*name).to_string()).collect();
    let world = world_with(AttestationFiles { uids: vec![0], files }, Some(65_500));
    assert_eq!(world.task.open_at("/bound", RDWR), Err(Errno::EACCES));
    assert!(world.task.open_at("/claims", RDONLY).is_ok());
    assert!(world.task.open_at("/quote", RDONLY).is_ok());
    let mut user = world.task.credentials.lock().unwrap();
    (user.fsuid, user.euid) = (65_500, 65_500);
    drop(user);
    assert!(world.task.open_at("/bound", RDWR).is_ok());
    assert!(world.task.open_at("/claims", RDONLY).is_ok());
    assert_eq!(world.task.open_at("/quote", RDONLY), Err(Errno::EACCES), "not at its level");
}

#[test]
fn a_report_carries_what_was_written_for_whom_it_was_written() {
    let world = world();
    let task = &world.task;
    assert_eq!(task.contents("/attestation_type").unwrap(), b"dcap");
    assert_eq!(task.contents("/user_report_data").unwrap(), [0; 64]);
    let own = task.contents("/my_target_info").unwrap();
    assert_eq!((own.len(), own[0]), (512, 0x11));
    assert_eq!(task.set("/target_info", &own), Ok(512));
    assert_eq!(task.set("/user_report_data", b"short"), Ok(5));
    let report = task.contents("/report").unwrap();
    assert_eq!(report.len(), 432);
    let mut padded = [0; 64];
    padded[..5].copy_from_slice(b"short");
    assert_eq!(report[320..384], padded);
    assert_eq!(report[416..], [0x11; 16], "for the target that was written");
    // In two pieces; the whole counts.
    let fd = task.open_at("/user_report_data", RDWR).unwrap();
    assert_eq!(task.put(fd, &[1; 40]), Ok(40));
    assert_eq!(task.put(fd, &[2; 24]), Ok(24));
    let data = [[1; 40].as_slice(), &[2; 24]].concat();
    assert_eq!(task.contents("/report").unwrap()[320..384], data);
    assert_eq!(task.put(fd, &[3]), Err(Errno::EINVAL), "a 65th byte");
    assert_eq!(task.contents("/user_report_data").unwrap(), data);
    assert_eq!(task.set("/target_info", &[0xff; 512]), Ok(512));
    assert_eq!(task.contents("/report"), Err(Errno::EINVAL), "reserved bytes");
    assert_eq!(task.set("/target_info", &[0; 513]), Err(Errno::EINVAL));
}

#[test]
fn the_tag_of_bound_evidence_cannot_be_written() {
    let world = world();
    let task = &world.task;
    let mut tagged = [7; 64];
    tagged[48..].copy_from_slice(b"EAA-BOUND-V1\0\0\0\0");
    assert_eq!(task.set("/user_report_data", &tagged), Err(Errno::EPERM));
    assert_eq!(task.set("/user_report_data", &tagged[..60]), Err(Errno::EPERM), "by padding");
    assert_eq!(task.contents("/user_report_data").unwrap(), [0; 64], "nothing changed");
    let fd = task.open_at("/user_report_data", RDWR).unwrap();
    assert_eq!(task.put(fd, &tagged[..50]), Ok(50));
    assert_eq!(task.put(fd, &tagged[50..]), Err(Errno::EPERM), "in pieces");
    assert_ne!(task.contents("/user_report_data").unwrap(), tagged);
    assert!(world.logged("EAA-BOUND-V1"));
}

#[test]
fn processes_have_what_they_wrote_and_share_what_they_did_not() {
    let world = world();
    let (shell, worker, cat) = (&world.task, world.process(2), world.process(3));
    shell.set("/user_report_data", b"shell").unwrap();
    assert_eq!(cat.contents("/quote").unwrap()[48 + 320..][..5], *b"shell");
    worker.set("/user_report_data", b"worker").unwrap();
    assert_eq!(shell.contents("/quote").unwrap()[48 + 320..][..5], *b"shell");
    assert_eq!(worker.contents("/quote").unwrap()[48 + 320..][..6], *b"worker");
    assert_eq!(cat.contents("/quote").unwrap()[48 + 320..][..6], *b"worker", "the last");
    // A new process with an old number has nothing of the old one's, not even by a file that the old one passed on.
    let passed = shell.open_at("/user_report_data", RDWR).unwrap();
    world.attestation.forget(1);
    shell.put(passed, b"passed").unwrap();
    worker.set("/user_report_data", b"worker").unwrap();
    assert_eq!(shell.contents("/quote").unwrap()[48 + 320..][..6], *b"worker");
    assert_eq!(shell.get(passed).unwrap()[..], [0; 58], "read on at its offset");
}

#[test]
fn what_is_not_a_quote_of_this_report_is_an_error() {
    let world = world();
    let task = &world.task;
    task.set("/user_report_data", &[9; 64]).unwrap();
    let first = task.contents("/quote").unwrap();
    assert_eq!(first[48 + 320..48 + 384], [9; 64]);
    let replay = first.clone();
    type Lie = Box<dyn Fn(&[u8; REPORT_SIZE]) -> Vec<u8> + Send + Sync>;
    let lies: Vec<(&str, Lie)> = vec![
        ("length of", Box::new(|_| Vec::new())),
        ("length of", Box::new(|report| unsigned(report)[..435].to_vec())),
        ("signature data", Box::new(|report| unsigned(report)[..500].to_vec())),
        ("version", Box::new(|_| vec![0xee; 4000])),
        ("report data", Box::new(move |_| replay.clone())),
        (
            "MRENCLAVE",
            Box::new(|report| {
                let mut other = *report;
                other[64..96].fill(0x22);
                unsigned(&other)
            }),
        ),
    ];
    task.set("/user_report_data", &[8; 64]).unwrap();
    for (field, lie) in lies {
        world.host.log.lock().unwrap().clear();
        world.quotes(move |report| Ok(lie(report)));
        assert_eq!(task.contents("/quote"), Err(Errno::EIO), "{field}");
        assert!(world.logged(field), "{field}: {:?}", world.host.log.lock().unwrap());
    }
    world.quotes(|_| Err(Errno::ENOENT));
    assert_eq!(task.contents("/quote"), Err(Errno::EIO), "the service failed");
    *world.host.quotes.lock().unwrap() = None;
    assert_eq!(task.contents("/quote"), Err(Errno::ENODEV), "there is no service");
}

#[test]
fn bound_quotes_the_record_with_the_library_oss_claims() {
    let world = world();
    let task = &world.task;
    let claims = task.contents("/claims").unwrap();
    assert!(claims.windows(32).any(|window| window == [0xcd; 32]), "the config digest");
    for flags in [RDONLY, WRONLY] {
        assert_eq!(task.open_at("/bound", flags), Err(Errno::EINVAL));
    }
    let fd = task.open_at("/bound", RDWR).unwrap();
    assert_eq!(task.get(fd), Err(Errno::ENODATA), "nothing to quote yet");
    assert_eq!(task.put(fd, b"not a record"), Err(Errno::EINVAL));
    assert!(world.logged("length of the record"));
    let (record, short) = (record(b"custom"), record(b""));
    assert_eq!(task.put(fd, &record), Ok(record.len() as u64));
    let quote = task.get(fd).unwrap();
    let data = &quote[48 + 320..48 + 384];
    assert_eq!(data[48..], *b"EAA-BOUND-V1\0\0\0\0");
    let claims_digest = Sha384::digest([&claims, b"custom".as_slice()].concat());
    let fields = [&record[8..9], &record[12..208], &claims_digest].concat();
    let hash = Sha384::digest([b"inclavare-bound-v1\0", fields.as_slice()].concat());
    assert_eq!(data[..48], hash[..]);
    assert_eq!(task.get(fd).unwrap(), b"", "read to its end");
    // Another open file has another record, or none.
    let other = task.open_at("/bound", RDWR).unwrap();
    assert_eq!(task.get(other), Err(Errno::ENODATA));
    assert_eq!(task.put(fd, &short), Ok(208));
    assert_ne!(task.get(fd).unwrap(), quote, "a new record, a new quote");
}

#[test]
fn keys_are_16_bytes_of_their_volume() {
    let world = world();
    let task = &world.task;
    let key = |path: &str| task.contents(path);
    let own = key("/keys/_sgx_mrenclave").unwrap();
    assert_eq!(own.len(), 16);
    assert_eq!(key("/keys/_sgx_mrenclave").unwrap(), own);
    assert_ne!(key("/keys/mrenclave/data").unwrap(), own);
    assert_ne!(key("/keys/mrenclave/data").unwrap(), key("/keys/mrenclave/logs").unwrap());
    let zeros = "0".repeat(32);
    let earlier = key(&format!("/keys/mrenclave/data@3.{zeros}"));
    assert_eq!(earlier, key("/keys/mrenclave/data"), "the double looks at KEYID alone");
    assert_eq!(key(&format!("/keys/mrenclave/data@4.{zeros}")), Err(Errno::EINVAL));
    assert_eq!(key("/keys/mrenclave/a@b"), Err(Errno::ENOENT));
    assert_eq!(key("/keys/_sgx_mrsigner"), Err(Errno::ENOENT), "no identity");
    assert_eq!(task.open_at("/keys/_sgx_mrenclave", WRONLY), Err(Errno::EACCES));
}

#[test]
fn quotes_in_the_making_are_bounded_and_others_wait() {
    let world = world();
    let gate = Arc::new((Mutex::new((0, false)), Condvar::new()));
    let doors = gate.clone();
    world.quotes(move |report| {
        let (state, changed) = &*doors;
        let mut state = state.lock().unwrap();
        state.0 += 1;
        changed.notify_all();
        while !state.1 {
            state = changed.wait(state).unwrap();
        }
        Ok(unsigned(report))
    });
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..MAX_QUOTES + 2)
            .map(|at| {
                let task = world.process(10 + at as u32);
                scope.spawn(move || task.contents("/quote").map(|quote| quote.len()))
            })
            .collect();
        let (state, changed) = &*gate;
        let mut now = state.lock().unwrap();
        while now.0 < MAX_QUOTES {
            now = changed.wait(now).unwrap();
        }
        drop(now);
        let fd = world.task.open_at("/quote", RDONLY | NONBLOCK).unwrap();
        assert_eq!(world.task.get(fd), Err(Errno::EAGAIN));
        assert_eq!(state.lock().unwrap().0, MAX_QUOTES);
        state.lock().unwrap().1 = true;
        changed.notify_all();
        for reader in readers {
            assert_eq!(reader.join().unwrap(), Ok(536));
        }
    });
}

#[test]
fn instances_differ_and_the_configuration_is_a_claim() {
    let world = world();
    let claims = world.task.contents("/claims").unwrap();
    assert_eq!(claims, world.task.contents("/claims").unwrap());
    assert!(claims.starts_with(b"\xa3\x6binstance-id\x50"));
    assert_eq!(claims[14..30], [0x5a; 16], "from the enclave's generator");
}
