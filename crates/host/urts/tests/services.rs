//! Files, streams, sessions and events, asked for by a scripted enclave.

mod fake;

use fake::{FIRST, Fake, SECOND, Thread, file, no_streams, null, pack, start};
use hostcall::{Event, Request, SideData};
use std::error::Error;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use urts::{Enclave, ExitStatus, Log, Options, QuoteService, SessionEnd};

const EAGAIN: u16 = 11;
const EINTR: u16 = 4;
const EBADF: u16 = 9;

fn load(root: &std::path::Path, fake: &Fake) -> Enclave {
    let root = std::fs::File::open(root).unwrap().into();
    Enclave::load(fake, pack(), root, Options::default()).unwrap()
}

/// Runs `script` to its end, which must be `exit(0)`.
fn run(streams: [OwnedFd; 3], script: impl Fn(&mut Thread) + Send + Sync + 'static) {
    assert_eq!(start(streams, script).wait(), ExitStatus::Exited(0));
}

fn pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    std::io::pipe().unwrap()
}

/// The next event, decoded.
fn next_event(thread: &mut Thread) -> Result<Event, u16> {
    let mut into = [0; 64];
    match thread.call(Request::NextEvent {}, &mut into) {
        Ok(reply) => Ok(Event::decode(&into[..reply.length]).unwrap()),
        Err(hostcall::enclave::CallError::Errno(number)) => Err(number),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn files_below_the_root_are_read_as_data() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("bin")).unwrap();
    let contents: Vec<u8> = (0..200_000_u32).map(|index| (index * 7) as u8).collect();
    std::fs::write(root.path().join("bin/sh"), &contents).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", root.path().join("passwd")).unwrap();
    let fake = Fake::new(move |thread| {
        let open = |path: &'static [u8]| Request::FileOpen { path };
        assert_eq!(thread.ask(open(b"/etc/passwd")), Err(2), "ENOENT: outside the root");
        assert_eq!(thread.ask(open(b"/passwd")), Err(40), "ELOOP");
        assert_eq!(thread.ask(open(b"/bin/../../etc/passwd")), Err(2));
        assert_eq!(thread.ask(open(b"/bin")), Err(13), "EACCES: a directory");
        assert_eq!(thread.ask(open(&[b'a'; 5000])), Err(36), "ENAMETOOLONG");
        let number = thread.ask(open(b"/bin/sh")).unwrap() as u32;
        let again = thread.ask(open(b"/bin/sh")).unwrap() as u32;
        assert_ne!(number, again);
        let mut got = Vec::new();
        loop {
            let offset = got.len() as u64;
            let read = Request::FileRead { file: number, offset, length: 65536 };
            let piece = thread.data(read).unwrap();
            if piece.is_empty() {
                break;
            }
            got.extend(piece);
        }
        assert!(got == contents);
        let past = Request::FileRead { file: number, offset: i64::MAX as u64, length: 16 };
        assert!(
            thread.data(past).is_ok_and(|data| data.is_empty()) || thread.data(past) == Err(22)
        );
        thread.ask(Request::FileClose { file: number }).unwrap();
        assert_eq!(thread.ask(Request::FileClose { file: number }), Err(EBADF));
        let closed = Request::FileRead { file: number, offset: 0, length: 16 };
        assert_eq!(thread.data(closed), Err(EBADF));
        thread.exit(0);
    });
    let enclave = load(root.path(), &fake);
    enclave.start(Vec::new(), no_streams()).unwrap();
    assert_eq!(enclave.wait(), ExitStatus::Exited(0));
}

#[test]
fn side_data_is_read_at_offsets() {
    run(no_streams(), |thread| {
        let read = |what, offset, length| Request::ReadSideData { what, offset, length };
        assert_eq!(thread.data(read(SideData::Metadata, 4, 100)).unwrap(), b"metadata");
        assert_eq!(thread.data(read(SideData::Metadata, 4, 4)).unwrap(), b"meta");
        assert_eq!(thread.data(read(SideData::Trees, 0, 65536)).unwrap(), [7; 65536]);
        assert_eq!(thread.data(read(SideData::Trees, 99_999, 65536)).unwrap(), [7]);
        thread.exit(0);
    });
}

