//! The enclave program with its smoke kernel, built into a signed enclave and run by urts on the emulator.
//!
//! One enclave per process: each mode is a test binary of its own.

#![allow(dead_code, reason = "each test file uses a part of it")]

use sgx::driver::Driver;
use sgx::hash::{Portable, Sha256};
use sgx::sgxs::{self, Ecreate, Io, Writer};
use sgx::sigstruct::{Body, Sigstruct};
use sgx::{AttributeFlags, Attributes, Miscselect, PAGE_SIZE, Secinfo, SecinfoFlags, Tcs, Xfrm};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, OnceLock};
use urts::{Enclave, ExitStatus, Log, Options, Pack, QuoteService};
use workload::manifest::{self, Manifest};

const SIZE: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
const PAGE: u64 = PAGE_SIZE as u64;

/// Checks in the smoke kernel.
const CHECKS: usize = 20;

/// What came of a run.
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) lines: Vec<String>,
}

impl Outcome {
    /// Every check held.
    pub(crate) fn must_be_good(&self) {
        let Self { status, lines } = self;
        assert_eq!(*status, ExitStatus::Exited(0), "{lines:#?}");
        let passed = lines.iter().filter(|line| line.contains(": ok ")).count();
        assert_eq!(passed, CHECKS, "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("emulated true")), "{lines:#?}");
    }
}

/// Makes quotes of the right shape that nobody signed.
#[derive(Debug)]
pub(crate) struct Unsigned;

impl QuoteService for Unsigned {
    fn target_info(&self) -> Result<[u8; 512], Box<dyn Error + Send + Sync>> {
        let mut target = [0; 512];
        target[..32].fill(0x9e);
        Ok(target)
    }

    fn quote(&self, report: &[u8; 432]) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        let mut quote = vec![3, 0, 2, 0];
        quote.resize(48, 0);
        quote.extend(&report[..384]);
        quote.extend(64_u32.to_le_bytes());
        quote.extend([0x51; 64]);
        Ok(quote)
    }
}

/// Runs the smoke kernel on a host without a quoting service.
pub(crate) fn run<D: Driver<Enclave: 'static>>(driver: &D) -> Outcome {
    run_with(driver, None)
}

/// Runs the smoke kernel.
pub(crate) fn run_with<D: Driver<Enclave: 'static>>(
    driver: &D,
    quotes: Option<Arc<dyn QuoteService>>,
) -> Outcome {
    run_request(driver, quotes, b"{}")
}

/// Runs the smoke kernel with a request: `net` for its steps over sockets, anything else for its checks.
pub(crate) fn run_request<D: Driver<Enclave: 'static>>(
    driver: &D,
    quotes: Option<Arc<dyn QuoteService>>,
    request: &[u8],
) -> Outcome {
    static PACK: OnceLock<tempfile::TempDir> = OnceLock::new();
    let directory = PACK.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        write_pack(directory.path());
        directory
    });
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let options = Options {
        log: Log::new(move |level, line| {
            println!("{level}: {line}");
            sink.lock().expect("no panic").push(line.to_owned());
        }),
        quotes,
        ..Options::default()
    };
    let root: OwnedFd = File::open(directory.path()).expect("opens").into();
    let pack = Pack::open_directory(std::os::fd::AsFd::as_fd(&root)).expect("a pack");
    let enclave = Enclave::load(driver, pack, root, options).expect("loads");
    let null = || File::options().read(true).write(true).open("/dev/null").expect("opens").into();
    enclave.start(request.to_vec(), [null(), null(), null()]).expect("starts");
    let status = enclave.wait();
    let lines = lines.lock().expect("no panic").clone();
    Outcome { status, lines }
}

fn write_pack(directory: &std::path::Path) {
    let stream = stream();
    std::fs::write(directory.join(Pack::SGXS), &stream).expect("writes");
    let attributes = Attributes { flags: AttributeFlags::MODE64BIT, xfrm: Xfrm::LEGACY };
    let body = Body {
        enclavehash: sgxs::mrenclave::<Portable, _>(Io(stream.as_slice())).expect("measures"),
        attributes,
        attributemask: Attributes {
            // Whoever starts the enclave may ask for KSS.
            flags: AttributeFlags::all() - AttributeFlags::KSS,
            // The components beyond SSE are the processor's.
            xfrm: Xfrm::LEGACY | Xfrm::TILECFG | Xfrm::TILEDATA | Xfrm::BNDREGS | Xfrm::BNDCSR,
        },
        miscselect: Miscselect::EXINFO,
        miscmask: Miscselect::all(),
        date: 0x2026_0101,
        ..Body::default()
    };
    let key = sgx::sign::SigningKey::generate().expect("a key");
    let signed = key.sign::<Portable>(&Sigstruct::unsigned(&body)).expect("signs");
    std::fs::write(directory.join(Pack::SIGSTRUCT), signed.to_bytes()).expect("writes");
    for empty in [Pack::METADATA, Pack::TREES] {
        std::fs::write(directory.join(empty), []).expect("writes");
    }
}

