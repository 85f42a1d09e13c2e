/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of a waiting room is done outside the loops: the tables of a draw, and the pace. Both run on
 * the housekeeping thread; loops see their results by words that are stored last.
 */
#include <string.h>

#include "loop/internal.h"

#define SECOND_NS 1000000000ull
#define MINUTE_NS (60 * SECOND_NS)
/* A step at most so often. */
#define STEP_NS 50000000ull
/* Without a cap: people a minute. */
#define RATE_MAX 600000u

void ush_engine_room_prepare(struct ush_engine *engine, const uint8_t *payload, size_t size)
{
	struct ush_request request;
	struct ush_room_draw drawn;
	struct ush_queue *queue;
	const uint8_t *body;
	uint32_t value;

	USH_ASSERT(size >= sizeof(request));
	memcpy(&request, payload, sizeof(request));
	queue = ush_rooms_find(&engine->rooms, request.event);
	body = decide_extension(payload, &request, USH_EXTENSION_ROOM_DRAW, &value);
	if (request.arg != USH_ROOM_ACTION_DRAW || queue == NULL || body == NULL)
		return;
	memcpy(&drawn, body, sizeof(drawn));
	/* What else is wrong with it, the loop says. */
	if (drawn.beacon_bytes >= 16 && drawn.beacon_bytes <= sizeof(drawn.beacon))
		(void)ush_queue_draw(&engine->rooms, queue, &drawn);
}

static uint64_t allowed(struct ush_queue *queue, uint64_t now_ns)
{
	uint64_t cap = ush_min64(
		atomic_load_explicit(&queue->cap, memory_order_relaxed), RATE_MAX);
	uint64_t ns = ush_min64(now_ns - queue->step_ns, SECOND_NS), people;

	/* A second's worth at most, one person at least. */
	queue->credit = ush_min64(
		queue->credit + cap * ns, cap == 0 ? 0 : ush_max64(cap * SECOND_NS, MINUTE_NS));
	people = queue->credit / MINUTE_NS;
	return people;
}

static void step(const struct ush_engine *engine, struct ush_queue *queue, uint64_t now_ns)
{
	const struct ush_event *event = ush_inventory_event(&engine->inventory, queue->event);
	uint64_t target = atomic_load_explicit(&queue->target, memory_order_relaxed);
	uint64_t waiting = ush_queue_end(queue), people = allowed(queue, now_ns);
	uint32_t limit = USH_ROOM_LIMIT_EVERYBODY;

	waiting = waiting > target ? waiting - target : 0;
	if (people < waiting)
		limit = USH_ROOM_LIMIT_CAP;
	people = ush_min64(people, waiting);
	if (ush_event_sold_out(event, ush_log_durable(&engine->log))) {
		limit = USH_ROOM_LIMIT_SOLD_OUT;
	} else if (atomic_load_explicit(&queue->paused, memory_order_relaxed) != 0 ||
		   atomic_load_explicit(&event->status, memory_order_relaxed) !=
			   USH_EVENT_STATUS_ON_SALE) {
		limit = USH_ROOM_LIMIT_PAUSED;
	}
	if (limit == USH_ROOM_LIMIT_SOLD_OUT || limit == USH_ROOM_LIMIT_PAUSED) {
		people = 0;
		queue->credit = 0;
	}
	queue->credit -= people * MINUTE_NS;
	queue->step_ns = now_ns;
	atomic_store_explicit(&queue->limit, limit, memory_order_relaxed);
	atomic_store_explicit(&queue->target, target + people, memory_order_relaxed);
}

void ush_engine_rooms_step(struct ush_engine *engine, uint64_t now_ns)
{
	uint32_t count = ush_rooms_count(&engine->rooms);

	for (uint32_t i = 0; i < count; i++) {
		struct ush_queue *queue = &engine->rooms.queues[i];

		if (ush_queue_phase(queue) == USH_ROOM_PHASE_SERVING &&
			now_ns - queue->step_ns >= STEP_NS)
			step(engine, queue, now_ns);
	}
}

void rooms_replayed(struct ush_engine *engine, uint64_t now_ns)
{
	uint32_t count = ush_rooms_count(&engine->rooms), owner;

	for (uint32_t i = 0; i < count; i++) {
		struct ush_queue *queue = &engine->rooms.queues[i];

		ush_room_replayed(&queue->room);
		/* The loop that control messages of the event go to. */
		for (owner = queue->event; owner >= engine->limits.loop_count;)
			owner -= engine->limits.loop_count;
		queue->owner = owner;
		queue->step_ns = now_ns;
		atomic_store_explicit(&queue->serving, queue->bound, memory_order_relaxed);
		atomic_store_explicit(&queue->target, queue->bound, memory_order_relaxed);
	}
}
