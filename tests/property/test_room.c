/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The room against an oracle, for millions of operations: an array with a word for each user.
 *
 * Lobbies of all sizes are filled and asked, closed, queued at, and replayed into a second room
 * from a log in shuffled order. A place is shown some operations after it was won, and sometimes
 * its record is lost, as by a crash.
 *
 * Owns:  two rooms, the oracle.
 * Reads: USH_SEED, USH_STEPS.
 * Never: DPDK.
 */
#include <string.h>

#include "../tap.h"
#include "room/room.h"

#define USERS 60000u
#define LATE 8u

static const struct ush_key key = {3, 4};
static struct ush_random dice;

struct oracle {
	/* 0: absent; 1: not shown; 2: shown. */
	uint8_t state[USERS];
	struct ush_room_place place[USERS];
	uint32_t next[USH_ROOM_TIERS + 1];
	uint32_t given;
	/* Won and not shown. */
	uint32_t late[LATE];
	uint32_t late_count;
	uint32_t limit;
	bool closed;
	bool queue;
	uint64_t steps;
};

static struct oracle oracle;
static struct ush_room room, twin;
static void *memory[2];

static void open_one(struct ush_room *one, void **bytes_at, uint32_t limit)
{
	size_t bytes = ush_room_bytes(limit);

	free(*bytes_at);
	*bytes_at = aligned_alloc(64, bytes);
	USH_ASSERT(*bytes_at != NULL);
	memset(*bytes_at, 0, bytes);
	ush_room_init(one, *bytes_at, limit, &key);
}

/* User ids far apart; never 0. */
static uint64_t id_of(uint32_t user)
{
	return ush_mix64(user + 1);
}

static bool is_place(const struct ush_room_place *a, const struct ush_room_place *b)
{
	return a->number == b->number && a->tier == b->tier && a->slot == b->slot;
}

static void show_one(uint32_t which)
{
	uint32_t user = oracle.late[which];

	ush_room_show(&room, &oracle.place[user]);
	oracle.state[user] = 2;
	oracle.late[which] = oracle.late[--oracle.late_count];
}

static uint64_t join(uint32_t user)
{
	uint32_t tier = (uint32_t)ush_random_below(&dice, 9);
	uint32_t at = oracle.queue ? USH_ROOM_TIER_FIFO : tier < USH_ROOM_TIERS ? tier : 6;
	struct ush_room_place place = {.slot = UINT32_MAX};
	enum ush_room_result result =
		ush_room_join(&room, ush_room_hash(&room, id_of(user)), id_of(user), tier, &place);

	if (oracle.state[user] == 2)
		return result != USH_ROOM_ALREADY || !is_place(&place, &oracle.place[user]);
	if (oracle.state[user] == 1)
		return result != USH_ROOM_PENDING;
	if (oracle.given >= oracle.limit)
		return result != USH_ROOM_FULL;
	if (oracle.closed && !oracle.queue)
		return result != USH_ROOM_PENDING || place.slot != UINT32_MAX;
	if (result != USH_ROOM_JOINED || place.tier != at || place.number != oracle.next[at])
		return 1;
	oracle.next[at]++;
	oracle.given++;
	oracle.state[user] = 1;
	oracle.place[user] = place;
	if (oracle.late_count == LATE)
		show_one((uint32_t)ush_random_below(&dice, LATE));
	oracle.late[oracle.late_count++] = user;
	return 0;
}

static uint64_t look(uint32_t user)
{
	static const enum ush_room_result results[] = {
		USH_ROOM_ABSENT, USH_ROOM_PENDING, USH_ROOM_ALREADY};
	struct ush_room_place place;
	enum ush_room_result result =
		ush_room_find(&room, ush_room_hash(&room, id_of(user)), id_of(user), &place);

	return result != results[oracle.state[user]] ||
	       (oracle.state[user] == 2 && !is_place(&place, &oracle.place[user]));
}

static uint64_t count_all(void)
{
	uint32_t counts[USH_ROOM_TIERS + 1], late = 0;
	uint64_t wrong = 0;

	for (uint32_t i = 0; i < oracle.late_count; i++)
		late += oracle.place[oracle.late[i]].tier != USH_ROOM_TIER_FIFO;
	wrong += ush_room_counts(&room, counts) != late;
	return wrong + (memcmp(counts, oracle.next, sizeof(counts)) != 0);
}

