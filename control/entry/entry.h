/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The waiting room over HTTP: join, status object, place, exchange for an access JWT, the
 * operator's control; and whether a request may hold seats of an event that has a room
 * (docs/entry.md).
 *
 * Owns:  the keys of JWTs, rates and counts of clients in memory; a copy of how rooms stand.
 * Reads: usherd by the link; the provider of CAPTCHAs by fetch/.
 * Never: who has which place: usherd does; a policy of its own about how many are let in.
 */
#ifndef USH_ENTRY_H
#define USH_ENTRY_H

#include "daemon/core.h"
#include "db/db.h"
#include "http/server.h"

struct ush_entry;

/* Opens, adds its routes, and a filter that asks ush_entry_admitted before POST
 * /v1/events/{event}/holds. err: -USH_EINVAL, -USH_EACCES, -USH_ESYSTEM, -USH_ENOMEM, message. */
int ush_entry_open(
	struct ush_entry **entry, const struct ush_core *core, struct ush_message *message);
void ush_entry_close(struct ush_entry *entry);
extern const struct ush_db_step ush_entry_schema[];

/*
 * May who makes this request hold seats of an event? Yes, if it has no waiting room, if nobody is
 * signed in (the handler says so), if an operator asks, or if the header Usher-Access has a JWT of
 * ours for this user and event. ret: true; or false: it has answered: 403 access_wanted, or 503
 * not_ready. An event that nobody asked about before counts as one without a room until usherd has
 * answered, some milliseconds later; one that had a room is remembered over restarts. by: the event
 * loop.
 */
bool ush_entry_admitted(struct ush_http_request *request, uint32_t event);

#endif /* USH_ENTRY_H */
