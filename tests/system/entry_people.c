/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For test_entry.py: usher-control with entry/ alone. Who asks stands in headers (X-Test-User,
 * X-Test-Role as a number of enum ush_role, X-Test-Verified), which people/ finds out otherwise.
 */
#include <stdio.h>
#include <stdlib.h>

#include "people/people.h"

const struct ush_db_step ush_people_schema[] = {
	{"people", 1,
		"CREATE TABLE people_audit_test (account TEXT, action TEXT, object TEXT, text TEXT);",
		NULL},
	{NULL, 0, NULL, NULL}};

static bool filter(struct ush_http_request *request, void *context)
{
	const char *user = ush_http_header(request, "X-Test-User");
	const char *role = ush_http_header(request, "X-Test-Role");
	const char *verified = ush_http_header(request, "X-Test-Verified");
	struct ush_who *who;

	(void)context;
	if (user == NULL)
		return true;
	who = calloc(1, sizeof(*who));
	USH_ASSERT(who != NULL);
	who->user = strtoull(user, NULL, 10);
	who->role = role != NULL ? (enum ush_role)strtoul(role, NULL, 10) : USH_ROLE_BUYER;
	who->verified = verified != NULL ? strtoull(verified, NULL, 10) : 0;
	snprintf(who->account, sizeof(who->account), "u_%llu", (unsigned long long)who->user);
	ush_http_who_set(request, who->account, who, free);
	return true;
}

const struct ush_who *ush_who(const struct ush_http_request *request)
{
	return ush_http_who(request);
}

const struct ush_who *ush_who_must(struct ush_http_request *request, uint32_t roles)
{
	const struct ush_who *who = ush_http_who(request);

	if (who != NULL && (roles >> who->role & 1) != 0)
		return who;
	ush_http_problem(request, who == NULL ? 401 : 403, "not_found", NULL, "who are you?");
	return NULL;
}

void ush_people_keeper(struct ush_people *people, const char *name,
	int (*take)(struct ush_db_conn *conn, uint64_t user, json_t **out),
	int (*drop)(struct ush_db_conn *conn, uint64_t user))
{
	(void)people;
	(void)name;
	(void)take;
	(void)drop;
}

void ush_people_audit(struct ush_db_conn *conn, const struct ush_who *who, const char *action,
	const char *object, const char *text)
{
	ush_db_exec(conn, "INSERT INTO people_audit_test VALUES (?, ?, ?, ?)", "tttt", who->account,
		action, object, text);
}

/* A seat is held by whoever gets so far. */
static void post_hold(struct ush_http_request *request, void *context)
{
	(void)context;
	ush_http_answer_json(request, 201, json_pack("{s:b}", "held", true));
}

static int count_job(struct ush_db_conn *conn, void *context)
{
	return (int)ush_db_get(conn, "SELECT COUNT(*) FROM people_audit_test", "", "i",
		       (int64_t *)context) < 0
		       ? -USH_EIO
		       : 0;
}

static void get_audit(struct ush_http_request *request, void *context)
{
	const struct ush_core *core = context;
	int64_t count = -1;

	ush_db_run_now(core->db, USH_DB_READ, count_job, &count);
	ush_http_answer_json(request, 200, json_pack("{s:I}", "count", (json_int_t)count));
}

static const struct ush_http_route routes[] = {
	{"POST", "/v1/events/{event}/holds", post_hold, USH_HTTP_NO_KEY, 0},
	{"GET", "/test/audit", get_audit, 0, 0}, {NULL, NULL, NULL, 0, 0}};

int ush_people_open(
	struct ush_people **people, const struct ush_core *core, struct ush_message *message)
{
	(void)message;
	*people = NULL;
	ush_http_filter_add(core->http, filter, NULL);
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
