/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each second a job reads what is due. One after the other: usherd says how the room stands, and
 * that it is the room of the plan; then an order as an operator gives it (order.h).
 *
 * Failure modes: usherd or the database is away: the next second again. usherd has no such room, or
 * refuses: a minute later again, for a week. The clock is set: nothing for twenty seconds. The
 * lobby was to be closed before it could be opened, or another room is there: the plan is over, and
 * a line of the audit log and the operator's view say why.
 */
#include "entry/schedule.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "entry/order.h"
#include "entry/steady.h"
#include "fetch/fetch.h"

#define DUE_COUNT 16u
#define COMING_COUNT 256u
#define SECOND_US INT64_C(1000000)
#define REFUSED_US (60 * SECOND_US)
/* The beacon is asked again after so long. */
#define BEACON_US (3 * SECOND_US)
#define BEACON_MS 5000u
#define BEACON_BYTES_MAX 16384u

struct entry_schedule {
	struct ush_entry *entry;
	struct ush_steady steady;
	bool is_steady;
	bool looking;
	/* Of the job that reads. */
	struct entry_plan due[DUE_COUNT], found[COMING_COUNT];
	uint32_t count, at, found_count;
	int64_t again_us;
	const char *note;
	/* Of the loop. */
	struct entry_plan coming[COMING_COUNT];
	uint32_t coming_count;
};

static const struct ush_who the_schedule = {
	.role = USH_ROLE_SCHEDULE,
	.account = "schedule",
};

static void next(struct entry_schedule *schedule);

static struct entry_plan *now_due(struct entry_schedule *schedule)
{
	return &schedule->due[schedule->at];
}

static void say(const struct entry_schedule *schedule, enum ush_core_level level, const char *text,
	const char *more)
{
	const struct entry_plan *plan = &schedule->due[schedule->at];
	char event[16], places[24];

	snprintf(event, sizeof(event), "%u", plan->event);
	snprintf(places, sizeof(places), "%lld", (long long)plan->places);
	ush_core_log(level, "entry", text, "actor", "schedule", "room", event, "places", places,
		"root", plan->root, "what", more, NULL);
}

static void advance(struct entry_schedule *schedule)
{
	schedule->at++;
	next(schedule);
}

/* ---- what is put off, what is over ---- */

static void stored(void *context, int result)
{
	struct entry_schedule *schedule = context;

	if (!entry_call_over(schedule->entry))
		return;
	if (result != 0)
		schedule->looking = false;
	else
		advance(schedule);
}

static void store(struct entry_schedule *schedule, ush_db_job *job)
{
	schedule->entry->pending++;
	ush_db_run(schedule->entry->core->db, USH_DB_WRITE, job, stored, schedule);
}

static int later_job(struct ush_db_conn *conn, void *context)
{
	struct entry_schedule *schedule = context;

	entry_plan_later(conn, now_due(schedule), schedule->again_us);
	return ush_db_error(conn, NULL);
}

static void later(struct entry_schedule *schedule, int64_t wait_us)
{
	schedule->again_us = ush_core_now_us() + wait_us;
	store(schedule, later_job);
}

static int over_job(struct ush_db_conn *conn, void *context)
{
	struct entry_schedule *schedule = context;
	const struct entry_plan *plan = now_due(schedule);
	char object[24], text[64];

	snprintf(object, sizeof(object), "event %u", plan->event);
	snprintf(text, sizeof(text), "%s not done: %s", plan->closed_us != 0 ? "draw" : "open",
		schedule->note);
	if (entry_plan_end(conn, plan, schedule->note) == 1)
		ush_people_audit(conn, &the_schedule, "queue", object, text);
	return ush_db_error(conn, NULL);
}

static void over(struct entry_schedule *schedule, const char *note)
{
	say(schedule, USH_CORE_ERROR, "the schedule gives up; an operator is needed", note);
	schedule->note = note;
	store(schedule, over_job);
}

/* ---- orders ---- */

static void refused(struct entry_schedule *schedule, const struct ush_reply *reply, bool open)
{
	if (reply->status == USH_STATUS_ROOM_PHASE) {
		/* Somebody else did it a moment ago: the next look finds it done. */
		advance(schedule);
	} else if (open && reply->status == USH_STATUS_ROOM_FULL) {
		over(schedule, "room_full");
	} else {
		say(schedule, USH_CORE_WARN, "usherd refused what was due; again in a minute",
			"refused");
		later(schedule, REFUSED_US);
	}
}

