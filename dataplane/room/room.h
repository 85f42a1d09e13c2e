/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting room: who has joined an event, exactly, and in which place.
 *
 * Before the sale users join the lobby and get a place: a tier and an index in it, in order of
 * arrival. The draw (room/draw.h) makes a number of it later. Who comes when the lobby is closed
 * gets the next place of tier USH_ROOM_TIER_FIFO. Nobody is ever taken out, so a search may end at
 * the first empty place, and of two cores that enter one user the second meets the first.
 *
 * A place may be won before its record has a slot in the log, because all that others can do about
 * it is to wait. It is shown afterwards. A place that nobody has is void: two cores raced for one
 * user, or the box stopped before the record was durable. Nobody was told of it.
 *
 * Owns:  the table of one event, its counters.
 * Reads: nothing else.
 * Never: events, tickets, the log, clocks.
 */
#ifndef USH_ROOM_H
#define USH_ROOM_H

#include <stdatomic.h>

#include "base/base.h"

/* Tiers of the lobby are 0, drawn first, to 6. */
#define USH_ROOM_TIERS 7u
/* Places of those who came after the lobby. */
#define USH_ROOM_TIER_FIFO 7u
/* A number has 28 bits; as many loops as there are may pass the limit by one each. */
#define USH_ROOM_USERS_MAX ((1u << 28) - 64u)
#define USH_ROOM_LINE_PLACES 5u
/* Lines that a search looks at; more would be full. At the 72 % that ush_room_bytes allows, the
 * Chernoff bound for so many full lines in a row is 10^-13 (640 places, 461 users expected), 10^-7
 * for any of the two million beginnings in a room of ten million. */
#define USH_ROOM_PROBE_LINES 128u

struct ush_room_line {
	/* 0: empty. */
	_Atomic uint64_t user[USH_ROOM_LINE_PLACES];
	/* 0: not shown yet; else bit 31, tier << 28, number. */
	_Atomic uint32_t place[USH_ROOM_LINE_PLACES];
	uint32_t spare;
};
static_assert(sizeof(struct ush_room_line) == USH_CACHE_LINE, "a line of the room is one line");

struct ush_room {
	struct ush_room_line *lines;
	struct ush_key key;
	uint32_t line_count;
	uint32_t limit;
	/* Next number of each tier; top bit: none is given. */
	_Atomic uint32_t next[USH_ROOM_TIERS + 1] USH_ALIGNED(USH_CACHE_LINE);
	/* Places of the lobby that are shown, and those that nobody has. */
	_Atomic uint32_t lobby_shown USH_ALIGNED(USH_CACHE_LINE);
	_Atomic uint32_t lobby_void;
};

/* A user's place. */
struct ush_room_place {
	/* In the lobby the index in its tier; in USH_ROOM_TIER_FIFO the order of arrival. From 0.
	 */
	uint32_t number;
	uint32_t tier;
	/* Where it stands in the table. */
	uint32_t slot;
};

enum ush_room_result {
	/* The user is new, and nobody else sees the place yet: reserve its record, then show it. */
	USH_ROOM_JOINED,
	/* The user had the place before. Its record has a slot, and may not be durable. */
	USH_ROOM_ALREADY,
	/* Another core is entering the user, or the lobby is being closed: RETRY. */
	USH_ROOM_PENDING,
	/* As many as there may be. */
	USH_ROOM_FULL,
	/* Not joined. */
	USH_ROOM_ABSENT,
};

/* in: limit: users, 1 to USH_ROOM_USERS_MAX. ret: bytes, a multiple of 64: 17.8 a user. */
size_t ush_room_bytes(uint32_t limit);

/* An empty room with an open lobby. in: memory: ush_room_bytes(limit) zeroed bytes, aligned to 64,
 * in use for as long as the room. key: secret of the box and the event, so that nobody can choose
 * users that meet in one line. */
void ush_room_init(struct ush_room *room, void *memory, uint32_t limit, const struct ush_key *key);

