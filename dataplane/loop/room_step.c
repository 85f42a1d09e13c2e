/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of a waiting room is done outside the loops: the tables of a draw, and the pace. Both run on
 * the housekeeping thread; loops see their results by words that are stored last.
 */
#include <string.h>

#include "loop/internal.h"

#define MINUTE_NS 60000000000ull
/* A period: steps come at most so often. */
#define STEP_NS 100000000ull
#define MILLION 1000000ull

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

/* How full the turns of the busiest loop were since the last step, parts per million. */
static uint32_t measure_load(struct ush_engine *engine)
{
	uint64_t most = 0;

	for (uint32_t i = 0; i < engine->limits.loop_count; i++) {
		const struct ush_loop_counters *c = &engine->loops[i].counters;
		uint64_t packets = __atomic_load_n(&c->rx_packets, __ATOMIC_RELAXED);
		uint64_t turns = __atomic_load_n(&c->turns, __ATOMIC_RELAXED);
		struct ush_loop_seen *seen = &engine->seen[i];
		uint64_t room = (turns - seen->turns) * USH_LOOP_BURST;

		if (room != 0)
			most = ush_max64(most, (packets - seen->packets) * MILLION / room);
		*seen = (struct ush_loop_seen){packets, turns};
	}
	return (uint32_t)ush_min64(most, MILLION);
}

static void measure_seats(const struct ush_event *event, struct ush_pace_input *input)
{
	uint64_t sold = atomic_load_explicit(&event->sold_count, memory_order_relaxed);
	uint64_t gone;

	for (uint32_t i = 0; i < event->tally_count; i++) {
		const struct ush_tally *tally = &event->tally[i];

		input->holds_made += atomic_load_explicit(&tally->holds, memory_order_relaxed);
		input->seats_returned +=
			atomic_load_explicit(&tally->returned, memory_order_relaxed);
		input->seats_claimed += atomic_load_explicit(&tally->taken, memory_order_relaxed);
	}
	gone = input->seats_returned + sold;
	input->seats_sold = sold;
	input->seats_free = (uint32_t)ush_event_free_count(event);
	input->seats_live =
		(uint32_t)(input->seats_claimed > gone ? input->seats_claimed - gone : 0);
}

static void measure(const struct ush_engine *engine, const struct ush_queue *queue, uint64_t now_ns,
	uint32_t load_ppm, struct ush_pace_input *input)
{
	const struct ush_event *event = ush_inventory_event(&engine->inventory, queue->event);

	*input = (struct ush_pace_input){
		.now_ns = now_ns,
		.queue_end = ush_queue_end(queue),
		.exchanged = atomic_load_explicit(&queue->exchanged, memory_order_relaxed),
		.load_ppm = load_ppm,
		.cap = atomic_load_explicit(&queue->cap, memory_order_relaxed),
		.paused = atomic_load_explicit(&queue->paused, memory_order_relaxed) != 0 ||
			  atomic_load_explicit(&event->status, memory_order_relaxed) !=
				  USH_EVENT_STATUS_ON_SALE,
		.sold_out = ush_event_sold_out(event, ush_log_durable(&engine->log)),
	};
	measure_seats(event, input);
}

/* People who may be called or inside when a restart begins: tokens that are good, and the last of
 * those called who did not come, as many as are called in the time they have. */
static uint32_t count_inside(const struct ush_queue *queue, uint64_t now_ns, uint64_t rate)
{
	uint64_t late = rate * 2 < queue->bound ? queue->bound - rate * 2 : 0;
	uint32_t inside = 0;

	for (uint64_t number = 0; number < queue->bound; number++) {
		uint16_t word = ush_visit(queue, number);

		inside += ush_visit_live(word, now_ns) != 0 ||
			  (number >= late && (word & USH_VISIT_DONE) == 0);
	}
	return inside;
}

static void step(
	struct ush_engine *engine, struct ush_queue *queue, uint64_t now_ns, uint32_t load_ppm)
{
	struct ush_pace_input input;
	struct ush_pace_says says;

	measure(engine, queue, now_ns, load_ppm, &input);
	if (!queue->paced) {
		struct ush_pace_config config;
		uint64_t bound = atomic_load_explicit(&queue->target, memory_order_relaxed);

		ush_pace_config_default(&config);
		ush_pace_init(&queue->pace, &config, &input, bound,
			bound == 0 ? 0 : count_inside(queue, now_ns, config.rate_start));
		queue->paced = true;
	}
	ush_pace_step(&queue->pace, &input, &says);
	atomic_store_explicit(&queue->limit, (uint32_t)says.limit, memory_order_relaxed);
	atomic_store_explicit(&queue->rate, says.rate, memory_order_relaxed);
	atomic_store_explicit(
		&queue->wait_ns, says.rate == 0 ? 0 : MINUTE_NS / says.rate, memory_order_relaxed);
	atomic_store_explicit(&queue->target, says.serving, memory_order_relaxed);
}

void ush_engine_rooms_step(struct ush_engine *engine, uint64_t now_ns)
{
	uint32_t count = ush_rooms_count(&engine->rooms), load_ppm;

	if (now_ns - engine->rooms_step_ns < STEP_NS)
		return;
	engine->rooms_step_ns = now_ns;
	load_ppm = measure_load(engine);
	for (uint32_t i = 0; i < count; i++) {
		struct ush_queue *queue = &engine->rooms.queues[i];

		if (ush_queue_phase(queue) == USH_ROOM_PHASE_SERVING)
			step(engine, queue, now_ns, load_ppm);
	}
}

void rooms_replayed(struct ush_engine *engine)
{
	uint32_t count = ush_rooms_count(&engine->rooms), owner;

	for (uint32_t i = 0; i < count; i++) {
		struct ush_queue *queue = &engine->rooms.queues[i];

		ush_room_replayed(&queue->room);
		/* The loop that control messages of the event go to. */
		for (owner = queue->event; owner >= engine->limits.loop_count;)
			owner -= engine->limits.loop_count;
		queue->owner = owner;
		atomic_store_explicit(&queue->serving, queue->bound, memory_order_relaxed);
		atomic_store_explicit(&queue->target, queue->bound, memory_order_relaxed);
	}
}
