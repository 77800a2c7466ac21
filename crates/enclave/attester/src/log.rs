//! One line an event, on standard error. What a stranger can cause is bounded: of many lines in a second some are
//! counted instead.

use core::fmt;
use std::io::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Most lines in a second.
const MOST: u32 = 20;

struct Second {
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

static NOW: Mutex<Second> = Mutex::new(Second { since: None, lines: 0, left_out: 0 });

/// Writes a line, unless there are too many.
pub fn line(text: fmt::Arguments<'_>) {
    let Ok(mut now) = NOW.lock() else { return };
    if now.since.is_none_or(|since| since.elapsed() >= Duration::from_secs(1)) {
        let left_out = now.left_out;
        *now = Second { since: Some(Instant::now()), lines: 0, left_out: 0 };
        if left_out > 0 {
            write(format_args!("{left_out} more lines were left out"));
        }
    }
    if now.lines == MOST {
        now.left_out += 1;
        return;
    }
    now.lines += 1;
    write(text);
}

fn write(text: fmt::Arguments<'_>) {
    // In one piece, for others write there too. A log that nobody reads must not end the sessions.
    let _ = std::io::stderr().write_all(format!("attester: {text}\n").as_bytes());
}
