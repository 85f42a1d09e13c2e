/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Availability over HTTP: the plan by its hash, the snapshot, and what changes as server-sent
 * events. A frame is formatted once for all watchers of an event, at most five times a second, less
 * often when there is much to send.
 *
 * Failure modes: a watcher that does not read is closed by the server and comes back with
 * Last-Event-ID; it gets all that changed since in one frame. One that names a sequence that this
 * journal has not reached is told to reload.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orders/internal.h"
#include "orders/map.h"

#define TICK_MS 100
#define FRAME_US_MIN 200000
#define FRAME_US_MAX 800000
/* What one event's watchers are sent a second at most, so that the loop has time; src: guess. */
#define WATCH_BYTES_MAX 20000000ull
/* Plans kept as text. */
#define PLANS_MAX 64u

struct watcher {
	struct ush_http_stream *stream;
	struct live_event *event;
	struct watcher *next;
	struct watcher **at;
};

struct plan {
	uint32_t event;
	uint64_t digest;
	char hash[65];
	char *text;
	size_t bytes;
	uint64_t used;
};

/* One for each server. */
struct live_http {
	struct ush_orders *orders;
	struct event tick;
	struct asked_plan *asked; /* being made */
	struct plan plan[PLANS_MAX];
	uint32_t plan_count;
	uint64_t uses;
};

/* ---- plans --------------------------------------------------------------------------------- */

struct plan_wait {
	struct ush_http_request *request;
	struct plan_wait *next;
};

/* A plan that is being made, once for all that ask for it meanwhile: that takes tens of
 * milliseconds, and a crowd asks at once. */
struct asked_plan {
	struct live_http *http;
	struct asked_plan *next;
	struct plan_wait *waits;
	char hash[65]; /* that was asked for; "": the plan that the event has */
	struct plan plan;
	bool found;
	bool known; /* its hash is in the table */
};

static const struct plan *plan_find(
	struct live_http *http, const char *hash, uint32_t event, uint64_t digest)
{
	for (uint32_t i = 0; i < http->plan_count; i++) {
		struct plan *plan = &http->plan[i];

		if (hash != NULL ? strcmp(plan->hash, hash) == 0
				 : plan->event == event && plan->digest == digest) {
			plan->used = ++http->uses;
			return plan;
		}
	}
	return NULL;
}

static void plan_keep(struct live_http *http, const struct plan *plan)
{
	uint32_t at = 0;

	if (http->plan_count < PLANS_MAX) {
		at = http->plan_count++;
	} else {
		for (uint32_t i = 1; i < PLANS_MAX; i++) {
			if (http->plan[i].used < http->plan[at].used)
				at = i;
		}
		free(http->plan[at].text);
	}
	http->plan[at] = *plan;
	http->plan[at].used = ++http->uses;
}

static void plan_answer(struct ush_http_request *request, const struct plan *plan, bool by_hash)
{
	char where[100];

	if (by_hash) {
		ush_http_set(request, "Cache-Control", "public, max-age=31536000, immutable");
		ush_http_answer(request, 200, "application/json", plan->text, plan->bytes);
		return;
	}
	snprintf(where, sizeof(where), "/v1/maps/%s", plan->hash);
	ush_http_set(request, "Location", where);
	ush_http_set(request, "Cache-Control", "public, max-age=10");
	ush_http_answer_json(request, 307, json_pack("{ss}", "map", where));
}

