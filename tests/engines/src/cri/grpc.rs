//! One gRPC call over a Unix socket.
//!
//! gRPC is HTTP/2 with a five-byte head before each message and the outcome in the trailers ("gRPC over HTTP2",
//! protocol document of the gRPC project). A new connection for every call: there is nothing to keep or to mend
//! when the daemon is started again.

use h2::RecvStream;
use http::{HeaderMap, Request};
use percent_encoding::percent_decode_str;
use prost::Message;
use prost::bytes::{BufMut, Bytes, BytesMut};
use std::path::Path;
use std::time::Duration;
use tokio::net::UnixStream;

/// Longest that a call may take: a hang is a failure, not a wait for ever.
const PATIENCE: Duration = Duration::from_secs(120);

/// Calls `method`, written `package.Service/Name`.
///
/// # Errors
/// The server's refusal, or what was wrong with its answer.
pub(super) fn call<A: Message + Default>(
    socket: &Path,
    method: &str,
    question: &impl Message,
) -> Result<A, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("start a runtime: {error}"))?;
    let answer = runtime.block_on(async {
        let asked = ask(socket, method, framed(question));
        tokio::time::timeout(PATIENCE, asked).await.map_err(|_| "no answer".to_owned())?
    });
    let decoded = answer.and_then(|bytes| A::decode(bytes).map_err(|error| error.to_string()));
    decoded.map_err(|error| format!("{method}: {error}"))
}

/// A message that is not compressed, with its head.
fn framed(message: &impl Message) -> Bytes {
    let encoded = message.encode_to_vec();
    let mut frame = BytesMut::with_capacity(5 + encoded.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(encoded.len()).expect("questions are small"));
    frame.put_slice(&encoded);
    frame.freeze()
}

async fn ask(socket: &Path, method: &str, question: Bytes) -> Result<Bytes, String> {
    let stream = UnixStream::connect(socket).await;
    let stream = stream.map_err(|error| format!("connect to {}: {error}", socket.display()))?;
    let failed = |error: h2::Error| format!("http/2: {error}");
    let (sender, connection) = h2::client::handshake(stream).await.map_err(failed)?;
    tokio::spawn(connection);
    let request = Request::post(format!("http://localhost/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .map_err(|error| error.to_string())?;
    let mut sender = sender.ready().await.map_err(failed)?;
    let (response, mut body) = sender.send_request(request, false).map_err(failed)?;
    body.send_data(question, true).map_err(failed)?;
    let (head, mut body) = response.await.map_err(failed)?.into_parts();
    let data = read(&mut body).await.map_err(failed)?;
    // Without a message, the outcome may stand in the head.
    let outcome = body.trailers().await.map_err(failed)?.unwrap_or(head.headers);
    succeeded(&outcome)?;
    match data.split_first_chunk::<5>() {
        Some(([0, length @ ..], _)) if u32::from_be_bytes(*length) as usize == data.len() - 5 => {
            Ok(data.slice(5..))
        }
        _ => Err(format!("answer: expected one message as it is, got {} bytes", data.len())),
    }
}

async fn read(body: &mut RecvStream) -> Result<Bytes, h2::Error> {
    let mut all = BytesMut::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        all.extend_from_slice(&part);
    }
    Ok(all.freeze())
}

fn succeeded(outcome: &HeaderMap) -> Result<(), String> {
    let text = |name| outcome.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status") {
        Some("0") => Ok(()),
        Some(code) => {
            let message = text("grpc-message").unwrap_or_default();
            let message = percent_decode_str(message).decode_utf8_lossy();
            Err(format!("{message} (gRPC status {code})"))
        }
        None => Err("grpc-status: expected one, got none".into()),
    }
}
