/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model on the event loop: load what the tables say, start the follower, show its batches to
 * watchers at once, write them one transaction after another, tell who listens. A replica looks
 * into the tables instead.
 *
 * Failure modes: a batch that could not be written is written again a second later, for the tables
 * know how far they are. When the follower ends, or the tables stand elsewhere, everything begins
 * again from what the tables say.
 */
#include "orders/hints.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define REPLICA_MS 250
#define PURGE_SECONDS 600u
/* Of one transaction, so that those who wait for one are not kept by many. */
#define WRITE_ROWS_MAX 5000u
/* That wait for the tables, about 0.5 KiB each; then the follower stops until some are written;
 * src: guess. */
#define TAKEN_ROWS_MAX 200000u

static void start_load(struct ush_orders *orders);
static void write_more(struct ush_orders *orders);

static void log_error(const char *what, int error, const struct ush_message *message)
{
	ush_core_log(USH_CORE_ERROR, "orders", what, "error", ush_error_text(error), "why",
		message != NULL ? message->text : "", NULL);
}

static void arm(struct event *timer, uint32_t ms)
{
	struct timeval wait = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};

	evtimer_add(timer, &wait);
}

/* ---- waiting and listening ----------------------------------------------------------------- */

uint64_t ush_orders_sequence(const struct ush_orders *orders)
{
	return orders->state.position.sequence;
}

void ush_orders_listen(struct ush_orders *orders, ush_orders_changed *changed, void *context)
{
	USH_ASSERT(orders->listener_count < ORDERS_LISTENERS_MAX);
	orders->listener[orders->listener_count].changed = changed;
	orders->listener[orders->listener_count++].context = context;
}

static void wait_end(struct orders_wait *wait, int result)
{
	struct orders_wait **at = &wait->orders->waits;

	while (*at != wait)
		at = &(*at)->next;
	*at = wait->next;
	event_del(&wait->timer);
	wait->done(wait->context, result);
	free(wait);
}

static void wait_timer(evutil_socket_t fd, short what, void *context)
{
	struct orders_wait *wait = context;

	(void)fd;
	(void)what;
	wait_end(wait, wait->is_over ? 0 : -USH_EBUSY);
}

void ush_orders_wait(struct ush_orders *orders, uint64_t sequence, uint32_t timeout_ms,
	void (*done)(void *context, int result), void *context)
{
	struct orders_wait *wait = calloc(1, sizeof(*wait));

	USH_ASSERT(wait != NULL);
	*wait = (struct orders_wait){.orders = orders,
		.sequence = sequence,
		.done = done,
		.context = context,
		.is_over = orders->state.position.sequence > sequence,
		.next = orders->waits};
	orders->waits = wait;
	evtimer_assign(&wait->timer, orders->core.base, wait_timer, wait);
	arm(&wait->timer, wait->is_over ? 0 : timeout_ms);
}

/* The tables stand further on. */
static void moved(struct ush_orders *orders, const struct store_state *state)
{
	bool changed = state->change_number != orders->state.change_number;

	orders->state = *state;
	for (struct orders_wait *wait = orders->waits; wait != NULL; wait = wait->next) {
		if (!wait->is_over && wait->sequence < state->position.sequence) {
			wait->is_over = true;
			arm(&wait->timer, 0);
		}
	}
	for (uint32_t i = 0; changed && i < orders->listener_count; i++)
		orders->listener[i].changed(orders->listener[i].context, state->change_number);
}

/* ---- writing ------------------------------------------------------------------------------- */

static int write_job(struct ush_db_conn *conn, void *context)
{
	const struct ush_orders *orders = context;

	return store_write(conn, orders->pending);
}

static void free_batches(struct store_batch **first)
{
	while (*first != NULL) {
		struct store_batch *batch = *first;

		*first = batch->next;
		store_batch_free(batch);
	}
}

static void begin_again(struct ush_orders *orders)
{
	if (orders->follower != NULL) {
		follower_stop(orders->follower);
		orders->follower = NULL;
	}
	free_batches(&orders->pending);
	free_batches(&orders->taken);
	orders->taken_count = 0;
	if (!orders->closing && !orders->loading)
		arm(&orders->again, 1000);
}

