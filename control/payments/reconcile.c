/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The provider's lists are read to their end, page by page; then one job reads our tables in one
 * snapshot and compares: payments with the provider's books, and payments with the orders and their
 * seats, which the read model has from usherd's journal. What is under way is counted and not
 * judged.
 *
 * Failure modes: a page that does not come ends it without a report. What moves between the lists
 * and the snapshot is a payment under way, or a refund under way: neither is judged.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "payments/reconcile.h"
#include "payments/saga.h"

#define INTENTS_MAX 1000000u /* guess: about 200 MB while it compares */
#define FINDINGS_MAX 1000u
/* A return that was refused so often, and is not disputed, will not be done by asking; guess. */
#define RETURNS_MAX 5

struct reconcile {
	struct ush_db *db;
	struct ush_provider *provider;
	ush_reconciled *done;
	void *context;
	json_t *intents; /* id to {captured, refunded, open, ours} */
	json_t *report, *findings;
	bool refunds; /* which list is read */
};

static json_int_t number(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

static const char *text(const json_t *object, const char *name)
{
	const char *value = json_string_value(json_object_get(object, name));

	return value != NULL ? value : "";
}

static void end(struct reconcile *reconcile, int result)
{
	json_t *report = result == 0 ? json_incref(reconcile->report) : NULL;

	json_decref(reconcile->intents);
	json_decref(reconcile->report);
	reconcile->done(reconcile->context, result, report);
	free(reconcile);
}

static void take_intent(struct reconcile *reconcile, const json_t *object)
{
	const char *status = text(object, "status");
	bool succeeded = strcmp(status, "succeeded") == 0;

	json_object_set_new(reconcile->intents, text(object, "id"),
		json_pack("{s:I, s:I, s:b, s:s}", "captured",
			succeeded ? number(object, "amount_received") : (json_int_t)0, "refunded",
			(json_int_t)0, "open", strcmp(status, "requires_capture") == 0, "ours",
			text(json_object_get(object, "metadata"), "usher_payment")));
}

static void take_refund(struct reconcile *reconcile, const json_t *object)
{
	const char *status = text(object, "status");
	json_t *intent = json_object_get(reconcile->intents, text(object, "payment_intent"));

	if (intent != NULL && strcmp(status, "failed") != 0 && strcmp(status, "canceled") != 0)
		json_object_set_new(intent, "refunded",
			json_integer(number(intent, "refunded") + number(object, "amount")));
}

static void find(struct reconcile *reconcile, const char *kind, int64_t payment, const char *intent,
	int64_t hold, int64_t ours, int64_t theirs)
{
	char id[24], hold_id[24];

	if (json_array_size(reconcile->findings) >= FINDINGS_MAX)
		return;
	snprintf(id, sizeof(id), "%" PRId64, payment);
	snprintf(hold_id, sizeof(hold_id), "%" PRIu64, (uint64_t)hold);
	json_array_append_new(reconcile->findings,
		json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "kind", kind, "payment", id, "intent",
			intent, "hold", hold_id, "ours", (json_int_t)ours, "theirs",
			(json_int_t)theirs));
}

struct sums {
	int64_t payments, under_way, captured, refunded;
};

/* A payment of ours that is over. */
static void judge(struct reconcile *reconcile, struct ush_db_rows *rows, struct sums *sums)
{
	const char *id = ush_db_text(rows, 1);
	json_t *intent = json_object_get(reconcile->intents, id);
	int64_t payment = ush_db_int(rows, 0), hold = ush_db_int(rows, 2);
	int64_t step = ush_db_int(rows, 3), charge = ush_db_int(rows, 4);
	int64_t given_back = ush_db_int(rows, 5);
	int64_t captured = step == USH_PAY_FAILED ? 0 : charge;

	if (step == USH_PAY_RETURNED && ush_db_int(rows, 7) != USH_PAY_REASON_DISPUTED)
		given_back = charge;
	sums->captured += captured;
	sums->refunded += given_back;
	if (intent == NULL) {
		if (captured > 0)
			find(reconcile, "intent_missing", payment, id, hold, captured, 0);
		return;
	}
	json_object_set_new(intent, "seen", json_true());
	if (number(intent, "captured") != captured)
		find(reconcile, captured > 0 ? "sold_not_charged" : "charged_not_sold", payment, id,
			hold, captured, number(intent, "captured"));
	else if (number(intent, "refunded") != given_back)
		find(reconcile, "refunds_differ", payment, id, hold, given_back,
			number(intent, "refunded"));
	if (json_is_true(json_object_get(intent, "open")))
		find(reconcile, "authorised_and_left", payment, id, hold, 0, charge);
}

