/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A function for GNU make (its manual, "Loading Dynamic Objects"):
 * $(exit-with N) ends make with status N. A failed recipe alone always gives
 * status 2, and `make demo DEMO_CMD=...` promises the command's.
 */
#include <stdlib.h>

#include <gnumake.h>

/* make asks for this symbol; Apache-2.0 code may be used under GPLv3. */
int plugin_is_GPL_compatible;

int make_exit_gmk_setup(void);

static char *exit_with(const char *name, unsigned int count, char **arguments)
{
	(void)name;
	(void)count;
	exit(atoi(arguments[0]));
}

int make_exit_gmk_setup(void)
{
	gmk_add_function("exit-with", exit_with, 1, 1, GMK_FUNC_DEFAULT);
	return 1;
}
