/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of waiting rooms. Joins of several loops stand in any order, but for this: a place of the
 * queue comes after the closing of the lobby, an exchange after the call of its number.
 */
#include <string.h>

#include "apply/internal.h"
#include "room/queue.h"

#define PIECE_AT 16u
#define PIECE_BYTES (sizeof(struct ush_record) - PIECE_AT)

static int find_queue(struct ush_state *state, const struct ush_record *r, struct ush_queue **queue,
	struct ush_message *message)
{
	*queue = ush_rooms_find(state->rooms, r->event);
	return *queue != NULL ? 0 : bad(r, message, "the event has no waiting room");
}

/* What the records of a run carry, one behind the other. */
static int gather(const struct ush_record *records, uint32_t count, void *out, size_t bytes,
	struct ush_message *message)
{
	if (count * PIECE_BYTES != bytes)
		return bad(records, message, "a run of another length");
	for (uint32_t i = 0; i < count; i++)
		memcpy((uint8_t *)out + i * PIECE_BYTES, (const uint8_t *)&records[i] + PIECE_AT,
			PIECE_BYTES);
	return 0;
}

static int apply_open(struct ush_state *state, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	struct ush_room_open opened;
	struct ush_queue *queue;
	struct ush_event *event;
	int error = find_event(state, records, &event, message);

	if (error == 0)
		error = gather(records, count, &opened, sizeof(opened), message);
	if (error != 0)
		return error;
	if (ush_rooms_find(state->rooms, records->event) != NULL)
		return bad(records, message, "the event has a waiting room already");
	if (opened.users == 0 || opened.source_bytes >= sizeof(opened.source))
		return bad(records, message, "a waiting room that cannot be");
	queue = ush_queue_begin(state->rooms, records->event, &opened);
	if (queue == NULL)
		return full(records, message, "room_users");
	ush_queue_show_open(state->rooms, queue);
	return 0;
}

static int apply_join(
	struct ush_state *state, const struct ush_record *r, struct ush_message *message)
{
	struct ush_room_place place = {.number = r->amount, .tier = r->state & 7u};
	bool slow = (r->state & 128u) != 0;
	struct ush_queue *queue;
	uint64_t number;
	int error = find_queue(state, r, &queue, message);

	if (error != 0)
		return error;
	if ((r->state & ~135u) != 0)
		return bad(r, message, "no such tier");
	switch (ush_room_replay_join(&queue->room, r->user, &place)) {
	case 0:
		break;
	case -USH_EEXIST:
		return bad(r, message, "the user has joined already");
	case -USH_EFULL:
		return bad(r, message, "more join than the room was opened for");
	default:
		return bad(r, message, "no such place in a waiting room");
	}
	ush_devices_join(state->devices, r->event, r->hold);
	state->time_ns = ush_max64(state->time_ns, r->deadline_ns);
	if (!slow || place.tier != USH_ROOM_TIER_FIFO)
		return 0;
	number = ush_queue_number(queue, place.tier, place.number);
	if (number == UINT64_MAX)
		return bad(r, message, "no such place in a waiting room");
	ush_visit_set(queue, number, USH_VISIT_SLOW);
	return 0;
}

static int apply_close(
	struct ush_state *state, const struct ush_record *r, struct ush_message *message)
{
	struct ush_room_close close;
	struct ush_queue *queue;
	int error = find_queue(state, r, &queue, message);

	if (error == 0)
		error = gather(r, 1, &close, sizeof(close), message);
	if (error != 0)
		return error;
	if (ush_queue_phase(queue) != USH_ROOM_PHASE_LOBBY ||
		ush_room_replay_close(&queue->room, close.counts) != 0)
		return bad(r, message, "a lobby is closed that cannot be, or with too few places");
	state->time_ns = ush_max64(state->time_ns, close.time_ns);
	ush_queue_show_close(queue);
	return 0;
}

static int apply_draw(struct ush_state *state, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	struct ush_room_draw drawn;
	struct ush_queue *queue;
	int error = find_queue(state, records, &queue, message);

	if (error == 0)
		error = gather(records, count, &drawn, sizeof(drawn), message);
	if (error != 0)
		return error;
	if (drawn.beacon_bytes > sizeof(drawn.beacon))
		return bad(records, message, "a beacon that is too long");
	switch (ush_queue_draw(state->rooms, queue, &drawn)) {
	case 0:
		ush_queue_show_draw(queue);
		return 0;
	case -USH_EINVAL:
		return bad(records, message, "the seed of a draw is not that of its hash");
	case -USH_ENOENT:
		return bad(records, message, "no SHA-256 at hand");
	default:
		return bad(records, message, "a draw of a lobby that is open, or drawn");
	}
}