static void write_done(void *context, int result)
{
	struct ush_orders *orders = context;
	struct store_state state = orders->state;

	orders->jobs--;
	orders->writing = false;
	if (orders->closing)
		return;
	if (result == -USH_EFOREIGN) {
		log_error("the tables were written by somebody else", result, NULL);
		begin_again(orders);
		return;
	}
	if (result != 0) {
		log_error("orders cannot be written; trying again", result, NULL);
		arm(&orders->again, 1000);
		return;
	}
	while (orders->pending != NULL) {
		struct store_batch *batch = orders->pending;

		state.position = batch->to;
		state.high = ush_max64(state.high, batch->to.sequence);
		state.change_number = batch->change_number;
		state.time_us = batch->time_us;
		orders->pending = batch->next;
		store_batch_free(batch);
	}
	if (orders->follower != NULL)
		follower_durable(orders->follower, &state.position);
	moved(orders, &state);
	write_more(orders);
}

struct terms_ask {
	struct ush_orders *orders;
	uint32_t event;
	struct book_terms terms;
};

static int terms_job(struct ush_db_conn *conn, void *context)
{
	struct terms_ask *ask = context;
	int found = orders_terms_of(conn, ask->event, &ask->terms);

	return found < 0 ? found : 0;
}

static void terms_done(void *context, int result)
{
	struct terms_ask *ask = context;
	struct ush_orders *orders = ask->orders;

	orders->jobs--;
	if (result != 0)
		log_error("the fees of an event cannot be read", result, NULL);
	if (orders->follower != NULL && result == 0)
		follower_terms(orders->follower, ask->event, ask->terms);
	else if (orders->follower != NULL && !orders->closing)
		arm(&orders->second, 200);
	free(ask);
}

static void ask_terms(struct ush_orders *orders, uint32_t event)
{
	struct terms_ask *ask = calloc(1, sizeof(*ask));

	USH_ASSERT(ask != NULL);
	ask->orders = orders;
	ask->event = event;
	orders->jobs++;
	ush_db_run(orders->core.db, USH_DB_READ, terms_job, terms_done, ask);
}

static uint32_t rows_of(const struct store_batch *batch)
{
	return batch->out.change_count + batch->out.row_count;
}

/* What the follower has is shown to watchers without waiting for the tables. */
static void take(struct ush_orders *orders)
{
	struct store_batch **last = &orders->taken;

	if (orders->taken_count > TAKEN_ROWS_MAX)
		return;
	while (*last != NULL)
		last = &(*last)->next;
	*last = follower_take(orders->follower);
	for (struct store_batch *at = *last; at != NULL; at = at->next) {
		live_apply(orders->live, &at->out);
		orders->taken_count += rows_of(at);
	}
}

/* The first of what was taken, a transaction's worth, is to be written. */
static void choose(struct ush_orders *orders)
{
	struct store_batch **last = &orders->pending;
	uint32_t rows = 0;

	while (orders->taken != NULL && rows < WRITE_ROWS_MAX) {
		*last = orders->taken;
		orders->taken = (*last)->next;
		rows += rows_of(*last);
		last = &(*last)->next;
		*last = NULL;
	}
	orders->taken_count -= rows;
}

static void write_more(struct ush_orders *orders)
{
	struct ush_message message;
	int error;

	if (orders->follower == NULL)
		return;
	take(orders);
	if (orders->writing)
		return;
	if (orders->pending == NULL)
		choose(orders);
	if (orders->pending != NULL) {
		orders->writing = true;
		orders->jobs++;
		ush_db_run(orders->core.db, USH_DB_WRITE, write_job, write_done, orders);
		return;
	}
	error = follower_failed(orders->follower, &message);
	if (error != 0) {
		log_error("the journal cannot be followed", error, &message);
		begin_again(orders);
	}
}

static void on_wake(evutil_socket_t fd, short what, void *context)
{
	struct ush_orders *orders = context;
	uint64_t count;
	uint32_t event;

	(void)what;
	if (read(fd, &count, sizeof(count)) < 0 || orders->closing || orders->follower == NULL)
		return;
	event = follower_asks(orders->follower);
	if (event != 0)
		ask_terms(orders, event);
	write_more(orders);
}

static void wake(void *context)
{
	const struct ush_orders *orders = context;
	uint64_t one = 1;

	if (write(orders->wake_fd, &one, sizeof(one)) < 0)
		return;
}

