/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The room: places of lobby and queue, what is not shown yet, what replay refuses, what is full.
 *
 * Owns:  one room.
 * Reads: nothing.
 * Never: DPDK.
 */
#include <stdlib.h>
#include <string.h>

#include "../tap.h"
#include "room/room.h"

static const struct ush_key key = {1, 2};
static struct ush_room room;
static void *memory;

static void open_room(uint32_t limit)
{
	size_t bytes = ush_room_bytes(limit);

	free(memory);
	memory = aligned_alloc(64, bytes);
	USH_ASSERT(memory != NULL);
	memset(memory, 0, bytes);
	ush_room_init(&room, memory, limit, &key);
}

static enum ush_room_result join(uint64_t user, uint32_t tier, struct ush_room_place *place)
{
	return ush_room_join(&room, ush_room_hash(&room, user), user, tier, place);
}

static enum ush_room_result find(uint64_t user, struct ush_room_place *place)
{
	return ush_room_find(&room, ush_room_hash(&room, user), user, place);
}

/* Joins and shows. ret: tier << 28 | number. */
static uint32_t joined(uint64_t user, uint32_t tier)
{
	struct ush_room_place place = {0};

	CHECK_EQ(join(user, tier, &place), USH_ROOM_JOINED);
	ush_room_show(&room, &place);
	return place.tier << 28 | place.number;
}

/* Goal: each tier counts by itself, and who asks again keeps the place, whatever tier is said. */
static void test_room_lobby_places_by_tier(void)
{
	struct ush_room_place place;
	uint32_t counts[USH_ROOM_TIERS + 1];

	open_room(100);
	CHECK_EQ(joined(11, 0), 0u << 28 | 0);
	CHECK_EQ(joined(12, 3), 3u << 28 | 0);
	CHECK_EQ(joined(13, 0), 0u << 28 | 1);
	/* No such tier: the last. */
	CHECK_EQ(joined(14, 200), 6u << 28 | 0);
	CHECK_EQ(join(13, 5, &place), USH_ROOM_ALREADY);
	CHECK_EQ(place.tier, 0);
	CHECK_EQ(place.number, 1);
	CHECK_EQ(find(12, &place), USH_ROOM_ALREADY);
	CHECK_EQ(place.tier, 3);
	CHECK_EQ(find(99, &place), USH_ROOM_ABSENT);
	CHECK_EQ(find(0, &place), USH_ROOM_ABSENT);
	CHECK_EQ(ush_room_counts(&room, counts), 0);
	CHECK_EQ(counts[0], 2);
	CHECK_EQ(counts[3], 1);
	CHECK_EQ(counts[6], 1);
	CHECK_EQ(counts[USH_ROOM_TIER_FIFO], 0);
}

/* Goal: a place whose record has no slot is nobody's yet, and the lobby waits for it. */
static void test_room_not_shown_is_pending(void)
{
	struct ush_room_place place, other;
	uint32_t counts[USH_ROOM_TIERS + 1];
	uint64_t users[2];

	open_room(100);
	CHECK_EQ(join(7, 1, &place), USH_ROOM_JOINED);
	CHECK_EQ(join(7, 1, &other), USH_ROOM_PENDING);
	CHECK_EQ(find(7, &other), USH_ROOM_PENDING);
	CHECK_EQ(ush_room_counts(&room, counts), 1);
	CHECK_EQ(ush_room_list(&room, 1, users, 2), 0);
	ush_room_close_lobby(&room);
	CHECK_EQ(ush_room_counts(&room, counts), 1);
	ush_room_show(&room, &place);
	CHECK_EQ(ush_room_counts(&room, counts), 0);
	CHECK_EQ(find(7, &other), USH_ROOM_ALREADY);
	CHECK_EQ(other.slot, place.slot);
	CHECK_EQ(ush_room_list(&room, 1, users, 2), 1);
	CHECK_EQ(users[0], 7);
	CHECK_EQ(users[1], 0);
}

/* Goal: between the end of the lobby and the queue nobody gets a place, and no trace stays. */
static void test_room_closed_lobby_then_queue(void)
{
	struct ush_room_place place;
	uint32_t counts[USH_ROOM_TIERS + 1];

	open_room(100);
	joined(1, 0);
	joined(2, 0);
	ush_room_close_lobby(&room);
	ush_room_close_lobby(&room);
	CHECK(!ush_room_queue_is_open(&room));
	CHECK_EQ(join(3, 0, &place), USH_ROOM_PENDING);
	CHECK_EQ(find(3, &place), USH_ROOM_ABSENT);
	CHECK_EQ(join(1, 0, &place), USH_ROOM_ALREADY);
	ush_room_open_queue(&room);
	CHECK(ush_room_queue_is_open(&room));
	CHECK_EQ(joined(3, 0), USH_ROOM_TIER_FIFO << 28 | 0);
	CHECK_EQ(joined(4, 6), USH_ROOM_TIER_FIFO << 28 | 1);
	CHECK_EQ(join(2, 0, &place), USH_ROOM_ALREADY);
	CHECK_EQ(place.tier, 0);
	CHECK_EQ(ush_room_counts(&room, counts), 0);
	CHECK_EQ(counts[0], 2);
	CHECK_EQ(counts[USH_ROOM_TIER_FIFO], 2);
}

