/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What payments/ keeps about a person. Payments, refunds and disputes stay when an account is
 * deleted: they are the books, which name the account's number and the provider's ids. Card data
 * never was here. What goes is the secret by which a page could look at an intent, once its payment
 * is over.
 */
#include <stdio.h>

#include "payments/internal.h"
#include "people/people.h"

static json_t *number_text(int64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	return json_string(text);
}

static json_t *take_payments(struct ush_db_conn *conn, uint64_t user)
{
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT id, event, hold, amount, fee, currency, step, reason, intent, created_us,"
		" changed_us FROM payments_attempts WHERE owner = ? ORDER BY created_us, id",
		"i", (int64_t)user);
	json_t *list = json_array();

	while (ush_db_next(rows))
		json_array_append_new(list,
			json_pack("{s:o, s:I, s:o, s:I, s:I, s:s, s:s, s:s, s:s, s:I, s:I}",
				"payment", number_text(ush_db_int(rows, 0)), "event",
				(json_int_t)ush_db_int(rows, 1), "hold",
				number_text(ush_db_int(rows, 2)), "amount",
				(json_int_t)ush_db_int(rows, 3), "fee",
				(json_int_t)ush_db_int(rows, 4), "currency", ush_db_text(rows, 5),
				"state", ush_pay_step_name((uint8_t)ush_db_int(rows, 6)), "reason",
				ush_pay_reason_name((uint8_t)ush_db_int(rows, 7)), "provider_id",
				ush_db_text(rows, 8), "created_us", (json_int_t)ush_db_int(rows, 9),
				"changed_us", (json_int_t)ush_db_int(rows, 10)));
	return list;
}

static json_t *take_refunds(struct ush_db_conn *conn, uint64_t user)
{
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT payment, hold, amount, fee, step, refund, created_us, changed_us"
		" FROM payments_refunds WHERE owner = ? ORDER BY created_us, id",
		"i", (int64_t)user);
	json_t *list = json_array();

	while (ush_db_next(rows))
		json_array_append_new(list,
			json_pack("{s:o, s:o, s:I, s:I, s:s, s:s, s:I, s:I}", "payment",
				number_text(ush_db_int(rows, 0)), "order",
				number_text(ush_db_int(rows, 1)), "amount",
				(json_int_t)ush_db_int(rows, 2), "fee",
				(json_int_t)ush_db_int(rows, 3), "state",
				ush_back_step_name((uint8_t)ush_db_int(rows, 4)), "provider_id",
				ush_db_text(rows, 5), "created_us", (json_int_t)ush_db_int(rows, 6),
				"changed_us", (json_int_t)ush_db_int(rows, 7)));
	return list;
}

static json_t *take_disputes(struct ush_db_conn *conn, uint64_t user)
{
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT d.id, d.payment, d.amount, d.reason, d.status, d.created_us FROM"
		" payments_disputes d JOIN payments_attempts a ON a.id = d.payment"
		" WHERE a.owner = ? ORDER BY d.created_us, d.id",
		"i", (int64_t)user);
	json_t *list = json_array();

	while (ush_db_next(rows))
		json_array_append_new(list,
			json_pack("{s:s, s:o, s:I, s:s, s:s, s:I}", "provider_id",
				ush_db_text(rows, 0), "payment", number_text(ush_db_int(rows, 1)),
				"amount", (json_int_t)ush_db_int(rows, 2), "reason",
				ush_db_text(rows, 3), "status", ush_db_text(rows, 4), "created_us",
				(json_int_t)ush_db_int(rows, 5)));
	return list;
}

static int take(struct ush_db_conn *conn, uint64_t user, json_t **out)
{
	*out = json_pack("{s:o, s:o, s:o}", "payments", take_payments(conn, user), "refunds",
		take_refunds(conn, user), "disputes", take_disputes(conn, user));
	return ush_db_error(conn, NULL);
}

static int drop(struct ush_db_conn *conn, uint64_t user)
{
	ush_db_exec(conn,
		"UPDATE payments_attempts SET secret = '' WHERE owner = ? AND step IN (?, ?, ?)",
		"iiii", (int64_t)user, (int64_t)USH_PAY_SOLD, (int64_t)USH_PAY_FAILED,
		(int64_t)USH_PAY_RETURNED);
	return ush_db_error(conn, NULL);
}

void payments_keep_open(void)
{
	ush_people_keeper(NULL, "payments", take, drop);
}
