/* SPDX-License-Identifier: Apache-2.0 */
/* usher reconcile of a build without libcurl. */
#include <stdio.h>

#include "tools/usher.h"

int cmd_reconcile(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	fprintf(stderr,
		"usher reconcile: this build has no libcurl; scripts/setup --all installs it\n");
	return USHER_FAILED;
}
