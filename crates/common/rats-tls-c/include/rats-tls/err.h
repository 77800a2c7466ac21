/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions return 0 or one of these enumerators, negated: bits 28 to 30 of the enumerator are the class (0 the
 * interface itself, 1 TLS and the session, 2 making evidence, 3 verifying it), bits 0 to 22 the code.
 */
#ifndef RATS_TLS_ERR_H
#define RATS_TLS_ERR_H

typedef enum {
	RATS_TLS_ERR_NONE = 0,
	/* A fault of the library. */
	RATS_TLS_ERR_UNKNOWN = 1,
	/* An argument, a handle, or a call that may not come now. */
	RATS_TLS_ERR_INVALID = 2,
	/* A file or a device that is missing or is not what it should be. */
	RATS_TLS_ERR_INIT = 10,
	RATS_TLS_ERR_UNSUPPORTED_CERT_ALGO = 11,
	/* An instance name that means nothing. */
	RATS_TLS_ERR_NO_NAME = 12,
	/* Never returned; it makes the type signed, so that a caller may ask for less than 0. */
	RATS_TLS_ERR_SIGNED = -0x7fffffff
} rats_tls_err_t;

typedef enum {
	/* The peer does not keep to the protocol, or refused us. */
	TLS_WRAPPER_ERR_INVALID = (1 << 28) + 3,
	/* The connection, TLS, time, or the peer closed. */
	TLS_WRAPPER_ERR_UNKNOWN = (1 << 28) + 9
} tls_wrapper_err_t;

typedef enum {
	/* The device failed. */
	ENCLAVE_ATTESTER_ERR_UNKNOWN = (2 << 28) + 1,
	/* No evidence that the peer takes, too much in the making, or claims that nobody would read. */
	ENCLAVE_ATTESTER_ERR_INVALID = (2 << 28) + 3
} enclave_attester_err_t;

typedef enum {
	/* The peer's evidence is refused. */
	ENCLAVE_VERIFIER_ERR_INVALID = (3 << 28) + 3
} enclave_verifier_err_t;

#endif