/// The page stream: manifest, initial thread slot, image.
fn stream() -> Vec<u8> {
    let image_base = SIZE - 8 * MIB;
    let program = enclave_image::load(enclave_image::SMOKE_ELF, image_base).expect("our own");
    let mut pages: BTreeMap<u64, (Secinfo, Option<[u8; PAGE_SIZE]>)> = BTreeMap::new();
    let mut add = |offset: u64, secinfo: Secinfo, bytes: Option<&[u8]>| {
        let data = bytes.map(|bytes| {
            let mut page = [0; PAGE_SIZE];
            page[..bytes.len()].copy_from_slice(bytes);
            page
        });
        assert!(pages.insert(offset, (secinfo, data)).is_none(), "{offset:#x} twice");
    };
    let (r, w, x) = (SecinfoFlags::R, SecinfoFlags::W, SecinfoFlags::X);

    let manifest = manifest();
    let mut blob = (manifest.len() as u64).to_le_bytes().to_vec();
    blob.extend_from_slice(&manifest);
    for (index, page) in blob.chunks(PAGE_SIZE).enumerate() {
        add(SIZE - 16 * MIB + index as u64 * PAGE, Secinfo::reg(r), Some(page));
    }

    let tcs_at = SIZE - 12 * MIB;
    let thread = tcs_at + 4 * PAGE;
    let tcs = Tcs {
        ossa: tcs_at + PAGE,
        nssa: 3,
        oentry: image_base + program.entry,
        ofsbase: thread,
        ogsbase: thread,
        fslimit: 0xfff,
        gslimit: 0xfff,
        ..Tcs::default()
    };
    add(tcs_at, Secinfo::tcs(), Some(&tcs.to_bytes()));
    for index in 1..4 {
        add(tcs_at + index * PAGE, Secinfo::reg(r | w), None);
    }
    add(thread, Secinfo::reg(r | w), Some(&[]));
    for index in 0..32 {
        add(tcs_at + (6 + index) * PAGE, Secinfo::reg(r | w), None);
    }

    for segment in &program.segments {
        let rights = match segment.rights {
            enclave_image::Rights::Read => r,
            enclave_image::Rights::ReadExecute => r | x,
            enclave_image::Rights::ReadWrite => r | w,
        };
        for (index, page) in segment.bytes.chunks(PAGE_SIZE).enumerate() {
            let offset = image_base + segment.offset + index as u64 * PAGE;
            add(offset, Secinfo::reg(rights), Some(page));
        }
    }

    let ecreate = Ecreate { ssaframesize_pages: 1, size: SIZE };
    let mut writer = Writer::new(Io(Vec::new()), ecreate).expect("a vector takes all");
    for (offset, (secinfo, data)) in &pages {
        match data {
            Some(data) => writer.measured(*offset, secinfo, data),
            None => writer.unmeasured_zero(*offset, secinfo),
        }
        .expect("ascending");
    }
    writer.into_inner().0
}

fn manifest() -> Vec<u8> {
    Manifest {
        format: manifest::FORMAT,
        runtime_version: "0.1.0".into(),
        root: manifest::Root {
            digest: manifest::Hex(Portable::digest(b"")),
            size: 4096,
            source: manifest::Source::Directory,
        },
        process: manifest::Process {
            argv: manifest::ArgvRule::Exact(vec!["/bin/true".into()]),
            env: BTreeMap::new(),
            cwd: "/".into(),
            user: manifest::User::default(),
            stdin: manifest::Availability::Denied,
            tty: manifest::Availability::Denied,
        },
        exec: vec![],
        mounts: BTreeMap::new(),
        inputs: manifest::Inputs::default(),
        signals: vec![],
        enclave: manifest::Enclave { size: SIZE, threads: 8, heap_max: 128 * MIB },
        network: manifest::Network {
            connect: vec!["any:any".parse().expect("a rule")],
            listen: vec![80],
        },
        attester: None,
        key_broker: manifest::Reserved,
        attestation: manifest::AttestationFiles::default(),
        identity: manifest::Identity::default(),
        debug: false,
    }
    .to_canonical()
}
