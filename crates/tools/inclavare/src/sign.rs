//! `inclavare sign`, `gendata`, `catsig`

use crate::args::{Catsig, Gendata, Sign};
use crate::failure::Failure;
use convert::pack::Pack;
use sgx::hash::Fast;
use sgx::sign::SigningKey;
use sgx::sigstruct::{PublicKey, RSA_SIZE, Sigstruct, assemble};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use workload::digest::Hex;

pub(crate) fn sign(arguments: &Sign) -> Result<(), Failure> {
    let pack = Pack::find(&arguments.target)?;
    let refused = |error: &dyn std::fmt::Display| {
        Failure::Refused(format!("{}: {error}", arguments.key.display()))
    };
    let pem = String::from_utf8(read(&arguments.key)?)
        .map_err(|_| refused(&"key file: expected a PEM, got binary data"))?;
    let key = SigningKey::from_pem(&pem).map_err(|error| refused(&error))?;
    let unsigned = pack.unsigned(arguments.date.date.unwrap_or_else(today));
    let signed = key.sign::<Fast>(&unsigned).map_err(Failure::refused)?;
    finish(&pack, &signed)
}

pub(crate) fn gendata(arguments: &Gendata) -> Result<(), Failure> {
    let pack = Pack::find(&arguments.target)?;
    let unsigned = pack.unsigned(arguments.date.date.unwrap_or_else(today));
    let output = &arguments.output;
    std::fs::write(output, unsigned.signed_bytes()).map_err(Failure::io("write", output))?;
    println!("mrenclave {}", pack.contents.mrenclave);
    Ok(())
}

pub(crate) fn catsig(arguments: &Catsig) -> Result<(), Failure> {
    let pack = Pack::find(&arguments.target)?;
    let material =
        Sigstruct::from_signed_bytes(&read(&arguments.data)?).map_err(Failure::refused)?;
    // Only the day is the signer's to choose: all else follows from the enclave.
    let expected = pack.unsigned(material.date);
    if let Some(field) = difference(&expected, &material) {
        return Err(Failure::Refused(format!(
            "signing material: expected that of this enclave, got another {field}"
        )));
    }
    let pem = String::from_utf8(read(&arguments.public_key)?)
        .map_err(|_| Failure::Refused("public key: expected a PEM, got binary data".into()))?;
    let key = PublicKey::from_pem(&pem).map_err(Failure::refused)?;
    let signature = read(&arguments.signature)?;
    let signature: &[u8; RSA_SIZE] = signature[..].try_into().map_err(|_| {
        let got = signature.len();
        Failure::Refused(format!("signature: expected {RSA_SIZE} bytes, got {got}"))
    })?;
    let signed = assemble::<Fast>(&expected, &key, signature).map_err(Failure::refused)?;
    finish(&pack, &signed)
}

/// The first signed field in which two SIGSTRUCTs differ.
fn difference(expected: &Sigstruct, got: &Sigstruct) -> Option<&'static str> {
    let (want, have) = (expected.body(), got.body());
    [
        ("ENCLAVEHASH", want.enclavehash == have.enclavehash),
        ("ATTRIBUTES", want.attributes == have.attributes),
        ("ATTRIBUTEMASK", want.attributemask == have.attributemask),
        ("MISCSELECT", want.miscselect == have.miscselect),
        ("ISVPRODID", want.isvprodid == have.isvprodid),
        ("ISVSVN", want.isvsvn == have.isvsvn),
        ("field", expected.signed_bytes() == got.signed_bytes()),
    ]
    .into_iter()
    .find_map(|(field, is_same)| (!is_same).then_some(field))
}

fn finish(pack: &Pack, signed: &Sigstruct) -> Result<(), Failure> {
    pack.put_sigstruct(signed)?;
    println!("mrenclave {}", pack.contents.mrenclave);
    println!("mrsigner  {}", Hex(signed.mrsigner::<Fast>()));
    if pack.manifest.debug {
        eprintln!("inclavare: this is a debug enclave: the host can read its memory");
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(Failure::io("read", path))
}

/// Reads YYYYMMDD; the digits are the binary-coded decimals of SIGSTRUCT.
pub(crate) fn parse_date(text: &str) -> Result<u32, String> {
    let wrong = || format!("expected a day as YYYYMMDD, got \"{text}\"");
    if text.len() != 8 || !text.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(wrong());
    }
    let (month, day) = (&text[4..6], &text[6..]);
    if !("01"..="12").contains(&month) || !("01"..="31").contains(&day) {
        return Err(wrong());
    }
    u32::from_str_radix(text, 16).map_err(|_| wrong())
}

/// Today, UTC, in binary-coded decimals.
fn today() -> u32 {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = civil(seconds / 86400);
    u32::from_str_radix(&format!("{year:04}{month:02}{day:02}"), 16).unwrap_or(0)
}

/// Year, month and day of a number of days since 1970 (Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", civil_from_days, for days that are not negative).
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let mp = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(20_777), (2026, 11, 20));
        assert_eq!(parse_date("20261120"), Ok(0x2026_1120));
        for bad in ["2026112", "20261320", "20261100", "2026-1-1", "２０２６1120"] {
            assert!(parse_date(bad).is_err(), "{bad}");
        }
    }
}
