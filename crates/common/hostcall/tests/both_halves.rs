//! Properties of the ABI: both halves agree, and no bytes make either panic.

use hostcall::enclave::{CallError, Caller};
use hostcall::host::Server;
use hostcall::{
    BLOCK_SIZE, DATA_SIZE, Event, Half, Memory, Protection, RawBlock, Request, SideData,
    SliceBlock, TypeChange, fuzz,
};

/// splitmix64: enough randomness for properties, and every failure repeats.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Words as a hostile side writes them: mostly small or at the edge of a domain.
    fn word(&mut self) -> u64 {
        let word = self.next();
        match word % 8 {
            0 => 0,
            1..=3 => (word >> 8) % 100,
            4 => 65535 + (word >> 8) % 3,
            5 => ((word >> 8) % 64) << 12,
            6 => u64::MAX - (word >> 8) % 2,
            _ => self.next(),
        }
    }
}

fn every_request<'a>(random: &mut Random, data: &'a [u8]) -> Vec<Request<'a>> {
    let id = random.next() as u32;
    let tcs = (random.next() % (1 << 35)) << 12;
    let length = (random.next() % (DATA_SIZE as u64 + 1)) as u32;
    let pages = random.next() % 1000 * 4096 + 4096;
    vec![
        Request::SessionRequest { session: id, offset: random.next() },
        Request::Log { level: 1 + id % 4, line: data },
        Request::Exit { status: id },
        Request::Refuse { reason: data },
        Request::FileOpen { path: data },
        Request::FileRead { file: id, offset: random.next() >> 1, length },
        Request::FileClose { file: id },
        Request::ReadSideData { what: SideData::Trees, offset: 0, length },
        Request::ReadSideData { what: SideData::Metadata, offset: 1, length },
        Request::StreamRead { stream: id, length, is_nonblocking: id.is_multiple_of(2) },
        Request::StreamWrite { stream: id, is_nonblocking: id.is_multiple_of(2), bytes: data },
        Request::StreamPoll { stream: id },
        Request::StreamWatch { stream: id, interest: 0x201d },
        Request::StreamClose { stream: id },
        Request::StreamIsTerminal { stream: id },
        Request::StreamIoctl { stream: id, request: id, argument: data },
        Request::NextEvent {},
        Request::SessionEnded { session: id, status: id },
        Request::SessionRefused { session: id, reason: data },
        Request::ThreadSpawn { tcs },
        Request::Park { timeout_ns: random.next() },
        Request::Unpark { tcs },
        Request::Kick { tcs },
        Request::Yield {},
        Request::Clock {},
        Request::Protect { offset: tcs, length: pages, protection: Protection((id % 8) as u8) },
        Request::ModifyType { offset: tcs, length: pages, to: TypeChange::Trim },
        Request::ModifyType { offset: tcs, length: pages, to: TypeChange::Tcs },
        Request::Remove { offset: tcs, length: pages },
        Request::Restrict { offset: tcs, length: pages, protection: Protection(1) },
        Request::QuoteTarget {},
        Request::Quote { report: data },
        Request::ReportTarget { ticket: id },
        Request::ReportMade { ticket: id, report: data },
        Request::NetListen {
            high: random.next(),
            low: random.next(),
            port: 1 + (id % 65535) as u16,
            backlog: id,
            is_v6_only: id.is_multiple_of(2),
        },
        Request::NetAccept { stream: id },
        Request::NetConnect {
            high: random.next(),
            low: random.next(),
            port: u16::MAX,
            is_datagram: id.is_multiple_of(2),
        },
        Request::NetError { stream: id },
        Request::NetShutdown { stream: id, half: Half::Read },
        Request::NetShutdown { stream: id, half: Half::Write },
        Request::NetShutdown { stream: id, half: Half::Both },
        Request::NetName { stream: id },
    ]
}

fn block() -> Vec<u64> {
    vec![0; BLOCK_SIZE / 8]
}

#[test]
fn the_host_decodes_what_the_enclave_encoded() {
    let mut random = Random(1);
    let mut words = block();
    let memory = SliceBlock::new(&mut words);
    let server = Server::new(&memory);
    let mut caller = Caller::new(&memory).unwrap();
    let mut scratch = Box::new([0; DATA_SIZE]);
    for round in 0..50 {
        let data: Vec<u8> =
            (0..[0, 1, 7, 8, 9, 300, DATA_SIZE][round % 7]).map(|_| random.next() as u8).collect();
        for request in every_request(&mut random, &data) {
            caller.begin(&request).unwrap();
            assert_eq!(server.receive(&mut scratch), Ok(request));
        }
    }
}