/* ---- loading ------------------------------------------------------------------------------- */

static int load_job(struct ush_db_conn *conn, void *context)
{
	struct ush_orders *orders = context;
	const struct book_source source = {
		.context = (void *)(uintptr_t)orders->core.journal_dir, .image = follower_image};
	int error;

	book_close(orders->loaded);
	free(orders->loaded_terms);
	orders->loaded_terms = NULL;
	orders->loaded_message.text[0] = '\0';
	orders->loaded = book_open(&source);
	if (orders->loaded == NULL)
		return -USH_ENOMEM;
	error = store_state_read(conn, &orders->loaded_state);
	if (error < 0)
		return error;
	error = store_load(conn, orders->loaded, &orders->loaded_message);
	if (error == 0)
		error = store_terms_read(conn, &orders->loaded_terms, &orders->loaded_terms_count);
	return error;
}

static int start_follower(struct ush_orders *orders, struct ush_message *message)
{
	struct follower_config config = {.journal_dir = orders->core.journal_dir,
		.name = orders->reader,
		.from = orders->loaded_state,
		.book = orders->loaded,
		.terms = orders->loaded_terms,
		.terms_count = orders->loaded_terms_count,
		.wake = wake,
		.context = orders};

	orders->loaded = NULL;
	orders->loaded_terms = NULL;
	return follower_start(&orders->follower, &config, message);
}

static void load_done(void *context, int result)
{
	struct ush_orders *orders = context;
	struct ush_message message = orders->loaded_message;

	orders->jobs--;
	orders->loading = false;
	if (orders->closing)
		return;
	if (result == 0) {
		live_load(orders->live, orders->loaded);
		moved(orders, &orders->loaded_state);
		orders->replica_sequence = orders->loaded_state.position.sequence;
		if (!orders->core.read_only)
			result = start_follower(orders, &message);
		else
			arm(&orders->second, REPLICA_MS);
	}
	if (result != 0) {
		log_error("orders cannot begin; trying again", result, &message);
		arm(&orders->again, 1000);
	}
}

static void start_load(struct ush_orders *orders)
{
	orders->loading = true;
	orders->jobs++;
	ush_db_run(orders->core.db, USH_DB_READ, load_job, load_done, orders);
}

static void on_again(evutil_socket_t fd, short what, void *context)
{
	struct ush_orders *orders = context;

	(void)fd;
	(void)what;
	if (orders->follower == NULL && !orders->loading && !orders->writing)
		start_load(orders);
	else if (orders->pending != NULL && !orders->writing) {
		orders->writing = true;
		orders->jobs++;
		ush_db_run(orders->core.db, USH_DB_WRITE, write_job, write_done, orders);
	}
}

/* ---- once a second ------------------------------------------------------------------------- */

struct tick_job {
	struct ush_orders *orders;
	int64_t checked_us;
	int64_t now_us;
	bool purge;
};

static int tick_work(struct ush_db_conn *conn, void *context)
{
	const struct tick_job *tick = context;
	int error = store_checked(conn, tick->checked_us);

	if (error == 0 && tick->purge)
		error = store_purge(conn, tick->now_us);
	return error;
}

static void tick_done(void *context, int result)
{
	struct tick_job *tick = context;

	tick->orders->jobs--;
	if (result == 0 && tick->checked_us != 0)
		tick->orders->checked_us = tick->checked_us;
	free(tick);
}

/* Replicas see from this that the tables are up to date although nothing changes. */
static void tick_primary(struct ush_orders *orders)
{
	struct tick_job *tick;
	uint32_t event;

	if (orders->follower == NULL)
		return;
	/* A question that could not be answered. */
	event = follower_asks(orders->follower);
	if (event != 0)
		ask_terms(orders, event);
	hints_tick(orders);
	if (orders->writing || orders->pending != NULL || orders->taken != NULL)
		return;
	tick = calloc(1, sizeof(*tick));
	USH_ASSERT(tick != NULL);
	*tick = (struct tick_job){.orders = orders,
		.checked_us = follower_checked_us(orders->follower),
		.now_us = ush_core_now_us(),
		.purge = orders->seconds++ % PURGE_SECONDS == 0};
	orders->jobs++;
	ush_db_run(orders->core.db, USH_DB_WRITE, tick_work, tick_done, tick);
}

