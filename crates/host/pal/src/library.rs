//! A `liberpal-*.so` as an [`EnclaveRuntime`].

use crate::abi::{
    AttrV1, AttrV3, AttrV4, CAPABILITY_EMULATED, CreateProcess, CreateProcessArgs,
    CreateProcessArgsV4, Destroy, Exec, ExecArgs, ExecV1, GetCapabilities, GetLocalReport,
    GetVersion, Init, Kill, MAX_VERSION, PROCESS_TERMINAL, StdioFds,
};
use crate::error::{LoadError, PalError};
use crate::policy::Policy;
use crate::probe::{descriptor_path, probe};
use crate::runtime::{
    Attributes, EnclaveRuntime, Process, ProcessId, REPORT_SIZE, TARGETINFO_SIZE, Target,
    WaitStatus,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::ptr::{NonNull, null};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

/// How a library of version 2 or 3 gives the end of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExitConvention {
    /// Guess from the value: 0 to 255 is an exit code, anything else a wait status. Right for all but a wait
    /// status of a process killed by a signal, which reads as the exit code of that number.
    #[default]
    Guess,
    /// A `wait(2)` status, as Occlum's header says.
    WaitStatus,
    /// An exit code, as WAMR's and the skeleton's PALs give.
    ExitCode,
}

/// How to load a library.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// See there. Version 1 gives exit codes and version 4 wait statuses, whatever this says.
    pub exit_convention: ExitConvention,
    /// How long loading may take in the child process.
    pub probe_timeout: Duration,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { exit_convention: ExitConvention::Guess, probe_timeout: Duration::from_secs(20) }
    }
}

/// A loaded library. It stays loaded until the process ends: its threads and exit handlers may be anywhere.
pub struct Library {
    version: i32,
    exit_convention: ExitConvention,
    is_emulated: bool,
    symbols: Symbols,
    /// Processes that version 1 was not told of before it runs them.
    prepared: Mutex<HashMap<i32, PreparedV1>>,
    last_v1: AtomicI32,
}

struct Symbols {
    init: Option<Init>,
    exec: Option<NonNull<c_void>>,
    create_process: Option<CreateProcess>,
    kill: Option<Kill>,
    get_local_report: Option<GetLocalReport>,
    destroy: Option<Destroy>,
}

// SAFETY: function pointers of a library that is never unloaded; the ABI lets them be called on any thread and, but
// for init and destroy, at the same time.
unsafe impl Send for Symbols {}
// SAFETY: as above.
unsafe impl Sync for Symbols {}

struct PreparedV1 {
    path: CString,
    argv: Vec<CString>,
    stdio: [c_int; 3],
}

impl Library {
    /// Loads the library at `path`, if `policy` allows it. `container_root` is the container that asks.
    ///
    /// Constructors of the library run, in a child process first. The process must not have made an enclave.
    ///
    /// # Errors
    /// Why not.
    pub fn load(
        policy: &Policy,
        path: &Path,
        container_root: Option<BorrowedFd<'_>>,
        options: LoadOptions,
    ) -> Result<Self, LoadError> {
        let file = policy.open(path, container_root)?;
        let name = descriptor_path(&file);
        let version = checked_version(probe(&name, options.probe_timeout)?)?;
        let handle = open(&name).map_err(LoadError::Dlopen)?;
        // The dynamic loader remembers libraries by the name they were loaded with. If the descriptor's number
        // were used again, loading another file by it would give this library: so it stays open.
        std::mem::forget(file);
        // SAFETY: the probe has called the same function in a child; it has the ABI's type.
        let again = unsafe { function::<GetVersion>(handle, c"pal_get_version") };
        // SAFETY: as above.
        let again = again.map_or(1, |get_version| unsafe { get_version() });
        if again != version {
            return Err(LoadError::Version { at_most: version, got: again });
        }
        // SAFETY: the ABI gives these symbols these types; which of them exist is checked at each call.
        let symbols = unsafe {
            Symbols {
                init: function(handle, c"pal_init"),
                exec: symbol(handle, c"pal_exec").and_then(NonNull::new),
                create_process: function(handle, c"pal_create_process"),
                kill: function(handle, c"pal_kill"),
                get_local_report: function(handle, c"pal_get_local_report"),
                destroy: function(handle, c"pal_destroy"),
            }
        };
        // SAFETY: as above; it takes nothing.
        let capabilities = unsafe {
            function::<GetCapabilities>(handle, c"pal_get_capabilities")
                .filter(|_| version >= 4)
                .map_or(0, |get| get())
        };
        Ok(Self {
            version,
            exit_convention: options.exit_convention,
            is_emulated: capabilities & CAPABILITY_EMULATED != 0,
            symbols,
            prepared: Mutex::default(),
            last_v1: AtomicI32::new(0),
        })
    }

    /// The library's version, 1 to 4.
    #[must_use]
    pub fn version(&self) -> i32 {
        self.version
    }

