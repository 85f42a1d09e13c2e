/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the operator does with a waiting room: ROOM_CONTROL, ROOM_SHOW, ROOM_PLACES; and how it
 * calls. These come to the loop of the event, which owns its room, with no batch under way.
 *
 * Failure modes: no room in the log: BUSY. A phase in which this cannot be: ROOM_PHASE. A draw
 * whose tables were not made: MISMATCH, its seed is wrong, or RETRY, another is being made, or was,
 * or the lobby was still open when the draw came.
 */
#include <string.h>

#include "loop/internal.h"

/* Bits of `arg`; see contract.toml. */
#define ARG_ACTION 0xffull
#define ARG_CAP (1ull << 8)
#define ARG_PAUSE (1ull << 9)
#define ARG_PAUSED (1ull << 10)
#define ARG_SET_USED (0xffffffffull << 32 | ARG_ACTION | ARG_CAP | ARG_PAUSE | ARG_PAUSED)

#define PIECE_AT 16u
#define PIECE_BYTES (sizeof(struct ush_record) - PIECE_AT)
/* After a change of keys no other for so long, so that no loop still reads the one before. */
#define KEY_PAUSE_NS 1000000000ull
/* Lines of the table looked at for one page. */
#define LINES 1024u
#define ENTRIES 1024u

static_assert(sizeof(struct ush_room_open) % PIECE_BYTES == 0, "it fills records");
static_assert(sizeof(struct ush_room_draw) % PIECE_BYTES == 0, "it fills records");
static_assert(sizeof(struct ush_room_close) == PIECE_BYTES, "it fills a record");

/* An act whose records carry `bytes`, with the answer OK. */
static struct act *act_of_pieces(struct ush_loop *loop, struct ush_packet *packet,
	struct ush_queue *queue, enum act_kind kind, uint8_t type, const void *what, size_t bytes,
	const struct ush_reply *reply)
{
	uint32_t count = (uint32_t)(bytes / PIECE_BYTES);
	struct act *act = decide_room_act(loop, queue, kind, type, count);

	for (uint32_t i = 0; i < count; i++)
		memcpy((uint8_t *)&loop->records[act->record_first + i] + PIECE_AT,
			(const uint8_t *)what + i * PIECE_BYTES, PIECE_BYTES);
	decide_reply(act, packet, reply);
	return act;
}

/* ret: the body of an extension, or NULL; then the request was refused. */
static const uint8_t *need(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, uint8_t type)
{
	uint32_t value;
	const uint8_t *body =
		decide_extension(loop_payload(packet), &admitted->request, type, &value);

	if (body == NULL)
		loop_refuse(loop, packet, admitted, USH_STATUS_BAD_REQUEST, USH_FAULT_EXTENSION);
	return body;
}

static bool all_zero(const uint8_t *bytes, size_t size)
{
	uint8_t any = 0;

	for (size_t i = 0; i < size; i++)
		any |= bytes[i];
	return any == 0;
}

static void control_open(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	const uint8_t *body = need(loop, packet, admitted, USH_EXTENSION_ROOM_OPEN);
	struct ush_rooms *rooms = &loop->engine->rooms;
	struct ush_room_open opened;
	struct ush_queue *queue;
	struct ush_reply reply;
	struct act *act;

	if (body == NULL)
		return;
	memcpy(&opened, body, sizeof(opened));
	if (opened.users == 0 || opened.source_bytes >= sizeof(opened.source) ||
		!all_zero(opened.reserved0, sizeof(opened.reserved0)) ||
		!all_zero(opened.source + opened.source_bytes,
			sizeof(opened.source) - opened.source_bytes)) {
		loop_refuse(loop, packet, admitted, USH_STATUS_BAD_REQUEST, USH_FAULT_ARGUMENT);
		return;
	}
	queue = ush_queue_begin(rooms, admitted->request.event, &opened);
	if (queue == NULL) {
		loop_refuse(loop, packet, admitted, USH_STATUS_ROOM_FULL, rooms->users);
		return;
	}
	queue->owner = loop->index;
	ush_admit_reply(&reply, &admitted->request, USH_STATUS_OK);
	act = act_of_pieces(loop, packet, queue, ACT_ROOM_OPEN, USH_RECORD_TYPE_ROOM_OPEN, &opened,
		sizeof(opened), &reply);
	loop_act_done(loop, act);
}