static void ordered(struct order *order, enum order_end how)
{
	struct entry_schedule *schedule = order->context;
	struct entry_plan *plan;
	char text[48];

	if (how == ORDER_GONE)
		return;
	plan = now_due(schedule);
	plan->places = order->plan.places;
	memcpy(plan->root, order->plan.root, sizeof(plan->root));
	switch (how) {
	case ORDER_DONE:
		snprintf(text, sizeof(text), "%s%s", order->action,
			order->repeat ? ", was done" : "");
		if (!order->noted)
			say(schedule, USH_CORE_INFO, "done by the schedule", text);
		advance(schedule);
		break;
	case ORDER_REFUSED:
		refused(schedule, &order->reply, order->wants == WANTS_ROW);
		break;
	case ORDER_NO_LOBBY:
		later(schedule, REFUSED_US);
		break;
	default:
		/* Not now: the next second again. */
		advance(schedule);
		break;
	}
}

static struct order *order_for(struct entry_schedule *schedule, const char *action, bool found)
{
	const struct entry_plan *plan = now_due(schedule);
	struct order *order = order_new(schedule->entry, plan->event, action);

	USH_ASSERT(order != NULL);
	order->done = ordered;
	order->context = schedule;
	order->who = the_schedule;
	order->by_schedule = true;
	order->found = found;
	order->row_there = true;
	order->plan = *plan;
	return order;
}

static void open_room(struct entry_schedule *schedule, bool found)
{
	struct order *order = order_for(schedule, "open", found);

	order_open(order, &now_due(schedule)->open);
	order_begin(order);
}

static void close_lobby(struct entry_schedule *schedule, bool found)
{
	struct order *order = order_for(schedule, "close", found);

	order_close(order);
	order_begin(order);
}

/* ---- opening ---- */

static int claim_job(struct ush_db_conn *conn, void *context)
{
	struct entry_schedule *schedule = context;

	if (entry_plan_claim(conn, now_due(schedule)) == 0)
		return -USH_ENOENT;
	return ush_db_error(conn, NULL);
}

static void claimed(void *context, int result)
{
	struct entry_schedule *schedule = context;

	if (!entry_call_over(schedule->entry))
		return;
	if (result == 0)
		open_room(schedule, false);
	else
		/* Taken back, or the database is away. */
		advance(schedule);
}

static void opening(struct entry_schedule *schedule, uint8_t status, bool same)
{
	const struct entry_plan *plan = now_due(schedule);

	if (status == USH_STATUS_OK) {
		if (same)
			open_room(schedule, true);
		else
			over(schedule, "another_room");
	} else if (plan->closes_us != 0 && plan->closes_us <= ush_core_now_us()) {
		over(schedule, "missed");
	} else if (status == USH_STATUS_NO_ROOM) {
		schedule->entry->pending++;
		ush_db_run(schedule->entry->core->db, USH_DB_WRITE, claim_job, claimed, schedule);
	} else {
		later(schedule, REFUSED_US);
	}
}

/* ---- drawing ---- */

static void fetched(void *context, const struct ush_fetch_result *result)
{
	struct entry_schedule *schedule = context;
	uint8_t value[USH_BEACON_BYTES];
	struct ush_message message;
	const char *fault = "no answer";
	struct order *order;

	if (!entry_call_over(schedule->entry))
		return;
	if (result->result == 0 && result->status == 200)
		fault = ush_beacon_read(
			result->body, result->bytes, now_due(schedule)->open.round, value);
	if (fault != NULL) {
		say(schedule, USH_CORE_WARN, "the beacon has no value yet; again in a moment",
			fault);
		later(schedule, BEACON_US);
		return;
	}
	order = order_for(schedule, "draw", false);
	if (order_draw(order, value, sizeof(value), &message) == 0) {
		order_begin(order);
		return;
	}
	order_drop(order);
	say(schedule, USH_CORE_WARN, "a draw waits for the process that has its seed",
		message.text);
	later(schedule, REFUSED_US);
}

static void drawing(struct entry_schedule *schedule, uint32_t phase)
{
	const struct ush_beacon *beacon = &schedule->entry->beacon;
	const struct entry_plan *plan = now_due(schedule);
	char url[1024];

	if (phase != USH_ROOM_PHASE_DRAW) {
		struct order *order = order_for(schedule, "draw", true);

		order->wants = WANTS_DRAW;
		order_begin(order);
	} else if (plan->closed_us >= ush_beacon_round_us(beacon, plan->open.round)) {
		over(schedule, "late");
	} else if (!ush_beacon_url(beacon, plan->open.round, url, sizeof(url))) {
		later(schedule, REFUSED_US);
	} else {
		schedule->entry->pending++;
		ush_fetch_start(schedule->entry->core->fetch,
			&(struct ush_fetch_request){.method = "GET",
				.url = url,
				.timeout_ms = BEACON_MS,
				.answer_bytes_max = BEACON_BYTES_MAX},
			fetched, schedule);
	}
}

/* ---- looking ---- */

