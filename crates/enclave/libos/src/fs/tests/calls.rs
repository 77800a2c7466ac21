//! System calls, by number.

use crate::errno::Errno;
use crate::fs::flags::{AT_FDCWD, O_CLOEXEC, O_CREAT, O_NONBLOCK, O_RDWR};
use crate::fs::task::signo::SIGPIPE;
use crate::fs::testing::Arg::{N, P, S};
use crate::fs::testing::{BASE, TestTask};
use std::time::Duration;

const CWD: i64 = AT_FDCWD as i64;

fn create(task: &TestTask, path: &str) -> i64 {
    let flags = i64::from(O_RDWR | O_CREAT);
    task.call(257, &[N(CWD), S(path.as_bytes()), N(flags), N(0o644)]).unwrap() as i64
}

/// pipe2(2): reader and writer.
fn pipe(task: &TestTask, flags: u32) -> (i64, i64) {
    task.call(293, &[P(0), N(i64::from(flags))]).unwrap();
    let raw = task.buffer(0, 8);
    let number = |at: usize| i32::from_le_bytes(raw[at..at + 4].try_into().unwrap()).into();
    (number(0), number(4))
}

#[test]
fn descriptors_are_the_lowest_free_ones_and_dup_shares_the_offset() {
    let task = TestTask::empty();
    assert_eq!(create(&task, "/a"), 0);
    assert_eq!(task.call(32, &[N(0)]), Ok(1));
    assert_eq!(task.call(33, &[N(0), N(7)]), Ok(7));
    assert_eq!(task.call(292, &[N(0), N(0), N(0)]), Err(Errno::EINVAL));
    assert_eq!(task.call(33, &[N(0), N(0)]), Ok(0));
    assert_eq!(task.call(33, &[N(0), N(5000)]), Err(Errno::EBADF));
    assert_eq!(task.call(3, &[N(1)]), Ok(0));
    assert_eq!(task.call(72, &[N(0), N(1030), N(5)]), Ok(5), "F_DUPFD_CLOEXEC");
    assert_eq!(task.call(72, &[N(5), N(1), N(0)]), Ok(1));
    task.set_buffer(0, b"hello");
    assert_eq!(task.call(1, &[N(0), P(0), N(5)]), Ok(5));
    assert_eq!(task.call(8, &[N(7), N(0), N(1)]), Ok(5), "one offset");
    // close_range(2) with CLOSE_RANGE_CLOEXEC, then execve's closing.
    assert_eq!(task.call(436, &[N(6), N(-1i32 as u32 as i64), N(4)]), Ok(0));
    task.files.close_on_exec();
    assert_eq!(task.call(8, &[N(7), N(0), N(1)]), Err(Errno::EBADF));
    assert_eq!(task.call(32, &[N(0)]), Ok(1), "1 is the lowest again");
}

#[test]
fn a_full_table_is_emfile_and_leaves_nothing_behind() {
    let task = TestTask::empty();
    create(&task, "/a");
    for _ in 1..1023 {
        task.call(32, &[N(0)]).unwrap();
    }
    assert_eq!(task.call(293, &[P(0), N(0)]), Err(Errno::EMFILE), "room for one of two");
    assert_eq!(task.call(32, &[N(0)]), Ok(1023));
    assert_eq!(task.call(32, &[N(0)]), Err(Errno::EMFILE));
}

#[test]
fn a_blocked_reader_wakes_and_a_broken_pipe_signals() {
    let task = TestTask::empty();
    let (reader, writer) = pipe(&task, 0);
    let other = task.sibling();
    let thread = std::thread::spawn(move || {
        let count = other.call(0, &[N(reader), P(0), N(100)]).unwrap();
        other.buffer(0, count as usize)
    });
    std::thread::sleep(Duration::from_millis(20));
    task.set_buffer(0, b"through the pipe");
    task.call(1, &[N(writer), P(0), N(16)]).unwrap();
    assert_eq!(thread.join().unwrap(), b"through the pipe");
    task.call(3, &[N(reader)]).unwrap();
    assert_eq!(task.call(1, &[N(writer), P(0), N(1)]), Err(Errno::EPIPE));
    assert_eq!(*task.signals.lock().unwrap(), [SIGPIPE]);
}