/* Makes the plan: no work for the connection that writes, for which orders and payments wait. */
static int plan_job(struct ush_db_conn *conn, void *context)
{
	struct asked_plan *asked = context;
	struct plan *plan = &asked->plan;
	struct ush_message message = {.text = ""};
	int64_t event = plan->event, digest = (int64_t)plan->digest;
	size_t bytes;
	void *image;
	int error;

	if (asked->hash[0] != '\0') {
		int found = ush_db_get(conn, "SELECT event, digest FROM orders_maps WHERE hash = ?",
			"t", asked->hash, "ii", &event, &digest);

		asked->found = found == 1;
		if (found != 1)
			return found;
		plan->event = (uint32_t)event;
		plan->digest = (uint64_t)digest;
	}
	asked->found = true;
	free(plan->text);
	plan->text = NULL;
	error = follower_image((void *)(uintptr_t)asked->http->orders->core.journal_dir,
		plan->event, plan->digest, &image, &bytes, &message);
	if (error == 0) {
		error = map_make(image, bytes, &plan->text, &plan->bytes, plan->hash, &message);
		free(image);
	}
	if (error != 0) {
		ush_core_log(USH_CORE_ERROR, "orders", "a plan cannot be read", "why", message.text,
			NULL);
		return error;
	}
	asked->known = ush_db_get(conn, "SELECT digest FROM orders_maps WHERE hash = ?", "t",
			       plan->hash, "i", &digest) == 1;
	return ush_db_error(conn, NULL);
}

static int plan_note_job(struct ush_db_conn *conn, void *context)
{
	const struct asked_plan *asked = context;

	ush_db_exec(conn,
		"INSERT INTO orders_maps (hash, event, digest) VALUES (?, ?, ?) ON CONFLICT (hash) DO NOTHING",
		"tii", asked->plan.hash, (int64_t)asked->plan.event, (int64_t)asked->plan.digest);
	return ush_db_error(conn, NULL);
}

static void plan_tell(struct asked_plan *asked, struct ush_http_request *request, int result)
{
	if (result != 0) {
		ush_http_set(request, "Retry-After", "1");
		ush_http_problem(
			request, 503, "not_ready", NULL, "the plan cannot be read now; try again");
	} else if (!asked->found) {
		ush_http_problem(request, 404, "not_found", NULL, "there is no map of this hash");
	} else {
		plan_answer(request, plan_find(asked->http, asked->plan.hash, 0, 0),
			asked->hash[0] != '\0');
	}
}

/* Answers all, in the order in which they asked. */
static void plan_end(struct asked_plan *asked, int result)
{
	struct asked_plan **at = &asked->http->asked;
	struct plan_wait *wait, *next;

	while (*at != asked)
		at = &(*at)->next;
	*at = asked->next;
	if (result == 0 && asked->found && plan_find(asked->http, asked->plan.hash, 0, 0) == NULL)
		plan_keep(asked->http, &asked->plan);
	else
		free(asked->plan.text);
	for (wait = asked->waits; wait != NULL; wait = next) {
		next = wait->next;
		plan_tell(asked, wait->request, result);
		free(wait);
	}
	free(asked);
}

static void plan_noted(void *context, int result)
{
	struct asked_plan *asked = context;

	asked->http->orders->jobs--;
	plan_end(asked, result);
}

static void plan_done(void *context, int result)
{
	struct asked_plan *asked = context;
	struct ush_orders *orders = asked->http->orders;

	/* Whoever is sent to the hash must find it, also after a restart, and at a replica. */
	if (result == 0 && asked->found && !asked->known && !orders->core.read_only) {
		ush_db_run(orders->core.db, USH_DB_WRITE, plan_note_job, plan_noted, asked);
		return;
	}
	orders->jobs--;
	plan_end(asked, result);
}

static bool same_plan(const struct asked_plan *a, const struct asked_plan *b)
{
	/* A job that looks for a hash fills in the rest meanwhile. */
	return strcmp(a->hash, b->hash) == 0 &&
	       (a->hash[0] != '\0' ||
		       (a->plan.event == b->plan.event && a->plan.digest == b->plan.digest));
}

static void plan_ask(
	struct live_http *http, const struct asked_plan *what, struct ush_http_request *request)
{
	struct plan_wait *wait = calloc(1, sizeof(*wait)), **last;
	struct asked_plan *asked = http->asked;

	USH_ASSERT(wait != NULL);
	wait->request = request;
	while (asked != NULL && !same_plan(asked, what))
		asked = asked->next;
	if (asked != NULL) {
		for (last = &asked->waits; *last != NULL;)
			last = &(*last)->next;
		*last = wait;
		return;
	}
	asked = calloc(1, sizeof(*asked));
	USH_ASSERT(asked != NULL);
	*asked = *what;
	asked->waits = wait;
	asked->next = http->asked;
	http->asked = asked;
	http->orders->jobs++;
	ush_db_run(http->orders->core.db, USH_DB_READ, plan_job, plan_done, asked);
}

