//! The verified root against hosts that lie, cut, change and flip.

use crate::errno::Errno;
use crate::fs::testing::Arg::{N, P, S};
use crate::fs::testing::{Image, Item, Lie, TestTask};

fn contents(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 % 253) as u8).collect()
}

/// Opens a file and reads `length` bytes at `offset`.
fn read(task: &TestTask, path: &str, offset: i64, length: usize) -> Result<Vec<u8>, Errno> {
    let fd = task.call(2, &[S(path.as_bytes()), N(0), N(0)])? as i64;
    let count = task.call(17, &[N(fd), P(0), N(length as i64), N(offset)]);
    task.call(3, &[N(fd)]).unwrap();
    Ok(task.buffer(0, count? as usize))
}

fn image(big: &[u8]) -> Image {
    Image::new(&[
        Item::Directory("/bin", 0o755),
        Item::File("/bin/big", 0o755, big),
        Item::File("/bin/small", 0o644, b"hello"),
        Item::File("/bin/empty", 0o644, b""),
        Item::Link("/bin/link", "small"),
    ])
}

#[test]
fn what_was_measured_is_read_from_any_offset() {
    let big = contents(1_000_003);
    let task = image(&big).task();
    assert_eq!(read(&task, "/bin/big", 0, 2_000_000).unwrap(), big);
    for (offset, length) in [(0, 1), (4095, 2), (999_999, 100), (500_000, 70_000), (1_000_003, 5)] {
        let end = (offset + length).min(big.len());
        assert_eq!(read(&task, "/bin/big", offset as i64, length).unwrap(), big[offset..end]);
    }
    assert_eq!(read(&task, "/bin/link", 0, 100).unwrap(), b"hello");
    assert_eq!(read(&task, "/bin/empty", 0, 100).unwrap(), b"");
}

#[test]
fn the_size_of_a_directory_does_not_change_when_its_names_are_read() {
    // tar takes such a change for a directory that is written to while it reads.
    let task = image(b"x").task();
    let size = || {
        task.call(4, &[S(b"/bin"), P(0)]).unwrap();
        let stat = task.buffer(0, 144);
        i64::from_le_bytes(stat[48..56].try_into().unwrap())
    };
    let before = size();
    assert_eq!(before, (4 + 2) * 20);
    let fd = task.call(2, &[S(b"/bin"), N(0), N(0)]).unwrap() as i64;
    assert!(task.call(217, &[N(fd), P(0), N(4096)]).unwrap() > 0);
    assert_eq!(size(), before);
}

#[test]
fn a_reader_in_order_gets_many_blocks_per_host_call_and_the_cache_stays_bounded() {
    let big = contents(1 << 20);
    let image = image(&big);
    let task = image.task();
    assert_eq!(read(&task, "/bin/big", 0, 1 << 20).unwrap(), big);
    assert_eq!(image.host.reads.lock().unwrap().len(), 16, "64 KiB each");
    // The cache of 64 blocks holds the end of the file; one block somewhere else is one block.
    read(&task, "/bin/big", 100, 10).unwrap();
    assert_eq!(image.host.reads.lock().unwrap().last().unwrap().2, 4096);
}

#[test]
fn a_host_file_that_the_metadata_does_not_name_does_not_exist() {
    let image = image(b"x");
    image.host.files.lock().unwrap().insert(b"/bin/evil".to_vec(), b"evil".to_vec());
    let task = image.task();
    assert_eq!(read(&task, "/bin/evil", 0, 4), Err(Errno::ENOENT));
    assert!(image.host.opened.lock().unwrap().is_empty(), "the host is not even asked");
}

#[test]
fn a_file_changed_after_start_is_eio_and_a_line_that_says_where() {
    let big = contents(100_000);
    let image = image(&big);
    let task = image.task();
    assert!(read(&task, "/bin/big", 0, 10).is_ok());
    image.host.files.lock().unwrap().get_mut(&b"/bin/big"[..]).unwrap()[80_000] ^= 1;
    assert_eq!(read(&task, "/bin/big", 80_000, 1), Err(Errno::EIO));
    let log = image.host.log.lock().unwrap();
    assert!(log[0].starts_with("refused: /bin/big: data block 19: expected "), "{log:?}");
    assert!(log[0].contains(", got "), "{log:?}");
    drop(log);
    // What comes before the change is still given, up to the bad block.
    assert_eq!(read(&task, "/bin/big", 70_000, 20_000).unwrap(), big[70_000..77_824]);
    // And back: the block is asked for again.
    image.host.files.lock().unwrap().get_mut(&b"/bin/big"[..]).unwrap()[80_000] ^= 1;
    assert_eq!(read(&task, "/bin/big", 80_000, 1).unwrap(), big[80_000..80_001]);
}

#[test]
fn shorter_longer_and_missing_files_are_eio() {
    for change in [0usize, 1, 2] {
        let image = image(&contents(9000));
        let task = image.task();
        {
            let mut files = image.host.files.lock().unwrap();
            match change {
                0 => files.get_mut(&b"/bin/big"[..]).unwrap().truncate(8500),
                1 => drop(files.remove(&b"/bin/big"[..])),
                _ => files.insert(b"/bin/big".to_vec(), Vec::new()).map(drop).unwrap(),
            }
        }
        assert_eq!(read(&task, "/bin/big", 8600, 10), Err(Errno::EIO), "{change}");
        assert_eq!(image.host.log.lock().unwrap().len(), 1);
    }
    // A longer file is read up to the measured size.
    let image = image(b"x");
    image.host.files.lock().unwrap().insert(b"/bin/small".to_vec(), b"hello world".to_vec());
    assert_eq!(read(&image.task(), "/bin/small", 0, 100).unwrap(), b"hello");
}