/* A replica reads the rows that changed since it last looked. */
static int replica_job(struct ush_db_conn *conn, void *context)
{
	struct ush_orders *orders = context;
	struct book_out *out = &orders->replica;
	int error = store_state_read(conn, &orders->loaded_state);

	book_out_free(out);
	if (error < 0)
		return error;
	return store_since(conn, orders->replica_sequence, out);
}

static void replica_done(void *context, int result)
{
	struct ush_orders *orders = context;

	orders->jobs--;
	if (orders->closing)
		return;
	arm(&orders->second, REPLICA_MS);
	if (result != 0) {
		log_error("a replica cannot read", result, NULL);
		return;
	}
	if (orders->loaded_state.generation != orders->state.generation) {
		start_load(orders);
		return;
	}
	live_apply(orders->live, &orders->replica);
	orders->replica_sequence = orders->loaded_state.position.sequence;
	orders->checked_us = orders->loaded_state.checked_us;
	moved(orders, &orders->loaded_state);
}

static void on_second(evutil_socket_t fd, short what, void *context)
{
	struct ush_orders *orders = context;

	(void)fd;
	(void)what;
	if (orders->core.read_only) {
		if (orders->loading)
			return;
		orders->jobs++;
		ush_db_run(orders->core.db, USH_DB_READ, replica_job, replica_done, orders);
		return;
	}
	tick_primary(orders);
	arm(&orders->second, 1000);
}

bool orders_age(struct ush_orders *orders, struct ush_http_request *request)
{
	char text[32];
	int64_t age;

	if (!orders->core.read_only)
		return true;
	age = (ush_core_now_us() - orders->checked_us) / 1000;
	snprintf(text, sizeof(text), "%" PRId64, age < 0 ? 0 : age);
	ush_http_set(request, "Usher-Lag-Ms", text);
	return true;
}

/* ---- life ---------------------------------------------------------------------------------- */

int ush_orders_open(
	struct ush_orders **out, const struct ush_core *core, struct ush_message *message)
{
	struct ush_orders *orders = calloc(1, sizeof(*orders));
	const char *reader = core->setting != NULL ? core->setting(core, "orders", "reader") : NULL;

	if (orders == NULL)
		return -USH_ENOMEM;
	orders->core = *core;
	orders->reader = reader != NULL ? reader : "usher-control";
	orders->live = live_open();
	orders->hints = hints_open();
	orders->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (orders->live == NULL || orders->hints == NULL || orders->wake_fd < 0) {
		ush_message_set(message, "orders: no memory or no descriptor");
		live_close(orders->live);
		hints_close(orders->hints);
		free(orders);
		return -USH_ENOMEM;
	}
	event_assign(
		&orders->wake, core->base, orders->wake_fd, EV_READ | EV_PERSIST, on_wake, orders);
	event_add(&orders->wake, NULL);
	evtimer_assign(&orders->again, core->base, on_again, orders);
	evtimer_assign(&orders->second, core->base, on_second, orders);
	if (!core->read_only)
		arm(&orders->second, 1000);
	orders_routes_live(orders);
	orders_routes_orders(orders);
	if (!core->read_only) {
		orders_routes_holds(orders);
		orders_routes_waits(orders);
		orders_routes_codes(orders);
	}
	orders_keep_open();
	start_load(orders);
	*out = orders;
	return 0;
}

void orders_let_go(struct ush_orders *orders)
{
	if (orders->closed && orders->acts == 0)
		free(orders);
}

void ush_orders_close(struct ush_orders *orders)
{
	orders->closing = true;
	/* Jobs hold on to us: they end first. */
	while (orders->jobs != 0)
		event_base_loop(orders->core.base, EVLOOP_ONCE);
	begin_again(orders);
	event_del(&orders->wake);
	event_del(&orders->again);
	event_del(&orders->second);
	while (orders->waits != NULL)
		wait_end(orders->waits, -USH_ESTOPPED);
	close(orders->wake_fd);
	book_close(orders->loaded);
	free(orders->loaded_terms);
	book_out_free(&orders->replica);
	orders_live_close(orders);
	live_close(orders->live);
	hints_close(orders->hints);
	orders->closed = true;
	orders_let_go(orders);
}
