//! The functions of `enclave-tls/api.h`: the same library under Enclave-TLS's names.
#![allow(missing_docs, reason = "the header documents them, for those who call them")]

use crate::abi::{EnclaveConf, enclave_flags as flags};
use crate::border::{Buffer, In, Out, name};
use crate::error::Error;
use crate::rats::{Common, check_version, entry, init};
use crate::rats::{rats_tls_cleanup, rats_tls_negotiate, rats_tls_receive, rats_tls_transmit};
use core::ffi::c_int;
use core::ptr::null;
use rats_tls::binding::Role;
use rats_tls::names::Names;

#[unsafe(no_mangle)]
pub extern "C" fn enclave_tls_init(conf: In<EnclaveConf>, handle: Out) -> c_int {
    entry(|| {
        let conf = conf.get("conf")?;
        check_version(conf.api_version)?;
        if conf.enclave_id != 0 {
            let expected = "0: this library runs in the enclave that it speaks for";
            return Err(Error::Number { field: "enclave_id", expected, got: conf.enclave_id });
        }
        let known = flags::MUTUAL | flags::SERVER | flags::VERIFIER_ENFORCED;
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
            sends_endorsements: false,
            unknown_flags: conf.flags & !known,
            epid: conf.quote_sgx_epid,
            claims: (null(), 0),
        };
        init(common, handle)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn enclave_tls_negotiate(handle: usize, fd: c_int) -> c_int {
    rats_tls_negotiate(handle, fd)
}

#[unsafe(no_mangle)]
pub extern "C" fn enclave_tls_receive(handle: usize, buf: Buffer, size: Out) -> c_int {
    rats_tls_receive(handle, buf, size)
}

#[unsafe(no_mangle)]
pub extern "C" fn enclave_tls_transmit(handle: usize, buf: Buffer, size: Out) -> c_int {
    rats_tls_transmit(handle, buf, size)
}

#[unsafe(no_mangle)]
pub extern "C" fn enclave_tls_cleanup(handle: usize) -> c_int {
    rats_tls_cleanup(handle)
}
