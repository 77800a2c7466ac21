/* One end of a session over standard input, a socket. A client sends a word and waits for it; a server sends back
 * what comes. Prints one line: what it learned of its peer, or which call failed, how, and why.
 *
 *   peer rats|enclave [server] [mutual] [endorse] [accept|refuse] [reattest] [KEY=VALUE ...]
 */
#include <enclave-tls/api.h>
#include <rats-tls/api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rats_tls_handle handle;
static int seen;

static int look(void *argument, int answer)
{
	rtls_evidence_t *evidence = argument;
	seen++;
	/* The session that asks is busy asking. */
	if (rats_tls_cleanup(handle) != -RATS_TLS_ERR_INVALID || !strstr(rats_tls_error(), "one call at a time")) {
		printf("the handle was taken away\n");
		exit(3);
	}
	/* The evidence is the peer's, whole and in place. */
	if (evidence->type != SGX_ECDSA || evidence->quote_size < 1000 || evidence->custom_claims_length != 1 ||
	    strcmp(evidence->custom_claims[0].name, "service") != 0 || evidence->custom_claims[0].value_size != 7 ||
	    memcmp(evidence->custom_claims[0].value, "billing", 7) != 0 ||
	    memcmp(evidence->sgx.mr_enclave, evidence->quote + 48 + 64, 32) != 0 ||
	    memcmp(evidence->sgx.attributes, evidence->quote + 48 + 48, 16) != 0 || evidence->sgx.product_id != 7 ||
	    evidence->sgx.security_version != 8) {
		printf("the callback was shown something else\n");
		exit(3);
	}
	return answer;
}

static int accepts(void *evidence)
{
	return look(evidence, 1);
}

static int refuses(void *evidence)
{
	return look(evidence, 0);
}

static void check(const char *call, int result)
{
	if (result == 0)
		return;
	printf("%s: %#x: %s\n", call, (unsigned)-result, rats_tls_error());
	rats_tls_cleanup(handle);
	exit(1);
}

static const char *value(int argc, char **argv, const char *key)
{
	size_t length = strlen(key);
	for (int i = 2; i < argc; i++)
		if (strncmp(argv[i], key, length) == 0 && argv[i][length] == '=')
			return argv[i] + length + 1;
	return NULL;
}

static int has(int argc, char **argv, const char *word)
{
	for (int i = 2; i < argc; i++)
		if (strcmp(argv[i], word) == 0)
			return 1;
	return 0;
}

/* Every function of the two interfaces that the session itself needs. */
struct api {
	rats_tls_err_t (*negotiate)(rats_tls_handle, int);
	rats_tls_err_t (*receive)(rats_tls_handle, void *, size_t *);
	rats_tls_err_t (*transmit)(rats_tls_handle, void *, size_t *);
	rats_tls_err_t (*cleanup)(rats_tls_handle);
};

static rats_tls_err_t e_negotiate(rats_tls_handle h, int fd)
{
	return enclave_tls_negotiate((enclave_tls_handle)h, fd);
}
static rats_tls_err_t e_receive(rats_tls_handle h, void *buf, size_t *size)
{
	return enclave_tls_receive((enclave_tls_handle)h, buf, size);
}
static rats_tls_err_t e_transmit(rats_tls_handle h, void *buf, size_t *size)
{
	return enclave_tls_transmit((enclave_tls_handle)h, buf, size);
}
static rats_tls_err_t e_cleanup(rats_tls_handle h)
{
	return enclave_tls_cleanup((enclave_tls_handle)h);
}

static const struct api rats = { rats_tls_negotiate, rats_tls_receive, rats_tls_transmit, rats_tls_cleanup };
static const struct api enclave = { e_negotiate, e_receive, e_transmit, e_cleanup };

