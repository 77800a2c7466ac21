//! A host whose quoting service lies, below a real container's library OS; and the report that a host may have.
//!
//! The enclave runs in this process, through the same runtime that init-runelet drives.

use e2e::Workbench;
use emulated_platform::Platform;
use pal::{Attributes, EnclaveRuntime, PalError, Process, User};
use sgx_emulator::{Emulator, Mode};
use std::error::Error;
use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use urts::{BuiltIn, Log, Options, Pack, QuoteService};
use workload::manifest::{ArgvRule, Manifest};
use workload::request::{Kind, Request};

/// Answers by the first byte of the report data, which is the round.
struct Liar {
    platform: Platform,
    first: Mutex<Vec<u8>>,
}

impl std::fmt::Debug for Liar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Liar")
    }
}

type Answer<T> = Result<T, Box<dyn Error + Send + Sync>>;

impl QuoteService for Liar {
    fn target_info(&self) -> Answer<[u8; 512]> {
        Ok(self.platform.target_info())
    }

    fn quote(&self, report: &[u8; 432]) -> Answer<Vec<u8>> {
        let quote = self.platform.quote(report)?;
        let mut first = self.first.lock().unwrap();
        Ok(match report[320] {
            b'1' => {
                first.clone_from(&quote);
                quote
            }
            b'2' => Vec::new(),
            b'3' => quote[..quote.len() - 1].to_vec(),
            b'4' => [&quote[..], &[0]].concat(),
            // A genuine quote, of what was said before.
            b'5' => first.clone(),
            b'6' => (0..quote.len()).map(|at| at as u8).collect(),
            b'7' => return Err("out of order".into()),
            _ => quote,
        })
    }
}

fn request(manifest: &Manifest) -> Request {
    let ArgvRule::Exact(argv) = manifest.process.argv.clone() else { panic!("not exact") };
    Request {
        kind: Kind::Init,
        argv,
        env: Vec::new(),
        cwd: manifest.process.cwd.clone(),
        user: manifest.process.user.clone(),
        hostname: String::new(),
        mounts: Vec::new(),
        tty: false,
        has_stdin: true,
        rlimits: Vec::new(),
        inputs: [].into(),
    }
}

#[test]
fn quotes_that_do_not_fit_are_eio_and_the_host_gets_a_report_without_a_say() {
    let Some(workbench) = Workbench::new() else { return };
    let script = "read go\ncd /dev/attestation\n\
                  for round in 1 2 3 4 5 6 7 8; do\n\
                  printf %s $round > user_report_data\n\
                  cat quote > /dev/shm/quote 2> /dev/shm/error\n\
                  echo $round $? $(wc -c < /dev/shm/quote) $(cat /dev/shm/error)\n\
                  done\n";
    let policy = "stdin = \"allowed\"\n\
                  [attestation]\nuids = [0]\nfiles = [\"quote\", \"user_report_data\"]\n";
    let bundle = workbench.busybox("liar", script, policy);
    let directory = bundle.directory().join("rootfs/.inclavare");
    let pack = File::open(&directory).unwrap();
    let manifest = std::fs::read(directory.join(Pack::MANIFEST)).unwrap();
    let manifest = Manifest::parse(&manifest).unwrap();

    let secrets = workbench.path().join("emulator");
    let platform = Platform::open(&secrets).unwrap();
    let driver = Emulator::new(Mode::Fast).with_secret_file(secrets.join("secret"));
    let lines = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&lines);
    let options = Options {
        log: Log::new(move |_, line| seen.lock().unwrap().push(line.to_owned())),
        quotes: Some(Arc::new(Liar { platform: platform.clone(), first: Mutex::default() })),
        ..Options::default()
    };
    let root = File::open(bundle.directory().join("rootfs")).unwrap().into();
    let pack = Pack::open_directory(pack.as_fd()).unwrap();
    let runtime = Arc::new(BuiltIn::new(driver, pack, root, options));
    runtime.init(&Attributes::default()).unwrap();

    let (stdin, mut go) = std::io::pipe().unwrap();
    let output = workbench.path().join("output");
    let stdout = File::create(&output).unwrap();
    let json = CString::new(request(&manifest).to_json()).unwrap();
    let process = runtime
        .create_process(&Process {
            path: c"sh",
            argv: &[],
            env: &[],
            stdio: [stdin.as_fd(), stdout.as_fd(), stdout.as_fd()],
            cwd: c"/",
            user: User::default(),
            has_terminal: false,
            request: Some(&json),
        })
        .unwrap();
    let waiter = {
        let runtime = Arc::clone(&runtime);
        std::thread::spawn(move || runtime.exec(process))
    };

    let report = loop {
        match runtime.get_local_report(&platform.target_info()) {
            // The thread has not started the process yet.
            Err(PalError::State { .. }) => std::thread::yield_now(),
            report => break report.unwrap(),
        }
    };
    assert_eq!(report[320..384], [0; 64], "the host has no say in it");
    platform.quote(&report).expect("the MAC is this CPU's, for this target");
    let reserved = runtime.get_local_report(&[0xff; 512]);
    assert_eq!(reserved, Err(PalError::Argument { field: "targetinfo" }));

    writeln!(go, "go").unwrap();
    let status = waiter.join().unwrap().unwrap();
    let output = std::fs::read_to_string(&output).unwrap();
    let lines = lines.lock().unwrap();
    assert_eq!(status.exit_code(), 0, "{output}{lines:#?}");
    let rounds: Vec<&str> = output.lines().collect();
    assert_eq!(rounds.len(), 8, "{output}{lines:#?}");
    let length = platform.quote_size();
    for (at, line) in rounds.iter().enumerate() {
        let round = at + 1;
        if matches!(round, 1 | 8) {
            assert_eq!(*line, format!("{round} 0 {length}"), "{lines:#?}");
        } else {
            assert!(line.starts_with(&format!("{round} 1 0 ")), "{line}");
            assert!(line.ends_with("Input/output error") || line.ends_with("I/O error"), "{line}");
        }
    }
    for reason in ["length of", "signature data", "report data", "version", "out of order"] {
        assert!(lines.iter().any(|line| line.contains(reason)), "{reason}: {lines:#?}");
    }
}
