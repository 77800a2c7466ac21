//! Client and server on a socket, and peers that do not keep to the protocol.

use aesm::message::{
    GetQuoteExRequest, GetQuoteRequest, GetSupportedAttKeyIdsRequest, InitQuoteExRequest,
    InitQuoteRequest, Request, Response, SelectAttKeyIdRequest,
};
use aesm::server::{Limits, QuotingService, Refusal, Server, answer};
use aesm::{
    ATT_KEY_ID_SIZE, Algorithm, AttKeyId, Client, ClientError, FrameError, MAX_FRAME, Message,
    REPORT_SIZE, Status, TARGETINFO_SIZE, read_frame, write_frame,
};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, thread};

/// Quotes every report whose first byte is not 0: header, report, and that byte for a signature.
struct Fake;

impl QuotingService for Fake {
    type Error = &'static str;

    fn key_id(&self) -> AttKeyId {
        AttKeyId::ecdsa_p256(&[9; 32], 1)
    }

    fn public_key_id(&self) -> [u8; 32] {
        [8; 32]
    }

    fn target_info(&self) -> [u8; TARGETINFO_SIZE] {
        [7; TARGETINFO_SIZE]
    }

    fn quote_size(&self) -> u32 {
        437
    }

    fn quote(&self, report: &[u8; REPORT_SIZE]) -> Result<Vec<u8>, Self::Error> {
        if report[0] == 0 {
            return Err("report.mac: expected another");
        }
        let mut quote = vec![0; 437];
        quote[48..432].copy_from_slice(&report[..384]);
        quote[432] = 1;
        quote[436] = report[0];
        Ok(quote)
    }

    fn quote_report(
        &self,
        target: &[u8; TARGETINFO_SIZE],
        nonce: &[u8; 16],
        quote: &[u8],
    ) -> Result<[u8; REPORT_SIZE], Self::Error> {
        if target[511] != 0 {
            return Err("reserved byte");
        }
        Ok([nonce[0] ^ quote[436]; REPORT_SIZE])
    }
}

/// A server in this process, and its socket.
fn serve(limits: Limits) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("aesm.socket");
    let server = Server::bind(&path).expect("bound");
    thread::spawn(move || server.serve(&Arc::new(Fake), limits, |_| {}));
    (directory, path)
}

fn ask(request: Request) -> (Response, Option<Refusal<&'static str>>) {
    let answer = answer(&Fake, &request.encode_to_vec());
    (answer.response, answer.refusal)
}

fn get_quote(report: &[u8], buf_size: u32) -> GetQuoteExRequest {
    GetQuoteExRequest { report: report.to_vec(), buf_size, ..GetQuoteExRequest::default() }
}

#[test]
fn a_client_gets_target_information_and_quotes() {
    let (_directory, path) = serve(Limits::default());
    let client = Client::new(&path);
    assert_eq!(client.target_info(), Ok([7; TARGETINFO_SIZE]));
    assert_eq!(client.supported_keys(), Ok(vec![Fake.key_id()]));
    let quote = client.quote(&[5; REPORT_SIZE]).expect("a quote");
    assert_eq!((quote.len(), quote[436]), (437, 5));
    let both = client
        .quote_and_report(&[5; REPORT_SIZE], &[0; TARGETINFO_SIZE], &[3; 16])
        .expect("a quote and a report");
    assert_eq!((both.quote, both.qe_report), (quote, [3 ^ 5; REPORT_SIZE]));
}

#[test]
fn a_refusal_has_the_daemons_status() {
    let (_directory, path) = serve(Limits::default());
    let client = Client::new(&path);
    let status = |error| match error {
        ClientError::Refused { request: "GetQuoteEx", status } => status,
        other => panic!("{other}"),
    };
    let refusal = client.quote(&[0; REPORT_SIZE]).expect_err("no report");
    assert_eq!(status(refusal), Status::INVALID_REPORT);
    let refusal = client.quote_and_report(&[5; REPORT_SIZE], &[1; TARGETINFO_SIZE], &[3; 16]);
    assert_eq!(status(refusal.expect_err("no target")), Status::UNABLE_TO_GENERATE_QE_REPORT);
    let token = client.launch_token(&[0; 32], &[0; 384], &[0; 16]);
    let error = token.expect_err("launch control is flexible").to_string();
    assert!(error.ends_with("got 30 (SERVICE_UNAVAILABLE)"), "{error}");
}

#[test]
fn epid_is_retired() {
    let (response, refusal) =
        ask(Request { init_quote: Some(InitQuoteRequest::default()), ..Request::default() });
    assert_eq!(response.init_quote.expect("its answer").error, Status::SERVICE_UNAVAILABLE.0);
    let refusal = refusal.expect("refused");
    assert_eq!(refusal, Refusal::Epid);
    assert!(refusal.to_string().contains("retired by Intel"));
    let (response, refusal) =
        ask(Request { get_quote: Some(GetQuoteRequest::default()), ..Request::default() });
    assert_eq!(response.get_quote.expect("its answer").error, Status::SERVICE_UNAVAILABLE.0);
    assert_eq!(refusal, Some(Refusal::Epid));
}

