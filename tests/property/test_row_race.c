/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two threads at one row, as fast as they can: claim, make firm, give back.
 *
 * Owns:  one row, two threads.
 * Reads: USH_SEED, USH_TURNS.
 * Never: DPDK.
 */
#include <pthread.h>

#include "../tap.h"
#include "claim/claim.h"

#define TURNS 5000000u
#define SEATS 6u

static struct ush_row row;
static uint32_t turns;
static _Atomic uint32_t ready;

struct thief {
	pthread_t thread;
	struct ush_random random;
	/* Each seat belongs to one of two, or to none. */
	uint64_t wrong;
	uint64_t won;
	uint64_t lost;
};

/* Who has a seat now; written only by who has won it. */
static _Atomic uint32_t owner[SEATS];

static void hold_and_return(struct thief *thief, uint64_t mask, uint32_t me)
{
	for (uint32_t s = 0; s < SEATS; s++) {
		if ((mask >> s & 1) != 0)
			thief->wrong +=
				atomic_exchange_explicit(&owner[s], me, memory_order_relaxed) != 0;
	}
	thief->won++;
	if (ush_random_below(&thief->random, 4) == 0) {
		for (uint32_t s = 0; s < SEATS; s++) {
			if ((mask >> s & 1) != 0)
				atomic_store_explicit(&owner[s], 0, memory_order_relaxed);
		}
		ush_row_put_back(&row, mask);
		return;
	}
	ush_row_make_firm(&row, mask);
	/* Nobody else takes its firmness away, or finds it free. */
	thief->wrong += (atomic_load(&row.firm) & mask) != mask;
	thief->wrong += (atomic_load(&row.free) & mask) != 0;
	for (uint32_t s = 0; s < SEATS; s++) {
		if ((mask >> s & 1) == 0)
			continue;
		thief->wrong += atomic_load_explicit(&owner[s], memory_order_relaxed) != me;
		atomic_store_explicit(&owner[s], 0, memory_order_relaxed);
	}
	thief->wrong += (atomic_load(&row.firm) & mask) != mask;
	ush_row_set_free(&row, mask);
}

static void *steal(void *context)
{
	struct thief *thief = context;
	uint32_t me = 1 + atomic_fetch_add(&ready, 1);

	while (atomic_load(&ready) < 2)
		;
	for (uint32_t i = 0; i < turns; i++) {
		uint64_t mask = 1 + ush_random_below(&thief->random, (1u << SEATS) - 1), way;
		enum ush_claim claim = ush_row_claim(&row, mask, &way);

		if (claim == USH_CLAIM_WON) {
			hold_and_return(thief, mask, me);
		} else {
			thief->wrong += way == 0 || (way & ~mask) != 0;
			thief->lost++;
		}
	}
	return NULL;
}

/*
 * Goal: a seat is one's alone from the claim until it is given back, and firm while it is firm.
 * Method: two threads, six seats, random masks.
 */
static void test_row_race_seat_has_one_owner(void)
{
	static struct thief thief[2];
	const char *text = getenv("USH_TURNS");
	uint64_t seed = tap_seed(1);

	turns = text != NULL ? (uint32_t)strtoul(text, NULL, 0) : TURNS;
	row.seats = (1u << SEATS) - 1;
	atomic_store(&row.free, row.seats);
	for (uint32_t i = 0; i < 2; i++) {
		ush_random_init(&thief[i].random, seed + i);
		USH_ASSERT(pthread_create(&thief[i].thread, NULL, steal, &thief[i]) == 0);
	}
	for (uint32_t i = 0; i < 2; i++) {
		pthread_join(thief[i].thread, NULL);
		printf("# %" PRIu64 " won, %" PRIu64 " lost\n", thief[i].won, thief[i].lost);
		CHECK_EQ(thief[i].wrong, 0);
		CHECK(thief[i].won != 0);
	}
	CHECK_EQ(atomic_load(&row.free), row.seats);
	CHECK_EQ(atomic_load(&row.firm), 0);
}

int main(void)
{
	TAP_RUN(test_row_race_seat_has_one_owner);
	return tap_end();
}
