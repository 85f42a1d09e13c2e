/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A task hears something, the saga decides, the row is written, and when that is durable the task
 * acts; the answer is heard. One thing at a time for each task.
 *
 * Failure modes: a row that cannot be written now is written later, and nothing is done before. A
 * process that is killed anywhere begins with what was written and does that step again; every step
 * may be done twice.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "payments/task.h"

#define BACK_OFF_MAX 64
#define OPEN_MAX 100000 /* payments under way that are taken up at the start; guess */

/* ---- for tests ---- */

void task_point(struct ush_driver *driver, const char *kind, const char *what, const char *when)
{
	char name[64];

	if (driver->stop_at[0] == '\0')
		return;
	snprintf(name, sizeof(name), "%s.%s.%s", kind, what, when);
	if (strcmp(name, driver->stop_at) != 0 || driver->stop_count == 0)
		return;
	if (--driver->stop_count > 0)
		return;
	fprintf(stderr, "{\"event\":\"point\",\"name\":\"%s\"}\n", name);
	raise(SIGSTOP);
}

static const char *step_of(const struct task *task)
{
	return task->is_back ? ush_back_step_name(task->back.back.step)
			     : ush_pay_step_name(task->pay.pay.step);
}

static const char *kind_of(const struct task *task)
{
	return task->is_back ? "back" : "pay";
}

/* ---- the table of tasks ---- */

static struct task **bucket(struct ush_driver *driver, int64_t id)
{
	return &driver->buckets[ush_mix64((uint64_t)id) % 4096];
}

struct task *task_find(struct ush_driver *driver, int64_t id, bool is_back)
{
	struct task *task = *bucket(driver, id);

	while (task != NULL &&
		(task->is_back != is_back || (is_back ? task->back.id : task->pay.id) != id))
		task = task->next;
	return task;
}

static void on_timer(evutil_socket_t fd, short what, void *context);

struct task *task_new(struct ush_driver *driver, int64_t id, bool is_back)
{
	struct task *task = calloc(1, sizeof(*task)), **first = bucket(driver, id);

	USH_ASSERT(task != NULL);
	task->driver = driver;
	task->is_back = is_back;
	*(is_back ? &task->back.id : &task->pay.id) = id;
	task->timer = evtimer_new(driver->config.base, on_timer, task);
	USH_ASSERT(task->timer != NULL);
	task->next = *first;
	*first = task;
	*(is_back ? &driver->backs : &driver->pays) += 1;
	return task;
}

static void task_free(struct task *task)
{
	struct ush_driver *driver = task->driver;
	struct task **at = bucket(driver, task->is_back ? task->back.id : task->pay.id);

	while (*at != task)
		at = &(*at)->next;
	*at = task->next;
	*(task->is_back ? &driver->backs : &driver->pays) -= 1;
	event_free(task->timer);
	free(task);
}

/* ---- what is heard ---- */

static bool is_over(const struct task *task)
{
	return task->is_back ? ush_back_is_over(&task->back.back) : ush_pay_is_over(&task->pay.pay);
}

/* Tells who waits, if it is time to. */
static void tell(struct task *task)
{
	ush_driver_pay_done *pay_done = task->pay_done;
	ush_driver_back_done *back_done = task->back_done;

	if (pay_done != NULL && (is_over(task) || task->pay.pay.step >= USH_PAY_WAIT)) {
		task->pay_done = NULL;
		pay_done(task->context, 0, &task->pay);
	}
	if (back_done != NULL && is_over(task)) {
		task->back_done = NULL;
		back_done(task->context, 0, &task->back);
	}
}

static void pause_task(struct task *task)
{
	const struct ush_driver_config *config = &task->driver->config;
	bool waits = !task->is_back && task->pay.pay.step == USH_PAY_WAIT;
	uint32_t ms = waits ? config->poll_ms
			    : config->back_off_ms << (task->tries < 6 ? task->tries : 6);
	int64_t left_us = task->pay.pay_by_us - rows_now_us();
	struct timeval delay;

	if (waits && left_us > 0 && left_us / 1000 < ms)
		ms = (uint32_t)(left_us / 1000) + 1;
	if (task->hint || task->cancel)
		ms = 0;
	task->tries += !waits;
	task->busy = false;
	delay.tv_sec = ms / 1000;
	delay.tv_usec = ms % 1000 * 1000;
	evtimer_add(task->timer, &delay);
}

