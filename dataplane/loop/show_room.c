/* SPDX-License-Identifier: Apache-2.0 */
/* What was decided about a waiting room is made visible, by a record whose slot is reserved. */
#include "loop/internal.h"

static void show_join(struct ush_loop *loop, struct act *act)
{
	const struct ush_record *record = &loop->records[act->record_first];
	struct ush_queue *queue = act->queue;
	struct ush_room_place place = {
		.number = record->amount, .tier = record->state & 7u, .slot = act->hold};

	/* Before the place: who finds it may ask for its number. */
	if ((record->state & 128u) != 0 && place.tier == USH_ROOM_TIER_FIFO)
		ush_visit_set(
			queue, ush_queue_number(queue, place.tier, place.number), USH_VISIT_SLOW);
	ush_room_show(&queue->room, &place);
}

void show_room(struct ush_loop *loop, struct act *act, uint64_t last)
{
	const struct ush_record *record = &loop->records[act->record_first];
	struct ush_queue *queue = act->queue;

	switch ((enum act_kind)act->kind) {
	case ACT_ROOM_OPEN:
		ush_queue_show_open(&loop->engine->rooms, queue);
		break;
	case ACT_ROOM_JOIN:
		show_join(loop, act);
		break;
	case ACT_ROOM_CLOSE:
		ush_queue_order_by(queue, last);
		ush_queue_show_close(queue);
		break;
	case ACT_ROOM_DRAW:
		ush_queue_order_by(queue, last);
		ush_queue_show_draw(queue);
		break;
	case ACT_ROOM_SERVE:
		queue->bound = record->mask;
		queue->bound_sequence = last;
		break;
	case ACT_ROOM_EXCHANGE:
		if (act->seats != 0)
			atomic_fetch_add_explicit(&queue->exchanged, 1, memory_order_relaxed);
		ush_visit_set(queue, record->mask, ush_visit_word(record->deadline_ns));
		break;
	case ACT_ROOM_SET:
		atomic_store_explicit(&queue->cap, record->amount, memory_order_relaxed);
		atomic_store_explicit(&queue->paused, record->state, memory_order_relaxed);
		break;
	case ACT_ROOM_KEY:
		ush_queue_show_key(queue, record->state);
		break;
	default:
		USH_ASSERT(act->queue == NULL);
		break;
	}
}