/* The twin is made from records; of places that were not shown there is none. */
static uint64_t replay(uint32_t users)
{
	uint32_t counts[USH_ROOM_TIERS + 1];
	uint64_t wrong = 0;
	struct ush_room_place place;

	open_one(&twin, &memory[1], oracle.limit);
	for (uint32_t pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < users; i++) {
			/* 7,919 is a prime that divides no number of users used here. */
			uint32_t user = (uint32_t)((uint64_t)i * 7919 % users);
			bool fifo = oracle.place[user].tier == USH_ROOM_TIER_FIFO;

			if (oracle.state[user] == 2 && fifo == (pass == 1))
				wrong += ush_room_replay_join(
						 &twin, id_of(user), &oracle.place[user]) != 0;
		}
		if (pass == 0 && oracle.queue)
			wrong += ush_room_replay_close(&twin, oracle.next) != 0;
	}
	ush_room_replayed(&twin);
	wrong += ush_room_counts(&twin, counts) != 0;
	for (uint32_t user = 0; user < users; user++) {
		uint64_t id = id_of(user);
		enum ush_room_result result =
			ush_room_find(&twin, ush_room_hash(&twin, id), id, &place);

		wrong += result != (oracle.state[user] == 2 ? USH_ROOM_ALREADY : USH_ROOM_ABSENT);
		wrong += oracle.state[user] == 2 &&
			 (place.tier != oracle.place[user].tier ||
				 place.number != oracle.place[user].number);
	}
	return wrong;
}

static uint64_t list_all(uint32_t users)
{
	uint64_t *list = malloc((size_t)USERS * 8), wrong = 0;

	USH_ASSERT(list != NULL);
	for (uint32_t tier = 0; tier <= USH_ROOM_TIER_FIFO; tier++) {
		uint32_t count = oracle.next[tier], shown = 0;
		uint32_t written = ush_room_list(&room, tier, list, count);

		for (uint32_t user = 0; user < users; user++) {
			if (oracle.state[user] != 2 || oracle.place[user].tier != tier)
				continue;
			shown++;
			wrong += list[oracle.place[user].number] != id_of(user);
			list[oracle.place[user].number] = 0;
		}
		wrong += written != shown;
		for (uint32_t i = 0; i < count; i++)
			wrong += list[i] != 0;
	}
	free(list);
	return wrong;
}

/* One life of a room. ret: disagreements. */
static uint64_t live(uint32_t steps)
{
	uint32_t users = 1 + (uint32_t)ush_random_below(&dice, USERS);
	uint32_t close_at = (uint32_t)ush_random_below(&dice, steps);
	uint32_t queue_at = close_at + 1 + (uint32_t)ush_random_below(&dice, 100);
	uint64_t wrong = 0;

	while (users % 7919 == 0)
		users--;
	memset(&oracle, 0, sizeof(oracle));
	oracle.limit = 1 + (uint32_t)ush_random_below(&dice, users + users / 4 + 1);
	open_one(&room, &memory[0], oracle.limit);
	for (uint32_t i = 0; i < steps && wrong == 0; i++) {
		uint32_t user = (uint32_t)ush_random_below(&dice, users);

		if (i == close_at) {
			oracle.closed = true;
			ush_room_close_lobby(&room);
		}
		if (i == queue_at) {
			oracle.queue = true;
			ush_room_open_queue(&room);
		}
		if (oracle.late_count != 0 && ush_random_below(&dice, 4) == 0)
			show_one((uint32_t)ush_random_below(&dice, oracle.late_count));
		wrong += ush_random_below(&dice, 3) == 0 ? look(user) : join(user);
		if (i % 1024 == 0)
			wrong += count_all();
		oracle.steps++;
	}
	return wrong + count_all() + list_all(users) + replay(users);
}

/* Goal: a room says what an array would say. */
static void test_room_agrees_with_an_array(void)
{
	const char *text = getenv("USH_STEPS");
	uint64_t left = text != NULL ? strtoull(text, NULL, 0) : 5000000, done = 0, lives = 0;

	while (done < left) {
		uint64_t wrong = live(1000 + (uint32_t)ush_random_below(&dice, 200000));

		done += oracle.steps;
		lives++;
		if (wrong != 0) {
			CHECK_EQ(wrong, 0);
			break;
		}
	}
	printf("# %" PRIu64 " operations in %" PRIu64 " rooms\n", done, lives);
}

int main(void)
{
	ush_random_init(&dice, tap_seed(1));
	TAP_RUN(test_room_agrees_with_an_array);
	free(memory[0]);
	free(memory[1]);
	return tap_end();
}