    fn missing(&self, symbol: &'static str) -> PalError {
        PalError::NotImplemented { symbol, version: self.version }
    }

    /// Up to version 3 a negative value is a failure and any other is not; version 4 has 0 for success alone.
    fn check(&self, call: &'static str, value: c_int) -> Result<(), PalError> {
        if value < 0 || self.version >= 4 && value != 0 {
            return Err(PalError::Returned { call, value });
        }
        Ok(())
    }

    fn exec_v1(&self, process: ProcessId) -> Result<WaitStatus, PalError> {
        let exec = self.symbols.exec.ok_or_else(|| self.missing("pal_exec"))?;
        let prepared = self.prepared.lock().expect("no panic under the lock").remove(&process.0);
        let prepared = prepared.ok_or(PalError::NoProcess { got: process.0 })?;
        let argv = pointers(&prepared.argv);
        let [stdin, stdout, stderr] = prepared.stdio;
        let stdio = StdioFds { stdin, stdout, stderr };
        let mut exit_code = 0;
        // SAFETY: version 1's `pal_exec` has this type. Every pointer is valid for the call, the array ends with a
        // null pointer.
        let value = unsafe {
            let exec = std::mem::transmute::<*mut c_void, ExecV1>(exec.as_ptr());
            exec(prepared.path.as_ptr(), argv.as_ptr(), &stdio, &mut exit_code)
        };
        self.check("exec", value)?;
        Ok(ended(exit_code, ExitConvention::ExitCode))
    }
}

impl EnclaveRuntime for Library {
    fn is_emulated(&self) -> bool {
        self.is_emulated
    }

    fn init(&self, attributes: &Attributes<'_>) -> Result<(), PalError> {
        let init = self.symbols.init.ok_or_else(|| self.missing("pal_init"))?;
        let (fd, addr) = attributes.pooled.map_or((-1, 0), |pooled| (pooled.fd, pooled.address));
        let raw = |fd: Option<BorrowedFd<'_>>| fd.map_or(-1, |fd| fd.as_raw_fd());
        let v1 =
            AttrV1 { args: attributes.args.as_ptr(), log_level: attributes.log_level.as_ptr() };
        let attr = AttrV4 {
            v3: AttrV3 { v1, fd, addr },
            struct_size: size_of::<AttrV4>() as u64,
            root_fd: raw(attributes.root),
            log_fd: raw(attributes.log),
        };
        // SAFETY: the structure begins with that of every earlier version, and its pointers are valid for the call.
        let value = unsafe { init((&raw const attr).cast()) };
        self.check("init", value)
    }

    fn create_process(&self, process: &Process<'_>) -> Result<ProcessId, PalError> {
        let [stdin, stdout, stderr] = process.stdio.map(|fd| fd.as_raw_fd());
        if self.version == 1 {
            let prepared = PreparedV1 {
                path: process.path.to_owned(),
                argv: process.argv.to_vec(),
                stdio: [stdin, stdout, stderr],
            };
            let number = self.last_v1.fetch_add(1, Ordering::Relaxed) + 1;
            self.prepared.lock().expect("no panic under the lock").insert(number, prepared);
            return Ok(ProcessId(number));
        }
        let create = self.symbols.create_process;
        let create = create.ok_or_else(|| self.missing("pal_create_process"))?;
        let (argv, env) = (pointers(process.argv), pointers(process.env));
        let stdio = StdioFds { stdin, stdout, stderr };
        // Some libraries return 0 without writing it.
        let mut pid: c_int = 0;
        let gids = process.user.additional_gids;
        let arguments = CreateProcessArgsV4 {
            v2: CreateProcessArgs {
                path: process.path.as_ptr(),
                argv: argv.as_ptr(),
                env: env.as_ptr(),
                stdio: &stdio,
                pid: &mut pid,
            },
            struct_size: size_of::<CreateProcessArgsV4>() as u64,
            cwd: process.cwd.as_ptr(),
            uid: process.user.uid,
            gid: process.user.gid,
            additional_gids: if gids.is_empty() { null() } else { gids.as_ptr() },
            additional_gids_len: gids.len() as u64,
            flags: if process.has_terminal { PROCESS_TERMINAL } else { 0 },
            request: process.request.map_or(null(), CStr::as_ptr),
        };
        // SAFETY: the structure begins with that of versions 2 and 3; its pointers are valid for the call, arrays of
        // strings end with a null pointer, and `pid` is writable.
        let value = unsafe { create((&raw const arguments).cast()) };
        self.check("create_process", value)?;
        if self.version >= 4 && pid <= 0 {
            let call = "create_process";
            return Err(PalError::Answer { call, field: "pid", expected: 1, got: pid.into() });
        }
        Ok(ProcessId(pid))
    }

