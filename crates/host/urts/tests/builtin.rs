//! The built-in runtime through the interface that `init-runelet` drives.

mod fake;

use fake::{Fake, Thread, pack};
use hostcall::{Event, Request};
use pal::{Attributes, EnclaveRuntime, PalError, Process, ProcessId, Target, User, WaitStatus};
use std::ffi::CStr;
use std::os::fd::AsFd;
use std::sync::Arc;
use urts::{BuiltIn, Options};

fn runtime(script: impl Fn(&mut Thread) + Send + Sync + 'static) -> Arc<BuiltIn<Fake>> {
    let root = std::fs::File::open("/tmp").unwrap().into();
    Arc::new(BuiltIn::new(Fake::new(script), pack(), root, Options::default()))
}

fn prepare(runtime: &BuiltIn<Fake>, request: Option<&'static CStr>) -> Result<ProcessId, PalError> {
    let null = std::fs::File::options().read(true).write(true).open("/dev/null").unwrap();
    runtime.create_process(&Process {
        path: c"/bin/true",
        argv: &[],
        env: &[],
        stdio: [null.as_fd(); 3],
        cwd: c"/",
        user: User::default(),
        has_terminal: false,
        request,
    })
}

fn next_event(thread: &mut Thread) -> Event {
    Event::decode(&thread.data(Request::NextEvent {}).unwrap()).unwrap()
}

#[test]
fn processes_run_are_signalled_and_end() {
    let runtime = runtime(|thread| {
        let request = thread.data(Request::SessionRequest { session: 0, offset: 0 }).unwrap();
        assert_eq!(request, b"{\"first\":1}");
        let Event::Exec { session, .. } = next_event(thread) else { panic!("expected an exec") };
        let winch = Event::Signal { session, signal: 28 };
        assert_eq!(next_event(thread), Event::WindowSize { session });
        assert_eq!(next_event(thread), winch);
        thread.ask(Request::SessionEnded { session, status: 9 }).unwrap();
        let Event::Exec { session, .. } = next_event(thread) else { panic!("expected an exec") };
        thread.ask(Request::SessionRefused { session, reason: b"argv: not listed" }).unwrap();
        assert_eq!(next_event(thread), Event::Signal { session: 0, signal: 15 });
        thread.exit(3);
    });
    assert!(runtime.is_emulated());
    let early = prepare(&runtime, Some(c"{}")).unwrap_err();
    assert_eq!(early.to_string(), "pal create_process(): expected init() before it");
    runtime.init(&Attributes::default()).unwrap();
    let again = runtime.init(&Attributes::default()).unwrap_err();
    assert_eq!(again.to_string(), "pal init(): expected to be called once");
    assert_eq!(prepare(&runtime, None), Err(PalError::Argument { field: "request" }));

    let first = prepare(&runtime, Some(c"{\"first\":1}")).unwrap();
    assert_eq!(first, ProcessId(1));
    let unknown = PalError::NoProcess { got: 2 };
    assert_eq!(runtime.kill(Target::Process(ProcessId(2)), 15), Err(unknown));
    let waiter = {
        let runtime = Arc::clone(&runtime);
        std::thread::spawn(move || runtime.exec(first))
    };
    let second = prepare(&runtime, Some(c"{\"exec\":2}")).unwrap();
    // It does not run yet; the signals wait for it.
    runtime.kill(Target::Process(second), 28).unwrap();
    runtime.kill(Target::Process(second), 28).unwrap();
    let executed = {
        let runtime = Arc::clone(&runtime);
        std::thread::spawn(move || runtime.exec(second))
    };
    assert_eq!(executed.join().unwrap(), Ok(WaitStatus(9)));
    assert_eq!(runtime.exec(second), Err(PalError::NoProcess { got: 2 }));
    let third = prepare(&runtime, Some(c"{\"exec\":3}")).unwrap();
    assert_eq!(runtime.exec(third), Err(PalError::Refused("argv: not listed".to_owned())));
    assert_eq!(runtime.kill(Target::All, 500), Err(PalError::Argument { field: "sig" }));
    assert_eq!(runtime.kill(Target::All, 0), Err(PalError::Argument { field: "sig" }));
    runtime.kill(Target::All, 15).unwrap();
    assert_eq!(waiter.join().unwrap(), Ok(WaitStatus::exited(3)));
    let ended = runtime.get_local_report(&[0; 512]).unwrap_err();
    assert!(matches!(ended, PalError::Ended(_)), "{ended}");
    runtime.destroy().unwrap();
    assert!(runtime.destroy().is_err());
}