#[test]
fn a_long_write_waits_for_its_reader_and_arrives_whole() {
    let task = TestTask::empty();
    let (reader, writer) = pipe(&task, O_CLOEXEC);
    let other = task.sibling();
    let bytes: Vec<u8> = (0..1_000_000u32).map(|i| (i % 251) as u8).collect();
    other.set_buffer(0, &bytes);
    let thread = std::thread::spawn(move || {
        let written = other.call(1, &[N(writer), P(0), N(1_000_000)]);
        other.call(3, &[N(writer)]).unwrap();
        written
    });
    let mut got = Vec::new();
    loop {
        let count = task.call(0, &[N(reader), P(0), N(70_000)]).unwrap() as usize;
        if count == 0 {
            break;
        }
        got.extend_from_slice(&task.buffer(0, count));
    }
    assert_eq!(thread.join().unwrap(), Ok(1_000_000));
    assert_eq!(got, bytes);
}

#[test]
fn nonblocking_ends_say_eagain() {
    let task = TestTask::empty();
    let (reader, writer) = pipe(&task, O_NONBLOCK);
    assert_eq!(task.call(0, &[N(reader), P(0), N(1)]), Err(Errno::EAGAIN));
    assert_eq!(task.call(1, &[N(writer), P(0), N(1_000_000)]), Ok(65_536));
    assert_eq!(task.call(1, &[N(writer), P(0), N(1)]), Err(Errno::EAGAIN));
    assert_eq!(task.call(1, &[N(reader), P(0), N(1)]), Err(Errno::EBADF));
}

#[test]
fn bad_addresses_are_efault() {
    let task = TestTask::empty();
    let fd = create(&task, "/a");
    let bad = N(0x7fff_0000);
    assert_eq!(task.call(1, &[N(fd), bad, N(10)]), Err(Errno::EFAULT));
    assert_eq!(task.call(5, &[N(fd), bad]), Err(Errno::EFAULT));
    assert_eq!(task.call(2, &[bad, N(0), N(0)]), Err(Errno::EFAULT));
    assert_eq!(task.call(293, &[bad, N(0)]), Err(Errno::EFAULT));
    assert_eq!(task.files.open_fds().len(), 1, "no pipe was left");
    // A vector: what came before the bad part is written.
    let mut vector = Vec::new();
    for word in [BASE + 0x10_0000, 5, 0x7fff_0000u64, 5] {
        vector.extend_from_slice(&word.to_le_bytes());
    }
    task.set_buffer(64, &vector);
    task.set_buffer(0, b"first");
    assert_eq!(task.call(20, &[N(fd), P(64), N(2)]), Err(Errno::EFAULT));
    task.set_buffer(64 + 24, &0u64.to_le_bytes());
    assert_eq!(task.call(20, &[N(fd), P(64), N(2)]), Ok(5));
}