static void control_close(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_queue *queue)
{
	uint32_t counts[USH_ROOM_TIERS + 1];
	struct ush_room_close close = {.time_ns = loop->now_ns};
	struct ush_reply reply;
	struct act *act;

	ush_room_close_lobby(&queue->room);
	ush_room_counts(&queue->room, counts);
	ush_admit_reply(&reply, &admitted->request, USH_STATUS_OK);
	for (uint32_t tier = 0; tier < USH_ROOM_TIERS; tier++) {
		close.counts[tier] = counts[tier];
		reply.amount += counts[tier];
	}
	reply.detail = reply.amount != 0 ? USH_ROOM_PHASE_DRAW : USH_ROOM_PHASE_SERVING;
	act = act_of_pieces(loop, packet, queue, ACT_ROOM_CLOSE, USH_RECORD_TYPE_ROOM_CLOSE, &close,
		sizeof(close), &reply);
	loop_act_done(loop, act);
}

/* ret: the status of a draw whose tables are not there: whoever was to make them may have found
 * the lobby open, or another draw, so only the seed says that it is wrong. */
static uint8_t undrawn(const struct ush_loop *loop, const struct ush_queue *queue,
	const struct ush_room_draw *drawn)
{
	ush_draw_hash *make = loop->engine->rooms.hash;
	uint8_t hash[32];

	if (make == NULL)
		return USH_STATUS_MISMATCH;
	ush_queue_seed_hash(queue->event, drawn->seed, make, hash);
	return memcmp(hash, queue->opened.seed_hash, sizeof(hash)) == 0 ? USH_STATUS_RETRY
									: USH_STATUS_MISMATCH;
}

static void control_draw(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_queue *queue)
{
	const uint8_t *body = need(loop, packet, admitted, USH_EXTENSION_ROOM_DRAW);
	struct ush_room_draw drawn;
	struct ush_reply reply;
	struct act *act;

	if (body == NULL)
		return;
	memcpy(&drawn, body, sizeof(drawn));
	if (drawn.beacon_bytes < 16 || drawn.beacon_bytes > sizeof(drawn.beacon) ||
		!all_zero(drawn.reserved0, sizeof(drawn.reserved0)) ||
		!all_zero(drawn.beacon + drawn.beacon_bytes,
			sizeof(drawn.beacon) - drawn.beacon_bytes)) {
		loop_refuse(loop, packet, admitted, USH_STATUS_BAD_REQUEST, USH_FAULT_ARGUMENT);
		return;
	}
	/* Its tables are there, made of the same values: see ush_engine_room_prepare. */
	if (atomic_load_explicit(&queue->drawing, memory_order_acquire) == 0 ||
		memcmp(&drawn, &queue->drawn, sizeof(drawn)) != 0) {
		loop_refuse(loop, packet, admitted, undrawn(loop, queue, &drawn), 0);
		return;
	}
	ush_admit_reply(&reply, &admitted->request, USH_STATUS_OK);
	act = act_of_pieces(loop, packet, queue, ACT_ROOM_DRAW, USH_RECORD_TYPE_ROOM_DRAW,
		&queue->drawn, sizeof(queue->drawn), &reply);
	loop_act_done(loop, act);
}

static void control_set(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_queue *queue)
{
	uint64_t arg = admitted->request.arg;
	struct ush_record *record;
	struct ush_reply reply;
	struct act *act;

	if ((arg & ~ARG_SET_USED) != 0 || (arg & (ARG_CAP | ARG_PAUSE)) == 0 ||
		((arg & ARG_CAP) == 0 && arg >> 32 != 0) ||
		((arg & ARG_PAUSE) == 0 && (arg & ARG_PAUSED) != 0)) {
		loop_refuse(loop, packet, admitted, USH_STATUS_BAD_REQUEST, USH_FAULT_ARGUMENT);
		return;
	}
	act = decide_room_act(loop, queue, ACT_ROOM_SET, USH_RECORD_TYPE_ROOM_SET, 1);
	record = &loop->records[act->record_first];
	record->amount = (arg & ARG_CAP) != 0
				 ? (uint32_t)(arg >> 32)
				 : atomic_load_explicit(&queue->cap, memory_order_relaxed);
	record->state = (arg & ARG_PAUSE) != 0 ? (arg & ARG_PAUSED) != 0
					       : (uint8_t)atomic_load_explicit(
							 &queue->paused, memory_order_relaxed);
	record->deadline_ns = loop->now_ns;
	ush_admit_reply(&reply, &admitted->request, USH_STATUS_OK);
	decide_reply(act, packet, &reply);
	loop_act_done(loop, act);
}

