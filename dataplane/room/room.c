/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table is lines of five places, searched from a user's home onwards, at most
 * USH_ROOM_PROBE_LINES of them. A join takes the next number, wins a place of the table by
 * compare-and-swap of its user from 0, and shows it by the store of `place`. Places fill in the
 * order in which searches pass them and are never emptied: two searches for one user cannot miss
 * each other.
 *
 * What fails: no empty place within the bound, or the limit reached: FULL, and nothing changed.
 */
#include <string.h>

#include "room/room.h"

#define CLOSED (1u << 31)
#define SHOWN (1u << 31)
#define TIER_SHIFT 28
#define NUMBER_MASK ((1u << TIER_SHIFT) - 1)
static_assert(USH_ROOM_TIER_FIFO << TIER_SHIFT < SHOWN, "a place fits its word");

/* Five places a line, 72 % of them filled at the limit; never fewer lines than a search looks at,
 * so that a search meets no line twice. */
static uint32_t lines_of(uint32_t limit)
{
	uint64_t lines = ((uint64_t)limit * 5 + 17) / 18;

	return (uint32_t)ush_max64(lines, USH_ROOM_PROBE_LINES);
}

size_t ush_room_bytes(uint32_t limit)
{
	return (size_t)lines_of(limit) * sizeof(struct ush_room_line);
}

void ush_room_init(struct ush_room *room, void *memory, uint32_t limit, const struct ush_key *key)
{
	USH_ASSERT(limit >= 1);
	USH_ASSERT(limit <= USH_ROOM_USERS_MAX);
	memset(room, 0, sizeof(*room));
	room->lines = memory;
	room->line_count = lines_of(limit);
	room->limit = limit;
	room->key = *key;
	atomic_store_explicit(&room->next[USH_ROOM_TIER_FIFO], CLOSED, memory_order_relaxed);
}

/* A search: at a place that is the user's or empty, or at the end of the bound. */
struct search {
	struct ush_room_line *line;
	uint32_t at;
	uint32_t lines_left;
	/* Who is there: the user, 0, or another when the bound was reached. */
	uint64_t found;
};

static void search_on(const struct ush_room *room, struct search *s, uint64_t user)
{
	for (;;) {
		for (; s->at < USH_ROOM_LINE_PLACES; s->at++) {
			/* Relaxed: what the winner wrote is read through `place`. */
			s->found =
				atomic_load_explicit(&s->line->user[s->at], memory_order_relaxed);
			if (s->found == user || s->found == 0)
				return;
		}
		if (--s->lines_left == 0)
			return;
		s->at = 0;
		if (++s->line == room->lines + room->line_count)
			s->line = room->lines;
	}
}

static struct search search_start(const struct ush_room *room, uint64_t hash, uint64_t user)
{
	struct search s = {.line = ush_room_home(room, hash), .lines_left = USH_ROOM_PROBE_LINES};

	search_on(room, &s, user);
	return s;
}

static uint32_t slot_of(const struct ush_room *room, const struct search *s)
{
	return (uint32_t)(s->line - room->lines) * USH_ROOM_LINE_PLACES + s->at;
}

static _Atomic uint32_t *word_of(const struct ush_room *room, uint32_t slot)
{
	struct ush_room_line *line = &room->lines[slot / USH_ROOM_LINE_PLACES];

	return &line->place[slot % USH_ROOM_LINE_PLACES];
}

static enum ush_room_result look(
	const struct ush_room *room, const struct search *s, struct ush_room_place *place)
{
	/* Acquire pairs with ush_room_show: who sees the place sees its record's slot reserved. */
	uint32_t word = atomic_load_explicit(&s->line->place[s->at], memory_order_acquire);

	if ((word & SHOWN) == 0)
		return USH_ROOM_PENDING;
	*place = (struct ush_room_place){.number = word & NUMBER_MASK,
		.tier = (word & ~SHOWN) >> TIER_SHIFT,
		.slot = slot_of(room, s)};
	return USH_ROOM_ALREADY;
}

/* ret: places given, void ones too. */
static uint32_t given(const struct ush_room *room)
{
	uint32_t sum = 0;

	for (uint32_t tier = 0; tier <= USH_ROOM_TIERS; tier++)
		sum += atomic_load_explicit(&room->next[tier], memory_order_relaxed) & ~CLOSED;
	return sum;
}

static bool take_from(struct ush_room *room, uint32_t tier, struct ush_room_place *place)
{
	/* Acquire pairs with ush_room_open_queue: the record of the closed lobby has its slot. */
	uint32_t next = atomic_load_explicit(&room->next[tier], memory_order_acquire);

	do {
		if ((next & CLOSED) != 0)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		&room->next[tier], &next, next + 1, memory_order_acquire, memory_order_acquire));
	place->tier = tier;
	place->number = next;
	return true;
}