static int apply_serve(
	struct ush_state *state, const struct ush_record *r, struct ush_message *message)
{
	struct ush_queue *queue;
	int error = find_queue(state, r, &queue, message);

	if (error != 0)
		return error;
	if (ush_queue_phase(queue) != USH_ROOM_PHASE_SERVING)
		return bad(r, message, "a waiting room serves that has no order");
	/* The joins of the last numbers may still be to come, or never come. */
	if (r->mask <= queue->bound)
		return bad(r, message, "a waiting room serves backwards");
	state->time_ns = ush_max64(state->time_ns, r->deadline_ns);
	queue->bound = r->mask;
	return 0;
}

static int apply_exchange(
	struct ush_state *state, const struct ush_record *r, struct ush_message *message)
{
	struct ush_room_place place;
	struct ush_queue *queue;
	uint64_t made_ns = r->deadline_ns - ((uint64_t)USH_VISIT_UNITS << USH_VISIT_UNIT_BITS);
	uint16_t word;
	int error = find_queue(state, r, &queue, message);

	if (error != 0)
		return error;
	if (ush_room_find(&queue->room, ush_queue_hash(queue, r->user), r->user, &place) !=
			USH_ROOM_ALREADY ||
		place.tier != r->state || place.number != r->amount)
		return bad(r, message, "a ticket is exchanged that was never given");
	if (ush_queue_phase(queue) != USH_ROOM_PHASE_SERVING ||
		ush_queue_number(queue, r->state, r->amount) != r->mask)
		return bad(r, message, "the place has another number");
	if (r->mask >= queue->bound)
		return bad(r, message, "a ticket is exchanged that was not called");
	word = ush_visit(queue, r->mask);
	if (ush_visit_live(word, made_ns) != 0)
		return bad(r, message, "a ticket is exchanged twice within a token's life");
	if ((word & USH_VISIT_DONE) == 0)
		atomic_fetch_add_explicit(&queue->exchanged, 1, memory_order_relaxed);
	ush_visit_set(queue, r->mask, ush_visit_word(r->deadline_ns));
	return 0;
}

static int apply_key(
	struct ush_state *state, const struct ush_record *r, struct ush_message *message)
{
	struct ush_ticket_keys keys;
	struct ush_queue *queue;
	int error = find_queue(state, r, &queue, message);

	if (error != 0)
		return error;
	ush_queue_keys(queue, &keys);
	if (r->state != (uint8_t)(keys.newest + 1u))
		return bad(r, message, "the ids of ticket keys have a gap");
	ush_queue_show_key(queue, r->state);
	return 0;
}

static int apply_set(
	struct ush_state *state, const struct ush_record *r, struct ush_message *message)
{
	struct ush_queue *queue;
	int error = find_queue(state, r, &queue, message);

	if (error != 0)
		return error;
	if (r->state > 1)
		return bad(r, message, "neither paused nor not");
	atomic_store_explicit(&queue->cap, r->amount, memory_order_relaxed);
	atomic_store_explicit(&queue->paused, r->state, memory_order_relaxed);
	return 0;
}

int apply_room(struct ush_state *state, const struct ush_record *records, uint32_t count,
	struct ush_message *message)
{
	switch (records->type) {
	case USH_RECORD_TYPE_ROOM_OPEN:
		return apply_open(state, records, count, message);
	case USH_RECORD_TYPE_ROOM_JOIN:
		return apply_join(state, records, message);
	case USH_RECORD_TYPE_ROOM_CLOSE:
		return apply_close(state, records, message);
	case USH_RECORD_TYPE_ROOM_DRAW:
		return apply_draw(state, records, count, message);
	case USH_RECORD_TYPE_ROOM_SERVE:
		return apply_serve(state, records, message);
	case USH_RECORD_TYPE_ROOM_EXCHANGE:
		return apply_exchange(state, records, message);
	case USH_RECORD_TYPE_ROOM_SET:
		return apply_set(state, records, message);
	case USH_RECORD_TYPE_ROOM_KEY:
		return apply_key(state, records, message);
	default:
		return bad(records, message, "unknown record type");
	}
}
