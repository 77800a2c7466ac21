/* Everything that a C program can get wrong and the library can see. Exits with the number of surprises. */
#include <enclave-tls/api.h>
#include <rats-tls/api.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int surprises;

static void expect(int line, int result, int number, const char *text)
{
	const char *said = result ? rats_tls_error() : "success";
	if (result == -number && strstr(said, text))
		return;
	printf("line %d: expected %#x %s, got %#x %s\n", line, (unsigned)number, text, (unsigned)-result, said);
	surprises++;
}

#define EXPECT(call, number, text) expect(__LINE__, call, number, text)
#define INVALID RATS_TLS_ERR_INVALID

static rats_tls_conf_t conf(void)
{
	rats_tls_conf_t conf;
	memset(&conf, 0, sizeof conf);
	conf.api_version = 1;
	conf.log_level = RATS_TLS_LOG_LEVEL_NONE;
	conf.cert_algo = RATS_TLS_CERT_ALGO_DEFAULT;
	return conf;
}

#define WITH(change, number, text)                                  \
	do {                                                        \
		rats_tls_conf_t c = conf();                         \
		rats_tls_handle h = NULL;                           \
		change;                                             \
		expect(__LINE__, rats_tls_init(&c, &h), number, text); \
		if (h != NULL) {                                    \
			printf("line %d: a handle\n", __LINE__);    \
			surprises++;                                \
		}                                                   \
	} while (0)

static int accepts(void *evidence)
{
	return evidence != NULL;
}