/* ret: false if no tier gives any now. */
static bool take_number(struct ush_room *room, uint32_t tier, struct ush_room_place *place)
{
	if (tier >= USH_ROOM_TIERS)
		tier = USH_ROOM_TIERS - 1;
	return take_from(room, tier, place) || take_from(room, USH_ROOM_TIER_FIFO, place);
}

/* A number that was taken for nothing: given back if no other was taken since, void otherwise. */
static void return_number(struct ush_room *room, const struct ush_room_place *place)
{
	uint32_t next = place->number + 1;

	if (!atomic_compare_exchange_strong_explicit(&room->next[place->tier], &next, place->number,
		    memory_order_relaxed, memory_order_relaxed) &&
		place->tier != USH_ROOM_TIER_FIFO)
		atomic_fetch_add_explicit(&room->lobby_void, 1, memory_order_release);
}

/* Wins the place that a search found empty, or one behind it. ret: JOINED, or what was met. */
static enum ush_room_result win(
	struct ush_room *room, struct search *s, uint64_t user, struct ush_room_place *place)
{
	while (s->found == 0) {
		/* Relaxed: the word of the place is what others wait for. */
		if (atomic_compare_exchange_strong_explicit(&s->line->user[s->at], &s->found, user,
			    memory_order_relaxed, memory_order_relaxed)) {
			place->slot = slot_of(room, s);
			return USH_ROOM_JOINED;
		}
		/* Another won it; perhaps for this user. */
		search_on(room, s, user);
	}
	return_number(room, place);
	return s->found == user ? look(room, s, place) : USH_ROOM_FULL;
}

enum ush_room_result ush_room_join(struct ush_room *room, uint64_t hash, uint64_t user,
	uint32_t tier, struct ush_room_place *place)
{
	struct search s = search_start(room, hash, user);
	struct ush_room_place taken;
	enum ush_room_result result;

	USH_ASSERT(user != 0);
	if (s.found == user)
		return look(room, &s, place);
	if (s.found != 0 || given(room) >= room->limit)
		return USH_ROOM_FULL;
	/* Before the place in the table, so that a lobby that closes meanwhile leaves none behind
	 * that has no number. */
	if (!take_number(room, tier, &taken))
		return USH_ROOM_PENDING;
	result = win(room, &s, user, &taken);
	if (result == USH_ROOM_JOINED || result == USH_ROOM_ALREADY)
		*place = taken;
	return result;
}

void ush_room_show(struct ush_room *room, const struct ush_room_place *place)
{
	_Atomic uint32_t *word = word_of(room, place->slot);

	USH_ASSERT(atomic_load_explicit(word, memory_order_relaxed) == 0);
	/* Release: see look(). */
	atomic_store_explicit(
		word, SHOWN | place->tier << TIER_SHIFT | place->number, memory_order_release);
	/* Release: who counts all shown finds them all. */
	if (place->tier != USH_ROOM_TIER_FIFO)
		atomic_fetch_add_explicit(&room->lobby_shown, 1, memory_order_release);
}

enum ush_room_result ush_room_find(
	const struct ush_room *room, uint64_t hash, uint64_t user, struct ush_room_place *place)
{
	struct search s = search_start(room, hash, user);

	if (user == 0 || s.found != user)
		return USH_ROOM_ABSENT;
	return look(room, &s, place);
}

void ush_room_close_lobby(struct ush_room *room)
{
	for (uint32_t tier = 0; tier < USH_ROOM_TIERS; tier++)
		atomic_fetch_or_explicit(&room->next[tier], CLOSED, memory_order_relaxed);
}

void ush_room_open_queue(struct ush_room *room)
{
	/* Release: see take_from(). */
	atomic_fetch_and_explicit(&room->next[USH_ROOM_TIER_FIFO], ~CLOSED, memory_order_release);
}

bool ush_room_queue_is_open(const struct ush_room *room)
{
	uint32_t next = atomic_load_explicit(&room->next[USH_ROOM_TIER_FIFO], memory_order_acquire);

	return (next & CLOSED) == 0;
}

