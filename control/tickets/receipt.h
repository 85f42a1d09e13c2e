/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receipt of an order: what was bought, what was paid, what was given back.
 *
 * Owns:  nothing.
 * Reads: changes and items of orders, the catalogue.
 * Never: money; a change of anything.
 */
#ifndef USH_TICKETS_RECEIPT_H
#define USH_TICKETS_RECEIPT_H

#include <jansson.h>

#include "tickets/issue.h"
#include "tickets/money.h"

#define RECEIPT_REFUNDS_MAX TICKETS_SEATS_MAX /* a refund gives back one seat at least */

struct receipt_item {
	int64_t price;
	int64_t fee;
	bool is_refunded;
};

struct receipt_refund {
	int64_t time_us;
	int64_t amount; /* with fees */
	int64_t seats;
};

struct tickets_receipt {
	uint64_t order;
	uint64_t user; /* who bought, whoever has the tickets now */
	uint32_t event;
	int64_t sold_us;
	int64_t amount, fee, total, refunded;
	char currency[4];
	struct tickets_event about;
	uint32_t item_count, refund_count;
	struct tickets_seat seat[TICKETS_SEATS_MAX]; /* seat, label */
	struct receipt_item item[TICKETS_SEATS_MAX];
	struct receipt_refund refund[RECEIPT_REFUNDS_MAX];
};

/* Within a job. out: all of it, refunds as far as the change with the number `through`. ret: 1, 0:
 * no such order (or it was sold more than 400 days ago), negative. */
int tickets_receipt_of(
	struct ush_db_conn *conn, uint64_t order, int64_t through, struct tickets_receipt *out);
json_t *tickets_receipt_json(const struct tickets_receipt *receipt);
/* ret: a page to print, malloced. */
char *tickets_receipt_page(const struct tickets_receipt *receipt, size_t *bytes);
/* Within a write job: tells who paid what was given back. `change`: its number, the key of the
 * mail. */
int tickets_refund_mail(
	struct ush_db_conn *conn, struct tickets_step *step, uint64_t order, int64_t change);

#endif /* USH_TICKETS_RECEIPT_H */