#[test]
fn a_pipe_is_read_written_and_its_end_is_seen() {
    let (stdin, mut feed) = pipe();
    let (mut out, stdout) = pipe();
    feed.write_all(b"hello").unwrap();
    let enclave = start([stdin.into(), stdout.into(), null()], |thread| {
        let read = |is_nonblocking| Request::StreamRead { stream: 0, length: 64, is_nonblocking };
        assert_eq!(thread.data(read(true)).unwrap(), b"hello");
        assert_eq!(thread.data(read(true)), Err(EAGAIN));
        assert_eq!(
            thread.ask(Request::StreamWrite { stream: 1, is_nonblocking: false, bytes: b"ready" }),
            Ok(5)
        );
        assert_eq!(thread.data(read(false)).unwrap(), b"later");
        assert_eq!(thread.data(read(false)).unwrap(), b"", "the writer is gone");
        let big = vec![b'x'; 65536];
        for _ in 0..3 {
            let bytes = &big[..];
            assert_eq!(
                thread.ask(Request::StreamWrite { stream: 1, is_nonblocking: false, bytes }),
                Ok(65536)
            );
        }
        assert_eq!(thread.ask(Request::StreamIsTerminal { stream: 1 }), Ok(0));
        assert_eq!(thread.ask(Request::StreamPoll { stream: 7 }), Err(EBADF));
        assert_eq!(
            thread.ask(Request::StreamWrite {
                stream: 2,
                is_nonblocking: false,
                bytes: b"to null"
            }),
            Ok(7)
        );
        thread.ask(Request::StreamClose { stream: 1 }).unwrap();
        assert_eq!(
            thread.ask(Request::StreamWrite { stream: 1, is_nonblocking: false, bytes: b"x" }),
            Err(EBADF)
        );
        thread.exit(0);
    });
    let mut ready = [0; 5];
    out.read_exact(&mut ready).unwrap();
    std::thread::sleep(Duration::from_millis(5));
    feed.write_all(b"later").unwrap();
    drop(feed);
    let mut rest = Vec::new();
    out.read_to_end(&mut rest).unwrap();
    assert_eq!(rest.len(), 3 * 65536);
    assert_eq!(enclave.wait(), ExitStatus::Exited(0));
}

#[test]
fn a_write_to_a_closed_pipe_is_epipe_and_to_a_socket_too() {
    let (reader, stdout) = pipe();
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    drop((reader, far));
    run([null(), stdout.into(), near.into()], |thread| {
        assert_eq!(
            thread.ask(Request::StreamWrite { stream: 1, is_nonblocking: false, bytes: b"x" }),
            Err(32)
        );
        assert_eq!(
            thread.ask(Request::StreamWrite { stream: 2, is_nonblocking: false, bytes: b"x" }),
            Err(32)
        );
        let read = Request::StreamRead { stream: 2, length: 1, is_nonblocking: false };
        assert_eq!(thread.data(read).unwrap(), b"");
        thread.exit(0);
    });
}

#[test]
fn regular_files_are_streams_too() {
    let out = file(b"");
    let mut read_back = std::fs::File::from(out.try_clone().unwrap());
    run([file(b"input"), out, null()], |thread| {
        let read = Request::StreamRead { stream: 0, length: 3, is_nonblocking: true };
        assert_eq!(thread.data(read).unwrap(), b"inp");
        assert_eq!(thread.data(read).unwrap(), b"ut");
        assert_eq!(thread.data(read).unwrap(), b"");
        assert_eq!(
            thread.ask(Request::StreamWrite { stream: 1, is_nonblocking: false, bytes: b"output" }),
            Ok(6)
        );
        thread.ask(Request::StreamWatch { stream: 0, interest: 1 }).unwrap();
        assert_eq!(next_event(thread), Ok(Event::Ready { stream: 0, readiness: 1 }));
        thread.exit(0);
    });
    use std::io::Seek;
    read_back.rewind().unwrap();
    let mut text = String::new();
    read_back.read_to_string(&mut text).unwrap();
    assert_eq!(text, "output");
}

