/* Runtimes that a loader must survive. */
#define PAL_VERSION 2
#include "pal.h"
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef CONSTRUCTOR
__attribute__((constructor)) static void start(void) { CONSTRUCTOR; }
#endif

#ifdef VERSION
int pal_get_version(void) { return VERSION; }
#endif

#ifdef NO_PID
int pal_create_process(struct pal_create_process_args *process)
{
	(void)process;
	return 0;
}
#endif

#ifdef UNDEFINED
int missing_everywhere(void);
int pal_destroy(void) { return missing_everywhere(); }
#endif
