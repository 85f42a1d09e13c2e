/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hold lines: ids, chains, free lists, what replay leaves.
 *
 * Owns:  the holds of some loops.
 * Reads: USH_SEED.
 * Never: DPDK.
 */
#include <stdlib.h>
#include <string.h>

#include "../tap.h"
#include "hold/hold.h"

static struct ush_holds holds;
static void *memory;
static const struct ush_key key = {0x1122334455667788ull, 0x99aabbccddeeff00ull};

/* Holds whose replay has not ended. */
static void open_holds(uint32_t count, uint32_t loops)
{
	size_t bytes = ush_holds_bytes(count, loops);

	free(memory);
	memset(&holds, 0, sizeof(holds));
	/* Exactly as much as was asked for: a sanitizer sees a byte beyond. */
	memory = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
	USH_ASSERT(memory != NULL);
	memset(memory, 0, bytes);
	ush_holds_init(&holds, memory, count, loops, &key);
}

static uint32_t state_of(uint32_t index)
{
	return ush_hold_word_state(atomic_load(&holds.lines[index].word));
}

/* Goal: a word keeps its four parts apart. Method: all ones in each, alone. */
static void test_hold_word_parts_do_not_mix(void)
{
	uint64_t word = ush_hold_word(0xff, 0, 0, 0);

	CHECK_EQ(ush_hold_word_state(word), 0xff);
	CHECK_EQ(ush_hold_word_owner(word) | ush_hold_word_version(word), 0);
	word = ush_hold_word(0, 63, 0, 0);
	CHECK_EQ(ush_hold_word_owner(word), 63);
	CHECK_EQ(ush_hold_word_state(word) | ush_hold_word_version(word), 0);
	word = ush_hold_word(0, 0, 0xffff, 0);
	CHECK_EQ(ush_hold_word_version(word), 0xffff);
	CHECK_EQ(ush_hold_word_owner(word) | ush_hold_word_generation(word), 0);
	word = ush_hold_word(0, 0, 0, 0xffff);
	CHECK_EQ(ush_hold_word_generation(word), 0xffff);
	CHECK_EQ(word >> 48, 0);
}

/* Goal: an id names its line and generation. Method: random ones. */
static void test_hold_id_names_index_and_generation(void)
{
	struct ush_random random;

	ush_random_init(&random, tap_seed(1));
	open_holds(5000, 1);
	for (int i = 0; i < 2000; i++) {
		uint32_t index = 1 + (uint32_t)ush_random_below(&random, 4999);
		uint16_t generation = (uint16_t)ush_random_next(&random);
		uint64_t id = ush_hold_id(&holds, index, generation);

		CHECK_EQ(ush_hold_id_check(&holds, id), index);
		CHECK_EQ(ush_hold_id_index(id), index);
		CHECK_EQ(ush_hold_id_generation(id), generation);
	}
}

/* Goal: an id that was not given out is refused. Method: every bit flipped, index 0, an index out
 * of range with the right tag, another key. */
static void test_hold_id_forged_is_refused(void)
{
	const struct ush_key other = {key.k0, key.k1 ^ 1};
	uint64_t id;

	open_holds(5000, 1);
	id = ush_hold_id(&holds, 4321, 7);
	for (uint32_t bit = 0; bit < 64; bit++)
		CHECK_EQ(ush_hold_id_check(&holds, id ^ 1ull << bit), USH_HOLD_NONE);
	CHECK_EQ(ush_hold_id_check(&holds, 0), USH_HOLD_NONE);
	CHECK_EQ(ush_hold_id_check(&holds, UINT64_MAX), USH_HOLD_NONE);
	CHECK_EQ(ush_hold_id_check(&holds, ush_hold_id(&holds, 0, 7)), USH_HOLD_NONE);
	CHECK_EQ(ush_hold_id_check(&holds, ush_hold_id(&holds, 4999, 7)), 4999);
	CHECK_EQ(ush_hold_id_check(&holds, ush_hold_id(&holds, 5000, 7)), USH_HOLD_NONE);
	open_holds(5000, 1);
	holds.key = other;
	CHECK_EQ(ush_hold_id_check(&holds, id), USH_HOLD_NONE);
}

