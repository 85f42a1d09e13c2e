/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's memory: laid out once from the limits, never grown.
 */
#include <string.h>

#include "loop/internal.h"

#define PAGE 4096u

static size_t page_up(size_t bytes)
{
	return (bytes + PAGE - 1) & ~(size_t)(PAGE - 1);
}

void ush_engine_limits_default(struct ush_engine_limits *limits)
{
	*limits = (struct ush_engine_limits){
		.loop_count = 1,
		.hold_count = 1u << 20,
		.user_count = 1u << 21,
		.answer_count = 1u << 21,
		.row_count = 1u << 20,
		.channel_row_count = 4096,
		.wait_count = 1u << 16,
		.room_device_count = 1u << 16,
		.log_block_count = 4096,
		.ack_count = 1u << 15,
	};
}

static bool is_pow2(uint32_t x)
{
	return x != 0 && (x & (x - 1)) == 0;
}

static int check_limits(const struct ush_engine_limits *l, struct ush_message *message)
{
	/* All loops' worst batches must fit in the share that is kept for payers. */
	uint64_t batch = (uint64_t)ush_log_slots_worst(BATCH_RECORDS) * l->loop_count;

	if (l->loop_count < 1 || l->loop_count > USH_LOOP_COUNT_MAX)
		ush_message_set(
			message, "loops: %u is outside 1 to %u", l->loop_count, USH_LOOP_COUNT_MAX);
	else if (l->hold_count < 64 || l->hold_count > 1u << USH_HOLD_INDEX_BITS)
		ush_message_set(message, "holds: %u is outside 64 to %u", l->hold_count,
			1u << USH_HOLD_INDEX_BITS);
	else if (l->user_count < 64 || l->user_count > 1u << 30)
		ush_message_set(message, "users: %u is outside 64 to 2^30", l->user_count);
	else if (l->answer_count < 64 || l->answer_count > 1u << 30)
		ush_message_set(message, "answers: %u is outside 64 to 2^30", l->answer_count);
	else if (l->row_count < 1 || l->row_count > 1u << 28)
		ush_message_set(message, "rows: %u is outside 1 to 2^28", l->row_count);
	else if (l->channel_row_count > 1u << 24)
		ush_message_set(
			message, "channel_rows: %u is more than 2^24", l->channel_row_count);
	else if (l->wait_count > 1u << 24)
		ush_message_set(message, "waiting: %u is more than 2^24", l->wait_count);
	else if (l->room_user_count > USH_ROOM_USERS_MAX || l->room_device_count > 1u << 26)
		ush_message_set(message, "room_users: more than %u; room_devices: more than 2^26",
			USH_ROOM_USERS_MAX);
	else if (l->admit_source_count > 1u << 26 || l->admit_user_count > 1u << 26)
		ush_message_set(message, "admit_sources, admit_users: more than 2^26");
	else if (!is_pow2(l->log_block_count) || l->log_block_count > 1u << 20 ||
		 batch > (uint64_t)l->log_block_count * USH_BLOCK_SLOTS / 8)
		ush_message_set(message,
			"log_blocks: %u must be a power of two, at most 2^20 and at least %u",
			l->log_block_count, ush_pow2_ceil32((uint32_t)(batch / 8)));
	else if (!is_pow2(l->ack_count) || l->ack_count < USH_LOOP_BURST || l->ack_count > 1u << 24)
		ush_message_set(message, "acks: %u must be a power of two from %u to 2^24",
			l->ack_count, USH_LOOP_BURST);
	else
		return 0;
	return -USH_EINVAL;
}

static size_t loops_bytes(const struct ush_engine_limits *limits)
{
	return page_up(limits->loop_count * sizeof(struct ush_loop));
}

static size_t acks_bytes(const struct ush_engine_limits *limits)
{
	return page_up(ush_acks_bytes(limits->ack_count));
}

static bool has_gate(const struct ush_engine_limits *l)
{
	return l->admit_source_count != 0 && l->admit_user_count != 0;
}

