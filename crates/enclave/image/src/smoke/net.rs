//! Sockets of the host, as the library OS's own layer gives them to programs: every step is said in a line, with
//! what a program would have got. A host that lies changes what the lines say, within what sockets can do.

use libos::fs::file::{SliceSource, VecSink};
use libos::fs::outside::{Connection, Outside, Place, Rules};
use libos::fs::stream::Streams;
use libos::host::Event;
use libos::platform::Platform;
use workload::manifest::{Manifest, Protocol};

use super::alloc::format;
use super::alloc::string::String;
use super::alloc::sync::Arc;
use super::log;

/// Bytes that a read asks for.
const ASKED: usize = 16;

/// Uses the sockets that the manifest has rules for: one connection out, one in, one event.
pub(super) fn run(platform: &'static dyn Platform, manifest: &[u8]) -> Result<(), String> {
    let manifest = Manifest::parse(manifest).map_err(|error| format!("{error}"))?;
    let streams = Streams::new();
    let rules = Rules { network: manifest.network, attester: None };
    let outside = Outside::new(platform, streams.clone(), rules);
    let say = |step: &str, outcome: &dyn core::fmt::Debug| {
        log(platform, format!("{step}: {outcome:?}"));
    };

    let out = outside.connect(Protocol::Tcp, ([10, 0, 0, 5], 5432).into(), &Arc::default());
    say("connect", &out.as_ref().map(Connection::peer));
    let place = Place { ip: [0, 0, 0, 0].into(), port: 80, is_dual: false };
    let listener = outside.listen(place, 16, 0, &Arc::default());
    say("listen", &listener.as_ref().map(Option::is_some));
    let accept = || {
        let Ok(Some(listener)) = &listener else { return None };
        Some(listener.accept(Arc::default()))
    };
    let accepted = accept();
    say("accept", &accepted.as_ref().map(|one| one.as_ref().map(Connection::peer)));
    if let Ok(out) = &out {
        say("finish", &out.finish());
        say("name", &out.name());
        say("send", &out.send(&mut SliceSource(b"question")));
        say("receive", &receive(out));
        say("unread", &out.available());
        say("end", &receive(out));
        say("error", &out.take_error());
        say("shutdown", &out.shutdown(false, true));
    }
    if let Some(Ok(accepted)) = &accepted {
        say("receive of the accepted", &receive(accepted));
    }
    drop(accepted);
    say("next accept", &accept().map(|one| one.map(|one| one.peer())));
    match platform.host().next_event() {
        Event::Ready { stream, readiness } => {
            streams.ready(stream, readiness);
            say("ready", &out.as_ref().map(|out| out.poll().0));
        }
        event => say("event", &event),
    }
    Ok(())
}

fn receive(connection: &Connection) -> Result<String, libos::errno::Errno> {
    let mut into = VecSink::new(ASKED);
    let count = connection.receive(&mut into, false)?;
    let text = String::from_utf8_lossy(&into.bytes).into_owned();
    Ok(if count == text.len() { text } else { format!("{count} bytes: {text}") })
}
