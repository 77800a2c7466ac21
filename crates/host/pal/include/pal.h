/* SPDX-License-Identifier: Apache-2.0
 *
 * The enclave runtime PAL, versions 1 to 4. A runtime defines PAL_VERSION to the one it implements before it
 * includes this file, exports the functions of that version with C linkage, and is installed as liberpal-NAME.so.
 * docs/spec/pal-v4.md says what each function does.
 */
#ifndef INCLAVARE_PAL_H
#define INCLAVARE_PAL_H

#include <stdint.h>

#ifndef PAL_VERSION
#define PAL_VERSION 4
#endif

struct pal_attr_v1 {
	const char *args;      /* separated by spaces */
	const char *log_level; /* trace debug info warning error fatal panic off */
};

struct pal_attr_v3 {
	struct pal_attr_v1 attr_v1;
	int fd;        /* device descriptor of a pooled enclave, or -1 */
	uint64_t addr; /* its address, or 0 */
};

struct pal_attr_v4 {
	struct pal_attr_v3 attr_v3;
	uint64_t struct_size; /* sizeof(struct pal_attr_v4) of the caller */
	int root_fd;          /* the container's root directory, or -1 */
	int log_fd;           /* lines for the operator, or -1 */
};

struct pal_stdio_fds {
	int stdin, stdout, stderr;
};

struct pal_create_process_args {
	const char *path;
	const char **argv; /* ended by NULL */
	const char **env;  /* ended by NULL */
	struct pal_stdio_fds *stdio;
	int *pid; /* out */
};

#define PAL_PROCESS_TERMINAL 1 /* the descriptors are a terminal made for the process */

struct pal_create_process_args_v4 {
	struct pal_create_process_args v2;
	uint64_t struct_size; /* sizeof(struct pal_create_process_args_v4) of the caller */
	const char *cwd;
	uint32_t uid, gid;
	const uint32_t *additional_gids; /* NULL if there are none */
	uint64_t additional_gids_len;
	uint64_t flags;      /* PAL_PROCESS_TERMINAL; others 0 */
	const char *request; /* all that the host asks, as JSON, or NULL */
};

struct pal_exec_args {
	int pid;
	int *exit_value; /* out */
};

#define PAL_CAPABILITY_EMULATED 1 /* what it runs is emulated: protected from nothing */

int pal_get_version(void);
int pal_destroy(void);

#if PAL_VERSION <= 2
int pal_init(const struct pal_attr_v1 *attr);
#elif PAL_VERSION == 3
int pal_init(const struct pal_attr_v3 *attr);
#else
int pal_init(const struct pal_attr_v4 *attr);
#endif

#if PAL_VERSION == 1
int pal_exec(char *path, char *argv[], struct pal_stdio_fds *stdio, int *exit_code);
#elif PAL_VERSION <= 3
int pal_create_process(struct pal_create_process_args *args);
#else
int pal_create_process(struct pal_create_process_args_v4 *args);
uint64_t pal_get_capabilities(void);
#endif

#if PAL_VERSION >= 2
int pal_exec(struct pal_exec_args *args);
int pal_kill(int pid, int sig);
#endif

#if PAL_VERSION >= 3
int pal_get_local_report(void *targetinfo, int targetinfo_len, void *report, int *report_len);
#endif

#endif
