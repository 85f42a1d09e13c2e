/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What orders/ keeps about a person. Orders and transfers stay when an account is deleted: they are
 * the books, and name nobody but the account's number. A presale code is no one's: who used it is
 * not kept.
 */
#include <stdio.h>

#include "orders/internal.h"
#include "people/people.h"

static json_t *take_transfers(struct ush_db_conn *conn, uint64_t user)
{
	static const char *const states[] = {"offered", "accepted", "withdrawn"};
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT hold, event, made_us, ends_us, state, \"user\" FROM orders_transfers"
		" WHERE \"user\" = ? OR to_user = ? ORDER BY made_us",
		"ii", (int64_t)user, (int64_t)user);
	json_t *transfers = json_array();
	char number[24];

	while (ush_db_next(rows)) {
		int64_t state = ush_db_int(rows, 4);

		snprintf(number, sizeof(number), "%llu", (unsigned long long)ush_db_int(rows, 0));
		json_array_append_new(transfers,
			json_pack("{s:s, s:I, s:I, s:I, s:s, s:s}", "order", number, "event",
				(json_int_t)ush_db_int(rows, 1), "made_us",
				(json_int_t)ush_db_int(rows, 2), "ends_us",
				(json_int_t)ush_db_int(rows, 3), "state",
				states[state >= 0 && state < 3 ? state : 0], "you",
				(uint64_t)ush_db_int(rows, 5) == user ? "gave" : "took"));
	}
	return transfers;
}

static int take(struct ush_db_conn *conn, uint64_t user, json_t **out)
{
	json_t *orders = json_array(), *waits = json_array();
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT hold, event, seats, total, refunded, currency, sold_us FROM orders_holds"
		" WHERE \"user\" = ? AND sold_us <> 0 ORDER BY number",
		"i", (int64_t)user);
	char number[24];

	while (ush_db_next(rows)) {
		snprintf(number, sizeof(number), "%llu", (unsigned long long)ush_db_int(rows, 0));
		json_array_append_new(orders,
			json_pack("{s:s, s:I, s:I, s:I, s:I, s:s, s:I}", "order", number, "event",
				(json_int_t)ush_db_int(rows, 1), "seats",
				(json_int_t)ush_db_int(rows, 2), "total",
				(json_int_t)ush_db_int(rows, 3), "refunded",
				(json_int_t)ush_db_int(rows, 4), "currency", ush_db_text(rows, 5),
				"sold_us", (json_int_t)ush_db_int(rows, 6)));
	}
	rows = ush_db_query(conn,
		"SELECT event, seats, made_us FROM orders_waits WHERE \"user\" = ?", "i",
		(int64_t)user);
	while (ush_db_next(rows))
		json_array_append_new(waits,
			json_pack("{s:I, s:I, s:I}", "event", (json_int_t)ush_db_int(rows, 0),
				"seats", (json_int_t)ush_db_int(rows, 1), "made_us",
				(json_int_t)ush_db_int(rows, 2)));
	*out = json_pack("{s:o, s:o, s:o}", "orders", orders, "waitlists", waits, "transfers",
		take_transfers(conn, user));
	return ush_db_error(conn, NULL);
}

static int drop(struct ush_db_conn *conn, uint64_t user)
{
	ush_db_exec(conn, "DELETE FROM orders_waits WHERE \"user\" = ?", "i", (int64_t)user);
	/* Their keys are texts that the client chose. The count of ids stays: usherd knows it. */
	ush_db_exec(conn, "DELETE FROM orders_requests WHERE \"user\" = ?", "i", (int64_t)user);
	return ush_db_error(conn, NULL);
}

void orders_keep_open(void)
{
	ush_people_keeper(NULL, "orders", take, drop);
}