/* ret: the event of a request; NULL: it has answered 404. */
static struct live_event *event_of(struct live_http *http, struct ush_http_request *request)
{
	struct live_event *event;
	uint64_t number;

	if (!ush_http_param_number(request, "event", USH_EVENT_ID_MAX, &number))
		return NULL;
	event = live_event(http->orders->live, (uint32_t)number);
	if (event == NULL)
		ush_http_problem(
			request, 404, "not_found", NULL, "there is no such event on sale here");
	return event;
}

static void get_event_map(struct ush_http_request *request, void *context)
{
	struct live_http *http = context;
	const struct live_event *event = event_of(http, request);
	struct asked_plan asked = {.http = http};
	const struct plan *plan;

	if (event == NULL)
		return;
	plan = plan_find(http, NULL, event->id, event->digest);
	if (plan != NULL) {
		plan_answer(request, plan, false);
		return;
	}
	asked.plan.event = event->id;
	asked.plan.digest = event->digest;
	plan_ask(http, &asked, request);
}

static void get_map(struct ush_http_request *request, void *context)
{
	struct live_http *http = context;
	struct asked_plan asked = {.http = http};
	const char *hash = ush_http_param(request, "hash");
	const struct plan *plan = plan_find(http, hash, 0, 0);

	if (plan != NULL) {
		plan_answer(request, plan, true);
		return;
	}
	snprintf(asked.hash, sizeof(asked.hash), "%s", hash);
	plan_ask(http, &asked, request);
}

/* ---- the snapshot -------------------------------------------------------------------------- */

static void get_availability(struct ush_http_request *request, void *context)
{
	struct live_http *http = context;
	struct live_event *event = event_of(http, request);
	const char *text;
	size_t bytes;

	if (event == NULL || !orders_age(http->orders, request))
		return;
	text = live_text(event, &bytes);
	if (text == NULL) {
		ush_http_problem(request, 503, "busy", NULL, "no memory; try again");
		return;
	}
	ush_http_set(request, "Cache-Control", "public, max-age=1");
	ush_http_answer(request, 200, "application/json", text, bytes);
}

/* ---- watchers ------------------------------------------------------------------------------ */

static void watcher_gone(void *context)
{
	struct watcher *watcher = context;

	*watcher->at = watcher->next;
	if (watcher->next != NULL)
		watcher->next->at = watcher->at;
	watcher->event->watcher_count--;
	free(watcher);
}

static void send_one(struct ush_http_stream *stream, char *frame, size_t bytes)
{
	if (frame != NULL)
		ush_http_stream_raw(stream, frame, bytes);
	free(frame);
}

/* What a new watcher is told: where it stands, and what it has missed. */
static void greet(struct live_http *http, const struct live_event *event,
	struct ush_http_stream *stream, const char *last)
{
	char *end = NULL;
	uint64_t after = last != NULL ? strtoull(last, &end, 10) : event->sent;
	size_t bytes = 0;
	char *frame;

	(void)http;
	if (last != NULL && (end == last || *end != '\0' || after > event->newest)) {
		frame = live_reload_frame(event, &bytes);
		send_one(stream, frame, bytes);
		after = event->sent;
	}
	/* Up to the newest; what comes next for all begins at `sent`, which is not later, and a row
	 * told twice is told the same. */
	frame = live_frame(event, after, &bytes);
	send_one(stream, frame, bytes);
	frame = live_status_frame(event, &bytes);
	send_one(stream, frame, bytes);
}

