//! What leaving an emulated enclave costs: a host call, waking a thread, starting one. The least of five runs.

#[path = "../tests/fake/mod.rs"]
mod fake;
#[path = "../tests/small/mod.rs"]
mod small;

use fake::pack_of;
use sgx_emulator::{Emulator, Mode};
use small::Routine;
use std::time::{Duration, Instant};
use urts::{Enclave, ExitStatus, Options};

/// HostCall StreamPoll, of a stream that is not there.
const POLL: Routine = Routine::Calls { count: CALLS, number: 34, argument: 99 };
const CALLS: u64 = 20_000;
const TURNS: u64 = 2_000;

fn main() {
    let khz = tsc_khz();
    for mode in [Mode::Fast, Mode::Pure] {
        println!("{mode:?}: host call {:.0} ns", least(mode, CALLS, &[POLL]));
        let turn = |peer| Routine::PingPong { count: TURNS, peer };
        println!(
            "{mode:?}: wake another thread {:.0} ns",
            least(mode, 2 * TURNS, &[turn(1), turn(0)])
        );
        let routines = [Routine::Spawns { count: TURNS }, Routine::Spawned];
        let ticks = (0..5).map(|_| match start(mode, &routines).wait() {
            ExitStatus::Exited(ticks) => ticks,
            other => panic!("{mode:?}: {other}"),
        });
        let ticks = ticks.min().unwrap_or_default();
        println!("{mode:?}: thread start {:.1} us", f64::from(ticks) * 1000.0 / khz);
    }
}

fn least(mode: Mode, count: u64, routines: &[Routine]) -> f64 {
    let one = || {
        let enclave = start(mode, routines);
        let begin = Instant::now();
        assert!(matches!(enclave.wait(), ExitStatus::Exited(_)));
        begin.elapsed().as_nanos() as f64 / count as f64
    };
    (0..5).map(|_| one()).fold(f64::MAX, f64::min)
}

fn start(mode: Mode, routines: &[Routine]) -> Enclave {
    let (sgxs, sigstruct) = small::build(routines);
    let root = std::fs::File::open("/tmp").expect("/tmp").into();
    let driver = Emulator::new(mode).with_fresh_secret();
    let pack = pack_of(&sgxs, &sigstruct);
    let enclave = Enclave::load(&driver, pack, root, Options::default()).expect("an enclave");
    let null = || {
        std::fs::File::options().read(true).write(true).open("/dev/null").expect("/dev/null").into()
    };
    enclave.start(b"{}".to_vec(), [null(), null(), null()]).expect("a start");
    enclave
}

fn tsc_khz() -> f64 {
    // SAFETY: RDTSC is part of every x86-64 processor.
    let tsc = || unsafe { core::arch::x86_64::_rdtsc() };
    let (begin, start) = (tsc(), Instant::now());
    std::thread::sleep(Duration::from_millis(50));
    (tsc() - begin) as f64 / (start.elapsed().as_nanos() as f64 / 1e6)
}
