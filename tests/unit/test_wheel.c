/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The timing wheel against a plain array of deadlines.
 *
 * Owns:  the holds of one loop.
 * Reads: USH_SEED.
 * Never: DPDK, clocks.
 */
#include <stdlib.h>
#include <string.h>

#include "../tap.h"
#include "hold/hold.h"

#define LINES 600u
#define TICK (1ull << USH_WHEEL_TICK_BITS)
#define PLENTY 1000000u

static struct ush_holds holds;
static struct ush_hold_pool *pool;
static void *memory;
/* The oracle: 0 does not hang. */
static uint64_t deadline[LINES];

static void open_wheel(uint64_t now_ns)
{
	const struct ush_key key = {1, 2};
	size_t bytes = ush_holds_bytes(LINES, 1);

	free(memory);
	memset(&holds, 0, sizeof(holds));
	memset(deadline, 0, sizeof(deadline));
	memory = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
	USH_ASSERT(memory != NULL);
	memset(memory, 0, bytes);
	ush_holds_init(&holds, memory, LINES, 1, &key);
	ush_holds_replayed(&holds, now_ns);
	pool = &holds.pools[0];
}

static void hang(uint32_t index, uint64_t at_ns)
{
	holds.lines[index].deadline_ns = deadline[index] = at_ns;
	ush_wheel_add(pool, index);
}

/* Takes all that is due at now_ns; ret: how many were early, late, or not there at all. */
static uint32_t drain(uint64_t now_ns, uint64_t late_ns_max)
{
	uint32_t index, wrong = 0;

	for (;;) {
		uint32_t work = PLENTY;
		index = ush_wheel_due(pool, now_ns, &work);
		if (index == USH_HOLD_NONE && work != 0)
			return wrong;
		if (index == USH_HOLD_NONE)
			continue;
		wrong += deadline[index] == 0 || deadline[index] > now_ns ||
			 now_ns - deadline[index] > late_ns_max;
		deadline[index] = 0;
	}
}

static uint32_t hanging(void)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < LINES; i++)
		count += deadline[i] != 0;
	return count;
}

/* A distance of any magnitude up to 2^bits ns. */
static uint64_t distance(struct ush_random *random, uint32_t bits)
{
	return ush_random_next(random) >> (64 - 1 - ush_random_below(random, bits));
}

/* A run over `ticks` turns, one a tick, from just before a multiple of 2^shift ticks. */
static void oracle_run(struct ush_random *random, uint32_t shift, uint32_t ticks, uint32_t bits)
{
	uint64_t boundary = (1 + ush_random_below(random, 1000)) << shift;
	uint64_t tick = boundary - ush_random_below(random, ush_min64(ticks / 2, boundary));
	uint64_t offset = ush_random_below(random, TICK);
	uint32_t wrong = 0;

	open_wheel(tick * TICK + offset);
	for (uint32_t i = 0; i < ticks; i++, tick++) {
		uint64_t now = tick * TICK + offset;

		wrong += drain(now, TICK + offset);
		for (uint64_t n = ush_random_below(random, 3); n > 0; n--) {
			uint32_t index = 1 + (uint32_t)ush_random_below(random, LINES - 1);
			if (deadline[index] == 0) {
				hang(index, now + distance(random, bits));
			} else if (ush_random_below(random, 4) == 0) {
				wrong += !ush_wheel_remove(pool, index);
				deadline[index] = 0;
				wrong += ush_wheel_remove(pool, index);
			}
		}
	}
	CHECK_EQ(wrong, 0);
	CHECK_EQ(pool->wheel.count, hanging());
	/* What still hangs comes when its time comes. */
	for (uint32_t i = 1; i < LINES; i++) {
		if (deadline[i] != 0 && deadline[i] < tick * TICK + (1ull << 36))
			continue;
		if (ush_wheel_remove(pool, i))
			deadline[i] = 0;
	}
	for (uint64_t last = tick + (1u << 16); hanging() != 0 && tick <= last; tick++)
		wrong += drain(tick * TICK + offset, TICK + offset);
	CHECK_EQ(wrong, 0);
	CHECK_EQ(hanging(), 0);
	CHECK_EQ(pool->wheel.count, 0);
}

/*
 * Goal: never early, never more than a tick late when there is a turn each tick. Method: random
 * deadlines of all magnitudes, around every place where a level of the wheel comes round.
 */
