/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status object. Each room that anybody asks for is shown by usherd once a second, built into
 * bytes once if it says something new, and served from memory as often as it is asked for.
 *
 * Failure modes: usherd is away: what was known is served for ten seconds more, then 503. An event
 * without a room is remembered as that, and forgotten when nobody has asked for a minute.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "entry/lobby.h"
#include "entry/schedule.h"

#define SECOND_US INT64_C(1000000)
/* Served while usherd does not answer. */
#define STALE_US (10 * SECOND_US)
/* That there is no room is believed for so long by who asks for the status. */
#define NONE_US SECOND_US
#define FORGET_US (60 * SECOND_US)
/* Events that are remembered, and requests that wait for usherd; src: guess. */
#define ROOMS_MAX 16384u
#define WAITERS_MAX 4096u
/* Rooms asked for at once by one tick. */
#define TICK_MAX 64u

struct entry_waiter {
	struct entry_waiter *next;
	struct ush_http_request *request;
};

/* ---- answers ---- */

/* What is known of a room that is not open yet: published before anybody may join. */
static json_t *coming(const struct entry_room *room)
{
	const struct entry_plan *plan = entry_schedule_coming(room->entry->schedule, room->event);
	char opens[32], closes[32] = "";

	if (plan == NULL)
		return NULL;
	entry_time_text(plan->opens_us, opens);
	if (plan->closes_us != 0)
		entry_time_text(plan->closes_us, closes);
	return json_pack("{s:s, s:s?, s:o, s:{s:s%, s:I}}", "opens_at", opens, "closes_at",
		closes[0] != '\0' ? closes : NULL, "seed_hash",
		ush_hex_json(plan->open.seed_hash, sizeof(plan->open.seed_hash)), "beacon",
		"source", (const char *)plan->open.source, (size_t)plan->open.source_bytes, "round",
		(json_int_t)plan->open.round);
}

static void answer_status(struct entry_room *room, struct ush_http_request *request)
{
	int64_t now_us = ush_core_now_us();

	if (room->fresh_us == 0 || now_us - room->fresh_us > STALE_US) {
		entry_not_ready(request, "how the waiting room stands");
		return;
	}
	if (room->status == USH_STATUS_OK) {
		ush_http_set(request, "Cache-Control", "public, max-age=1");
		ush_http_set(request, "ETag", room->etag);
		ush_http_answer(request, 200, "application/json", room->text, room->text_bytes);
		return;
	}
	ush_http_set(request, "Cache-Control", "public, max-age=1");
	if (room->status == USH_STATUS_NO_ROOM)
		ush_http_problem(request, 404, "no_room", coming(room),
			"event %u has no waiting room now: hold seats without one, or come at opens_at",
			room->event);
	else
		ush_http_problem(request, 404, "unknown_event", NULL, "there is no event %u here",
			room->event);
}

static void answer_waiters(struct entry_room *room)
{
	struct entry_waiter *waiter = room->waiters;

	room->waiters = NULL;
	while (waiter != NULL) {
		struct entry_waiter *next = waiter->next;

		room->entry->waiting--;
		answer_status(room, waiter->request);
		free(waiter);
		waiter = next;
	}
}

/* ---- asking ---- */

static void build(struct entry_room *room, const struct ush_room_view *view, int64_t now_us)
{
	struct ush_entry *entry = room->entry;
	struct ush_entry_needs needs = {.captcha_provider = entry->captcha_provider,
		.captcha_site_key = entry->captcha_site_key,
		.work_bits = entry->work_bits,
		.work_salt = ush_work_salt(&entry->work_key, (uint64_t)now_us),
		.closes_us = room->closes_us};
	char *text;

	if (room->text != NULL && room->salt == needs.work_salt &&
		ush_room_view_same(&room->view, view))
		return;
	text = ush_entry_status_text(view, &needs, view->sequence);
	if (text == NULL)
		return;
	free(room->text);
	room->text = text;
	room->text_bytes = strlen(text);
	room->view = *view;
	room->salt = needs.work_salt;
	snprintf(room->etag, sizeof(room->etag), "\"%llx-%08x\"",
		(unsigned long long)view->sequence, ush_crc32c(0, text, room->text_bytes));
}

/* An empty file for each event with a room: after a restart nobody holds seats of it without a
 * token while usherd was not asked yet. */
