//! `shelter report`: a verdict as one page of HTML, for people to read, print and file.
//!
//! The page holds everything it shows: no script, no picture, no font, no network, and a content security policy
//! that forbids them. It says what the verdict says, by the same JSON.

mod chain;
mod html;
mod page;
mod rules;

use crate::args::{Conversion, Report};
use crate::failure::Failure;
use crate::files;
use crate::measure;
use crate::verify::Judgement;
use attestation::policy::Level;
use std::path::Path;

pub(crate) fn run(arguments: &Report) -> Result<(), Failure> {
    let Report { judged, output, measure, image_reference, rules } = arguments;
    // What may fail for another reason than the evidence comes first.
    let measured = match measure {
        Some(target) => {
            let conversion = Conversion::by(rules.clone(), image_reference.clone());
            Some((target.display().to_string(), measure::measure(target, conversion, None)?))
        }
        None => None,
    };
    let judgement = Judgement::of(judged)?;
    if judgement.trusted.policy.level == Level::HopByHop {
        let message =
            "policy: level: expected bound or compat, got hop-by-hop: there is no evidence to file";
        return Err(Failure::Undecided(message.into()));
    }
    let page = page::render(&page::Subject {
        judgement: &judgement,
        file: judged.evidence.as_deref().or(judged.target.as_deref().map(Path::new)),
        measured: measured.as_ref().map(|(source, measured)| (source.as_str(), measured)),
    })?;
    files::write(output, page.as_bytes())?;
    judgement.told.end()
}