#[test]
fn permissions_hold_for_a_user_without_privilege() {
    let task = TestTask::empty();
    task.call(83, &[S(b"/d"), N(0o700)]).unwrap();
    task.call(83, &[S(b"/tmp"), N(0o777)]).unwrap();
    task.call(90, &[S(b"/tmp"), N(0o1777)]).unwrap();
    let fd = create(&task, "/tmp/root");
    task.call(3, &[N(fd)]).unwrap();
    {
        let mut user = task.credentials.lock().unwrap();
        (user.ruid, user.euid, user.fsuid) = (1000, 1000, 1000);
        (user.rgid, user.egid, user.fsgid) = (1000, 1000, 1000);
    }
    assert_eq!(task.call(80, &[S(b"/d")]), Err(Errno::EACCES));
    assert_eq!(task.call(4, &[S(b"/d/x"), P(0)]), Err(Errno::EACCES));
    assert_eq!(task.call(83, &[S(b"/new"), N(0o755)]), Err(Errno::EACCES));
    assert_eq!(task.call(2, &[S(b"/tmp/root"), N(2), N(0)]), Err(Errno::EACCES));
    assert_eq!(task.call(87, &[S(b"/tmp/root")]), Err(Errno::EPERM), "sticky");
    assert_eq!(task.call(90, &[S(b"/tmp/root"), N(0o777)]), Err(Errno::EPERM));
    assert_eq!(task.call(92, &[S(b"/tmp/root"), N(1000), N(1000)]), Err(Errno::EPERM));
    assert_eq!(task.call(21, &[S(b"/tmp/root"), N(2)]), Err(Errno::EACCES));
    assert_eq!(task.call(21, &[S(b"/tmp/root"), N(4)]), Ok(0));
    let own = create(&task, "/tmp/own");
    assert_eq!(task.call(91, &[N(own), N(0o4755)]), Ok(0));
    assert_eq!(task.call(92, &[S(b"/tmp/own"), N(-1), N(1000)]), Ok(0));
    task.call(5, &[N(own), P(0)]).unwrap();
    let mode = u32::from_le_bytes(task.buffer(24, 4).try_into().unwrap());
    assert_eq!(mode, 0o100_755, "chown takes the set-user-id bit away");
    assert_eq!(task.call(161, &[S(b"/tmp")]), Err(Errno::EPERM), "chroot");
}

#[test]
fn loops_of_links_end() {
    let task = TestTask::empty();
    task.call(88, &[S(b"b"), S(b"/a")]).unwrap();
    task.call(88, &[S(b"a"), S(b"/b")]).unwrap();
    assert_eq!(task.call(4, &[S(b"/a"), P(0)]), Err(Errno::ELOOP));
    assert_eq!(task.call(2, &[S(b"/a"), N(0o101), N(0o644)]), Err(Errno::ELOOP), "O_CREAT");
    assert_eq!(task.call(2, &[S(b"/a"), N(0o400_000), N(0)]), Err(Errno::ELOOP), "O_NOFOLLOW");
    let long = [b'x'; 300];
    assert_eq!(task.call(4, &[S(&long), P(0)]), Err(Errno::ENAMETOOLONG));
    let longer = [b'/'; 4096];
    assert_eq!(task.call(4, &[S(&longer), P(0)]), Err(Errno::ENAMETOOLONG));
}

#[test]
fn the_working_directory_has_a_path_and_may_be_removed() {
    let task = TestTask::empty();
    for path in ["/a", "/a/b"] {
        task.call(83, &[S(path.as_bytes()), N(0o755)]).unwrap();
    }
    task.call(80, &[S(b"/a/b")]).unwrap();
    assert_eq!(task.call(79, &[P(0), N(100)]), Ok(5));
    assert_eq!(task.buffer(0, 5), b"/a/b\0");
    assert_eq!(task.call(79, &[P(0), N(4)]), Err(Errno::ERANGE));
    task.call(82, &[S(b"/a"), S(b"/moved")]).unwrap();
    assert_eq!(task.call(79, &[P(0), N(100)]), Ok(9));
    assert_eq!(task.buffer(0, 9), b"/moved/b\0");
    task.call(84, &[S(b"/moved/b")]).unwrap();
    assert_eq!(task.call(79, &[P(0), N(100)]), Err(Errno::ENOENT));
    assert_eq!(task.call(83, &[S(b"x"), N(0o755)]), Err(Errno::ENOENT));
}

