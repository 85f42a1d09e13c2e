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
#include "wire/wire.h"

struct ush_orders;

/* Opens, adds its routes, follows the journal. */
int ush_orders_open(
	struct ush_orders **orders, const struct ush_core *core, struct ush_message *message);
void ush_orders_close(struct ush_orders *orders);
extern const struct ush_db_step ush_orders_schema[];

/* ---- the tables of the read model: others read them, in their own jobs ----
 *
 * All are written in the transaction that stores the journal's sequence they stand at, and are the
 * same again after a rebuild. 64-bit numbers of usherd (hold, user) are stored as the int64_t with
 * the same bits; the API writes them as unsigned decimals. Amounts: minor units. `user` is a
 * reserved word of PostgreSQL: always write "user".
 *
 * orders_holds: a hold, live, sold, or over: hold (key), number (sequence of its first record),
 *   event, "user" (whose it is now), state (enum ush_hold_state), version, attempts (payments
 *   begun), seats, amount, fee, total (amount + fee), currency, deadline_us, made_us, changed_us,
 *   sequence (of its last record), sold_us (0: it is no order), refunded (sum of what was given
 *   back of total), legs TEXT ("row:mask:amount ...", mask in hexadecimal), late_for (sold late for
 *   this hold), offer (1: made by the wait-list), fee_fixed, fee_ppm. A hold that ended unsold is
 *   kept for a day.
 *   An order is a hold with sold_us <> 0; its number in the API is that of the hold. Its state is
 *   SOLD, REFUNDING or REFUNDED. (Ids of holds return after long; an order whose id came back moves
 *   to a negative key and keeps its `number`.)
 * orders_items: a seat of an order: hold, row, bit, price, fee, state (0 sold, 1 being refunded,
 *   2 refunded). (A row is a block of at most 64 seats, bit is the seat in it.)
 * orders_events: event, digest, status (enum ush_event_status), seats, sold (seats), changes,
 *   currency.
 * changes: ascending without gaps in `number`, in the order of the journal: number (key), sequence
 *   (of the record), time_us, kind TEXT, event, hold, "user", body TEXT (JSON). Kept 400 days.
 *   kind            body
 *   hold.made       seats, amount, total, deadline_us
 *   hold.changed    seats, amount, total, deadline_us (more time, other seats, a payment failed)
 *   hold.paying     attempt, amount, total
 *   hold.released, hold.expired   seats
 *   order.sold      seats, amount, fee, total, currency
 *   order.refunding, order.refund_failed   seats
 *   order.refunded  seats, amount, fee, left (seats that stay sold)
 *   order.transferred   from, to (users as decimal strings); "user" is the new one
 *   order.cancelled     (its event was cancelled: it is to be refunded)
 *   waitlist.joined seats, place
 *   waitlist.left   reason ("asked", "limit", "over")
 *   waitlist.offered    seats, amount, total, deadline_us (the hold is made by this)
 *   event.loaded, event.changed   seats, digest
 *   event.sold_out, event.available   seats, sold: every seat on sale is sold (as usherd's
 *                   SOLD_OUT: none is free or in a hold); that is no longer so. In turns.
 *   event.status    status ("draft", "on_sale", "paused", "completed", "cancelled")
 *   `seats` is a list of [row, bit]. More kinds may come: pass over those you do not know.
 * Whoever acts on changes (tickets, mail, hooks) keeps the number it has done in a table of its
 * own, in the transaction in which it does it.
 */

struct ush_orders_leg {
	uint16_t row;
	uint64_t mask;
	uint32_t amount;
};
/* A hold or order as the model has it. */
struct ush_orders_hold {
	uint64_t hold;
	uint64_t user;
	uint32_t event;
	uint8_t state;
	uint16_t version;
	uint16_t attempts;
	int64_t amount;
	int64_t fee;
	int64_t total;
	int64_t refunded;
	char currency[4];
	int64_t deadline_us;
	int64_t made_us;
	int64_t sold_us;
	uint64_t sequence;
	uint32_t seat_count;
	uint32_t leg_count;
	struct ush_orders_leg leg[USH_LEG_COUNT_MAX];
};
/* Within a job. ret: 1, 0: the model knows no such hold (yet: ush_orders_missing), or negative. */
int ush_orders_find(struct ush_db_conn *conn, uint64_t hold, struct ush_orders_hold *out);
/* Within a job, of a hold that was not found: may it be one that `user` made after what the tables
 * show? They are behind while a database is slow or was away. ret: -USH_ENOENT: no; -USH_EBUSY: it
 * may, the client is to ask again; other negative. */
int ush_orders_missing(struct ush_db_conn *conn, uint64_t user);
/*
 * Within a job: what seats of a hold cost with their fees, from the model: for partial refunds.
 * legs: seats of the hold (amount is not looked at). ret: 0, -USH_ENOENT: not all of them are the
 * order's, -USH_ERANGE.
 */
int ush_orders_price(struct ush_db_conn *conn, uint64_t hold, const struct ush_orders_leg *legs,
	uint32_t leg_count, int64_t *amount, int64_t *fee);

typedef void ush_orders_changed(void *context, int64_t newest);
/* `changed` is called from the loop after new changes are durable. Up to 8 listeners. */
void ush_orders_listen(struct ush_orders *orders, ush_orders_changed *changed, void *context);

/* ret: the sequence up to which the model holds (everything below it is applied). */
uint64_t ush_orders_sequence(const struct ush_orders *orders);
/* Calls `done` when the model holds `sequence`, or after timeout_ms (-USH_EBUSY). */
void ush_orders_wait(struct ush_orders *orders, uint64_t sequence, uint32_t timeout_ms,
	void (*done)(void *context, int result), void *context);

/* ---- tools: `usher-control orders rebuild` and `check`; without a loop ---- */

/* Empties the tables of the read model and makes them again from the journal, to its durable end.
 * A usher-control that runs meanwhile begins again by itself. err: message. */
int ush_orders_rebuild(struct ush_db *db, const char *journal_dir, struct ush_message *message);
/* Reads the journal into memory up to where the tables stand, and compares everything. ret: 0;
 * *differences: how many, message: the first; err: message. */
int ush_orders_check(struct ush_db *db, const char *journal_dir, int64_t *differences,
	struct ush_message *message);

#endif /* USH_ORDERS_H */
