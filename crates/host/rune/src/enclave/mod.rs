//! Enclave containers: what is different about their creation.
//!
//! The pack, the emulator's secret and the log are opened here, in the host's view and with the caller's
//! rights; init-runelet gets descriptors. Nothing of the pack is believed: it is measured when it is loaded.

pub(crate) mod at_start;
pub(crate) mod attest;
mod devices;
mod machine;
mod needs;
mod paths;
mod quotes;
pub(crate) mod request;
mod settings;

use crate::failure::Failure;
use crate::global::Globals;
use crate::log::Level;
use container::seccomp::Filter;
use container::state::EnclaveState;
use container::{Entry, Options};
use machine::Machine;
use needs::Doing;
use pal::{EnclaveRuntime, Library};
use rustix::fs::{Mode, OFlags, open};
use settings::SGX;
pub(crate) use settings::{Settings, check_quote_type};
use sgx::Sigstruct;
use std::ffi::CString;
use std::os::fd::AsFd;
use std::path::Path;
use urts::Pack;
use workload::manifest::Manifest;
use workload::request::Request;

/// What init-runelet takes into the container.
pub(crate) struct Launch {
    /// What runs programs.
    pub(crate) runtime: Runtime,
    /// What to run.
    pub(crate) request: Request,
    /// `enclave.runtime.args`.
    pub(crate) args: CString,
    /// `enclave.runtime.loglevel`.
    pub(crate) log_level: CString,
}

/// An enclave runtime before its enclave is made.
pub(crate) enum Runtime {
    /// Ours.
    BuiltIn {
        /// The enclave file and its side data.
        pack: Pack,
        /// How enclaves are made here.
        machine: Machine,
        /// Most host threads, and where lines go.
        options: urts::Options,
    },
    /// A third party's.
    Library(Library),
}

/// Turns an ordinary container's options into an enclave container's if an enclave type is set.
///
/// # Errors
/// A setting, the pack or a limit that does not serve, with the field.
pub(crate) fn prepare(globals: &Globals, options: &mut Options) -> Result<(), Failure> {
    let bundle = options.bundle.clone();
    let Some(settings) = Settings::take(&mut options.spec)? else { return Ok(()) };
    if settings.kind != SGX {
        let got = &settings.kind;
        return Err(Failure::new(format!("enclave.type: expected {SGX}, got {got:?}")));
    }
    if settings.is_attested_at_start {
        at_start::Verifier::read(Path::new(paths::CONFIG))?;
    }
    let root = options.spec.root.as_ref().map(|r| bundle.join(&r.path)).unwrap_or_default();
    let request = request::init(&options.spec, &bundle);
    let log_level = settings.log_level.as_deref();
    let log = log(globals, log_level);
    let (args, log_level) = (c_string(&settings.args)?, c_string(log_level.unwrap_or("info"))?);
    if let Some((source, path)) = &settings.runtime_path {
        let root = open_directory(&root)?;
        let library = paths::load_runtime(path, *source, Path::new(paths::CONFIG), root.as_fd())?;
        check_profile(options, None)?;
        if devices::has_hardware() {
            devices::inject(&mut options.spec);
        }
        let emulated = library.is_emulated();
        let runtime = Runtime::Library(library);
        let launch = Launch { runtime, request, args, log_level };
        enter(options, settings, emulated, None, launch);
        return Ok(());
    }
    let machine = Machine::choose()?;
    let pack = open_pack(&settings, &root)?;
    let manifest = read_manifest(&settings, &root)?;
    let sigstruct = read_sigstruct(&pack)?;
    let loaded = rustix::fs::fstat(&pack.sgxs).map_err(std::io::Error::from)?.st_size;
    needs::check_limits(&options.spec, &manifest, u64::try_from(loaded).unwrap_or(0))?;
    let quotes = quotes::service(globals, &machine, &manifest);
    let doing = Doing {
        is_emulated: machine.is_emulated(),
        has_quotes: quotes.is_some(),
        has_sockets: manifest.has_host_sockets(),
    };
    check_profile(options, Some(doing))?;
    if machine.is_emulated() {
        globals.log.line(Level::Debug, "emulated: no hardware protects this container");
    } else {
        devices::inject(&mut options.spec);
    }
    let options_inside = urts::Options {
        max_threads: manifest.enclave.threads as usize,
        log,
        quotes,
        ..urts::Options::default()
    };
    let emulated = machine.is_emulated();
    let runtime = Runtime::BuiltIn { pack, machine, options: options_inside };
    let launch = Launch { runtime, request, args, log_level };
    enter(options, settings, emulated, Some(&sigstruct), launch);
    Ok(())
}

/// Makes init-runelet the container's first process.
fn enter(
    options: &mut Options,
    settings: Settings,
    emulated: bool,
    sigstruct: Option<&Sigstruct>,
    launch: Launch,
) {
    // The host process has no use for the program's directory, which only the enclave sees.
    if let Some(process) = &mut options.spec.process {
        process.cwd = "/".into();
    }
    options.enclave = Some(EnclaveState {
        kind: settings.kind,
        emulated,
        mrenclave: sigstruct.map(|sigstruct| hex(&sigstruct.enclavehash)),
        mrsigner: sigstruct.map(|sigstruct| hex(&sigstruct.mrsigner::<sgx::hash::Portable>())),
        attested_at_start: settings.is_attested_at_start,
    });
    options.entry = Entry::InProcess(Box::new(move |inside| crate::runelet::run(inside, launch)));
}

