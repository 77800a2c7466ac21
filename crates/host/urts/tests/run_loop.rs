//! The run loop and the thread pool against a scripted enclave.

mod fake;

use fake::{FIRST, Fake, Operation, SECOND, THIRD, Thread, no_streams, pack, pack_of};
use hostcall::{ExitReason, Protection, Request, TypeChange};
use sgx::driver::{EntryLeaf, Exit, ModifiedType};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use urts::{Enclave, ExitStatus, HandleError, Level, LoadError, Log, Options, StopReason};

fn root() -> std::os::fd::OwnedFd {
    std::fs::File::open("/var/empty").or_else(|_| std::fs::File::open("/tmp")).unwrap().into()
}

fn start_with(fake: &Fake, options: Options) -> Enclave {
    let enclave = Enclave::load(fake, pack(), root(), options).unwrap();
    enclave.start(b"{}".to_vec(), no_streams()).unwrap();
    enclave
}

fn run(fake: &Fake) -> ExitStatus {
    start_with(fake, Options::default()).wait()
}

#[test]
fn loading_adds_initialises_and_protects_in_this_order() {
    let fake = Fake::new(|_| {});
    Enclave::load(&fake, pack(), root(), Options::default()).unwrap();
    let operations = fake.operations.lock().unwrap().clone();
    let add = |offset, measured| Operation::Add { offset, measured };
    let expected = [
        add(FIRST, true),
        add(SECOND, true),
        add(THIRD, true),
        add(0x20000, false),
        add(0x21000, true),
        Operation::Init,
        Operation::Protect(FIRST, 0x13000, 3),
        Operation::Protect(0x20000, 0x21000, 3),
        Operation::Protect(0x21000, 0x22000, 5),
    ];
    assert_eq!(operations, expected);
}

#[test]
fn a_bad_pack_is_refused_with_the_field() {
    let load = |sgxs: &[u8], sigstruct: &[u8]| {
        let result =
            Enclave::load(&Fake::new(|_| {}), pack_of(sgxs, sigstruct), root(), Options::default());
        result.unwrap_err()
    };
    assert_eq!(load(b"", &[0; 1807]).to_string(), "enclave.sig: expected 1808 bytes, got 1807");
    assert!(load(b"", &[0; 1808]).to_string().starts_with("enclave.sgxs: "));
    assert!(matches!(load(&[0; 64], &[0; 1808]), LoadError::Sgxs(_)));
    let mut ecreate = [0; 64];
    ecreate[..8].copy_from_slice(b"ECREATE\0");
    ecreate[8] = 1;
    ecreate[14] = 1;
    let message = load(&ecreate, &[0; 1808]).to_string();
    assert_eq!(message, "enclave.sgxs: expected a TCS page, got none");
    let mut refused = [0; 1808];
    refused[0] = 0xee;
    assert_eq!(load(&ecreate, &refused).to_string(), "EINIT: SGX_INVALID_SIGNATURE (8)");
}

#[test]
fn the_exit_status_comes_out_and_ends_later_calls() {
    let enclave = start_with(&Fake::new(|thread| thread.exit(42)), Options::default());
    assert_eq!(enclave.wait(), ExitStatus::Exited(42 << 8));
    assert_eq!(enclave.status(), Some(ExitStatus::Exited(42 << 8)));
    let ended = Err(HandleError::Ended(ExitStatus::Exited(42 << 8)));
    assert_eq!(enclave.signal(0, 15), ended);
    assert_eq!(enclave.exec(Vec::new(), no_streams()).map(|_| ()), ended);
}

#[test]
fn a_refusal_comes_out_printable_and_every_line_says_emulated() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&lines);
    let log = Log::new(move |level, line| seen.lock().unwrap().push((level, line.to_owned())));
    let fake = Fake::new(|thread| {
        thread.ask(Request::Log { level: 2, line: b"look\x1b[2J" }).unwrap();
        let _ = thread.ask(Request::Refuse { reason: b"env LD_PRELOAD:\nexpected none" });
    });
    let enclave = start_with(&fake, Options { log, ..Options::default() });
    let reason = "env LD_PRELOAD:\\nexpected none".to_owned();
    assert_eq!(enclave.wait(), ExitStatus::Refused(reason));
    assert!(enclave.is_emulated());
    let lines = lines.lock().unwrap();
    assert!(lines.iter().all(|(_, line)| line.starts_with("emulated: ")), "{lines:?}");
    assert!(lines.contains(&(Level::Warn, "emulated: look\\u{1b}[2J".to_owned())), "{lines:?}");
}