uint32_t ush_room_counts(const struct ush_room *room, uint32_t counts[USH_ROOM_TIERS + 1])
{
	/* First: a place that is shown or void was given before. Acquire: see ush_room_show. */
	uint32_t settled = atomic_load_explicit(&room->lobby_shown, memory_order_acquire) +
			   atomic_load_explicit(&room->lobby_void, memory_order_acquire);
	uint32_t lobby = 0;

	for (uint32_t tier = 0; tier <= USH_ROOM_TIERS; tier++) {
		counts[tier] =
			atomic_load_explicit(&room->next[tier], memory_order_relaxed) & ~CLOSED;
		lobby += tier == USH_ROOM_TIER_FIFO ? 0 : counts[tier];
	}
	return lobby - settled;
}

int ush_room_replay_join(struct ush_room *room, uint64_t user, const struct ush_room_place *place)
{
	struct ush_room_place shown = *place;
	_Atomic uint32_t *word;
	struct search s;
	uint32_t next;

	if (user == 0 || place->tier > USH_ROOM_TIER_FIFO || place->number > NUMBER_MASK)
		return -USH_EINVAL;
	word = &room->next[place->tier];
	next = atomic_load_explicit(word, memory_order_relaxed);
	/* The lobby gives none any more, or the queue none yet. */
	if ((next & CLOSED) != 0 && place->number >= (next & ~CLOSED))
		return -USH_ERANGE;
	s = search_start(room, ush_room_hash(room, user), user);
	if (s.found == user)
		return -USH_EEXIST;
	if (s.found != 0)
		return -USH_EFULL;
	atomic_store_explicit(&s.line->user[s.at], user, memory_order_relaxed);
	if (place->number >= (next & ~CLOSED))
		atomic_store_explicit(word, place->number + 1, memory_order_relaxed);
	shown.slot = slot_of(room, &s);
	ush_room_show(room, &shown);
	return 0;
}

int ush_room_replay_close(struct ush_room *room, const uint32_t counts[USH_ROOM_TIERS])
{
	if (ush_room_queue_is_open(room))
		return -USH_EINVAL;
	for (uint32_t tier = 0; tier < USH_ROOM_TIERS; tier++) {
		if (counts[tier] > NUMBER_MASK + 1 ||
			counts[tier] <
				atomic_load_explicit(&room->next[tier], memory_order_relaxed))
			return -USH_EINVAL;
	}
	for (uint32_t tier = 0; tier < USH_ROOM_TIERS; tier++)
		atomic_store_explicit(
			&room->next[tier], counts[tier] | CLOSED, memory_order_relaxed);
	ush_room_open_queue(room);
	return 0;
}

int ush_room_replay_next(
	struct ush_room *room, const uint32_t next[USH_ROOM_TIERS + 1], bool closed)
{
	for (uint32_t tier = 0; tier <= USH_ROOM_TIERS; tier++) {
		bool shut = tier == USH_ROOM_TIER_FIFO ? !closed : closed;

		if (next[tier] > NUMBER_MASK + 1)
			return -USH_EINVAL;
		atomic_store_explicit(
			&room->next[tier], next[tier] | (shut ? CLOSED : 0), memory_order_relaxed);
	}
	return 0;
}

void ush_room_replayed(struct ush_room *room)
{
	uint32_t counts[USH_ROOM_TIERS + 1];

	atomic_fetch_add_explicit(
		&room->lobby_void, ush_room_counts(room, counts), memory_order_release);
}

uint64_t ush_room_at(
	const struct ush_room *room, uint32_t line, uint32_t at, struct ush_room_place *place)
{
	const struct ush_room_line *found = &room->lines[line];
	uint32_t word = atomic_load_explicit(&found->place[at], memory_order_acquire);

	if ((word & SHOWN) == 0)
		return 0;
	*place = (struct ush_room_place){.number = word & NUMBER_MASK,
		.tier = (word & ~SHOWN) >> TIER_SHIFT,
		.slot = line * USH_ROOM_LINE_PLACES + at};
	return atomic_load_explicit(&found->user[at], memory_order_relaxed);
}

uint32_t ush_room_list(const struct ush_room *room, uint32_t tier, uint64_t *users, uint32_t count)
{
	uint32_t written = 0;

	memset(users, 0, (size_t)count * sizeof(*users));
	for (uint32_t slot = 0; slot < room->line_count * USH_ROOM_LINE_PLACES; slot++) {
		uint32_t word = atomic_load_explicit(word_of(room, slot), memory_order_acquire);
		uint32_t number = word & NUMBER_MASK;

		if ((word & SHOWN) == 0 || (word & ~SHOWN) >> TIER_SHIFT != tier || number >= count)
			continue;
		users[number] = atomic_load_explicit(
			&room->lines[slot / USH_ROOM_LINE_PLACES].user[slot % USH_ROOM_LINE_PLACES],
			memory_order_relaxed);
		written++;
	}
	return written;
}
