//! Messages on standard error, by upstream's levels. Never a secret: errors name fields and public values.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Highest number of a level: NONE.
pub(crate) const NONE: u32 = 5;
const ERROR: u32 = 3;

/// Of the whole process, as upstream's.
static LEVEL: AtomicU32 = AtomicU32::new(ERROR);

/// Takes a configuration's level.
pub(crate) fn set(level: u32) {
    LEVEL.store(level, Ordering::Relaxed);
}

/// The environment's goes before any other, from the first call on.
fn level() -> u32 {
    static NAMED: OnceLock<Option<u32>> = OnceLock::new();
    let named = NAMED.get_or_init(|| {
        let names = ["RATS_TLS_GLOBAL_LOG_LEVEL", "ENCLAVE_TLS_GLOBAL_LOG_LEVEL"].into_iter();
        names.filter_map(|name| std::env::var(name).ok()).find_map(|name| parse(&name))
    });
    named.unwrap_or_else(|| LEVEL.load(Ordering::Relaxed))
}

fn parse(name: &str) -> Option<u32> {
    let names = ["debug", "info", "warn", "error", "fatal", "off"];
    names.iter().position(|known| *known == name).map(|index| index as u32)
}

/// A call failed.
pub(crate) fn error(text: &str) {
    if level() <= ERROR {
        eprintln!("rats-tls: {text}");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn levels_have_upstreams_names() {
        assert_eq!(super::parse("debug"), Some(0));
        assert_eq!(super::parse("off"), Some(super::NONE));
        assert_eq!(super::parse("loud"), None);
    }
}