#[test]
fn the_enclave_decodes_what_the_host_replied() {
    let mut words = block();
    let memory = SliceBlock::new(&mut words);
    let server = Server::new(&memory);
    let mut caller = Caller::new(&memory).unwrap();
    let mut into = [0; 13];

    let read = Request::FileRead { file: 1, offset: 0, length: 13 };
    let reply = caller.call(&read, &mut into, || server.reply([0; 4], b"thirteen byte")).unwrap();
    assert_eq!((reply.length, &into), (13, b"thirteen byte"));

    let reply = caller.call(&read, &mut into, || server.reply([0; 4], b"end")).unwrap();
    assert_eq!(&into[..reply.length], b"end");

    let error = caller.call(&read, &mut into, || server.fail(2)).unwrap_err();
    assert_eq!(error, CallError::Errno(2));
    let error = caller.call(&read, &mut into, || server.fail(-7)).unwrap_err();
    assert_eq!(error, CallError::Errno(5), "an errno outside its range is EIO");

    let clock =
        caller.call(&Request::Clock {}, &mut [], || server.reply([9, 8, 7, 6], &[])).unwrap();
    assert_eq!(clock.values, [9, 8, 7, 6]);
}

#[test]
fn events_survive_the_round_trip() {
    for event in [
        Event::Signal { session: 0, signal: 64 },
        Event::Exec { session: 3, request_length: 1 << 20, streams: [4, 5, u32::MAX] },
        Event::Ready { stream: 9, readiness: 0x10 },
        Event::WindowSize { session: 7 },
        Event::Report { ticket: u32::MAX },
    ] {
        assert_eq!(Event::decode(&event.encode()), Ok(event));
    }
}

#[test]
fn events_outside_their_domain_are_refused() {
    let refused = |event: Event| Event::decode(&event.encode()).unwrap_err().field;
    assert_eq!(refused(Event::Signal { session: 0, signal: 0 }), "signal");
    assert_eq!(refused(Event::Signal { session: 0, signal: 65 }), "signal");
    let exec = |session, request_length| Event::Exec { session, request_length, streams: [0; 3] };
    assert_eq!(refused(exec(0, 1)), "session");
    assert_eq!(refused(exec(1, (1 << 20) + 1)), "request length");
    assert_eq!(refused(Event::Ready { stream: 0, readiness: 0 }), "readiness");
    assert_eq!(refused(Event::Ready { stream: 0, readiness: 2 }), "readiness");
    assert_eq!(Event::decode(&[0; 48]).unwrap_err().field, "kind");
    assert_eq!(Event::decode(&[0; 47]).unwrap_err().field, "length");
    let mut extra = Event::WindowSize { session: 1 }.encode();
    extra[40] = 1;
    assert_eq!(Event::decode(&extra).unwrap_err().field, "unused word");
}

/// Makes `call`, lets `host` write the reply words by hand, and gives the field that was refused.
fn refused_field(request: Request<'_>, host: impl FnOnce(&SliceBlock<'_>)) -> &'static str {
    let mut words = block();
    let memory = SliceBlock::new(&mut words);
    let _server = Server::new(&memory);
    let mut caller = Caller::new(&memory).unwrap();
    let mut into = [0; DATA_SIZE];
    let result = caller.call(&request, &mut into, || {
        memory.set_word(0x58, memory.word(0x10));
        host(&memory);
    });
    match result.unwrap_err() {
        CallError::Implausible(reason) => reason.field,
        other => panic!("expected an implausible reply, got {other:?}"),
    }
}

