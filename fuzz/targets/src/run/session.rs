//! What comes over an attested session, and the claims and evidence in it.

use rats_tls::binding::{Digest, ExportFault, Exporter, NO_KEY};
use rats_tls::claims::Claims;
use rats_tls::compat;
use rats_tls::frame::{Flags, Format};
use rats_tls::session::Offered;
use rats_tls::{Config, Event, Keys, Role, Session};

/// Stands for TLS.
struct Fixed;

impl Exporter for Fixed {
    fn export(&self, _label: &[u8], context: &[u8], into: &mut Digest) -> Result<(), ExportFault> {
        into.iter_mut().zip(context.iter().cycle()).for_each(|(to, from)| *to = *from);
        Ok(())
    }
}

/// A session of each role, which takes whatever comes and accepts all evidence. Data is never admitted before it
/// is open.
pub fn session_frames(bytes: &[u8]) {
    for role in [Role::Client, Role::Server] {
        let _ = feed(role, bytes);
    }
}

/// How much of it a session takes, and whether it opens.
pub(crate) fn feed(role: Role, bytes: &[u8]) -> (usize, bool) {
    let attests = role == Role::Server;
    let flags = Flags { attest_me: attests, attest_you: true, verify_first: false };
    let config = Config { flags, formats: vec![Format::Sgx, Format::Tdx] };
    let own = if attests { [1; 48] } else { NO_KEY };
    let keys = Keys { own, peer: [2; 48] };
    let mut session =
        Session::new(role, config, keys, Box::new(|| [3; 32])).expect("a sound configuration");
    let (mut rest, mut opened) = (bytes, false);
    loop {
        while let Some(event) = session.next_event() {
            match event {
                Event::Attest { binding, .. } => {
                    let evidence = binding.report_data(b"").to_vec();
                    let (claims, endorsements) = (vec![], vec![]);
                    let offered = Offered { format: Format::Sgx, evidence, claims, endorsements };
                    session.attest(offered).expect("it fits");
                }
                Event::Verify(received) => {
                    assert_eq!(received.expected_report_data()[48..60], *b"EAA-BOUND-V1");
                    session.judge(Ok(()), &Fixed).expect("accepted");
                }
                Event::Open => opened = true,
                Event::Reattested { epoch } => assert!(opened && epoch > 0),
                Event::EndOfData => assert!(opened),
                Event::Closed(_) => assert!(!session.is_open()),
            }
        }
        let taken = bytes.len() - rest.len();
        if rest.is_empty() {
            return (taken, opened);
        }
        let data = session.data_left().min(rest.len());
        if data > 0 {
            assert!(opened, "data before both ends accepted");
            session.took_data(data);
            rest = &rest[data..];
            continue;
        }
        assert!(session.wants() > 0);
        let Ok(count) = session.receive(rest, &Fixed) else {
            assert!(!session.is_open());
            return (taken, opened);
        };
        assert!(count > 0 && count <= rest.len());
        rest = &rest[count..];
    }
}

/// Claims buffers: what is read is written the same.
pub fn session_claims(bytes: &[u8]) {
    if let Ok(claims) = Claims::decode(bytes) {
        assert_eq!(claims.encode(), bytes);
    }
}

/// The evidence extension of certificates, and the claims in it.
pub fn compat_evidence(bytes: &[u8]) {
    let Ok((_, evidence, claims)) = compat::decode_evidence(bytes) else { return };
    assert!(evidence.len() + claims.len() < bytes.len());
    if let Ok(read) = compat::decode_claims(claims) {
        assert_eq!(compat::decode_claims(&compat::encode_claims(&read)), Ok(read));
    }
}

/// What a relay reads of a connection, in pieces of a size that the first byte tells.
pub fn client_hello(bytes: &[u8]) {
    inclavared::hello::fuzz(bytes);
}

/// What verifier and inclavared say to each other where inclavared is trusted.
pub fn hop_json(bytes: &[u8]) {
    rats_tls::hop::fuzz_json(bytes);
}

/// What a container says to it.
pub fn hop_reply(bytes: &[u8]) {
    rats_tls::hop::fuzz_reply(bytes);
}

/// Certificates: read, or refused with what they hold; either way with a line to say.
pub fn legacy_certificate(bytes: &[u8]) {
    let legacy = compat::Legacy::find(bytes);
    match compat::CompatPeer::read(bytes, 1_700_000_000) {
        Err(fault) => assert!(fault.to_string().len() < 1024),
        Ok(peer) => assert!(peer.evidence.len() < bytes.len()),
    }
    if let Some(legacy) = legacy {
        assert!(legacy.to_string().len() < 512);
    }
}