static void judge_strangers(struct reconcile *reconcile)
{
	const char *id;
	json_t *intent;

	json_object_foreach(reconcile->intents, id, intent)
	{
		int64_t net = number(intent, "captured") - number(intent, "refunded");

		/* An intent that nobody heard of and nobody can pay is no finding. */
		if (!json_is_true(json_object_get(intent, "seen")) && net != 0)
			find(reconcile, "not_ours", 0, id, 0, 0, net);
	}
}

/* ---- payments against orders and their seats ---- */

/* Of a payment by which an order came to be: its order's hold. */
#define ORDER_OF "CASE WHEN a.late <> 0 THEN a.sold_hold ELSE a.hold END"

/* What an order's seats say of a payment: `gone` in prices of seats, as given back here and there.
 */
static void judge_order(struct reconcile *reconcile, struct ush_db_rows *rows)
{
	const char *intent = ush_db_text(rows, 1);
	int64_t payment = ush_db_int(rows, 0), hold = ush_db_int(rows, 2);
	int64_t charge = ush_db_int(rows, 3), gone = ush_db_int(rows, 4);

	if (ush_db_int(rows, 5) == 0)
		find(reconcile, "seats_not_sold", payment, intent, hold, charge, 0);
	else if (ush_db_int(rows, 6) != gone)
		find(reconcile, "seats_refunds_differ", payment, intent, hold, gone,
			ush_db_int(rows, 6));
}

/*
 * The read model knows the seats as they were at orders_state.checked_us: what changed later, and
 * what is being given back, is not judged. in/out: *sold: orders compared; *elsewhere: orders that
 * no payment has to do with (sold by CONFIRM of a box office).
 */
static void compare_orders(
	struct reconcile *reconcile, struct ush_db_conn *conn, int64_t *sold, int64_t *elsewhere)
{
	int64_t checked_us = 0;
	struct ush_db_rows *rows;

	if (ush_db_get(conn, "SELECT checked_us FROM orders_state WHERE id = 1", "", "i",
		    &checked_us) != 1)
		return;
	rows = ush_db_query(conn,
		"SELECT a.id, a.intent, " ORDER_OF ", a.amount + a.fee,"
		" (SELECT CAST(COALESCE(SUM(r.amount), 0) AS BIGINT) FROM payments_refunds r"
		"  WHERE r.payment = a.id AND r.step = 7),"
		" (SELECT COUNT(*) FROM orders_holds h WHERE h.hold = " ORDER_OF
		"  AND h.sold_us <> 0),"
		" (SELECT CAST(COALESCE(SUM(i.price), 0) AS BIGINT) FROM orders_items i"
		"  WHERE i.hold = " ORDER_OF " AND i.state = 2)"
		" FROM payments_attempts a WHERE a.step = 10 AND a.changed_us < ?"
		" AND NOT EXISTS (SELECT 1 FROM payments_refunds r WHERE r.payment = a.id"
		"  AND (r.step < 7 OR r.changed_us >= ?))"
		" AND NOT EXISTS (SELECT 1 FROM orders_items i WHERE i.hold = " ORDER_OF
		"  AND i.state = 1)"
		/* The id came back, and is a later hold's. */
		" AND NOT EXISTS (SELECT 1 FROM orders_holds m WHERE m.hold = " ORDER_OF
		"  AND m.made_us > a.changed_us)",
		"ii", checked_us, checked_us);
	while (ush_db_next(rows)) {
		++*sold;
		judge_order(reconcile, rows);
	}
	rows = ush_db_query(conn,
		"SELECT h.hold, h.total,"
		" (SELECT COUNT(*) FROM payments_attempts a WHERE a.hold IN (h.hold, h.late_for))"
		" FROM orders_holds h WHERE h.sold_us <> 0 AND h.total > 0"
		" AND NOT EXISTS (SELECT 1 FROM payments_attempts a"
		"  WHERE a.hold IN (h.hold, h.late_for) AND (a.step <= 10))",
		"");
	while (ush_db_next(rows)) {
		if (ush_db_int(rows, 2) == 0)
			++*elsewhere;
		else
			find(reconcile, "sold_without_payment", 0, "", ush_db_int(rows, 0),
				ush_db_int(rows, 1), 0);
	}
}