/* Goal: a taken chain has its lines in order, its first is NEW with the next generation. */
static void test_hold_take_gives_chain_of_legs(void)
{
	open_holds(64, 1);
	CHECK_EQ(ush_holds_replayed(&holds, 0), 0);
	CHECK_EQ(holds.pools[0].free_count, 63);
	for (uint32_t legs = 1; legs <= USH_LEG_COUNT_MAX; legs++) {
		struct ush_hold_pool *pool = &holds.pools[0];
		uint32_t first = ush_hold_take(pool, legs), at = first, count = 0;

		CHECK_EQ(state_of(first), USH_HOLD_STATE_NEW);
		CHECK_EQ(ush_hold_word_version(atomic_load(&holds.lines[first].word)), 0);
		for (; at != USH_HOLD_NONE; at = holds.lines[at].next) {
			count++;
			CHECK_EQ(holds.lines[at].leg_count, legs);
			CHECK(at == first || state_of(at) == USH_HOLD_STATE_FREE);
		}
		CHECK_EQ(count, legs);
		CHECK_EQ(pool->free_count, 63 - legs);
		ush_hold_give(pool, first);
		CHECK_EQ(pool->free_count, 63);
		CHECK_EQ(state_of(first), USH_HOLD_STATE_FREE);
		CHECK_EQ(holds.lines[first].leg_count, 0);
	}
}

/* Goal: an id dies with its hold. Method: the same line, taken 70,000 times; its 16-bit generation
 * comes round and is never that of the time before. */
static void test_hold_taken_again_has_another_id(void)
{
	uint64_t before = 0;
	uint32_t same = 0;

	open_holds(2, 1);
	ush_holds_replayed(&holds, 0);
	for (uint32_t i = 0; i < 70000; i++) {
		uint32_t index = ush_hold_take(&holds.pools[0], 1);
		uint64_t word = atomic_load(&holds.lines[1].word), id;

		same += index != 1;
		id = ush_hold_id(&holds, index, ush_hold_word_generation(word));
		same += id == before;
		before = id;
		ush_hold_give(&holds.pools[0], index);
	}
	CHECK_EQ(same, 0);
}

/* Goal: too few lines: nothing is taken. */
static void test_hold_take_beyond_free_takes_nothing(void)
{
	uint32_t first;

	open_holds(8, 1);
	ush_holds_replayed(&holds, 0);
	first = ush_hold_take(&holds.pools[0], 5);
	CHECK(first != USH_HOLD_NONE);
	CHECK_EQ(ush_hold_take(&holds.pools[0], 3), USH_HOLD_NONE);
	CHECK_EQ(holds.pools[0].free_count, 2);
	CHECK(ush_hold_take(&holds.pools[0], 2) != USH_HOLD_NONE);
	CHECK_EQ(ush_hold_take(&holds.pools[0], 1), USH_HOLD_NONE);
	ush_hold_prefetch(&holds.pools[0], 64);
}

/* Goal: no line is dealt out twice, none is lost, low indices come first. Method: several loops,
 * random takes and gives, a set of taken lines. */
static void test_hold_lines_random_use_deals_each_once(void)
{
	static uint8_t taken[1000];
	struct ush_random random;

	ush_random_init(&random, tap_seed(2));
	for (uint32_t loops = 1; loops <= 7; loops += 3) {
		uint32_t firsts[1000], first_count = 0, wrong = 0;

		memset(taken, 0, sizeof(taken));
		open_holds(1000, loops);
		ush_holds_replayed(&holds, 0);
		CHECK(ush_hold_take(&holds.pools[loops - 1], 1) <= loops);
		open_holds(1000, loops);
		ush_holds_replayed(&holds, 0);
		for (int i = 0; i < 20000; i++) {
			struct ush_hold_pool *pool = &holds.pools[ush_random_below(&random, loops)];
			uint32_t first =
				ush_hold_take(pool, 1 + (uint32_t)ush_random_below(&random, 8));

			if (first != USH_HOLD_NONE) {
				firsts[first_count++] = first;
				for (uint32_t at = first; at != 0; at = holds.lines[at].next)
					wrong += taken[at]++ != 0 || at % loops != pool->loop;
			}
			if (first != USH_HOLD_NONE && ush_random_below(&random, 9) != 0)
				continue;
			if (first_count == 0)
				continue;
			uint32_t k = (uint32_t)ush_random_below(&random, first_count);
			first = firsts[k];
			firsts[k] = firsts[--first_count];
			for (uint32_t at = first; at != 0; at = holds.lines[at].next)
				taken[at]--;
			ush_hold_give(&holds.pools[first % loops], first);
		}
		CHECK_EQ(wrong, 0);
		while (first_count != 0) {
			first_count--;
			ush_hold_give(
				&holds.pools[firsts[first_count] % loops], firsts[first_count]);
		}
		for (uint32_t i = 0; i < loops; i++)
			wrong += holds.pools[i].free_count;
		CHECK_EQ(wrong, 999);
	}
}