#[test]
fn lengths_and_buffers_are_checked() {
    let quote = |request| ask(Request { get_quote_ex: Some(request), ..Request::default() }).1;
    for got in [0, 1, 431, 433, 512] {
        let refusal = Refusal::Length { field: "report", expected: 432, got };
        assert_eq!(quote(get_quote(&vec![1; got], 437)), Some(refusal));
    }
    let refusal = Refusal::Buffer { field: "buf_size", needed: 437, got: 436 };
    assert_eq!(quote(get_quote(&[1; 432], 436)), Some(refusal));
    assert_eq!(quote(get_quote(&[1; 432], 10_000)), None);
    let short =
        GetQuoteExRequest { qe_report_info: Some(vec![0; 528]), ..get_quote(&[1; 432], 437) };
    let refusal = Refusal::Length { field: "qe_report_info", expected: 960, got: 528 };
    assert_eq!(quote(short), Some(refusal));
    let buf_size = ATT_KEY_ID_SIZE as u32 - 1;
    let ids = GetSupportedAttKeyIdsRequest { buf_size, timeout_us: None };
    let refusal = ask(Request { get_supported_att_key_ids: Some(ids), ..Request::default() }).1;
    assert_eq!(refusal, Some(Refusal::Buffer { field: "buf_size", needed: 256, got: 255 }));
    let init = InitQuoteExRequest { b_pub_key_id: true, buf_size: Some(31), ..Default::default() };
    let refusal = ask(Request { init_quote_ex: Some(init), ..Request::default() }).1;
    assert_eq!(refusal, Some(Refusal::Buffer { field: "buf_size", needed: 32, got: 31 }));
}

#[test]
fn other_keys_are_refused() {
    let other = AttKeyId::ecdsa_p256(&[1; 32], 1);
    let with = |id: Vec<u8>| {
        let request = GetQuoteExRequest { att_key_id: Some(id), ..get_quote(&[1; 432], 437) };
        ask(Request { get_quote_ex: Some(request), ..Request::default() }).1
    };
    let refusal = Refusal::KeyId { got: Some(Algorithm::ECDSA_P256) };
    assert_eq!(with(other.0.to_vec()), Some(refusal));
    assert_eq!(with(vec![0; 256]), Some(Refusal::KeyId { got: Some(Algorithm::EPID) }));
    let refusal = Refusal::Length { field: "att_key_id", expected: 256, got: 158 };
    assert_eq!(with(other.0[..158].to_vec()), Some(refusal));
    assert_eq!(with(Fake.key_id().0.to_vec()), None);
    assert_eq!(with(Vec::new()), None);
}

#[test]
fn a_list_of_keys_is_searched_for_ours() {
    let select = |number: u32, ids: &[&[u8]]| {
        let list = [&[0, 0, 0, 0][..], &number.to_le_bytes(), &ids.concat()].concat();
        let request = SelectAttKeyIdRequest { att_key_id_list: Some(list), timeout_us: None };
        ask(Request { select_att_key_id: Some(request), ..Request::default() }).1
    };
    let (ours, other) = (Fake.key_id(), [0; ATT_KEY_ID_SIZE]);
    assert_eq!(select(2, &[&other, &ours.0]), None);
    assert_eq!(select(1, &[&other]), Some(Refusal::KeyId { got: Some(Algorithm::EPID) }));
    assert_eq!(select(0, &[]), Some(Refusal::KeyId { got: None }));
    let length = |expected, got| Some(Refusal::Length { field: "att_key_id_list", expected, got });
    assert_eq!(select(2, &[&ours.0]), length(8 + 512, 8 + 256));
    assert_eq!(select(1, &[&ours.0, b"x"]), length(8 + 256, 8 + 257));
    assert!(select(u32::MAX, &[&ours.0]).is_some());
}

#[test]
fn what_is_no_request_is_answered_as_unsupported() {
    let refusal = |message: &[u8]| {
        let answer = answer(&Fake, message);
        assert!(answer.response.unsupported.is_some());
        answer.refusal.expect("refused")
    };
    assert_eq!(refusal(b""), Refusal::Requests { got: 0 });
    // A white list's size, number 10.
    assert_eq!(refusal(&[0x52, 0]), Refusal::Requests { got: 0 });
    assert!(matches!(refusal(&[0xff; 8]), Refusal::Undecodable(_)));
    let two = Request {
        init_quote_ex: Some(InitQuoteExRequest::default()),
        get_quote_ex: Some(get_quote(&[1; 432], 437)),
        ..Request::default()
    };
    assert_eq!(refusal(&two.encode_to_vec()), Refusal::Requests { got: 2 });
}