/* ---- the report ---- */

static int compare_job(struct ush_db_conn *conn, void *context)
{
	struct reconcile *reconcile = context;
	struct sums sums = {0};
	int64_t orders = 0, elsewhere = 0;
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT a.id, a.intent, a.hold, a.step, a.amount + a.fee,"
		" (SELECT CAST(COALESCE(SUM(r.amount + r.fee), 0) AS BIGINT) FROM payments_refunds r"
		"  WHERE r.payment = a.id AND r.step = 7 AND r.refund NOT LIKE '" USH_BACK_DISPUTE
		"%'),"
		" (SELECT COUNT(*) FROM payments_refunds r WHERE r.payment = a.id AND r.step < 7),"
		" a.reason, a.n_refund, (SELECT COUNT(*) FROM payments_disputes d"
		"  WHERE d.payment = a.id AND d.status NOT IN ('won', 'lost'))"
		" FROM payments_attempts a",
		"");

	json_decref(reconcile->report);
	reconcile->findings = json_array();
	while (ush_db_next(rows)) {
		sums.payments++;
		if (ush_db_int(rows, 3) < USH_PAY_SOLD || ush_db_int(rows, 6) > 0) {
			json_t *intent = json_object_get(reconcile->intents, ush_db_text(rows, 1));

			sums.under_way++;
			if (intent != NULL)
				json_object_set_new(intent, "seen", json_true());
			if (ush_db_int(rows, 3) == USH_PAY_RETURN &&
				ush_db_int(rows, 8) >= RETURNS_MAX && ush_db_int(rows, 9) == 0)
				find(reconcile, "return_refused", ush_db_int(rows, 0),
					ush_db_text(rows, 1), ush_db_int(rows, 2),
					ush_db_int(rows, 4), 0);
		} else {
			judge(reconcile, rows, &sums);
		}
	}
	judge_strangers(reconcile);
	compare_orders(reconcile, conn, &orders, &elsewhere);
	reconcile->report = json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "sound",
		json_array_size(reconcile->findings) == 0, "orders", (json_int_t)orders,
		"sold_elsewhere", (json_int_t)elsewhere, "intents",
		(json_int_t)json_object_size(reconcile->intents), "payments",
		(json_int_t)sums.payments, "under_way", (json_int_t)sums.under_way, "captured",
		(json_int_t)sums.captured, "refunded", (json_int_t)sums.refunded, "findings",
		reconcile->findings);
	return ush_db_error(conn, NULL);
}

static void on_compared(void *context, int result)
{
	end(context, result);
}

static void on_page(void *context, json_t *body);

static void next_page(struct reconcile *reconcile, const char *after)
{
	char path[256];

	snprintf(path, sizeof(path), "/v1/%s?limit=100%s%s",
		reconcile->refunds ? "refunds" : "payment_intents",
		after[0] != '\0' ? "&starting_after=" : "", after);
	ush_provider_get(reconcile->provider, path, on_page, reconcile);
}

static void on_page(void *context, json_t *body)
{
	struct reconcile *reconcile = context;
	const json_t *data = json_object_get(body, "data"), *one;
	const char *last = "";
	size_t i;

	if (!json_is_array(data) || json_object_size(reconcile->intents) > INTENTS_MAX) {
		end(reconcile, body == NULL ? -USH_EUNKNOWN : -USH_ERANGE);
		return;
	}
	json_array_foreach(data, i, one)
	{
		last = text(one, "id");
		if (reconcile->refunds)
			take_refund(reconcile, one);
		else
			take_intent(reconcile, one);
	}
	if (json_is_true(json_object_get(body, "has_more")) && last[0] != '\0') {
		next_page(reconcile, last);
	} else if (!reconcile->refunds) {
		reconcile->refunds = true;
		next_page(reconcile, "");
	} else {
		ush_db_run(reconcile->db, USH_DB_READ, compare_job, on_compared, reconcile);
	}
}

void ush_reconcile(
	struct ush_db *db, struct ush_provider *provider, ush_reconciled *done, void *context)
{
	struct reconcile *reconcile = calloc(1, sizeof(*reconcile));

	USH_ASSERT(reconcile != NULL);
	reconcile->db = db;
	reconcile->provider = provider;
	reconcile->done = done;
	reconcile->context = context;
	reconcile->intents = json_object();
	next_page(reconcile, "");
}
