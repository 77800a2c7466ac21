//! Runtime libraries of every version, compiled from C, through the loader.

use pal::{
    Attributes, EnclaveRuntime, ExitConvention, Library, LoadError, LoadOptions, PalError, Policy,
    Pooled, ProbeError, Process, ProcessId, Target, User, WaitStatus,
};
use std::ffi::{CStr, CString};
use std::io::{PipeWriter, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

/// A directory that the policy lists, with libraries in it.
struct Libraries {
    directory: tempfile::TempDir,
}

impl Libraries {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let permissions = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path(), permissions).unwrap();
        Self { directory }
    }

    /// Compiles `tests/pals/SOURCE.c` with `defines` and loads it.
    fn load(&self, source: &str, defines: &[&str]) -> Result<Library, LoadError> {
        self.load_with(source, defines, LoadOptions::default())
    }

    fn load_with(
        &self,
        source: &str,
        defines: &[&str],
        options: LoadOptions,
    ) -> Result<Library, LoadError> {
        let manifest = env!("CARGO_MANIFEST_DIR");
        let name =
            format!("liberpal-{source}{}.so", std::fs::read_dir(&self.directory).unwrap().count());
        let path = self.directory.path().join(name);
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"])
            .args(defines.iter().map(|define| format!("-D{define}")))
            .arg(format!("-I{manifest}/include"))
            .arg("-o")
            .arg(&path)
            .arg(format!("{manifest}/tests/pals/{source}.c"))
            .status()
            .expect("a C compiler is installed as cc");
        assert!(compiled.success());
        let permissions = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, permissions).unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let policy = Policy::new(vec![self.directory.path().to_owned()], uid);
        Library::load(&policy, &path, None, options)
    }
}

struct Strings {
    argv: Vec<CString>,
    env: Vec<CString>,
    null: std::fs::File,
}

impl Strings {
    fn new() -> Self {
        Self {
            argv: vec![c"sh".into(), c"-c a b".into()],
            env: vec![c"A=1".into(), c"B=".into()],
            null: std::fs::File::options().read(true).write(true).open("/dev/null").unwrap(),
        }
    }

    fn process<'a>(&'a self, out: &'a PipeWriter) -> Process<'a> {
        Process {
            path: c"/bin/sh",
            argv: &self.argv,
            env: &self.env,
            stdio: [self.null.as_fd(), out.as_fd(), self.null.as_fd()],
            cwd: c"/tmp",
            user: User { uid: 5, gid: 6, additional_gids: &[7, 8] },
            has_terminal: true,
            request: Some(c"{\"argv\":[]}"),
        }
    }
}

fn attributes(args: &CStr) -> Attributes<'_> {
    Attributes { args, log_level: c"debug", ..Attributes::default() }
}

/// Initialises, prepares one process, runs `then`, and gives what the library said.
fn said(library: &Library, then: impl FnOnce(ProcessId)) -> String {
    let strings = Strings::new();
    let (mut reader, writer) = std::io::pipe().unwrap();
    library.init(&attributes(c"one two")).unwrap();
    let process = library.create_process(&strings.process(&writer)).unwrap();
    then(process);
    library.destroy().unwrap();
    drop(writer);
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    said
}

#[test]
fn version_1_runs_at_exec_and_gives_an_exit_code() {
    let library = Libraries::new().load("plain", &["PAL_VERSION=1"]).unwrap();
    assert_eq!(library.version(), 1);
    let said = said(&library, |process| {
        assert_eq!(library.exec(process), Ok(WaitStatus::exited(7)));
        assert_eq!(library.exec(process), Err(PalError::NoProcess { got: process.0 }));
        let missing = |symbol| PalError::NotImplemented { symbol, version: 1 };
        assert_eq!(library.kill(Target::All, 15), Err(missing("pal_kill")));
        let report = library.get_local_report(&[0; 512]);
        assert_eq!(report, Err(missing("pal_get_local_report")));
    });
    assert_eq!(said, "one two/debug /bin/sh [sh] [-c a b]");
}