#[test]
fn hostile_peers_cost_their_own_time_only() {
    let limits = Limits { connections: 2, time: Duration::from_millis(200) };
    let (_directory, path) = serve(limits);
    let connect = || UnixStream::connect(&path).expect("connected");
    // As many silent peers as are served at once, and more: the others' turn comes when they time out.
    let silent: Vec<UnixStream> = (0..5).map(|_| connect()).collect();
    let client = Client::new(&path);
    assert!(client.target_info().is_ok(), "served after them");
    drop(silent);

    let mut oversized = connect();
    oversized.write_all(&(MAX_FRAME as u32 + 1).to_le_bytes()).expect("written");
    assert_eq!(read_frame(&mut oversized), Err(FrameError::Closed));
    let mut truncated = connect();
    truncated.write_all(b"\x08\0\0\0abc").expect("written");
    truncated.shutdown(std::net::Shutdown::Write).expect("shut");
    assert_eq!(truncated.read(&mut [0; 1]).expect("closed"), 0);
    let mut garbage = connect();
    write_frame(&mut garbage, &[0xff; 100]).expect("written");
    let answer = read_frame(&mut garbage).expect("answered");
    let answer = Response::decode(&answer[..]).expect("a response");
    assert_eq!(answer.unsupported.expect("unsupported").error, Status::UNEXPECTED_ERROR.0);
    assert!(client.target_info().is_ok());
}

#[test]
fn many_clients_at_once_are_all_served() {
    let (_directory, path) = serve(Limits { connections: 4, ..Limits::default() });
    thread::scope(|scope| {
        for number in 1..=32 {
            let client = Client::new(&path);
            scope.spawn(move || {
                let quote = client.quote(&[number; REPORT_SIZE]).expect("a quote");
                assert_eq!(quote[436], number);
            });
        }
    });
}

/// A daemon that answers every request with the same bytes.
fn daemon(reply: Vec<u8>) -> (tempfile::TempDir, Client) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("aesm.socket");
    let listener = UnixListener::bind(&path).expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("accepted");
            let _ = read_frame(&mut stream);
            let _ = stream.write_all(&reply);
        }
    });
    (directory, Client::new(path).with_timeout(Duration::from_secs(5)))
}

#[test]
fn a_client_survives_a_hostile_daemon() {
    let target_info = |reply: &[u8]| daemon(reply.to_vec()).1.target_info().expect_err("refused");
    assert_eq!(target_info(b""), ClientError::Frame(FrameError::Closed));
    assert_eq!(target_info(b"\x05\0\0\0a"), ClientError::Frame(FrameError::Truncated));
    let too_long = FrameError::TooLong { limit: MAX_FRAME, got: u32::MAX as usize };
    assert_eq!(target_info(&[0xff; 4]), ClientError::Frame(too_long));
    assert!(matches!(target_info(b"\x02\0\0\0\xff\xff"), ClientError::Decode(_)));
    // An empty message: the answer to nothing.
    assert!(matches!(target_info(&[0; 4]), ClientError::Missing { .. }));
}

#[test]
fn a_daemon_that_does_not_answer_does_not_hold_a_client() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("aesm.socket");
    // Nobody accepts: the queue takes some connections, which get no answer, and then no more.
    let _listener = UnixListener::bind(&path).expect("bound");
    let client = Client::new(&path).with_timeout(Duration::from_millis(50));
    assert_eq!(client.target_info(), Err(ClientError::Frame(FrameError::TimedOut)));
    let kind = std::io::ErrorKind::TimedOut;
    let full = ClientError::Connect { socket: path.clone(), kind };
    let waiting: Vec<_> = (0..)
        .map_while(|_| {
            use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
            let flags = SocketFlags::NONBLOCK;
            let socket =
                rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
                    .expect("a socket");
            let address = SocketAddrUnix::new(&path).expect("an address");
            rustix::net::connect(&socket, &address).is_ok().then_some(socket)
        })
        .collect();
    assert_eq!(client.target_info(), Err(full), "with {} waiting", waiting.len());
}

#[test]
fn a_socket_is_replaced_only_if_nobody_listens() {
    let directory = tempfile::tempdir().expect("a directory");
    let path: &Path = &directory.path().join("aesm.socket");
    let in_use = |path| Server::bind(path).expect_err("in use").kind();
    // Left behind by one that was killed.
    drop(UnixListener::bind(path).expect("bound"));
    let server = Server::bind(path).expect("replaced");
    assert_eq!(fs::metadata(path).expect("there").permissions().mode() & 0o777, 0o666);
    assert_eq!(in_use(path), std::io::ErrorKind::AddrInUse);
    drop(server);
    assert!(!path.exists());
    fs::write(path, b"mine").expect("written");
    assert_eq!(in_use(path), std::io::ErrorKind::AddrInUse);
    assert_eq!(fs::read(path).expect("kept"), b"mine");
}
