/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tickets/ keeps about a person: which seats' newest ticket is theirs. It stays when an
 * account is deleted, under the account's number: gates let in by it, and a refund kills by it.
 */
#include <inttypes.h>
#include <stdio.h>

#include "people/people.h"
#include "tickets/issue.h"

static int take(struct ush_db_conn *conn, uint64_t user, json_t **out)
{
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT event, seat_row, seat_bit, serial, hold, alive, changed_us FROM"
		" tickets_seats WHERE owner = ? ORDER BY event, seat_row, seat_bit",
		"i", (int64_t)user);
	char id[64], order[24];

	*out = json_array();
	while (ush_db_next(rows)) {
		/* As in /v1/tickets/{ticket}.png. */
		snprintf(id, sizeof(id), "%" PRId64 "-%" PRId64 "-%" PRId64 "-%" PRId64,
			ush_db_int(rows, 0), ush_db_int(rows, 1), ush_db_int(rows, 2),
			ush_db_int(rows, 3));
		snprintf(order, sizeof(order), "%" PRIu64, (uint64_t)ush_db_int(rows, 4));
		json_array_append_new(
			*out, json_pack("{s:s, s:I, s:I, s:s, s:b, s:I}", "ticket", id, "event",
				      (json_int_t)ush_db_int(rows, 0), "serial",
				      (json_int_t)ush_db_int(rows, 3), "order", order, "valid",
				      ush_db_int(rows, 5) != 0, "changed_us",
				      (json_int_t)ush_db_int(rows, 6)));
	}
	return ush_db_error(conn, NULL);
}

static int drop(struct ush_db_conn *conn, uint64_t user)
{
	(void)conn;
	(void)user;
	return 0;
}

void tickets_keep_open(void)
{
	ush_people_keeper(NULL, "tickets", take, drop);
}
