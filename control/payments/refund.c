/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Refunds wait as rows; so many of them are tasks. A cancelled event is a row that stays: whenever
 * there is room, what is sold of it and has no refund of all becomes one, so a payment that ends
 * sold after the event was cancelled is found, too.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "payments/internal.h"
#include "payments/task.h"

#define FETCH_MAX 64
#define KEY_BYTES 64

struct ask {
	struct ush_driver *driver;
	struct ush_back_row row;
	char key[KEY_BYTES];
	ush_driver_back_done *done;
	void *context;
	uint32_t event;
	uint64_t asker;
};

/* The payment that a hold was sold by. */
static int find_payment(struct ush_db_conn *conn, uint64_t hold, int64_t *id)
{
	return ush_db_get(conn,
		"SELECT id FROM payments_attempts WHERE step = 10 AND"
		" ((hold = ? AND late = 0) OR sold_hold = ?)",
		"ii", (int64_t)hold, (int64_t)hold, "i", id);
}

static int insert(struct ush_db_conn *conn, struct ush_back_row *row, const char *key)
{
	struct ush_pay_row pay;
	int64_t given_back = 0;

	if (rows_pay_get(conn, row->payment, &pay) != 1)
		return -USH_EIO;
	row->event = pay.order.event;
	if (ush_db_get(conn,
		    "SELECT CAST(COALESCE(SUM(fee), 0) AS BIGINT) FROM payments_refunds WHERE payment = ? AND step < 8",
		    "i", row->payment, "i", &given_back) != 1)
		return -USH_EIO;
	if (row->leg_count == 0 || row->fee > pay.order.fee - given_back)
		row->fee = pay.order.fee - given_back;
	snprintf(row->intent, sizeof(row->intent), "%s", pay.intent);
	return rows_back_insert(conn, row, key) == 1 ? 0 : -USH_EIO;
}

/* What the same request began before, or a refund of the same key, or a new one. */
static int find_or_insert(struct ush_db_conn *conn, struct ask *ask)
{
	int64_t id = 0;
	int got = rows_asked(conn, ask->asker, &id);

	if (got == 0)
		got = ush_db_get(conn, "SELECT id FROM payments_refunds WHERE key = ?", "t",
			ask->key, "i", &id);
	if (got == 1)
		return rows_back_get(conn, id, &ask->row) == 1 ? 0 : -USH_EIO;
	if (got < 0)
		return -USH_EIO;
	got = find_payment(conn, ask->row.hold, &ask->row.payment);
	if (got != 1)
		return got < 0 ? -USH_EIO : -USH_ENOENT;
	return insert(conn, &ask->row, ask->key);
}

static int refund_job(struct ush_db_conn *conn, void *context)
{
	struct ask *ask = context;
	int result = find_or_insert(conn, ask);

	return result != 0 ? result : rows_asks(conn, ask->asker, ask->row.id);
}

/* by: when its row is durable. */
static struct task *begin(struct ush_driver *driver, const struct ush_back_row *row)
{
	struct task *task = task_new(driver, row->id, true);

	task->back = *row;
	task_hear(task, USH_BACK_RESUME);
	return task_find(driver, row->id, true);
}

static void on_refund(void *context, int result)
{
	struct ask *ask = context;
	struct ush_driver *driver = ask->driver;
	struct task *task = NULL;

	if (result == 0 && driver->closing)
		result = -USH_ESTOPPED;
	if (result == 0 && !ush_back_is_over(&ask->row.back)) {
		task = task_find(driver, ask->row.id, true);
		/* Those asked for by name do not queue behind a cancelled event. */
		if (task == NULL)
			task = begin(driver, &ask->row);
	}
	if (task != NULL && task->back_done == NULL && ask->done != NULL) {
		task->back_done = ask->done;
		task->context = ask->context;
	} else if (ask->done != NULL) {
		ask->done(ask->context, result, result == 0 ? &ask->row : NULL);
	}
	free(ask);
}

