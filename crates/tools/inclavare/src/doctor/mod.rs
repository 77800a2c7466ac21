//! `inclavare doctor`: what this machine can do.
//!
//! Every check says what it found and, where something is missing, what to do. The verdict is the best way in
//! which an enclave can run here: on SGX hardware, on the emulator, or not at all.

mod hardware;
mod kernel;

use crate::args::Doctor;
use crate::failure::Failure;
use serde_json::{Value, json};

/// What a check is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Enclaves on SGX hardware.
    Hardware,
    /// Evidence of an enclave on SGX hardware; it runs without.
    Attestation,
    /// Enclaves on the emulator.
    Emulator,
    /// Containers of any kind.
    Container,
}

impl Need {
    fn name(self) -> &'static str {
        match self {
            Self::Hardware => "hardware",
            Self::Attestation => "attestation",
            Self::Emulator => "emulator",
            Self::Container => "container",
        }
    }
}

/// One thing looked at.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) need: Need,
    pub(crate) is_ok: bool,
    pub(crate) found: String,
    /// What to do if it is not.
    pub(crate) action: &'static str,
}

pub(crate) fn run(arguments: &Doctor) -> Result<(), Failure> {
    let checks = [hardware::checks(), kernel::checks()].concat();
    let verdict = verdict(&checks);
    if arguments.json {
        println!("{}", report(&checks, verdict));
    } else {
        print!("{}", text(&checks, verdict));
    }
    if verdict == Verdict::None { Err(Failure::NotHere) } else { Ok(()) }
}

/// The best way to run an enclave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Hardware,
    Emulator,
    None,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Hardware => "hardware",
            Self::Emulator => "emulator",
            Self::None => "none",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::Hardware => "enclaves run on SGX hardware",
            Self::Emulator => {
                "enclaves run on the emulator (emulated: it protects nothing from this host)"
            }
            Self::None => "enclaves cannot run here",
        }
    }
}

fn verdict(checks: &[Check]) -> Verdict {
    let has = |need| checks.iter().filter(|check| check.need == need).all(|check| check.is_ok);
    match (has(Need::Hardware), has(Need::Emulator)) {
        (true, _) => Verdict::Hardware,
        (false, true) => Verdict::Emulator,
        (false, false) => Verdict::None,
    }
}

fn report(checks: &[Check], verdict: Verdict) -> Value {
    let checks = checks.iter().map(|check| {
        json!({
            "name": check.name,
            "needed_for": check.need.name(),
            "ok": check.is_ok,
            "found": check.found,
            "action": (!check.is_ok).then_some(check.action),
        })
    });
    json!({ "enclaves": verdict.name(), "checks": checks.collect::<Vec<_>>() })
}

fn text(checks: &[Check], verdict: Verdict) -> String {
    let mut text = String::new();
    for (need, title) in [
        (Need::Hardware, "SGX hardware"),
        (Need::Attestation, "Attestation on SGX hardware"),
        (Need::Emulator, "Emulator"),
        (Need::Container, "Containers"),
    ] {
        text.push_str(&format!("{title}\n"));
        for check in checks.iter().filter(|check| check.need == need) {
            let mark = if check.is_ok { "ok " } else { "no " };
            text.push_str(&format!("  {mark} {:<22} {}\n", check.name, check.found));
            if !check.is_ok {
                text.push_str(&format!("      {}\n", check.action));
            }
        }
    }
    text + verdict.sentence() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(need: Need, is_ok: bool) -> Check {
        Check { name: "x", need, is_ok, found: "y".into(), action: "do it" }
    }

    #[test]
    fn the_best_way_wins_and_what_is_missing_says_what_to_do() {
        use Need::*;
        let all = |hardware, emulator| {
            vec![check(Hardware, true), check(Hardware, hardware), check(Emulator, emulator)]
        };
        assert_eq!(verdict(&all(true, true)), Verdict::Hardware);
        assert_eq!(verdict(&all(false, true)), Verdict::Emulator);
        assert_eq!(verdict(&all(false, false)), Verdict::None);
        let mut checks = all(true, true);
        checks.push(check(Attestation, false));
        assert_eq!(verdict(&checks), Verdict::Hardware, "an enclave runs without evidence");
        assert!(
            text(&checks, Verdict::Hardware)
                .contains("  no  x                      y\n      do it\n")
        );
        let report = report(&checks, Verdict::Hardware);
        assert_eq!(report["checks"][3]["action"], "do it");
        assert!(report["checks"][0]["action"].is_null());
    }

    #[test]
    fn every_check_of_this_machine_says_something() {
        for check in [hardware::checks(), kernel::checks()].concat() {
            assert!(!check.found.is_empty() && !check.action.is_empty(), "{}", check.name);
        }
    }
}