#[test]
fn a_watch_gives_one_event_and_is_over() {
    let (stdin, mut feed) = pipe();
    let enclave = start([stdin.into(), null(), null()], |thread| {
        thread.ask(Request::StreamWatch { stream: 0, interest: 1 }).unwrap();
        assert_eq!(next_event(thread), Ok(Event::Ready { stream: 0, readiness: 1 }));
        assert_eq!(thread.ask(Request::StreamPoll { stream: 0 }), Ok(1));
        // Still readable, but nobody watches: the next event is the signal.
        assert_eq!(next_event(thread), Ok(Event::Signal { session: 0, signal: 10 }));
        let read = Request::StreamRead { stream: 0, length: 64, is_nonblocking: true };
        assert_eq!(thread.data(read).unwrap(), b"x");
        thread.ask(Request::StreamWatch { stream: 0, interest: 1 }).unwrap();
        assert_eq!(next_event(thread), Ok(Event::Ready { stream: 0, readiness: 0x10 }), "hang-up");
        thread.ask(Request::StreamClose { stream: 0 }).unwrap();
        assert_eq!(thread.ask(Request::StreamWatch { stream: 0, interest: 1 }), Err(EBADF));
        thread.exit(0);
    });
    std::thread::sleep(Duration::from_millis(5));
    feed.write_all(b"x").unwrap();
    std::thread::sleep(Duration::from_millis(30));
    enclave.signal(0, 10).unwrap();
    std::thread::sleep(Duration::from_millis(10));
    drop(feed);
    assert_eq!(enclave.wait(), ExitStatus::Exited(0));
}

#[test]
fn a_kick_ends_a_waiting_read_write_and_event_wait() {
    let (stdin, feed) = pipe();
    let (out, stdout) = pipe();
    let fake = Fake::new(|thread| {
        thread.ask(Request::ThreadSpawn { tcs: SECOND }).unwrap();
        let read = Request::StreamRead { stream: 0, length: 64, is_nonblocking: false };
        assert_eq!(thread.data(read), Err(EINTR));
        // The pipe holds 64 KiB: the second write waits, has written nothing, and is interrupted.
        let bytes = &[0; 65536][..];
        assert_eq!(
            thread.ask(Request::StreamWrite { stream: 1, is_nonblocking: false, bytes }),
            Ok(65536)
        );
        assert_eq!(
            thread.ask(Request::StreamWrite { stream: 1, is_nonblocking: false, bytes }),
            Err(EINTR)
        );
        assert_eq!(next_event(thread), Err(EINTR));
        thread.exit(0);
    })
    .thread(SECOND, |thread| {
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(10));
            thread.ask(Request::Kick { tcs: FIRST }).unwrap();
        }
        assert_eq!(thread.ask(Request::Kick { tcs: 0x70000 }), Err(3), "ESRCH");
        let _ = thread.ask(Request::Park { timeout_ns: hostcall::NO_DEADLINE });
    });
    let enclave = load("/tmp".as_ref(), &fake);
    enclave.start(Vec::new(), [stdin.into(), stdout.into(), null()]).unwrap();
    assert_eq!(enclave.wait(), ExitStatus::Exited(0));
    drop((feed, out));
}

#[test]
fn a_kick_before_the_wait_is_not_lost() {
    let (stdin, _feed) = pipe();
    run([stdin.into(), null(), null()], |thread| {
        let read = Request::StreamRead { stream: 0, length: 64, is_nonblocking: false };
        for _ in 0..20 {
            thread.ask(Request::Kick { tcs: FIRST }).unwrap();
            assert_eq!(thread.data(read), Err(EINTR));
        }
        thread.exit(0);
    });
}