    fn exec(&self, process: ProcessId) -> Result<WaitStatus, PalError> {
        if self.version == 1 {
            return self.exec_v1(process);
        }
        let exec = self.symbols.exec.ok_or_else(|| self.missing("pal_exec"))?;
        let mut exit_value: c_int = 0;
        let arguments = ExecArgs { pid: process.0, exit_value: &mut exit_value };
        // SAFETY: `pal_exec` has this type from version 2 on; the structure and what it points to are valid for the
        // call.
        let value = unsafe {
            let exec = std::mem::transmute::<*mut c_void, Exec>(exec.as_ptr());
            exec(&arguments)
        };
        self.check("exec", value)?;
        let convention =
            if self.version >= 4 { ExitConvention::WaitStatus } else { self.exit_convention };
        Ok(ended(exit_value, convention))
    }

    fn kill(&self, target: Target, signal: i32) -> Result<(), PalError> {
        let kill = self.symbols.kill.filter(|_| self.version >= 2);
        let kill = kill.ok_or_else(|| self.missing("pal_kill"))?;
        let pid = match target {
            Target::All => -1,
            Target::Process(process) => process.0,
        };
        // SAFETY: the ABI's type; numbers only.
        self.check("kill", unsafe { kill(pid, signal) })
    }

    fn get_local_report(
        &self,
        targetinfo: &[u8; TARGETINFO_SIZE],
    ) -> Result<[u8; REPORT_SIZE], PalError> {
        let get = self.symbols.get_local_report.filter(|_| self.version >= 3);
        let get = get.ok_or_else(|| self.missing("pal_get_local_report"))?;
        let mut report = [0; REPORT_SIZE];
        let mut length = REPORT_SIZE as c_int;
        // SAFETY: the ABI's type; both buffers have the length that is passed.
        let value = unsafe {
            get(
                targetinfo.as_ptr().cast(),
                TARGETINFO_SIZE as c_int,
                report.as_mut_ptr().cast(),
                &mut length,
            )
        };
        let call = "get_local_report";
        if value != 0 {
            return Err(PalError::Returned { call, value });
        }
        // Up to version 3 nobody read the length, and libraries differ in what they leave there.
        if self.version >= 4 && length != REPORT_SIZE as c_int {
            let (expected, got) = (REPORT_SIZE as i64, length.into());
            return Err(PalError::Answer { call, field: "report_len", expected, got });
        }
        Ok(report)
    }

    fn destroy(&self) -> Result<(), PalError> {
        let destroy = self.symbols.destroy.ok_or_else(|| self.missing("pal_destroy"))?;
        // SAFETY: the ABI's type; it takes nothing.
        self.check("destroy", unsafe { destroy() })
    }
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Library").field("version", &self.version).finish_non_exhaustive()
    }
}

fn checked_version(got: i32) -> Result<i32, LoadError> {
    if (1..=MAX_VERSION).contains(&got) {
        return Ok(got);
    }
    Err(LoadError::Version { at_most: MAX_VERSION, got })
}

fn ended(value: c_int, convention: ExitConvention) -> WaitStatus {
    match convention {
        ExitConvention::ExitCode => WaitStatus::exited(value as u8),
        ExitConvention::Guess if (0..=255).contains(&value) => WaitStatus::exited(value as u8),
        // 16 bits: anything above is no wait status of an ended process.
        ExitConvention::Guess | ExitConvention::WaitStatus => WaitStatus(value as u32 & 0xffff),
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([null()]).collect()
}

/// `dlopen(path, RTLD_NOW | RTLD_LOCAL)`.
pub(crate) fn open(path: &CStr) -> Result<NonNull<c_void>, String> {
    // SAFETY: the path is a string; the constructors that run are the administrator's choice, by the policy.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    NonNull::new(handle).ok_or_else(|| {
        // SAFETY: after a failed dlopen on this thread dlerror gives a string, valid until the next dl call.
        let message = unsafe { libc::dlerror() };
        if message.is_null() {
            return "the dynamic loader gave no reason".to_owned();
        }
        // SAFETY: not null, as above.
        unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned()
    })
}

/// A symbol of a library.
pub(crate) fn symbol(handle: NonNull<c_void>, name: &CStr) -> Option<*mut c_void> {
    // SAFETY: the handle is an open library's, the name a string.
    let symbol = unsafe { libc::dlsym(handle.as_ptr(), name.as_ptr()) };
    (!symbol.is_null()).then_some(symbol)
}

/// A symbol as a function.
///
/// # Safety
/// `F` is the `extern "C"` function pointer type that the symbol has.
unsafe fn function<F: Copy>(handle: NonNull<c_void>, name: &CStr) -> Option<F> {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    // SAFETY: by the caller's promise the symbol is an `F`; the sizes are equal.
    symbol(handle, name).map(|symbol| unsafe { std::mem::transmute_copy(&symbol) })
}

/// `errno` of the call that just failed on this thread.
pub(crate) fn last_errno() -> Errno {
    let errno = std::io::Error::last_os_error().raw_os_error();
    errno.map_or(Errno::IO, Errno::from_raw_os_error)
}
