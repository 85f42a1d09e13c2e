/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For test_entry.py: usher-control with entry/ alone. Who asks stands in headers (X-Test-User,
 * X-Test-Role as a number of enum ush_role, X-Test-Verified), which people/ finds out otherwise.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/log.h"
#include "tests/system/people_by_header.h"

const struct ush_db_step ush_people_schema[] = {
	{"people", 1,
		"CREATE TABLE people_audit_test (number INTEGER PRIMARY KEY, account TEXT, action TEXT, object TEXT, text TEXT);",
		NULL},
	{NULL, 0, NULL, NULL}};

void ush_people_audit(struct ush_db_conn *conn, const struct ush_who *who, const char *action,
	const char *object, const char *text)
{
	ush_db_exec(conn,
		"INSERT INTO people_audit_test(account, action, object, text) VALUES (?, ?, ?, ?)",
		"tttt", who->account, action, object, text);
}

/* Of those who have a telephone (X-Test-Verified: 2) these are fans of each event. */
int ush_people_is_fan(struct ush_db_conn *conn, uint64_t user, uint32_t event)
{
	(void)conn;
	(void)event;
	return user % 7 == 0;
}

/* A seat is held by whoever gets so far. */
static void post_hold(struct ush_http_request *request, void *context)
{
	(void)context;
	ush_http_answer_json(request, 201, json_pack("{s:b}", "held", true));
}

static int lines_job(struct ush_db_conn *conn, void *context)
{
	json_t *lines = *(json_t **)context;
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT account, action, object, text FROM people_audit_test ORDER BY number", "");

	json_array_clear(lines);
	while (ush_db_next(rows))
		json_array_append_new(
			lines, json_pack("[s, s, s, s]", ush_db_text(rows, 0), ush_db_text(rows, 1),
				       ush_db_text(rows, 2), ush_db_text(rows, 3)));
	ush_db_end(rows);
	return ush_db_error(conn, NULL);
}

static void get_audit(struct ush_http_request *request, void *context)
{
	const struct ush_core *core = context;
	json_t *lines = json_array();

	ush_db_run_now(core->db, USH_DB_READ, lines_job, &lines);
	ush_http_answer_json(request, 200,
		json_pack(
			"{s:I, s:o}", "count", (json_int_t)json_array_size(lines), "lines", lines));
}

/* Sets the clock while it runs: {"shift_s": N}. */
static void post_clock(struct ush_http_request *request, void *context)
{
	(void)context;
	ush_core_clock_shift(
		json_integer_value(json_object_get(ush_http_json(request), "shift_s")) * 1000000);
	ush_http_answer_json(request, 200, json_object());
}

static const struct ush_http_route routes[] = {
	{"POST", "/v1/events/{event}/holds", post_hold, USH_HTTP_NO_KEY, 0},
	{"GET", "/test/audit", get_audit, 0, 0},
	{"POST", "/test/clock", post_clock, USH_HTTP_NO_KEY, 1024}, {NULL, NULL, NULL, 0, 0}};

int ush_people_open(
	struct ush_people **people, const struct ush_core *core, struct ush_message *message)
{
	(void)message;
	*people = NULL;
	ush_http_filter_add(core->http, people_by_header, NULL);
	ush_http_routes_add(core->http, routes, (void *)(uintptr_t)core);
	return 0;
}

int ush_people_appoint(struct ush_db *db, const char *mail, enum ush_role role, uint64_t *account,
	struct ush_message *message)
{
	(void)db;
	(void)mail;
	(void)role;
	(void)account;
	(void)message;
	return -USH_EUNSUPPORTED;
}

void ush_people_close(struct ush_people *people)
{
	(void)people;
}
