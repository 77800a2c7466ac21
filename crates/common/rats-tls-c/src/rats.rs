//! The functions of `rats-tls/api.h`, which documents them.
#![allow(missing_docs, reason = "the header documents them, for those who call them")]

use crate::abi::{
    API_VERSION, CERT_ALGO_DEFAULT, Claim, ECC_256_SHA256, Epid, RatsConf, rats_flags as flags,
};
use crate::border::{Buffer, Callback, In, Out, Text, claims, duplicate, name};
use crate::context::{Context, Wanted};
use crate::error::{self, Error, SizeRule};
use crate::socket::Socket;
use crate::{handles, log};
use core::ffi::{c_char, c_int, c_uint, c_ulong};
use rats_tls::Setup;
use rats_tls::binding::Role;
use rats_tls::claims::Custom;
use rats_tls::names::Names;
use rustls::pki_types::ServerName;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Longest file name and server name, in bytes.
const MAX_TEXT: usize = 4096;

/// No panic crosses the border. What one leaves behind is behind a lock, which it has poisoned.
pub(crate) fn entry(work: impl FnOnce() -> Result<(), Error>) -> c_int {
    error::finish(catch_unwind(AssertUnwindSafe(work)))
}

/// A call on what a handle stands for.
fn on(handle: usize, work: impl FnOnce(&mut Context) -> Result<(), Error>) -> c_int {
    entry(|| handles::with(handle, work))
}

/// What the configurations of both interfaces have in common.
pub(crate) struct Common<'a> {
    pub(crate) log_level: c_uint,
    pub(crate) cert_algo: c_uint,
    pub(crate) names: Names<'a>,
    pub(crate) role: Role,
    pub(crate) is_mutual: bool,
    pub(crate) sends_endorsements: bool,
    pub(crate) unknown_flags: c_ulong,
    pub(crate) epid: Epid,
    pub(crate) claims: (*const Claim, usize),
}

/// Checks a configuration and makes a handle of it.
pub(crate) fn init(common: Common<'_>, handle: Out) -> Result<(), Error> {
    // Before anything is made that could not be given away.
    handle.put("handle", 0)?;
    if common.log_level > log::NONE {
        let got = common.log_level.into();
        return Err(Error::Number { field: "log_level", expected: "0 to 5", got });
    }
    log::set(common.log_level);
    if common.unknown_flags != 0 {
        return Err(Error::Flags(common.unknown_flags));
    }
    if !matches!(common.cert_algo, ECC_256_SHA256 | CERT_ALGO_DEFAULT) {
        return Err(Error::CertAlgo(common.cert_algo));
    }
    if common.epid.valid != 0 {
        return Err(Error::Epid);
    }
    let chosen = common.names.choose()?;
    let mut own = Custom::new();
    for (name, value) in claims(common.claims.0, common.claims.1)? {
        if own.insert(name.clone(), value).is_some() {
            return Err(Error::Twice(name));
        }
    }
    let Common { role, is_mutual, sends_endorsements, .. } = common;
    let wanted = Wanted { role, is_mutual, sends_endorsements, chosen };
    let setup = Setup { claims: own, ..Setup::default() };
    handle.put("handle", handles::add(Context::new(wanted, setup)?))
}

pub(crate) fn check_version(got: c_uint) -> Result<(), Error> {
    if got == API_VERSION { Ok(()) } else { Err(Error::ApiVersion(got)) }
}

