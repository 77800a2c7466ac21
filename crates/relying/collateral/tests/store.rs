//! The store over restarts, accidents and full disks.

use collateral::error::StoreError;
use collateral::index::{Edition, Entry, Name};
use collateral::object::{Ca, Object, Tee};
use collateral::store::{Accepted, Store};
use std::fs;
use std::path::{Path, PathBuf};
use workload::digest::{Digest, Hex};

const ROOT: Digest = Hex([1; 32]);
const CRL: Name = Name::RootCrl;

fn accepted(name: Name, issued: u64, number: u64, size: usize) -> Accepted {
    let edition = Edition { issued, number, next_update: issued + 100 };
    let crl = vec![number as u8; size];
    let object = Object::Crl { crl, issuer_chain: String::new() };
    Accepted { entry: Entry { root: ROOT, name, edition, held: None }, fetched: issued, object }
}

fn open(directory: &Path) -> Store {
    Store::open(directory, Store::ROOM).unwrap()
}

fn objects(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory.join("objects")).unwrap().map(|file| file.unwrap().path()).collect()
}

#[test]
fn objects_and_the_floor_survive_a_restart() {
    let place = tempfile::tempdir().unwrap();
    let put = accepted(CRL, 100, 7, 10);
    open(place.path()).put(std::slice::from_ref(&put)).unwrap();

    let store = open(place.path());
    assert_eq!(store.get(ROOT, CRL).unwrap(), Some(put.object));
    assert_eq!(store.get(Hex([2; 32]), CRL).unwrap(), None, "of another anchor");
    for (issued, number) in [(99, 7), (100, 6), (200, 6)] {
        let error = store.put(&[accepted(CRL, issued, number, 10)]).unwrap_err();
        assert!(matches!(error, StoreError::RollBack(_)), "{error}");
    }
    // A newer one replaces it, and leaves nothing behind.
    let newer = accepted(CRL, 101, 7, 11);
    store.put(std::slice::from_ref(&newer)).unwrap();
    assert_eq!(store.get(ROOT, CRL).unwrap(), Some(newer.object));
    assert_eq!(objects(place.path()).len(), 1);
}

#[test]
fn objects_that_come_together_are_kept_together_or_not_at_all() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path());
    let pck = Name::PckCrl { ca: Ca::Processor };
    store.put(&[accepted(CRL, 100, 7, 10)]).unwrap();
    let before = store.index().unwrap();
    store.put(&[accepted(pck, 100, 1, 10), accepted(CRL, 99, 7, 10)]).unwrap_err();
    assert_eq!(store.index().unwrap(), before);
    assert_eq!(store.get(ROOT, pck).unwrap(), None);
}

#[test]
fn a_damaged_object_is_forgotten_and_its_floor_stays() {
    type Damage = fn(&Path);
    let damages: [Damage; 4] = [
        |file| fs::write(file, "garbage").unwrap(),
        |file| fs::write(file, &fs::read(file).unwrap()[..20]).unwrap(),
        |file| fs::remove_file(file).unwrap(),
        |file| fs::write(file, vec![b'x'; 11 << 20]).unwrap(),
    ];
    for damage in damages {
        let place = tempfile::tempdir().unwrap();
        let store = open(place.path());
        store.put(&[accepted(CRL, 100, 7, 10)]).unwrap();
        damage(&objects(place.path())[0]);
        assert_eq!(store.get(ROOT, CRL).unwrap(), None);
        let entry = *store.index().unwrap().get(ROOT, CRL).unwrap();
        assert_eq!((entry.held, entry.edition.number), (None, 7));
        assert!(store.put(&[accepted(CRL, 100, 6, 10)]).is_err(), "the floor stays");
        store.put(&[accepted(CRL, 100, 7, 10)]).unwrap();
        assert!(store.get(ROOT, CRL).unwrap().is_some(), "and it can come again");
    }
}