#[test]
fn an_exception_is_handled_at_cssa_1_and_resumed() {
    let exception = Exit::Exception { leaf: 3, vector: 6, error_code: 0, address: 0 };
    let fake = Fake::new(move |thread| {
        thread.leave(exception);
        assert_eq!(thread.last.rdi, 0, "the exception entry gets no block");
        thread.eexit(ExitReason::Resume as u64);
        thread.leave(Exit::Interrupted);
        thread.eexit(ExitReason::Resume as u64);
        thread.exit(0);
    });
    assert_eq!(run(&fake), ExitStatus::Exited(0));
    let (enter, resume) = ((FIRST, EntryLeaf::Enter), (FIRST, EntryLeaf::Resume));
    assert_eq!(*fake.entries.lock().unwrap(), [enter, enter, resume, enter, resume]);
}

#[test]
fn what_the_abi_does_not_define_stops_the_enclave() {
    let stopped = |script: fn(&mut Thread)| match run(&Fake::new(script)) {
        ExitStatus::Stopped(reason) => reason,
        other => panic!("expected a stop, got {other}"),
    };
    assert_eq!(stopped(|thread| thread.eexit(5)), StopReason::UnknownExit { rdi: 5 });
    assert_eq!(stopped(|thread| thread.eexit(u64::MAX)), StopReason::UnknownExit { rdi: u64::MAX });
    assert_eq!(
        stopped(|thread| {
            thread.leave(Exit::Exception { leaf: 3, vector: 14, error_code: 6, address: 0x5000 });
            thread.eexit(ExitReason::Fatal as u64);
        }),
        StopReason::FatalException { last: Some((14, 6, 0x5000)) }
    );
    assert_eq!(
        stopped(|thread| thread.leave(Exit::Exception {
            leaf: 2,
            vector: 13,
            error_code: 0,
            address: 0
        })),
        StopReason::EntryFault { tcs: FIRST, vector: 13 }
    );
    assert_eq!(stopped(|_| {}), StopReason::FirstThreadEnded);
    // An empty block holds no request of this version.
    let reason = stopped(|thread| thread.eexit(ExitReason::Call as u64));
    assert_eq!(
        reason.to_string(),
        "bad request of the enclave: host-call version: expected 1, got 0"
    );
    let reason = stopped(|thread| {
        let _ = thread.ask(Request::Unpark { tcs: 0x1001 });
    });
    assert_eq!(
        reason.to_string(),
        "bad request of the enclave: tcs of host call Unpark: got 0x1001, outside its domain"
    );
}

#[test]
fn threads_start_park_wake_and_end() {
    let fake = Fake::new(|thread| {
        thread.ask(Request::ThreadSpawn { tcs: SECOND }).unwrap();
        assert_eq!(thread.ask(Request::ThreadSpawn { tcs: SECOND }), Err(16), "EBUSY");
        assert_eq!(thread.ask(Request::ThreadSpawn { tcs: FIRST }), Err(16), "EBUSY");
        assert_eq!(thread.ask(Request::Unpark { tcs: THIRD }), Err(3), "ESRCH");
        // The second thread wakes this one after 20 ms; a park may return for no reason before.
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(20) {
            thread.ask(Request::Park { timeout_ns: 10_000_000_000 }).unwrap();
        }
        assert!(start.elapsed() < Duration::from_secs(5), "woken, not timed out");
        // It ends; then its TCS can be entered afresh.
        while thread.ask(Request::ThreadSpawn { tcs: SECOND }) == Err(16) {}
        thread.ask(Request::Park { timeout_ns: 1_000_000 }).unwrap();
        thread.exit(0);
    })
    .thread(SECOND, |thread| {
        std::thread::sleep(Duration::from_millis(25));
        thread.ask(Request::Unpark { tcs: FIRST }).unwrap();
    });
    assert_eq!(run(&fake), ExitStatus::Exited(0));
}

#[test]
fn an_unpark_before_the_park_is_not_lost() {
    let fake = Fake::new(|thread| {
        thread.ask(Request::Unpark { tcs: FIRST }).unwrap();
        let start = Instant::now();
        thread.ask(Request::Park { timeout_ns: 5_000_000_000 }).unwrap();
        assert!(start.elapsed() < Duration::from_secs(4));
        thread.exit(0);
    });
    assert_eq!(run(&fake), ExitStatus::Exited(0));
}

