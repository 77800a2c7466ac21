//! The cache, with collateral of the emulated platform: its dates and numbers are the test's to choose.

#[path = "support/server.rs"]
mod server;

use attestation::time::Now;
use attestation::{TrustAnchor, crypto};
use collateral::cache::{Cache, Schedule};
use collateral::clock::Clock;
use collateral::error::{CacheError, StoreError};
use collateral::object::{Ca, Tee, Wanted};
use collateral::pcs::{Pcs, Timeouts};
use collateral::store::Store;
use emulated_platform::{Collateral, CollateralSettings, Dates, FMSPC, Issued, PckCa, Root};
use server::{Answer, Server};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const DAY: u64 = 24 * 3600;
/// The first moment of the tests: 2026-11-20T00:00:00Z.
const START: u64 = 1_795_132_800;

const WANTED: Wanted = Wanted { tee: Tee::Sgx, fmspc: FMSPC, ca: Ca::Processor };

/// A clock that the test sets.
#[derive(Clone)]
struct Set(Arc<AtomicU64>);

impl Clock for Set {
    fn now(&self) -> Now {
        Now::given(self.0.load(Ordering::SeqCst))
    }
}

/// A root, a service that gives out its collateral, and a clock.
struct Scene {
    root: Root,
    server: Server,
    clock: Set,
}

impl Scene {
    fn new() -> Self {
        let root = root(1);
        Self { root, server: Server::start(), clock: Set(Arc::new(AtomicU64::new(START))) }
    }

    fn at(&self, seconds: u64) {
        self.clock.0.store(seconds, Ordering::SeqCst);
    }

    /// Makes the service give out collateral of this day and evaluation.
    fn publish(&self, day: u64, evaluation: u32) {
        let settings = CollateralSettings { evaluation, ..CollateralSettings::default() };
        self.publish_as(&issue(&self.root, &settings, day), |answer| answer);
    }

    fn publish_as(&self, collateral: &Collateral, change: impl Fn(Answer) -> Answer) {
        for (path, answer) in answers(collateral) {
            self.server.answer(&path, change(answer));
        }
    }

    fn fail(&self) {
        for (path, _) in answers(&issue(&self.root, &CollateralSettings::default(), START)) {
            self.server.answer(&path, Answer::status(500));
        }
    }

    fn cache(&self, directory: Option<&Path>) -> Cache {
        self.cache_of(&self.root, directory, true)
    }

    fn cache_of(&self, root: &Root, directory: Option<&Path>, is_online: bool) -> Cache {
        let anchor = TrustAnchor::from_der(root.certificate(), &crypto::Default::default());
        let store = directory.map(|directory| Store::open(directory, Store::ROOM).unwrap());
        let pcs = is_online.then(|| Pcs::new(&self.server.url, Timeouts::default()).unwrap());
        let schedule = Schedule::default();
        Cache::new(anchor.unwrap(), store, pcs, Box::new(self.clock.clone()), schedule)
    }

    fn asked(&self) -> usize {
        self.server.asked().len()
    }
}

fn root(number: u8) -> Root {
    let secret = sgx::keys::Platform {
        root: [number; 16],
        seal_fuses: [number; 16],
        owner_epoch: [number; 16],
        cpusvn: [number; 16],
    };
    Root::new(&secret, Dates::default()).unwrap()
}

fn issue(root: &Root, settings: &CollateralSettings, day: u64) -> Collateral {
    // Given out from the midnight before the hour before.
    let issued = Issued::at((day + 3600) as i64);
    Collateral::issue(root, PckCa::Processor, settings, issued).unwrap()
}

