//! Verifying a quote, against the crate dcap-qvl with ring on the same quote and collateral.
//!
//! `cargo bench -p attestation --bench verify`; `cargo xtask bench attestation` judges what it prints. Ours and
//! the peer run alternately on one thread, and the CPU time of the thread is what counts. A line per speed:
//! name, our median, the peer's median (both in µs), the median of the paired ratios peer / ours, and how
//! many signatures ours checks.

use attestation::crypto::{Counted, Ring};
use attestation::{
    Collateral, Decision, KnownPlatforms, Now, Policy, TcbStatus, TrustAnchor, Verifier,
};
use dcap_qvl::verify::QuoteVerifier;

const QUOTE: &[u8] = include_bytes!("../tests/vectors/sgx/sgx_quote");
const COLLATERAL: &[u8] = include_bytes!("../tests/vectors/sgx/sgx_quote_collateral.json");
const ROOT: &[u8] = include_bytes!("../tests/vectors/collateral/intel-sgx-root-ca.der");
const NOW: Now = Now::given(1_752_919_277);

/// Pairs of samples, and verifications in each sample.
const PAIRS: usize = 41;
const BATCH: u32 = 24;

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let anchor = TrustAnchor::from_der(ROOT, &Ring).expect("a root");
    let ours = Verifier::new(Counted::new(Ring), anchor);
    let collateral = Collateral::from_json(COLLATERAL).expect("collateral");
    let mut policy = Policy::strict(*ours.anchor().sha256());
    policy.tcb_status = vec![TcbStatus::ConfigurationAndSWHardeningNeeded];

    let peer = QuoteVerifier::new(ROOT.to_vec());
    let peer_collateral: dcap_qvl::QuoteCollateralV3 =
        serde_json::from_slice(COLLATERAL).expect("collateral");
    let peer = || {
        let report = peer.verify(QUOTE, &peer_collateral, NOW.seconds).expect("a good quote");
        assert_eq!(report.status, "ConfigurationAndSWHardeningNeeded");
    };

    let verified = ours.collateral(&collateral, NOW).expect("good collateral");
    let none = KnownPlatforms::default();
    let mut known = KnownPlatforms::with_limit(1);
    let mut first = ours.examine_with(QUOTE, &verified, &none, NOW);
    known.insert(first.take_platform().expect("a platform not seen before"));

    let authentic = |examination: attestation::Examination<'_>| {
        assert_eq!(examination.authenticate(&policy).verdict, Decision::Authentic);
    };
    let count = || ours.crypto().signatures();
    report("cold", count, || authentic(ours.examine(QUOTE, &collateral, NOW)), &peer);
    report("warm", count, || authentic(ours.examine_with(QUOTE, &verified, &none, NOW)), &peer);
    report("known", count, || authentic(ours.examine_with(QUOTE, &verified, &known, NOW)), &peer);
}

/// Time of this thread on a CPU in ns: what other load takes does not count.
fn cpu_time_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn report(name: &str, count: impl Fn() -> u64, ours: impl Fn(), peer: &impl Fn()) {
    let before = count();
    ours();
    let signatures = count() - before;
    let batch = |run: &dyn Fn()| {
        let start = cpu_time_ns();
        (0..BATCH).for_each(|_| run());
        (cpu_time_ns() - start) as f64 / 1e3 / f64::from(BATCH)
    };
    let pairs: Vec<_> = (0..PAIRS).map(|_| (batch(&ours), batch(peer))).collect();
    let ours = median(pairs.iter().map(|pair| pair.0));
    let theirs = median(pairs.iter().map(|pair| pair.1));
    let ratio = median(pairs.iter().map(|pair| pair.1 / pair.0));
    println!("{name} {ours:.2} {theirs:.2} {ratio:.4} {signatures}");
}

fn median(samples: impl Iterator<Item = f64>) -> f64 {
    let mut samples: Vec<_> = samples.collect();
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
