/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hooks/ keeps about a promoter: endpoints, and what was delivered to them. All of it goes
 * with the account; the operator's own endpoints are nobody's.
 */
#include "hooks/internal.h"

static int take(struct ush_db_conn *conn, uint64_t user, json_t **out)
{
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT hook, url, made_us, disabled_us FROM hooks_endpoints WHERE promoter = ?"
		" ORDER BY hook",
		"i", (int64_t)user);

	*out = json_array();
	while (ush_db_next(rows))
		json_array_append_new(*out,
			json_pack("{s:s, s:s, s:I, s:I}", "hook", ush_db_text(rows, 0), "url",
				ush_db_text(rows, 1), "made_us", (json_int_t)ush_db_int(rows, 2),
				"disabled_us", (json_int_t)ush_db_int(rows, 3)));
	return ush_db_error(conn, NULL);
}

static int drop(struct ush_db_conn *conn, uint64_t user)
{
	/* A promoter's number is that of its account, and never 0. */
	ush_db_exec(conn,
		"DELETE FROM hooks_deliveries WHERE hook IN (SELECT hook FROM hooks_endpoints"
		" WHERE promoter = ?)",
		"i", (int64_t)user);
	ush_db_exec(conn, "DELETE FROM hooks_endpoints WHERE promoter = ?", "i", (int64_t)user);
	return ush_db_error(conn, NULL);
}

void hooks_keep_open(void)
{
	ush_people_keeper(NULL, "hooks", take, drop);
}