void ush_driver_refund(struct ush_driver *driver, const char *key, uint64_t asker, uint64_t hold,
	uint64_t user, bool follows, const struct ush_leg *legs, uint32_t leg_count, int64_t fee,
	ush_driver_back_done *done, void *context)
{
	struct ask *ask = calloc(1, sizeof(*ask));

	USH_ASSERT(ask != NULL);
	USH_ASSERT(leg_count <= USH_LEG_COUNT_MAX);
	ask->driver = driver;
	snprintf(ask->key, sizeof(ask->key), "%s", key);
	ask->asker = asker;
	ask->done = done;
	ask->context = context;
	ask->row.id = rows_new_id();
	ask->row.hold = hold;
	ask->row.user = user;
	ask->row.follows = follows;
	if (leg_count > 0)
		memcpy(ask->row.legs, legs, leg_count * sizeof(legs[0]));
	ask->row.leg_count = leg_count;
	ask->row.fee = fee;
	ask->row.back.step = USH_BACK_LOOK;
	ask->row.created_us = rows_now_us();
	ush_db_run(driver->config.db, USH_DB_WRITE, refund_job, on_refund, ask);
}

/* ---- those that wait ---- */

struct fill {
	struct ush_driver *driver;
	struct ush_back_row rows[FETCH_MAX];
	uint32_t count, room;
	int64_t cancelled;
};

/* Refunds that are not over, the oldest first. */
static int fetch_waiting(struct ush_db_conn *conn, struct fill *fill)
{
	int64_t ids[FETCH_MAX];
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT id FROM payments_refunds WHERE step < 7 ORDER BY created_us LIMIT ?", "i",
		(int64_t)fill->room);
	uint32_t count = 0;

	while (ush_db_next(rows) && count < fill->room)
		ids[count++] = ush_db_int(rows, 0);
	ush_db_end(rows);
	for (uint32_t i = 0; i < count; i++)
		if (rows_back_get(conn, ids[i], &fill->rows[fill->count++]) != 1)
			return -USH_EIO;
	return 0;
}

/* A refund of all that a payment bought. */
static int whole_of(struct ush_db_conn *conn, const struct ush_driver *driver, int64_t payment,
	struct ush_back_row *row)
{
	struct ush_pay_row pay;
	int64_t as_of_us;

	if (rows_pay_get(conn, payment, &pay) != 1)
		return -USH_EIO;
	memset(row, 0, sizeof(*row));
	row->id = rows_new_id();
	row->payment = payment;
	row->hold = pay.pay.late ? pay.sold_hold : pay.order.hold;
	row->follows = true;
	if (driver->config.owner != NULL)
		row->user = driver->config.owner(conn, row->hold, &as_of_us);
	if (row->user == 0)
		row->user = pay.order.user;
	row->back.step = USH_BACK_LOOK;
	row->created_us = rows_now_us();
	return 0;
}

int rows_lost_dispute(struct ush_db_conn *conn, const struct ush_driver *driver,
	const char *dispute, int64_t payment)
{
	struct ush_back_row row;
	char key[KEY_BYTES], refund[sizeof(row.refund)];
	int64_t release = 0, id = 0;
	int got = ush_db_get(conn,
		"SELECT p.release FROM payments_attempts a JOIN payments_policies p ON"
		" p.event = a.event WHERE a.id = ? AND a.step = 10",
		"i", payment, "i", &release);

	if (got <= 0 || release == 0)
		return got < 0 ? -USH_EIO : 0;
	snprintf(key, sizeof(key), "dispute-%.50s", dispute);
	got = ush_db_get(conn, "SELECT id FROM payments_refunds WHERE key = ?", "t", key, "i", &id);
	if (got != 0)
		return got < 0 ? -USH_EIO : 0;
	got = whole_of(conn, driver, payment, &row);
	if (got == 0)
		got = insert(conn, &row, key);
	if (got != 0)
		return got;
	/* By this it is known that the money is gone already. */
	snprintf(refund, sizeof(refund), USH_BACK_DISPUTE "%.50s", dispute);
	return ush_db_exec(conn, "UPDATE payments_refunds SET refund = ? WHERE id = ?", "ti",
		       refund, row.id) == 1
		       ? 0
		       : -USH_EIO;
}

