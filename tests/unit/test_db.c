/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control plane's database: the same tests on SQLite (without arguments, in a folder of its
 * own) and on PostgreSQL (test_db postgresql://...; tests/system/test_db.py starts the server).
 *
 * test_db fill CONNECTION and test_db steps CONNECTION are run by tests/system/test_db.py, which
 * makes the disk full or kills the server meanwhile.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "db/internal.h"
#include "tests/db_rig.h"

/* ---- statements ---- */

static int round_trip_job(struct ush_db_conn *conn, void *context)
{
	static const uint8_t bytes[] = {0, 1, 0xff, '\'', 0};
	struct ush_db_rows *rows;
	size_t count = 0;

	(void)context;
	CHECK_EQ(ush_db_exec(conn,
			 "INSERT INTO test_things(id, name, amount, share, body)"
			 " VALUES(?, ?, ?, ?, ?)",
			 "itidb", (int64_t)7, "it's ? \"name\"", INT64_MIN, 0.1, bytes,
			 sizeof(bytes)),
		1);
	CHECK_EQ(ush_db_exec(conn, "INSERT INTO test_things(id, name, body) VALUES(?, ?, ?)", "itb",
			 (int64_t)8, (const char *)NULL, "", (size_t)0),
		1);
	rows = ush_db_query(conn,
		"SELECT id, name, amount, share, body, '?' FROM test_things"
		" ORDER BY id",
		"");
	CHECK(ush_db_next(rows));
	CHECK_EQ(ush_db_int(rows, 0), 7);
	CHECK(strcmp(ush_db_text(rows, 1), "it's ? \"name\"") == 0);
	CHECK_EQ(ush_db_int(rows, 2), INT64_MIN);
	CHECK(ush_db_double(rows, 3) == 0.1);
	CHECK(memcmp(ush_db_bytes(rows, 4, &count), bytes, sizeof(bytes)) == 0);
	CHECK_EQ(count, sizeof(bytes));
	CHECK(strcmp(ush_db_text(rows, 5), "?") == 0);
	CHECK(ush_db_next(rows));
	CHECK(ush_db_is_null(rows, 1));
	CHECK(ush_db_text(rows, 1) == NULL);
	CHECK(ush_db_is_null(rows, 3));
	CHECK(!ush_db_is_null(rows, 4));
	CHECK(ush_db_bytes(rows, 4, &count) != NULL);
	CHECK_EQ(count, 0);
	CHECK(!ush_db_next(rows));
	CHECK(!ush_db_next(rows));
	return 0;
}

/* Goal: what goes in comes out: numbers at their end, quotes, a question mark in a text, null,
 * empty and binary. Method: one row of each, read back in the same job. */
static void test_db_values_round_trip(void)
{
	struct rig rig;

	rig_open(&rig);
	CHECK_EQ(ush_db_run_now(rig.db, USH_DB_WRITE, round_trip_job, NULL), 0);
	rig_close(&rig);
}

static int get_job(struct ush_db_conn *conn, void *context)
{
	int64_t id = -1, amount = -1;
	char *name = NULL;
	void *body = NULL;
	size_t bytes = 0;
	double share = 0;

	(void)context;
	CHECK_EQ(ush_db_get(
			 conn, "SELECT id FROM test_things WHERE name = ?", "t", "none", "i", &id),
		0);
	CHECK_EQ(id, (uint64_t)-1);
	CHECK_EQ(ush_db_get(conn,
			 "INSERT INTO test_things(name, amount, share, body) VALUES(?, ?, ?, ?)"
			 " RETURNING id",
			 "tidb", "a", (int64_t)5, 2.5, "xyz", (size_t)3, "i", &id),
		1);
	CHECK(id > 0);
	CHECK_EQ(ush_db_get(conn, "SELECT name, amount, share, body FROM test_things WHERE id = ?",
			 "i", id, "tidb", &name, &amount, &share, &body, &bytes),
		1);
	CHECK(name != NULL && strcmp(name, "a") == 0);
	CHECK_EQ(amount, 5);
	CHECK(share == 2.5);
	CHECK(bytes == 3 && memcmp(body, "xyz", 3) == 0);
	free(name);
	free(body);
	CHECK_EQ(ush_db_exec(conn, "UPDATE test_things SET amount = amount + ? WHERE id >= ?", "ii",
			 (int64_t)1, (int64_t)0),
		1);
	CHECK_EQ(ush_db_exec(conn, "DELETE FROM test_things WHERE id = ?", "i", id + 1), 0);
	CHECK_EQ(ush_db_exec(conn, "SELECT id FROM test_things", ""), 0);
	return 0;
}

/* Goal: one row or none, numbers of rows changed, RETURNING. */
static void test_db_get_gives_one_row_or_none(void)
{
	struct rig rig;

	rig_open(&rig);
	CHECK_EQ(ush_db_run_now(rig.db, USH_DB_WRITE, get_job, NULL), 0);
	rig_close(&rig);
}

static int try_job(struct ush_db_conn *conn, void *context)
{
	(void)context;
	ush_db_exec(conn, "INSERT INTO test_things(name) VALUES(?)", "t", "one");
	CHECK_EQ(ush_db_try(conn, "INSERT INTO test_things(name) VALUES(?)", "t", "two"), 1);
	CHECK_EQ(ush_db_try(conn, "INSERT INTO test_things(name) VALUES(?)", "t", "one"),
		(uint64_t)-USH_EEXIST);
	CHECK_EQ(ush_db_error(conn, NULL), 0);
	CHECK_EQ(ush_db_exec(conn, "INSERT INTO test_things(name) VALUES(?)", "t", "three"), 1);
	return 0;
}

static int exec_twice_job(struct ush_db_conn *conn, void *context)
{
	struct ush_message message = {""};

	(void)context;
	ush_db_exec(conn, "INSERT INTO test_things(name) VALUES(?)", "t", "four");
	CHECK_EQ(ush_db_exec(conn, "INSERT INTO test_things(name) VALUES(?)", "t", "four"),
		(uint64_t)-USH_EEXIST);
	/* Everything after it fails, and the text says what did first. */
	CHECK_EQ(ush_db_exec(conn, "INSERT INTO test_things(name) VALUES(?)", "t", "five"),
		(uint64_t)-USH_EEXIST);
	CHECK(!ush_db_next(ush_db_query(conn, "SELECT 1", "")));
	CHECK_EQ(ush_db_error(conn, &message), (uint64_t)-USH_EEXIST);
	CHECK(strstr(message.text, "INSERT INTO test_things(name)") != NULL);
	CHECK(strstr(message.text, "four") == NULL);
	return 0;
}

static int64_t count_of(struct rig *rig)
{
	int64_t count = -1;

	CHECK_EQ(ush_db_run_now(rig->db, USH_DB_READ, count_job, &count), 0);
	return count;
}

/* Goal: a broken key fails the job unless it was tried. */
static void test_db_key_twice_fails_unless_tried(void)
{
	struct rig rig;

	rig_open(&rig);
	CHECK_EQ(ush_db_run_now(rig.db, USH_DB_WRITE, try_job, NULL), 0);
	CHECK_EQ(count_of(&rig), 3);
	CHECK_EQ(ush_db_run_now(rig.db, USH_DB_WRITE, exec_twice_job, NULL), (uint64_t)-USH_EEXIST);
	CHECK_EQ(count_of(&rig), 3);
	rig_close(&rig);
}

#define MANY_COUNT 2500

static int many_rows_job(struct ush_db_conn *conn, void *context)
{
	static const char *const names[] = {
		"", "a,b", "{\"x\\\"}", "NULL", "it's ?", " \n\t", NULL};
	struct ush_db_many *many = ush_db_many(conn,
		"INSERT INTO test_things(id, name, amount) VALUES (?, ?, ?)"
		" ON CONFLICT(id) DO UPDATE SET amount = excluded.amount",
		"iti", 1);
	struct ush_db_rows *rows;
	char name[24];
	int64_t id = 0;

	(void)context;
	/* Each key twice in a row now and then, and all of them twice. */
	for (int64_t i = 0; i < 2 * MANY_COUNT; i++) {
		const char *text = i < 7 ? names[i] : name;

		snprintf(name, sizeof(name), "name %lld", (long long)(i % MANY_COUNT));
		ush_db_many_add(many, i % MANY_COUNT - 3, text, i);
		if (i % 100 == 7)
			ush_db_many_add(many, i % MANY_COUNT - 3, "not taken", -i);
	}
	CHECK_EQ(ush_db_many_end(many), 2 * MANY_COUNT + 2 * MANY_COUNT / 100);
	rows = ush_db_query(conn, "SELECT id, name, amount FROM test_things ORDER BY id", "");
	for (id = 0; ush_db_next(rows); id++) {
		const char *text = ush_db_text(rows, 1);

		snprintf(name, sizeof(name), "name %lld", (long long)id);
		CHECK_EQ(ush_db_int(rows, 0), (uint64_t)(id - 3));
		CHECK_EQ(ush_db_int(rows, 2),
			(uint64_t)((id + MANY_COUNT) % 100 == 7 ? -(id + MANY_COUNT)
								: id + MANY_COUNT));
		CHECK(id == 6 ? text == NULL : strcmp(text, id < 7 ? names[id] : name) == 0);
	}
	CHECK_EQ(id, MANY_COUNT);
	/* None at all is nothing. */
	CHECK_EQ(ush_db_many_end(ush_db_many(
			 conn, "INSERT INTO test_things(id, name) VALUES (?, ?)", "it", 1)),
		0);
	return 0;
}

static int many_twice_job(struct ush_db_conn *conn, void *context)
{
	struct ush_db_many *many =
		ush_db_many(conn, "INSERT INTO test_things(id, name) VALUES (?, ?)", "it", 1);

	(void)context;
	for (int64_t i = 0; i < 1500; i++)
		ush_db_many_add(many, MANY_COUNT + i % 1200, NULL);
	CHECK_EQ(ush_db_many_end(many), (uint64_t)-USH_EEXIST);
	return 0;
}

/* Goal: rows of one statement come in whole and in order, also when a key comes again: the later
 * one counts, or fails the job if there is nothing to do about it. */
static void test_db_many_rows_by_one_statement(void)
{
	struct rig rig;

	rig_open(&rig);
	CHECK_EQ(ush_db_run_now(rig.db, USH_DB_WRITE, many_rows_job, NULL), 0);
	CHECK_EQ(count_of(&rig), MANY_COUNT);
	CHECK_EQ(ush_db_run_now(rig.db, USH_DB_WRITE, many_twice_job, NULL), (uint64_t)-USH_EEXIST);
	CHECK_EQ(count_of(&rig), MANY_COUNT);
	rig_close(&rig);
}

static int refuse_job(struct ush_db_conn *conn, void *context)
{
	(void)context;
	ush_db_exec(conn, "INSERT INTO test_things(name) VALUES(?)", "t", "gone");
	return -USH_ENOENT;
}

static int wrong_job(struct ush_db_conn *conn, void *context)
{
	(void)context;
	ush_db_exec(conn, "INSERT INTO test_things(name) VALUES(?)", "t", "gone");
	ush_db_exec(conn, "INSERT INTO no_such_table(name) VALUES(?)", "t", "gone");
	return 0;
}

static int write_in_read_job(struct ush_db_conn *conn, void *context)
{
	(void)context;
	ush_db_exec(conn, "INSERT INTO test_things(name) VALUES(?)", "t", "gone");
	return 0;
}

/* Goal: nothing stays of a job that returned an error, met one, or wrote while it may only read. */
static void test_db_job_that_fails_leaves_nothing(void)
{
	struct rig rig;

	rig_open(&rig);
	CHECK_EQ(ush_db_run_now(rig.db, USH_DB_WRITE, refuse_job, NULL), (uint64_t)-USH_ENOENT);
	CHECK_EQ(ush_db_run_now(rig.db, USH_DB_WRITE, wrong_job, NULL), (uint64_t)-USH_EINVAL);
	CHECK_EQ(
		ush_db_run_now(rig.db, USH_DB_READ, write_in_read_job, NULL), (uint64_t)-USH_EROFS);
	CHECK_EQ(count_of(&rig), 0);
	rig_close(&rig);
}

static int many_statements_job(struct ush_db_conn *conn, void *context)
{
	char sql[100];
	int64_t value = 0;

	(void)context;
	for (uint32_t i = 0; i < 2 * DB_STATEMENT_COUNT_MAX; i++) {
		snprintf(sql, sizeof(sql), "SELECT %u + COUNT(*) FROM test_things WHERE id = ?", i);
		ush_db_get(conn, sql, "i", (int64_t)1, "i", &value);
		CHECK_EQ(value, i);
	}
	CHECK(conn->statement_count <= DB_STATEMENT_COUNT_MAX);
	return 0;
}

/* Goal: prepared statements stay few, whatever is asked. */
static void test_db_many_statements_are_forgotten(void)
{
	struct rig rig;

	rig_open(&rig);
	CHECK_EQ(ush_db_run_now(rig.db, USH_DB_READ, many_statements_job, NULL), 0);
	CHECK_EQ(ush_db_run_now(rig.db, USH_DB_WRITE, many_statements_job, NULL), 0);
	rig_close(&rig);
}

static int open_cursor_job(struct ush_db_conn *conn, void *context)
{
	struct ush_db_rows *rows = ush_db_query(conn, "SELECT id FROM test_things", "");

	(void)context;
	CHECK(ush_db_next(rows));
	return 0;
}

/* Goal: a cursor that a job forgot harms neither its end nor the next job. */
static void test_db_open_cursor_ends_with_its_job(void)
{
	struct rig rig;

	rig_open(&rig);
	CHECK_EQ(ush_db_run_now(rig.db, USH_DB_WRITE, try_job, NULL), 0);
	for (int i = 0; i < 8; i++)
		CHECK_EQ(ush_db_run_now(rig.db, USH_DB_WRITE, open_cursor_job, NULL), 0);
	rig_close(&rig);
}

/* ---- the loop ---- */

#define JOB_COUNT 200
static atomic_int ran;
static int done_count, done_wrong, last_order;
static struct event_base *running_base;
static pthread_t loop_thread;

static int ordered_job(struct ush_db_conn *conn, void *context)
{
	/* The number of rows is this job's: those before it were committed, none after it was. */
	int64_t before = -1;

	ush_db_get(conn, "SELECT COUNT(*) FROM test_things", "", "i", &before);
	ush_db_exec(
		conn, "INSERT INTO test_things(amount) VALUES(?)", "i", (int64_t)(intptr_t)context);
	atomic_fetch_add(&ran, 1);
	return 0;
}

static void ordered_done(void *context, int result)
{
	int order = (int)(intptr_t)context;

	done_wrong += result != 0 || !pthread_equal(pthread_self(), loop_thread);
	/* SQLite keeps the order. */
	done_wrong += strncmp(connection, "sqlite", 6) == 0 && order != last_order + 1;
	last_order = order;
	if (++done_count == JOB_COUNT)
		event_base_loopbreak(running_base);
}

/* Goal: results come to the loop's thread, each once; in order with SQLite. */
static void test_db_results_come_to_the_loop(void)
{
	struct rig rig;

	rig_open(&rig);
	running_base = rig.base;
	loop_thread = pthread_self();
	done_count = done_wrong = last_order = 0;
	for (int i = 1; i <= JOB_COUNT; i++)
		ush_db_run(rig.db, USH_DB_WRITE, ordered_job, ordered_done, (void *)(intptr_t)i);
	/* Not from within. */
	CHECK_EQ(done_count, 0);
	event_base_dispatch(rig.base);
	CHECK_EQ(done_count, JOB_COUNT);
	CHECK_EQ(done_wrong, 0);
	CHECK_EQ(count_of(&rig), JOB_COUNT);
	rig_close(&rig);
}

static int bump_job(struct ush_db_conn *conn, void *context)
{
	int64_t amount = -1;

	(void)context;
	/* Read, then write: two at once would lose one without serializable transactions. */
	ush_db_get(conn, "SELECT amount FROM test_things WHERE name = ?", "t", "sum", "i", &amount);
	ush_db_exec(
		conn, "UPDATE test_things SET amount = ? WHERE name = ?", "it", amount + 1, "sum");
	return 0;
}

static int sum_begin_job(struct ush_db_conn *conn, void *context)
{
	(void)context;
	ush_db_exec(conn, "INSERT INTO test_things(name, amount) VALUES(?, ?)", "ti", "sum",
		(int64_t)0);
	return 0;
}

static int sum_job(struct ush_db_conn *conn, void *context)
{
	ush_db_get(conn, "SELECT amount FROM test_things WHERE name = 'sum'", "", "i", context);
	return 0;
}

static void bump_done(void *context, int result)
{
	(void)context;
	done_wrong += result != 0;
	if (++done_count == JOB_COUNT)
		event_base_loopbreak(running_base);
}

/* Goal: jobs that read and then write the same row lose nothing, with several at once; failures to
 * serialize are repeated without anybody seeing them. */
static void test_db_jobs_serialize(void)
{
	struct rig rig;
	int64_t sum = -1;

	rig_open(&rig);
	running_base = rig.base;
	done_count = done_wrong = 0;
	CHECK_EQ(ush_db_run_now(rig.db, USH_DB_WRITE, sum_begin_job, NULL), 0);
	for (int i = 0; i < JOB_COUNT; i++)
		ush_db_run(rig.db, USH_DB_WRITE, bump_job, bump_done, NULL);
	event_base_dispatch(rig.base);
	CHECK_EQ(done_wrong, 0);
	CHECK_EQ(ush_db_run_now(rig.db, USH_DB_READ, sum_job, &sum), 0);
	CHECK_EQ(sum, JOB_COUNT);
	rig_close(&rig);
}

static atomic_int gate_open;
static int stopped_count, good_count, busy_count;

static int gated_job(struct ush_db_conn *conn, void *context)
{
	(void)conn;
	(void)context;
	atomic_fetch_add(&ran, 1);
	while (atomic_load(&gate_open) == 0)
		usleep(1000);
	return 0;
}

static void sorted_done(void *context, int result)
{
	(void)context;
	stopped_count += result == -USH_ESTOPPED;
	busy_count += result == -USH_EBUSY;
	good_count += result == 0;
}

static void *open_gate(void *context)
{
	(void)context;
	usleep(100000);
	atomic_store(&gate_open, 1);
	return NULL;
}

/* Goal: more jobs than may wait are refused; the end drops those that wait, and every one of them
 * hears of it. Method: a gate that jobs stand at. */
static void test_db_end_and_overload_answer_every_job(void)
{
	struct rig rig;
	int submitted = 9000;

	rig_open(&rig);
	atomic_store(&ran, 0);
	stopped_count = good_count = busy_count = 0;
	atomic_store(&gate_open, 0);
	for (int i = 0; i < submitted; i++)
		ush_db_run(rig.db, USH_DB_WRITE, gated_job, sorted_done, NULL);
	/* The end waits for the jobs that run; the gate opens in a moment. */
	{
		pthread_t opener;
		int started;

		pthread_create(&opener, NULL, open_gate, NULL);
		do
			started = atomic_load(&ran);
		while (started == 0);
		rig_close(&rig);
		pthread_join(opener, NULL);
	}
	CHECK_EQ(stopped_count + good_count + busy_count, submitted);
	CHECK(busy_count > 0);
	CHECK(stopped_count > 0);
	CHECK_EQ(good_count, atomic_load(&ran));
}

/* ---- schema ---- */

/* Goal: a step runs once, one that was changed or is unknown ends the start. */
static void test_db_schema_knows_what_ran(void)
{
	struct ush_db_step changed[3], fewer[2];
	const struct ush_db_step *lists[] = {changed, NULL};
	struct ush_message message = {""};
	struct ush_db *db = NULL;
	struct rig rig;

	rig_open(&rig);
	rig_close(&rig);
	CHECK_EQ(ush_db_open(&db, connection, 1, steps, NULL, &message), 0);
	ush_db_close(db);
	memcpy(changed, step_list, sizeof(changed));
	changed[1].sqlite = "CREATE TABLE test_more(id INTEGER NOT NULL PRIMARY KEY);";
	CHECK_EQ(ush_db_open(&db, connection, 1, lists, NULL, &message), (uint64_t)-USH_EVERSION);
	CHECK(strstr(message.text, "step 2 of test") != NULL);
	memcpy(fewer, step_list, sizeof(fewer));
	fewer[1] = (struct ush_db_step){0};
	lists[0] = fewer;
	CHECK_EQ(ush_db_open(&db, connection, 1, lists, NULL, &message), (uint64_t)-USH_EVERSION);
	CHECK(strstr(message.text, "newer") != NULL);
}

/* ---- for tests/system/test_db.py ---- */

/* Fills the disk until it is full, shows that it can still read, and that it goes on when there is
 * room again. */
static int run_fill(void)
{
	struct ush_message message = {""};
	struct ush_db *db;
	int64_t count = -1, after = -1;
	int ret = ush_db_open(&db, connection, 1, steps, NULL, &message), rounds = 0;
	char line[16];

	if (ret != 0) {
		printf("open %d %s\n", ret, message.text);
		return 1;
	}
	while (ret == 0 && rounds < 1000) {
		ret = ush_db_run_now(db, USH_DB_WRITE, fill_some_job, NULL);
		rounds += ret == 0;
	}
	printf("full %d after %d\n", ret, rounds);
	ret = ush_db_run_now(db, USH_DB_READ, count_job, &count);
	printf("count %d %d\n", ret, count == rounds * 200);
	fflush(stdout);
	if (fgets(line, sizeof(line), stdin) == NULL)
		return 1;
	ret = ush_db_run_now(db, USH_DB_WRITE, fill_some_job, NULL);
	ush_db_run_now(db, USH_DB_READ, count_job, &after);
	printf("again %d %d\n", ret, after == count + 200);
	ush_db_close(db);
	return 0;
}

/* One job that says where it stands and waits to be told to go on. */
static int steps_job(struct ush_db_conn *conn, void *context)
{
	char line[16];
	int64_t backend = 0;
	int *attempt = context;

	ush_db_exec(conn, "INSERT INTO test_things(name, amount) VALUES('kill', ?)", "i",
		(int64_t)++ * attempt);
	ush_db_get(conn, "SELECT pg_backend_pid()", "", "i", &backend);
	printf("attempt %d backend %lld error %d\n", *attempt, (long long)backend,
		ush_db_error(conn, NULL));
	fflush(stdout);
	if (ush_db_error(conn, NULL) == 0 && fgets(line, sizeof(line), stdin) == NULL)
		return -USH_ESYSTEM;
	ush_db_exec(conn, "INSERT INTO test_things(name, amount) VALUES('kill2', ?)", "i",
		(int64_t)*attempt);
	return 0;
}

static int run_steps(void)
{
	struct ush_message message = {""};
	int64_t count = -1;
	struct ush_db *db;
	int attempt = 0, ret = ush_db_open(&db, connection, 1, steps, NULL, &message);

	if (ret == 0)
		ret = ush_db_run_now(db, USH_DB_WRITE, clear_job, NULL);
	if (ret != 0) {
		printf("open %d %s\n", ret, message.text);
		return 1;
	}
	ret = ush_db_run_now(db, USH_DB_WRITE, steps_job, &attempt);
	printf("result %d attempts %d\n", ret, attempt);
	ret = ush_db_run_now(db, USH_DB_READ, count_job, &count);
	printf("count %d %lld\n", ret, (long long)count);
	ush_db_close(db);
	return 0;
}

static int cancelled_job(struct ush_db_conn *conn, void *context)
{
	int64_t one = 0;

	(void)context;
	ush_db_exec(conn, "INSERT INTO test_things(id) VALUES(?)", "i", (int64_t)1);
	ush_db_exec(conn, "SET LOCAL statement_timeout = 20", "");
	ush_db_get(conn, "SELECT 1 FROM pg_sleep(5)", "", "i", &one);
	return 0;
}

/* Goal: a statement that the server cancelled (its time was over, or somebody asked for it) is not
 * taken for the end of the pool, after which nobody tries again. */
static void test_db_cancelled_statement_is_not_the_end(void)
{
	struct rig rig;

	rig_open(&rig);
	CHECK_EQ(ush_db_run_now(rig.db, USH_DB_WRITE, cancelled_job, NULL), (uint64_t)-USH_EBUSY);
	CHECK_EQ(count_of(&rig), 0);
	rig_close(&rig);
}

static void run_both(void)
{
	TAP_RUN(test_db_values_round_trip);
	TAP_RUN(test_db_get_gives_one_row_or_none);
	TAP_RUN(test_db_key_twice_fails_unless_tried);
	TAP_RUN(test_db_many_rows_by_one_statement);
	TAP_RUN(test_db_job_that_fails_leaves_nothing);
	TAP_RUN(test_db_many_statements_are_forgotten);
	TAP_RUN(test_db_open_cursor_ends_with_its_job);
	TAP_RUN(test_db_results_come_to_the_loop);
	TAP_RUN(test_db_jobs_serialize);
	TAP_RUN(test_db_end_and_overload_answer_every_job);
	TAP_RUN(test_db_schema_knows_what_ran);
}

int main(int argc, char **argv)
{
	char where[128];

	if (argc == 3) {
		connection = argv[2];
		return strcmp(argv[1], "fill") == 0 ? run_fill() : run_steps();
	}
	if (argc == 2) {
		connection = argv[1];
		run_both();
		TAP_RUN(test_db_cancelled_statement_is_not_the_end);
		return tap_end();
	}
	snprintf(folder, sizeof(folder), "/tmp/usher-db-XXXXXX");
	if (mkdtemp(folder) == NULL)
		return 1;
	snprintf(where, sizeof(where), "sqlite:%s/test.db", folder);
	connection = where;
	run_both();
	snprintf(where, sizeof(where), "rm -rf %.60s", folder);
	if (system(where) != 0)
		return 1;
	return tap_end();
}