#[test]
fn version_2_creates_then_runs_and_takes_signals() {
    let library = Libraries::new().load("plain", &["PAL_VERSION=2"]).unwrap();
    let said = said(&library, |process| {
        assert_eq!(process, ProcessId(11));
        assert_eq!(library.exec(process), Ok(WaitStatus(42 << 8)));
        library.kill(Target::All, 15).unwrap();
        library.kill(Target::Process(process), 9).unwrap();
        let refused = library.kill(Target::All, 64).unwrap_err();
        assert_eq!(refused.to_string(), "pal kill() failed with -22");
        let unknown = library.exec(ProcessId(99)).unwrap_err();
        assert_eq!(unknown, PalError::Returned { call: "exec", value: -3 });
        assert!(library.get_local_report(&[0; 512]).is_err());
    });
    let expected = "one two/debug /bin/sh [sh] [-c a b] {A=1} {B=} kill -1 15 kill 11 9";
    assert_eq!(said, expected);
}

#[test]
fn version_3_reports_and_adopts_a_pooled_enclave() {
    let library = Libraries::new().load("plain", &["PAL_VERSION=3"]).unwrap();
    let mut targetinfo = [0; 512];
    targetinfo[0] = 0x5a;
    said(&library, |_| {
        assert_eq!(library.get_local_report(&targetinfo), Ok([0x5a; 432]));
    });
    targetinfo[1] = 1;
    let positive = library.get_local_report(&targetinfo).unwrap_err();
    assert_eq!(positive, PalError::Returned { call: "get_local_report", value: 1 });
    let pooled = Some(Pooled { fd: 3, address: 0x1000 });
    library.init(&Attributes { pooled, ..Attributes::default() }).unwrap();
    let destroyed = library.destroy().unwrap_err();
    assert_eq!(destroyed, PalError::Returned { call: "destroy", value: -0x1003 });
}

