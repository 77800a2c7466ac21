/* SPDX-License-Identifier: Apache-2.0
 *
 * The attested session for C: TLS 1.3 whose peer proves, inside that very session, what it runs.
 *
 * An end is a client or a server (RATS_TLS_CONF_FLAGS_SERVER). A server proves itself and a client verifies; with
 * RATS_TLS_CONF_FLAGS_MUTUAL both do both. What verifies needs a policy and a root, what proves itself needs an
 * attestation device: see the functions below the line, which RATS-TLS does not have. Nothing has a default that
 * accepts a peer.
 *
 * Functions return 0, or the negated enumerator of rats-tls/err.h; rats_tls_error() says in words which field was
 * wrong, what was expected and what came. A handle serves one call at a time; a second one fails. A session that
 * failed is over: clean up and begin anew. Text is UTF-8 with a terminator, file names are any bytes.
 */
#ifndef RATS_TLS_API_H
#define RATS_TLS_API_H

#include <rats-tls/claim.h>
#include <rats-tls/err.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TLS_TYPE_NAME_SIZE 32
#define CRYPTO_TYPE_NAME_SIZE 32
#define ENCLAVE_ATTESTER_TYPE_NAME_SIZE 32
#define ENCLAVE_VERIFIER_TYPE_NAME_SIZE 32
#define ENCLAVE_SGX_SPID_LENGTH 16

#define RATS_TLS_API_VERSION_1 1
#define RATS_TLS_API_VERSION_MAX RATS_TLS_API_VERSION_1
#define RATS_TLS_API_VERSION_DEFAULT RATS_TLS_API_VERSION_1

/* Both ends prove themselves and verify. */
#define RATS_TLS_CONF_FLAGS_MUTUAL (1UL << 0)
/* This end is the TLS server. */
#define RATS_TLS_CONF_FLAGS_SERVER (1UL << 1)
/* The collateral file is sent with evidence. */
#define RATS_TLS_CONF_FLAGS_PROVIDE_ENDORSEMENTS (1UL << 2)
/* Of upstream's own use; without effect, for what is named is all that is taken here. */
#define RATS_TLS_CONF_FLAGS_ATTESTER_ENFORCED (1UL << 32)
#define RATS_TLS_CONF_FLAGS_VERIFIER_ENFORCED (1UL << 33)

/* An opaque number; not a pointer to anything. */
typedef struct rtls_core_context_t *rats_tls_handle;

/* What is said on standard error. RATS_TLS_GLOBAL_LOG_LEVEL in the environment (debug, info, warn, error, fatal,
 * off) goes before it. */
typedef enum {
	RATS_TLS_LOG_LEVEL_DEBUG = 0,
	RATS_TLS_LOG_LEVEL_INFO = 1,
	RATS_TLS_LOG_LEVEL_WARN = 2,
	RATS_TLS_LOG_LEVEL_ERROR = 3,
	RATS_TLS_LOG_LEVEL_FATAL = 4,
	RATS_TLS_LOG_LEVEL_NONE = 5,
	RATS_TLS_LOG_LEVEL_MAX = 6,
	RATS_TLS_LOG_LEVEL_DEFAULT = RATS_TLS_LOG_LEVEL_ERROR
} rats_tls_log_level_t;

/* Keys are P-256; RSA is refused. */
typedef enum {
	RATS_TLS_CERT_ALGO_RSA_3072_SHA256 = 0,
	RATS_TLS_CERT_ALGO_ECC_256_SHA256 = 1,
	RATS_TLS_CERT_ALGO_MAX = 2,
	RATS_TLS_CERT_ALGO_DEFAULT = 3
} rats_tls_cert_algo_t;

/* Fill it with zeros, then set what matters. Instance names: empty leaves the choice to the library; tls_type
 * "rustls"; crypto_type "ring"; attester_type "sgx_ecdsa", or "nullattester" for an end that proves nothing;
 * verifier_type "sgx_ecdsa", "tdx_ecdsa", or "nullverifier" for an end that verifies nothing (and so accepts
 * nothing: an end that does neither is refused). Any other name is refused. */
typedef struct {
	unsigned int api_version;
	unsigned long flags;
	rats_tls_log_level_t log_level;
	char tls_type[TLS_TYPE_NAME_SIZE];
	char attester_type[ENCLAVE_ATTESTER_TYPE_NAME_SIZE];
	char verifier_type[ENCLAVE_VERIFIER_TYPE_NAME_SIZE];
	char crypto_type[CRYPTO_TYPE_NAME_SIZE];
	rats_tls_cert_algo_t cert_algo;
	/* This program's own claims, copied by init. */
	claim_t *custom_claims;
	size_t custom_claims_length;
	/* Intel ended EPID: valid must be false. */
	struct {
		bool valid;
		uint8_t spid[ENCLAVE_SGX_SPID_LENGTH];
		bool linkable;
	} quote_sgx_epid;
	/* Without effect. */
	struct {
		bool valid;
		uint8_t cert_type;
	} quote_sgx_ecdsa;
} rats_tls_conf_t;

typedef struct rtls_sgx_evidence {
	uint8_t *mr_enclave; /* 32 bytes */
	uint8_t *mr_signer; /* 32 bytes */
	uint32_t product_id;
	uint32_t security_version;
	uint8_t *attributes; /* 16 bytes */
	size_t collateral_size;
	char *collateral; /* as the peer sent it */
} rtls_sgx_evidence_t;

typedef struct rtls_tdx_evidence {
	uint8_t *mrseam; /* 48 bytes */
	uint8_t *mrseamsigner; /* 48 bytes */
	uint8_t *tcb_svns; /* 16 bytes */
	uint8_t *cpu_svn; /* NULL */
	uint8_t *mrtd; /* 48 bytes */
	uint8_t *rtmr; /* four times 48 bytes */
	uint8_t *tdel_info; /* NULL */
	uint32_t tdel_info_sz;
	uint8_t *tdel_data; /* NULL */
	uint32_t tdel_data_sz;
} rtls_tdx_evidence_t;