static void init(int argc, char **argv, int is_rats, int is_server)
{
	claim_t own = { "service", (uint8_t *)"billing", 7 };
	if (is_rats) {
		rats_tls_conf_t conf = { 0 };
		conf.api_version = RATS_TLS_API_VERSION_DEFAULT;
		conf.log_level = RATS_TLS_LOG_LEVEL_NONE;
		conf.cert_algo = RATS_TLS_CERT_ALGO_DEFAULT;
		conf.custom_claims = &own;
		conf.custom_claims_length = 1;
		conf.flags |= is_server ? RATS_TLS_CONF_FLAGS_SERVER : 0;
		conf.flags |= has(argc, argv, "mutual") ? RATS_TLS_CONF_FLAGS_MUTUAL : 0;
		conf.flags |= has(argc, argv, "endorse") ? RATS_TLS_CONF_FLAGS_PROVIDE_ENDORSEMENTS : 0;
		if (value(argc, argv, "attester"))
			strncpy(conf.attester_type, value(argc, argv, "attester"), 31);
		if (value(argc, argv, "verifier"))
			strncpy(conf.verifier_type, value(argc, argv, "verifier"), 31);
		check("init", rats_tls_init(&conf, &handle));
	} else {
		enclave_tls_conf_t conf = { 0 };
		conf.api_version = ENCLAVE_TLS_API_VERSION_DEFAULT;
		conf.log_level = ENCLAVE_TLS_LOG_LEVEL_NONE;
		conf.cert_algo = ENCLAVE_TLS_CERT_ALGO_DEFAULT;
		conf.flags |= is_server ? ENCLAVE_TLS_CONF_FLAGS_SERVER : 0;
		conf.flags |= has(argc, argv, "mutual") ? ENCLAVE_TLS_CONF_FLAGS_MUTUAL : 0;
		check("init", enclave_tls_init(&conf, (enclave_tls_handle *)&handle));
	}
}

static void set(int argc, char **argv, const char *key, rats_tls_err_t (*function)(rats_tls_handle, const char *))
{
	if (value(argc, argv, key))
		check(key, function(handle, value(argc, argv, key)));
}

int main(int argc, char **argv)
{
	int is_rats = strcmp(argv[1], "rats") == 0, is_server = has(argc, argv, "server");
	const struct api *api = is_rats ? &rats : &enclave;
	setvbuf(stdout, NULL, _IOLBF, 0);
	init(argc, argv, is_rats, is_server);
	set(argc, argv, "policy", rats_tls_set_policy_file);
	set(argc, argv, "root", rats_tls_set_root_file);
	set(argc, argv, "collateral", rats_tls_set_collateral_file);
	set(argc, argv, "device", rats_tls_set_device);
	set(argc, argv, "name", rats_tls_set_server_name);
	if (value(argc, argv, "instance")) {
		unsigned char id[16];
		memset(id, atoi(value(argc, argv, "instance")), sizeof id);
		check("instance", rats_tls_set_instance_id(handle, id));
	}
	if (value(argc, argv, "patience"))
		check("patience", rats_tls_set_patience(handle, (uint32_t)atoi(value(argc, argv, "patience"))));
	if (has(argc, argv, "accept"))
		check("callback", rats_tls_set_verification_callback(&handle, accepts));
	if (has(argc, argv, "refuse"))
		check("callback", rats_tls_set_verification_callback(&handle, refuses));
	check("negotiate", api->negotiate(handle, 0));

	static char buffer[100000], sent[100000];
	size_t size;
	if (is_server) {
		for (;;) {
			size = sizeof buffer;
			check("receive", api->receive(handle, buffer, &size));
			if (size == 0)
				break;
			check("transmit", api->transmit(handle, buffer, &size));
		}
		check("cleanup", api->cleanup(handle));
		printf("served\n");
		return 0;
	}
	for (int round = 0; round < 3; round++) {
		if (round == 1 && has(argc, argv, "reattest"))
			check("reattest", rats_tls_reattest(handle));
		for (size_t i = 0; i < sizeof sent; i++)
			sent[i] = (char)(i * 7 + (size_t)round);
		size = sizeof sent;
		check("transmit", api->transmit(handle, sent, &size));
		for (size_t got = 0; got < sizeof sent; got += size) {
			size = sizeof buffer - got;
			check("receive", api->receive(handle, buffer + got, &size));
			if (size == 0) {
				printf("the server closed\n");
				return 2;
			}
		}
		if (memcmp(sent, buffer, sizeof sent) != 0) {
			printf("another answer\n");
			return 2;
		}
	}
	char version[32] = "", service[32] = "none";
	size_t length = sizeof version - 1;
	int result = rats_tls_get_claim(handle, "runtime-version", version, &length);
	length = sizeof service - 1;
	if (rats_tls_get_claim(handle, "service", service, &length) == 0)
		service[length] = 0;
	length = sizeof buffer;
	if (result == 0) {
		check("verdict", rats_tls_get_verdict(handle, buffer, &length));
		printf("peer: runtime %s, service %s, looked %d, verdict %.21s\n", version, service, seen, buffer);
	} else {
		printf("peer: %s\n", rats_tls_error());
	}
	check("cleanup", api->cleanup(handle));
	return 0;
}