#[test]
fn version_4_gets_user_directory_terminal_and_request() {
    let library = Libraries::new().load("plain", &["PAL_VERSION=4"]).unwrap();
    assert!(library.is_emulated());
    let said = said(&library, |process| {
        assert_eq!(library.exec(process), Ok(WaitStatus::exited(42)));
        library.kill(Target::Process(process), 9).unwrap();
        let killed = library.exec(process).unwrap();
        assert_eq!((killed, killed.exit_code()), (WaitStatus(9), 137));
    });
    let expected = "one two/debug /bin/sh [sh] [-c a b] {A=1} {B=} /tmp 5:6,7,8 flags 1 \
                    {\"argv\":[]} kill 11 9";
    assert_eq!(said, expected);

    let (mut log, writer) = std::io::pipe().unwrap();
    let root = std::fs::File::open("/").unwrap();
    let fds: [Option<BorrowedFd<'_>>; 2] = [Some(root.as_fd()), Some(writer.as_fd())];
    library.init(&Attributes { root: fds[0], log: fds[1], ..Attributes::default() }).unwrap();
    drop(writer);
    let mut line = String::new();
    log.read_to_string(&mut line).unwrap();
    assert_eq!(line, "root given\n");
}

#[test]
fn a_positive_value_passes_up_to_version_3_only() {
    let libraries = Libraries::new();
    for version in ["PAL_VERSION=1", "PAL_VERSION=2", "PAL_VERSION=3"] {
        let library = libraries.load("plain", &[version]).unwrap();
        assert_eq!(library.init(&attributes(c"positive")), Ok(()));
        let failed = library.init(&attributes(c"fail")).unwrap_err();
        assert_eq!(failed.to_string(), "pal init() failed with -2");
    }
    let library = libraries.load("plain", &["PAL_VERSION=4"]).unwrap();
    let failed = library.init(&attributes(c"positive")).unwrap_err();
    assert_eq!(failed, PalError::Returned { call: "init", value: 1 });
}

#[test]
fn exit_values_are_read_by_the_convention() {
    let libraries = Libraries::new();
    let exec = |defines: &[&str], exit_convention| {
        let options = LoadOptions { exit_convention, ..LoadOptions::default() };
        let library = libraries.load_with("plain", defines, options).unwrap();
        let mut status = None;
        said(&library, |process| status = Some(library.exec(process).unwrap()));
        status.unwrap().exit_code()
    };
    let (code, status) = (["PAL_VERSION=2", "EXIT_CODE"], ["PAL_VERSION=2"]);
    assert_eq!(exec(&code, ExitConvention::Guess), 42);
    assert_eq!(exec(&status, ExitConvention::Guess), 42);
    assert_eq!(exec(&code, ExitConvention::ExitCode), 42);
    assert_eq!(exec(&status, ExitConvention::WaitStatus), 42);
    assert_eq!(exec(&code, ExitConvention::WaitStatus), 128 + 42, "killed by signal 42");
}

#[test]
fn odd_libraries_are_survived() {
    let libraries = Libraries::new();
    let load = |defines: &[&str]| libraries.load("odd", defines);

    let empty = load(&[]).unwrap();
    assert_eq!(empty.version(), 1, "no pal_get_version");
    let missing = |symbol, version| PalError::NotImplemented { symbol, version };
    assert_eq!(empty.init(&attributes(c"")), Err(missing("pal_init", 1)));
    assert_eq!(empty.destroy(), Err(missing("pal_destroy", 1)));

    let bare = load(&["VERSION=2"]).unwrap();
    let strings = Strings::new();
    let (_reader, writer) = std::io::pipe().unwrap();
    let created = bare.create_process(&strings.process(&writer));
    assert_eq!(created, Err(missing("pal_create_process", 2)));
    assert_eq!(bare.exec(ProcessId(0)), Err(missing("pal_exec", 2)));
    assert_eq!(bare.kill(Target::All, 9), Err(missing("pal_kill", 2)));

    let no_pid = load(&["VERSION=2", "NO_PID"]).unwrap();
    assert_eq!(no_pid.create_process(&strings.process(&writer)), Ok(ProcessId(0)));
    let no_pid = load(&["VERSION=4", "NO_PID"]).unwrap();
    let error = no_pid.create_process(&strings.process(&writer)).unwrap_err();
    assert_eq!(error.to_string(), "pid from pal create_process(): expected 1, got 0");

    for (define, got) in [("VERSION=9", 9), ("VERSION=0", 0), ("VERSION=-1", -1)] {
        assert_eq!(load(&[define]).unwrap_err(), LoadError::Version { at_most: 4, got });
    }
    let probe = |error| LoadError::Probe(error);
    let exits = load(&["CONSTRUCTOR=exit(1)"]).unwrap_err();
    assert_eq!(exits, probe(ProbeError::Exited { code: 1 }));
    let exits = load(&["CONSTRUCTOR=_exit(0)"]).unwrap_err();
    assert_eq!(exits, probe(ProbeError::Exited { code: 0 }));
    let crashes = load(&["CONSTRUCTOR=raise(SIGSEGV)"]).unwrap_err();
    assert_eq!(crashes, probe(ProbeError::Killed { signal: 11 }));
    let undefined = load(&["UNDEFINED"]).unwrap_err().to_string();
    assert!(undefined.contains("missing_everywhere"), "{undefined}");

    let probe_timeout = Duration::from_millis(200);
    let options = LoadOptions { probe_timeout, ..LoadOptions::default() };
    let hangs = libraries.load_with("odd", &["CONSTRUCTOR=pause()"], options).unwrap_err();
    assert_eq!(hangs, probe(ProbeError::TimedOut { after_ms: 200 }));
}

#[test]
fn a_short_report_is_refused_from_version_4_on() {
    let libraries = Libraries::new();
    let short = |version: &str| {
        let library = libraries.load("plain", &[version, "SHORT_REPORT"]).unwrap();
        library.get_local_report(&[0; 512])
    };
    assert_eq!(short("PAL_VERSION=3"), Ok([0; 432]), "the length was never read");
    assert_eq!(
        short("PAL_VERSION=4").unwrap_err().to_string(),
        "report_len from pal get_local_report(): expected 432, got 400"
    );
}

#[test]
fn a_file_that_is_no_library_is_refused_by_the_loader() {
    let libraries = Libraries::new();
    let path = libraries.directory.path().join("liberpal-text.so");
    std::fs::write(&path, "not ELF").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let uid = rustix::process::geteuid().as_raw();
    let policy = Policy::new(vec![libraries.directory.path().to_owned()], uid);
    let error = Library::load(&policy, &path, None, LoadOptions::default()).unwrap_err();
    assert!(matches!(error, LoadError::Probe(ProbeError::Dlopen(_))), "{error}");
    let error = Library::load(&Policy::none(), &path, None, LoadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("only the built-in runtime may be used"), "{error}");
}