static void control_key(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, struct ush_queue *queue)
{
	struct ush_ticket_keys keys;
	struct ush_record *record;
	struct ush_reply reply;
	struct act *act;

	if (queue->key_ns != 0 && loop->now_ns - queue->key_ns < KEY_PAUSE_NS) {
		loop_refuse(loop, packet, admitted, USH_STATUS_RETRY, 0);
		return;
	}
	queue->key_ns = loop->now_ns;
	ush_queue_keys(queue, &keys);
	act = decide_room_act(loop, queue, ACT_ROOM_KEY, USH_RECORD_TYPE_ROOM_KEY, 1);
	record = &loop->records[act->record_first];
	record->state = (uint8_t)(keys.newest + 1u);
	record->deadline_ns = loop->now_ns;
	ush_admit_reply(&reply, &admitted->request, USH_STATUS_OK);
	reply.detail = record->state;
	decide_reply(act, packet, &reply);
	loop_act_done(loop, act);
}

/* ret: true if the room is in the phase that the action wants; false: answered. */
static bool in_phase(struct ush_loop *loop, struct ush_packet *packet,
	const struct ush_admitted *admitted, const struct ush_queue *queue, uint64_t action)
{
	uint32_t phase = queue == NULL ? USH_ROOM_PHASE_NONE : ush_queue_phase(queue);
	bool right = true;

	if (queue == NULL && action != USH_ROOM_ACTION_OPEN) {
		loop_refuse(loop, packet, admitted, USH_STATUS_NO_ROOM, 0);
		return false;
	}
	if (action == USH_ROOM_ACTION_OPEN)
		right = phase == USH_ROOM_PHASE_NONE;
	else if (action == USH_ROOM_ACTION_CLOSE)
		right = phase == USH_ROOM_PHASE_LOBBY;
	else if (action == USH_ROOM_ACTION_DRAW)
		right = phase == USH_ROOM_PHASE_DRAW;
	if (!right)
		loop_refuse(loop, packet, admitted, USH_STATUS_ROOM_PHASE, phase);
	return right;
}

void decide_room_control(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	const struct ush_request *request = &admitted->request;
	uint64_t action = request->arg & ARG_ACTION;
	uint32_t counts[USH_ROOM_TIERS + 1];
	struct ush_queue *queue;
	bool settled = true;

	/* What this loop has decided is visible from here. */
	loop_flush(loop);
	if (ush_inventory_event(&loop->engine->inventory, request->event) == NULL) {
		loop_refuse(loop, packet, admitted, USH_STATUS_UNKNOWN_EVENT, 0);
		return;
	}
	if (action < USH_ROOM_ACTION_OPEN || action > USH_ROOM_ACTION_KEY ||
		(action != USH_ROOM_ACTION_SET && request->arg != action)) {
		loop_refuse(loop, packet, admitted, USH_STATUS_BAD_REQUEST, USH_FAULT_ARGUMENT);
		return;
	}
	queue = ush_rooms_find(&loop->engine->rooms, request->event);
	if (!in_phase(loop, packet, admitted, queue, action))
		return;
	if (action == USH_ROOM_ACTION_DRAW)
		settled = ush_room_counts(&queue->room, counts) == 0;
	if (!loop->room_kept || !settled) {
		/* Its tables are made again with the next attempt. */
		if (action == USH_ROOM_ACTION_DRAW)
			ush_queue_undraw(queue);
		loop_refuse(
			loop, packet, admitted, settled ? USH_STATUS_BUSY : USH_STATUS_RETRY, 0);
		return;
	}
	switch ((enum ush_room_action)action) {
	case USH_ROOM_ACTION_OPEN:
		control_open(loop, packet, admitted);
		break;
	case USH_ROOM_ACTION_CLOSE:
		control_close(loop, packet, admitted, queue);
		break;
	case USH_ROOM_ACTION_DRAW:
		control_draw(loop, packet, admitted, queue);
		break;
	case USH_ROOM_ACTION_SET:
		control_set(loop, packet, admitted, queue);
		break;
	case USH_ROOM_ACTION_KEY:
		control_key(loop, packet, admitted, queue);
		break;
	}
	loop_flush(loop);
}