static size_t gate_bytes(const struct ush_engine_limits *l)
{
	if (!has_gate(l))
		return 0;
	return page_up(sizeof(struct ush_gate)) +
	       page_up(ush_gate_bytes(l->admit_source_count, l->admit_user_count));
}

static size_t rooms_bytes(const struct ush_engine_limits *l)
{
	if (l->room_user_count == 0)
		return 0;
	return page_up(ush_rooms_bytes(l->room_user_count)) +
	       page_up(ush_devices_bytes(l->room_device_count));
}

size_t ush_engine_bytes(const struct ush_engine_limits *l, struct ush_message *message)
{
	if (check_limits(l, message) != 0)
		return 0;
	return page_up(sizeof(struct ush_engine)) + loops_bytes(l) + acks_bytes(l) * l->loop_count +
	       page_up(ush_inventory_bytes(l->row_count, l->loop_count)) +
	       page_up(ush_channels_bytes(l->channel_row_count)) +
	       page_up(ush_waits_bytes(l->wait_count)) + rooms_bytes(l) + gate_bytes(l) +
	       page_up(ush_holds_bytes(l->hold_count, l->loop_count)) +
	       page_up(ush_users_bytes(l->user_count, l->answer_count, l->loop_count)) +
	       (size_t)l->log_block_count * USH_BLOCK_BYTES;
}

static void *carve(uint8_t **at, size_t bytes)
{
	void *part = *at;

	*at += page_up(bytes);
	return part;
}

struct ush_engine *ush_engine_init(
	void *memory, const struct ush_engine_limits *limits, const struct ush_key *hold_key)
{
	const struct ush_engine_limits *l = limits;
	uint8_t *at = memory;
	struct ush_engine *engine = carve(&at, sizeof(*engine));

	USH_ASSERT(((uintptr_t)memory & (PAGE - 1)) == 0);
	USH_ASSERT(check_limits(limits, NULL) == 0);
	engine->limits = *limits;
	engine->loops = carve(&at, loops_bytes(l));
	for (uint32_t i = 0; i < l->loop_count; i++) {
		struct ush_loop *loop = &engine->loops[i];
		loop->engine = engine;
		loop->index = i;
		ush_acks_init(&loop->acks, carve(&at, acks_bytes(l)), l->ack_count);
	}
	ush_inventory_init(&engine->inventory,
		carve(&at, ush_inventory_bytes(l->row_count, l->loop_count)), l->row_count,
		l->loop_count);
	ush_channels_init(&engine->channels, carve(&at, ush_channels_bytes(l->channel_row_count)),
		l->channel_row_count);
	ush_waits_init(&engine->waits, carve(&at, ush_waits_bytes(l->wait_count)), l->wait_count,
		l->loop_count);
	if (l->room_user_count != 0) {
		struct ush_key key = {ush_siphash_2(hold_key, 0x726f6f6d73, 1),
			ush_siphash_2(hold_key, 0x726f6f6d73, 2)};
		ush_rooms_init(&engine->rooms, carve(&at, ush_rooms_bytes(l->room_user_count)),
			l->room_user_count, &key);
		ush_devices_init(&engine->devices,
			carve(&at, ush_devices_bytes(l->room_device_count)), l->room_device_count,
			&key);
	}
	if (has_gate(l)) {
		engine->gate = carve(&at, sizeof(*engine->gate));
		ush_gate_init(engine->gate,
			carve(&at, ush_gate_bytes(l->admit_source_count, l->admit_user_count)),
			l->admit_source_count, l->admit_user_count);
	}
	ush_holds_init(&engine->holds, carve(&at, ush_holds_bytes(l->hold_count, l->loop_count)),
		l->hold_count, l->loop_count, hold_key);
	ush_users_init(&engine->users,
		carve(&at, ush_users_bytes(l->user_count, l->answer_count, l->loop_count)),
		l->user_count, l->answer_count, l->loop_count,
		ush_siphash_2(hold_key, 0x75736572, 1));
	ush_log_init(&engine->log, carve(&at, (size_t)l->log_block_count * USH_BLOCK_BYTES),
		l->log_block_count);
	for (uint32_t i = 0; i < l->loop_count; i++)
		engine->loops[i].pool = &engine->holds.pools[i];
	engine->state = (struct ush_state){
		.inventory = &engine->inventory,
		.holds = &engine->holds,
		.users = &engine->users,
		.channels = &engine->channels,
		.waits = &engine->waits,
		.rooms = &engine->rooms,
		.devices = &engine->devices,
	};
	return engine;
}

