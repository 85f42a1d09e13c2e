/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The explorer itself: it runs exactly the interleavings there are, finds what it must, and repeats
 * what it found.
 */
#include <string.h>

#include "explore/self.h"
#include "tap.h"

const struct explore_scenario *const explore_scenarios[] = {NULL};

static struct explore_result result;

static void explore(const struct explore_scenario *scenario, uint32_t threads, uint32_t preemptions)
{
	struct explore_options options = {
		.threads = threads, .preemptions = preemptions, .max = 1000000};

	explore_run(scenario, &options, &result);
	if (result.violations != 0)
		printf("# %s: %s\n# %s\n", scenario->name, result.violation, result.schedule);
}

/* Orders of what is left of each thread, `running` going on (or none), by counting them out. */
static uint64_t orders(uint32_t *left, uint32_t threads, uint32_t running, uint32_t preemptions)
{
	bool can_go_on = running < threads && left[running] != 0;
	uint64_t sum = 0;
	bool any = false;

	for (uint32_t i = 0; i < threads; i++) {
		uint32_t cost = can_go_on && i != running;
		if (left[i] == 0)
			continue;
		any = true;
		if (cost > preemptions)
			continue;
		left[i]--;
		sum += orders(left, threads, i, preemptions - cost);
		left[i]++;
	}
	return any ? sum : 1;
}

/* Goal: every interleaving within the bound once, none twice. Method: fetch-adds whose results
 * name the order; orders counted out beside it; n! / (k!)^t without a bound. */
static void test_explorer_counts_known_orders(void)
{
	for (uint32_t threads = 2; threads <= 3; threads++) {
		for (uint32_t bound = 0; bound <= 9; bound++) {
			uint32_t left[] = {SELF_ADDS, SELF_ADDS, SELF_ADDS};

			explore(&self_add, threads, bound);
			CHECK_EQ(result.violations, 0);
			CHECK(result.exhausted);
			CHECK_EQ(result.interleavings, orders(left, threads, threads, bound));
			CHECK_EQ(result.states, result.interleavings);
		}
		CHECK_EQ(result.interleavings, threads == 2 ? 20 : 1680);
	}
}

/* Goal: words where threads do not meet add no orders. */
static void test_explorer_skips_words_apart(void)
{
	explore(&self_apart, 3, 99);
	CHECK(result.exhausted);
	CHECK_EQ(result.words, 0);
	CHECK_EQ(result.states, 1);
	/* Who begins and who follows is all there is to choose. */
	CHECK_EQ(result.interleavings, 6);
}

static void found(const struct explore_scenario *scenario, uint32_t threads, uint32_t preemptions,
	const char *text)
{
	explore(scenario, threads, preemptions);
	CHECK_EQ(result.violations, 1);
	CHECK(strstr(result.violation, text) != NULL);
}

/* Goal: each kind of fault is found, and what is right is not. */
static void test_explorer_finds_planted_faults(void)
{
	found(&self_lost, 2, 99, "atomic_load(&w->word) == w->threads");
	found(&self_relaxed, 2, 99, "data race");
	found(&self_early, 2, 99, "data race");
	found(&self_endless, 2, 99, "never ends");
	found(&self_assertion, 2, 99, "thread != 1");
	explore(&self_released, 3, 99);
	CHECK_EQ(result.violations, 0);
	CHECK(result.exhausted);
}

/* Goal: the bound is one: what needs two preemptions is found with two, not with one. */
static void test_explorer_bound_decides_what_is_found(void)
{
	explore(&self_lost, 2, 0);
	CHECK_EQ(result.violations, 0);
	explore(&self_twice, 2, 1);
	CHECK_EQ(result.violations, 0);
	CHECK(result.exhausted);
	found(&self_twice, 2, 2, "atomic_load(&w->own[1]) != 1");
}

/* Goal: a printed schedule is the violation again, and another is not. */
static void test_explorer_replay_repeats_violation(void)
{
	static char schedule[sizeof(result.schedule)], violation[sizeof(result.violation)];
	struct explore_options options = {.threads = 2, .max = 1, .replay = schedule};

	found(&self_twice, 2, 2, "own[1]");
	memcpy(schedule, result.schedule, sizeof(schedule));
	memcpy(violation, result.violation, sizeof(violation));
	explore_run(&self_twice, &options, &result);
	CHECK_EQ(result.violations, 1);
	CHECK(strcmp(violation, result.violation) == 0);
	CHECK(strcmp(schedule, result.schedule) == 0);
	memcpy(schedule, "0:9,1:9", 8);
	explore_run(&self_twice, &options, &result);
	CHECK_EQ(result.violations, 0);
}

int main(void)
{
	TAP_RUN(test_explorer_counts_known_orders);
	TAP_RUN(test_explorer_skips_words_apart);
	TAP_RUN(test_explorer_finds_planted_faults);
	TAP_RUN(test_explorer_bound_decides_what_is_found);
	TAP_RUN(test_explorer_replay_repeats_violation);
	return tap_end();
}