#[unsafe(no_mangle)]
pub extern "C" fn rats_tls_init(conf: In<RatsConf>, handle: Out) -> c_int {
    entry(|| {
        let conf = conf.get("conf")?;
        // What follows has this layout in this version only.
        check_version(conf.api_version)?;
        let enforced = flags::ATTESTER_ENFORCED | flags::VERIFIER_ENFORCED;
        let known = flags::MUTUAL | flags::SERVER | flags::PROVIDE_ENDORSEMENTS | enforced;
        let is_server = conf.flags & flags::SERVER != 0;
        let common = Common {
            log_level: conf.log_level,
            cert_algo: conf.cert_algo,
            names: Names {
                tls: name("tls_type", &conf.tls_type)?,
                crypto: name("crypto_type", &conf.crypto_type)?,
                attester: name("attester_type", &conf.attester_type)?,
                verifier: name("verifier_type", &conf.verifier_type)?,
            },
            role: if is_server { Role::Server } else { Role::Client },
            is_mutual: conf.flags & flags::MUTUAL != 0,
            sends_endorsements: conf.flags & flags::PROVIDE_ENDORSEMENTS != 0,
            unknown_flags: conf.flags & !known,
            epid: conf.quote_sgx_epid,
            claims: (conf.custom_claims, conf.custom_claims_length),
        };
        init(common, handle)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn rats_tls_set_verification_callback(handle: Out, callback: Callback) -> c_int {
    entry(|| {
        handles::with(handle.get("handle")?, |context| {
            if callback.is_null() {
                return Err(Error::Null("callback"));
            }
            context.configure()?.callback = Some(callback);
            Ok(())
        })
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn rats_tls_negotiate(handle: usize, fd: c_int) -> c_int {
    on(handle, |context| {
        let socket = duplicate(fd).and_then(Socket::new);
        context.negotiate(socket.map_err(|error| Error::Fd(fd, error))?)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn rats_tls_receive(handle: usize, mut buf: Buffer, size: Out) -> c_int {
    on(handle, |context| {
        let length = size.get("buf_size")?;
        if length == 0 {
            let expected = SizeRule::AtLeast(1);
            return Err(Error::Size { field: "buf_size", expected, got: 0 });
        }
        let into = buf.slice_mut("buf", length)?;
        size.put("buf_size", 0)?;
        let count = context.receive(into)?;
        size.put("buf_size", count)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn rats_tls_transmit(handle: usize, buf: Buffer, size: Out) -> c_int {
    on(handle, |context| {
        let length = size.get("buf_size")?;
        let data = buf.slice("buf", length)?;
        size.put("buf_size", 0)?;
        context.transmit(data)?;
        size.put("buf_size", length)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn rats_tls_cleanup(handle: usize) -> c_int {
    entry(|| handles::remove(handle))
}

#[unsafe(no_mangle)]
pub extern "C" fn rats_tls_error() -> *const c_char {
    error::last()
}

/// Sets a member that is a file name.
fn set_path(
    handle: usize,
    field: &'static str,
    path: Text,
    member: fn(&mut Setup) -> &mut Option<std::path::PathBuf>,
) -> c_int {
    on(handle, |context| {
        let path = error::path(path.bytes(field, MAX_TEXT)?);
        *member(&mut context.configure()?.setup) = Some(path);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn rats_tls_set_policy_file(handle: usize, path: Text) -> c_int {
    set_path(handle, "path", path, |setup| &mut setup.policy)
}

#[unsafe(no_mangle)]
pub extern "C" fn rats_tls_set_root_file(handle: usize, path: Text) -> c_int {
    set_path(handle, "path", path, |setup| &mut setup.root)
}

#[unsafe(no_mangle)]
pub extern "C" fn rats_tls_set_collateral_file(handle: usize, path: Text) -> c_int {
    set_path(handle, "path", path, |setup| &mut setup.collateral)
}

#[unsafe(no_mangle)]
pub extern "C" fn rats_tls_set_device(handle: usize, directory: Text) -> c_int {
    set_path(handle, "directory", directory, |setup| &mut setup.device)
}

#[unsafe(no_mangle)]
pub extern "C" fn rats_tls_set_server_name(handle: usize, name: Text) -> c_int {
    on(handle, |context| {
        let name = name.utf8("name", MAX_TEXT)?;
        let parsed = ServerName::try_from(name.clone());
        context.configure()?.server_name = Some(parsed.map_err(|_| Error::ServerName(name))?);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn rats_tls_set_instance_id(handle: usize, id: Buffer) -> c_int {
    on(handle, |context| {
        let id = id.slice("id", 16)?.try_into().expect("16 bytes were asked for");
        context.configure()?.setup.instance = Some(id);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn rats_tls_set_patience(handle: usize, milliseconds: u32) -> c_int {
    on(handle, |context| {
        if milliseconds == 0 {
            let expected = "at least 1";
            return Err(Error::Number { field: "milliseconds", expected, got: 0 });
        }
        let patience = Duration::from_millis(milliseconds.into());
        context.configure()?.setup.patience = Some(patience);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn rats_tls_set_reattestation(handle: usize, seconds: u32) -> c_int {
    on(handle, |context| {
        if seconds == 0 {
            return Err(Error::Number { field: "seconds", expected: "at least 1", got: 0 });
        }
        context.configure()?.setup.reattest = Some(Duration::from_secs(seconds.into()));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn rats_tls_reattest(handle: usize) -> c_int {
    on(handle, Context::reattest)
}

#[unsafe(no_mangle)]
pub extern "C" fn rats_tls_get_claim(handle: usize, name: Text, buf: Buffer, size: Out) -> c_int {
    on(handle, |context| {
        let name = name.utf8("name", MAX_TEXT)?;
        let claims = &context.peer()?.claims;
        let value = match name.as_str() {
            "instance-id" => &claims.instance_id[..],
            "config-digest" => &claims.config_digest,
            "runtime-version" => claims.runtime_version.as_bytes(),
            name => match claims.custom.get(name) {
                Some(value) => value,
                None => return Err(Error::NoClaim(name.to_owned())),
            },
        };
        give(value, buf, size)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn rats_tls_get_verdict(handle: usize, buf: Buffer, size: Out) -> c_int {
    on(handle, |context| {
        let verdict = serde_json::to_vec(&context.peer()?.verdict);
        give(&verdict.expect("a verdict is made of text and numbers"), buf, size)
    })
}

/// Copies a value out and says how long it is, also where the buffer is too short for it.
fn give(value: &[u8], mut buf: Buffer, size: Out) -> Result<(), Error> {
    let room = size.get("buf_size")?;
    size.put("buf_size", value.len())?;
    if room < value.len() {
        let expected = SizeRule::AtLeast(value.len());
        return Err(Error::Size { field: "buf_size", expected, got: room });
    }
    buf.slice_mut("buf", value.len())?.copy_from_slice(value);
    Ok(())
}
