/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two threads choose, claim and give back the best seats of one small hall. There is always room
 * for what they ask, so a search in vain must see that something was under way. Afterwards the
 * index must deny nothing that fits, and nobody may have had another's seat.
 *
 * Owns:  one event, two threads.
 * Reads: USH_SEED, USH_STEPS.
 * Never: DPDK, files.
 */
#include <pthread.h>

#include "../harness.h"
#include "../tap.h"
#include "claim/best.h"

#define THREADS 2u
#define ROWS 16u
#define SEATS 10u
/* To leave no run of three in a row takes three groups; 16 groups spoil 5 rows of 16. */
#define GROUPS 8u
#define GROUP_MAX 3u

struct chooser {
	pthread_t thread;
	struct ush_event *event;
	struct ush_random random;
	uint32_t steps, turn;
	struct ush_best_legs groups[GROUPS];
	uint64_t found, lost, in_vain, denied, twice;
};

/* Who has a seat, kept beside the rows. */
static _Atomic uint32_t owner[ROWS][64];

static bool claim(struct chooser *c, const struct ush_best_legs *legs)
{
	uint64_t way;
	uint32_t won = 0;

	atomic_fetch_add(&c->event->best_open, 1);
	while (won < legs->count && ush_row_claim(&c->event->rows[legs->row[won]], legs->mask[won],
					    &way) == USH_CLAIM_WON)
		won++;
	if (won < legs->count) {
		for (uint32_t i = 0; i < won; i++)
			ush_row_unclaim(c->event, &c->event->rows[legs->row[i]], legs->mask[i]);
	}
	atomic_fetch_sub(&c->event->best_open, 1);
	return won == legs->count;
}

static void mark(struct chooser *c, const struct ush_best_legs *legs, bool take)
{
	for (uint32_t i = 0; i < legs->count; i++) {
		for (uint32_t s = 0; s < 64; s++) {
			if ((legs->mask[i] >> s & 1) != 0)
				c->twice +=
					atomic_exchange(&owner[legs->row[i]][s],
						take ? c->turn + 1 : 0) != (take ? 0 : c->turn + 1);
		}
	}
}

static void give_back(struct chooser *c, struct ush_best_legs *legs)
{
	mark(c, legs, false);
	for (uint32_t i = 0; i < legs->count; i++)
		ush_row_return(c->event, &c->event->rows[legs->row[i]], legs->mask[i]);
	legs->count = 0;
}

static void choose(struct chooser *c, struct ush_best_legs *legs)
{
	struct ush_best_query q = {.seats = 1 + (uint32_t)ush_random_below(&c->random, GROUP_MAX),
		.row_end = c->event->row_count,
		.leg_max = 2,
		.turn = 4 * (uint32_t)ush_random_below(&c->random, 2),
		.split = USH_BEST_SPLIT_TWO_ROWS,
		.avoid_orphans = ush_random_below(&c->random, 2) == 0};
	uint64_t given = atomic_load(&c->event->best_given);

	if (!ush_best_find(c->event, &q, legs)) {
		c->in_vain++;
		c->denied += atomic_load(&c->event->best_open) == 0 &&
			     atomic_load(&c->event->best_given) == given;
		legs->count = 0;
	} else if (claim(c, legs)) {
		c->found++;
		mark(c, legs, true);
		for (uint32_t i = 0; i < legs->count; i++) {
			ush_row_make_firm(&c->event->rows[legs->row[i]], legs->mask[i]);
			ush_best_note(c->event, legs->row[i]);
		}
	} else {
		c->lost++;
		legs->count = 0;
	}
}

static void *chooser_main(void *context)
{
	struct chooser *c = context;

	for (uint32_t i = 0; i < c->steps; i++) {
		struct ush_best_legs *legs = &c->groups[ush_random_below(&c->random, GROUPS)];

		if (legs->count != 0)
			give_back(c, legs);
		else
			choose(c, legs);
	}
	return NULL;
}

static uint32_t number_from(const char *name, uint32_t fallback)
{
	const char *text = getenv(name);

	return text != NULL ? (uint32_t)strtoul(text, NULL, 0) : fallback;
}

static void run_threads(struct chooser *choosers, uint32_t steps)
{
	for (uint32_t i = 0; i < THREADS; i++) {
		choosers[i].steps = steps;
		USH_ASSERT(
			pthread_create(&choosers[i].thread, NULL, chooser_main, &choosers[i]) == 0);
	}
	for (uint32_t i = 0; i < THREADS; i++)
		pthread_join(choosers[i].thread, NULL);
}

/* `rounds` times `steps` steps in a hall of so many rows. */
static void race(uint32_t rows, uint32_t rounds, uint32_t steps)
{
	size_t bytes = ush_inventory_bytes(256, 1), image_bytes;
	void *memory = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
	void *image = harness_image(rows, SEATS, 8, &image_bytes);
	struct chooser choosers[THREADS] = {0};
	struct ush_inventory inventory;
	struct ush_message message;
	struct ush_event *event;
	uint32_t seed = number_from("USH_SEED", 1), unsafe = 0;

	USH_ASSERT(memory != NULL);
	memset(memory, 0, bytes);
	memset(owner, 0, sizeof(owner));
	ush_inventory_init(&inventory, memory, 256, 1);
	USH_ASSERT(ush_event_build(&inventory, 1, image, image_bytes, &event, &message) == 0);
	printf("# USH_SEED=%u\n", seed);
	for (uint32_t i = 0; i < THREADS; i++) {
		choosers[i].event = event;
		choosers[i].turn = i;
		ush_random_init(&choosers[i].random, seed * 2 + i);
	}
	for (uint32_t i = 0; i < rounds; i++) {
		run_threads(choosers, steps);
		unsafe += !ush_best_is_safe(event);
	}
	for (uint32_t i = 0; i < THREADS; i++) {
		struct chooser *c = &choosers[i];

		printf("# thread %u: %" PRIu64 " found, %" PRIu64 " lost, %" PRIu64 " in vain\n", i,
			c->found, c->lost, c->in_vain);
		CHECK(c->found != 0);
		CHECK_EQ(c->twice, 0);
		/* In a smaller hall there may be no room. */
		if (rows == ROWS)
			CHECK_EQ(c->denied, 0);
	}
	CHECK_EQ(unsafe, 0);
	free(image);
	free(memory);
}

/* Goal: with room for all, nobody is told that there is none. */
static void test_best_race_never_denies_what_fits(void)
{
	race(ROWS, 1, number_from("USH_STEPS", 400000));
}

/* Goal: whatever is cleared while seats come back, the index stays safe. Method: a hall that is
 * nearly always full, looked at whenever both threads rest. */
static void test_best_race_index_stays_safe(void)
{
	race(2, 40, number_from("USH_STEPS", 400000) / 20);
}

int main(void)
{
	TAP_RUN(test_best_race_never_denies_what_fits);
	TAP_RUN(test_best_race_index_stays_safe);
	return tap_end();
}