#[test]
fn implausible_replies_are_refused() {
    let read = Request::FileRead { file: 1, offset: 0, length: 16 };
    assert_eq!(refused_field(read, |m| m.set_word(0x88, 17)), "data length");
    assert_eq!(refused_field(read, |m| m.set_word(0x88, u64::MAX)), "data length");
    assert_eq!(refused_field(read, |m| m.set_word(0x60, 4096)), "status");
    assert_eq!(refused_field(read, |m| m.set_word(0x60, (-2i64) as u64)), "status");
    assert_eq!(refused_field(read, |m| m.set_word(0x68, 1)), "value");
    assert_eq!(refused_field(read, |m| m.set_word(0x80, 1)), "unused value");
    let write = Request::StreamWrite { stream: 1, is_nonblocking: true, bytes: b"abc" };
    assert_eq!(refused_field(write, |m| m.set_word(0x68, 4)), "value");
    assert_eq!(refused_field(write, |m| m.set_word(0x68, 0)), "bytes written");
    let ioctl = Request::StreamIoctl { stream: 1, request: 1, argument: b"abc" };
    assert_eq!(refused_field(ioctl, |m| m.set_word(0x88, 2)), "data length");
    let open = Request::FileOpen { path: b"/a" };
    assert_eq!(refused_field(open, |m| m.set_word(0x68, 1 << 32)), "value");
    let poll = Request::StreamPoll { stream: 1 };
    assert_eq!(refused_field(poll, |m| m.set_word(0x68, 2)), "readiness");
    let session = Request::SessionRequest { session: 0, offset: 0 };
    assert_eq!(refused_field(session, |m| m.set_word(0x68, 5)), "data length");
    assert_eq!(refused_field(session, |m| m.set_word(0x68, (1 << 20) + 1)), "total length");
    let target = Request::QuoteTarget {};
    assert_eq!(refused_field(target, |m| m.set_word(0x88, 513)), "data length");
    assert_eq!(refused_field(target, |m| m.set_word(0x68, 1)), "value");
    let quote = Request::Quote { report: &[0; 432] };
    assert_eq!(refused_field(quote, |m| m.set_word(0x88, 65537)), "data length");
    let made = Request::ReportMade { ticket: 1, report: &[] };
    assert_eq!(refused_field(made, |m| m.set_word(0x88, 1)), "data length");
    let listen = Request::NetListen { high: 0, low: 0, port: 80, backlog: 1, is_v6_only: false };
    assert_eq!(refused_field(listen, |m| m.set_word(0x68, 1 << 32)), "value");
    assert_eq!(refused_field(listen, |m| m.set_word(0x70, 1)), "unused value");
    let accept = Request::NetAccept { stream: 1 };
    let with_port = |m: &SliceBlock<'_>, port| m.set_word(0x70, port);
    assert_eq!(refused_field(accept, |m| with_port(m, 0)), "port");
    assert_eq!(refused_field(accept, |m| with_port(m, 65536)), "port");
    assert_eq!(refused_field(accept, |m| m.set_word(0x68, 1 << 32)), "stream");
    assert_eq!(
        refused_field(accept, |m| {
            with_port(m, 1);
            m.set_word(0x88, 1);
        }),
        "data length"
    );
    let name = Request::NetName { stream: 1 };
    assert_eq!(refused_field(name, |m| m.set_word(0x68, 1)), "stream");
    assert_eq!(refused_field(name, |m| with_port(m, 0)), "port");
    let error = Request::NetError { stream: 1 };
    assert_eq!(refused_field(error, |m| m.set_word(0x68, 4096)), "value");
    let clock = Request::Clock {};
    assert_eq!(refused_field(clock, |m| m.set_word(0x70, 1 << 63)), "monotonic_ns");
    assert_eq!(refused_field(clock, |m| m.set_word(0x80, 1 << 40)), "tsc_khz");
}

#[test]
fn a_reply_to_another_request_is_refused() {
    let mut words = block();
    let memory = SliceBlock::new(&mut words);
    let server = Server::new(&memory);
    let mut caller = Caller::new(&memory).unwrap();
    caller.call(&Request::Yield {}, &mut [], || server.reply([0; 4], &[])).unwrap();
    let error = caller.call(&Request::Yield {}, &mut [], || {}).unwrap_err();
    assert_eq!(error, CallError::Sequence { expected: 2, got: 1 });
}

#[test]
fn a_block_of_another_version_is_refused() {
    let mut words = block();
    assert!(Caller::new(SliceBlock::new(&mut words)).is_err());
    let memory = SliceBlock::new(&mut words);
    let _server = Server::new(&memory);
    memory.set_word(8, 4096);
    let error = Caller::new(&memory).unwrap_err();
    assert_eq!(error, CallError::Block { field: "length", expected: BLOCK_SIZE as u64, got: 4096 });
}