static void go_on(struct task *task)
{
	tell(task);
	if (is_over(task)) {
		struct ush_driver *driver = task->driver;
		bool fill = task->is_back || driver->cancelled || task->lost;

		task_free(task);
		if (fill)
			task_fill(driver);
		return;
	}
	if (task->action == USH_PAY_DO_PAUSE)
		pause_task(task);
	else if (task->is_back)
		task_act_back(task, (enum ush_back_action)task->action);
	else
		task_act_pay(task, (enum ush_pay_action)task->action);
}

static_assert((int)USH_PAY_DO_PAUSE == (int)USH_BACK_DO_PAUSE, "one pause");

/* A refund that was read before it was over, and begun after, is over; it is as it was kept. */
static int save_back(struct ush_db_conn *conn, struct task *task)
{
	int saved = task->back.back.step == USH_BACK_BEGIN
			    ? rows_back_begin(conn, &task->back, &task->second)
			    : rows_back_save(conn, &task->back);

	if (saved == 0) {
		task->second = false;
		saved = rows_back_get(conn, task->back.id, &task->back);
	}
	return saved == 1 ? 0 : -USH_EIO;
}

static int save_job(struct ush_db_conn *conn, void *context)
{
	struct task *task = context;
	char dispute[64];
	int lost;

	task->second = false;
	task->lost = false;
	if (task->is_back)
		return save_back(conn, task);
	if (rows_pay_save(conn, &task->pay) < 0)
		return -USH_EIO;
	if (task->pay.pay.step != USH_PAY_SOLD)
		return 0;
	/* A dispute that was lost before this had no seats to release. */
	lost = rows_lost(conn, task->pay.id, dispute);
	task->lost = lost > 0;
	return lost > 0 ? rows_lost_dispute(conn, task->driver, dispute, task->pay.id) : lost;
}

static void on_saved(void *context, int result)
{
	struct task *task = context;

	if (result == -USH_ESTOPPED || task->driver->closing)
		return;
	if (result != 0) {
		/* Still dirty: the timer writes it again. */
		const struct timeval delay = {.tv_usec = 500000};

		evtimer_add(task->timer, &delay);
		return;
	}
	if (task->second) {
		/* One refund of a payment at a time: usherd would take two of the same seats for
		 * one. */
		task->back.back.step = USH_BACK_LOOK;
		task->action = USH_BACK_DO_PAUSE;
	}
	task_point(task->driver, kind_of(task), step_of(task), "saved");
	task->dirty = false;
	go_on(task);
}

static void save(struct task *task)
{
	task->dirty = true;
	task_point(task->driver, kind_of(task), step_of(task), "saving");
	ush_db_run(task->driver->config.db, USH_DB_WRITE, save_job, on_saved, task);
}

void task_hear(struct task *task, int event)
{
	const struct ush_pay pay = task->pay.pay;
	const struct ush_back back = task->back.back;

	if (task->driver->closing)
		return;
	if (task->is_back) {
		task->action =
			(int)ush_back_step(&back, (enum ush_back_event)event, &task->back.back);
		/* Counted before it is asked: whether an answer is that of a repeat. */
		if (task->action == USH_BACK_DO_BEGIN) {
			task->back.asked++;
			task->dirty = true;
		}
	} else {
		task->action = (int)ush_pay_step(&pay, (enum ush_pay_event)event, &task->pay.pay);
	}
	if (task->is_back
			? back.step != task->back.back.step || back.refund != task->back.back.refund
			: memcmp(&pay, &task->pay.pay, sizeof(pay)) != 0)
		task->dirty = true;
	if (!task->is_back && is_over(task))
		task->pay.secret[0] = '\0';
	task->busy = true;
	/* Asked again after a pause, it is still the same that is asked. */
	if (task->is_back ? back.step != task->back.back.step : pay.step != task->pay.pay.step)
		task->tries = 0;
	if (task->dirty)
		save(task);
	else
		go_on(task);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct task *task = context;
	int event = USH_PAY_RESUME;
	bool payer = task->pay.pay.step == USH_PAY_CREATE || task->pay.pay.step == USH_PAY_WAIT;

	(void)fd;
	(void)what;
	if (task->dirty) {
		save(task);
		return;
	}
	if (task->is_back) {
		task_hear(task, USH_BACK_RESUME);
		return;
	}
	if (payer && rows_now_us() >= task->pay.pay_by_us)
		event = USH_PAY_TIME;
	else if (task->cancel && payer)
		event = USH_PAY_CANCEL;
	else if (task->hint)
		event = USH_PAY_HINT;
	task->hint = false;
	if (event == USH_PAY_CANCEL || !payer)
		task->cancel = false;
	task_hear(task, event);
}

