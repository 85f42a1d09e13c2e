/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two threads enter the same users into one room, as fast as they can, while the lobby is closed.
 *
 * Owns:  one room, two threads and the one that closes.
 * Reads: USH_SEED, USH_TURNS.
 * Never: DPDK.
 */
#include <pthread.h>
#include <string.h>

#include "../tap.h"
#include "room/room.h"

#define USERS 20000u
#define THREADS 2u

static const struct ush_key key = {5, 6};
static struct ush_room room;
static _Atomic uint32_t ready;
static _Atomic uint32_t started;

struct racer {
	pthread_t thread;
	struct ush_random dice;
	uint64_t wrong;
	uint64_t met;
	/* 1 + tier << 28 | number of the users that this thread entered. */
	uint64_t mine[USERS];
};

static struct racer racers[THREADS];

static void enter(struct racer *racer, uint32_t user)
{
	struct ush_room_place place, again;
	uint64_t id = ush_mix64(user + 1), hash = ush_room_hash(&room, id);

	switch (ush_room_join(&room, hash, id, user % 7, &place)) {
	case USH_ROOM_JOINED:
		racer->wrong += racer->mine[user] != 0;
		racer->mine[user] = 1 + ((uint64_t)place.tier << 28 | place.number);
		ush_room_show(&room, &place);
		racer->wrong += ush_room_find(&room, hash, id, &again) != USH_ROOM_ALREADY;
		racer->wrong += again.number != place.number || again.tier != place.tier;
		break;
	case USH_ROOM_ALREADY:
		racer->met += racer->mine[user] == 0;
		racer->wrong +=
			racer->mine[user] != 0 &&
			racer->mine[user] != 1 + ((uint64_t)place.tier << 28 | place.number);
		break;
	case USH_ROOM_PENDING:
		racer->met++;
		break;
	case USH_ROOM_FULL:
	case USH_ROOM_ABSENT:
		racer->wrong++;
		break;
	}
}

static void *race(void *context)
{
	struct racer *racer = context;

	atomic_fetch_add(&ready, 1);
	while (atomic_load(&ready) < THREADS + 1)
		;
	for (uint32_t i = 0; i < USERS; i++) {
		/* Side by side, in an order that both know, and sometimes anybody. */
		enter(racer, i);
		if (ush_random_below(&racer->dice, 4) == 0)
			enter(racer, (uint32_t)ush_random_below(&racer->dice, i + 1));
		if (i == USERS / 2)
			atomic_fetch_add(&started, 1);
	}
	/* Those who were told RETRY. */
	for (uint32_t i = 0; i < USERS; i++) {
		struct ush_room_place place;
		uint64_t id = ush_mix64(i + 1);

		while (ush_room_find(&room, ush_room_hash(&room, id), id, &place) !=
			USH_ROOM_ALREADY)
			enter(racer, i);
	}
	return NULL;
}

static void *close_lobby(void *context)
{
	uint32_t counts[USH_ROOM_TIERS + 1], again[USH_ROOM_TIERS + 1];

	(void)context;
	atomic_fetch_add(&ready, 1);
	while (atomic_load(&started) == 0)
		;
	ush_room_close_lobby(&room);
	while (ush_room_counts(&room, counts) != 0)
		;
	ush_room_open_queue(&room);
	for (uint32_t i = 0; i < 1000; i++) {
		CHECK_EQ(ush_room_counts(&room, again), 0);
		CHECK(memcmp(counts, again, USH_ROOM_TIERS * sizeof(counts[0])) == 0);
	}
	return NULL;
}

/* Every user was entered by one thread, and no place is two users'. */
static uint64_t judge(void)
{
	static uint8_t taken[8][USERS * 2];
	uint32_t counts[USH_ROOM_TIERS + 1], lobby = 0, given = 0;
	uint64_t wrong = racers[0].wrong + racers[1].wrong;

	memset(taken, 0, sizeof(taken));
	wrong += ush_room_counts(&room, counts) != 0;
	for (uint32_t i = 0; i < USERS; i++) {
		uint64_t word = racers[0].mine[i] != 0 ? racers[0].mine[i] : racers[1].mine[i];

		wrong += (racers[0].mine[i] == 0) == (racers[1].mine[i] == 0);
		if (word == 0)
			continue;
		word--;
		lobby += word >> 28 != USH_ROOM_TIER_FIFO;
		wrong += (word & 0xfffffff) >= counts[word >> 28];
		wrong += taken[word >> 28][word & 0xfffffff]++ != 0;
	}
	for (uint32_t t = 0; t < USH_ROOM_TIERS; t++)
		given += counts[t];
	return wrong + (given != lobby + atomic_load(&room.lobby_void));
}

/* Goal: of two threads that enter a user one wins, and numbers are given once. */
static void test_room_race_each_user_once(void)
{
	const char *text = getenv("USH_TURNS");
	uint32_t turns = text != NULL ? (uint32_t)strtoul(text, NULL, 0) : 60;
	uint64_t seed = tap_seed(1), met = 0, voids = 0;
	size_t bytes = ush_room_bytes(USERS * 2);
	void *memory = aligned_alloc(64, bytes);
	pthread_t closer;

	USH_ASSERT(memory != NULL);
	for (uint32_t turn = 0; turn < turns; turn++) {
		memset(memory, 0, bytes);
		memset(racers, 0, sizeof(racers));
		atomic_store(&ready, 0);
		atomic_store(&started, 0);
		ush_room_init(&room, memory, USERS * 2, &key);
		for (uint32_t i = 0; i < THREADS; i++) {
			ush_random_init(&racers[i].dice, seed + turn * THREADS + i);
			USH_ASSERT(pthread_create(&racers[i].thread, NULL, race, &racers[i]) == 0);
		}
		USH_ASSERT(pthread_create(&closer, NULL, close_lobby, NULL) == 0);
		for (uint32_t i = 0; i < THREADS; i++)
			pthread_join(racers[i].thread, NULL);
		pthread_join(closer, NULL);
		CHECK_EQ(judge(), 0);
		met += racers[0].met + racers[1].met;
		voids += atomic_load(&room.lobby_void);
	}
	printf("# met the other %" PRIu64 " times, %" PRIu64 " void places\n", met, voids);
	CHECK(met > 0);
	free(memory);
}

int main(void)
{
	TAP_RUN(test_room_race_each_user_once);
	return tap_end();
}
