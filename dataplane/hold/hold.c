/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "hold/hold.h"

static size_t lines_bytes(uint32_t hold_count)
{
	return (size_t)hold_count * sizeof(struct ush_hold);
}

static size_t pools_bytes(uint32_t loop_count)
{
	size_t bytes = loop_count * sizeof(struct ush_hold_pool);

	return (bytes + USH_CACHE_LINE - 1) & ~(size_t)(USH_CACHE_LINE - 1);
}

size_t ush_holds_bytes(uint32_t hold_count, uint32_t loop_count)
{
	return lines_bytes(hold_count) + pools_bytes(loop_count) +
	       (size_t)hold_count * (sizeof(uint32_t) + sizeof(uint16_t));
}

void ush_holds_init(struct ush_holds *holds, void *memory, uint32_t hold_count, uint32_t loop_count,
	const struct ush_key *key)
{
	uint8_t *at = memory;

	USH_ASSERT(hold_count >= 2);
	USH_ASSERT(hold_count <= 1u << USH_HOLD_INDEX_BITS);
	holds->lines = memory;
	holds->count = hold_count;
	holds->loop_count = loop_count;
	holds->key = *key;
	at += lines_bytes(hold_count);
	holds->pools = (void *)at;
	at += pools_bytes(loop_count);
	holds->free_memory = (void *)at;
	at += (size_t)hold_count * sizeof(uint32_t);
	holds->prices = (void *)at;
	for (uint32_t i = 0; i < loop_count; i++) {
		struct ush_hold_pool *pool = &holds->pools[i];
		pool->lines = holds->lines;
		pool->pools = holds->pools;
		pool->loop = i;
	}
}

static void replayed_line(struct ush_holds *holds, uint32_t index, uint32_t *live)
{
	struct ush_hold *hold = &holds->lines[index];
	uint64_t word = atomic_load_explicit(&hold->word, memory_order_relaxed);
	uint32_t owner = index % holds->loop_count;
	struct ush_hold_pool *pool = &holds->pools[owner];
	uint32_t state = ush_hold_word_state(word);

	USH_ASSERT(state == USH_HOLD_STATE_FREE || state == USH_HOLD_STATE_HELD ||
		   state == USH_HOLD_STATE_PAYING || state == USH_HOLD_STATE_SOLD ||
		   state == USH_HOLD_STATE_REFUNDING);
	word = ush_hold_word(
		state, owner, ush_hold_word_version(word), ush_hold_word_generation(word));
	atomic_store_explicit(&hold->word, word, memory_order_relaxed);
	hold->wheel_next = 0;
	hold->wheel_prev = 0;
	/* Further legs are FREE by state but belong to a hold: leg_count says so. */
	if (state == USH_HOLD_STATE_FREE && hold->leg_count == 0) {
		pool->free[pool->free_count++] = index;
	} else if (state == USH_HOLD_STATE_HELD || state == USH_HOLD_STATE_PAYING) {
		ush_wheel_add(pool, index);
		(*live)++;
	}
}

/* Deals the free lists' memory out by the number of lines each loop has. A line is always that of
 * the loop its index says, also as a further leg of another loop's hold. */
static void deal_free_lists(struct ush_holds *holds)
{
	uint32_t *at = holds->free_memory;

	for (uint32_t i = 0; i < holds->loop_count; i++)
		holds->pools[i].free_capacity = 0;
	for (uint32_t index = USH_HOLD_NONE + 1; index < holds->count; index++)
		holds->pools[index % holds->loop_count].free_capacity++;
	for (uint32_t i = 0; i < holds->loop_count; i++) {
		holds->pools[i].free = at;
		at += holds->pools[i].free_capacity;
	}
	USH_ASSERT(at - holds->free_memory == holds->count - 1);
}

uint32_t ush_holds_replayed(struct ush_holds *holds, uint64_t now_ns)
{
	uint32_t live = 0;

	deal_free_lists(holds);
	for (uint32_t i = 0; i < holds->loop_count; i++)
		ush_wheel_start(&holds->pools[i].wheel, now_ns);
	/* Downwards, so that low indices are dealt out first and memory stays dense. */
	for (uint32_t index = holds->count - 1; index > USH_HOLD_NONE; index--)
		replayed_line(holds, index, &live);
	return live;
}

uint32_t ush_hold_id_check(const struct ush_holds *holds, uint64_t id)
{
	uint32_t index = ush_hold_id_index(id);

	if (index == USH_HOLD_NONE || index >= holds->count)
		return USH_HOLD_NONE;
	return ush_hold_id(holds, index, ush_hold_id_generation(id)) == id ? index : USH_HOLD_NONE;
}

uint32_t ush_hold_take_leg(struct ush_hold_pool *pool)
{
	uint32_t index;

	if (pool->free_count == 0)
		return USH_HOLD_NONE;
	index = pool->free[--pool->free_count];
	pool->lines[index].next = USH_HOLD_NONE;
	return index;
}

/* Puts the line on its owner's stack. */
static void push_home(struct ush_hold_pool *pools, struct ush_hold *line, uint32_t index)
{
	uint64_t word = atomic_load_explicit(&line->word, memory_order_relaxed);
	struct ush_hold_pool *pool = &pools[ush_hold_word_owner(word)];
	uint32_t head = atomic_load_explicit(&pool->home, memory_order_relaxed);

	do
		line->amount = head;
	while (!atomic_compare_exchange_weak_explicit(
		&pool->home, &head, index, memory_order_release, memory_order_relaxed));
}

void ush_hold_give(struct ush_hold_pool *pool, uint32_t index)
{
	struct ush_hold *first = &pool->lines[index];
	uint64_t word = atomic_load_explicit(&first->word, memory_order_relaxed);

	USH_ASSERT(ush_hold_word_owner(word) == pool->loop);
	word = ush_hold_word(USH_HOLD_STATE_FREE, pool->loop, 0, ush_hold_word_generation(word));
	atomic_store_explicit(&first->word, word, memory_order_release);
	while (index != USH_HOLD_NONE) {
		struct ush_hold *hold = &pool->lines[index];
		uint32_t next = hold->next;
		word = atomic_load_explicit(&hold->word, memory_order_relaxed);
		hold->leg_count = 0;
		hold->next = USH_HOLD_NONE;
		if (ush_likely(ush_hold_word_owner(word) == pool->loop)) {
			USH_ASSERT(pool->free_count < pool->free_capacity);
			pool->free[pool->free_count++] = index;
		} else {
			push_home(pool->pools, hold, index);
		}
		index = next;
	}
}

void ush_hold_send_home(struct ush_holds *holds, uint32_t index)
{
	push_home(holds->pools, &holds->lines[index], index);
}

void ush_hold_homecoming(struct ush_hold_pool *pool)
{
	uint32_t index;

	if (ush_likely(atomic_load_explicit(&pool->home, memory_order_relaxed) == USH_HOLD_NONE))
		return;
	/* All at once: whoever takes one by one can be fooled by one that comes back. */
	index = atomic_exchange_explicit(&pool->home, USH_HOLD_NONE, memory_order_acquire);
	while (index != USH_HOLD_NONE) {
		uint32_t next = pool->lines[index].amount;

		ush_wheel_remove(pool, index);
		ush_hold_give(pool, index);
		index = next;
	}
}

void ush_hold_prefetch(const struct ush_hold_pool *pool, uint32_t lines)
{
	uint32_t count = pool->free_count < lines ? pool->free_count : lines;

	for (uint32_t i = 0; i < count; i++)
		USH_PREFETCH_WRITE(&pool->lines[pool->free[pool->free_count - 1 - i]]);
}
