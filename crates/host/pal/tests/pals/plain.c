/* A runtime of version PAL_VERSION that says on descriptor 1 what it was given. */
#include "pal.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char args[64];
#if PAL_VERSION >= 2
static int out = -1, next_pid = 11, killed;
#endif

int pal_get_version(void) { return PAL_VERSION; }

static int init_v1(const struct pal_attr_v1 *attr)
{
	if (strcmp(attr->args, "fail") == 0)
		return -ENOENT;
	snprintf(args, sizeof args, "%s/%s", attr->args, attr->log_level);
	return strcmp(attr->args, "positive") == 0; /* as WAMR's returns 1 */
}

#if PAL_VERSION <= 2
int pal_init(const struct pal_attr_v1 *attr) { return init_v1(attr); }
#elif PAL_VERSION == 3
static int pooled_fd;
static uint64_t pooled_addr;
int pal_init(const struct pal_attr_v3 *attr)
{
	pooled_fd = attr->fd;
	pooled_addr = attr->addr;
	return init_v1(&attr->attr_v1);
}
#else
int pal_init(const struct pal_attr_v4 *attr)
{
	if (attr->struct_size != sizeof *attr || attr->attr_v3.fd != -1)
		return -EINVAL;
	if (attr->log_fd >= 0)
		dprintf(attr->log_fd, "root %s\n", attr->root_fd >= 0 ? "given" : "missing");
	return init_v1(&attr->attr_v3.attr_v1);
}
uint64_t pal_get_capabilities(void) { return PAL_CAPABILITY_EMULATED; }
#endif

#if PAL_VERSION == 1
int pal_exec(char *path, char *argv[], struct pal_stdio_fds *stdio, int *exit_code)
{
	dprintf(stdio->stdout, "%s %s", args, path);
	for (char **argument = argv; *argument; argument++)
		dprintf(stdio->stdout, " [%s]", *argument);
	*exit_code = 7;
	return 0;
}
#else
static int create(struct pal_create_process_args *process)
{
	int to = process->stdio->stdout;
	if (out < 0)
		out = to; /* the first process's, for what concerns all */
	dprintf(to, "%s %s", args, process->path);
	for (const char **argument = process->argv; *argument; argument++)
		dprintf(to, " [%s]", *argument);
	for (const char **entry = process->env; *entry; entry++)
		dprintf(to, " {%s}", *entry);
	*process->pid = next_pid++;
	return 0;
}

#if PAL_VERSION <= 3
int pal_create_process(struct pal_create_process_args *process) { return create(process); }
#else
int pal_create_process(struct pal_create_process_args_v4 *process)
{
	int result = create(&process->v2), to = process->v2.stdio->stdout;
	if (process->struct_size != sizeof *process)
		return -EINVAL;
	dprintf(to, " %s %u:%u", process->cwd, process->uid, process->gid);
	for (uint64_t i = 0; i < process->additional_gids_len; i++)
		dprintf(to, ",%u", process->additional_gids[i]);
	dprintf(to, " flags %llu %s", (unsigned long long)process->flags,
		process->request ? process->request : "no request");
	return result;
}
#endif

int pal_exec(struct pal_exec_args *exec)
{
	if (exec->pid < 11 || exec->pid >= next_pid)
		return -ESRCH;
#ifdef WAITS
	/* The first process runs until a signal for it comes. */
	while (exec->pid == 11 && !killed)
		usleep(1000);
#endif
#ifdef EXIT_CODE
	*exec->exit_value = 42;
#else
	*exec->exit_value = killed ? killed : 42 << 8;
#endif
	return 0;
}

int pal_kill(int pid, int sig)
{
	if (sig == 64)
		return -EINVAL;
	dprintf(out, " kill %d %d", pid, sig);
	killed = sig;
	return 0;
}
#endif

#if PAL_VERSION >= 3
int pal_get_local_report(void *targetinfo, int targetinfo_len, void *report, int *report_len)
{
	if (targetinfo_len != 512 || *report_len != 432)
		return -EINVAL;
	memset(report, ((char *)targetinfo)[0], 432);
#ifdef SHORT_REPORT
	*report_len = 400;
#endif
	return ((char *)targetinfo)[1];
}
#endif

int pal_destroy(void)
{
#if PAL_VERSION == 3
	if (pooled_fd != -1 && pooled_addr != 0)
		return -(pooled_fd + (int)pooled_addr);
#endif
	return 0;
}