#[test]
fn the_host_bounds_threads() {
    let fake = Fake::new(|thread| {
        thread.ask(Request::ThreadSpawn { tcs: SECOND }).unwrap();
        assert_eq!(thread.ask(Request::ThreadSpawn { tcs: THIRD }), Err(11), "EAGAIN");
        thread.exit(0);
    })
    .thread(SECOND, |thread| {
        let _ = thread.ask(Request::Park { timeout_ns: hostcall::NO_DEADLINE });
    });
    let options = Options { max_threads: 2, spare_threads: 0, ..Options::default() };
    assert_eq!(start_with(&fake, options).wait(), ExitStatus::Exited(0));
}

#[test]
fn an_entry_that_the_driver_refuses_stops_the_enclave() {
    let fake = Fake::new(|thread| {
        thread.ask(Request::ThreadSpawn { tcs: THIRD }).unwrap();
        let _ = thread.ask(Request::Park { timeout_ns: hostcall::NO_DEADLINE });
    });
    let status = run(&fake).to_string();
    let expected = "stopped: the SGX driver failed: EENTER: TCS: expected 0x10000, got 0x12000";
    assert_eq!(status, expected);
}

#[test]
fn memory_calls_reach_the_driver_and_its_refusal_the_enclave() {
    let fake = Fake::new(|thread| {
        let (offset, length) = (0x30000, 0x2000);
        let protection = Protection(1);
        thread.ask(Request::Protect { offset, length, protection }).unwrap();
        thread.ask(Request::Restrict { offset, length, protection }).unwrap();
        thread.ask(Request::ModifyType { offset, length, to: TypeChange::Trim }).unwrap();
        thread.ask(Request::ModifyType { offset, length, to: TypeChange::Tcs }).unwrap();
        thread.ask(Request::Remove { offset, length }).unwrap();
        let outside = Request::Protect { offset: 1 << 20, length, protection };
        assert_eq!(thread.ask(outside), Err(12));
        thread.exit(0);
    });
    assert_eq!(run(&fake), ExitStatus::Exited(0));
    let operations = fake.operations.lock().unwrap();
    let loading =
        operations.iter().position(|operation| *operation == Operation::Init).unwrap() + 4;
    let expected = [
        Operation::Protect(0x30000, 0x32000, 1),
        Operation::Restrict(0x30000, 0x32000, 1),
        Operation::ModifyType(0x30000, 0x32000, ModifiedType::Trim),
        Operation::ModifyType(0x30000, 0x32000, ModifiedType::Tcs),
        Operation::Remove(0x30000, 0x32000),
    ];
    assert_eq!(operations[loading..loading + 5], expected);
}

#[test]
fn stop_ends_waiting_threads_and_starts_no_other() {
    let entered = Arc::new(AtomicU32::new(0));
    let (count, inside) = (Arc::clone(&entered), Arc::clone(&entered));
    let fake = Fake::new(move |thread| {
        thread.ask(Request::ThreadSpawn { tcs: SECOND }).unwrap();
        thread.ask(Request::ThreadSpawn { tcs: THIRD }).unwrap();
        count.fetch_add(1, Ordering::SeqCst);
        let _ = thread.call(Request::NextEvent {}, &mut [0; 64]);
        panic!("entered after the stop");
    })
    .thread(SECOND, |thread| {
        let _ = thread.ask(Request::Park { timeout_ns: hostcall::NO_DEADLINE });
        panic!("entered after the stop");
    })
    .thread(THIRD, move |_| {
        inside.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_secs(60));
    });
    let enclave = start_with(&fake, Options::default());
    while entered.load(Ordering::SeqCst) != 2 {
        std::thread::yield_now();
    }
    enclave.stop();
    assert_eq!(enclave.wait(), ExitStatus::Stopped(StopReason::Asked));
    let again = enclave.start(Vec::new(), no_streams()).unwrap_err();
    assert_eq!(again, HandleError::Ended(ExitStatus::Stopped(StopReason::Asked)));
    std::thread::sleep(Duration::from_millis(20));
    let kicked = fake.operations.lock().unwrap();
    assert!(kicked.contains(&Operation::Kick(THIRD)), "threads inside are interrupted");
}