/* Goal: full is said by name, changes nothing, and those inside stay. */
static void test_room_full_is_refused(void)
{
	const uint32_t limits[] = {1, 2, 5, 434, 435, 436, 5000};
	struct ush_room_place place;

	for (uint32_t l = 0; l < sizeof(limits) / sizeof(limits[0]); l++) {
		open_room(limits[l]);
		for (uint64_t user = 1; user <= limits[l]; user++)
			joined(user, (uint32_t)user % 7);
		CHECK_EQ(join(1u << 30, 0, &place), USH_ROOM_FULL);
		CHECK_EQ(find(1u << 30, &place), USH_ROOM_ABSENT);
		for (uint64_t user = 1; user <= limits[l]; user++)
			CHECK_EQ(join(user, 0, &place), USH_ROOM_ALREADY);
	}
}

/* Goal: a table without an empty place in reach refuses, and a search in it ends. */
static void test_room_no_place_in_reach_is_full(void)
{
	struct ush_room_place place;

	open_room(1000);
	for (uint32_t line = 0; line < room.line_count; line++) {
		for (uint32_t at = 0; at < USH_ROOM_LINE_PLACES; at++)
			atomic_store(&room.lines[line].user[at], 1000000 + line * 5 + at);
	}
	CHECK_EQ(join(1, 0, &place), USH_ROOM_FULL);
	CHECK_EQ(find(1, &place), USH_ROOM_ABSENT);
	CHECK_EQ(ush_room_replay_join(&room, 1, &(struct ush_room_place){0}), -USH_EFULL);
}

static int replayed(uint64_t user, uint32_t tier, uint32_t number)
{
	return ush_room_replay_join(
		&room, user, &(struct ush_room_place){.tier = tier, .number = number});
}

/* Goal: replay makes the same room, in any order of places, and refuses what cannot have been. */
static void test_room_replay_refuses_what_cannot_be(void)
{
	const uint32_t fewer[USH_ROOM_TIERS] = {2, 1}, counts[USH_ROOM_TIERS] = {4, 1};
	const uint32_t huge[USH_ROOM_TIERS] = {4, 1, (1u << 28) + 1};
	uint32_t now[USH_ROOM_TIERS + 1];
	struct ush_room_place place;
	uint64_t users[4];

	open_room(100);
	CHECK_EQ(replayed(1, 0, 2), 0);
	CHECK_EQ(replayed(2, 0, 0), 0);
	CHECK_EQ(replayed(3, 1, 0), 0);
	CHECK_EQ(replayed(0, 1, 1), -USH_EINVAL);
	CHECK_EQ(replayed(4, 8, 1), -USH_EINVAL);
	CHECK_EQ(replayed(4, 1, 1u << 28), -USH_EINVAL);
	CHECK_EQ(replayed(1, 1, 1), -USH_EEXIST);
	CHECK_EQ(replayed(4, USH_ROOM_TIER_FIFO, 0), -USH_ERANGE);
	CHECK_EQ(ush_room_replay_close(&room, fewer), -USH_EINVAL);
	CHECK_EQ(ush_room_replay_close(&room, huge), -USH_EINVAL);
	CHECK_EQ(ush_room_replay_close(&room, counts), 0);
	CHECK_EQ(ush_room_replay_close(&room, counts), -USH_EINVAL);
	/* Given before the end, written behind it. */
	CHECK_EQ(replayed(4, 0, 1), 0);
	CHECK_EQ(replayed(5, 0, 4), -USH_ERANGE);
	CHECK_EQ(replayed(5, 2, 0), -USH_ERANGE);
	CHECK_EQ(replayed(5, USH_ROOM_TIER_FIFO, 3), 0);
	CHECK_EQ(ush_room_counts(&room, now), 1);
	ush_room_replayed(&room);
	CHECK_EQ(ush_room_counts(&room, now), 0);
	CHECK_EQ(now[0], 4);
	CHECK_EQ(now[USH_ROOM_TIER_FIFO], 4);
	CHECK_EQ(ush_room_list(&room, 0, users, 4), 3);
	CHECK_EQ(users[0], 2);
	CHECK_EQ(users[1], 4);
	CHECK_EQ(users[2], 1);
	CHECK_EQ(users[3], 0);
	/* It goes on where it was. */
	CHECK_EQ(joined(6, 0), USH_ROOM_TIER_FIFO << 28 | 4);
	CHECK_EQ(join(1, 0, &place), USH_ROOM_ALREADY);
	CHECK_EQ(place.number, 2);
}

/* Goal: ten million users in at most 200 MB, the room's and the draw's memory together. */
static void test_room_ten_million_fit_200_megabytes(void)
{
	CHECK(ush_room_bytes(10000000) + sizeof(room) <= 199000000);
	CHECK_EQ(ush_room_bytes(10000000) % 64, 0);
}

int main(void)
{
	TAP_RUN(test_room_lobby_places_by_tier);
	TAP_RUN(test_room_not_shown_is_pending);
	TAP_RUN(test_room_closed_lobby_then_queue);
	TAP_RUN(test_room_full_is_refused);
	TAP_RUN(test_room_no_place_in_reach_is_full);
	TAP_RUN(test_room_replay_refuses_what_cannot_be);
	TAP_RUN(test_room_ten_million_fit_200_megabytes);
	free(memory);
	return tap_end();
}
