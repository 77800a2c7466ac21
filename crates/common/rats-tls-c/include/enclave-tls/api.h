/* SPDX-License-Identifier: Apache-2.0
 *
 * Enclave-TLS's names for the same library. It speaks bound-v1, not the certificates of Enclave-TLS, which say
 * nothing of the session. What rats-tls/api.h sets beyond RATS-TLS (policy, root, device) is set here by the same
 * functions, with a cast: rats_tls_set_policy_file((rats_tls_handle)handle, path).
 */
#ifndef ENCLAVE_TLS_API_H
#define ENCLAVE_TLS_API_H

#include <rats-tls/api.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QUOTE_TYPE_NAME_SIZE 32

#define ENCLAVE_TLS_API_VERSION_1 1
#define ENCLAVE_TLS_API_VERSION_DEFAULT ENCLAVE_TLS_API_VERSION_1

#define ENCLAVE_TLS_CONF_FLAGS_MUTUAL (1UL << 0)
#define ENCLAVE_TLS_CONF_FLAGS_SERVER (1UL << 32)
#define ENCLAVE_TLS_CONF_FLAGS_VERIFIER_ENFORCED (1UL << 33)

typedef struct etls_core_context_t *enclave_tls_handle;

/* Functions return 0 or a negated enumerator of rats-tls/err.h. */
typedef rats_tls_err_t enclave_tls_err_t;

typedef enum {
	ENCLAVE_TLS_LOG_LEVEL_DEBUG = 0,
	ENCLAVE_TLS_LOG_LEVEL_INFO = 1,
	ENCLAVE_TLS_LOG_LEVEL_WARN = 2,
	ENCLAVE_TLS_LOG_LEVEL_ERROR = 3,
	ENCLAVE_TLS_LOG_LEVEL_FATAL = 4,
	ENCLAVE_TLS_LOG_LEVEL_NONE = 5,
	ENCLAVE_TLS_LOG_LEVEL_MAX = 6,
	ENCLAVE_TLS_LOG_LEVEL_DEFAULT = ENCLAVE_TLS_LOG_LEVEL_ERROR
} enclave_tls_log_level_t;

typedef enum {
	ENCLAVE_TLS_CERT_ALGO_RSA_3072_SHA256 = 0,
	ENCLAVE_TLS_CERT_ALGO_ECC_256_SHA256 = 1,
	ENCLAVE_TLS_CERT_ALGO_DEFAULT = ENCLAVE_TLS_CERT_ALGO_ECC_256_SHA256
} enclave_tls_cert_algo_t;

/* As rats_tls_conf_t. */
typedef struct {
	unsigned int api_version;
	unsigned long flags;
	enclave_tls_log_level_t log_level;
	char tls_type[TLS_TYPE_NAME_SIZE];
	char attester_type[QUOTE_TYPE_NAME_SIZE];
	char verifier_type[QUOTE_TYPE_NAME_SIZE];
	char crypto_type[CRYPTO_TYPE_NAME_SIZE];
	enclave_tls_cert_algo_t cert_algo;
	/* Of an enclave beside this process: 0, for this library runs in the enclave that it speaks for. */
	unsigned long long enclave_id;
	struct {
		bool valid;
		uint8_t spid[ENCLAVE_SGX_SPID_LENGTH];
		bool linkable;
	} quote_sgx_epid;
	struct {
		bool valid;
		uint8_t cert_type;
	} quote_sgx_ecdsa;
} enclave_tls_conf_t;

/* Each as the function of rats-tls/api.h with the same end of its name. */
enclave_tls_err_t enclave_tls_init(const enclave_tls_conf_t *conf, enclave_tls_handle *handle);
enclave_tls_err_t enclave_tls_negotiate(enclave_tls_handle handle, int fd);
enclave_tls_err_t enclave_tls_receive(enclave_tls_handle handle, void *buf, size_t *buf_size);
enclave_tls_err_t enclave_tls_transmit(enclave_tls_handle handle, void *buf, size_t *buf_size);
enclave_tls_err_t enclave_tls_cleanup(enclave_tls_handle handle);

#ifdef __cplusplus
}
#endif

#endif