/* ---- looking ---- */

/* ret: where the next extension goes. */
static uint8_t *put(uint8_t *at, uint8_t type, const void *body, size_t bytes)
{
	struct ush_extension_header header = {
		.type = type, .size = (uint16_t)(sizeof(header) + bytes), .value = 1};

	memcpy(at, &header, sizeof(header));
	memcpy(at + sizeof(header), body, bytes);
	return at + sizeof(header) + bytes;
}

static void describe(const struct ush_engine *engine, const struct ush_queue *queue,
	struct ush_room_status *status)
{
	const struct ush_event *event = ush_inventory_event(&engine->inventory, queue->event);
	struct ush_event_view view;
	struct ush_ticket_keys keys;
	uint32_t phase = ush_queue_phase(queue);

	memset(status, 0, sizeof(*status));
	ush_queue_keys(queue, &keys);
	status->unsettled = ush_room_counts(&queue->room, status->counts);
	for (uint32_t tier = 0; tier <= USH_ROOM_TIERS; tier++)
		status->end += status->counts[tier];
	status->serving = atomic_load_explicit(&queue->serving, memory_order_acquire);
	status->exchanged = atomic_load_explicit(&queue->exchanged, memory_order_relaxed);
	status->wait_ns = atomic_load_explicit(&queue->wait_ns, memory_order_relaxed);
	status->rate = atomic_load_explicit(&queue->rate, memory_order_relaxed);
	status->cap = atomic_load_explicit(&queue->cap, memory_order_relaxed);
	status->phase = (uint8_t)phase;
	status->paused = (uint8_t)atomic_load_explicit(&queue->paused, memory_order_relaxed);
	status->limit = (uint8_t)atomic_load_explicit(&queue->limit, memory_order_relaxed);
	status->key_id = keys.newest;
	USH_ASSERT(event != NULL);
	ush_engine_event_view(engine, queue->event, &view);
	status->seats_free = view.free_count;
	status->event_status = (uint8_t)view.status;
	if (ush_waits_on(&engine->waits))
		status->waiting = ush_wait_count(&engine->waits, queue->event);
}

/* ret: the room, or NULL: answered. */
static struct ush_queue *find_room(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	const struct ush_request *request = &admitted->request;
	struct ush_queue *queue = ush_rooms_find(&loop->engine->rooms, request->event);

	if (queue == NULL)
		loop_refuse(loop, packet, admitted,
			ush_inventory_event(&loop->engine->inventory, request->event) == NULL
				? USH_STATUS_UNKNOWN_EVENT
				: USH_STATUS_NO_ROOM,
			0);
	return queue;
}

void decide_room_show(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	uint8_t *at = loop_payload(packet) + USH_REPLY_BYTES;
	const struct ush_queue *queue;
	struct ush_room_status status;
	struct ush_reply reply;

	loop_flush(loop);
	queue = find_room(loop, packet, admitted);
	if (queue == NULL)
		return;
	describe(loop->engine, queue, &status);
	ush_admit_reply(&reply, &admitted->request, USH_STATUS_OK);
	at = put(at, USH_EXTENSION_ROOM, &status, sizeof(status));
	at = put(at, USH_EXTENSION_ROOM_OPEN, &queue->opened, sizeof(queue->opened));
	reply.extension_count = 2;
	if (queue->drawn.beacon_bytes != 0 && status.phase == USH_ROOM_PHASE_SERVING) {
		at = put(at, USH_EXTENSION_ROOM_DRAW, &queue->drawn, sizeof(queue->drawn));
		reply.extension_count = 3;
	}
	reply.size = (uint16_t)(at - loop_payload(packet));
	decide_reply_after_all(loop, packet, &reply);
}

