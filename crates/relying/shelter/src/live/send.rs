//! `shelter send`: a secret to an accepted container, and its answer.

use super::open::Session;
use super::{Container, run_to_end, secret};
use crate::args::{Answer, Delivery};
use crate::failure::Failure;
use rats_tls::SessionError;
use std::io::Write;
use std::time::Duration;
use tokio::time::timeout;

/// Most bytes of an answer.
const MOST_ANSWER: usize = 16 << 20;

pub(crate) fn run(arguments: &Delivery) -> Result<(), Failure> {
    let Delivery { target, peer, trust, secret, answer, expect } = arguments;
    // What is not there is noticed before anybody is asked for evidence; it is read when somebody may have it.
    let secret = secret::Source::open(secret)?;
    let container = Container::new(target.clone(), peer, trust)?.bound_only()?;
    let answered = run_to_end(async {
        let mut session = container.session().await?;
        let secret = secret.read()?;
        let failed = |error: &SessionError| container.failed(&format_args!("session: {error}"));
        let sent = timeout(container.timeout(), async {
            session.write_all(&secret).await?;
            // A program that reads to the end has all of it now.
            session.finish().await
        });
        let sent = sent.await;
        drop(secret);
        sent.map_err(|_| failed(&SessionError::Timeout))?.map_err(|it| failed(&it))?;
        let answered = receive(&mut session, *answer, container.timeout()).await;
        let answered = answered.map_err(|it| failed(&it))?;
        container.close(session).await;
        Ok::<_, Failure>(answered)
    })?;
    let mut out = std::io::stdout().lock();
    let written = out.write_all(&answered).and_then(|()| out.flush());
    written.map_err(|error| Failure::Undecided(format!("write the answer: {error}")))?;
    let end = answered.strip_suffix(b"\n").unwrap_or(&answered);
    match expect {
        Some(expected) if end != expected.as_bytes() => Err(Failure::Refused(format!(
            "answer: expected {expected:?}, got {} other bytes",
            answered.len()
        ))),
        _ => Ok(()),
    }
}

/// Reads as far as the answer goes. A program that is silent for longer than the time is done with.
async fn receive(
    session: &mut Session,
    answer: Answer,
    patience: Duration,
) -> Result<Vec<u8>, SessionError> {
    let mut answered = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    while answer != Answer::None && answered.len() < MOST_ANSWER {
        let read = timeout(patience, session.read(&mut buffer));
        let count = read.await.map_err(|_| SessionError::Timeout)??;
        if count == 0 {
            break;
        }
        let is_line = answer == Answer::Line;
        let line = buffer[..count].iter().position(|byte| is_line && *byte == b'\n');
        answered.extend(&buffer[..line.map_or(count, |at| at + 1)]);
        if line.is_some() {
            break;
        }
    }
    Ok(answered)
}
