/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RATS_TLS_CLAIM_H
#define RATS_TLS_CLAIM_H

#include <stddef.h>
#include <stdint.h>

/* Something that a program says of itself. */
typedef struct __attribute__((packed)) claim {
	char *name; /* UTF-8 with a terminator */
	uint8_t *value;
	size_t value_size;
} claim_t;

#endif