#[test]
fn the_first_request_and_an_exec_arrive_whole() {
    let long = vec![b'j'; 150_000];
    let wanted = long.clone();
    let fake = Fake::new(move |thread| {
        let read_request = |thread: &mut Thread, session| {
            let mut request: Vec<u8> = Vec::new();
            loop {
                let ask = Request::SessionRequest { session, offset: request.len() as u64 };
                let mut into = vec![0; 65536];
                let reply = thread.call(ask, &mut into).unwrap();
                request.extend(&into[..reply.length]);
                if request.len() as u64 == reply.values[0] {
                    return request;
                }
            }
        };
        assert!(read_request(thread, 0) == wanted);
        assert_eq!(thread.ask(Request::SessionRequest { session: 9, offset: 0 }), Err(3));
        for expected in 1..=3 {
            let event = next_event(thread).unwrap();
            let Event::Exec { session, request_length, streams } = event else {
                panic!("expected an exec, got {event:?}");
            };
            assert_eq!((session, request_length), (expected, 7));
            assert_eq!(read_request(thread, session), format!("exec {expected}?").as_bytes()[..7]);
            let bytes = format!("from {expected}");
            let write = Request::StreamWrite {
                stream: streams[1],
                is_nonblocking: false,
                bytes: bytes.as_bytes(),
            };
            assert_eq!(thread.ask(write), Ok(6));
            match session {
                1 => thread.ask(Request::SessionEnded { session, status: 0x300 }).unwrap(),
                2 => thread.ask(Request::SessionRefused { session, reason: b"argv\n" }).unwrap(),
                _ => {
                    assert_eq!(next_event(thread), Ok(Event::Signal { session: 3, signal: 9 }));
                    assert_eq!(next_event(thread), Ok(Event::WindowSize { session: 0 }));
                    0
                }
            };
        }
        assert_eq!(thread.ask(Request::SessionEnded { session: 77, status: 0 }), Err(3));
        assert_eq!(thread.ask(Request::SessionEnded { session: 0, status: 0 }), Err(22));
        thread.exit(5);
    });
    let enclave = load("/tmp".as_ref(), &fake);
    enclave.start(long, no_streams()).unwrap();
    let exec = |number: u32| {
        let (mut out, stdout) = pipe();
        let request = format!("exec {number}?").into_bytes();
        let session = enclave.exec(request[..7].to_vec(), [null(), stdout.into(), null()]).unwrap();
        assert_eq!(session, number);
        let mut said = [0; 6];
        out.read_exact(&mut said).unwrap();
        assert_eq!(said, *format!("from {number}").as_bytes());
    };
    exec(1);
    assert_eq!(enclave.wait_session(1), Ok(SessionEnd::Exited(0x300)));
    assert!(enclave.wait_session(1).is_err(), "waited for once");
    exec(2);
    assert_eq!(enclave.wait_session(2), Ok(SessionEnd::Refused("argv\\n".to_owned())));
    exec(3);
    enclave.signal(3, 9).unwrap();
    enclave.window_size(0).unwrap();
    assert!(enclave.signal(0, 0).is_err() && enclave.signal(0, 65).is_err());
    assert!(enclave.signal(1, 9).is_err(), "ended");
    let end = SessionEnd::EnclaveEnded(ExitStatus::Exited(5 << 8));
    assert_eq!(enclave.wait_session(3), Ok(end));
}