/* ret: hash of a user; pass it to the calls below. cost: some 17 ns. guess */
USH_INLINE uint64_t ush_room_hash(const struct ush_room *room, uint64_t user)
{
	return ush_siphash_2(&room->key, user, 0);
}

/* ret: the line where a search begins: prefetch or touch it. */
USH_INLINE struct ush_room_line *ush_room_home(const struct ush_room *room, uint64_t hash)
{
	return &room->lines[((hash >> 32) * room->line_count) >> 32];
}

/* Enters a user who is not there yet. in: user: not 0. tier: of the lobby; a higher one counts as
 * the last. out: place: for JOINED and ALREADY. ret: JOINED, ALREADY, PENDING or FULL. by: any
 * loop, at any time. cost: one line, usually. */
enum ush_room_result ush_room_join(struct ush_room *room, uint64_t hash, uint64_t user,
	uint32_t tier, struct ush_room_place *place);

/* Others see the place: its record has a slot. in: place: from a join that gave JOINED. by: the
 * loop that joined it, once. */
void ush_room_show(struct ush_room *room, const struct ush_room_place *place);

/* out: place: for ALREADY. ret: ALREADY, PENDING or ABSENT. by: any thread. cost: one line,
 * usually. */
enum ush_room_result ush_room_find(
	const struct ush_room *room, uint64_t hash, uint64_t user, struct ush_room_place *place);

/* No more places of the lobby are given; until ush_room_open_queue new joins are PENDING. Places
 * given before stay, also those that are shown later. Then the counts can be recorded. Again:
 * changes nothing. by: one thread. */
void ush_room_close_lobby(struct ush_room *room);

/* From now on joins get places of USH_ROOM_TIER_FIFO. Call it when the record of the closed lobby
 * has its slot: a place in the queue must not stand before it in the log. by: one thread. */
void ush_room_open_queue(struct ush_room *room);

/* ret: true after ush_room_open_queue. by: any thread. */
bool ush_room_queue_is_open(const struct ush_room *room);

/* out: counts: places given in each tier, FIFO last. ret: places of the lobby that are given, not
 * shown, and not void. The Merkle tree waits until that is 0 in a closed lobby. by: any thread. */
uint32_t ush_room_counts(const struct ush_room *room, uint32_t counts[USH_ROOM_TIERS + 1]);

/* Enters and shows a user in a place of a record. err: -USH_EINVAL no such place or user,
 * -USH_EEXIST the user has a place, -USH_ERANGE a place of the closed lobby that was never given,
 * or of the queue before it was open, -USH_EFULL no room. That two users have one place is not
 * found here. by: replay. */
int ush_room_replay_join(struct ush_room *room, uint64_t user, const struct ush_room_place *place);

/* Closes the lobby with the counts of a record, and opens the queue. err: -USH_EINVAL it is open
 * already, or a place beyond the counts is taken. by: replay. */
int ush_room_replay_close(struct ush_room *room, const uint32_t counts[USH_ROOM_TIERS]);

/* Sets how many places of each tier were given, FIFO last, in place of joins and a close: for a
 * snapshot. in: closed: of the lobby. err: -USH_EINVAL more than there can be. by: replay, before
 * the joins. */
int ush_room_replay_next(
	struct ush_room *room, const uint32_t next[USH_ROOM_TIERS + 1], bool closed);

/* The end of replay: places of the lobby that were given and that no record names are void. */
void ush_room_replayed(struct ush_room *room);

/* Writes the users of a tier in the order of their places, 0 for a void one or one not shown. in:
 * users: `count` words. ret: users written. by: any thread; sees each shown place or not. cost: all
 * lines, guess: a second for ten million users: not for loops. */
uint32_t ush_room_list(const struct ush_room *room, uint32_t tier, uint64_t *users, uint32_t count);

/* ret: the user in a place of the table, or 0: none that is shown. in: line: below line_count. at:
 * below USH_ROOM_LINE_PLACES. out: place. by: any thread. */
uint64_t ush_room_at(
	const struct ush_room *room, uint32_t line, uint32_t at, struct ush_room_place *place);

#endif /* USH_ROOM_H */