struct ush_log *ush_engine_log(struct ush_engine *engine)
{
	return &engine->log;
}

struct ush_loop *ush_engine_loop(struct ush_engine *engine, uint32_t index)
{
	USH_ASSERT(index < engine->limits.loop_count);
	return &engine->loops[index];
}

int ush_engine_apply(struct ush_engine *engine, const struct ush_record *records, uint32_t n,
	struct ush_message *message)
{
	return ush_apply(&engine->state, records, n, message);
}

void ush_engine_ahead(const struct ush_engine *engine, const struct ush_record *records,
	uint32_t count, bool near)
{
	if (near)
		ush_apply_near(&engine->state, records, count);
	else
		ush_apply_ahead(&engine->state, records, count);
}

void ush_engine_replayed(
	struct ush_engine *engine, uint64_t now_ns, struct ush_engine_resume *resume)
{
	uint32_t live = ush_holds_replayed(&engine->holds, now_ns);

	USH_ASSERT(live == engine->state.live_holds);
	match_replayed(engine);
	rooms_replayed(engine);
	for (uint32_t id = 1; engine->gate != NULL && id <= USH_EVENT_ID_MAX; id++) {
		if (ush_inventory_event(&engine->inventory, id) != NULL)
			ush_gate_event(engine->gate, id);
	}
	resume->live_holds = live;
	resume->time_ns = engine->state.time_ns;
	for (uint32_t i = 0; i < engine->limits.loop_count; i++) {
		struct ush_loop *loop = &engine->loops[i];
		atomic_store_explicit(&loop->live, loop->pool->wheel.count, memory_order_relaxed);
		loop->now_ns = now_ns;
	}
}

void ush_loop_resume(struct ush_loop *loop, uint64_t credit_ns, uint64_t now_ns)
{
	struct ush_engine *engine = loop->engine;
	struct ush_holds *holds = &engine->holds;
	struct ush_record record = {
		.type = USH_RECORD_TYPE_RESUME,
		.run_count = 1,
		.mask = credit_ns,
		.deadline_ns = now_ns,
	};
	uint64_t sequence;

	USH_ASSERT(loop->index == 0);
	ush_log_append(&engine->log, &record, 1, &sequence);
	for (uint32_t i = 1; i < holds->count; i++) {
		struct ush_hold *hold = ush_holds_line(holds, i);
		uint64_t word = atomic_load_explicit(&hold->word, memory_order_relaxed);
		uint32_t state = ush_hold_word_state(word);
		if (state != USH_HOLD_STATE_HELD && state != USH_HOLD_STATE_PAYING)
			continue;
		struct ush_hold_pool *pool = &holds->pools[ush_hold_word_owner(word)];
		ush_wheel_remove(pool, i);
		hold->deadline_ns += credit_ns;
		/* Whoever is told of the new deadline waits for the record it rests on. */
		hold->sequence = sequence;
		ush_wheel_add(pool, i);
	}
}

int ush_engine_event_build(struct ush_engine *engine, uint32_t event_id, const void *image,
	size_t image_bytes, struct ush_event **event, struct ush_message *message)
{
	return ush_event_build(&engine->inventory, event_id, image, image_bytes, event, message);
}

void ush_engine_event_discard(struct ush_engine *engine, struct ush_event *event)
{
	ush_event_discard(&engine->inventory, event);
}

enum ush_status ush_engine_change_build(struct ush_engine *engine, uint32_t event_id,
	uint32_t request_id, const void *before, const void *image, size_t image_bytes,
	struct ush_change **change, uint32_t *row, struct ush_message *message)
{
	struct ush_event *event = ush_inventory_event(&engine->inventory, event_id);
	uint64_t digest = ush_image_digest(image, image_bytes);
	const struct ush_change *done = NULL;
	uint32_t known;
	int error;

