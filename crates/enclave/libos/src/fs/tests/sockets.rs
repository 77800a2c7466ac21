//! Unix sockets, by system calls.

use crate::errno::Errno;
use crate::fs::flags::{O_CREAT, O_NONBLOCK, O_RDWR};
use crate::fs::testing::Arg::{N, P, S};
use crate::fs::testing::{BASE, TestTask};

const STREAM: i64 = 1;
const DATAGRAM: i64 = 2;
const SEQPACKET: i64 = 5;

fn pair(task: &TestTask, kind: i64) -> (i64, i64) {
    task.call(53, &[N(1), N(kind), N(0), P(0)]).unwrap();
    let raw = task.buffer(0, 8);
    (raw[0].into(), raw[4].into())
}

fn socket(task: &TestTask, kind: i64) -> i64 {
    task.call(41, &[N(1), N(kind), N(0)]).unwrap() as i64
}

/// Puts an address at 0x1000 of the buffer; gives its length.
fn address(task: &TestTask, path: &[u8]) -> i64 {
    task.set_buffer(0x1000, &[&1u16.to_le_bytes()[..], path].concat());
    path.len() as i64 + 2
}

fn send(task: &TestTask, fd: i64, bytes: &[u8]) -> Result<u64, Errno> {
    task.set_buffer(0, bytes);
    task.call(1, &[N(fd), P(0), N(bytes.len() as i64)])
}

fn receive(task: &TestTask, fd: i64, limit: i64) -> Result<Vec<u8>, Errno> {
    let count = task.call(0, &[N(fd), P(0), N(limit)])?;
    Ok(task.buffer(0, count as usize))
}

#[test]
fn a_stream_joins_writes_and_a_packet_socket_keeps_them_apart() {
    let task = TestTask::empty();
    let (a, b) = pair(&task, STREAM);
    send(&task, a, b"one").unwrap();
    send(&task, a, b"two").unwrap();
    assert_eq!(receive(&task, b, 4).unwrap(), b"onet");
    assert_eq!(receive(&task, b, 100).unwrap(), b"wo");
    let (a, b) = pair(&task, SEQPACKET);
    send(&task, a, b"one").unwrap();
    send(&task, a, b"two").unwrap();
    assert_eq!(receive(&task, b, 2).unwrap(), b"on", "the rest of a packet is lost");
    assert_eq!(receive(&task, b, 100).unwrap(), b"two");
    task.call(3, &[N(a)]).unwrap();
    assert_eq!(receive(&task, b, 100).unwrap(), b"");
    assert_eq!(send(&task, b, b"x"), Err(Errno::EPIPE));
}

#[test]
fn a_server_in_the_tree_accepts_and_its_name_is_taken() {
    let task = TestTask::empty();
    let server = socket(&task, STREAM);
    let length = address(&task, b"/sock\0");
    task.call(49, &[N(server), P(0x1000), N(length)]).unwrap();
    let client = socket(&task, STREAM);
    assert_eq!(task.call(42, &[N(client), P(0x1000), N(length)]), Err(Errno::ECONNREFUSED));
    task.call(50, &[N(server), N(5)]).unwrap();
    let other = socket(&task, STREAM);
    assert_eq!(task.call(49, &[N(other), P(0x1000), N(length)]), Err(Errno::EADDRINUSE));
    task.call(42, &[N(client), P(0x1000), N(length)]).unwrap();
    assert_eq!(task.call(42, &[N(client), P(0x1000), N(length)]), Err(Errno::EISCONN));
    let accepted = task.call(43, &[N(server), N(0), N(0)]).unwrap() as i64;
    send(&task, client, b"hello").unwrap();
    assert_eq!(receive(&task, accepted, 10).unwrap(), b"hello");
    // getpeername(2) of the client is the server's name.
    task.set_buffer(0x2000, &110u32.to_le_bytes());
    task.call(52, &[N(client), P(0x1000), P(0x2000)]).unwrap();
    assert_eq!(task.buffer(0x1000, 8), b"\x01\0/sock\0");
    assert_eq!(task.call(2, &[S(b"/sock"), N(2), N(0)]), Err(Errno::ENXIO));
    task.call(3, &[N(server)]).unwrap();
    let late = socket(&task, STREAM);
    let length = address(&task, b"/sock\0");
    assert_eq!(task.call(42, &[N(late), P(0x1000), N(length)]), Err(Errno::ECONNREFUSED));
}

