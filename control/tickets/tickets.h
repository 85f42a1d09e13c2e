/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tickets of orders: issued, mailed, shown, revoked; what gates fetch.
 *
 * Owns:  the tables tickets_state and tickets_seats; the keys in STATE/ticket-keys.json.
 * Reads: `changes` of orders/, the catalogue, addresses of people/ (for mail alone).
 * Never: logs a code; asks usherd.
 */
#ifndef USH_TICKETS_H
#define USH_TICKETS_H

#include "daemon/core.h"
#include "db/db.h"

struct ush_tickets;

/* Opens, adds its routes; looks into `changes` each half second. */
int ush_tickets_open(
	struct ush_tickets **tickets, const struct ush_core *core, struct ush_message *message);
void ush_tickets_close(struct ush_tickets *tickets);
extern const struct ush_db_step ush_tickets_schema[];

#endif /* USH_TICKETS_H */
