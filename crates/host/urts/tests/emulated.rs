//! A real enclave on the emulator, in both modes: the run loop, threads and kicks.

mod fake;
mod small;

use fake::pack_of;
use sgx_emulator::{Emulator, Mode};
use small::Routine;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use urts::{Enclave, ExitStatus, HandleError, Options};

/// One emulated enclave per process at a time.
fn exclusive() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start(mode: Mode, routines: &[Routine]) -> Enclave {
    let (sgxs, sigstruct) = small::build(routines);
    let root = std::fs::File::open("/tmp").unwrap().into();
    let driver = Emulator::new(mode).with_fresh_secret();
    let options = Options::default();
    let enclave = Enclave::load(&driver, pack_of(&sgxs, &sigstruct), root, options).unwrap();
    let null = || std::fs::File::options().read(true).write(true).open("/dev/null").unwrap().into();
    enclave.start(b"{}".to_vec(), [null(), null(), null()]).unwrap();
    enclave
}

fn in_both_modes(run: impl Fn(Mode)) {
    let _one = exclusive();
    for mode in [Mode::Fast, Mode::Pure] {
        run(mode);
    }
}

const YIELD: u64 = 68;
const CLOCK: u64 = 80;

#[test]
fn host_calls_are_served() {
    in_both_modes(|mode| {
        for number in [YIELD, CLOCK] {
            let calls = Routine::Calls { count: 100, number, argument: 0 };
            assert_eq!(start(mode, &[calls]).wait(), ExitStatus::Exited(0), "{mode:?}");
        }
        let unknown = Routine::Calls { count: 1, number: 5, argument: 0 };
        let status = start(mode, &[unknown]).wait().to_string();
        let expected = "stopped: bad request of the enclave: host-call number: no call 5";
        assert_eq!(status, expected, "{mode:?}");
    });
}

#[test]
fn threads_start_and_wake_each_other() {
    in_both_modes(|mode| {
        let routines = [Routine::Spawns { count: 200 }, Routine::Spawned];
        let status = start(mode, &routines).wait();
        assert!(matches!(status, ExitStatus::Exited(ticks) if ticks > 0), "{mode:?}: {status}");
        let turns = |peer| Routine::PingPong { count: 500, peer };
        let status = start(mode, &[turns(1), turns(0)]).wait();
        assert_eq!(status, ExitStatus::Exited(0), "{mode:?}");
    });
}

#[test]
fn exceptions_are_handled_inside() {
    in_both_modes(|mode| {
        let traps = Routine::Traps { count: 200 };
        assert_eq!(start(mode, &[traps]).wait(), ExitStatus::Exited(0), "{mode:?}");
    });
}

#[test]
fn a_stop_interrupts_a_thread_that_makes_no_call() {
    in_both_modes(|mode| {
        let enclave = start(mode, &[Routine::Spin]);
        std::thread::sleep(Duration::from_millis(20));
        enclave.stop();
        assert!(matches!(enclave.wait(), ExitStatus::Stopped(_)));
        assert!(matches!(enclave.signal(0, 15), Err(HandleError::Ended(_))));
    });
}