int main(void)
{
	char buffer[64];
	size_t size = sizeof buffer;
	claim_t claims[65];
	memset(claims, 0, sizeof claims);
	claim_t one = { "a", (uint8_t *)"b", 1 }, twice[2] = { one, one };
	claim_t shadow = { "config-digest", (uint8_t *)"b", 1 }, null_name = { NULL, NULL, 0 };
	claim_t null_value = { "a", NULL, 1 }, huge = { "a", (uint8_t *)"b", (size_t)-1 };
	claim_t latin = { "\xe9", NULL, 0 };

	/* init */
	rats_tls_conf_t good = conf();
	rats_tls_handle handle = NULL;
	EXPECT(rats_tls_init(NULL, &handle), INVALID, "conf: expected a pointer, got NULL");
	EXPECT(rats_tls_init(&good, NULL), INVALID, "handle: expected a pointer, got NULL");
	WITH(c.api_version = 0, INVALID, "api_version: expected 1, got 0");
	WITH(c.api_version = 2, INVALID, "api_version: expected 1, got 2");
	WITH(c.flags = 1UL << 7, INVALID, "flags: expected known ones, got 0x80");
	WITH(c.log_level = (rats_tls_log_level_t)6, INVALID, "log_level: expected 0 to 5, got 6");
	WITH(c.cert_algo = RATS_TLS_CERT_ALGO_RSA_3072_SHA256, RATS_TLS_ERR_UNSUPPORTED_CERT_ALGO, "got 0");
	WITH(c.quote_sgx_epid.valid = true, INVALID, "EPID");
	WITH(strcpy(c.tls_type, "openssl"), RATS_TLS_ERR_NO_NAME, "tls: expected none or rustls, got \"openssl\"");
	WITH(strcpy(c.crypto_type, "nullcrypto"), RATS_TLS_ERR_NO_NAME, "crypto: expected none or ring");
	WITH(strcpy(c.attester_type, "sgx_la"), RATS_TLS_ERR_NO_NAME, "attester: expected");
	WITH(strcpy(c.verifier_type, "anything"), RATS_TLS_ERR_NO_NAME, "verifier: expected");
	WITH(memset(c.verifier_type, 'x', 32), INVALID, "verifier_type: expected a terminator in its 32 bytes");
	WITH(strcpy(c.verifier_type, "\xff"), INVALID, "verifier_type: expected UTF-8");
	/* A client that does not verify, and is not to prove itself: nobody would know anything. */
	WITH(strcpy(c.verifier_type, "nullverifier"), RATS_TLS_ERR_INIT, "got one that does neither");
	WITH(c.custom_claims_length = 1, INVALID, "custom_claims: expected a pointer, got NULL");
	WITH((c.custom_claims = claims, c.custom_claims_length = 65), INVALID, "expected at most 64, got 65");
	WITH((c.custom_claims = twice, c.custom_claims_length = 2), INVALID, "got \"a\" twice");
	WITH((c.custom_claims = &null_name, c.custom_claims_length = 1), INVALID, "custom_claims.name: expected a pointer");
	WITH((c.custom_claims = &null_value, c.custom_claims_length = 1), INVALID, "custom_claims.value: expected a pointer");
	WITH((c.custom_claims = &huge, c.custom_claims_length = 1), INVALID, "custom_claims.value_size: expected at most");
	WITH((c.custom_claims = &latin, c.custom_claims_length = 1), INVALID, "custom_claims.name: expected UTF-8");

	enclave_tls_conf_t old;
	enclave_tls_handle old_handle = NULL;
	memset(&old, 0, sizeof old);
	old.api_version = 1;
	old.log_level = ENCLAVE_TLS_LOG_LEVEL_NONE;
	old.cert_algo = ENCLAVE_TLS_CERT_ALGO_DEFAULT;
	old.enclave_id = 7;
	EXPECT(enclave_tls_init(&old, &old_handle), INVALID, "enclave_id: expected 0");
	old.enclave_id = 0;
	/* RATS-TLS's flag for servers is none of Enclave-TLS's. */
	old.flags = RATS_TLS_CONF_FLAGS_SERVER;
	EXPECT(enclave_tls_init(&old, &old_handle), INVALID, "flags: expected known ones, got 0x2");

	/* Handles that are none. */
	rats_tls_handle none = NULL, wrong = (rats_tls_handle)buffer;
	EXPECT(rats_tls_negotiate(none, 0), INVALID, "handle: expected a pointer, got NULL");
	EXPECT(rats_tls_negotiate(wrong, 0), INVALID, "handle: expected one that init gave");
	EXPECT(rats_tls_receive(wrong, buffer, &size), INVALID, "handle: expected one that init gave");
	EXPECT(rats_tls_transmit(wrong, buffer, &size), INVALID, "handle: expected one that init gave");
	EXPECT(rats_tls_cleanup(wrong), INVALID, "handle: expected one that init gave");
	EXPECT(rats_tls_cleanup(none), INVALID, "NULL");
	EXPECT(rats_tls_set_verification_callback(NULL, accepts), INVALID, "handle: expected a pointer, got NULL");

	/* Calls at the wrong time, and wrong arguments. */
	EXPECT(rats_tls_init(&good, &handle), 0, "success");
	EXPECT(rats_tls_receive(handle, buffer, &size), INVALID, "expected it after negotiate, got it before");
	EXPECT(rats_tls_transmit(handle, buffer, &size), INVALID, "expected it after negotiate, got it before");
	EXPECT(rats_tls_reattest(handle), INVALID, "expected it after negotiate, got it before");
	EXPECT(rats_tls_get_verdict(handle, buffer, &size), INVALID, "expected it after negotiate, got it before");
	EXPECT(rats_tls_set_verification_callback(&handle, NULL), INVALID, "callback: expected a pointer, got NULL");
	EXPECT(rats_tls_set_policy_file(handle, NULL), INVALID, "path: expected a pointer, got NULL");
	EXPECT(rats_tls_set_instance_id(handle, NULL), INVALID, "id: expected a pointer, got NULL");
	EXPECT(rats_tls_set_patience(handle, 0), INVALID, "milliseconds: expected at least 1, got 0");
	EXPECT(rats_tls_set_reattestation(handle, 0), INVALID, "seconds: expected at least 1, got 0");
	EXPECT(rats_tls_set_server_name(handle, "a b"), INVALID, "server name: expected a host name, got \"a b\"");
	static char endless[8192];
	memset(endless, 'x', sizeof endless - 1);
	EXPECT(rats_tls_set_root_file(handle, endless), INVALID, "path: expected a terminator after at most 4096");
	size = (size_t)-1;
	EXPECT(rats_tls_receive(handle, buffer, &size), INVALID, "buf: expected at most 9223372036854775807");
	EXPECT(rats_tls_transmit(handle, buffer, &size), INVALID, "buf: expected at most 9223372036854775807");
	size = 0;
	EXPECT(rats_tls_receive(handle, buffer, &size), INVALID, "buf_size: expected at least 1 bytes, got 0");
	EXPECT(rats_tls_receive(handle, buffer, NULL), INVALID, "buf_size: expected a pointer, got NULL");
	EXPECT(rats_tls_transmit(handle, buffer, NULL), INVALID, "buf_size: expected a pointer, got NULL");
	size = 1;
	EXPECT(rats_tls_receive(handle, NULL, &size), INVALID, "buf: expected a pointer, got NULL");
	EXPECT(rats_tls_transmit(handle, NULL, &size), INVALID, "buf: expected a pointer, got NULL");

	/* Descriptors that are no connection. */
	int pipes[2], datagrams[2], sockets[2];
	if (pipe(pipes) || socketpair(AF_UNIX, SOCK_DGRAM, 0, datagrams) || socketpair(AF_UNIX, SOCK_STREAM, 0, sockets))
		return 100;
	EXPECT(rats_tls_negotiate(handle, -1), INVALID, "fd -1: expected a stream socket");
	EXPECT(rats_tls_negotiate(handle, 12345), INVALID, "fd 12345: expected a stream socket");
	EXPECT(rats_tls_negotiate(handle, pipes[0]), INVALID, "expected a stream socket");
	EXPECT(rats_tls_negotiate(handle, datagrams[0]), INVALID, "expected a stream socket");

	/* No policy, then no root, then a policy that is none: it is the verifier's end that says no. */
	EXPECT(rats_tls_negotiate(handle, sockets[0]), RATS_TLS_ERR_INIT, "policy: expected one, got none");
	EXPECT(rats_tls_set_policy_file(handle, "/nowhere"), 0, "success");
	EXPECT(rats_tls_negotiate(handle, sockets[0]), RATS_TLS_ERR_INIT, "/nowhere: No such file");
	EXPECT(rats_tls_cleanup(handle), 0, "success");

	/* After cleanup, also through a copy, and for good. */
	EXPECT(rats_tls_cleanup(handle), INVALID, "cleanup did not take");
	EXPECT(rats_tls_negotiate(handle, sockets[0]), INVALID, "cleanup did not take");
	rats_tls_handle again = NULL;
	EXPECT(rats_tls_init(&good, &again), 0, "success");
	if (again == handle) {
		printf("a handle was given twice\n");
		surprises++;
	}
	EXPECT(rats_tls_cleanup(again), 0, "success");

	/* A server without a device. */
	good.flags = RATS_TLS_CONF_FLAGS_SERVER;
	EXPECT(rats_tls_init(&good, &handle), 0, "success");
	EXPECT(rats_tls_negotiate(handle, sockets[0]), RATS_TLS_ERR_INIT, "device: expected one, got none");
	EXPECT(rats_tls_set_device(handle, "/nowhere"), 0, "success");
	/* A peer that has gone: an error, and no signal. */
	close(sockets[1]);
	EXPECT(rats_tls_negotiate(handle, sockets[0]), TLS_WRAPPER_ERR_UNKNOWN, "ended without a close");
	/* What failed stays failed. */
	size = sizeof buffer;
	EXPECT(rats_tls_negotiate(handle, sockets[0]), INVALID, "expected it before negotiate, got it afterwards");
	EXPECT(rats_tls_receive(handle, buffer, &size), INVALID, "expected an open session, got one that has ended");
	EXPECT(rats_tls_transmit(handle, buffer, &size), INVALID, "expected an open session, got one that has ended");
	EXPECT(rats_tls_set_device(handle, "/"), INVALID, "expected it before negotiate, got it afterwards");
	EXPECT(rats_tls_cleanup(handle), 0, "success");

	/* Collateral that is to be sent and is not there. */
	good.flags |= RATS_TLS_CONF_FLAGS_PROVIDE_ENDORSEMENTS;
	EXPECT(rats_tls_init(&good, &handle), 0, "success");
	EXPECT(rats_tls_set_device(handle, "/nowhere"), 0, "success");
	EXPECT(rats_tls_negotiate(handle, datagrams[0]), INVALID, "expected a stream socket");
	EXPECT(rats_tls_cleanup(handle), 0, "success");

	/* A claim of the platform's among the program's. */
	good.flags = RATS_TLS_CONF_FLAGS_SERVER;
	good.custom_claims = &shadow;
	good.custom_claims_length = 1;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sockets))
		return 100;
	EXPECT(rats_tls_init(&good, &handle), 0, "success");
	EXPECT(rats_tls_set_device(handle, "/nowhere"), 0, "success");
	EXPECT(rats_tls_negotiate(handle, sockets[0]), ENCLAVE_ATTESTER_ERR_INVALID, "named config-digest");
	EXPECT(rats_tls_cleanup(handle), 0, "success");
	printf("%d surprises\n", surprises);
	return surprises;
}