static void wake(struct task *task)
{
	const struct timeval now = {0};

	if (!task->busy && !task->dirty && !task->driver->closing)
		evtimer_add(task->timer, &now);
}

/* ---- life ---- */

struct resume {
	struct ush_driver *driver;
	int64_t *ids;
	struct ush_pay_row *rows;
	uint32_t count;
};

static int resume_job(struct ush_db_conn *conn, void *context)
{
	struct resume *resume = context;
	struct ush_db_rows *rows = ush_db_query(conn,
		"SELECT id FROM payments_attempts WHERE step < 10 ORDER BY created_us LIMIT ?", "i",
		(int64_t)OPEN_MAX);

	resume->count = 0;
	while (ush_db_next(rows) && resume->count < OPEN_MAX)
		resume->ids[resume->count++] = ush_db_int(rows, 0);
	ush_db_end(rows);
	resume->rows = realloc(resume->rows, (resume->count + 1) * sizeof(resume->rows[0]));
	USH_ASSERT(resume->rows != NULL);
	for (uint32_t i = 0; i < resume->count; i++)
		if (rows_pay_get(conn, resume->ids[i], &resume->rows[i]) != 1)
			return -USH_EIO;
	return 0;
}

static int take_up(struct ush_driver *driver, struct ush_message *message)
{
	struct resume resume = {.driver = driver};
	int result;

	resume.ids = malloc(OPEN_MAX * sizeof(resume.ids[0]));
	USH_ASSERT(resume.ids != NULL);
	result = ush_db_run_now(driver->config.db, USH_DB_READ, resume_job, &resume);
	if (result != 0)
		ush_message_set(message, "the payments under way cannot be read: %s",
			ush_error_text(result));
	for (uint32_t i = 0; result == 0 && i < resume.count; i++) {
		struct task *task = task_new(driver, resume.rows[i].id, false);

		task->pay = resume.rows[i];
		wake(task);
	}
	free(resume.ids);
	free(resume.rows);
	return result;
}

void ush_driver_stop_at(struct ush_driver *driver, const char *text)
{
	const char *colon = text != NULL ? strchr(text, ':') : NULL;

	driver->stop_at[0] = '\0';
	if (text == NULL)
		return;
	snprintf(driver->stop_at, sizeof(driver->stop_at), "%.*s",
		colon != NULL ? (int)(colon - text) : (int)strlen(text), text);
	driver->stop_count = colon != NULL ? (uint32_t)strtoul(colon + 1, NULL, 10) : 1;
}

static void on_fill_timer(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	task_fill(context);
}

int ush_driver_open(struct ush_driver **driver, const struct ush_driver_config *config,
	struct ush_message *message)
{
	struct ush_driver *made = calloc(1, sizeof(*made));
	int result;

	USH_ASSERT(made != NULL);
	USH_ASSERT(config->pay_ms >= 1 && config->pay_ms <= USH_PAY_MS_MAX);
	made->config = *config;
	made->fill_timer = evtimer_new(config->base, on_fill_timer, made);
	USH_ASSERT(made->fill_timer != NULL);
	ush_driver_stop_at(made, config->stop_at);
	result = take_up(made, message);
	if (result != 0) {
		ush_driver_abandon(made);
		return result;
	}
	task_fill(made);
	*driver = made;
	return 0;
}