fn answers(collateral: &Collateral) -> [(String, Answer); 4] {
    let encode = |chain: &str| {
        let encoded = chain.bytes().map(|byte| format!("%{byte:02X}"));
        encoded.collect::<String>()
    };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let signed = |member: &str, body: &str, signature: &[u8]| {
        Answer::ok(format!(r#"{{"{member}":{body},"signature":"{}"}}"#, hex(signature)))
    };
    let fmspc = hex(&FMSPC).to_uppercase();
    [
        (
            format!("/sgx/certification/v4/tcb?fmspc={fmspc}&update=standard"),
            signed("tcbInfo", &collateral.tcb_info, &collateral.tcb_info_signature)
                .header("TCB-Info-Issuer-Chain", &encode(&collateral.tcb_info_issuer_chain)),
        ),
        (
            "/sgx/certification/v4/qe/identity?update=standard".into(),
            signed("enclaveIdentity", &collateral.qe_identity, &collateral.qe_identity_signature)
                .header(
                    "SGX-Enclave-Identity-Issuer-Chain",
                    &encode(&collateral.qe_identity_issuer_chain),
                ),
        ),
        (
            "/sgx/certification/v4/pckcrl?ca=processor&encoding=der".into(),
            Answer::ok(collateral.pck_crl.clone())
                .header("SGX-PCK-CRL-Issuer-Chain", &encode(&collateral.pck_crl_issuer_chain)),
        ),
        ("/sgx/certification/v4/rootcacrl".into(), Answer::ok(hex(&collateral.root_ca_crl))),
    ]
}

fn document(collateral: &Collateral) -> attestation::Collateral {
    attestation::Collateral::from_json(&serde_json::to_vec(collateral).unwrap()).unwrap()
}

#[test]
fn fetched_once_and_refreshed_after_a_day() {
    let scene = Scene::new();
    scene.publish(START, 1);
    let cache = scene.cache(None);
    let current = cache.get(WANTED).unwrap();
    assert_eq!((current.wanted, current.fetched, scene.asked()), (WANTED, START, 4));
    for seconds in [START, START + DAY - 1] {
        scene.at(seconds);
        cache.get(WANTED).unwrap();
        assert_eq!(scene.asked(), 4);
    }
    scene.at(START + DAY);
    scene.publish(START + DAY, 1);
    assert_eq!(cache.get(WANTED).unwrap().fetched, START + DAY);
    assert_eq!(scene.asked(), 8);
}

#[test]
fn objects_that_sets_share_are_asked_for_once_and_grow_old() {
    let place = tempfile::tempdir().unwrap();
    let scene = Scene::new();
    scene.publish(START, 1);
    let other = CollateralSettings { fmspc: [9; 6], ..CollateralSettings::default() };
    let (_, answer) = answers(&issue(&scene.root, &other, START))[0].clone();
    let path = "/sgx/certification/v4/tcb?fmspc=090909090909&update=standard";
    scene.server.answer(path, answer);
    scene.cache(Some(place.path())).get(WANTED).unwrap();
    scene.at(START + DAY - 1);
    scene.cache(Some(place.path())).get(Wanted { fmspc: [9; 6], ..WANTED }).unwrap();
    assert_eq!(scene.asked(), 5, "of the other platform only the TCB info is new");
    // A day after they came all are asked for again, though they were used since.
    scene.at(START + DAY);
    scene.cache(Some(place.path())).get(WANTED).unwrap();
    assert_eq!(scene.asked(), 9);
}

#[test]
fn what_is_stale_is_used_to_its_last_second_and_no_longer() {
    let place = tempfile::tempdir().unwrap();
    let scene = Scene::new();
    scene.publish(START, 1);
    let cache = scene.cache(Some(place.path()));
    let end = cache.get(WANTED).unwrap().verified.validity().not_after;
    scene.fail();
    for seconds in [START + DAY, end] {
        scene.at(seconds);
        assert_eq!(cache.get(WANTED).unwrap().fetched, START);
        // A new process has it from the store.
        assert_eq!(scene.cache(Some(place.path())).get(WANTED).unwrap().fetched, START);
    }
    scene.at(end + 1);
    for cache in [cache, scene.cache(Some(place.path()))] {
        let error = cache.get(WANTED).unwrap_err();
        assert!(error.to_string().contains("expected status 200, got 500"), "{error}");
    }
    // A clock that went back before it was issued is no better.
    scene.at(START - DAY);
    scene.cache(Some(place.path())).get(WANTED).unwrap_err();
}

#[test]
fn after_a_failure_the_service_is_left_alone_for_a_minute() {
    let scene = Scene::new();
    scene.fail();
    let cache = scene.cache(None);
    let retry = Schedule::default().retry_after;
    for (seconds, asked) in [(START, 1), (START, 1), (START + retry - 1, 1), (START + retry, 2)] {
        scene.at(seconds);
        cache.get(WANTED).unwrap_err();
        assert_eq!(scene.asked(), asked, "at {seconds}");
    }
    // Another platform's failure is its own.
    cache.get(Wanted { fmspc: [1; 6], ..WANTED }).unwrap_err();
    assert_eq!(scene.asked(), 3);
    scene.publish(START, 1);
    scene.at(START + 2 * retry);
    cache.get(WANTED).unwrap();
}

#[test]
fn however_many_ask_one_asks_the_service() {
    let scene = Scene::new();
    let collateral = issue(&scene.root, &CollateralSettings::default(), START);
    scene.publish_as(&collateral, |answer| Answer { delay: Duration::from_millis(100), ..answer });
    let cache = scene.cache(None);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| cache.get(WANTED).unwrap());
        }
    });
    assert_eq!(scene.asked(), 4);

    // Who has something valid does not wait for the one who asks for something newer.
    scene.at(START + 2 * DAY);
    scene.publish_as(&collateral, |answer| Answer { delay: Duration::from_millis(300), ..answer });
    std::thread::scope(|scope| {
        let asks = scope.spawn(|| cache.get(WANTED).unwrap());
        while scene.asked() == 4 {
            std::thread::yield_now();
        }
        assert_eq!(cache.get(WANTED).unwrap().fetched, START);
        assert!(!asks.is_finished(), "the first is still asking");
    });
    assert_eq!(scene.asked(), 8);
    assert_eq!(cache.get(WANTED).unwrap().fetched, START + 2 * DAY);
}

