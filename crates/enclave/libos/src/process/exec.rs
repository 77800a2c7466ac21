//! execve(2).

use super::{Process, Program};
use crate::elf::{self, Bytes as _, FileBytes, Launch, SCRIPT_HEAD_SIZE, Start, script};
use crate::errno::Errno;
use crate::fs::context::Executable;
use crate::fs::thread::open_executable;
use crate::mm::Mm;
use crate::platform::{Registers, UserContext};
use crate::signal::frame;
use crate::sync::Mutex;
use crate::syscall::{Args, Entry, Handler, Support, SysResult};
use crate::thread::{STACK_DISABLED, Seat, Thread};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

/// Served here.
pub const TABLE: &[Entry] = &[
    Entry { number: 59, support: NOTE, handler: Handler::Registers(execve) },
    Entry { number: 322, support: NOTE, handler: Handler::Registers(execveat) },
];

const NOTE: Support = Support::Partial("no set-user-ID programs");
/// AT_FDCWD.
const HERE: i32 = -100;
/// Interpreters of interpreters (`#!`) before ELOOP, as Linux.
const MAX_SCRIPTS: usize = 4;
/// Longest single argument or variable (MAX_ARG_STRLEN).
const MAX_STRING: usize = 32 * 4096;
/// Most arguments or variables.
const MAX_STRINGS: usize = 1 << 20;

fn execve(thread: &Arc<Thread>, context: &mut UserContext, args: &Args) -> SysResult {
    let [path, argv, env, ..] = args.0;
    exec_user(thread, context, HERE, path, argv, env, 0)
}

fn execveat(thread: &Arc<Thread>, context: &mut UserContext, args: &Args) -> SysResult {
    let [_, path, argv, env, flags, _] = args.0;
    exec_user(thread, context, args.int(0), path, argv, env, flags as u32)
}

fn exec_user(
    thread: &Arc<Thread>,
    context: &mut UserContext,
    directory: i32,
    path: u64,
    argv: u64,
    env: u64,
    flags: u32,
) -> SysResult {
    let path = thread.string(path, 4096)?;
    let argv = read_strings(thread, argv)?;
    let env = read_strings(thread, env)?;
    exec(thread, context, directory, &path, argv, env, flags)?;
    Ok(0)
}

/// A vector of strings of the program, up to its null pointer.
fn read_strings(thread: &Thread, at: u64) -> Result<Vec<Vec<u8>>, Errno> {
    let mut strings = Vec::new();
    if at == 0 {
        return Ok(strings);
    }
    let mm = thread.mm();
    loop {
        let pointer = mm.read_u64(at.wrapping_add(strings.len() as u64 * 8))?;
        if pointer == 0 {
            return Ok(strings);
        }
        if strings.len() == MAX_STRINGS {
            return Err(Errno::E2BIG);
        }
        let string = thread.string(pointer, MAX_STRING).map_err(|error| match error {
            Errno::ENAMETOOLONG => Errno::E2BIG,
            other => other,
        })?;
        strings.push(string);
    }
}

/// Replaces the program of the thread's process and sets `context` to its start.
///
/// # Errors
/// As execve(2); the old program is as it was.
pub fn exec(
    thread: &Arc<Thread>,
    context: &mut UserContext,
    directory: i32,
    path: &[u8],
    mut argv: Vec<Vec<u8>>,
    env: Vec<Vec<u8>>,
    flags: u32,
) -> Result<(), Errno> {
    let process = &thread.process;
    let kernel = thread.kernel;
    let seat = Seat::new(thread.clone());
    let mut file = open_executable(&seat, directory, path, flags)?;
    let mut name = path.to_vec();
    let mut head = [0; SCRIPT_HEAD_SIZE];
    for level in 0.. {
        let size = FileBytes(&*file.pages).read_at(0, &mut head)?;
        let Some(script) = script(&head[..size]) else { break };
        if level == MAX_SCRIPTS {
            return Err(Errno::ELOOP);
        }
        let mut words = alloc::vec![script.interpreter.to_vec()];
        words.extend(script.argument.map(<[u8]>::to_vec));
        words.push(name);
        words.extend(argv.into_iter().skip(1));
        argv = words;
        name = script.interpreter.to_vec();
        file = open_executable(&seat, HERE, &name, 0)?;
    }
    let mm = Mm::new(kernel.memory);
    let ids = {
        let credentials = process.credentials.lock();
        [credentials.ruid, credentials.euid, credentials.rgid, credentials.egid]
    };
    let launch = Launch {
        argv: &argv,
        env: &env,
        path: &name,
        ids,
        cpuid: kernel.cpuid,
        stack_limit: process.rlimit(super::limits::STACK),
    };
    let program = elf::Executable { source: file.pages.clone(), path: Arc::from(&file.path[..]) };
    let open = |path: &[u8]| {
        let file = open_executable(&seat, HERE, path, 0)?;
        Ok(elf::Executable { source: file.pages, path: Arc::from(&file.path[..]) })
    };
    let loaded = elf::load(&mm, &program, &open, &launch)?;

    // From here on there is no way back.
    thread.be_only_thread()?;
    commit(process, thread, mm, &loaded, &file, &name);
    *context = start_context(thread, &loaded);
    Ok(())
}

fn commit(
    process: &Arc<Process>,
    thread: &Arc<Thread>,
    mm: Arc<Mm>,
    loaded: &Start,
    file: &Executable,
    name: &[u8],
) {
    thread.release_words(&thread.mm());
    thread.change_memory(mm);
    process.release_parent();
    let files = Arc::new(process.files().duplicate());
    files.close_on_exec();
    *process.files.lock() = files;
    let mut actions = process.actions().lock().clone();
    actions.reset_handlers();
    *process.actions.lock() = Arc::new(Mutex::new(actions));
    let mut signals = thread.signals.lock();
    signals.stack = frame::StackT { base: 0, flags: STACK_DISABLED, size: 0 };
    drop(signals);
    *thread.name.lock() = None;
    let base = name.rsplit(|byte| *byte == b'/').next().unwrap_or(name);
    *process.program.lock() = Program {
        comm: base[..base.len().min(15)].to_vec(),
        path: file.path.clone(),
        location: Some(file.location.clone()),
        arguments: loaded.arguments.clone(),
        environment: loaded.environment.clone(),
        auxiliary: 0..0,
    };
    process.has_execed.store(true, Ordering::Relaxed);
    process.timers.lock().disarm_posix(thread.kernel);
}

fn start_context(thread: &Thread, loaded: &Start) -> UserContext {
    UserContext {
        xmm: [[0; 16]; 16],
        xstate: thread.kernel.platform.initial_xstate(),
        regs: Registers {
            rip: loaded.entry,
            rsp: loaded.sp,
            rflags: 0x202,
            ..Registers::default()
        },
        xstate_is_full: true,
    }
}

/// A context for the first thread of a process; `exec` fills it in.
#[must_use]
pub fn blank_context(thread: &Thread) -> UserContext {
    let nowhere = Start { entry: 0, sp: 0, arguments: 0..0, environment: 0..0 };
    start_context(thread, &nowhere)
}