/* A hold as apply leaves it. */
static void replay_hold(uint32_t state, const uint32_t *lines, uint32_t legs)
{
	for (uint32_t i = 0; i < legs; i++) {
		struct ush_hold *line = &holds.lines[lines[i]];
		line->leg_count = (uint8_t)legs;
		line->next = i + 1 < legs ? lines[i + 1] : USH_HOLD_NONE;
		line->deadline_ns = 1000;
	}
	atomic_store(&holds.lines[lines[0]].word, ush_hold_word(state, 0, 1, 42));
}

/* Goal: replay hands live holds to a loop and its wheel, sold ones to no wheel, and keeps versions
 * and generations. */
static void test_hold_replayed_live_hang_in_wheel(void)
{
	static const uint32_t held[] = {5, 6, 7}, sold[] = {9, 8};

	open_holds(64, 4);
	replay_hold(USH_HOLD_STATE_HELD, held, 3);
	replay_hold(USH_HOLD_STATE_SOLD, sold, 2);
	CHECK_EQ(ush_holds_replayed(&holds, 500), 1);
	CHECK_EQ(ush_hold_word_owner(atomic_load(&holds.lines[5].word)), 1);
	CHECK_EQ(ush_hold_word_version(atomic_load(&holds.lines[5].word)), 1);
	CHECK_EQ(ush_hold_word_generation(atomic_load(&holds.lines[5].word)), 42);
	CHECK_EQ(holds.pools[1].wheel.count, 1);
	CHECK_EQ(holds.pools[0].wheel.count + holds.pools[2].wheel.count, 0);
	CHECK(ush_wheel_remove(&holds.pools[1], 5));
	CHECK(!ush_wheel_remove(&holds.pools[1], 9));
	CHECK_EQ(holds.pools[0].free_count + holds.pools[1].free_count + holds.pools[2].free_count +
			 holds.pools[3].free_count,
		63 - 5);
}

/*
 * Goal: after a restart with another number of loops every line comes home. Method: chains whose
 * further legs lie in the other loop's share, all given back while all else is free.
 */
static void test_hold_replayed_other_loop_count_gives_all_back(void)
{
	uint32_t lines[8], total = 0;

	open_holds(64, 2);
	for (uint32_t h = 0; h < 7; h++) {
		/* Odd first, then even: the holds are loop 1's, some lines loop 0's. */
		for (uint32_t i = 0; i < 4; i++)
			lines[i] = h * 4 + (i == 0 ? 1 : i == 1 ? 2 : i == 2 ? 4 : 3);
		replay_hold(USH_HOLD_STATE_HELD, lines, 4);
	}
	CHECK_EQ(ush_holds_replayed(&holds, 0), 7);
	for (uint32_t h = 0; h < 7; h++) {
		CHECK(ush_wheel_remove(&holds.pools[1], h * 4 + 1));
		ush_hold_give(&holds.pools[1], h * 4 + 1);
	}
	total = holds.pools[0].free_count + holds.pools[1].free_count;
	CHECK_EQ(total, 63 - 14);
	ush_hold_homecoming(&holds.pools[0]);
	CHECK_EQ(holds.pools[0].free_count, 31);
	CHECK_EQ(holds.pools[1].free_count, 32);
}

int main(void)
{
	TAP_RUN(test_hold_word_parts_do_not_mix);
	TAP_RUN(test_hold_id_names_index_and_generation);
	TAP_RUN(test_hold_id_forged_is_refused);
	TAP_RUN(test_hold_take_gives_chain_of_legs);
	TAP_RUN(test_hold_taken_again_has_another_id);
	TAP_RUN(test_hold_take_beyond_free_takes_nothing);
	TAP_RUN(test_hold_lines_random_use_deals_each_once);
	TAP_RUN(test_hold_replayed_live_hang_in_wheel);
	TAP_RUN(test_hold_replayed_other_loop_count_gives_all_back);
	free(memory);
	return tap_end();
}