#[test]
fn destroy_ends_what_runs_and_a_refusal_says_why() {
    let stopped = runtime(|thread| while thread.data(Request::NextEvent {}).is_ok() {});
    stopped.init(&Attributes::default()).unwrap();
    let first = prepare(&stopped, Some(c"{}")).unwrap();
    let waiter = {
        let runtime = Arc::clone(&stopped);
        std::thread::spawn(move || runtime.exec(first))
    };
    stopped.kill(Target::All, 15).unwrap();
    stopped.destroy().unwrap();
    let ended = waiter.join().unwrap().unwrap_err();
    let is_stop = match &ended {
        PalError::Ended(line) => line.contains("asked by the caller"),
        // The thread had not looked for its process yet.
        other => matches!(other, PalError::State { .. } | PalError::NoProcess { .. }),
    };
    assert!(is_stop, "{ended}");

    let refusing = runtime(|thread| {
        let _ = thread.ask(Request::Refuse { reason: b"env LD_PRELOAD: expected none" });
    });
    refusing.init(&Attributes::default()).unwrap();
    let first = prepare(&refusing, Some(c"{}")).unwrap();
    let line = "refused by the enclave: env LD_PRELOAD: expected none";
    assert_eq!(refusing.exec(first), Err(PalError::Refused(line.to_owned())));
}

#[test]
fn a_local_report_is_asked_of_the_running_enclave() {
    let runtime = runtime(|thread| {
        let Event::Report { ticket } = next_event(thread) else { panic!("expected a report") };
        assert_eq!(thread.data(Request::ReportTarget { ticket: ticket + 1 }), Err(3), "ESRCH");
        assert_eq!(thread.data(Request::ReportTarget { ticket }).unwrap(), [7; 512]);
        assert_eq!(thread.ask(Request::ReportMade { ticket, report: &[1; 431] }), Err(22));
        thread.ask(Request::ReportMade { ticket, report: &[1; 432] }).unwrap();
        let Event::Report { ticket } = next_event(thread) else { panic!("expected a report") };
        thread.ask(Request::ReportMade { ticket, report: &[] }).unwrap();
        assert_eq!(next_event(thread), Event::Signal { session: 0, signal: 15 });
        thread.exit(0);
    });
    assert!(matches!(runtime.get_local_report(&[7; 512]), Err(PalError::State { .. })));
    runtime.init(&Attributes::default()).unwrap();
    let early = runtime.get_local_report(&[7; 512]).unwrap_err();
    let expected = "pal get_local_report(): expected exec() of the first process before it";
    assert_eq!(early.to_string(), expected);
    let first = prepare(&runtime, Some(c"{}")).unwrap();
    let waiter = {
        let runtime = Arc::clone(&runtime);
        std::thread::spawn(move || runtime.exec(first))
    };
    let report = loop {
        match runtime.get_local_report(&[7; 512]) {
            // The thread has not started the process yet.
            Err(PalError::State { .. }) => std::thread::yield_now(),
            report => break report,
        }
    };
    assert_eq!(report, Ok([1; 432]));
    let refused = runtime.get_local_report(&[8; 512]);
    assert_eq!(refused, Err(PalError::Argument { field: "targetinfo" }));
    runtime.kill(Target::All, 15).unwrap();
    assert_eq!(waiter.join().unwrap(), Ok(WaitStatus::exited(0)));
}