#[test]
fn record_locks_belong_to_the_table_and_end_with_any_descriptor() {
    let task = TestTask::empty();
    let fd = create(&task, "/a");
    let again = create(&task, "/a");
    let child = TestTask { files: std::sync::Arc::new(task.files.duplicate()), ..task.sibling() };
    // F_WRLCK from 10 for 5 bytes.
    let mut lock = [0; 32];
    lock[0] = 1;
    lock[8] = 10;
    lock[16] = 5;
    for one in [&task, &child] {
        one.set_buffer(0, &lock);
    }
    assert_eq!(task.call(72, &[N(fd), N(6), P(0)]), Ok(0));
    assert_eq!(child.call(72, &[N(fd), N(6), P(0)]), Err(Errno::EAGAIN));
    assert_eq!(child.call(72, &[N(fd), N(5), P(0)]), Ok(0), "F_GETLK");
    assert_eq!(child.buffer(24, 4), 1u32.to_le_bytes(), "who holds it");
    // fcntl(2): closing another descriptor of the file gives the locks up.
    task.call(3, &[N(again)]).unwrap();
    child.set_buffer(0, &lock);
    assert_eq!(child.call(72, &[N(fd), N(6), P(0)]), Ok(0));
}

#[test]
fn poll_waits_for_the_first_and_names_the_invalid() {
    let task = TestTask::empty();
    let (reader, writer) = pipe(&task, 0);
    let fds = |events: &[(i64, u16)]| -> Vec<u8> {
        let encode = |(fd, events): &(i64, u16)| {
            [&(*fd as i32).to_le_bytes()[..], &events.to_le_bytes(), &[0, 0]].concat()
        };
        events.iter().flat_map(encode).collect()
    };
    let revents =
        |index: u64| u16::from_le_bytes(task.buffer(1000 + index * 8 + 6, 2).try_into().unwrap());
    task.set_buffer(1000, &fds(&[(reader, 1), (writer, 4)]));
    assert_eq!(task.call(7, &[P(1000), N(2), N(-1)]), Ok(1));
    assert_eq!((revents(0), revents(1)), (0, 4));
    task.set_buffer(1000, &fds(&[(reader, 1)]));
    assert_eq!(task.call(7, &[P(1000), N(1), N(20)]), Ok(0), "timeout");
    task.set_buffer(1000, &fds(&[(reader, 1), (99, 1), (-1, 1)]));
    assert_eq!(task.call(7, &[P(1000), N(3), N(-1)]), Ok(1));
    assert_eq!((revents(1), revents(2)), (0x20, 0));
    let other = task.sibling();
    let thread = std::thread::spawn(move || {
        other.set_buffer(0, &[reader as u8, 0, 0, 0, 1, 0, 0, 0]);
        other.call(7, &[P(0), N(1), N(-1)])
    });
    std::thread::sleep(Duration::from_millis(20));
    task.call(3, &[N(writer)]).unwrap();
    assert_eq!(thread.join().unwrap(), Ok(1), "POLLHUP wakes");
}

#[test]
fn select_gives_bits_and_the_time_that_is_left() {
    let task = TestTask::empty();
    let (reader, writer) = pipe(&task, 0);
    let bits = |fd: i64| (1u64 << fd).to_le_bytes();
    task.set_buffer(0x100, &bits(reader));
    task.set_buffer(0x200, &bits(writer));
    task.set_buffer(0x300, &[5u64.to_le_bytes(), 0u64.to_le_bytes()].concat());
    assert_eq!(task.call(23, &[N(10), P(0x100), P(0x200), N(0), P(0x300)]), Ok(1));
    assert_eq!(task.buffer(0x100, 8), [0; 8]);
    assert_eq!(task.buffer(0x200, 8), bits(writer));
    assert!(task.buffer(0x300, 1)[0] >= 4, "of five seconds");
    task.set_buffer(0x100, &bits(60));
    assert_eq!(task.call(23, &[N(64), P(0x100), N(0), N(0), N(0)]), Err(Errno::EBADF));
}

