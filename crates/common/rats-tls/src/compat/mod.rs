//! The `compat` level: evidence in the TLS certificate, as rats-tls, librats, Gramine and the SGX SDK carry it.
//!
//! **It can be relayed.** The evidence binds the certificate's key and nothing of the session, so whoever gets
//! that key (it leaks from one enclave anywhere) can present the evidence as its own (CVE-2026-33697). It is
//! here to talk to peers that know nothing better, and only for policies that say `level = "compat"`.
//!
//! The certificate is self-signed. Its extension 2.23.133.5.4.9 holds a tagged CBOR array of evidence and
//! claims buffer; the evidence's report data are the SHA-256 of the claims buffer, padded with zeros; the claims
//! hold a digest of the certificate's SubjectPublicKeyInfo.

#[cfg(feature = "std")]
mod certificate;
mod encoding;
#[cfg(feature = "std")]
mod legacy;
#[cfg(feature = "std")]
mod tls;

#[cfg(feature = "std")]
pub use certificate::{CompatFault, CompatPeer, self_signed};
pub use encoding::{
    CompatClaims, EncodingFault, HashAlgorithm, Kind, decode_claims, decode_evidence,
    encode_claims, encode_evidence, report_data,
};
#[cfg(feature = "std")]
pub use legacy::{Enclave, Held, Legacy, Maker};
#[cfg(feature = "std")]
pub use tls::{CompatAppraiser, client, server};
