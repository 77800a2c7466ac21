//! The names of all checks, with what each expects and what to do when it fails.
//!
//! The names are an interface: programs match on them and `docs/attestation` lists them. One is never
//! given another meaning.

use core::fmt;

use serde::{Serialize, Serializer};

macro_rules! checks {
    ($($(#[$group:meta])* $variant:ident $name:literal: $expectation:literal; $action:literal;)+) => {
        /// What a check looks at.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum CheckId {$(
            #[doc = $expectation]
            $variant,
        )+}

        impl CheckId {
            /// Every check there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name, `subject.property`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {$(Self::$variant => $name),+}
            }

            /// What it takes to hold, in words.
            #[must_use]
            pub const fn expectation(self) -> &'static str {
                match self {$(Self::$variant => $expectation),+}
            }

            /// What to do when it fails.
            #[must_use]
            pub const fn action(self) -> &'static str {
                match self {$(Self::$variant => $action),+}
            }
        }
    };
}

checks! {
    // The quote itself.
    QuoteFormat "quote.format": "a whole quote of a known form";
        "get the quote again: these bytes are not one, or were cut or changed on the way";
    QuoteTrailing "quote.trailing": "nothing but zero padding after the quote";
        "send the quote alone: what follows it is signed by nobody";
    QuoteVersion "quote.version": "version 3 or 4 for SGX, 4 or 5 for TDX";
        "use a quoting library that makes one of these versions";
    QuoteTee "quote.tee": "TEE type 0 (SGX) or 0x81 (TDX)";
        "use evidence of a TEE that this verifier knows";
    QuoteKeyType "quote.key_type": "attestation key type 2, ECDSA P-256";
        "select ECDSA P-256 at the quoting service";
    QuoteVendor "quote.qe_vendor": "the vendor id of Intel's quoting enclave";
        "use a quoting enclave of Intel's protocol";
    QuoteCertification "quote.certification": "certification data type 5, a PCK certificate chain";
        "configure the platform's quote provider to embed the PCK certificate chain";
    QuoteSignature "quote.signature": "signed by the attestation key in the quote";
        "do not trust this quote: its header or report was changed after signing";

    // The quoting enclave.
    QeReportSignature "qe.report_signature": "the quoting enclave's report is signed by the PCK";
        "do not trust this quote: the quoting enclave is not certified by this platform";
    QeReportData "qe.report_data": "report data is SHA-256(attestation key, authentication data), then zero";
        "do not trust this quote: its attestation key does not belong to the quoting enclave";
    QeMrsigner "qe.mrsigner": "the signer that the QE identity names";
        "use the quoting enclave of the collateral's issuer";
    QeIsvprodid "qe.isvprodid": "the product that the QE identity names";
        "use the quoting enclave of the collateral's issuer";
    QeMiscselect "qe.miscselect": "MISCSELECT under the QE identity's mask";
        "use the quoting enclave of the collateral's issuer";
    QeAttributes "qe.attributes": "ATTRIBUTES under the QE identity's mask, and not DEBUG";
        "use the quoting enclave of the collateral's issuer, not a debug build";
    QeTcb "qe.tcb": "an ISVSVN that a level of the QE identity covers, and not revoked";
        "update the platform's quoting enclave";

    // The platform's certificate.
    PckChain "pck.chain": "three certificates: PCK, its CA, the trust anchor";
        "configure the platform's quote provider to embed the whole chain";
    PckIssuer "pck.issuer": "issued by the PCK CA that the collateral carries";
        "fetch the collateral for this platform's CA (processor or platform)";
    PckSignature "pck.signature": "the PCK certificate is signed by its CA";
        "do not trust this quote: the platform's certificate is forged or damaged";
    PckConstraints "pck.constraints": "a leaf that may sign and may not issue";
        "do not trust this quote: its PCK certificate is not one";
    PckValidity "pck.validity": "inside the PCK certificate's dates";
        "renew the platform's PCK certificate, or check the verifier's clock";
    PckRevocation "pck.revocation": "a serial number that the PCK CRL does not list";
        "do not trust this platform: its issuer revoked it";
    PckExtension "pck.extension": "Intel's SGX extension with PPID, TCB, PCEID, FMSPC and type";
        "do not trust this quote: its PCK certificate is not one";

    // The CA of the platform's certificate.
    PckCaSignature "pck_ca.signature": "signed by the trust anchor";
        "fetch the collateral again, from the issuer of this anchor";
    PckCaConstraints "pck_ca.constraints": "a CA that may sign certificates and CRLs";
        "fetch the collateral again, from the issuer of this anchor";
    PckCaValidity "pck_ca.validity": "inside the CA certificate's dates";
        "fetch the collateral again, or check the verifier's clock";
    PckCaRevocation "pck_ca.revocation": "a serial number that the root CRL does not list";
        "do not trust this platform: its CA was revoked";

    // The anchor.
    RootIdentity "root.identity": "the one trust anchor of this verification ends every chain";
        "use collateral and evidence of one issuer; a mixture is never accepted";
    RootValidity "root.validity": "inside the anchor's dates";
        "check the verifier's clock, or pin the anchor's successor";
    RootRevocation "root.revocation": "a serial number that the root CRL does not list";
        "remove this anchor: its owner revoked it";

    // Revocation lists.
    RootCrlFormat "root_crl.format": "a CRL of version 2 with a number and a next update";
        "fetch the collateral again";
    RootCrlSignature "root_crl.signature": "issued and signed by the trust anchor";
        "fetch the collateral again, from the issuer of this anchor";
    RootCrlValidity "root_crl.validity": "between this update and next update";
        "fetch the collateral again, or check the verifier's clock";
    PckCrlFormat "pck_crl.format": "a CRL of version 2 with a number and a next update";
        "fetch the collateral again";
    PckCrlSignature "pck_crl.signature": "issued and signed by the PCK CA";
        "fetch the collateral again, for this platform's CA (processor or platform)";
    PckCrlValidity "pck_crl.validity": "between this update and next update";
        "fetch the collateral again, or check the verifier's clock";

    // The signer of TCB info and QE identity.
    CollateralChains "collateral.chains": "issuer chains of a certificate and the trust anchor";
        "fetch the collateral again";
    TcbSignerSignature "tcb_signer.signature": "issued and signed by the trust anchor itself";
        "fetch the collateral again, from the issuer of this anchor";
    TcbSignerConstraints "tcb_signer.constraints": "a leaf that may sign and may not issue";
        "fetch the collateral again, from the issuer of this anchor";
    TcbSignerValidity "tcb_signer.validity": "inside the signer certificate's dates";
        "fetch the collateral again, or check the verifier's clock";
    TcbSignerRevocation "tcb_signer.revocation": "a serial number that the root CRL does not list";
        "fetch the collateral again: its signer was revoked";

    // TCB info.
    TcbInfoFormat "tcb_info.format": "TCB info of version 3, no key twice, every array of its length";
        "fetch the collateral again";
    TcbInfoSignature "tcb_info.signature": "signed by the TCB signer, byte for byte";
        "fetch the collateral again, and keep the signed bytes as they came";
    TcbInfoId "tcb_info.id": "TCB info for the TEE of the evidence";
        "fetch the TCB info of the evidence's TEE (SGX or TDX)";
    TcbInfoValidity "tcb_info.validity": "between issue date and next update";
        "fetch the collateral again, or check the verifier's clock";
    TcbInfoFmspc "tcb_info.fmspc": "TCB info for the FMSPC of the PCK certificate";
        "fetch the TCB info of this platform's FMSPC";
    TcbInfoPceid "tcb_info.pceid": "TCB info for the PCEID of the PCK certificate";
        "fetch the TCB info of this platform's PCE";

    // QE identity.
    QeIdentityFormat "qe_identity.format": "a QE identity of a known version, no key twice, every field of its length";
        "fetch the collateral again";
    QeIdentitySignature "qe_identity.signature": "signed by the TCB signer, byte for byte";
        "fetch the collateral again, and keep the signed bytes as they came";
    QeIdentityId "qe_identity.id": "the identity of the quoting enclave for the TEE of the evidence";
        "fetch the QE identity of the evidence's TEE (QE or TD_QE)";
    QeIdentityValidity "qe_identity.validity": "between issue date and next update";
        "fetch the collateral again, or check the verifier's clock";

    // Patch level.
    TcbLevel "tcb.level": "a TCB level that the platform reaches";
        "update the platform: it is below every level its issuer knows";
    TcbRevoked "tcb.revoked": "a TCB that is not revoked";
        "do not trust this platform until its keys were recovered by an update";

    // TDX.
    TdxModule "tdx.module": "a TDX module of the signer and version that the TCB info names";
        "update the platform's TDX module";
    TdxSeamAttributes "tdx.seam_attributes": "SEAMATTRIBUTES that the TCB info allows, no other bit";
        "load a production TDX module";
    TdxAttributes "tdx.attributes": "TD attributes without reserved bits, migration or profiling, with SEPT_VE_DISABLE";
        "start the TD with attributes that keep the host out";
    TdxServiceTd "tdx.service_td": "no service TD bound: MRSERVICETD is zero, SERVTD_EXT clear";
        "start the TD without a migration or other service TD";

    // SEV-SNP: the report.
    SnpFormat "snp.format": "a whole attestation report of a known version";
        "get the report again: these bytes are not one, or were cut or changed on the way";
    SnpSigningKey "snp.signing_key": "signed with the kind of key that the certificate has";
        "send the certificate that belongs to the report, VCEK or VLEK";
    SnpSignature "snp.signature": "signed by the endorsement key";
        "do not trust this report: it was changed after signing, or the certificate is of another chip or TCB";
    SnpProduct "snp.product": "the product that the certificate names";
        "send the certificate that belongs to the report";
    SnpTcb "snp.tcb": "REPORTED_TCB is the TCB of the certificate, part by part";
        "fetch the certificate for this chip and this TCB";
    SnpChip "snp.chip_id": "CHIP_ID is the hardware id of the certificate";
        "fetch the certificate of this chip; if CHIP_ID is zero, unmask it on the host";
    // The endorsement key: VCEK or VLEK.
    SnpKeyFormat "snp_key.format": "a VCEK or VLEK certificate with AMD's extensions";
        "fetch the certificate again, from AMD's key distribution service";
    SnpKeySignature "snp_key.signature": "issued and signed by the authority";
        "send the authority that issued this certificate: ASK for a VCEK, ASVK for a VLEK";
    SnpKeyIssuer "snp_key.issuer": "a VCEK by the ASK, a VLEK by the ASVK, of one product";
        "do not trust this report: its certificate is not one that its issuer may give";
    SnpKeyConstraints "snp_key.constraints": "a P-384 key that may not issue";
        "do not trust this report: its certificate is not one of an endorsement key";
    SnpKeyValidity "snp_key.validity": "inside the certificate's dates";
        "fetch the certificate again, or check the verifier's clock";
    // What issued it: ASK or ASVK.
    SnpAuthorityFormat "snp_authority.format": "an ASK or ASVK certificate";
        "fetch the certificate chain again, from AMD's key distribution service";
    SnpAuthoritySignature "snp_authority.signature": "signed by the trust anchor";
        "pin the root of this product (ARK), or send the chain that ends in the pinned one";
    SnpAuthorityConstraints "snp_authority.constraints": "an RSA key that may issue certificates";
        "fetch the certificate chain again, from AMD's key distribution service";
    SnpAuthorityValidity "snp_authority.validity": "inside the certificate's dates";
        "fetch the certificate chain again, or check the verifier's clock";
    SnpAuthorityRevocation "snp_authority.revocation": "a serial number that the root CRL does not list";
        "do not trust this report: AMD revoked what issued its certificate";

    // Local reports.
    LocalFormat "local.format": "a whole REPORT";
        "get the report again: these bytes are not one, or were cut or changed on the way";
    LocalMac "local.mac": "the MAC of a report for this enclave, on this CPU";
        "have the report made for this enclave's TARGETINFO, on this machine";

    // Tokens of other verifiers.
    TokenFormat "token.format": "three parts of base64url, JSON objects without a key twice";
        "get the token again: this is not one, or two readers would read it differently";
    TokenAlgorithm "token.algorithm": "ES256";
        "have the verifier sign with ES256";
    TokenKey "token.key": "no key in the header but the pinned one";
        "do not trust this token: it names the key to verify it with";
    TokenSignature "token.signature": "signed by the pinned key";
        "do not trust this token, or pin the key of the verifier that made it";
    TokenAudience "token.audience": "an audience that we are";
        "ask the verifier for a token for this relying party";
    TokenValidity "token.validity": "issued before now, not too old, not expired";
        "ask the verifier for a new token, or check the clocks";
    TokenClaims "token.claims": "the claims of EAR, in one spelling";
        "have the verifier make tokens as one version of EAR has them";
    TokenVerifier "token.verifier": "the developer of the verifier that the policy names";
        "use the verifier that the policy names";
    TokenSubmods "token.submods": "each part of the attester that the policy names";
        "have the verifier appraise every part";
    TokenStatus "token.status": "affirming";
        "do not trust this attester: its verifier does not affirm it";

    // What the evidence is bound to.
    ReportData "binding.report_data": "the expected report data, all 64 bytes";
        "do not trust this channel: the evidence was made for another one";
    ClaimsFormat "claims.format": "a claims buffer in its one encoding, with the platform's claims";
        "use an attester of this protocol's version: what this one says of itself cannot be read";

    // Whose word is taken where there is no evidence.
    HopInclavared "hop.inclavared": "a key that the policy names: inclavared is trusted";
        "find out who answers there, or add this key to `inclavared`, if you trust it and the host it runs on";

    // Policy.
    PolicyRoot "policy.root": "a trust anchor that the policy names";
        "add the SHA-256 of the anchor's DER to `roots`, if you trust it";
    PolicyTee "policy.tee": "a TEE that the policy allows";
        "run on the hardware that the policy asks for, or allow this TEE in `tee`";
    PolicyMeasurement "policy.measurement": "a measurement that the policy names";
        "deploy the build that the policy names, or add this measurement after review";
    PolicyDebug "policy.debug": "not debuggable by the host";
        "sign and start a production build; `allow_debug` is for tests only";
    PolicyTcbStatus "policy.tcb_status": "a TCB status that the policy allows";
        "update the platform, or allow this status in `tcb_status` after reading its advisories";
    PolicyAdvisories "policy.advisories": "no advisory that the policy denies";
        "update the platform until the advisory no longer applies";
    PolicyPlatform "policy.platform": "a platform that the policy names";
        "run on one of the named machines, or add this platform's id";
    PolicyConfigDigest "policy.config_digest": "a configuration that the policy names";
        "start the workload with the reviewed configuration, or add its digest to `config_digest`, or say `any` there";
    PolicyInstance "policy.instance_id": "the instance that was asked for";
        "find out why the workload was started again, or ask for this instance";
    PolicyMinTcbEval "policy.min_tcb_eval": "collateral at least as new as the policy asks for";
        "fetch newer collateral";
    PolicySnpTcb "policy.snp_tcb": "reported, committed and current TCB not below the floor, part by part";
        "update the platform's firmware and commit it, or state a floor for the product";
    PolicySnpKey "policy.snp_key": "a signing key that the policy allows";
        "have the host use VCEK, or name the provider in `snp_platform.csp_ids`";
    PolicySnpVmpl "policy.snp_vmpl": "a VMPL that the policy names";
        "ask for the report at an allowed VMPL, or add this one to `snp_platform.vmpl`";
    PolicySnpMigration "policy.snp_migration": "no migration agent allowed by the guest policy";
        "launch the guest without MIGRATE_MA; `allow_migration` trusts the agent with its memory";
    PolicySnpGuestPolicy "policy.snp_guest_policy": "guest policy bits as they must be";
        "launch the guest with the policy bits that are asked for";
    PolicySnpPlatformInfo "policy.snp_platform_info": "platform features that the policy asks for";
        "update the host's BIOS, so that it checks memory for aliases";
    PolicySnpAuthorKey "policy.snp_author_key": "an author key that the policy names";
        "launch the guest with an ID block whose key was certified by a named author";
    PolicySnpIdKey "policy.snp_id_key": "an ID key that the policy names";
        "launch the guest with an ID block signed by a named key";
    PolicyReference "policy.reference": "reference values that exist and have not expired";
        "publish the reference value, or renew it";
}

impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for CheckId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_say_subject_and_property() {
        let names: BTreeSet<_> = CheckId::ALL.iter().map(|id| id.name()).collect();
        assert_eq!(names.len(), CheckId::ALL.len());
        for id in CheckId::ALL {
            assert_eq!(id.name().split('.').count(), 2, "{id}");
            assert!(!id.action().is_empty() && !id.expectation().is_empty(), "{id}");
        }
    }
}