#[test]
fn epoll_reports_levels_edges_and_one_shots() {
    const ADD: i64 = 1;
    const DEL: i64 = 2;
    const MOD: i64 = 3;
    let task = TestTask::empty();
    let epoll = task.call(291, &[N(0)]).unwrap() as i64;
    let (reader, writer) = pipe(&task, 0);
    let event = |events: u32, data: u64| [&events.to_le_bytes()[..], &data.to_le_bytes()].concat();
    let wait = |millis: i64| task.call(232, &[N(epoll), P(0x400), N(8), N(millis)]);
    let write = || task.call(1, &[N(writer), P(0), N(1)]).unwrap();
    let read = || task.call(0, &[N(reader), P(0), N(100)]).unwrap();
    task.set_buffer(0x100, &event(1, 77));
    assert_eq!(task.call(233, &[N(epoll), N(ADD), N(reader), P(0x100)]), Ok(0));
    assert_eq!(task.call(233, &[N(epoll), N(ADD), N(reader), P(0x100)]), Err(Errno::EEXIST));
    assert_eq!(wait(0), Ok(0));
    write();
    for _ in 0..2 {
        assert_eq!(wait(-1), Ok(1), "a level stays");
        assert_eq!(task.buffer(0x400, 12), event(1, 77));
    }
    read();
    assert_eq!(wait(0), Ok(0));
    // EPOLLET
    task.set_buffer(0x100, &event(1 | 1 << 31, 78));
    assert_eq!(task.call(233, &[N(epoll), N(MOD), N(reader), P(0x100)]), Ok(0));
    write();
    assert_eq!(wait(0), Ok(1));
    assert_eq!(wait(0), Ok(0), "an edge is given once");
    write();
    assert_eq!(wait(0), Ok(1));
    // EPOLLONESHOT
    task.set_buffer(0x100, &event(1 | 1 << 30, 79));
    assert_eq!(task.call(233, &[N(epoll), N(MOD), N(reader), P(0x100)]), Ok(0));
    assert_eq!(wait(0), Ok(1));
    write();
    assert_eq!(wait(0), Ok(0));
    assert_eq!(task.call(233, &[N(epoll), N(DEL), N(reader), N(0)]), Ok(0));
    assert_eq!(task.call(233, &[N(epoll), N(DEL), N(reader), N(0)]), Err(Errno::ENOENT));
    // A regular file never waits; an instance cannot watch itself.
    let file = create(&task, "/f");
    assert_eq!(task.call(233, &[N(epoll), N(ADD), N(file), P(0x100)]), Err(Errno::EPERM));
    assert_eq!(task.call(233, &[N(epoll), N(ADD), N(epoll), P(0x100)]), Err(Errno::EINVAL));
}