/* ret: entries written. in: *line: where to begin; out: where to go on, 0: that was all. */
static uint32_t list(const struct ush_room *room, uint8_t *at, uint32_t entries_max, uint32_t *line)
{
	uint32_t entries = 0, end = *line + LINES;

	if (end > room->line_count)
		end = room->line_count;
	while (*line < end && entries + USH_ROOM_LINE_PLACES <= entries_max) {
		for (uint32_t i = 0; i < USH_ROOM_LINE_PLACES; i++) {
			struct ush_room_place place;
			struct ush_room_entry entry = {.user = ush_room_at(room, *line, i, &place)};

			if (entry.user == 0)
				continue;
			entry.number = place.number;
			entry.tier = (uint8_t)place.tier;
			memcpy(at + entries * sizeof(entry), &entry, sizeof(entry));
			entries++;
		}
		(*line)++;
	}
	if (*line >= room->line_count)
		*line = 0;
	return entries;
}

void decide_room_places(
	struct ush_loop *loop, struct ush_packet *packet, const struct ush_admitted *admitted)
{
	const uint32_t head = USH_REPLY_BYTES + sizeof(struct ush_extension_header);
	const struct ush_request *request = &admitted->request;
	struct ush_extension_header header = {.type = USH_EXTENSION_PLACES};
	uint32_t counts[USH_ROOM_TIERS + 1], room, line = (uint32_t)request->arg;
	const struct ush_queue *queue;
	struct ush_reply reply;

	loop_flush(loop);
	queue = find_room(loop, packet, admitted);
	if (queue == NULL)
		return;
	if (request->arg >= queue->room.line_count) {
		loop_refuse(loop, packet, admitted, USH_STATUS_BAD_REQUEST, USH_FAULT_ARGUMENT);
		return;
	}
	if (ush_queue_phase(queue) == USH_ROOM_PHASE_LOBBY) {
		loop_refuse(loop, packet, admitted, USH_STATUS_ROOM_PHASE, USH_ROOM_PHASE_LOBBY);
		return;
	}
	if (ush_room_counts(&queue->room, counts) != 0) {
		loop_refuse(loop, packet, admitted, USH_STATUS_RETRY, 0);
		return;
	}
	room = (packet->capacity - packet->payload_at - head) /
	       (uint32_t)sizeof(struct ush_room_entry);
	ush_admit_reply(&reply, request, USH_STATUS_OK);
	header.value = list(
		&queue->room, loop_payload(packet) + head, room < ENTRIES ? room : ENTRIES, &line);
	reply.detail = line;
	reply.amount = header.value;
	if (header.value != 0) {
		header.size =
			(uint16_t)(sizeof(header) + header.value * sizeof(struct ush_room_entry));
		memcpy(loop_payload(packet) + USH_REPLY_BYTES, &header, sizeof(header));
		reply.extension_count = 1;
		reply.size = (uint16_t)(USH_REPLY_BYTES + header.size);
	}
	decide_reply_after_all(loop, packet, &reply);
}

/* ---- calling ---- */

static void serve(struct ush_loop *loop, struct ush_queue *queue)
{
	uint64_t target = atomic_load_explicit(&queue->target, memory_order_relaxed);
	struct ush_record *record;
	struct act *act;

	/* Called is what is durable: nobody is told of a number that a restart would take back. */
	if (queue->bound_sequence >= ush_log_durable(&loop->engine->log))
		return;
	/* Only when it changes: all loops read this line. */
	if (atomic_load_explicit(&queue->serving, memory_order_relaxed) != queue->bound)
		atomic_store_explicit(&queue->serving, queue->bound, memory_order_release);
	if (target <= queue->bound || !loop->room_kept)
		return;
	loop_make_room(loop);
	act = decide_room_act(loop, queue, ACT_ROOM_SERVE, USH_RECORD_TYPE_ROOM_SERVE, 1);
	record = &loop->records[act->record_first];
	record->mask = target;
	record->deadline_ns = loop->now_ns;
	loop_act_done(loop, act);
}

void room_serve(struct ush_loop *loop)
{
	struct ush_rooms *rooms = &loop->engine->rooms;
	uint32_t count = ush_rooms_count(rooms);

	for (uint32_t i = 0; i < count; i++) {
		struct ush_queue *queue = &rooms->queues[i];

		if (ush_queue_phase(queue) == USH_ROOM_PHASE_SERVING && queue->owner == loop->index)
			serve(loop, queue);
	}
}
