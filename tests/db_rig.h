/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the control plane's database share: two tables, and jobs on them.
 */
#ifndef USH_TESTS_DB_RIG_H
#define USH_TESTS_DB_RIG_H

#include <event2/event.h>
#include <string.h>

#include "db/db.h"
#include "tests/tap.h"

static const char *connection;
static char folder[64];

static const struct ush_db_step step_list[] = {
	{"test", 1,
		"CREATE TABLE test_things(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE,"
		" amount INTEGER NOT NULL DEFAULT 0, share REAL, body BLOB) STRICT;"
		"CREATE INDEX test_amount ON test_things(amount);",
		NULL},
	{"test", 2, "CREATE TABLE test_more(id INTEGER NOT NULL PRIMARY KEY, note TEXT);", NULL},
	{NULL, 0, NULL, NULL},
};
static const struct ush_db_step *const steps[] = {step_list, NULL};

struct rig {
	struct ush_db *db;
	struct event_base *base;
};

static inline int clear_job(struct ush_db_conn *conn, void *context)
{
	(void)context;
	ush_db_exec(conn, "DELETE FROM test_things", "");
	ush_db_exec(conn, "DELETE FROM test_more", "");
	return 0;
}

static inline void rig_open(struct rig *rig)
{
	struct ush_message message = {""};
	int ret;

	rig->base = event_base_new();
	ret = ush_db_open(&rig->db, connection, 3, steps, rig->base, &message);
	if (ret != 0) {
		printf("Bail out! %s\n", message.text);
		exit(1);
	}
	CHECK_EQ(ush_db_run_now(rig->db, USH_DB_WRITE, clear_job, NULL), 0);
}

static inline void rig_close(struct rig *rig)
{
	ush_db_close(rig->db);
	event_base_free(rig->base);
}

static inline int count_job(struct ush_db_conn *conn, void *context)
{
	ush_db_get(conn, "SELECT COUNT(*) FROM test_things", "", "i", context);
	return 0;
}

static inline int fill_some_job(struct ush_db_conn *conn, void *context)
{
	static char text[2000];

	memset(text, 'x', sizeof(text) - 1);
	for (int i = 0; i < 200; i++)
		ush_db_exec(conn, "INSERT INTO test_things(amount, body) VALUES(?, ?)", "ib",
			(int64_t)i, text, sizeof(text));
	(void)context;
	return 0;
}

#endif /* USH_TESTS_DB_RIG_H */
