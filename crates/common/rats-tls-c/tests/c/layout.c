/* Sizes, offsets and numbers of the headers, a line each. */
#include <enclave-tls/api.h>
#include <rats-tls/api.h>
#include <stdio.h>

#define SIZE(type) printf(#type " %zu\n", sizeof(type))
#define AT(type, member) printf(#type "." #member " %zu\n", offsetof(type, member))
#define NUMBER(name) printf(#name " %lu\n", (unsigned long)(name))

int main(void)
{
	SIZE(claim_t);
	AT(claim_t, value);
	AT(claim_t, value_size);
	SIZE(rats_tls_conf_t);
	AT(rats_tls_conf_t, flags);
	AT(rats_tls_conf_t, log_level);
	AT(rats_tls_conf_t, tls_type);
	AT(rats_tls_conf_t, attester_type);
	AT(rats_tls_conf_t, verifier_type);
	AT(rats_tls_conf_t, crypto_type);
	AT(rats_tls_conf_t, cert_algo);
	AT(rats_tls_conf_t, custom_claims);
	AT(rats_tls_conf_t, custom_claims_length);
	AT(rats_tls_conf_t, quote_sgx_epid);
	AT(rats_tls_conf_t, quote_sgx_ecdsa);
	SIZE(enclave_tls_conf_t);
	AT(enclave_tls_conf_t, flags);
	AT(enclave_tls_conf_t, log_level);
	AT(enclave_tls_conf_t, tls_type);
	AT(enclave_tls_conf_t, attester_type);
	AT(enclave_tls_conf_t, verifier_type);
	AT(enclave_tls_conf_t, crypto_type);
	AT(enclave_tls_conf_t, cert_algo);
	AT(enclave_tls_conf_t, enclave_id);
	AT(enclave_tls_conf_t, quote_sgx_epid);
	AT(enclave_tls_conf_t, quote_sgx_ecdsa);
	SIZE(rtls_evidence_t);
	AT(rtls_evidence_t, custom_claims);
	AT(rtls_evidence_t, custom_claims_length);
	AT(rtls_evidence_t, ehd);
	AT(rtls_evidence_t, quote_size);
	AT(rtls_evidence_t, quote);
	AT(rtls_evidence_t, sgx);
	SIZE(ehd_t);
	SIZE(rtls_sgx_evidence_t);
	AT(rtls_sgx_evidence_t, product_id);
	AT(rtls_sgx_evidence_t, attributes);
	AT(rtls_sgx_evidence_t, collateral);
	SIZE(rtls_tdx_evidence_t);
	AT(rtls_tdx_evidence_t, mrtd);
	AT(rtls_tdx_evidence_t, rtmr);
	AT(rtls_tdx_evidence_t, tdel_data_sz);
	SIZE(rtls_csv_evidence_t);
	return 0;
}