static void test_wheel_random_deadlines_come_in_their_tick(void)
{
	struct ush_random random;

	ush_random_init(&random, tap_seed(1));
	for (int i = 0; i < 20; i++) {
		oracle_run(&random, 8, 2000, 32);
		oracle_run(&random, 16, 2000, 34);
		oracle_run(&random, 24, 2000, 34);
		/* Each 52 days. */
		oracle_run(&random, 32, 2000, 34);
	}
}

/* Goal: the levels above two are worked, too. Method: an hour, 4 million turns. */
static void test_wheel_hour_of_ticks_keep_deadlines(void)
{
	uint64_t start = (5ull << 24) - 1000, tick = start;
	uint32_t wrong = 0;

	open_wheel(start * TICK);
	for (uint32_t i = 1; i < LINES; i++)
		hang(i, (start + 1 + (uint64_t)i * i * 10) * TICK - i);
	while (hanging() != 0 && wrong == 0) {
		tick++;
		wrong += drain(tick * TICK, TICK);
		if (tick - start > 4000000)
			wrong++;
	}
	CHECK_EQ(wrong, 0);
}

/* Goal: due exactly at the first tick that starts at or after the deadline. */
static void test_wheel_deadline_at_tick_edges_is_exact(void)
{
	uint64_t base = 1000003 * TICK;

	for (uint64_t ahead = 1; ahead < 600; ahead += 37) {
		for (uint64_t beside = 0; beside <= 2; beside++) {
			uint64_t at = base + ahead * TICK - 1 + beside;
			uint64_t due = (at + TICK - 1) / TICK;
			open_wheel(base);
			hang(1, at);
			for (uint64_t tick = 1000003; tick < due; tick++) {
				CHECK_EQ(drain(tick * TICK + TICK - 1, 0), 0);
				CHECK(deadline[1] != 0);
			}
			CHECK_EQ(drain(due * TICK, TICK), 0);
			CHECK_EQ(deadline[1], 0);
		}
	}
}

/* Goal: what is over already comes at the next tick, not never. */
static void test_wheel_past_deadline_comes_next_tick(void)
{
	open_wheel(500 * TICK);
	hang(1, 3);
	hang(2, 500 * TICK);
	CHECK_EQ(drain(501 * TICK, UINT64_MAX), 0);
	CHECK_EQ(hanging(), 0);
}

/* Goal: after a jump of time all that is due comes, nothing else. Method: jumps of all sizes. */
static void test_wheel_time_jump_brings_all_due(void)
{
	struct ush_random random;
	uint64_t now = 7777777 * TICK;

	ush_random_init(&random, tap_seed(2));
	open_wheel(now);
	for (int i = 0; i < 300; i++) {
		for (int n = 0; n < 20; n++) {
			uint32_t index = 1 + (uint32_t)ush_random_below(&random, LINES - 1);
			if (deadline[index] == 0)
				hang(index, now + distance(&random, 40));
		}
		now += distance(&random, 38);
		CHECK_EQ(drain(now, UINT64_MAX), 0);
		for (uint32_t k = 1; k < LINES; k++)
			CHECK(deadline[k] == 0 || deadline[k] + TICK > now);
	}
}

/* Goal: an empty wheel takes a jump at once. Method: a year, with one unit of work. */
static void test_wheel_empty_jumps_for_free(void)
{
	uint32_t work = 1;
	uint64_t now = 365ull * 86400 * 1000000000;

	open_wheel(TICK);
	CHECK_EQ(ush_wheel_due(pool, now, &work), USH_HOLD_NONE);
	CHECK_EQ(work, 1);
	hang(1, now + 1);
	CHECK_EQ(drain((now / TICK + 1) * TICK, TICK), 0);
	CHECK_EQ(deadline[1], 0);
}

/* Goal: a call does no more than it may, and loses nothing by stopping. Method: many lines due
 * after a jump, from every level, with little work a call. */
static void test_wheel_little_work_is_bounded_and_complete(void)
{
	for (uint32_t most = 1; most <= 40; most += 3) {
		uint64_t now = (3ull << 24) * TICK - 200 * TICK;
		uint32_t got = 0, calls = 0;

		open_wheel(now);
		for (uint32_t i = 1; i < 500; i++)
			hang(i, now + (uint64_t)i * 2 * TICK);
		now += 2000 * TICK;
		while (got < 499 && calls < 100000) {
			uint32_t work = most, index;

			do {
				uint32_t before = work;
				index = ush_wheel_due(pool, now, &work);
				CHECK(work <= before);
				if (index != USH_HOLD_NONE) {
					CHECK(deadline[index] != 0 && deadline[index] <= now);
					deadline[index] = 0;
					got++;
				}
			} while (index != USH_HOLD_NONE && work != 0);
			calls++;
		}
		CHECK_EQ(got, 499);
		/* Each line is moved some times, each tick entered once. */
		CHECK(calls <= (2000 + 499 * 5) / most + 2000 / most + 499);
		CHECK_EQ(pool->wheel.count, 0);
	}
}