static void shown(void *context, int result, const struct ush_reply *reply, size_t bytes)
{
	struct entry_schedule *schedule = context;
	const struct entry_plan *plan = now_due(schedule);
	struct ush_room_view view = {0};
	uint32_t phase;
	bool same;

	if (!entry_call_over(schedule->entry))
		return;
	if (result != 0 || reply->status == USH_STATUS_BUSY || reply->status == USH_STATUS_RETRY ||
		(reply->status == USH_STATUS_OK && !ush_room_view_read(reply, bytes, &view))) {
		schedule->looking = false;
		return;
	}
	phase = view.status.phase;
	same = reply->status == USH_STATUS_OK && memcmp(view.opened.seed_hash, plan->open.seed_hash,
							 sizeof(view.opened.seed_hash)) == 0;
	if (plan->stage != ENTRY_STAGE_LOBBY)
		opening(schedule, reply->status, same);
	else if (!same)
		later(schedule, REFUSED_US);
	else if (plan->closed_us == 0)
		close_lobby(schedule, phase != USH_ROOM_PHASE_LOBBY);
	else
		drawing(schedule, phase);
}

/* ret: when what is due with a plan was due. */
static int64_t due_us(const struct entry_schedule *schedule, const struct entry_plan *plan)
{
	if (plan->stage != ENTRY_STAGE_LOBBY)
		return plan->opens_us;
	if (plan->closed_us == 0)
		return plan->closes_us;
	return ush_beacon_round_us(&schedule->entry->beacon, plan->open.round);
}

static void next(struct entry_schedule *schedule)
{
	struct ush_request request = {.magic = USH_REQUEST_MAGIC,
		.version = USH_VERSION,
		.op = USH_OP_ROOM_SHOW,
		.size = sizeof(request)};

	/* The clock may have been set since they were read. */
	while (schedule->at < schedule->count &&
		due_us(schedule, now_due(schedule)) > ush_core_now_us())
		schedule->at++;
	if (schedule->at == schedule->count) {
		schedule->looking = false;
		return;
	}
	request.event = now_due(schedule)->event;
	schedule->entry->pending++;
	ush_link_call(schedule->entry->core->link, &request, -1, ENTRY_CALL_MS, shown, schedule);
}

static int due_job(struct ush_db_conn *conn, void *context)
{
	struct entry_schedule *schedule = context;
	const struct ush_beacon *beacon = &schedule->entry->beacon;
	int64_t now_us = ush_core_now_us();
	bool draws = beacon->source != NULL;

	schedule->count = entry_plan_due(conn, now_us, draws ? beacon->source : "",
		draws ? ush_beacon_newest(beacon, now_us) : 0, schedule->due, DUE_COUNT);
	schedule->found_count = entry_plan_coming(conn, schedule->found, COMING_COUNT);
	return ush_db_error(conn, NULL);
}

static void looked(void *context, int result)
{
	struct entry_schedule *schedule = context;

	if (!entry_call_over(schedule->entry))
		return;
	if (result == 0) {
		schedule->coming_count = schedule->found_count;
		memcpy(schedule->coming, schedule->found,
			schedule->found_count * sizeof(schedule->found[0]));
	}
	if (result != 0 || !schedule->is_steady || !ush_link_is_up(schedule->entry->core->link)) {
		schedule->looking = false;
		return;
	}
	schedule->at = 0;
	next(schedule);
}

void entry_schedule_tick(struct entry_schedule *schedule)
{
	int64_t step_us;
	char text[32];

	schedule->is_steady = ush_steady_look(
		&schedule->steady, ush_core_now_us(), ush_core_monotonic_us(), &step_us);
	if (step_us != 0) {
		snprintf(text, sizeof(text), "%lld", (long long)(step_us / 1000));
		ush_core_log(USH_CORE_WARN, "entry",
			"the clock was set: the schedule waits until it is steady", "step_ms", text,
			NULL);
	}
	if (schedule->looking)
		return;
	schedule->looking = true;
	schedule->entry->pending++;
	ush_db_run(schedule->entry->core->db, USH_DB_READ, due_job, looked, schedule);
}

/* ---- life ---- */

struct entry_schedule *entry_schedule_new(struct ush_entry *entry)
{
	struct entry_schedule *schedule = calloc(1, sizeof(*schedule));

	if (schedule != NULL)
		*schedule = (struct entry_schedule){.entry = entry, .is_steady = true};
	return schedule;
}

void entry_schedule_free(struct entry_schedule *schedule)
{
	free(schedule);
}

const struct entry_plan *entry_schedule_coming(
	const struct entry_schedule *schedule, uint32_t event)
{
	for (uint32_t i = 0; schedule != NULL && i < schedule->coming_count; i++)
		if (schedule->coming[i].event == event)
			return &schedule->coming[i];
	return NULL;
}

bool entry_schedule_is_steady(const struct entry_schedule *schedule)
{
	return schedule->is_steady;
}