/* What is sold of cancelled events becomes refunds, as far as there is room. */
static int fetch_cancelled(struct ush_db_conn *conn, struct fill *fill)
{
	int64_t ids[FETCH_MAX];
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT a.id FROM payments_cancelled c JOIN payments_attempts a ON a.event = c.event"
		" AND a.step = 10 WHERE NOT EXISTS(SELECT 1 FROM payments_refunds r WHERE"
		" r.payment = a.id AND (r.step < 7 OR (r.legs = '' AND (r.step = 7 OR r.key ="
		" 'cancelled-' || a.id)))) LIMIT ?",
		"i", (int64_t)(fill->room - fill->count));
	uint32_t count = 0;

	while (ush_db_next(rows) && count < fill->room - fill->count)
		ids[count++] = ush_db_int(rows, 0);
	ush_db_end(rows);
	for (uint32_t i = 0; i < count; i++) {
		struct ush_back_row *row = &fill->rows[fill->count];
		char key[KEY_BYTES];
		int result = whole_of(conn, fill->driver, ids[i], row);

		snprintf(key, sizeof(key), "cancelled-%" PRId64, ids[i]);
		if (result == 0)
			result = insert(conn, row, key);
		if (result != 0)
			return result;
		fill->count++;
	}
	return 0;
}

static int fill_job(struct ush_db_conn *conn, void *context)
{
	struct fill *fill = context;
	int result;

	fill->count = 0;
	if (ush_db_get(conn, "SELECT COUNT(*) FROM payments_cancelled", "", "i",
		    &fill->cancelled) != 1)
		return -USH_EIO;
	result = fetch_waiting(conn, fill);
	if (result == 0 && fill->count < fill->room)
		result = fetch_cancelled(conn, fill);
	return result != 0 ? result : ush_db_error(conn, NULL);
}

static void on_fill(void *context, int result)
{
	struct fill *fill = context;
	struct ush_driver *driver = fill->driver;
	const struct timeval later = {.tv_sec = 1};

	if (result == -USH_ESTOPPED || driver->closing) {
		free(fill);
		return;
	}
	driver->filling = false;
	if (result == 0)
		driver->cancelled = fill->cancelled > 0;
	else
		evtimer_add(driver->fill_timer, &later);
	for (uint32_t i = 0; result == 0 && i < fill->count; i++) {
		if (task_find(driver, fill->rows[i].id, true) == NULL)
			begin(driver, &fill->rows[i]);
	}
	free(fill);
	if (driver->fill_again) {
		driver->fill_again = false;
		task_fill(driver);
	}
}

void task_fill(struct ush_driver *driver)
{
	uint32_t most =
		driver->config.refunds_max < FETCH_MAX ? driver->config.refunds_max : FETCH_MAX;
	struct fill *fill;

	if (driver->closing)
		return;
	if (driver->filling) {
		driver->fill_again = true;
		return;
	}
	if (driver->backs >= most)
		return;
	fill = calloc(1, sizeof(*fill));
	USH_ASSERT(fill != NULL);
	driver->filling = true;
	fill->driver = driver;
	fill->room = most;
	ush_db_run(driver->config.db, USH_DB_WRITE, fill_job, on_fill, fill);
}

static int cancelled_job(struct ush_db_conn *conn, void *context)
{
	const struct ask *ask = context;

	ush_db_exec(conn,
		"INSERT INTO payments_cancelled(event, created_us) VALUES(?, ?)"
		" ON CONFLICT(event) DO NOTHING",
		"ii", (int64_t)ask->event, rows_now_us());
	return ush_db_error(conn, NULL);
}

static void on_cancelled(void *context, int result)
{
	struct ask *ask = context;

	if (result == 0)
		task_fill(ask->driver);
	if (ask->done != NULL)
		ask->done(ask->context, result, NULL);
	free(ask);
}

void ush_driver_refund_event(
	struct ush_driver *driver, uint32_t event, ush_driver_back_done *done, void *context)
{
	struct ask *ask = calloc(1, sizeof(*ask));

	USH_ASSERT(ask != NULL);
	ask->driver = driver;
	ask->event = event;
	ask->done = done;
	ask->context = context;
	ush_db_run(driver->config.db, USH_DB_WRITE, cancelled_job, on_cancelled, ask);
}