#[test]
fn a_waiting_epoll_wakes_and_forgets_what_is_closed() {
    let task = TestTask::empty();
    let epoll = task.call(291, &[N(0)]).unwrap() as i64;
    let eventfd = task.call(290, &[N(0), N(0)]).unwrap() as i64;
    task.set_buffer(0x100, &[1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
    task.call(233, &[N(epoll), N(1), N(eventfd), P(0x100)]).unwrap();
    let other = task.sibling();
    let thread = std::thread::spawn(move || other.call(232, &[N(epoll), P(0x400), N(8), N(-1)]));
    std::thread::sleep(Duration::from_millis(20));
    task.set_buffer(0, &5u64.to_le_bytes());
    task.call(1, &[N(eventfd), P(0), N(8)]).unwrap();
    assert_eq!(thread.join().unwrap(), Ok(1));
    task.call(3, &[N(eventfd)]).unwrap();
    assert_eq!(task.call(232, &[N(epoll), P(0x400), N(8), N(0)]), Ok(0));
}

#[test]
fn eventfd_counts_and_timerfd_expires() {
    let task = TestTask::empty();
    let fd = task.call(290, &[N(3), N(i64::from(O_NONBLOCK) | 1)]).unwrap() as i64;
    for _ in 0..3 {
        assert_eq!(task.call(0, &[N(fd), P(0), N(8)]), Ok(8), "a semaphore gives ones");
        assert_eq!(task.buffer(0, 8), 1u64.to_le_bytes());
    }
    assert_eq!(task.call(0, &[N(fd), P(0), N(8)]), Err(Errno::EAGAIN));
    assert_eq!(task.call(0, &[N(fd), P(0), N(7)]), Err(Errno::EINVAL));
    let timer = task.call(283, &[N(1), N(0)]).unwrap() as i64;
    // Every 10 ms from 10 ms on.
    let ten = 10_000_000u64.to_le_bytes();
    task.set_buffer(0, &[[0; 8], ten, [0; 8], ten].concat());
    task.call(286, &[N(timer), N(0), P(0), N(0)]).unwrap();
    assert_eq!(task.call(0, &[N(timer), P(0x100), N(8)]), Ok(8), "waits for it");
    std::thread::sleep(Duration::from_millis(35));
    task.call(0, &[N(timer), P(0x100), N(8)]).unwrap();
    assert!(task.buffer(0x100, 1)[0] >= 3, "those that passed are counted");
}

#[test]
fn sendfile_and_copy_file_range_move_bytes_and_offsets() {
    let task = TestTask::empty();
    let (from, to) = (create(&task, "/from"), create(&task, "/to"));
    let bytes: Vec<u8> = (0..200_000u32).map(|i| (i % 241) as u8).collect();
    task.set_buffer(0, &bytes);
    task.call(1, &[N(from), P(0), N(200_000)]).unwrap();
    task.set_buffer(0, &100u64.to_le_bytes());
    assert_eq!(task.call(40, &[N(to), N(from), P(0), N(1_000_000)]), Ok(199_900));
    assert_eq!(task.buffer(0, 8), 200_000u64.to_le_bytes());
    assert_eq!(task.call(8, &[N(from), N(0), N(1)]), Ok(200_000), "not moved");
    task.set_buffer(0, &0u64.to_le_bytes());
    assert_eq!(task.call(326, &[N(from), P(0), N(to), N(0), N(50), N(0)]), Ok(50));
    assert_eq!(task.call(17, &[N(to), P(0), N(300_000), N(0)]), Ok(199_950));
    let expected = [&bytes[100..], &bytes[..50]].concat();
    assert_eq!(task.buffer(0, 199_950), expected);
}

#[test]
fn a_fifo_opens_when_both_ends_come() {
    let task = TestTask::empty();
    task.call(133, &[S(b"/fifo"), N(0o010_644), N(0)]).unwrap();
    let nonblocking = i64::from(O_NONBLOCK);
    assert_eq!(task.call(2, &[S(b"/fifo"), N(1 | nonblocking)]), Err(Errno::ENXIO));
    let other = task.sibling();
    let thread = std::thread::spawn(move || {
        let fd = other.call(2, &[S(b"/fifo"), N(1), N(0)]).unwrap() as i64;
        other.set_buffer(0, b"fifo");
        other.call(1, &[N(fd), P(0), N(4)]).unwrap();
        other.call(3, &[N(fd)]).unwrap();
    });
    let fd = task.call(2, &[S(b"/fifo"), N(0), N(0)]).unwrap() as i64;
    assert_eq!(task.call(0, &[N(fd), P(0), N(10)]), Ok(4));
    assert_eq!(task.buffer(0, 4), b"fifo");
    thread.join().unwrap();
    assert_eq!(task.call(0, &[N(fd), P(0), N(10)]), Ok(0));
}

#[test]
fn no_two_calls_have_one_number_and_all_have_names() {
    let mut seen = std::collections::BTreeSet::new();
    for entry in crate::fs::syscalls::TABLE {
        assert!(seen.insert(entry.number), "{}", entry.number);
        assert!(crate::syscall::names::name(entry.number).is_some(), "{}", entry.number);
    }
}