#[test]
fn requests_outside_their_domain_are_refused() {
    let mut words = block();
    let memory = SliceBlock::new(&mut words);
    let server = Server::new(&memory);
    let mut scratch = Box::new([0; DATA_SIZE]);
    let mut refused = |call: u64, arguments: &[u64], length: u64| {
        memory.set_word(0x18, call);
        for index in 0..6 {
            memory.set_word(0x20 + index * 8, arguments.get(index).copied().unwrap_or(0));
        }
        memory.set_word(0x50, length);
        server.receive(&mut scratch).unwrap_err().to_string()
    };
    let version = 1 << 32;
    assert_eq!(refused(68, &[], 0), "host-call version: expected 1, got 0");
    assert_eq!(refused(version | 5, &[], 0), "host-call number: no call 5");
    assert!(refused(version | 16, &[], 65537).starts_with("data length of host call 16"));
    assert!(refused(version | 16, &[], u64::MAX).starts_with("data length of host call 16"));
    assert!(refused(version | 68, &[], 1).starts_with("data length of host call 68"));
    assert!(refused(version | 68, &[1], 0).starts_with("unused argument of host call Yield"));
    assert!(refused(version | 17, &[1, 1 << 63, 1], 0).starts_with("offset of host call FileRead"));
    assert!(refused(version | 17, &[1, 0, 65537], 0).starts_with("length of host call FileRead"));
    assert!(refused(version | 32, &[1, 1, 2], 0).starts_with("is_nonblocking of host call"));
    assert!(refused(version | 66, &[4097], 0).starts_with("tcs of host call Unpark"));
    assert!(refused(version | 83, &[0, 0], 0).starts_with("length of host call Remove"));
    assert!(refused(version | 81, &[0, 4096, 8], 0).starts_with("protection of host call Protect"));
    assert!(refused(version | 82, &[0, 4096, 2], 0).starts_with("to of host call ModifyType"));
    assert!(refused(version | 96, &[], 1).starts_with("data length of host call 96"));
    assert!(refused(version | 97, &[1], 0).starts_with("unused argument of host call Quote"));
    assert!(refused(version | 98, &[1 << 32], 0).starts_with("ticket of host call ReportTarget"));
    assert!(
        refused(version | 33, &[1, 2], 0).starts_with("is_nonblocking of host call StreamWrite")
    );
    assert!(refused(version | 35, &[1, 2], 0).starts_with("interest of host call StreamWatch"));
    assert!(refused(version | 112, &[0, 0, 0], 0).starts_with("port of host call NetListen"));
    assert!(refused(version | 112, &[0, 0, 80, 1, 2], 0).starts_with("is_v6_only of host call"));
    assert!(refused(version | 112, &[0, 0, 80, 1, 0, 1], 0).starts_with("unused argument of host"));
    assert!(refused(version | 114, &[0, 0, 65536], 0).starts_with("port of host call NetConnect"));
    assert!(refused(version | 116, &[1, 3], 0).starts_with("half of host call NetShutdown"));
    assert!(refused(version | 113, &[1], 1).starts_with("data length of host call 113"));
}

#[test]
fn no_bytes_make_either_half_panic() {
    let mut random = Random(7);
    let mut words = block();
    let mut scratch = Box::new([0; DATA_SIZE]);
    let mut into = vec![0; DATA_SIZE];
    for _ in 0..4000 {
        for word in &mut words[..32] {
            *word = random.word();
        }
        words[3] = if random.next().is_multiple_of(4) {
            random.next()
        } else {
            (1 << 32) | (random.next() % 120)
        };
        for word in &mut words[512..520] {
            *word = random.word();
        }
        fuzz::host_decodes(&mut words, &mut scratch);
        let requests = every_request(&mut random, b"some data");
        let request = requests[random.next() as usize % requests.len()];
        let room = random.next() as usize % 64;
        fuzz::enclave_decodes(&mut words, &request, &mut into[..room]);
    }
}

#[test]
fn a_raw_block_stays_in_its_bounds() {
    let mut words = vec![0xee_u64; BLOCK_SIZE / 8 + 2];
    let address = words[1..].as_mut_ptr() as u64;
    // SAFETY: the block lies inside `words`, which outlives it and is not touched by other means meanwhile.
    let raw = unsafe { RawBlock::from_address(address) }.unwrap();
    for offset in [BLOCK_SIZE, BLOCK_SIZE - 4, 1, usize::MAX - 7, usize::MAX] {
        raw.set_word(offset, 0);
        assert_eq!(raw.word(offset), 0);
    }
    raw.copy_in(&vec![0xaa; DATA_SIZE + 100]);
    let mut bytes = vec![0; DATA_SIZE + 100];
    raw.copy_out(&mut bytes);
    assert!(bytes[..DATA_SIZE].iter().all(|byte| *byte == 0xaa));
    assert!(bytes[DATA_SIZE..].iter().all(|byte| *byte == 0));
    assert_eq!((words[0], words[BLOCK_SIZE / 8 + 1]), (0xee, 0xee));
    // SAFETY: refused before any access.
    unsafe {
        assert!(RawBlock::from_address(0).is_none());
        assert!(RawBlock::from_address(4).is_none());
        assert!(RawBlock::from_address(u64::MAX - 7).is_none());
    }
}