#[test]
fn an_older_edition_is_refused_over_restarts() {
    let place = tempfile::tempdir().unwrap();
    let scene = Scene::new();
    scene.publish(START, 7);
    scene.cache(Some(place.path())).get(WANTED).unwrap();

    // A lower evaluation number with a newer date, and an older date.
    scene.at(START + 2 * DAY);
    for (day, evaluation, field) in [(START + DAY, 6, "number"), (START - DAY, 7, "number")] {
        scene.publish(day, evaluation);
        let cache = scene.cache(Some(place.path()));
        // What was there is valid, and used.
        assert_eq!(cache.get(WANTED).unwrap().fetched, START);
        let old = issue(
            &scene.root,
            &CollateralSettings { evaluation, ..CollateralSettings::default() },
            day,
        );
        let error = cache.import(document(&old)).unwrap_err();
        let CacheError::Store(StoreError::RollBack(refusal)) = error else { panic!("{error}") };
        assert_eq!(refusal.field, field);
    }
    // Nothing valid left, and the service offers only what is older: no collateral.
    std::fs::remove_dir_all(place.path().join("objects")).unwrap();
    let error = scene.cache(Some(place.path())).get(WANTED).unwrap_err();
    assert!(matches!(&*error, CacheError::Store(StoreError::RollBack(_))), "{error}");

    // Without a store the floor lives as long as the cache.
    let cache = scene.cache(None);
    scene.publish(START + DAY, 7);
    cache.get(WANTED).unwrap();
    scene.publish(START + DAY, 6);
    scene.at(START + 4 * DAY);
    assert_eq!(cache.get(WANTED).unwrap().fetched, START + 2 * DAY);
}

#[test]
fn anchors_share_a_store_and_nothing_else() {
    let place = tempfile::tempdir().unwrap();
    let (scene, other) = (Scene::new(), root(2));
    scene.publish(START, 7);
    scene.cache(Some(place.path())).get(WANTED).unwrap();
    // The service's collateral is another root's.
    let cache = scene.cache_of(&other, Some(place.path()), true);
    let error = cache.get(WANTED).unwrap_err();
    assert!(matches!(&*error, CacheError::Refused(_)), "{error}");
    let theirs = issue(&other, &CollateralSettings::default(), START);
    cache.import(document(&theirs)).unwrap();
    assert!(scene.cache(Some(place.path())).import(document(&theirs)).is_err());
    assert!(scene.cache_of(&scene.root, Some(place.path()), false).get(WANTED).is_ok());
}

#[test]
fn a_bundle_goes_out_and_in_and_works_without_network() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let scene = Scene::new();
    scene.publish(START, 1);
    let current = scene.cache(Some(here.path())).get(WANTED).unwrap();
    let json = current.document.to_json();

    let offline = scene.cache_of(&scene.root, Some(there.path()), false);
    let error = offline.get(WANTED).unwrap_err();
    assert!(matches!(&*error, CacheError::Offline { .. }), "{error}");
    let bundle = attestation::Collateral::from_json(json.as_bytes()).unwrap();
    assert_eq!(offline.import(bundle).unwrap().wanted, WANTED);
    let again = scene.cache_of(&scene.root, Some(there.path()), false).get(WANTED).unwrap();
    assert_eq!(again.document.to_json(), json, "byte for byte");
    assert_eq!(scene.asked(), 4);
}

#[test]
fn answers_that_do_not_verify_are_not_kept() {
    let place = tempfile::tempdir().unwrap();
    let scene = Scene::new();
    let good = issue(&scene.root, &CollateralSettings::default(), START);
    let forged = good.tcb_info.replace("UpToDate", "Uptodate");
    let another = CollateralSettings { fmspc: [9; 6], ..CollateralSettings::default() };
    let expired = issue(&scene.root, &CollateralSettings::default(), START - 31 * DAY);
    let cases = [
        Collateral { tcb_info: forged, ..good.clone() },
        Collateral { pck_crl: good.root_ca_crl.clone(), ..good.clone() },
        Collateral { qe_identity: good.tcb_info.clone(), ..good.clone() },
        Collateral { tcb_info_issuer_chain: good.pck_crl_issuer_chain.clone(), ..good.clone() },
        expired,
    ];
    for (case, collateral) in cases.iter().enumerate() {
        scene.publish_as(collateral, |answer| answer);
        let error = scene.cache(Some(place.path())).get(WANTED).unwrap_err();
        assert!(matches!(&*error, CacheError::Refused(_)), "case {case}: {error}");
    }
    scene.publish_as(&issue(&scene.root, &another, START), |answer| answer);
    let error = scene.cache(None).get(WANTED).unwrap_err();
    assert!(matches!(&*error, CacheError::Another { .. }), "{error}");
    let store = Store::open(place.path(), Store::ROOM).unwrap();
    assert_eq!(store.index().unwrap().entries().count(), 0);
}

#[test]
fn a_changed_object_on_the_disk_is_fetched_again() {
    let place = tempfile::tempdir().unwrap();
    let scene = Scene::new();
    scene.publish(START, 1);
    scene.cache(Some(place.path())).get(WANTED).unwrap();
    for object in std::fs::read_dir(place.path().join("objects")).unwrap() {
        std::fs::write(object.unwrap().path(), "{}").unwrap();
    }
    scene.cache(Some(place.path())).get(WANTED).unwrap();
    assert_eq!(scene.asked(), 8);
}
