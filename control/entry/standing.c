/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a room stands for its operator: what was planned, what was done, what comes next and who
 * does it. usherd is asked for the phase, the table for the rest.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "entry/lobby.h"
#include "entry/schedule.h"

#define ROLES (1u << USH_ROLE_OPERATOR)

struct standing {
	struct ush_entry *entry;
	struct ush_http_request *request;
	uint32_t event;
	bool has; /* a room, `view` */
	bool planned;
	struct ush_room_view view;
	struct entry_plan plan;
};

static json_t *time_or_null(int64_t us)
{
	char text[32];

	if (us == 0)
		return json_null();
	entry_time_text(us, text);
	return json_string(text);
}

static const char *explain(const char *why)
{
	static const struct {
		const char *why, *text;
	} texts[] = {
		{"not_planned", "no time was given: post the action"},
		{"missed",
			"the lobby was to be closed before it could be opened: post open with other times"},
		{"another_room", "a room with another seed was opened meanwhile"},
		{"room_full", "the box has no room for so many users"},
		{"beacon_unknown",
			"the beacon of this room is not the one that is set ([entry] beacon_source): post its value"},
		{"closing_unknown",
			"it is not noted that the lobby was closed before the round came: compare, then post the value"},
		{"late",
			"the round came before the lobby was closed, so the draw is void (docs/draw.md): its value was known"},
	};

	for (size_t i = 0; why != NULL && i < sizeof(texts) / sizeof(texts[0]); i++)
		if (strcmp(why, texts[i].why) == 0)
			return texts[i].text;
	return why;
}

static json_t *next_json(const struct standing *standing, uint32_t phase)
{
	struct entry_next next = entry_next_of(
		phase, standing->planned ? &standing->plan : NULL, &standing->entry->beacon);

	return json_pack("{s:s?, s:s?, s:o, s:s?, s:s?}", "action", next.action, "by", next.by,
		"at", time_or_null(next.at_us), "why", next.why, "detail", explain(next.why));
}

static void answer(struct standing *standing)
{
	const struct entry_plan *plan = &standing->plan;
	const struct ush_room_open *open = standing->has       ? &standing->view.opened
					   : standing->planned ? &plan->open
							       : NULL;
	uint32_t phase = standing->has ? standing->view.status.phase : USH_ROOM_PHASE_NONE;
	json_t *beacon = json_null(), *seed_hash = json_null();

	if (open != NULL) {
		beacon = json_pack("{s:s%, s:I}", "source", (const char *)open->source,
			(size_t)open->source_bytes, "round", (json_int_t)open->round);
		seed_hash = ush_hex_json(open->seed_hash, sizeof(open->seed_hash));
	}
	ush_http_set(standing->request, "Cache-Control", "no-store");
	ush_http_answer_json(standing->request, 200,
		json_pack("{s:I, s:s, s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s?, s:I, s:o}",
			"event", (json_int_t)standing->event, "phase", ush_room_phase_name(phase),
			"now", time_or_null(ush_core_now_us()), "clock_steady",
			entry_schedule_is_steady(standing->entry->schedule), "opens_at",
			time_or_null(plan->opens_us), "opened_at", time_or_null(plan->opened_us),
			"closes_at", time_or_null(plan->closes_us), "closed_at",
			time_or_null(plan->closed_us), "drawn_at", time_or_null(plan->drawn_us),
			"seed_hash", seed_hash, "beacon", beacon, "root",
			plan->root[0] != '\0' ? plan->root : NULL, "places",
			(json_int_t)plan->places, "next", next_json(standing, phase)));
}

static int plan_job(struct ush_db_conn *conn, void *context)
{
	struct standing *standing = context;

	standing->planned = entry_plan_of(conn, standing->event,
		standing->has ? standing->view.opened.seed_hash : NULL, &standing->plan);
	return ush_db_error(conn, NULL);
}

static void plan_done(void *context, int result)
{
	struct standing *standing = context;

	if (!entry_call_over(standing->entry) || result != 0) {
		entry_not_ready(standing->request, "the database");
	} else {
		if (!standing->planned)
			memset(&standing->plan, 0, sizeof(standing->plan));
		answer(standing);
	}
	free(standing);
}

static void shown(void *context, int result, const struct ush_reply *reply, size_t bytes)
{
	struct standing *standing = context;

	if (!entry_call_over(standing->entry) || result != 0) {
		entry_not_ready(standing->request, "usherd");
		free(standing);
		return;
	}
	standing->has = reply->status == USH_STATUS_OK;
	if ((standing->has && ush_room_view_read(reply, bytes, &standing->view)) ||
		reply->status == USH_STATUS_NO_ROOM) {
		standing->entry->pending++;
		ush_db_run(standing->entry->core->db, USH_DB_READ, plan_job, plan_done, standing);
		return;
	}
	entry_refuse(standing->request, reply);
	free(standing);
}

void entry_get_admin(struct ush_http_request *request, void *context)
{
	struct ush_request show = {.magic = USH_REQUEST_MAGIC,
		.version = USH_VERSION,
		.op = USH_OP_ROOM_SHOW,
		.size = sizeof(show)};
	struct ush_entry *entry = context;
	struct standing *standing;
	uint64_t event;

	if (ush_who_must(request, ROLES) == NULL ||
		!ush_http_param_number(request, "event", USH_EVENT_ID_MAX, &event))
		return;
	standing = calloc(1, sizeof(*standing));
	if (standing == NULL) {
		entry_not_ready(request, "memory");
		return;
	}
	*standing = (struct standing){.entry = entry, .request = request, .event = (uint32_t)event};
	show.event = standing->event;
	entry->pending++;
	ush_link_call(entry->core->link, &show, -1, ENTRY_CALL_MS, shown, standing);
}
