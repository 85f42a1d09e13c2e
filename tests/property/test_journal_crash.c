/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Engine and journal over a fake disk, killed again and again: random requests of a crowd of
 * clients, writes that complete in any order, power cut between any two disk operations, in service
 * as well as in recovery and start. What a client was told must hold ever after: tests/crowd.h.
 *
 * usage: test_journal_crash [CRASHES]    (USH_SEED repeats a run)
 */
#include "tests/crowd.h"

#define CRASHES_DEFAULT 4000u
#define CRASHES_PER_WORLD 10u

/* Starts until the power lasts: it is cut between any two operations of recovery and start, too. */
static void start_at_last(void)
{
	for (;;) {
		if (crowd_below(3) == 0)
			fake_disk_cut_after(w.fake, (uint32_t)crowd_below(24));
		if (crowd_start() == 0 && !fake_disk_is_cut(w.fake))
			return;
		if (!fake_disk_is_cut(w.fake))
			printf("# start: %s\n", w.why.text);
		CHECK(fake_disk_is_cut(w.fake));
		if (tap_failures_here != 0)
			return;
		sums.crashes++;
		sums.crashes_in_start++;
		crowd_stop();
		w.now_ns += crowd_below(HARNESS_SECOND);
	}
}

/* Ends the way a box is told to end. */
static void end_cleanly(void)
{
	fake_disk_power_cycle(w.fake);
	fake_disk_order(w.fake, FAKE_ANY_ORDER);
	start_at_last();
	if (tap_failures_here != 0)
		return;
	fake_disk_cut_after(w.fake, UINT32_MAX);
	crowd_serve(20);
	CHECK(crowd_settle());
	CHECK(ush_journal_finish(w.journal, w.now_ns));
	w.clean_asked = true;
	crowd_stop();
	CHECK_EQ(crowd_start(), 0);
	crowd_stop();
	w.clean_asked = false;
}

static void world_run(uint64_t seed, uint32_t crashes)
{
	crowd_make(seed);
	while (crashes-- != 0 && tap_failures_here == 0) {
		fake_disk_order(w.fake, (enum fake_order)crowd_below(2));
		start_at_last();
		if (tap_failures_here != 0)
			break;
		/* Between two disk operations, or between two turns. */
		if (crowd_below(2) == 0)
			fake_disk_cut_after(w.fake, (uint32_t)crowd_below(400));
		crowd_serve((uint32_t)crowd_below(crowd_below(4) == 0 ? 400 : 60));
		crowd_stop();
		sums.crashes++;
		w.now_ns += crowd_below(HARNESS_SECOND);
	}
	if (tap_failures_here == 0)
		end_cleanly();
	if (tap_failures_here != 0)
		return;
	crowd_free();
}

static uint64_t seed_first;
static uint64_t crashes_wanted = CRASHES_DEFAULT;

static void test_crashes_lose_and_double_nothing(void)
{
	uint64_t seed = seed_first;

	while (sums.crashes < crashes_wanted) {
		world_run(seed, CRASHES_PER_WORLD);
		if (tap_failures_here != 0) {
			printf("# repeat with USH_SEED=%" PRIu64 "\n", seed);
			return;
		}
		seed++;
	}
	CHECK(sums.granted > sums.crashes);
	CHECK(sums.sold != 0);
	CHECK(sums.lost != 0);
	CHECK(sums.torn_blocks != 0);
	CHECK(sums.in_flight_max > 1);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		crashes_wanted = strtoull(argv[1], NULL, 0);
	seed_first = tap_seed(1);
	TAP_RUN(test_crashes_lose_and_double_nothing);
	printf("# %" PRIu64 " crashes, %" PRIu64 " of them in recovery or start; %" PRIu64
	       " blocks replayed, %" PRIu64 " torn tails of %" PRIu64
	       " blocks dropped; up to %u writes under way\n",
		sums.crashes, sums.crashes_in_start, sums.blocks, sums.torn_tails, sums.torn_blocks,
		sums.in_flight_max);
	printf("# %" PRIu64 " holds acknowledged, %" PRIu64 " sold, %" PRIu64
	       " answers repeated, %" PRIu64 " requests without an answer\n",
		sums.granted, sums.sold, sums.repeated, sums.lost);
	return tap_end();
}
