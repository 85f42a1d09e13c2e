/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of refunds: one refund of a payment at a time, and what is over stays over, whoever still
 * has it as it was read before.
 *
 * Owns:  a database of its own.
 * Reads: nothing.
 * Never: a provider, usherd, or time.
 */
#include <event2/event.h>
#include <stdlib.h>

#include "db/db.h"
#include "payments/task.h"
#include "tests/tap.h"

static struct ush_db *db;

/* A refund of all of payment 7. */
static struct ush_back_row refund(int64_t id, enum ush_back_step step)
{
	return (struct ush_back_row){.id = id,
		.payment = 7,
		.hold = 70,
		.user = 5,
		.event = 1,
		.amount = 1000,
		.created_us = 1,
		.back = {.step = step}};
}

static int empty_job(struct ush_db_conn *conn, void *context)
{
	(void)context;
	return ush_db_exec(conn, "DELETE FROM payments_refunds", "") < 0 ? -1 : 0;
}

static int insert_job(struct ush_db_conn *conn, void *context)
{
	const struct ush_back_row *row = context;
	char key[32];

	snprintf(key, sizeof(key), "key-%d", (int)row->id);
	CHECK_EQ(rows_back_insert(conn, row, key), 1);
	return ush_db_error(conn, NULL);
}

static void insert(struct ush_back_row row)
{
	CHECK_EQ(ush_db_run_now(db, USH_DB_WRITE, insert_job, &row), 0);
}

struct asked {
	struct ush_back_row row;
	bool second;
	int result;
};

static int begin_job(struct ush_db_conn *conn, void *context)
{
	struct asked *asked = context;

	asked->result = rows_back_begin(conn, &asked->row, &asked->second);
	return ush_db_error(conn, NULL);
}

static int save_job(struct ush_db_conn *conn, void *context)
{
	struct asked *asked = context;

	asked->result = rows_back_save(conn, &asked->row);
	return ush_db_error(conn, NULL);
}

static int get_job(struct ush_db_conn *conn, void *context)
{
	struct ush_back_row *row = context;

	CHECK_EQ(rows_back_get(conn, row->id, row), 1);
	return ush_db_error(conn, NULL);
}

static uint32_t step_of(int64_t id)
{
	struct ush_back_row row = {.id = id};

	CHECK_EQ(ush_db_run_now(db, USH_DB_READ, get_job, &row), 0);
	return (uint32_t)row.back.step;
}

static struct asked begin(int64_t id)
{
	struct asked asked = {.row = refund(id, USH_BACK_BEGIN)};

	CHECK_EQ(ush_db_run_now(db, USH_DB_WRITE, begin_job, &asked), 0);
	CHECK_EQ(asked.result, 1);
	return asked;
}

static void test_one_at_a_time(void)
{
	for (uint32_t other = USH_BACK_LOOK; other <= USH_BACK_FAILED; other++) {
		bool under_way = other > USH_BACK_LOOK && other < USH_BACK_DONE;

		CHECK_EQ(ush_db_run_now(db, USH_DB_WRITE, empty_job, NULL), 0);
		insert(refund(1, (enum ush_back_step)other));
		insert(refund(2, USH_BACK_LOOK));
		CHECK_EQ(begin(2).second, under_way);
		CHECK_EQ(step_of(2), under_way ? USH_BACK_LOOK : USH_BACK_BEGIN);
		CHECK_EQ(step_of(1), other);
	}
}

/* Those of other payments, and itself, are in nobody's way. */
static void test_others(void)
{
	struct ush_back_row other = refund(3, USH_BACK_BEGIN);

	CHECK_EQ(ush_db_run_now(db, USH_DB_WRITE, empty_job, NULL), 0);
	other.payment = 8;
	insert(other);
	insert(refund(2, USH_BACK_LOOK));
	CHECK_EQ(begin(2).second, false);
	CHECK_EQ(begin(2).second, false);
	CHECK_EQ(step_of(2), USH_BACK_BEGIN);
}

static void test_over_stays_over(void)
{
	for (uint32_t over = USH_BACK_DONE; over <= USH_BACK_FAILED; over++) {
		for (uint32_t step = USH_BACK_LOOK; step <= USH_BACK_FAILED; step++) {
			struct asked asked = {.row = refund(1, (enum ush_back_step)step)};

			CHECK_EQ(ush_db_run_now(db, USH_DB_WRITE, empty_job, NULL), 0);
			insert(refund(1, (enum ush_back_step)over));
			CHECK_EQ(ush_db_run_now(db, USH_DB_WRITE, save_job, &asked), 0);
			CHECK_EQ(asked.result, 0);
			CHECK_EQ(step_of(1), over);
		}
	}
}

int main(void)
{
	static const struct ush_db_step *const steps[] = {ush_payments_schema, NULL};
	char folder[] = "/tmp/usher-rows-XXXXXX", where[128];
	struct ush_message message = {""};
	struct event_base *base = event_base_new();

	if (base == NULL || mkdtemp(folder) == NULL)
		return 1;
	snprintf(where, sizeof(where), "sqlite:%s/test.db", folder);
	if (ush_db_open(&db, where, 1, steps, base, &message) != 0) {
		printf("Bail out! %s\n", message.text);
		return 1;
	}
	TAP_RUN(test_one_at_a_time);
	TAP_RUN(test_others);
	TAP_RUN(test_over_stays_over);
	ush_db_close(db);
	event_base_free(base);
	snprintf(where, sizeof(where), "rm -rf %s", folder);
	return system(where) != 0 ? 1 : tap_end();
}
