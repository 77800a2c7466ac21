//! The documented system calls are enough: an emulated enclave starts threads, uses files and streams and ends under
//! a filter that kills the process for any other call.

mod fake;
mod small;

use sgx_emulator::{Emulator, Mode};
use small::Routine;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;
use urts::seccomp::{SYSCALLS, SYSCALLS_EMULATOR, SYSCALLS_NETWORK};
use urts::{Enclave, ExitStatus, Options};

const CHILD: &str = "URTS_SECCOMP_CHILD";

#[test]
fn the_documented_calls_suffice() {
    for mode in ["fast", "pure"] {
        let status = child(mode);
        assert_eq!(status.code(), Some(0), "{mode}: {status}");
    }
}

#[test]
fn the_filter_kills_for_any_other_call() {
    let status = child("forbidden");
    assert_eq!(status.signal(), Some(libc::SIGSYS), "{status}");
}

fn child(mode: &str) -> std::process::ExitStatus {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "under_the_filter", "--nocapture", "--test-threads=1"])
        .env(CHILD, mode)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap()
}

/// What the child process runs; nothing in the parent.
#[test]
fn under_the_filter() {
    let Ok(mode) = std::env::var(CHILD) else { return };
    let forbidden = mode == "forbidden";
    let mode = if mode == "pure" { Mode::Pure } else { Mode::Fast };
    let (sgxs, sigstruct) = small::build(&[Routine::Spawns { count: 20 }, Routine::Spawned]);
    let root = std::fs::File::open("/tmp").unwrap().into();
    let pack = fake::pack_of(&sgxs, &sigstruct);
    let (events_root, events_pack) = (std::fs::File::open("/tmp").unwrap().into(), fake::pack());
    let driver = Emulator::new(mode).with_fresh_secret();
    let null = || std::fs::File::options().read(true).write(true).open("/dev/null").unwrap().into();
    let streams = [null(), null(), null()];
    let (stdin, feed) = std::io::pipe().unwrap();
    let more = [stdin.into(), null(), null()];
    // The services, asked for by a scripted enclave whose own threads start before the filter.
    let scripted =
        Enclave::load(&services(), events_pack, events_root, Options::default()).unwrap();
    scripted.start(b"{}".to_vec(), more).unwrap();
    let emulated = Enclave::load(&driver, pack, root, Options::default()).unwrap();

    filter();
    if forbidden {
        // SAFETY: getppid takes and gives a number.
        unsafe { libc::getppid() };
    }
    emulated.start(b"{}".to_vec(), streams).unwrap();
    let status = emulated.wait();
    drop(feed);
    let services = scripted.wait();
    let is_right = matches!(status, ExitStatus::Exited(ticks) if ticks > 0)
        && services == ExitStatus::Exited(0);
    std::process::exit(i32::from(!is_right));
}

fn services() -> fake::Fake {
    use hostcall::Request;
    fake::Fake::new(|thread| {
        // Waits until the filter is there: the end of stdin.
        let read = Request::StreamRead { stream: 0, length: 1, is_nonblocking: false };
        thread.data(read).unwrap();
        let _ = thread.ask(Request::FileOpen { path: b"/no such file" });
        let side = Request::ReadSideData { what: hostcall::SideData::Trees, offset: 0, length: 9 };
        thread.data(side).unwrap();
        thread.ask(Request::StreamWrite { stream: 1, is_nonblocking: false, bytes: b"x" }).unwrap();
        thread.ask(Request::StreamPoll { stream: 0 }).unwrap();
        thread.ask(Request::StreamWatch { stream: 0, interest: 1 }).unwrap();
        thread.data(Request::NextEvent {}).unwrap();
        thread.ask(Request::StreamIsTerminal { stream: 0 }).unwrap();
        thread.ask(Request::StreamClose { stream: 0 }).unwrap();
        sockets(thread);
        thread.ask(Request::Clock {}).unwrap();
        thread.ask(Request::Yield {}).unwrap();
        std::thread::sleep(Duration::from_millis(1));
        thread.exit(0);
    })
}

/// Every call on sockets; they reach each other over the host's loopback.
fn sockets(thread: &mut fake::Thread) {
    use hostcall::{Half, Request};
    let [high, low] = hostcall::address_words(std::net::Ipv4Addr::LOCALHOST.into());
    let mut listener = Err(0);
    let mut port = 20_000;
    while listener.is_err() {
        port += 1;
        let request = Request::NetListen { high, low, port, backlog: 1, is_v6_only: false };
        listener = thread.ask(request);
    }
    let stream = thread.ask(Request::NetConnect { high, low, port, is_datagram: false }).unwrap();
    let [stream, listener] = [stream as u32, listener.unwrap() as u32];
    thread.ask(Request::StreamWatch { stream: listener, interest: 1 }).unwrap();
    thread.data(Request::NextEvent {}).unwrap();
    thread.ask(Request::NetAccept { stream: listener }).unwrap();
    thread.ask(Request::NetError { stream }).unwrap();
    thread.ask(Request::NetName { stream }).unwrap();
    thread.ask(Request::StreamWrite { stream, is_nonblocking: true, bytes: b"x" }).unwrap();
    thread.ask(Request::NetShutdown { stream, half: Half::Both }).unwrap();
    thread.ask(Request::StreamClose { stream }).unwrap();
}

/// Allows the documented calls on all threads and kills the process for any other.
fn filter() {
    let statement = |code, k| libc::sock_filter { code, jt: 0, jf: 0, k };
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const RETURN: u16 = libc::BPF_RET as u16;
    const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let mut program = vec![statement(LOAD, 0)];
    for name in SYSCALLS.iter().chain(SYSCALLS_EMULATOR).chain(SYSCALLS_NETWORK) {
        program.push(libc::sock_filter { code: JUMP_EQUAL, jt: 0, jf: 1, k: number(name) });
        program.push(statement(RETURN, libc::SECCOMP_RET_ALLOW));
    }
    program.push(statement(RETURN, libc::SECCOMP_RET_KILL_PROCESS));
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the program is well formed and lives through the call; the flags are numbers.
    let result = unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_TSYNC,
            &program,
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

macro_rules! numbers {
    ($name:expr, $($call:ident)*) => {
        match $name {
            $(name if name == &stringify!($call)[4..] => libc::$call as u32,)*
            other => panic!("no number for {other}"),
        }
    };
}

fn number(name: &str) -> u32 {
    numbers!(
        name, SYS_brk SYS_clone SYS_clone3 SYS_exit SYS_exit_group SYS_futex SYS_gettid SYS_madvise SYS_mmap
        SYS_mprotect SYS_munmap SYS_prctl SYS_rseq SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn
        SYS_sched_getaffinity SYS_sched_yield SYS_set_robust_list SYS_sigaltstack SYS_clock_gettime
        SYS_clock_nanosleep SYS_close SYS_fcntl SYS_fstat SYS_newfstatat SYS_openat2 SYS_pread64 SYS_epoll_ctl
        SYS_epoll_pwait SYS_eventfd2 SYS_ioctl SYS_ppoll SYS_preadv2 SYS_pwritev2 SYS_read SYS_recvfrom SYS_sendto
        SYS_write SYS_arch_prctl SYS_getpid SYS_tgkill SYS_accept4 SYS_bind SYS_connect SYS_getsockname
        SYS_getsockopt SYS_listen SYS_setsockopt SYS_shutdown SYS_socket
    )
}