void ush_driver_abandon(struct ush_driver *driver)
{
	if (driver == NULL)
		return;
	driver->closing = true;
	evtimer_del(driver->fill_timer);
	for (uint32_t i = 0; i < 4096; i++) {
		for (struct task *task = driver->buckets[i]; task != NULL; task = task->next) {
			evtimer_del(task->timer);
			if (task->pay_done != NULL)
				task->pay_done(task->context, -USH_ESTOPPED, NULL);
			if (task->back_done != NULL)
				task->back_done(task->context, -USH_ESTOPPED, NULL);
			task->pay_done = NULL;
			task->back_done = NULL;
		}
	}
}

uint32_t ush_driver_busy(const struct ush_driver *driver)
{
	return driver->pays + driver->backs;
}

/* ---- payments ---- */

struct begin {
	struct ush_driver *driver;
	struct ush_pay_row row;
	uint64_t asker;
	ush_driver_pay_done *done;
	void *context;
	bool found;
};

static int begin_job(struct ush_db_conn *conn, void *context)
{
	struct begin *begin = context;
	int64_t id = 0, others = 0;
	int got = rows_asked(conn, begin->asker, &id);

	if (got == 0)
		got = ush_db_get(conn,
			"SELECT id FROM payments_attempts WHERE hold = ? AND version = ?", "ii",
			(int64_t)begin->row.order.hold, (int64_t)begin->row.order.version, "i",
			&id);
	begin->found = got == 1;
	if (got == 1)
		return rows_pay_get(conn, id, &begin->row) == 1 ? 0 : -USH_EIO;
	if (got < 0 ||
		ush_db_get(conn,
			"SELECT COUNT(*) FROM payments_attempts WHERE hold = ? AND step < 10", "i",
			(int64_t)begin->row.order.hold, "i", &others) != 1)
		return -USH_EIO;
	if (others > 0)
		return -USH_EBUSY;
	if (rows_pay_insert(conn, &begin->row) != 1)
		return -USH_EIO;
	return rows_asks(conn, begin->asker, begin->row.id);
}

static void on_begin(void *context, int result)
{
	struct begin *begin = context;
	struct task *task = NULL;

	if (result == 0)
		task = task_find(begin->driver, begin->row.id, false);
	if (result == 0 && begin->driver->closing)
		result = -USH_ESTOPPED;
	if (result != 0) {
		begin->done(begin->context, result, NULL);
	} else if (begin->found && (task == NULL || task->pay_done != NULL)) {
		begin->done(begin->context, 0, task != NULL ? &task->pay : &begin->row);
	} else {
		if (task == NULL) {
			task = task_new(begin->driver, begin->row.id, false);
			task->pay = begin->row;
			wake(task);
		}
		task->pay_done = begin->done;
		task->context = begin->context;
		if (task->pay.pay.step >= USH_PAY_WAIT)
			tell(task);
	}
	free(begin);
}

void ush_driver_begin(struct ush_driver *driver, const struct ush_pay_order *order, uint64_t asker,
	ush_driver_pay_done *done, void *context)
{
	struct begin *begin = calloc(1, sizeof(*begin));

	USH_ASSERT(begin != NULL);
	begin->driver = driver;
	begin->done = done;
	begin->context = context;
	begin->row.id = rows_new_id();
	begin->row.order = *order;
	begin->asker = asker;
	begin->row.pay.step = USH_PAY_BEGIN;
	begin->row.created_us = rows_now_us();
	ush_db_run(driver->config.db, USH_DB_WRITE, begin_job, on_begin, begin);
}

static int find_job(struct ush_db_conn *conn, void *context)
{
	struct begin *begin = context;

	return rows_pay_get(conn, begin->row.id, &begin->row) == 1 ? 0 : -USH_ENOENT;
}

static void on_found(void *context, int result)
{
	struct begin *begin = context;

	begin->done(begin->context, result, result == 0 ? &begin->row : NULL);
	free(begin);
}

void ush_driver_find(
	struct ush_driver *driver, int64_t id, ush_driver_pay_done *done, void *context)
{
	struct begin *begin = calloc(1, sizeof(*begin));

