/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The modules of usher-control, in the order in which they open.
 *
 * Owns:  what the modules gave when they were opened.
 * Reads: nothing.
 * Never: what a module does.
 */
#ifndef USH_DAEMON_MODULES_H
#define USH_DAEMON_MODULES_H

#include "daemon/core.h"

/* Opens all: what core points to first. ret: 0; err: message; then all are closed again. */
int ush_modules_open(struct ush_core *core, struct ush_message *message);
void ush_modules_close(struct ush_core *core);
/* ret: NULL if all can serve; or what is missing, in words. */
const char *ush_modules_missing(const struct ush_core *core);

/* The tool `orders`: what: "rebuild" or "check". Prints a line of JSON. ret: exit status. */
int ush_modules_orders(struct ush_core *core, const char *what, struct ush_message *message);
/* The tool `account`: gives the role to the account with that address; makes it if there is none.
 * The same. */
int ush_modules_account(
	struct ush_core *core, const char *role, const char *mail, struct ush_message *message);

#endif /* USH_DAEMON_MODULES_H */