/* Never given; for the layout of rtls_evidence_t. */
typedef struct rtls_csv_evidence {
	uint8_t *vm_id;
	uint32_t vm_id_sz;
	uint8_t *vm_version;
	uint32_t vm_version_sz;
	uint8_t *measure;
	uint32_t measure_sz;
	uint8_t *policy;
	uint32_t policy_sz;
} rtls_csv_evidence_t;

/* All zero: evidence of this level hashes the session, not user data. */
typedef struct ehd {
	void *public_key;
	int user_data_size;
	char *user_data;
	int unhashed_size;
	char *unhashed;
} ehd_t;

typedef enum { SGX_ECDSA = 1, TDX_ECDSA = 2, CSV = 3 } enclave_evidence_type_t;

/* What the verification callback sees. Everything in it lives until the callback returns. */
typedef struct rtls_evidence {
	enclave_evidence_type_t type;
	claim_t *custom_claims;
	size_t custom_claims_length;
	ehd_t ehd;
	int quote_size;
	char *quote;
	union {
		rtls_sgx_evidence_t sgx;
		rtls_tdx_evidence_t tdx;
		rtls_csv_evidence_t csv;
	};
} rtls_evidence_t;

/* Gets a rtls_evidence_t *. Returns 0 to refuse. It must return, and can't use the handle. */
typedef int (*rats_tls_callback_t)(void *evidence);

/* Makes an end. conf: readable; handle: written, 0 on failure. */
rats_tls_err_t rats_tls_init(const rats_tls_conf_t *conf, rats_tls_handle *handle);

/* Is asked about evidence that the policy has accepted, at every attestation; it can only refuse. */
rats_tls_err_t rats_tls_set_verification_callback(rats_tls_handle *handle, rats_tls_callback_t callback);

/* Opens the session over a connected stream socket, and returns when every attested direction is accepted. The
 * socket stays the caller's: its flags are not changed, and it may be closed afterwards. Once a handle. */
rats_tls_err_t rats_tls_negotiate(rats_tls_handle handle, int fd);

/* Waits for data. *buf_size: room in buf, at least 1; afterwards how much came, 0 when the peer has closed in good
 * order. Also answers re-attestation: a program that only transmits calls it now and then. */
rats_tls_err_t rats_tls_receive(rats_tls_handle handle, void *buf, size_t *buf_size);

/* Sends all of buf. *buf_size: how much; afterwards the same, or 0 on failure. */
rats_tls_err_t rats_tls_transmit(rats_tls_handle handle, void *buf, size_t *buf_size);

/* Closes the session in good order and ends the handle; using it afterwards is an error, and nothing worse. */
rats_tls_err_t rats_tls_cleanup(rats_tls_handle handle);

/* ------------------------------------------------------------------------------------------------------------
 * What RATS-TLS does not have. All set_ functions come between init and negotiate.
 */

/* What was wrong with this thread's last call that failed. Valid until its next one that fails; never NULL. */
const char *rats_tls_error(void);

/* What the peer must be: docs/attestation/policy.md. Required of an end that verifies. */
rats_tls_err_t rats_tls_set_policy_file(rats_tls_handle handle, const char *path);

/* The one trust anchor, a certificate, DER or PEM. Required of an end that verifies; the policy names its digest. */
rats_tls_err_t rats_tls_set_root_file(rats_tls_handle handle, const char *path);

/* Collateral, as QuoteCollateralV3 in JSON. An end that verifies uses it in place of what the peer sends; an end
 * that proves itself sends it, with RATS_TLS_CONF_FLAGS_PROVIDE_ENDORSEMENTS. */
rats_tls_err_t rats_tls_set_collateral_file(rats_tls_handle handle, const char *path);

/* Where evidence comes from: /dev/attestation in an Inclavare enclave. Required of an end that proves itself.
 * docs/spec/attestation-devices.md says what lies there; bound may also be a Unix socket, which gets one record a
 * connection and answers with the quote. */
rats_tls_err_t rats_tls_set_device(rats_tls_handle handle, const char *directory);

/* What a client sends in SNI: routing, not identity. "container" without it. */
rats_tls_err_t rats_tls_set_server_name(rats_tls_handle handle, const char *name);

/* Accepts this instance of the workload only. id: 16 bytes. */
rats_tls_err_t rats_tls_set_instance_id(rats_tls_handle handle, const void *id);

/* How long the peer may take to open the session and for each re-attestation; 10 s without it. */
rats_tls_err_t rats_tls_set_patience(rats_tls_handle handle, uint32_t milliseconds);

/* Asks the peer for new evidence at this interval; never by itself without it. */
rats_tls_err_t rats_tls_set_reattestation(rats_tls_handle handle, uint32_t seconds);

/* Asks the peer for new evidence now. Refused evidence ends the session, at a later call. */
rats_tls_err_t rats_tls_reattest(rats_tls_handle handle);

/* A claim of the accepted peer: instance-id, config-digest, runtime-version, or one of its program's own.
 * *buf_size: room in buf; afterwards the length of the claim, also where buf is too short. */
rats_tls_err_t rats_tls_get_claim(rats_tls_handle handle, const char *name, void *buf, size_t *buf_size);

/* The verdict on the accepted peer, JSON, without a terminator; buf_size as above. */
rats_tls_err_t rats_tls_get_verdict(rats_tls_handle handle, void *buf, size_t *buf_size);

#ifdef __cplusplus
}
#endif

#endif