#[test]
fn lies_about_lengths_and_errors_are_eio() {
    for lie in [Lie::TooMuch, Lie::Nothing, Lie::StrangeError] {
        let image = image(&contents(9000));
        let task = image.task();
        task.call(4, &[S(b"/bin/big"), P(0)]).unwrap();
        *image.host.lie.lock().unwrap() = lie;
        assert_eq!(read(&task, "/bin/big", 0, 10), Err(Errno::EIO), "{lie:?}");
        assert!(!image.host.log.lock().unwrap().is_empty());
    }
}

#[test]
fn flipped_bytes_of_trees_and_metadata_never_give_wrong_data() {
    let big = contents(700_000);
    let original = image(&big);
    let trees = original.host.trees.lock().unwrap().len();
    let metadata = original.host.metadata.lock().unwrap().len();
    for at in (0..trees).step_by(1021).chain([0, trees - 1]) {
        let image = image(&big);
        image.host.trees.lock().unwrap()[at] ^= 0x40;
        let Ok(root) = image.mount(64) else { continue };
        let task = TestTask::new(image.machine, root);
        for offset in [0, 350_000, 699_000] {
            if let Ok(bytes) = read(&task, "/bin/big", offset, 1000) {
                assert_eq!(bytes, big[offset as usize..][..bytes.len()], "flip at {at}");
            }
        }
    }
    for at in (0..metadata).step_by(509).chain([0, metadata - 1]) {
        let image = image(&big);
        image.host.metadata.lock().unwrap()[at] ^= 0x40;
        if let Ok(root) = image.mount(64) {
            let task = TestTask::new(image.machine, root);
            match read(&task, "/bin/small", 0, 100) {
                Ok(bytes) => assert_eq!(bytes, b"hello", "flip at {at}"),
                Err(error) => assert_eq!(error, Errno::EIO, "flip at {at}"),
            }
        }
    }
}

#[test]
fn truncated_metadata_is_refused_at_start_by_name() {
    for keep in [0, 1, 100, 4096, 5000] {
        let image = image(b"x");
        image.host.metadata.lock().unwrap().truncate(keep);
        match image.mount(64) {
            Err(line) => assert!(line.contains("Metadata") || line.contains("metadata"), "{line}"),
            // Block 0 and the root's inode are there: what is missing shows when it is needed.
            Ok(root) => {
                let task = TestTask::new(image.machine, root);
                assert_eq!(read(&task, "/bin/small", 0, 1), Err(Errno::EIO), "{keep}");
            }
        }
    }
}

#[test]
fn a_written_file_is_copied_up_by_page_and_no_longer_measured() {
    let big = contents(100_000);
    let image = image(&big);
    let task = image.task();
    let fd = task.call(2, &[S(b"/bin/big"), N(2), N(0)]).unwrap() as i64;
    let open = task.files.get(fd as i32).unwrap();
    let pages = open.file.pages().unwrap();
    assert!(pages.content_digest().is_some());
    task.set_buffer(0, b"changed");
    assert_eq!(task.call(18, &[N(fd), P(0), N(7), N(50_000)]), Ok(7));
    assert_eq!(pages.content_digest(), None);
    let mut expected = big.clone();
    expected[50_000..50_007].copy_from_slice(b"changed");
    assert_eq!(read(&task, "/bin/big", 0, 200_000).unwrap(), expected);
    // Truncated and grown again: what was cut off does not come back from below.
    assert_eq!(task.call(77, &[N(fd), N(10)]), Ok(0));
    assert_eq!(task.call(77, &[N(fd), N(20)]), Ok(0));
    let mut expected = big[..10].to_vec();
    expected.resize(20, 0);
    assert_eq!(read(&task, "/bin/big", 0, 100).unwrap(), expected);
}

#[test]
fn shared_pages_are_the_file() {
    use crate::platform::{Access, Platform};
    let big = contents(10_000);
    let image = image(&big);
    let task = image.task();
    let fd = task.call(2, &[S(b"/bin/big"), N(2), N(0)]).unwrap() as i64;
    let pages = task.files.get(fd as i32).unwrap().file.pages().unwrap();
    let address = 0x4_0000;
    let access = Access { read: true, write: true, execute: false };
    image.machine.commit(address..address + 0x1000, access).unwrap();
    pages.share_page(1, address).unwrap();
    // A store through the mapping is seen by read, a write by the mapping.
    image.machine.write(address + 5, b"store").unwrap();
    assert_eq!(read(&task, "/bin/big", 4096, 12).unwrap()[5..10], *b"store");
    task.set_buffer(0, b"write");
    task.call(18, &[N(fd), P(0), N(5), N(4096 + 100)]).unwrap();
    let mut seen = [0; 5];
    image.machine.read(address + 100, &mut seen).unwrap();
    assert_eq!(&seen, b"write");
    pages.unshare_page(1);
    image.machine.release(address..address + 0x1000);
    let mut expected = big;
    expected[4101..4106].copy_from_slice(b"store");
    expected[4196..4201].copy_from_slice(b"write");
    assert_eq!(read(&task, "/bin/big", 0, 20_000).unwrap(), expected);
}