static void get_changes(struct ush_http_request *request, void *context)
{
	struct live_http *http = context;
	struct live_event *event = event_of(http, request);
	struct watcher *watcher;
	const char *last;
	char copy[32];

	if (event == NULL)
		return;
	last = ush_http_header(request, "Last-Event-ID");
	if (last == NULL)
		last = ush_http_query(request, "after");
	if (last != NULL)
		snprintf(copy, sizeof(copy), "%s", last);
	watcher = calloc(1, sizeof(*watcher));
	USH_ASSERT(watcher != NULL);
	watcher->event = event;
	watcher->next = event->watchers;
	watcher->at = (struct watcher **)(void *)&event->watchers;
	if (watcher->next != NULL)
		watcher->next->at = &watcher->next;
	event->watchers = watcher;
	event->watcher_count++;
	watcher->stream = ush_http_stream_open(request, watcher_gone, watcher);
	greet(http, event, watcher->stream, last != NULL ? copy : NULL);
}

static void send_all(struct live_event *event, char *frame, size_t bytes)
{
	struct watcher *next;

	if (frame == NULL)
		return;
	for (struct watcher *at = event->watchers; at != NULL; at = next) {
		next = at->next;
		ush_http_stream_raw(at->stream, frame, bytes);
	}
	free(frame);
}

static void tick_event(struct live_event *event, int64_t now_us)
{
	uint64_t pause =
		event->last_bytes * (uint64_t)event->watcher_count * 1000000 / WATCH_BYTES_MAX;
	size_t bytes = 0;
	char *frame;

	if (!event->told_digest && event->watcher_count != 0) {
		frame = live_reload_frame(event, &bytes);
		send_all(event, frame, bytes);
	} else if (!event->told_status && event->watcher_count != 0) {
		frame = live_status_frame(event, &bytes);
		send_all(event, frame, bytes);
	}
	event->told_digest = event->told_status = true;
	if (event->newest == event->sent)
		return;
	pause = ush_min64(ush_max64(pause, FRAME_US_MIN), FRAME_US_MAX);
	if (now_us - event->sent_us < (int64_t)pause && now_us >= event->sent_us)
		return;
	if (event->watcher_count != 0) {
		frame = live_frame(event, event->sent, &bytes);
		send_all(event, frame, bytes);
		event->last_bytes = (uint32_t)bytes;
	}
	event->sent = event->newest;
	event->sent_us = now_us;
}

static void on_tick(evutil_socket_t fd, short what, void *context)
{
	struct live_http *http = context;
	int64_t now_us = ush_core_now_us();

	(void)fd;
	(void)what;
	for (uint32_t i = 1; i <= USH_EVENT_ID_MAX; i++) {
		struct live_event *event = live_event(http->orders->live, i);

		if (event != NULL)
			tick_event(event, now_us);
	}
}

void orders_routes_live(struct ush_orders *orders)
{
	static const struct ush_http_route routes[] = {
		{"GET", "/v1/events/{event}/map", get_event_map, 0, 0},
		{"GET", "/v1/maps/{hash}", get_map, 0, 0},
		{"GET", "/v1/events/{event}/availability", get_availability, 0, 0},
		{"GET", "/v1/events/{event}/changes", get_changes, 0, 0},
		{0},
	};
	struct live_http *http = calloc(1, sizeof(*http));
	struct timeval tick = {.tv_usec = TICK_MS * 1000};

	USH_ASSERT(http != NULL);
	http->orders = orders;
	orders->live_http = http;
	event_assign(&http->tick, orders->core.base, -1, EV_PERSIST, on_tick, http);
	event_add(&http->tick, &tick);
	ush_http_routes_add(orders->core.http, routes, http);
}

void orders_live_close(struct ush_orders *orders)
{
	struct live_http *http = orders->live_http;

	event_del(&http->tick);
	for (uint32_t i = 1; i <= USH_EVENT_ID_MAX; i++) {
		struct live_event *event = live_event(orders->live, i);
		struct watcher *next;

		for (struct watcher *at = event != NULL ? event->watchers : NULL; at != NULL;
			at = next) {
			next = at->next;
			ush_http_stream_close(at->stream);
			free(at);
		}
	}
	for (uint32_t i = 0; i < http->plan_count; i++)
		free(http->plan[i].text);
	free(http);
}
