/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Webhooks: tells integrators what was sold, refunded, transferred and cancelled.
 *
 * Owns:  the tables of endpoints and deliveries; how far each endpoint was told.
 * Reads: changes (orders/), whose event it is (catalogue/).
 * Never: personal data; an address that is not public, unless a test allows it.
 */
#ifndef USH_HOOKS_H
#define USH_HOOKS_H

#include "daemon/core.h"
#include "db/db.h"

struct ush_hooks;

/* Opens, adds the routes, begins to send. err: -USH_EINVAL, or of the database, with a message. */
int ush_hooks_open(
	struct ush_hooks **hooks, const struct ush_core *core, struct ush_message *message);
void ush_hooks_close(struct ush_hooks *hooks);
extern const struct ush_db_step ush_hooks_schema[];

#endif /* USH_HOOKS_H */
