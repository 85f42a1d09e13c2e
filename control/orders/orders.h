/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds and orders over HTTP, and the read model of orders that is built from the journal.
 *
 * Owns:  the tables of orders, line items, holds and changes; the journal sequence they stand at.
 * Reads: usherd's journal (a follower); usherd itself by the link.
 * Never: money (payments/ does); a second truth about seats.
 */
#ifndef USH_ORDERS_H
#define USH_ORDERS_H

#include "daemon/core.h"
#include "db/db.h"

struct ush_orders;

/* Opens, adds its routes, follows the journal. */
int ush_orders_open(
	struct ush_orders **orders, const struct ush_core *core, struct ush_message *message);
void ush_orders_close(struct ush_orders *orders);
extern const struct ush_db_step ush_orders_schema[];

/*
 * Table `changes`: written in the transaction that applies a record, ascending without gaps in
 * `number`: number INTEGER PRIMARY KEY, sequence (of the record), time_us, kind TEXT, event, hold,
 * user, body TEXT (JSON) kind: "order.sold", "order.refunded" (body: seats), "order.cancelled",
 * "order.transferred" (body: from, to), "hold.made", "hold.released", "hold.expired",
 * "hold.paying", "waitlist.offered", "event.status" (body: status). Whoever acts on them (tickets,
 * mail, hooks) keeps the number it has done in a table of its own, in the transaction in which it
 * does it.
 */
typedef void ush_orders_changed(void *context, int64_t newest);
/* `changed` is called from the loop after new changes are durable. Up to 8 listeners. */
void ush_orders_listen(struct ush_orders *orders, ush_orders_changed *changed, void *context);

/* ret: the sequence up to which the model holds (everything below it is applied). */
uint64_t ush_orders_sequence(const struct ush_orders *orders);
/* Calls `done` when the model holds `sequence`, or after timeout_ms (-USH_EBUSY). */
void ush_orders_wait(struct ush_orders *orders, uint64_t sequence, uint32_t timeout_ms,
	void (*done)(void *context, int result), void *context);

#endif /* USH_ORDERS_H */