	USH_ASSERT(begin != NULL);
	begin->driver = driver;
	begin->done = done;
	begin->context = context;
	begin->row.id = id;
	ush_db_run(driver->config.db, USH_DB_READ, find_job, on_found, begin);
}

void ush_driver_cancel(struct ush_driver *driver, int64_t id)
{
	struct task *task = task_find(driver, id, false);

	if (task != NULL) {
		task->cancel = true;
		wake(task);
	}
}

/* ---- webhooks ---- */

struct hook {
	struct ush_driver *driver;
	struct ush_webhook webhook;
	void (*done)(void *context, int result);
	void *context;
	int64_t payment;
	bool lost; /* a dispute */
};

static void keep_dispute(struct ush_db_conn *conn, const struct hook *hook)
{
	const struct ush_webhook *webhook = &hook->webhook;
	int64_t now_us = rows_now_us();

	ush_db_exec(conn,
		"INSERT INTO payments_disputes(id, payment, intent, amount, reason, status, said_s,"
		" created_us, changed_us) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)"
		" ON CONFLICT(id) DO UPDATE SET status = excluded.status, said_s = excluded.said_s,"
		" changed_us = excluded.changed_us WHERE payments_disputes.said_s <= excluded.said_s"
		" AND payments_disputes.status NOT IN ('won', 'lost')",
		"titittiii", webhook->dispute, hook->payment, webhook->intent, webhook->amount,
		webhook->reason, webhook->status, webhook->created_s, now_us, now_us);
}

static int hook_job(struct ush_db_conn *conn, void *context)
{
	struct hook *hook = context;
	int64_t seen = 0, lost = 0, now_us = rows_now_us();

	hook->payment = 0;
	hook->lost = false;
	if (ush_db_get(conn, "SELECT COUNT(*) FROM payments_webhooks WHERE id = ?", "t",
		    hook->webhook.id, "i", &seen) != 1)
		return -USH_EIO;
	if (hook->webhook.intent[0] != '\0' &&
		ush_db_get(conn, "SELECT id FROM payments_attempts WHERE intent = ?", "t",
			hook->webhook.intent, "i", &hook->payment) < 0)
		return -USH_EIO;
	if (seen > 0)
		return 0;
	ush_db_exec(conn, "INSERT INTO payments_webhooks(id, type, received_us) VALUES(?, ?, ?)",
		"tti", hook->webhook.id, hook->webhook.type, now_us);
	ush_db_exec(conn, "DELETE FROM payments_webhooks WHERE received_us < ?", "i",
		now_us - (int64_t)30 * 86400 * 1000000);
	if (hook->webhook.dispute[0] == '\0')
		return ush_db_error(conn, NULL);
	keep_dispute(conn, hook);
	/* By what is kept: one that was won stays won, whatever comes later. */
	if (ush_db_get(conn,
		    "SELECT COUNT(*) FROM payments_disputes WHERE id = ? AND status = 'lost'", "t",
		    hook->webhook.dispute, "i", &lost) != 1)
		return -USH_EIO;
	hook->lost = lost > 0 && hook->payment != 0;
	if (hook->lost)
		return rows_lost_dispute(conn, hook->driver, hook->webhook.dispute, hook->payment);
	return ush_db_error(conn, NULL);
}

static void on_hook(void *context, int result)
{
	struct hook *hook = context;
	struct task *task = NULL;

	if (result == 0 && hook->payment != 0)
		task = task_find(hook->driver, hook->payment, false);
	if (task != NULL) {
		task->hint = true;
		wake(task);
	}
	if (result == 0 && hook->lost)
		task_fill(hook->driver);
	hook->done(hook->context, result);
	free(hook);
}

void ush_driver_webhook(struct ush_driver *driver, const struct ush_webhook *webhook,
	void (*done)(void *context, int result), void *context)
{
	struct hook *hook = calloc(1, sizeof(*hook));

	USH_ASSERT(hook != NULL);
	hook->driver = driver;
	hook->webhook = *webhook;
	hook->done = done;
	hook->context = context;
	ush_db_run(driver->config.db, USH_DB_WRITE, hook_job, on_hook, hook);
}