#[test]
fn a_client_waits_for_room_in_the_backlog() {
    let task = TestTask::empty();
    let server = socket(&task, STREAM);
    let length = address(&task, b"\0waits-for-room");
    task.call(49, &[N(server), P(0x1000), N(length)]).unwrap();
    task.call(50, &[N(server), N(0)]).unwrap();
    let first = socket(&task, STREAM);
    task.call(42, &[N(first), P(0x1000), N(length)]).unwrap();
    let eager = task.call(41, &[N(1), N(STREAM | i64::from(O_NONBLOCK)), N(0)]).unwrap() as i64;
    assert_eq!(task.call(42, &[N(eager), P(0x1000), N(length)]), Err(Errno::EAGAIN));
    let other = task.sibling();
    let client = std::thread::spawn(move || {
        let fd = socket(&other, STREAM);
        let length = address(&other, b"\0waits-for-room");
        other.call(42, &[N(fd), P(0x1000), N(length)])
    });
    std::thread::sleep(std::time::Duration::from_millis(20));
    task.call(43, &[N(server), N(0), N(0)]).unwrap();
    assert_eq!(client.join().unwrap(), Ok(0));
}

#[test]
fn datagrams_find_their_receiver_by_name() {
    let task = TestTask::empty();
    let receiver = socket(&task, DATAGRAM);
    let length = address(&task, b"\0datagrams");
    task.call(49, &[N(receiver), P(0x1000), N(length)]).unwrap();
    let sender = socket(&task, DATAGRAM);
    assert_eq!(send(&task, sender, b"x"), Err(Errno::ENOTCONN));
    task.set_buffer(0, b"to you");
    assert_eq!(task.call(44, &[N(sender), P(0), N(6), N(0), P(0x1000), N(length)]), Ok(6));
    assert_eq!(receive(&task, receiver, 100).unwrap(), b"to you");
    task.call(3, &[N(receiver)]).unwrap();
    assert_eq!(
        task.call(44, &[N(sender), P(0), N(6), N(0), P(0x1000), N(length)]),
        Err(Errno::ECONNREFUSED)
    );
}

#[test]
fn descriptors_travel_once_and_arrive_open() {
    let task = TestTask::empty();
    let (a, b) = pair(&task, STREAM);
    let flags = i64::from(O_RDWR | O_CREAT);
    let file = task.call(2, &[S(b"/file"), N(flags), N(0o644)]).unwrap() as i64;
    send(&task, file, b"contents").unwrap();
    let place = |offset: u64| (BASE + 0x10_0000 + offset).to_le_bytes();
    let word = u64::to_le_bytes;
    // One byte "d" at 0, its vector at 0x100, a control message with the descriptor at 0x200.
    let message =
        [word(0), word(0), place(0x100), word(1), place(0x200), word(24), word(0)].concat();
    task.set_buffer(0, b"d");
    task.set_buffer(0x100, &[place(0), word(1)].concat());
    let control = [&word(20)[..], &[1, 0, 0, 0, 1, 0, 0, 0], &(file as u32).to_le_bytes()].concat();
    task.set_buffer(0x200, &control);
    task.set_buffer(0x300, &message);
    assert_eq!(task.call(46, &[N(a), P(0x300), N(0)]), Ok(1));
    task.call(3, &[N(file)]).unwrap();
    task.set_buffer(0x200, &[0; 24]);
    task.set_buffer(0x300, &message);
    assert_eq!(task.call(47, &[N(b), P(0x300), N(0)]), Ok(1));
    let arrived = i64::from(task.buffer(0x210, 1)[0]);
    assert_eq!(task.buffer(0x200, 4), 20u32.to_le_bytes());
    assert_eq!(task.call(17, &[N(arrived), P(0), N(100), N(0)]), Ok(8));
    assert_eq!(task.buffer(0, 8), b"contents");
}

#[test]
fn half_closed_streams_end_for_the_reader_only() {
    let task = TestTask::empty();
    let (a, b) = pair(&task, STREAM);
    send(&task, a, b"last").unwrap();
    task.call(48, &[N(a), N(1)]).unwrap();
    assert_eq!(receive(&task, b, 100).unwrap(), b"last");
    assert_eq!(receive(&task, b, 100).unwrap(), b"");
    assert_eq!(send(&task, a, b"x"), Err(Errno::EPIPE));
    send(&task, b, b"still").unwrap();
    assert_eq!(receive(&task, a, 100).unwrap(), b"still");
    assert_eq!(task.call(41, &[N(17), N(STREAM), N(0)]), Err(Errno::EAFNOSUPPORT));
}