/* Goal: a hold that cannot be settled comes again, at the next tick. */
static void test_wheel_again_comes_next_tick(void)
{
	uint32_t work = PLENTY;

	open_wheel(100 * TICK);
	hang(1, 105 * TICK);
	hang(2, 105 * TICK);
	CHECK(ush_wheel_due(pool, 105 * TICK, &work) != USH_HOLD_NONE);
	CHECK(ush_wheel_due(pool, 105 * TICK, &work) != USH_HOLD_NONE);
	ush_wheel_again(pool, 1, 1);
	ush_wheel_again(pool, 2, 1);
	CHECK_EQ(pool->wheel.count, 2);
	CHECK_EQ(ush_wheel_due(pool, 106 * TICK - 1, &work), USH_HOLD_NONE);
	CHECK_EQ(drain(106 * TICK, 2 * TICK), 0);
	CHECK_EQ(hanging(), 0);
}

/* Goal: a hold can be taken out wherever it hangs, also out of what is due now. */
static void test_wheel_remove_from_due_list_is_clean(void)
{
	uint32_t work = PLENTY, first, other;

	open_wheel(100 * TICK);
	for (uint32_t i = 1; i <= 3; i++)
		hang(i, 105 * TICK);
	first = ush_wheel_due(pool, 105 * TICK, &work);
	other = first == 2 ? 3 : 2;
	CHECK(ush_wheel_remove(pool, other));
	CHECK(!ush_wheel_remove(pool, first));
	CHECK_EQ(pool->wheel.count, 1);
	CHECK(ush_wheel_due(pool, 105 * TICK, &work) != other);
	CHECK_EQ(ush_wheel_due(pool, 105 * TICK, &work), USH_HOLD_NONE);
	CHECK_EQ(pool->wheel.count, 0);
}

/*
 * Goal: a deadline further ahead than the wheel reaches waits, hinders nobody, and comes. Method:
 * the wheel's time is set forward over slots in which nothing hangs.
 */
static void test_wheel_beyond_reach_moves_on_and_comes(void)
{
	uint64_t start = 12345678, due = start + (3ull << 31), before = 0;

	open_wheel(start * TICK);
	hang(1, due * TICK);
	CHECK_EQ(drain((start + 1000) * TICK, 0), 0);
	for (int hop = 0; hop < 8 && deadline[1] != 0; hop++) {
		uint64_t slot = (pool->wheel.tick >> 24) + 1;

		/* To the next top slot in use, a little before it. */
		while (pool->wheel.head[3][slot & 255] == USH_HOLD_NONE && slot << 24 < due)
			slot++;
		CHECK(slot << 24 <= due);
		pool->wheel.tick = (slot << 24) - 3;
		CHECK(pool->wheel.tick > before);
		before = pool->wheel.tick;
		hang(2, before * TICK + 5 * TICK);
		CHECK_EQ(drain((before + 10) * TICK, 11 * TICK), 0);
		CHECK_EQ(deadline[2], 0);
		if (due - pool->wheel.tick < 1ull << 24)
			break;
	}
	CHECK(deadline[1] != 0);
	CHECK_EQ(drain((due - 1) * TICK, 0), 0);
	CHECK(deadline[1] != 0);
	CHECK_EQ(drain(due * TICK, TICK), 0);
	CHECK_EQ(deadline[1], 0);
}

int main(void)
{
	TAP_RUN(test_wheel_random_deadlines_come_in_their_tick);
	TAP_RUN(test_wheel_hour_of_ticks_keep_deadlines);
	TAP_RUN(test_wheel_deadline_at_tick_edges_is_exact);
	TAP_RUN(test_wheel_past_deadline_comes_next_tick);
	TAP_RUN(test_wheel_time_jump_brings_all_due);
	TAP_RUN(test_wheel_empty_jumps_for_free);
	TAP_RUN(test_wheel_little_work_is_bounded_and_complete);
	TAP_RUN(test_wheel_again_comes_next_tick);
	TAP_RUN(test_wheel_remove_from_due_list_is_clean);
	TAP_RUN(test_wheel_beyond_reach_moves_on_and_comes);
	free(memory);
	return tap_end();
}
