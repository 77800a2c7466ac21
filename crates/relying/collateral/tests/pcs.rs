//! The client of a PCS against a server that answers well, badly, or slowly.

#[path = "support/server.rs"]
mod server;

use collateral::error::FetchError;
use collateral::object::{Ca, Object, Tee};
use collateral::pcs::{Pcs, Timeouts};
use server::{Answer, Server};
use std::time::Duration;

const FMSPC: [u8; 6] = [0, 0xa0, 0x67, 0x11, 0, 0];
const CHAIN: &str = "-----BEGIN CERTIFICATE-----\nAQ+/\n-----END CERTIFICATE-----\n";
const ENCODED: &str = "-----BEGIN%20CERTIFICATE-----%0AAQ%2B%2F%0A-----END%20CERTIFICATE-----%0A";

const PCK_CRL: &str = "/sgx/certification/v4/pckcrl?ca=platform&encoding=der";
const ROOT_CRL: &str = "/sgx/certification/v4/rootcacrl";
const TCB: &str = "/tdx/certification/v4/tcb?fmspc=00A067110000&update=standard";
const QE: &str = "/tdx/certification/v4/qe/identity?update=standard";

fn pcs(server: &Server) -> Pcs {
    let timeouts =
        Timeouts { connect: Duration::from_secs(5), request: Duration::from_millis(1500) };
    Pcs::new(&server.url, timeouts).unwrap()
}

fn tcb(body: &str) -> Answer {
    Answer::ok(body).header("TCB-Info-Issuer-Chain", ENCODED)
}

#[test]
fn the_four_requests_and_their_answers() {
    let server = Server::start();
    let pcs = pcs(&server);
    let signature = "ab".repeat(64);
    // The text between the braces is signed byte for byte: blanks and order stay.
    let body = r#"{ "b" : 1,"a":[ ] }"#;
    server.answer(TCB, tcb(&format!(r#"{{"tcbInfo": {body} ,"signature":"{signature}"}}"#)));
    let identity = format!(r#"{{"signature":"{signature}","enclaveIdentity":{body}}}"#);
    server.answer(QE, Answer::ok(identity).header("SGX-Enclave-Identity-Issuer-Chain", ENCODED));
    let crl = Answer::ok([0x30, 1, 0xff]).header("SGX-PCK-CRL-Issuer-Chain", ENCODED);
    server.answer(PCK_CRL, crl);
    server.answer(ROOT_CRL, Answer::ok("3001fF\n"));

    let signed =
        Object::Signed { body: body.into(), signature: vec![0xab; 64], issuer_chain: CHAIN.into() };
    assert_eq!(pcs.tcb_info(Tee::Tdx, FMSPC).unwrap(), signed);
    assert_eq!(pcs.qe_identity(Tee::Tdx).unwrap(), signed);
    let crl = |issuer_chain: &str| Object::Crl {
        crl: vec![0x30, 1, 0xff],
        issuer_chain: issuer_chain.into(),
    };
    assert_eq!(pcs.pck_crl(Ca::Platform).unwrap(), crl(CHAIN));
    assert_eq!(pcs.root_crl().unwrap(), crl(""));
    assert_eq!(server.asked(), [TCB, QE, PCK_CRL, ROOT_CRL]);
}

#[test]
fn a_base_may_name_the_version_and_a_path() {
    let server = Server::start();
    server.answer("/pccs/sgx/certification/v4/rootcacrl", Answer::ok("3000"));
    for end in ["/pccs", "/pccs/", "/pccs/sgx/certification/v4", "/pccs/sgx/certification/v4/"] {
        let pcs = Pcs::new(&format!("{}{end}", server.url), Timeouts::default()).unwrap();
        assert!(pcs.root_crl().is_ok(), "{end}");
    }
    for url in
        ["", "pccs.example", "ftp://x", "https://", "https://x?y", "http://user@x", "http://a b"]
    {
        assert!(
            matches!(Pcs::new(url, Timeouts::default()), Err(FetchError::Address { .. })),
            "{url}"
        );
    }
}

#[test]
fn answers_that_are_refused_name_what_was_asked() {
    let server = Server::start();
    let pcs = pcs(&server);
    let good = format!(r#"{{"tcbInfo":{{}},"signature":"{}"}}"#, "ab".repeat(64));
    let cases = [
        (Answer::status(404), "status 404"),
        (Answer::status(500), "expected status 200, got 500"),
        (Answer::status(301).header("Location", &format!("{}{QE}", server.url)), "got 301"),
        (Answer::ok(&*good), "header TCB-Info-Issuer-Chain: expected a PEM certificate chain"),
        (Answer::ok(&*good).header("TCB-Info-Issuer-Chain", "%ff%fe"), "bytes that are no text"),
        (Answer::ok(&*good).header("TCB-Info-Issuer-Chain", "hello"), "got something else"),
        (tcb("{}"), "missing field `signature`"),
        (tcb("[1,2"), "line 1 column"),
        (tcb(r#"{"tcbInfo":{},"tcbInfo":{},"signature":"ab"}"#), "comes twice"),
        (tcb(r#"{"tcbInfo":{},"signature":"xy"}"#), "signature"),
        (tcb("\u{fffd}"), "line 1 column 1"),
        (Answer::ok([0xff; 9]).header("TCB-Info-Issuer-Chain", ENCODED), "expected text"),
        (tcb(&"x".repeat((4 << 20) + 1)), "expected at most 4194304 bytes"),
        (tcb("").header("X-Long", &"x".repeat(100_000)), "header"),
    ];
    for (answer, part) in cases {
        server.answer(TCB, answer);
        let error = pcs.tcb_info(Tee::Tdx, FMSPC).unwrap_err().to_string();
        assert!(error.contains(part), "{part}: {error}");
        assert!(error.contains("/tcb?fmspc=00A067110000"), "{error}");
    }
    assert!(!server.asked().contains(&QE.to_string()), "a redirection is not followed");

    server.answer(ROOT_CRL, Answer::ok("no CRL"));
    let error = pcs.root_crl().unwrap_err().to_string();
    assert!(error.contains("expected a CRL"), "{error}");
}

#[test]
fn a_server_that_sends_slowly_or_nothing_holds_nobody_up() {
    let server = Server::start();
    let pcs = pcs(&server);
    let slow = Answer { drip: Some(Duration::from_millis(400)), ..Answer::ok([b'3'; 1000]) };
    server.answer(ROOT_CRL, slow);
    assert!(matches!(pcs.root_crl(), Err(FetchError::Transport { .. })));
    let silent = Answer { delay: Duration::from_secs(60), ..Answer::ok("3000") };
    server.answer(ROOT_CRL, silent);
    assert!(matches!(pcs.root_crl(), Err(FetchError::Transport { .. })));

    // Nobody listens: the listener is dropped at the end of the statement.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let pcs = Pcs::new(&format!("http://{gone}"), Timeouts::default()).unwrap();
    let error = pcs.root_crl().unwrap_err().to_string();
    assert!(error.starts_with(&format!("ask http://{gone}/sgx/")), "{error}");
}