/// Checks the seccomp profile. What a third party's runtime needs is not known (`None`); of ours it depends on what
/// it does.
fn check_profile(options: &Options, ours: Option<Doing>) -> Result<(), Failure> {
    let Some(profile) = &options.spec.linux.seccomp else { return Ok(()) };
    let filter = Filter::cached(profile, &options.root)?;
    if filter.listener.is_some() {
        return Err(Failure::new(
            "linux.seccomp: expected no SCMP_ACT_NOTIFY in an enclave container, got one",
        ));
    }
    let Some(doing) = ours else { return Ok(()) };
    needs::check_filter(&filter, doing)
}

fn c_string(text: &str) -> Result<CString, Failure> {
    let zero = |_| Failure::new(format!("enclave settings: expected no zero byte, got {text:?}"));
    CString::new(text).map_err(zero)
}

fn open_directory(directory: &Path) -> Result<std::os::fd::OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open(directory, flags, Mode::empty()).map_err(|e| {
        Failure::new(format!("open {}: {}", directory.display(), std::io::Error::from(e)))
    })
}

fn open_pack(settings: &Settings, root: &Path) -> Result<Pack, Failure> {
    let directory = settings.pack.as_deref().unwrap_or(root);
    let fd = open_directory(directory)?;
    let pack = if settings.pack.is_some() {
        Pack::open_directory(fd.as_fd())
    } else {
        Pack::open_in_root(fd.as_fd())
    };
    pack.map_err(|error| {
        let advice =
            "convert and pack the image first (inclavare image convert, inclavare image pack)";
        Failure::new(format!("{error} in {}: {advice}", directory.display()))
    })
}

/// The manifest beside the enclave: the enclave has its own measured copy, this one is for checks whose
/// failure would otherwise show late.
fn read_manifest(settings: &Settings, root: &Path) -> Result<Manifest, Failure> {
    let directory = match &settings.pack {
        Some(pack) => pack.clone(),
        None => root.to_owned(),
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let io = |e: rustix::io::Errno| {
        Failure::new(format!("{} of the enclave pack: {}", Pack::MANIFEST, std::io::Error::from(e)))
    };
    let fd = open(&directory, flags, Mode::empty()).map_err(io)?;
    let path = match &settings.pack {
        Some(_) => Pack::MANIFEST.to_owned(),
        None => format!("{}/{}", Pack::DIRECTORY, Pack::MANIFEST),
    };
    use rustix::fs::ResolveFlags;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let read = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat2(&fd, path, read, Mode::empty(), resolve).map_err(io)?;
    let mut bytes = Vec::new();
    let limit = workload::manifest::MAX_LENGTH as u64 + 1;
    std::io::Read::read_to_end(
        &mut std::io::Read::take(std::fs::File::from(file), limit),
        &mut bytes,
    )?;
    Manifest::parse(&bytes)
        .map_err(|error| Failure::new(format!("{} of the enclave pack: {error}", Pack::MANIFEST)))
}

fn read_sigstruct(pack: &Pack) -> Result<Sigstruct, Failure> {
    let mut bytes = [0u8; 1808];
    let n = rustix::io::pread(&pack.sigstruct, &mut bytes, 0).map_err(std::io::Error::from)?;
    if n != bytes.len() {
        let name = Pack::SIGSTRUCT;
        return Err(Failure::new(format!(
            "{name} of the enclave pack: expected 1808 bytes, got {n}"
        )));
    }
    Ok(Sigstruct::from_bytes(&bytes))
}

/// Lines of the enclave go to rune's log, opened here; without one, what matters goes to the container's
/// standard error, and the rest only if the container asked for it.
fn log(globals: &Globals, asked: Option<&str>) -> urts::Log {
    let level = match asked {
        None if globals.log.file.is_some() => globals.log.level,
        None => Level::Warning,
        Some(name) => Level::parse(name).unwrap_or(Level::Info),
    };
    let file = globals
        .log
        .file
        .as_ref()
        .and_then(|path| std::fs::OpenOptions::new().append(true).create(true).open(path).ok());
    let format = globals.log.clone();
    urts::Log::new(move |line_level, line| {
        let line_level = match line_level {
            urts::Level::Error => Level::Error,
            urts::Level::Warn => Level::Warning,
            urts::Level::Info => Level::Info,
            urts::Level::Debug => Level::Debug,
        };
        if line_level > level {
            return;
        }
        let text = format.render(line_level, line, &container::time::now());
        let _ = match &file {
            Some(file) => rustix::io::write(file, text.as_bytes()),
            None => rustix::io::write(rustix::stdio::stderr(), text.as_bytes()),
        };
    })
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