#[test]
fn a_damaged_index_is_an_error_and_is_not_replaced() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path());
    store.put(&[accepted(CRL, 100, 7, 10)]).unwrap();
    let index = place.path().join("index");
    let good = fs::read(&index).unwrap();
    for damaged in [&b""[..], b"garbage", &good[..good.len() / 2], &vec![b'x'; 9 << 20]] {
        fs::write(&index, damaged).unwrap();
        let error = Store::open(place.path(), Store::ROOM).unwrap_err().to_string();
        assert!(error.starts_with(&index.display().to_string()), "{error}");
        assert!(store.put(&[accepted(CRL, 200, 8, 10)]).is_err());
        assert!(store.get(ROOT, CRL).is_err());
        assert_eq!(fs::read(&index).unwrap(), damaged, "what is there may still be of use");
    }
    fs::write(&index, good).unwrap();
    assert!(store.get(ROOT, CRL).unwrap().is_some(), "nothing was lost");
}

#[test]
fn the_oldest_objects_make_room_and_their_floors_stay() {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(place.path(), 1000).unwrap();
    let pck = Name::PckCrl { ca: Ca::Processor };
    store.put(&[accepted(CRL, 100, 7, 300)]).unwrap();
    store.put(&[accepted(pck, 101, 8, 300)]).unwrap();
    assert_eq!(store.get(ROOT, CRL).unwrap(), None);
    assert!(store.get(ROOT, pck).unwrap().is_some());
    assert_eq!(objects(place.path()).len(), 1);
    assert!(store.put(&[accepted(CRL, 99, 7, 10)]).is_err());
    let error = store.put(&[accepted(CRL, 100, 9, 2000)]).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
}

#[test]
fn an_index_that_could_not_be_read_again_is_not_written() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path());
    store.put(&[accepted(CRL, 100, 7, 10)]).unwrap();
    let before = store.index().unwrap();
    let many: Vec<Accepted> = (0..40_000_u32)
        .map(|number| {
            let [a, b, c, d] = number.to_be_bytes();
            let name = Name::TcbInfo { tee: Tee::Sgx, fmspc: Hex([0, 0, a, b, c, d]) };
            accepted(name, 100, 7, 1)
        })
        .collect();
    let error = store.put(&many).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
    assert_eq!(store.index().unwrap(), before);
}

#[test]
fn many_at_once_never_lower_the_floor() {
    let place = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = open(place.path());
            scope.spawn(move || {
                for step in 0..10 {
                    let number = 1 + (thread * 7 + step * 13) % 40;
                    // Refused where another was faster with a newer one.
                    let _ = store.put(&[accepted(CRL, 100, number, 10)]);
                    let floor = store.index().unwrap().get(ROOT, CRL).unwrap().edition.number;
                    assert!(floor >= number, "{floor} after {number}");
                }
            });
        }
    });
    let store = open(place.path());
    let newest =
        (0..4).flat_map(|thread| (0..10).map(move |step| 1 + (thread * 7 + step * 13) % 40));
    let floor = store.index().unwrap().get(ROOT, CRL).unwrap().edition.number;
    assert_eq!(floor, newest.max().unwrap());
    assert!(store.get(ROOT, CRL).unwrap().is_some());
}

#[test]
fn a_full_disk_is_an_error_and_loses_nothing() {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    let place = tempfile::tempdir().unwrap();
    let small = Some(c"size=64k");
    if mount("tmpfs", place.path(), "tmpfs", MountFlags::empty(), small).is_err() {
        eprintln!("skipped: only root can mount a small disk");
        return;
    }
    let held = accepted(CRL, 100, 7, 100);
    let store = open(place.path());
    store.put(std::slice::from_ref(&held)).unwrap();
    let before = store.index().unwrap();
    let error = store.put(&[accepted(CRL, 101, 8, 100_000)]).unwrap_err();
    assert!(error.to_string().contains("No space left on device"), "{error}");
    assert_eq!(store.index().unwrap(), before);
    assert_eq!(store.get(ROOT, CRL).unwrap(), Some(held.object));
    // What was written in part is gone: there is room again.
    store.put(&[accepted(CRL, 101, 8, 1000)]).unwrap();
    drop(store);
    unmount(place.path(), UnmountFlags::empty()).unwrap();
}