static void remember(struct entry_room *room, bool has)
{
	char path[512];
	int fd;

	if (room->had == has)
		return;
	room->had = has;
	snprintf(path, sizeof(path), "%s/rooms/%u", room->entry->core->state_dir, room->event);
	if (!has) {
		unlink(path);
		return;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
}

void entry_rooms_recall(struct ush_entry *entry)
{
	char path[512];
	struct dirent *file;
	DIR *folder;

	snprintf(path, sizeof(path), "%s/rooms", entry->core->state_dir);
	mkdir(path, 0700);
	folder = opendir(path);
	while (folder != NULL && (file = readdir(folder)) != NULL) {
		unsigned long event = strtoul(file->d_name, NULL, 10);
		struct entry_room *room = NULL;

		if (event > 0 && event <= USH_EVENT_ID_MAX)
			room = entry_room_of(entry, (uint32_t)event);
		if (room != NULL)
			room->had = true;
	}
	if (folder != NULL)
		closedir(folder);
}

static void shown(void *context, int result, const struct ush_reply *reply, size_t bytes)
{
	struct entry_room *room = context;
	int64_t now_us = ush_core_now_us();
	struct ush_room_view view;

	if (!entry_call_over(room->entry))
		return;
	room->asking = false;
	if (result == 0 && reply->status == USH_STATUS_OK &&
		ush_room_view_read(reply, bytes, &view)) {
		if (!room->closes_known || memcmp(view.opened.seed_hash, room->closes_of,
						   sizeof(room->closes_of)) != 0) {
			entry_closes_ask(room, view.opened.seed_hash);
			return;
		}
		/* Of two answers the one with the higher sequence is newer. */
		if (room->status != USH_STATUS_OK || view.sequence >= room->view.sequence)
			build(room, &view, now_us);
		if (room->text != NULL) {
			remember(room, true);
			room->status = USH_STATUS_OK;
			room->fresh_us = now_us;
		}
	} else if (result == 0 && (reply->status == USH_STATUS_NO_ROOM ||
					  reply->status == USH_STATUS_UNKNOWN_EVENT)) {
		remember(room, false);
		room->status = reply->status;
		room->fresh_us = now_us;
	}
	answer_waiters(room);
}

void entry_room_ask(struct entry_room *room)
{
	struct ush_request request = {.magic = USH_REQUEST_MAGIC,
		.version = USH_VERSION,
		.op = USH_OP_ROOM_SHOW,
		.size = sizeof(request),
		.event = room->event};

	if (room->asking)
		return;
	room->asking = true;
	room->entry->pending++;
	ush_link_call(room->entry->core->link, &request, -1, ENTRY_CALL_MS, shown, room);
}

bool entry_room_is_fresh(const struct entry_room *room)
{
	return room->fresh_us != 0 && ush_core_now_us() - room->fresh_us <= STALE_US &&
	       room->status == USH_STATUS_OK;
}

struct entry_room *entry_room_of(struct ush_entry *entry, uint32_t event)
{
	struct entry_room *room = entry->by_event[event];
	int64_t now_us = ush_core_now_us();

	if (room == NULL) {
		if (entry->room_count == ROOMS_MAX)
			return NULL;
		room = calloc(1, sizeof(*room));
		if (room == NULL)
			return NULL;
		room->entry = entry;
		room->event = event;
		/* Not USH_STATUS_OK, which is 0: so it is asked for. */
		room->status = USH_STATUS_NO_ROOM;
		room->next = entry->rooms;
		entry->rooms = room;
		entry->by_event[event] = room;
		entry->room_count++;
	}
	room->asked_us = now_us;
	if (now_us - room->fresh_us > NONE_US && room->status != USH_STATUS_OK)
		entry_room_ask(room);
	return room;
}

void entry_get_status(struct ush_http_request *request, void *context)
{
	struct ush_entry *entry = context;
	struct entry_waiter *waiter;
	struct entry_room *room;
	int64_t old_us;
	uint64_t event;

	if (!ush_http_param_number(request, "event", USH_EVENT_ID_MAX, &event))
		return;
	room = entry_room_of(entry, (uint32_t)event);
	if (room == NULL) {
		entry_not_ready(request, "room for one more event");
		return;
	}
	old_us = ush_core_now_us() - room->fresh_us;
	if (room->fresh_us != 0 && old_us <= (room->status == USH_STATUS_OK ? STALE_US : NONE_US)) {
		answer_status(room, request);
		return;
	}
	waiter = entry->waiting < WAITERS_MAX ? malloc(sizeof(*waiter)) : NULL;
	if (waiter == NULL) {
		entry_not_ready(request, "an answer of usherd");
		return;
	}
	*waiter = (struct entry_waiter){room->waiters, request};
	room->waiters = waiter;
	entry->waiting++;
	entry_room_ask(room);
}

void entry_rooms_tick(struct ush_entry *entry)
{
	struct entry_room **at = &entry->rooms;
	int64_t now_us = ush_core_now_us();
	uint32_t asked = 0;

	while (*at != NULL) {
		struct entry_room *room = *at;

		if (room->status == USH_STATUS_OK && asked < TICK_MAX) {
			entry_room_ask(room);
			asked++;
		}
		if (room->status == USH_STATUS_OK || room->had || room->asking || room->loading ||
			room->waiters != NULL || now_us - room->asked_us < FORGET_US) {
			at = &room->next;
			continue;
		}
		*at = room->next;
		entry->by_event[room->event] = NULL;
		entry->room_count--;
		entry_lobby_release(room->lobby);
		free(room->text);
		free(room);
	}
}

void entry_rooms_close(struct ush_entry *entry)
{
	while (entry->rooms != NULL) {
		struct entry_room *room = entry->rooms;

		entry->rooms = room->next;
		USH_ASSERT(room->waiters == NULL);
		entry_lobby_release(room->lobby);
		free(room->text);
		free(room);
	}
}

void entry_rooms_drain(struct ush_entry *entry)
{
	for (struct entry_room *room = entry->rooms; room != NULL; room = room->next)
		answer_waiters(room);
}