#[test]
fn a_terminal_answers_its_ioctls_and_no_others() {
    let (controller, terminal) = open_terminal();
    let out = terminal.try_clone().unwrap();
    let seen = std::sync::Arc::new(Mutex::new(Vec::new()));
    let shown = seen.clone();
    let enclave = start([terminal, out, null()], move |thread| {
        assert_eq!(thread.ask(Request::StreamIsTerminal { stream: 0 }), Ok(1));
        let ioctl = |request, argument| Request::StreamIoctl { stream: 0, request, argument };
        let size = [24, 0, 80, 0, 0, 0, 0, 0];
        assert_eq!(thread.data(ioctl(0x5414, &size)).unwrap(), size, "TIOCSWINSZ");
        assert_eq!(thread.data(ioctl(0x5413, &[0; 8])).unwrap(), size, "TIOCGWINSZ");
        let mut termios = thread.data(ioctl(0x5401, &[0; 36])).unwrap();
        assert_ne!(termios, [0; 36], "TCGETS");
        // No canonical mode (lflag bit 1), no echo (bit 3): single bytes are readable.
        termios[12] &= !0b1010;
        thread.data(ioctl(0x5402, &termios)).unwrap();
        assert_eq!(thread.data(ioctl(0x5401, &[0; 36])).unwrap(), termios);
        assert_eq!(thread.data(ioctl(0x540b, &[2, 0, 0, 0])).unwrap(), [2, 0, 0, 0], "TCFLSH");
        assert_eq!(thread.data(ioctl(0x5401, &[0; 44])), Err(22), "EINVAL: another size");
        assert_eq!(thread.data(ioctl(0x5412, b"x")), Err(25), "ENOTTY: TIOCSTI is not offered");
        assert_eq!(thread.data(ioctl(0x541b, &[0; 4])), Err(25), "ENOTTY: FIONREAD");
        let read = Request::StreamRead { stream: 0, length: 1, is_nonblocking: true };
        assert_eq!(thread.data(read), Err(EAGAIN));
        assert_eq!(
            thread.ask(Request::StreamWrite { stream: 1, is_nonblocking: false, bytes: b"$ " }),
            Ok(2)
        );
        let read = Request::StreamRead { stream: 0, length: 1, is_nonblocking: false };
        shown.lock().unwrap().extend(thread.data(read).unwrap());
        thread.exit(0);
    });
    let mut controller = std::fs::File::from(controller);
    let mut prompt = [0; 2];
    controller.read_exact(&mut prompt).unwrap();
    assert_eq!(&prompt, b"$ ");
    controller.write_all(b"k").unwrap();
    assert_eq!(enclave.wait(), ExitStatus::Exited(0));
    assert_eq!(*seen.lock().unwrap(), b"k");
}

fn open_terminal() -> (OwnedFd, OwnedFd) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let name = ptsname(&controller, Vec::new()).unwrap();
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
    let terminal = rustix::fs::open(name, flags, rustix::fs::Mode::empty()).unwrap();
    assert!(terminal.as_raw_fd() >= 0);
    (controller, terminal)
}

#[derive(Debug)]
struct Service;

impl QuoteService for Service {
    fn target_info(&self) -> Result<[u8; 512], Box<dyn Error + Send + Sync>> {
        Ok([9; 512])
    }

    fn quote(&self, report: &[u8; 432]) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        match report[0] {
            0 => Ok(report[..100].to_vec()),
            1 => Ok(vec![0; 65537]),
            _ => Err("the daemon\nis away".into()),
        }
    }
}

#[test]
fn quotes_come_from_the_service_and_its_failures_are_logged() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&lines);
    let log = Log::new(move |_, line| seen.lock().unwrap().push(line.to_owned()));
    let options = |quotes| Options { log: log.clone(), quotes, ..Options::default() };
    let run = |fake: Fake, options| {
        let root = std::fs::File::open("/tmp").unwrap().into();
        let enclave = Enclave::load(&fake, pack(), root, options).unwrap();
        enclave.start(b"{}".to_vec(), no_streams()).unwrap();
        assert_eq!(enclave.wait(), ExitStatus::Exited(0));
    };
    let with = Fake::new(|thread| {
        let mut report = [0; 432];
        assert_eq!(thread.data(Request::QuoteTarget {}).unwrap(), [9; 512]);
        assert_eq!(thread.data(Request::Quote { report: &report }).unwrap(), [0; 100]);
        report[0] = 1;
        assert_eq!(thread.data(Request::Quote { report: &report }), Err(5), "too long");
        report[0] = 2;
        assert_eq!(thread.data(Request::Quote { report: &report }), Err(5));
        assert_eq!(thread.data(Request::Quote { report: &report[1..] }), Err(22));
        thread.exit(0);
    });
    run(with, options(Some(Arc::new(Service) as Arc<dyn QuoteService>)));
    let without = Fake::new(|thread| {
        assert_eq!(thread.data(Request::QuoteTarget {}), Err(19), "ENODEV");
        assert_eq!(thread.data(Request::Quote { report: &[0; 432] }), Err(19));
        thread.exit(0);
    });
    run(without, options(None));
    let lines = lines.lock().unwrap();
    for expected in
        ["expected at most 65536 bytes", "quote: the daemon\\nis away", "no quoting service"]
    {
        assert!(lines.iter().any(|line| line.contains(expected)), "{expected}: {lines:#?}");
    }
}