	*row = UINT32_MAX;
	if (event == NULL) {
		ush_message_set(message, "event %u is not loaded", event_id);
		return USH_STATUS_UNKNOWN_EVENT;
	}
	known = ush_change_known(event, request_id, digest, &done);
	if (known == USH_STATUS_MISMATCH || known == USH_STATUS_STALE) {
		ush_message_set(message, "request id %u: %s", request_id,
			known == USH_STATUS_STALE ? "below one that was used"
						  : "used with another image");
		return (enum ush_status)known;
	}
	/* The loop finds it again, by its digest. */
	if (known == USH_STATUS_OK && done != NULL) {
		*change = (struct ush_change *)(uintptr_t)done;
		return USH_STATUS_OK;
	}
	error = ush_change_build(
		&engine->inventory, event, image, image_bytes, change, row, message);
	if (error == 0 && before != NULL) {
		error = ush_image_compare(before, image, row, message);
		if (error != 0)
			ush_change_discard(&engine->inventory, *change);
	}
	switch (error) {
	case 0:
		return USH_STATUS_OK;
	case -USH_EINVAL:
		return USH_STATUS_IMAGE_DIFFERS;
	case -USH_EFULL:
		return USH_STATUS_BUSY;
	default:
		return USH_STATUS_BAD_IMAGE;
	}
}

void ush_engine_change_discard(struct ush_engine *engine, struct ush_change *change)
{
	const struct ush_change *at = ush_event_change(change->event);

	while (at != NULL && at != change)
		at = at->prev;
	if (at == NULL)
		ush_change_discard(&engine->inventory, change);
}

uint64_t ush_engine_event_digest(const struct ush_engine *engine, uint32_t event_id)
{
	const struct ush_event *event = ush_inventory_event(&engine->inventory, event_id);

	return event != NULL ? ush_event_digest(event) : 0;
}

uint64_t ush_engine_image_digest(const void *image, size_t image_bytes)
{
	return ush_image_digest(image, image_bytes);
}

void ush_engine_set_image_find(
	struct ush_engine *engine, ush_engine_image_find *find, void *context)
{
	engine->state.image_find = find;
	engine->state.image_context = context;
}

void ush_engine_set_hash(struct ush_engine *engine, ush_engine_hash *hash)
{
	engine->rooms.hash = hash;
}

uint32_t ush_engine_rooms(const struct ush_engine *engine)
{
	return ush_rooms_count(&engine->rooms);
}

void ush_loop_counters_read(const struct ush_loop *loop, struct ush_loop_counters *counters)
{
	const uint64_t *from = (const uint64_t *)(const void *)&loop->counters;
	uint64_t *to = (uint64_t *)(void *)counters;

	static_assert(sizeof(*counters) % sizeof(uint64_t) == 0, "words only");
	for (size_t i = 0; i < sizeof(*counters) / sizeof(uint64_t); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

bool ush_engine_event_view(
	const struct ush_engine *engine, uint32_t event_id, struct ush_event_view *view)
{
	const struct ush_event *event = ush_inventory_event(&engine->inventory, event_id);

	if (event == NULL)
		return false;
	*view = (struct ush_event_view){
		.event = event_id,
		.status = atomic_load_explicit(&event->status, memory_order_relaxed),
		.row_count = ush_event_row_count(event),
		.seat_count = ush_event_seat_count(event),
		.free_count = (uint32_t)ush_event_free_count(event),
		.house_count = atomic_load_explicit(&event->house_count, memory_order_relaxed),
		.sold_count = atomic_load_explicit(&event->sold_count, memory_order_relaxed),
		.changes = ush_event_change(event) != NULL ? ush_event_change(event)->number : 0,
		.prices = ush_event_prices(event)->number,
		.digest = ush_event_digest(event),
	};
	if (view->status == USH_EVENT_STATUS_ON_SALE &&
		ush_event_sold_out(event, ush_log_durable(&engine->log)))
		view->status = USH_EVENT_STATUS_SOLD_OUT;
	return true;
}
